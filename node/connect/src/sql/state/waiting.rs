//! Records that the feed has reported and the tables do not have yet.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{BridgeState, StateError};

// By table: pairs `IN` a list are looked up by the first of them alone.
pub(super) const IS_DONE: &str =
    "DELETE FROM waiting WHERE tbl = ? AND id IN (SELECT value FROM json_each(?))";

impl BridgeState {
    /// Records of a table that wait, at most `limit`; those that were set aside are left out.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn waiting(&mut self, table: u32, limit: usize) -> Result<Vec<String>, StateError> {
        let sql = "SELECT id FROM waiting w WHERE tbl = ?1 AND NOT EXISTS (SELECT 1 FROM quarantine q \
                   WHERE q.tbl = ?1 AND q.direction = 'apply' AND q.name = w.id) LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            sqlx::query(sql).bind(table).bind(limit).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|source| self.store.failed(source))?;
        let ids = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<_>, _>>();
        ids.map_err(|source| self.store.failed(source))
    }

    /// How many records of a table wait.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn waiting_count(&mut self, table: u32) -> Result<u64, StateError> {
        let row = sqlx::query("SELECT count(*) FROM waiting WHERE tbl = ?").bind(table);
        let row = row.fetch_one(self.store.connection()).await;
        let count: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|source| self.store.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// Whether more than so many records of a table wait. Counting all of them would take longer with each that does.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn waits_for_more(&mut self, table: u32, than: u64) -> Result<bool, StateError> {
        let sql = "SELECT 1 FROM waiting WHERE tbl = ? LIMIT 1 OFFSET ?";
        let than = i64::try_from(than).unwrap_or(i64::MAX);
        let row = sqlx::query(sql).bind(table).bind(than).fetch_optional(self.store.connection());
        row.await.map(|row| row.is_some()).map_err(|source| self.store.failed(source))
    }

    pub(super) async fn wait(&mut self, records: &[(u32, String)]) -> Result<(), StateError> {
        if records.is_empty() {
            return Ok(());
        }
        let sql = "INSERT OR IGNORE INTO waiting (tbl, id) \
                   SELECT value ->> 0, value ->> 1 FROM json_each(?)";
        self.bulk_run(sql, None, &records).await
    }

    pub(super) async fn is_done(&mut self, records: &[(u32, String)]) -> Result<(), StateError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut ids: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for (table, id) in records {
            ids.entry(*table).or_default().push(id);
        }
        for (table, ids) in ids {
            self.bulk_run(IS_DONE, Some(table), &ids).await?;
        }
        Ok(())
    }
}
