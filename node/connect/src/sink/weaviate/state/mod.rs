//! What a sink to Weaviate remembers at its own site: which records are dirty, which objects and edges the server has
//! confirmed. All of it can be rebuilt: what is sent twice is there once.
//!
//! | file | what |
//! |---|---|
//! | `objects` | a row for each record |
//! | `edges` | a row for each edge that a record wants |
//! | `refused` | edges that the server has refused |

mod edges;
mod objects;
mod refused;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sqlx::Row;

use crate::jobs::store::{Form, Store, StoreError};

pub(super) use crate::sink::state::Which;
pub(super) use edges::{EdgeRow, EdgeWay};
pub(super) use objects::{DueObject, ObjectRow};
pub(super) use refused::{EdgePlace, Meant, RefusedEdge};

const FORM: Form = Form {
    what: "the sink's state",
    format: 3,
    tables: "
CREATE TABLE sink (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  cursor    TEXT,
  listing   INTEGER,
  listed_to TEXT,
  forced    INTEGER NOT NULL DEFAULT 0,
  settings  TEXT NOT NULL DEFAULT '',
  asks      INTEGER NOT NULL DEFAULT 0,
  agreed    TEXT NOT NULL DEFAULT '',
  paused    TEXT
);
INSERT INTO sink (one) VALUES (1);
CREATE TABLE object (
  collection TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  touched_ms INTEGER NOT NULL,
  since_ms   INTEGER NOT NULL,
  due_ms     INTEGER,
  forced     INTEGER NOT NULL DEFAULT 0,
  sent       INTEGER NOT NULL DEFAULT 0,
  confirmed  INTEGER NOT NULL DEFAULT 0,
  digest     TEXT,
  synced_ms  INTEGER,
  tries      INTEGER NOT NULL DEFAULT 0,
  attempts   INTEGER NOT NULL DEFAULT 0,
  error      TEXT,
  failed_ms  INTEGER,
  PRIMARY KEY (collection, id)
) WITHOUT ROWID;
CREATE INDEX object_due ON object (collection, due_ms, id) WHERE due_ms IS NOT NULL;
CREATE INDEX object_dirty ON object (collection, id) WHERE due_ms IS NOT NULL;
CREATE INDEX object_error ON object (collection, id) WHERE error IS NOT NULL;
CREATE INDEX object_since ON object (since_ms) WHERE due_ms IS NOT NULL AND error IS NULL;
CREATE TABLE edge (
  edge      TEXT    NOT NULL,
  from_id   TEXT    NOT NULL,
  to_id     TEXT    NOT NULL,
  target    TEXT    NOT NULL,
  state     INTEGER NOT NULL,
  awaits    INTEGER NOT NULL DEFAULT 0,
  sent      INTEGER NOT NULL DEFAULT 0,
  due_ms    INTEGER NOT NULL DEFAULT 0,
  tries     INTEGER NOT NULL DEFAULT 0,
  attempts  INTEGER NOT NULL DEFAULT 0,
  error     TEXT,
  failed_ms INTEGER,
  PRIMARY KEY (edge, from_id, to_id)
) WITHOUT ROWID;
CREATE INDEX edge_to ON edge (target, to_id);
CREATE INDEX edge_open ON edge (edge, state, awaits, due_ms, from_id, to_id) WHERE state <> 1;
CREATE INDEX edge_later ON edge (due_ms) WHERE due_ms > 0;
CREATE INDEX edge_error ON edge (edge, from_id, to_id) WHERE error IS NOT NULL;
-- How many there are, of a million too, at no cost: counting them takes a moment for each.
CREATE TABLE counts (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  objects     INTEGER NOT NULL DEFAULT 0,
  dirty       INTEGER NOT NULL DEFAULT 0,
  aside       INTEGER NOT NULL DEFAULT 0,
  edges       INTEGER NOT NULL DEFAULT 0,
  edges_aside INTEGER NOT NULL DEFAULT 0
);
INSERT INTO counts (one) VALUES (1);
CREATE TRIGGER object_comes AFTER INSERT ON object BEGIN
  UPDATE counts SET objects = objects + 1, dirty = dirty + (new.due_ms IS NOT NULL OR new.error IS NOT NULL),
    aside = aside + (new.error IS NOT NULL);
  UPDATE edge SET awaits = 0 WHERE target = new.collection AND to_id = new.id;
END;
CREATE TRIGGER object_goes AFTER DELETE ON object BEGIN
  UPDATE counts SET objects = objects - 1, dirty = dirty - (old.due_ms IS NOT NULL OR old.error IS NOT NULL),
    aside = aside - (old.error IS NOT NULL);
  UPDATE edge SET awaits = 1 WHERE target = old.collection AND to_id = old.id;
END;
CREATE TRIGGER object_changes AFTER UPDATE OF due_ms, error ON object
WHEN (new.due_ms IS NULL) <> (old.due_ms IS NULL) OR (new.error IS NULL) <> (old.error IS NULL) BEGIN
  UPDATE counts SET dirty = dirty + (new.due_ms IS NOT NULL OR new.error IS NOT NULL)
    - (old.due_ms IS NOT NULL OR old.error IS NOT NULL),
    aside = aside + (new.error IS NOT NULL) - (old.error IS NOT NULL);
END;
CREATE TRIGGER edge_comes AFTER INSERT ON edge BEGIN
  UPDATE counts SET edges = edges + (new.state > 1 OR (new.state = 0 AND (new.error IS NOT NULL OR new.awaits = 0))),
    edges_aside = edges_aside + (new.error IS NOT NULL);
END;
CREATE TRIGGER edge_goes AFTER DELETE ON edge BEGIN
  UPDATE counts SET edges = edges - (old.state > 1 OR (old.state = 0 AND (old.error IS NOT NULL OR old.awaits = 0))),
    edges_aside = edges_aside - (old.error IS NOT NULL);
END;
CREATE TRIGGER edge_changes AFTER UPDATE OF state, awaits, error ON edge
WHEN new.state <> old.state OR new.awaits <> old.awaits OR (new.error IS NULL) <> (old.error IS NULL) BEGIN
  UPDATE counts SET edges = edges + (new.state > 1 OR (new.state = 0 AND (new.error IS NOT NULL OR new.awaits = 0)))
    - (old.state > 1 OR (old.state = 0 AND (old.error IS NOT NULL OR old.awaits = 0))),
    edges_aside = edges_aside + (new.error IS NOT NULL) - (old.error IS NOT NULL);
END;
CREATE TABLE run (
  number   INTEGER PRIMARY KEY AUTOINCREMENT,
  kind     TEXT    NOT NULL,
  began_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  status   TEXT    NOT NULL,
  counted  TEXT    NOT NULL DEFAULT '{}',
  error    TEXT
);
",
    remedy: "stop the node and remove the file: the sink then sends all objects and edges once more, over those that are there",
};

/// Runs that are kept: some weeks of an office with a change each few minutes.
const RUNS_KEPT: i64 = 1_000;

/// How far a sink has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WeaviateProgress {
    /// The place in the feed that it has followed to.
    pub(super) cursor: Option<String>,
    /// The collection, by its index, whose records are being listed; `None`: all were.
    pub(super) listing: Option<usize>,
    /// The last record that was listed.
    pub(super) listed_to: Option<String>,
    /// Whether what is listed is sent, or deleted, whatever is known of the server.
    pub(super) is_forced: bool,
    /// Of which settings the objects are; empty: nothing was begun.
    pub(super) settings: String,
    /// Whether it is to be counted, before anything is sent, what these settings would send that were others before.
    pub(super) asks: bool,
    /// The settings that a person has agreed to, whatever they send.
    pub(super) agreed: String,
    /// Why it rests, where a person has to let it go on.
    pub(super) paused: Option<String>,
}

/// A run: from the first thing that was due until nothing was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WeaviateRunRow {
    pub(super) number: i64,
    pub(super) kind: String,
    pub(super) began_ms: i64,
    pub(super) ended_ms: Option<i64>,
    pub(super) status: String,
    /// JSON.
    pub(super) counted: String,
    pub(super) error: Option<String>,
}

/// The durable state of one sink.
pub(super) struct WeaviateState {
    store: Store,
}

/// The file that holds the state of a sink.
pub(super) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("sink-{name}.weaviate.sqlite"))
}

impl WeaviateState {
    /// Opens the state of a sink, or begins one. The folder must exist.
    pub(super) async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(path, &FORM).await? })
    }

    /// Begins a step: all until [`WeaviateState::end`] becomes durable together.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        self.store.begin().await
    }

    /// Ends a step.
    pub(super) async fn end(&mut self) -> Result<(), StoreError> {
        self.store.end().await
    }

    /// Closes the file.
    pub(super) async fn close(self) {
        self.store.close().await;
    }

    /// How far the sink has come.
    pub(super) async fn progress(&mut self) -> Result<WeaviateProgress, StoreError> {
        let sql =
            "SELECT cursor, listing, listed_to, forced, settings, asks, agreed, paused FROM sink";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        let failed = |error| self.store.failed(error);
        let listing: Option<i64> = row.try_get(1).map_err(failed)?;
        Ok(WeaviateProgress {
            cursor: row.try_get(0).map_err(failed)?,
            listing: listing.and_then(|index| usize::try_from(index).ok()),
            listed_to: row.try_get(2).map_err(failed)?,
            is_forced: row.try_get(3).map_err(failed)?,
            settings: row.try_get(4).map_err(failed)?,
            asks: row.try_get(5).map_err(failed)?,
            agreed: row.try_get(6).map_err(failed)?,
            paused: row.try_get(7).map_err(failed)?,
        })
    }

    /// Keeps how far it has come.
    pub(super) async fn keep(&mut self, progress: &WeaviateProgress) -> Result<(), StoreError> {
        let WeaviateProgress {
            cursor,
            listing,
            listed_to,
            is_forced,
            settings,
            asks,
            agreed,
            paused,
        } = progress;
        let sql = "UPDATE sink SET cursor = ?, listing = ?, listed_to = ?, forced = ?, settings = ?, asks = ?, agreed = ?, \
            paused = ?";
        let kept = sqlx::query(sql)
            .bind(cursor)
            .bind(listing.map(|index| i64::try_from(index).unwrap_or(i64::MAX)))
            .bind(listed_to)
            .bind(is_forced)
            .bind(settings)
            .bind(asks)
            .bind(agreed)
            .bind(paused)
            .execute(self.store.connection())
            .await;
        kept.map(drop).map_err(|error| self.store.failed(error))
    }

    /// All that is known is dirty.
    pub(super) async fn touch_known(
        &mut self,
        collection: &str,
        is_forced: bool,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE object SET since_ms = CASE WHEN due_ms IS NULL THEN ?3 ELSE since_ms END, due_ms = ?3, \
            forced = max(forced, ?2) WHERE collection = ?1";
        let done = sqlx::query(sql).bind(collection).bind(is_forced).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// It is another server now: nothing is confirmed.
    pub(super) async fn forget_remote(&mut self) -> Result<(), StoreError> {
        let sql = "UPDATE object SET sent = 0, confirmed = 0, digest = NULL, synced_ms = NULL";
        self.store.run(sql).await?;
        self.store.run("DELETE FROM edge WHERE state = 2").await?;
        let sql = "UPDATE edge SET state = 0, sent = 0, due_ms = 0, tries = 0, attempts = 0, error = NULL, failed_ms = NULL";
        self.store.run(sql).await
    }

    /// A run begins. One that is still under way was broken off.
    pub(super) async fn begin_run(&mut self, kind: &str, now_ms: i64) -> Result<i64, StoreError> {
        self.break_runs_off(now_ms).await?;
        let sql = "INSERT INTO run (kind, began_ms, status) VALUES (?, ?, 'in_progress') RETURNING number";
        let row = sqlx::query(sql).bind(kind).bind(now_ms).fetch_one(self.store.connection()).await;
        let number: i64 = row.and_then(|row| row.try_get(0)).map_err(|e| self.store.failed(e))?;
        let old = sqlx::query("DELETE FROM run WHERE number <= ?").bind(number - RUNS_KEPT);
        let old = old.execute(self.store.connection()).await;
        old.map_err(|error| self.store.failed(error))?;
        Ok(number)
    }

    /// A run ends, with what came of it as JSON.
    pub(super) async fn end_run(
        &mut self,
        number: i64,
        counted: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE run SET status = 'completed', counted = ?, ended_ms = ? WHERE number = ?";
        let done = sqlx::query(sql).bind(counted).bind(now_ms).bind(number);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// What was under way when the sink stopped was broken off.
    pub(super) async fn break_runs_off(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE run SET status = 'failed', error = 'broken off; the next one goes on from there', ended_ms = ? \
            WHERE status = 'in_progress'";
        let done = sqlx::query(sql).bind(now_ms).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The last runs, the latest first.
    pub(super) async fn runs(&mut self, limit: usize) -> Result<Vec<WeaviateRunRow>, StoreError> {
        let sql = "SELECT number, kind, began_ms, ended_ms, status, counted, error FROM run ORDER BY number DESC LIMIT ?";
        let rows = sqlx::query(sql).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let run = |row: &sqlx::sqlite::SqliteRow| {
            Ok(WeaviateRunRow {
                number: row.try_get(0)?,
                kind: row.try_get(1)?,
                began_ms: row.try_get(2)?,
                ended_ms: row.try_get(3)?,
                status: row.try_get(4)?,
                counted: row.try_get(5)?,
                error: row.try_get(6)?,
            })
        };
        rows.iter().map(run).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }
}
