//! What a run has read so far, on disk: a million objects take no memory, and a run that was broken off goes on.
//!
//! The file also remembers the source between runs: its last good run, the last list of deletions, whether it is paused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Object, RefusedItem, moment};
use crate::jobs::store::{Form, Store, StoreError};

/// Objects that are written by one statement.
const ROWS: usize = 100;
/// Items that could not be kept, and are listed; the others are counted.
const REFUSED_KEPT: i64 = 1_000;

const FORM: Form = Form {
    what: "the source's state",
    format: 1,
    tables: "
CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), body TEXT NOT NULL);
CREATE TABLE object (
  id         TEXT PRIMARY KEY,
  data       TEXT NOT NULL,
  updated_at TEXT,
  fields     TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE gone (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE gone_before (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE place (digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE refused (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id     TEXT,
  what   TEXT NOT NULL,
  run    INTEGER NOT NULL
);
",
    remedy: "remove the file: the next run is a full one",
};

/// A run that has begun and has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpooledRun {
    /// Its number, the `sync_version` of what it changes.
    pub number: u64,
    /// The job that it carries out.
    pub job: u64,
    /// Whether it lists all objects.
    pub is_full: bool,
    /// Whether nothing is written.
    pub is_dry: bool,
    /// Whether a person has accepted that many records become inactive.
    pub is_accepted: bool,
    /// From when on it asks for changes; `None`: a full run.
    #[serde(with = "moment::optional")]
    pub since: Option<Timestamp>,
    /// When it began, by this machine's clock.
    #[serde(with = "moment")]
    pub started: Timestamp,
    /// When it began, by the provider's clock.
    #[serde(with = "moment::optional")]
    pub provider_started: Option<Timestamp>,
    /// How far it is.
    pub phase: SpoolPhase,
    /// The place of the next page of the list that is read.
    pub place: Option<String>,
    /// Pages read.
    pub pages: u64,
    /// Objects read, counted each time they came.
    pub objects: u64,
    /// Objects that came more than once.
    pub duplicates: u64,
    /// How often the request at hand has failed.
    #[serde(skip)]
    pub tries: u32,
    /// Items that could not be kept.
    pub refused: u64,
    /// Whether any of them had no id, so that nothing can be said of what was not listed.
    pub has_nameless: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpoolPhase {
    /// It reads objects.
    Objects,
    /// It reads what was deleted.
    Deletions,
    /// It has all, and writes what differs.
    Applying,
}

/// Where the next run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// The number of the last good run.
    pub number: u64,
    /// From when on the next one asks for changes, by the provider's clock.
    #[serde(with = "moment")]
    pub since: Timestamp,
}

/// An object as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Spooled {
    /// The provider's id.
    pub id: String,
    /// The provider's JSON, as it came.
    pub data: String,
    /// When the provider changed it.
    pub updated_at: Option<String>,
    /// Fields of the record besides.
    pub fields: Map<String, Value>,
}

/// An item that was refused, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedObject {
    /// A number to name it by.
    pub number: i64,
    /// Its id, where it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// The run that found it.
    pub run: u64,
}

/// The state of one source.
pub struct Spool {
    store: Store,
}

impl Spool {
    /// Opens the state of a source, or begins one. The folder must exist.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Ok(Self { store: Store::open(path, &FORM).await? })
    }

    /// Something that the source remembers, by name.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn recall<T: for<'a> Deserialize<'a>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let row = sqlx::query("SELECT value FROM memory WHERE name = ?").bind(name);
        let row = row.fetch_optional(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        let Some(row) = row else { return Ok(None) };
        let text: String = row.try_get(0).map_err(|error| self.store.failed(error))?;
        let value = serde_json::from_str(&text);
        value.map(Some).map_err(|error| self.store.damaged(format!("{name}: {error}")))
    }

    /// Remembers something.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn remember(&mut self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let text = serde_json::to_string(value);
        let text = text.map_err(|error| self.store.damaged(format!("{name}: {error}")))?;
        let sql = "INSERT OR REPLACE INTO memory (name, value) VALUES (?, ?)";
        let done = sqlx::query(sql).bind(name).bind(text).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// Forgets something.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn forget(&mut self, name: &str) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM memory WHERE name = ?").bind(name);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The run that has begun and has not ended.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn run(&mut self) -> Result<Option<SpooledRun>, StoreError> {
        let row = sqlx::query("SELECT body FROM run").fetch_optional(self.store.connection()).await;
        let Some(row) = row.map_err(|error| self.store.failed(error))? else { return Ok(None) };
        let text: String = row.try_get(0).map_err(|error| self.store.failed(error))?;
        let run = serde_json::from_str(&text);
        run.map(Some).map_err(|error| self.store.damaged(format!("its run: {error}")))
    }

    /// Begins a run: what an earlier one has read is gone.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn begin(&mut self, run: &SpooledRun) -> Result<(), StoreError> {
        self.store.begin().await?;
        self.clear().await?;
        self.put_run(run).await?;
        self.store.end().await
    }

    /// Keeps how far a run is.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn keep(&mut self, run: &SpooledRun) -> Result<(), StoreError> {
        self.put_run(run).await
    }

    /// Keeps a page of objects together with how far the run is then; returns how many were there already. An object that
    /// comes again is kept as it came last.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn add_objects(
        &mut self,
        objects: &[Object],
        run: &SpooledRun,
    ) -> Result<u64, StoreError> {
        self.store.begin().await?;
        let mut known: u64 = 0;
        for rows in objects.chunks(ROWS) {
            known = known.saturating_add(self.known(rows).await?);
            let mut insert = QueryBuilder::<Sqlite>::new(
                "INSERT OR REPLACE INTO object (id, data, updated_at, fields) ",
            );
            insert.push_values(rows, |mut row, object| {
                let fields = Value::Object(object.fields.clone()).to_string();
                row.push_bind(&object.id).push_bind(&object.data);
                row.push_bind(&object.updated_at).push_bind(fields);
            });
            let done = insert.build().execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        let run = SpooledRun { duplicates: run.duplicates.saturating_add(known), ..run.clone() };
        self.move_on(&run).await?;
        self.store.end().await?;
        Ok(known)
    }

    /// How many of some objects are there already, or come more than once among them.
    async fn known(&mut self, objects: &[Object]) -> Result<u64, StoreError> {
        let ids: BTreeSet<&str> = objects.iter().map(|object| object.id.as_str()).collect();
        let repeated = objects.len().saturating_sub(ids.len()) as u64;
        let ids = serde_json::to_string(&ids);
        let ids = ids.map_err(|error| self.store.damaged(error.to_string()))?;
        let sql = "SELECT count(*) FROM json_each(?) JOIN object ON object.id = value";
        let row = sqlx::query(sql).bind(ids).fetch_one(self.store.connection()).await;
        let there: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))?;
        Ok(there.unsigned_abs().saturating_add(repeated))
    }

    /// Keeps a page of ids that are gone together with how far the run is then.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn add_gone(&mut self, ids: &[String], run: &SpooledRun) -> Result<(), StoreError> {
        self.store.begin().await?;
        let ids = serde_json::to_string(ids);
        let ids = ids.map_err(|error| self.store.damaged(error.to_string()))?;
        let sql = "INSERT OR IGNORE INTO gone (id) SELECT value FROM json_each(?)";
        let done = sqlx::query(sql).bind(ids).execute(self.store.connection()).await;
        done.map_err(|error| self.store.failed(error))?;
        self.move_on(run).await?;
        self.store.end().await
    }

    /// Whether a page of the run's list at hand had this place: paging goes in a circle then.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn knows_place(
        &mut self,
        phase: SpoolPhase,
        place: &str,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM place WHERE digest = ?").bind(of_place(phase, place));
        let row = row.fetch_optional(self.store.connection()).await;
        Ok(row.map_err(|error| self.store.failed(error))?.is_some())
    }

    /// Keeps items that were refused.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn add_refused(&mut self, items: &[RefusedItem], run: u64) -> Result<(), StoreError> {
        for item in items {
            let sql = "INSERT INTO refused (id, what, run) VALUES (?, ?, ?)";
            let done = sqlx::query(sql).bind(&item.id).bind(&item.what).bind(signed(run));
            let done = done.execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        let sql = "DELETE FROM refused WHERE number <= (SELECT max(number) FROM refused) - ?";
        let done = sqlx::query(sql).bind(REFUSED_KEPT).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The items that the last runs could not keep, the latest first.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn refused(&mut self) -> Result<Vec<RefusedObject>, StoreError> {
        let sql = "SELECT number, id, what, run FROM refused ORDER BY number DESC";
        let rows = sqlx::query(sql).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let read = |row: &SqliteRow| {
            Ok(RefusedObject {
                number: row.try_get(0)?,
                id: row.try_get(1)?,
                what: row.try_get(2)?,
                run: row.try_get::<i64, _>(3)?.unsigned_abs(),
            })
        };
        let read: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        read.map_err(|error| self.store.failed(error))
    }

    /// Objects behind an id, in the order of their ids: at most `limit`, and no more behind the one with which their data
    /// passes so many bytes.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn objects(
        &mut self,
        after: &str,
        (limit, bytes_max): (u32, usize),
    ) -> Result<Vec<Spooled>, StoreError> {
        let sql =
            "SELECT id, data, updated_at, fields FROM object WHERE id > ? ORDER BY id LIMIT ?";
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut read = sqlx::query(sql).bind(after).bind(limit).fetch(self.store.connection());
        let failed = loop {
            match read.try_next().await {
                Ok(Some(row)) => {
                    bytes += row.try_get::<&str, _>(1).map_or(0, str::len);
                    rows.push(row);
                    if bytes > bytes_max {
                        break None;
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        drop(read);
        match failed {
            Some(error) => Err(self.store.failed(error)),
            None => rows.iter().map(|row| self.spooled(row)).collect(),
        }
    }

    /// An object that the run has read.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn object(&mut self, id: &str) -> Result<Option<Spooled>, StoreError> {
        let sql = "SELECT id, data, updated_at, fields FROM object WHERE id = ?";
        let row = sqlx::query(sql).bind(id).fetch_optional(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        row.map(|row| self.spooled(&row)).transpose()
    }

    /// Ids that are gone, behind an id, and of each whether the last good run's list had it too and whether this run lists
    /// the object as well.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn gone(
        &mut self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, bool, bool)>, StoreError> {
        let sql = "SELECT gone.id, gone_before.id IS NOT NULL, object.id IS NOT NULL FROM gone \
            LEFT JOIN gone_before ON gone_before.id = gone.id LEFT JOIN object ON object.id = gone.id \
            WHERE gone.id > ? ORDER BY gone.id LIMIT ?";
        let rows = sqlx::query(sql).bind(after).bind(limit);
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let read = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
        let read: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        read.map_err(|error| self.store.failed(error))
    }

    /// Which of these ids the run has listed, refused or found gone, with whether it is the last.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn listed(&mut self, ids: &[&str]) -> Result<BTreeMap<String, Listed>, StoreError> {
        let ids = serde_json::to_string(ids);
        let ids = ids.map_err(|error| self.store.damaged(error.to_string()))?;
        let sql = "SELECT value, object.id IS NOT NULL, gone.id IS NOT NULL, \
            EXISTS (SELECT 1 FROM refused, run WHERE refused.id = value AND refused.run = json_extract(run.body, '$.number')) \
            FROM json_each(?) LEFT JOIN object ON object.id = value LEFT JOIN gone ON gone.id = value";
        let rows = sqlx::query(sql).bind(ids).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let read = |row: &SqliteRow| {
            let listed = Listed {
                is_object: row.try_get(1)?,
                is_gone: row.try_get(2)?,
                is_refused: row.try_get(3)?,
            };
            Ok((row.try_get(0)?, listed))
        };
        let read: Result<_, sqlx::Error> = rows.iter().map(read).collect();
        read.map_err(|error| self.store.failed(error))
    }

    /// How many objects and ids the run has read.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be read, or is damaged.
    pub async fn counts(&mut self) -> Result<(u64, u64), StoreError> {
        let sql = "SELECT (SELECT count(*) FROM object), (SELECT count(*) FROM gone)";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        let read = || -> Result<(i64, i64), sqlx::Error> { Ok((row.try_get(0)?, row.try_get(1)?)) };
        let (objects, gone) = read().map_err(|error| self.store.failed(error))?;
        Ok((objects.unsigned_abs(), gone.unsigned_abs()))
    }

    /// Ends the run. `good`: where the next one begins; `None`: it failed or wrote nothing, and the next one begins where
    /// this one did.
    /// # Errors
    /// [`StoreError`] where the source's file cannot be written.
    pub async fn end(&mut self, good: Option<&LastGood>) -> Result<(), StoreError> {
        self.store.begin().await?;
        if let Some(good) = good {
            self.remember(LAST_GOOD, good).await?;
            self.store.run("DELETE FROM gone_before").await?;
            self.store.run("INSERT INTO gone_before SELECT id FROM gone").await?;
        }
        self.clear().await?;
        self.store.end().await
    }

    /// Closes the file.
    pub async fn close(self) {
        self.store.close().await;
    }

    fn spooled(&self, row: &SqliteRow) -> Result<Spooled, StoreError> {
        let read = || -> Result<_, sqlx::Error> {
            let fields: String = row.try_get(3)?;
            Ok((row.try_get::<String, _>(0)?, row.try_get(1)?, row.try_get(2)?, fields))
        };
        let (id, data, updated_at, fields) = read().map_err(|error| self.store.failed(error))?;
        let fields = serde_json::from_str(&fields);
        let fields = fields.map_err(|error| self.store.damaged(format!("object {id}: {error}")))?;
        Ok(Spooled { id, data, updated_at, fields })
    }

    /// Keeps how far the run is, and the place that it comes to.
    async fn move_on(&mut self, run: &SpooledRun) -> Result<(), StoreError> {
        if let Some(place) = &run.place {
            let done = sqlx::query("INSERT OR IGNORE INTO place (digest) VALUES (?)");
            let done = done.bind(of_place(run.phase, place)).execute(self.store.connection()).await;
            done.map_err(|error| self.store.failed(error))?;
        }
        self.put_run(run).await
    }

    async fn put_run(&mut self, run: &SpooledRun) -> Result<(), StoreError> {
        let text = serde_json::to_string(run);
        let text = text.map_err(|error| self.store.damaged(error.to_string()))?;
        let done = sqlx::query("INSERT OR REPLACE INTO run (one, body) VALUES (1, ?)").bind(text);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    async fn clear(&mut self) -> Result<(), StoreError> {
        for sql in
            ["DELETE FROM run", "DELETE FROM object", "DELETE FROM gone", "DELETE FROM place"]
        {
            self.store.run(sql).await?;
        }
        Ok(())
    }
}

/// How a run has met an id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// As an object.
    pub is_object: bool,
    /// In the list of what was deleted.
    pub is_gone: bool,
    /// As an item that could not be kept.
    pub is_refused: bool,
}

/// Under what the last good run is remembered.
pub const LAST_GOOD: &str = "last-good";
/// Under what it is remembered why the source rests.
pub const PAUSED: &str = "paused";

/// A page's place, in few bytes.
fn of_place(phase: SpoolPhase, place: &str) -> Vec<u8> {
    blake3::hash(format!("{phase:?} {place}").as_bytes()).as_bytes().to_vec()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
