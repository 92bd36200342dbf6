//! What a bridge remembers, durably, in a SQLite file of its own in the node's data folder: nothing of it can be made
//! anew from the database or the records, so it is part of backups, and a rebuild of the node leaves it alone.
//!
//! | table | what |
//! |---|---|
//! | `bridge` | one row: how it was installed, and how far it has come |
//! | `bridged_table` | the tables, how far each is loaded, and why one stopped |
//! | `view` | what the node knows each row to hold, and the version of the record that it stands for |
//! | `plan` | edits that are to be written, under a number; at most one |
//! | `intent` | views that hold once a batch of writes is committed in the database; at most one |
//! | `waiting` | records that the feed has told and the table does not have yet |
//! | `quarantine` | rows and records that are set aside, with what refused them |
//! | `unacknowledged` | captured rows that the site which is to confirm them has not confirmed |
//!
//! **Exactly once.** Capture: the plan is made durable, written under its number as the transaction's origin, and replaced
//! by its views in one step; after a crash the same plan is written under the same number, which changes nothing where it
//! was written before. Apply: the intent is made durable before the database commits the batch with its number; after a
//! crash the number in the database tells whether the intent's views hold.

mod open;
mod progress;
mod quarantine;
mod tables;
mod unacknowledged;
mod views;
mod waiting;

use std::path::PathBuf;

use sqlx::sqlite::SqliteConnection;

pub use progress::{Intent, Progress, Steps};
pub use quarantine::{Direction, Quarantined};
pub use tables::{Phase, TableState};
pub use unacknowledged::{Lagging, Unacknowledged};
pub use views::{View, ViewChange};

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read or written.
    #[error("the bridge's state {path} cannot be used: {source}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It holds something that this program did not write.
    #[error("the bridge's state {path} is damaged: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found where.
        what: String,
    },
    /// It was written by a program of before the first release.
    #[error(
        "the bridge's state {path} has format {found}, this program needs {known}: remove the file, then \
         `branchline bridge install` and `branchline bridge resync` begin the bridge from the rows and records that are there",
        path = path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The one that is needed.
        known: i64,
    },
    /// It was written by a newer program.
    #[error(
        "the bridge's state {path} has format {found}, this program knows formats up to {known}: use a newer Branchline",
        path = path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known.
        known: i64,
    },
}

/// The durable state of one bridge.
pub struct State {
    path: PathBuf,
    connection: SqliteConnection,
    /// Whether a step was begun and not ended: an error came between.
    is_in_step: bool,
}

impl State {
    fn failed(&self, source: sqlx::Error) -> StateError {
        StateError::Sqlite { path: self.path.clone(), source }
    }

    fn damaged(&self, what: impl Into<String>) -> StateError {
        StateError::Damaged { path: self.path.clone(), what: what.into() }
    }

    /// Begins a step: all until [`State::end`] becomes durable together.
    async fn begin(&mut self) -> Result<(), StateError> {
        if self.is_in_step {
            // SQLite may have undone the step by itself.
            let _ = self.run("ROLLBACK").await;
        }
        self.run("BEGIN IMMEDIATE").await?;
        self.is_in_step = true;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StateError> {
        self.run("COMMIT").await?;
        self.is_in_step = false;
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StateError> {
        let done = sqlx::query(sql).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|source| self.failed(source))
    }
}
