//! A row for each record of a collection: whether it waits, and what the server has of it.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{WeaviateState, Which};
use crate::jobs::store::StoreError;

/// A record that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::weaviate) struct DueObject {
    pub(in crate::sink::weaviate) id: String,
    /// The digest of what the server has confirmed.
    pub(in crate::sink::weaviate) digest: Option<String>,
    pub(in crate::sink::weaviate) is_confirmed: bool,
    /// The server may have it: it was sent.
    pub(in crate::sink::weaviate) is_sent: bool,
    /// A person wants it sent whatever the server has.
    pub(in crate::sink::weaviate) is_forced: bool,
    /// How often the server has failed it in a row, without refusing it.
    pub(in crate::sink::weaviate) tries: u32,
}

/// How a record is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sink::weaviate) struct ObjectRow {
    pub(in crate::sink::weaviate) collection: String,
    pub(in crate::sink::weaviate) id: String,
    pub(in crate::sink::weaviate) touched_ms: i64,
    pub(in crate::sink::weaviate) due_ms: Option<i64>,
    pub(in crate::sink::weaviate) is_confirmed: bool,
    pub(in crate::sink::weaviate) digest: Option<String>,
    pub(in crate::sink::weaviate) synced_ms: Option<i64>,
    pub(in crate::sink::weaviate) attempts: u32,
    pub(in crate::sink::weaviate) error: Option<String>,
    pub(in crate::sink::weaviate) failed_ms: Option<i64>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::sink::weaviate) struct ObjectCounts {
    pub(in crate::sink::weaviate) objects: u64,
    /// Objects that are to be sent, those that were refused included.
    pub(in crate::sink::weaviate) dirty: u64,
    /// Objects that were refused.
    pub(in crate::sink::weaviate) aside: u64,
    /// Since when the object that has waited longest waits.
    pub(in crate::sink::weaviate) since_ms: Option<i64>,
    /// Edges that are to be sent or taken back, those that were refused included.
    pub(in crate::sink::weaviate) edges: u64,
    /// Edges that were refused.
    pub(in crate::sink::weaviate) edges_aside: u64,
}

/// Selects records behind one, by collection and id, at most so many.
macro_rules! objects {
    ($rest:literal) => {
        concat!(
            "SELECT collection, id, touched_ms, due_ms, confirmed, digest, synced_ms, attempts, error, failed_ms \
             FROM object WHERE (collection, id) > (?1, ?2)",
            $rest,
            " ORDER BY collection, id LIMIT ?3"
        )
    };
}

impl WeaviateState {
    /// A record is dirty. `is_forced`: it is sent whatever the server has.
    pub(in crate::sink::weaviate) async fn touch(
        &mut self,
        collection: &str,
        id: &str,
        is_forced: bool,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO object (collection, id, touched_ms, since_ms, due_ms, forced) VALUES (?1, ?2, ?3, ?3, ?3, ?4) \
            ON CONFLICT (collection, id) DO UPDATE SET touched_ms = ?3, forced = max(forced, ?4), \
            since_ms = CASE WHEN due_ms IS NULL THEN ?3 ELSE since_ms END, \
            due_ms = CASE WHEN due_ms IS NULL OR error IS NOT NULL THEN ?3 ELSE min(due_ms, ?3) END";
        let done = sqlx::query(sql).bind(collection).bind(id).bind(now_ms).bind(is_forced);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The records of a collection that are due, those that have waited longest first.
    pub(in crate::sink::weaviate) async fn due(
        &mut self,
        collection: &str,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<DueObject>, StoreError> {
        let sql = "SELECT id, digest, confirmed, sent, forced, tries FROM object WHERE collection = ? AND due_ms <= ? \
            ORDER BY due_ms, id LIMIT ?";
        let rows = sqlx::query(sql)
            .bind(collection)
            .bind(now_ms)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.store.connection())
            .await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let due = |row: &SqliteRow| {
            Ok(DueObject {
                id: row.try_get(0)?,
                digest: row.try_get(1)?,
                is_confirmed: row.try_get(2)?,
                is_sent: row.try_get(3)?,
                is_forced: row.try_get(4)?,
                tries: row.try_get(5)?,
            })
        };
        rows.iter().map(due).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// It is about to be sent: from here on the server may have it.
    pub(in crate::sink::weaviate) async fn goes_out(
        &mut self,
        collection: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE object SET sent = 1 WHERE collection = ?1 AND id = ?2";
        let done =
            sqlx::query(sql).bind(collection).bind(id).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// When the next record of a collection is due; `None`: none will be by itself.
    pub(in crate::sink::weaviate) async fn next_due(
        &mut self,
        collection: &str,
    ) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT min(due_ms) FROM object WHERE collection = ? AND due_ms IS NOT NULL";
        let row = sqlx::query(sql).bind(collection).fetch_one(self.store.connection()).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))
    }

    /// The server has the object as it is.
    pub(in crate::sink::weaviate) async fn confirm(
        &mut self,
        collection: &str,
        id: &str,
        digest: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE object SET due_ms = NULL, forced = 0, confirmed = 1, digest = ?3, synced_ms = ?4, tries = 0, \
            attempts = 0, error = NULL, failed_ms = NULL WHERE collection = ?1 AND id = ?2";
        let done = sqlx::query(sql).bind(collection).bind(id).bind(digest).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// There is nothing to send.
    pub(in crate::sink::weaviate) async fn settle(
        &mut self,
        collection: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE object SET due_ms = NULL, forced = 0, tries = 0, attempts = 0, error = NULL, failed_ms = NULL \
            WHERE collection = ?1 AND id = ?2";
        let done =
            sqlx::query(sql).bind(collection).bind(id).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The record is gone, and so is its object.
    pub(in crate::sink::weaviate) async fn forget(
        &mut self,
        collection: &str,
        id: &str,
    ) -> Result<(), StoreError> {
        let sql = "DELETE FROM object WHERE collection = ?1 AND id = ?2";
        let done =
            sqlx::query(sql).bind(collection).bind(id).execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// The server has refused it. `due_ms`: when it is tried again by itself; `None`: it is set aside.
    pub(in crate::sink::weaviate) async fn refuse(
        &mut self,
        collection: &str,
        id: &str,
        error: &str,
        due_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE object SET due_ms = ?4, attempts = attempts + 1, error = ?3, failed_ms = ?5 \
            WHERE collection = ?1 AND id = ?2";
        let done = sqlx::query(sql).bind(collection).bind(id).bind(error).bind(due_ms).bind(now_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// How often it was refused in a row.
    pub(in crate::sink::weaviate) async fn attempts(
        &mut self,
        collection: &str,
        id: &str,
    ) -> Result<u32, StoreError> {
        let sql = "SELECT attempts FROM object WHERE collection = ? AND id = ?";
        let row = sqlx::query(sql).bind(collection).bind(id);
        let row = row.fetch_optional(self.store.connection()).await;
        let found = row.and_then(|row| row.map(|row| row.try_get(0)).transpose());
        Ok(found.map_err(|error| self.store.failed(error))?.unwrap_or(0))
    }

    /// The server has failed it: it is tried again then.
    pub(in crate::sink::weaviate) async fn put_off(
        &mut self,
        collection: &str,
        id: &str,
        due_ms: i64,
    ) -> Result<(), StoreError> {
        let sql =
            "UPDATE object SET due_ms = ?3, tries = tries + 1 WHERE collection = ?1 AND id = ?2";
        let done = sqlx::query(sql).bind(collection).bind(id).bind(due_ms);
        let done = done.execute(self.store.connection()).await;
        done.map(drop).map_err(|error| self.store.failed(error))
    }

    /// What waits for its next try is due now.
    pub(in crate::sink::weaviate) async fn hurry(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE object SET due_ms = ?1 WHERE due_ms > ?1";
        let done = sqlx::query(sql).bind(now_ms).execute(self.store.connection()).await;
        done.map_err(|error| self.store.failed(error))?;
        self.store
            .run("UPDATE edge SET due_ms = 0 WHERE due_ms > 0 AND due_ms < 9223372036854775807")
            .await
    }

    /// What was refused is due again: this record, or all that were refused within these times.
    pub(in crate::sink::weaviate) async fn requeue(
        &mut self,
        one: Option<(&str, &str)>,
        (since_ms, until_ms): (i64, i64),
        now_ms: i64,
    ) -> Result<u64, StoreError> {
        let (collection, id) = one.unzip();
        let sql = "UPDATE object SET due_ms = ?3, forced = 1, attempts = 0 WHERE error IS NOT NULL \
            AND (?1 IS NULL OR (collection = ?1 AND id = ?2)) AND failed_ms >= ?4 AND failed_ms < ?5";
        let done = sqlx::query(sql)
            .bind(collection)
            .bind(id)
            .bind(now_ms)
            .bind(since_ms)
            .bind(until_ms)
            .execute(self.store.connection())
            .await;
        done.map(|done| done.rows_affected()).map_err(|error| self.store.failed(error))
    }

    /// Records, by collection and id. `after`: behind this one.
    pub(in crate::sink::weaviate) async fn objects(
        &mut self,
        which: Which,
        after: Option<(&str, &str)>,
        limit: usize,
    ) -> Result<Vec<ObjectRow>, StoreError> {
        let (collection, id) = after.unwrap_or_default();
        let sql = match which {
            Which::All => objects!(""),
            Which::Dirty => objects!(" AND due_ms IS NOT NULL"),
            Which::Failed => objects!(" AND error IS NOT NULL"),
        };
        let rows = sqlx::query(sql)
            .bind(collection)
            .bind(id)
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.store.connection())
            .await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        rows.iter().map(object).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }

    /// How many there are.
    pub(in crate::sink::weaviate) async fn counts(&mut self) -> Result<ObjectCounts, StoreError> {
        // An edge that leads to no record waits for that, and is not to be sent.
        let sql = "SELECT objects, dirty, aside, edges, edges_aside, \
            (SELECT min(since_ms) FROM object WHERE due_ms IS NOT NULL AND error IS NULL) FROM counts";
        let row = sqlx::query(sql).fetch_one(self.store.connection()).await;
        let row = row.map_err(|error| self.store.failed(error))?;
        let failed = |error| self.store.failed(error);
        let number =
            |index: usize| row.try_get::<i64, _>(index).map(i64::unsigned_abs).map_err(failed);
        Ok(ObjectCounts {
            objects: number(0)?,
            dirty: number(1)?,
            aside: number(2)?,
            edges: number(3)?,
            edges_aside: number(4)?,
            since_ms: row.try_get(5).map_err(failed)?,
        })
    }
}

fn object(row: &SqliteRow) -> Result<ObjectRow, sqlx::Error> {
    Ok(ObjectRow {
        collection: row.try_get(0)?,
        id: row.try_get(1)?,
        touched_ms: row.try_get(2)?,
        due_ms: row.try_get(3)?,
        is_confirmed: row.try_get(4)?,
        digest: row.try_get(5)?,
        synced_ms: row.try_get(6)?,
        attempts: row.try_get(7)?,
        error: row.try_get(8)?,
        failed_ms: row.try_get(9)?,
    })
}
