//! Rows and records that are set aside, with what refused them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sqlx::Row;

use super::{BridgeState, StateError};

/// Which way something was going when it was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the table to the collection.
    Capture,
    /// From the collection to the table.
    Apply,
}

impl Direction {
    /// As it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Apply => "apply",
        }
    }
}

/// Something that is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Its number, which `bridge requeue` takes; 0 until it is kept.
    #[serde(default)]
    pub number: i64,
    /// The table's number.
    pub table: u32,
    /// Which way it was going.
    pub direction: Direction,
    /// The row's key (capture) or the record's id (apply), as text.
    pub name: String,
    /// SQLSTATE, number or result code of the database; empty where the bridge refused it.
    pub code: String,
    /// The constraint, if one was violated.
    pub constraint: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The value, at most 200 characters of it.
    pub value: Option<String>,
    /// What was found, what was expected, what to do.
    pub message: String,
    /// Since when, in ms since 1970.
    pub since_ms: i64,
    /// How often it was tried.
    pub tries: u32,
}

impl Quarantined {
    /// Something that is set aside now, for the first time. `message`: what was found, what was expected, what to do.
    #[must_use]
    pub fn new(table: u32, direction: Direction, name: String, message: String) -> Self {
        Self {
            number: 0,
            table,
            direction,
            name,
            code: String::new(),
            constraint: None,
            column: None,
            value: None,
            message,
            since_ms: jiff::Timestamp::now().as_millisecond(),
            tries: 0,
        }
    }
}

/// Set-aside items that are read at a time.
pub(crate) const QUARANTINED_MAX: i64 = 10_000;
/// Pause before the second try; each further one is twice as long.
const RETRY_MS: i64 = 2_000;
/// The longest pause.
const RETRY_MS_MAX: i64 = 300_000;

impl BridgeState {
    /// Sets items aside. One that was set aside before keeps its number, its first error and since when.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn set_aside(&mut self, items: &[Quarantined]) -> Result<(), StateError> {
        self.store.begin().await?;
        for item in items {
            let before = self.quarantined_row(item).await?;
            let tries = before.as_ref().map_or(1, |before| before.tries.saturating_add(1));
            let pause = RETRY_MS.saturating_mul(1 << tries.min(20)).min(RETRY_MS_MAX);
            let now_ms = item.since_ms;
            // Another error under the same name is another fault; the same one keeps its beginning.
            let since_ms = before.as_ref().map_or(now_ms, |before| before.since_ms);
            let kept = Quarantined { tries, since_ms, ..item.clone() };
            let body =
                serde_json::to_string(&kept).map_err(|e| self.store.damaged(e.to_string()))?;
            let sql = "INSERT INTO quarantine (tbl, direction, name, code, body, since, retry_at) VALUES (?, ?, ?, ?, ?, ?, ?) \
                       ON CONFLICT (tbl, direction, name) DO UPDATE SET \
                       code = excluded.code, body = excluded.body, retry_at = excluded.retry_at";
            let done = sqlx::query(sql)
                .bind(item.table)
                .bind(item.direction.as_str())
                .bind(&item.name)
                .bind(&item.code)
                .bind(body)
                .bind(since_ms)
                .bind(now_ms.saturating_add(pause))
                .execute(self.store.connection())
                .await;
            done.map_err(|source| self.store.failed(source))?;
        }
        self.store.end().await
    }

    /// What is set aside, by number; of one table or of all.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn quarantined(
        &mut self,
        table: Option<u32>,
    ) -> Result<Vec<Quarantined>, StateError> {
        let sql = "SELECT number, body FROM quarantine WHERE ?1 IS NULL OR tbl = ?1 ORDER BY number LIMIT ?2";
        let rows = sqlx::query(sql).bind(table).bind(QUARANTINED_MAX);
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|source| self.store.failed(source))?;
        rows.iter().map(|row| self.quarantined_of(row)).collect()
    }

    /// How much of a table is set aside.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn quarantined_count(&mut self, table: u32) -> Result<u64, StateError> {
        let row = sqlx::query("SELECT count(*) FROM quarantine WHERE tbl = ?").bind(table);
        let row = row.fetch_one(self.store.connection()).await;
        let count: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|source| self.store.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// What of a table is to be tried again by now, at most `limit`.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn due(
        &mut self,
        table: u32,
        direction: Direction,
        now_ms: i64,
        limit: usize,
    ) -> Result<Vec<Quarantined>, StateError> {
        let sql = "SELECT number, body FROM quarantine WHERE tbl = ? AND direction = ? AND retry_at <= ? \
                   ORDER BY retry_at LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(table).bind(direction.as_str()).bind(now_ms).bind(limit);
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|source| self.store.failed(source))?;
        rows.iter().map(|row| self.quarantined_of(row)).collect()
    }

    /// These are to be tried again at once: what blocked them may have changed. `None`: all of them. Returns how many.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn hasten(&mut self, numbers: Option<&[i64]>) -> Result<u64, StateError> {
        let numbers = numbers.map(|numbers| serde_json::json!(numbers).to_string());
        let sql = "UPDATE quarantine SET retry_at = 0 \
                   WHERE ?1 IS NULL OR number IN (SELECT value FROM json_each(?1))";
        let done = sqlx::query(sql).bind(numbers).execute(self.store.connection()).await;
        done.map(|done| done.rows_affected()).map_err(|source| self.store.failed(source))
    }

    /// Records that a foreign key or a unique index of the database keeps out are to be tried again: another row may have
    /// been all that was in the way.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn hasten_blocked(&mut self, now_ms: i64) -> Result<(), StateError> {
        let sql = "UPDATE quarantine SET retry_at = ?1 WHERE direction = 'apply' AND retry_at > ?1 AND code IN \
                   ('23503', '23505', '1062', '1451', '1452', '787', '1555', '2067')";
        let done = sqlx::query(sql).bind(now_ms).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    /// Which of these names are set aside.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn set_aside_of(
        &mut self,
        table: u32,
        direction: Direction,
        names: &[String],
    ) -> Result<BTreeSet<String>, StateError> {
        let names = serde_json::json!(names).to_string();
        let sql = "SELECT name FROM quarantine WHERE tbl = ? AND direction = ? \
                   AND name IN (SELECT value FROM json_each(?))";
        let rows = sqlx::query(sql).bind(table).bind(direction.as_str()).bind(names);
        let rows = rows.fetch_all(self.store.connection()).await;
        let names = rows.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
        names.map_err(|source| self.store.failed(source))
    }

    /// Items that are not set aside any more, by name.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn release(
        &mut self,
        table: u32,
        direction: Direction,
        names: &[String],
    ) -> Result<(), StateError> {
        if names.is_empty() {
            return Ok(());
        }
        let sql = match direction {
            Direction::Capture => {
                "DELETE FROM quarantine WHERE tbl = ? AND direction = 'capture' AND name IN (SELECT value FROM json_each(?))"
            }
            Direction::Apply => {
                "DELETE FROM quarantine WHERE tbl = ? AND direction = 'apply' AND name IN (SELECT value FROM json_each(?))"
            }
        };
        self.bulk_run(sql, Some(table), &names).await
    }

    async fn quarantined_row(
        &mut self,
        item: &Quarantined,
    ) -> Result<Option<Quarantined>, StateError> {
        let sql =
            "SELECT number, body FROM quarantine WHERE tbl = ? AND direction = ? AND name = ?";
        let row = sqlx::query(sql).bind(item.table).bind(item.direction.as_str()).bind(&item.name);
        let row = row.fetch_optional(self.store.connection()).await;
        let row = row.map_err(|source| self.store.failed(source))?;
        row.map(|row| self.quarantined_of(&row)).transpose()
    }

    fn quarantined_of(&self, row: &sqlx::sqlite::SqliteRow) -> Result<Quarantined, StateError> {
        let number: i64 = row.try_get(0).map_err(|source| self.store.failed(source))?;
        let body: String = row.try_get(1).map_err(|source| self.store.failed(source))?;
        let item: Quarantined =
            serde_json::from_str(&body).map_err(|error| self.store.damaged(error.to_string()))?;
        Ok(Quarantined { number, ..item })
    }
}
