//! The last runs: from the first group that was due to the last.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::SinkState;
use crate::jobs::store::StoreError;

/// Runs that are kept: some weeks of an office with a change each few minutes.
const RUNS_KEPT: i64 = 1_000;

/// What came of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Objects that were created.
    pub created: u64,
    /// Objects that were updated.
    pub updated: u64,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Groups that were looked at, and of which nothing was to be sent.
    pub unchanged: u64,
    /// Items that were refused.
    pub refused: u64,
    /// Requests that are tried again, because the remote or the way to it was out of order.
    pub retried: u64,
}

impl Counted {
    /// All of it, one by one.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.created + self.updated + self.deleted
    }
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its number, from 1.
    pub number: i64,
    /// `changes`, `asked` or `full`.
    pub kind: String,
    /// When it began, in ms since 1970.
    pub began_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// `in_progress`, `completed` or `failed`.
    pub status: String,
    /// What came of it.
    pub counted: Counted,
    /// Why it failed.
    pub error: Option<String>,
}

impl SinkState {
    /// A run begins. One that is still under way was broken off.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn begin_run(&mut self, kind: &str, now_ms: i64) -> Result<i64, StoreError> {
        self.break_runs_off(now_ms).await?;
        let sql = "INSERT INTO run (kind, began_ms, status) VALUES (?, ?, 'in_progress') RETURNING number";
        let row = sqlx::query(sql).bind(kind).bind(now_ms).fetch_one(self.store.connection()).await;
        let number: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|error| self.store.failed(error))?;
        let old = sqlx::query("DELETE FROM run WHERE number <= ?").bind(number - RUNS_KEPT);
        let old = old.execute(self.store.connection()).await;
        old.map_err(|error| self.store.failed(error))?;
        Ok(number)
    }

    /// Runs that a crash has left are over.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn break_runs_off(&mut self, now_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE run SET status = 'failed', ended_ms = ?, error = 'it was broken off; what was not sent yet is sent \
            by the next' WHERE status = 'in_progress'";
        let done = sqlx::query(sql).bind(now_ms).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A run has come so far, or (with its status) to its end.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn keep_run(
        &mut self,
        number: i64,
        counted: &Counted,
        ended: Option<(i64, &str, Option<&str>)>,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(counted).unwrap_or_default();
        let (ended_ms, status, error) = match ended {
            Some((ended_ms, status, error)) => (Some(ended_ms), status, error),
            None => (None, "in_progress", None),
        };
        let sql =
            "UPDATE run SET counted = ?, ended_ms = ?, status = ?, error = ? WHERE number = ?";
        let done = sqlx::query(sql)
            .bind(text)
            .bind(ended_ms)
            .bind(status)
            .bind(error)
            .bind(number)
            .execute(self.store.connection())
            .await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// A run of which nothing came.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn drop_run(&mut self, number: i64) -> Result<(), StoreError> {
        let done = sqlx::query("DELETE FROM run WHERE number = ?").bind(number);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|error| self.store.failed(error))
    }

    /// The last runs, the latest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn runs(&mut self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        let sql = "SELECT number, kind, began_ms, ended_ms, status, counted, error FROM run ORDER BY number DESC LIMIT ?";
        let rows = sqlx::query(sql).bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = rows.fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|error| self.store.failed(error))?;
        let run = |row: &SqliteRow| {
            let counted: String = row.try_get(5)?;
            Ok(RunRow {
                number: row.try_get(0)?,
                kind: row.try_get(1)?,
                began_ms: row.try_get(2)?,
                ended_ms: row.try_get(3)?,
                status: row.try_get(4)?,
                counted: serde_json::from_str(&counted).unwrap_or_default(),
                error: row.try_get(6)?,
            })
        };
        rows.iter().map(run).collect::<Result<_, _>>().map_err(|error| self.store.failed(error))
    }
}
