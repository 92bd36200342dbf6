//! Opening, copying and closing the state's file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use super::{State, StateError};

/// Number of the file's format, in `PRAGMA user_version`.
const FORMAT: i64 = 2;
/// How long another process that looks at the file may keep it locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Memory for pages of the file, in KiB: the views of the rows that change.
const CACHE_KIB: &str = "-16384";

const TABLES: &str = "
CREATE TABLE bridge (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  site       TEXT    NOT NULL DEFAULT '',
  token      TEXT    NOT NULL DEFAULT '',
  epoch      TEXT    NOT NULL DEFAULT '',
  server     TEXT    NOT NULL DEFAULT '',
  generation INTEGER NOT NULL DEFAULT 0,
  batch      INTEGER NOT NULL DEFAULT 0,
  applied    INTEGER NOT NULL DEFAULT 0,
  cursor     TEXT,
  paused     TEXT
);
INSERT INTO bridge (one) VALUES (1);
CREATE TABLE bridged_table (
  number      INTEGER PRIMARY KEY,
  bound       TEXT NOT NULL,
  settings    TEXT NOT NULL,
  phase       TEXT NOT NULL,
  loaded_to   TEXT,
  loaded_rows INTEGER NOT NULL DEFAULT 0,
  stopped     TEXT,
  stopped_at  INTEGER
);
CREATE TABLE view (
  tbl     INTEGER NOT NULL,
  key     TEXT NOT NULL,
  id      TEXT NOT NULL,
  version TEXT NOT NULL,
  cells   BLOB NOT NULL,
  PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX view_id ON view (tbl, id);
CREATE TABLE plan (batch INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE intent (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE waiting (tbl INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tbl, id)) WITHOUT ROWID;
CREATE TABLE quarantine (
  number    INTEGER PRIMARY KEY AUTOINCREMENT,
  tbl       INTEGER NOT NULL,
  direction TEXT NOT NULL,
  name      TEXT NOT NULL,
  code      TEXT NOT NULL,
  body      TEXT NOT NULL,
  since     INTEGER NOT NULL,
  retry_at  INTEGER NOT NULL,
  UNIQUE (tbl, direction, name)
);
CREATE INDEX quarantine_due ON quarantine (tbl, direction, retry_at);
CREATE TABLE unacknowledged (
  tbl     INTEGER NOT NULL,
  key     TEXT NOT NULL,
  author  TEXT NOT NULL,
  seq     INTEGER NOT NULL,
  since   INTEGER NOT NULL,
  sent_at INTEGER,
  cleared INTEGER NOT NULL,
  PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE INDEX unacknowledged_entry ON unacknowledged (tbl, author, seq);
CREATE INDEX unacknowledged_since ON unacknowledged (tbl, since);
CREATE INDEX unacknowledged_sent ON unacknowledged (tbl, sent_at);
CREATE INDEX unacknowledged_uncleared ON unacknowledged (tbl) WHERE cleared = 0;
";

impl State {
    /// Opens the state of a bridge, or begins one. `path`: its file; the folder must exist.
    ///
    /// # Errors
    /// The file cannot be used, or a newer program has written it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What is acknowledged survives a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", CACHE_KIB)
            .disable_statement_logging();
        let failed = |source| StateError::Sqlite { path: path.clone(), source };
        restrict(&path).map_err(|error| failed(sqlx::Error::Io(error)))?;
        let connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        let mut state = Self { path, connection, is_in_step: false };
        // What an earlier connection was about to commit is there, or never will be, before anything is read; and nobody
        // else makes the tables meanwhile.
        state.begin().await?;
        let row = sqlx::query("PRAGMA user_version").fetch_one(&mut state.connection).await;
        let found: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|source| state.failed(source))?;
        if found > FORMAT {
            return Err(StateError::Newer { path: state.path, found, known: FORMAT });
        }
        if (1..FORMAT).contains(&found) {
            return Err(StateError::Older { path: state.path, found, known: FORMAT });
        }
        if found == 0 {
            let made = sqlx::raw_sql(TABLES).execute(&mut state.connection).await;
            made.map_err(|source| state.failed(source))?;
            state.run("PRAGMA user_version = 2").await?;
        }
        state.end().await?;
        Ok(state)
    }

    /// Writes a copy of the state, as it is at one moment, to a file that does not exist.
    ///
    /// # Errors
    /// The state cannot be read, or the file not be written.
    pub async fn copy_to(&mut self, path: &Path) -> Result<(), StateError> {
        let target = path.to_string_lossy().into_owned();
        let copied = sqlx::query("VACUUM INTO ?").bind(target).execute(&mut self.connection).await;
        copied.map(|_| ()).map_err(|source| self.failed(source))
    }

    /// Closes the file.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(path = %self.path.display(), %error, "the bridge's state was not closed");
        }
    }
}

/// Makes the file for its owner alone, before anything is in it. SQLite gives its companions the same mode.
fn restrict(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path).map(|_| ())
}
