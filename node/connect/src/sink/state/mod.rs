//! What a sink remembers at its own site: how far it has followed the feed, which groups are dirty, and what each group
//! depends on. All of it can be rebuilt from the records; what is known of the remote stands in the network
//! ([`super::group::delivered`]).
//!
//! | file | what |
//! |---|---|
//! | `groups` | which groups are dirty, and when each is due |
//! | `links` | what groups depend on |
//! | `history` | the last runs |

mod groups;
mod history;
mod links;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sqlx::Row;

use crate::jobs::store::{Form, Store, StoreError};

pub use groups::{DueGroup, GroupRow, Which};
pub use history::{Counted, RunRow};

const FORM: Form = Form {
    what: "the sink's state",
    format: 2,
    tables: "
CREATE TABLE sink (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  cursor     TEXT,
  phase      TEXT    NOT NULL DEFAULT 'new',
  listed_to  TEXT,
  expression TEXT    NOT NULL DEFAULT '',
  agreed     TEXT    NOT NULL DEFAULT '',
  touch      INTEGER NOT NULL DEFAULT 0,
  paused     TEXT
);
INSERT INTO sink (one) VALUES (1);
CREATE TABLE grp (
  id         TEXT    PRIMARY KEY,
  touch      INTEGER NOT NULL,
  touched_ms INTEGER NOT NULL,
  since_ms   INTEGER NOT NULL,
  due_ms     INTEGER,
  tries      INTEGER NOT NULL DEFAULT 0,
  aside      INTEGER NOT NULL DEFAULT 0,
  forced     INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX grp_due ON grp (due_ms, id) WHERE due_ms IS NOT NULL;
CREATE INDEX grp_since ON grp (since_ms) WHERE due_ms IS NOT NULL AND aside = 0;
CREATE INDEX grp_dirty ON grp (id) WHERE due_ms IS NOT NULL;
CREATE INDEX grp_aside ON grp (id) WHERE aside > 0;
-- How many there are, of a million too, at no cost: counting them takes a moment for each.
CREATE TABLE counts (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  known INTEGER NOT NULL DEFAULT 0,
  dirty INTEGER NOT NULL DEFAULT 0,
  aside INTEGER NOT NULL DEFAULT 0
);
INSERT INTO counts (one) VALUES (1);
CREATE TRIGGER grp_comes AFTER INSERT ON grp BEGIN
  UPDATE counts SET known = known + 1, dirty = dirty + (new.due_ms IS NOT NULL), aside = aside + (new.aside > 0);
END;
CREATE TRIGGER grp_goes AFTER DELETE ON grp BEGIN
  UPDATE counts SET known = known - 1, dirty = dirty - (old.due_ms IS NOT NULL), aside = aside - (old.aside > 0);
END;
CREATE TRIGGER grp_changes AFTER UPDATE ON grp
WHEN (new.due_ms IS NULL) <> (old.due_ms IS NULL) OR (new.aside > 0) <> (old.aside > 0) BEGIN
  UPDATE counts SET dirty = dirty + (new.due_ms IS NOT NULL) - (old.due_ms IS NOT NULL),
    aside = aside + (new.aside > 0) - (old.aside > 0);
END;
CREATE TABLE used (
  collection TEXT NOT NULL,
  id         TEXT NOT NULL,
  grp        TEXT NOT NULL,
  PRIMARY KEY (collection, id, grp)
) WITHOUT ROWID;
CREATE INDEX used_grp ON used (grp);
CREATE TABLE link (
  relation TEXT NOT NULL,
  target   TEXT NOT NULL,
  member   TEXT NOT NULL,
  PRIMARY KEY (relation, target, member)
) WITHOUT ROWID;
CREATE INDEX link_member ON link (relation, member);
CREATE TABLE run (
  number     INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT    NOT NULL,
  began_ms   INTEGER NOT NULL,
  ended_ms   INTEGER,
  status     TEXT    NOT NULL,
  counted    TEXT    NOT NULL DEFAULT '{}',
  error      TEXT
);
",
    remedy: "stop the node and remove the file: the sink then looks at all records once more, and sends nothing that the \
        service has already",
};

/// How far a sink has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The place in the feed that it has followed to.
    pub cursor: Option<String>,
    /// What it does.
    pub phase: SinkPhase,
    /// The last record that was listed.
    pub listed_to: Option<String>,
    /// Of which expression the groups are.
    pub expression: String,
    /// The expression for which a person, or the number of items, has agreed to what it pushes.
    pub agreed: String,
    /// Counts what touches groups.
    pub touch: i64,
    /// Why it rests, where a person has to let it go on.
    pub paused: Option<String>,
}

/// What a sink does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkPhase {
    /// Nothing was looked at yet.
    #[default]
    New,
    /// The records of the relation of this index are being listed, which name their primary record.
    Links(usize),
    /// The primary records are being listed.
    Primaries,
    /// The groups of which something is known at the remote are being listed.
    Delivered,
    /// It is being counted what a changed configuration would push.
    Counting,
    /// What changes is pushed.
    Running,
}

impl SinkPhase {
    /// As it is stored.
    fn text(self) -> String {
        match self {
            Self::New => "new".to_owned(),
            Self::Links(index) => format!("links {index}"),
            Self::Primaries => "primaries".to_owned(),
            Self::Delivered => "delivered".to_owned(),
            Self::Counting => "counting".to_owned(),
            Self::Running => "running".to_owned(),
        }
    }

    fn of(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            Some(("links", index)) => Some(Self::Links(index.parse().ok()?)),
            Some(_) => None,
            None => [Self::New, Self::Primaries, Self::Delivered, Self::Counting, Self::Running]
                .into_iter()
                .find(|phase| phase.text() == text),
        }
    }
}

/// The durable state of one sink.
pub struct SinkState {
    store: Store,
}

impl SinkState {
    /// Opens the state of a sink, or begins one. The folder must exist.
    ///
    /// # Errors
    /// The file cannot be used, or a program of another format has written it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(path, &FORM).await? })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.store.path()
    }

    /// Begins a step: all until [`SinkState::end`] becomes durable together.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin().await
    }

    /// Ends a step.
    ///
    /// # Errors
    /// The file cannot be written; nothing of the step is there then.
    pub async fn end(&mut self) -> Result<(), StoreError> {
        self.store.end().await
    }

    /// How far the sink has come.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn progress(&mut self) -> Result<SinkProgress, StoreError> {
        let sql = "SELECT cursor, phase, listed_to, expression, agreed, touch, paused FROM sink";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        let failed = |error| self.store.failed(error);
        let phase: String = row.try_get(1).map_err(failed)?;
        Ok(SinkProgress {
            cursor: row.try_get(0).map_err(failed)?,
            phase: SinkPhase::of(&phase)
                .ok_or_else(|| self.store.damaged(format!("phase {phase:?}")))?,
            listed_to: row.try_get(2).map_err(failed)?,
            expression: row.try_get(3).map_err(failed)?,
            agreed: row.try_get(4).map_err(failed)?,
            touch: row.try_get(5).map_err(failed)?,
            paused: row.try_get(6).map_err(failed)?,
        })
    }

    /// Keeps how far it has come.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep(&mut self, progress: &SinkProgress) -> Result<(), StoreError> {
        let sql = "UPDATE sink SET cursor = ?, phase = ?, listed_to = ?, expression = ?, agreed = ?, touch = ?, paused = ?";
        let SinkProgress { cursor, phase, listed_to, expression, agreed, touch, paused } = progress;
        let kept = sqlx::query(sql)
            .bind(cursor)
            .bind(phase.text())
            .bind(listed_to)
            .bind(expression)
            .bind(agreed)
            .bind(touch)
            .bind(paused)
            .execute(self.store.connection())
            .await;
        kept.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// Writes a copy of the state, as it is at one moment, to a file that does not exist.
    ///
    /// # Errors
    /// The state cannot be read, or the file not be written.
    pub async fn copy_to(&mut self, path: &Path) -> Result<(), StoreError> {
        self.store.copy_to(path).await
    }

    /// Closes the file.
    pub async fn close(self) {
        self.store.close().await;
    }
}
