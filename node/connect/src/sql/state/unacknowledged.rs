//! Captured rows that the site which is to confirm them has not confirmed.

use serde::Serialize;
use sqlx::Row;

use super::{BridgeState, StateError};
use crate::sql::cell::Key;

/// A captured row, and the entry that holds its latest change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    /// The table's number.
    pub table: u32,
    /// The row.
    pub key: Key,
    /// The entry's author, as text.
    pub author: String,
    /// The entry's number.
    pub seq: i64,
    /// When it was captured, in ms since 1970.
    pub since_ms: i64,
    /// Whether it was captured before, so that what was written back of that has to be cleared.
    pub is_edit: bool,
}

/// What of a table is not confirmed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lagging {
    /// How many rows.
    pub rows: u64,
    /// When the oldest of them was captured, in ms since 1970.
    pub oldest_ms: Option<i64>,
}

impl BridgeState {
    /// Rows were captured, each in this entry; earlier entries of theirs need no confirmation any more.
    pub(super) async fn keep_unacknowledged(
        &mut self,
        rows: &[Unacknowledged],
    ) -> Result<(), StateError> {
        if rows.is_empty() {
            return Ok(());
        }
        let bulk: Vec<_> = rows
            .iter()
            .map(|row| {
                let Unacknowledged { table, key, author, seq, since_ms, is_edit } = row;
                (table, key.to_text(), author, seq, since_ms, u8::from(!is_edit))
            })
            .collect();
        let sql = "INSERT OR REPLACE INTO unacknowledged (tbl, key, author, seq, since, cleared) \
                   SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)";
        self.bulk_run(sql, None, &bulk).await
    }

    /// What of a table is not confirmed.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn lagging(&mut self, table: u32) -> Result<Lagging, StateError> {
        let row = sqlx::query("SELECT count(*), min(since) FROM unacknowledged WHERE tbl = ?")
            .bind(table);
        let row = row.fetch_one(self.store.connection()).await;
        let read = row.and_then(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let (rows, oldest_ms): (i64, Option<i64>) =
            read.map_err(|source| self.store.failed(source))?;
        Ok(Lagging { rows: rows.unsigned_abs(), oldest_ms })
    }

    /// The entries that hold unconfirmed rows of a table, oldest first, at most `limit`: author and number.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn unacknowledged_entries(
        &mut self,
        table: u32,
        limit: usize,
    ) -> Result<Vec<(String, i64)>, StateError> {
        let sql = "SELECT author, seq FROM unacknowledged WHERE tbl = ? GROUP BY author, seq ORDER BY min(since), seq LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            sqlx::query(sql).bind(table).bind(limit).fetch_all(self.store.connection()).await;
        let read = |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let rows = rows.and_then(|rows| rows.iter().map(read).collect::<Result<Vec<_>, _>>());
        rows.map_err(|source| self.store.failed(source))
    }

    /// The unconfirmed rows of an entry, at most `limit`.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn unacknowledged_rows(
        &mut self,
        table: u32,
        key_columns: usize,
        (author, seq): (&str, i64),
        limit: usize,
    ) -> Result<Vec<Key>, StateError> {
        let sql = "SELECT key FROM unacknowledged WHERE tbl = ? AND author = ? AND seq = ? LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(table).bind(author).bind(seq).bind(limit);
        let rows = rows.fetch_all(self.store.connection()).await;
        self.keys_of(rows, key_columns)
    }

    /// Rows of a table that were not handed to a link yet, or so long ago (`before_ms`) that they count as lost.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn unsent(
        &mut self,
        table: u32,
        key_columns: usize,
        sent_before_ms: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Key>, StateError> {
        let sql = "SELECT key FROM unacknowledged WHERE tbl = ?1 \
                   AND ((?2 IS NULL AND sent_at IS NULL) OR sent_at <= ?2) LIMIT ?3";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = sqlx::query(sql).bind(table).bind(sent_before_ms).bind(limit);
        let rows = rows.fetch_all(self.store.connection()).await;
        self.keys_of(rows, key_columns)
    }

    /// Rows whose earlier capture may be written back as sent or confirmed still, at most `limit`.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn to_clear(
        &mut self,
        table: u32,
        key_columns: usize,
        limit: usize,
    ) -> Result<Vec<Key>, StateError> {
        let sql = "SELECT key FROM unacknowledged WHERE tbl = ? AND cleared = 0 LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            sqlx::query(sql).bind(table).bind(limit).fetch_all(self.store.connection()).await;
        self.keys_of(rows, key_columns)
    }

    /// Nothing of an earlier capture of these rows is written back any more.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep_cleared(&mut self, table: u32, keys: &[Key]) -> Result<(), StateError> {
        let keys: Vec<_> = keys.iter().map(Key::to_text).collect();
        let sql = "UPDATE unacknowledged SET cleared = 1 WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))";
        self.bulk_run(sql, Some(table), &keys).await
    }

    /// Rows were handed to a link (`None`: they count as lost).
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn keep_sent(
        &mut self,
        table: u32,
        keys: &[Key],
        sent_ms: Option<i64>,
    ) -> Result<(), StateError> {
        let keys: Vec<_> = keys.iter().map(Key::to_text).collect();
        let keys = serde_json::json!(keys).to_string();
        let sql = "UPDATE unacknowledged SET sent_at = ? WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))";
        let done = sqlx::query(sql).bind(sent_ms).bind(table).bind(keys);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    /// Rows are confirmed.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn acknowledge(&mut self, table: u32, keys: &[Key]) -> Result<(), StateError> {
        let keys: Vec<_> = keys.iter().map(Key::to_text).collect();
        let sql =
            "DELETE FROM unacknowledged WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))";
        self.bulk_run(sql, Some(table), &keys).await
    }

    fn keys_of(
        &self,
        rows: Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error>,
        key_columns: usize,
    ) -> Result<Vec<Key>, StateError> {
        let rows = rows.map_err(|source| self.store.failed(source))?;
        let key = |row: &sqlx::sqlite::SqliteRow| {
            let text: String = row.try_get(0).map_err(|source| self.store.failed(source))?;
            let key = Key::from_text(&text, key_columns);
            key.ok_or_else(|| self.store.damaged(format!("the key {text} of an unconfirmed row")))
        };
        rows.iter().map(key).collect()
    }
}
