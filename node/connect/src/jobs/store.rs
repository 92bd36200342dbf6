//! A SQLite file in which a connector remembers, durably and for its owner alone, what it has come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

/// How long another process that looks at the file may keep it locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory for pages of the file, in KiB: what changes together.
const CACHE_KIB: &str = "-16384";

/// Rows on their way from the driver's thread: as many as are asked for at a time, so that it does not wait.
const ROWS_UNDER_WAY_MAX: usize = 2_000;

/// What a file holds, and what it is called.
#[derive(Debug)]
pub struct Form {
    /// In messages, for example `the bridge's state`.
    pub what: &'static str,
    /// Number of the format, from 1, kept in `PRAGMA user_version`.
    pub format: u32,
    /// The statements that make its tables.
    pub tables: &'static str,
    /// What a person does about a file of an older format.
    pub remedy: &'static str,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("{what} {path} cannot be used: {source}", path = path.display())]
    Sqlite {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// It holds something that this program did not write.
    #[error("{what} {path} is damaged: {found}", path = path.display())]
    Damaged {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What was found where.
        found: String,
    },
    /// It was written by a program of before the first release.
    #[error("{what} {path} has format {found}, this program needs {known}: {remedy}", path = path.display())]
    Older {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The one that is needed.
        known: u32,
        /// What a person does about it.
        remedy: &'static str,
    },
    /// It was written by a newer program.
    #[error(
        "{what} {path} has format {found}, this program knows formats up to {known}: use a newer Branchline",
        path = path.display()
    )]
    Newer {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known.
        known: u32,
    },
}

/// A file that is open.
pub struct Store {
    form: &'static Form,
    path: PathBuf,
    connection: SqliteConnection,
    /// Whether a step was begun and not ended: an error came between.
    is_in_step: bool,
}

impl Store {
    /// Opens a file, or begins one. A folder that is missing is made, for its owner alone.
    ///
    /// # Errors
    /// The file cannot be used, or a program of another format has written it.
    pub async fn open(path: impl Into<PathBuf>, form: &'static Form) -> Result<Self, StoreError> {
        let path = path.into();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What is acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHE_KIB)
            .row_buffer_size(ROWS_UNDER_WAY_MAX)
            .disable_statement_logging();
        let failed = |source| StoreError::Sqlite { what: form.what, path: path.clone(), source };
        let folder = path.parent().filter(|folder| !folder.exists()).map_or(Ok(()), private_folder);
        folder.map_err(|error| failed(sqlx::Error::Io(error)))?;
        restrict(&path).map_err(|error| failed(sqlx::Error::Io(error)))?;
        let connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let mut store = Self { form, path, connection, is_in_step: false };
        // What an earlier connection was about to commit is there, or never will be, before anything is read; and nobody
        // else makes the tables meanwhile.
        store.begin().await?;
        store.make_tables().await?;
        store.end().await?;
        Ok(store)
    }

    async fn make_tables(&mut self) -> Result<(), StoreError> {
        let Form { what, format: known, tables, remedy } = *self.form;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&mut self.connection).await;
        let found: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|source| self.failed(source))?;
        let path = self.path.clone();
        if found > i64::from(known) {
            return Err(StoreError::Newer { what, path, found, known });
        }
        if (1..i64::from(known)).contains(&found) {
            return Err(StoreError::Older { what, path, found, known, remedy });
        }
        if found == 0 {
            let made = sqlx::raw_sql(tables).execute(&mut self.connection).await;
            made.map_err(|source| self.failed(source))?;
            let number = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}"));
            let numbered = sqlx::raw_sql(number).execute(&mut self.connection).await;
            numbered.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    /// The connection, for statements. Their errors become [`Store::failed`].
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a step: all until [`Store::end`] becomes durable together.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin(&mut self) -> Result<(), StoreError> {
        if self.is_in_step {
            // SQLite may have undone the step by itself.
            let _ = self.run("ROLLBACK").await;
        }
        self.run("BEGIN IMMEDIATE").await?;
        self.is_in_step = true;
        Ok(())
    }

    /// Ends a step.
    ///
    /// # Errors
    /// The file cannot be written; nothing of the step is there then.
    pub async fn end(&mut self) -> Result<(), StoreError> {
        self.run("COMMIT").await?;
        self.is_in_step = false;
        Ok(())
    }

    /// Carries out one statement without values.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        let done = sqlx::query(sql).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|source| self.failed(source))
    }

    /// The error of a statement that failed.
    #[must_use]
    pub fn failed(&self, source: sqlx::Error) -> StoreError {
        StoreError::Sqlite { what: self.form.what, path: self.path.clone(), source }
    }

    /// The error of a row that cannot be.
    pub fn damaged(&self, found: impl Into<String>) -> StoreError {
        StoreError::Damaged { what: self.form.what, path: self.path.clone(), found: found.into() }
    }

    /// Counts from here on the steps that SQLite takes: a measure of how much is looked at.
    #[cfg(test)]
    pub(crate) async fn count_steps(&mut self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        use std::sync::atomic::{AtomicU64, Ordering};
        let steps = std::sync::Arc::new(AtomicU64::new(0));
        let counted = std::sync::Arc::clone(&steps);
        if let Ok(mut handle) = self.connection.lock_handle().await {
            handle.set_progress_handler(1, move || {
                counted.fetch_add(1, Ordering::Relaxed);
                true
            });
        }
        steps
    }

    /// Writes a copy of the file, as it is at one moment, to one that does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or the copy not be written.
    pub async fn copy_to(&mut self, path: &Path) -> Result<(), StoreError> {
        let target = path.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut self.connection).await;
        copied.map(|_| ()).map_err(|source| self.failed(source))
    }

    /// Closes the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(path = %self.path.display(), %error, "{} was not closed", self.form.what);
        }
    }
}

/// Writes a copy of any store's file, as it is at one moment, to one that does not exist.
///
/// # Errors
/// The file cannot be read, or the copy not be written.
pub async fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let what = "the connector's state";
    let failed = |source| StoreError::Sqlite { what, path: from.to_owned(), source };
    let options = SqliteConnectOptions::new()
        .filename(from)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    let target = to.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut connection).await;
    let _ = connection.close().await;
    copied.map(drop).map_err(failed)
}

/// Makes a folder for its owner alone: what connectors remember is as private as the records.
fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the file for its owner alone, before anything is in it. SQLite gives its companions the same mode.
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map(|_| ())
}
