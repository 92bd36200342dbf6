//! Opening and closing the state's file.

use std::path::PathBuf;

use super::{BridgeState, StateError};
use crate::jobs::store::{Form, Store};

const FORM: Form = Form {
    what: "the bridge's state",
    format: 3,
    tables: TABLES,
    remedy: "remove the file, then `branchline bridge install` and `branchline bridge resync` begin the bridge from the \
        rows and records that are there",
};

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
CREATE TABLE last_batch (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
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

impl BridgeState {
    /// Opens the state of a bridge, or begins one. `path`: its file; the folder must exist.
    ///
    /// # Errors
    /// The file cannot be used, or a program of another format has written it.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        Ok(Self { store: Store::open(path, &FORM).await? })
    }

    /// Closes the file.
    pub async fn close(self) {
        self.store.close().await;
    }
}
