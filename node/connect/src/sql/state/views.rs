//! The views: what the node knows each row to hold.

use std::collections::BTreeMap;

use branchline_crdt::format::codec;
use branchline_crdt::record::Version;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use sqlx::{AssertSqlSafe, Row as _};

use super::{BridgeState, StateError};
use crate::sql::cell::{Cell, Key};

/// What the node knows a row to hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The row's key.
    pub key: Key,
    /// Its record's id.
    pub id: String,
    /// The version of the record that the row stands for: an edit of the row builds on it. `None`: of none.
    #[serde(with = "version")]
    pub version: Option<Version>,
    /// Its cells, by column. A column that is not here was not known when the row was last looked at. Names are short: they
    /// are kept within the map, without a piece of memory for each.
    pub cells: BTreeMap<SmolStr, Cell>,
}

/// A view that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ViewChange {
    /// The row is this now.
    Set(u32, View),
    /// There is no such row.
    Drop(u32, Key),
}

const BY_KEY: &str = "SELECT key, id, version, cells FROM view WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))";
// Left to itself SQLite reads all views of the table.
const BY_RECORD: &str = "SELECT key, id, version, cells FROM view INDEXED BY view_id WHERE tbl = ? AND id IN (SELECT value FROM json_each(?))";
/// Views that one statement writes.
const VIEWS_PER_STATEMENT: usize = 100;

impl BridgeState {
    /// The views of these keys of a table.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn views(
        &mut self,
        table: u32,
        keys: &[Key],
    ) -> Result<BTreeMap<Key, View>, StateError> {
        let keys_text: Vec<_> = keys.iter().map(Key::to_text).collect();
        let views =
            self.read_views(BY_KEY, table, &keys_text, keys.first().map_or(1, |key| key.0.len()));
        Ok(views.await?.into_iter().map(|view| (view.key.clone(), view)).collect())
    }

    /// The views of these records of a table, by the record's id.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn views_of_records(
        &mut self,
        table: u32,
        key_columns: usize,
        ids: &[String],
    ) -> Result<BTreeMap<String, View>, StateError> {
        let views = self.read_views(BY_RECORD, table, ids, key_columns).await?;
        Ok(views.into_iter().map(|view| (view.id.clone(), view)).collect())
    }

    /// Views of a table behind a key, as the state orders keys, at most `limit`.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn views_behind(
        &mut self,
        table: u32,
        key_columns: usize,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<View>, StateError> {
        let sql = "SELECT key, id, version, cells FROM view WHERE tbl = ? AND key > ? ORDER BY key LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = match after {
            Some(after) => {
                let query = sqlx::query(sql).bind(table).bind(after.to_text()).bind(limit);
                query.fetch_all(self.store.connection()).await
            }
            None => {
                let sql =
                    "SELECT key, id, version, cells FROM view WHERE tbl = ? ORDER BY key LIMIT ?";
                sqlx::query(sql).bind(table).bind(limit).fetch_all(self.store.connection()).await
            }
        };
        let rows = rows.map_err(|source| self.store.failed(source))?;
        rows.iter().map(|row| self.view_of(row, key_columns)).collect()
    }

    /// How many rows of a table the node knows.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be read, or is damaged.
    pub async fn view_count(&mut self, table: u32) -> Result<u64, StateError> {
        let row = sqlx::query("SELECT count(*) FROM view WHERE tbl = ?").bind(table);
        let row = row.fetch_one(self.store.connection()).await;
        let count: i64 =
            row.and_then(|row| row.try_get(0)).map_err(|source| self.store.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// Forgets the views of a table.
    ///
    /// # Errors
    /// [`StateError`] where the bridge's file cannot be written.
    pub async fn drop_views(&mut self, table: u32) -> Result<(), StateError> {
        let done = sqlx::query("DELETE FROM view WHERE tbl = ?").bind(table);
        let done = done.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    pub(super) async fn change_views(&mut self, changes: &[ViewChange]) -> Result<(), StateError> {
        let mut set = Vec::new();
        let mut gone: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for change in changes {
            match change {
                ViewChange::Set(table, view) => set.push((*table, view)),
                ViewChange::Drop(table, key) => {
                    gone.entry(*table).or_default().push(key.to_text());
                }
            }
        }
        for (table, keys) in gone {
            let sql = "DELETE FROM view WHERE tbl = ? AND key IN (SELECT value FROM json_each(?))";
            self.bulk_run(sql, Some(table), &keys).await?;
        }
        for views in set.chunks(VIEWS_PER_STATEMENT) {
            self.set_views(views).await?;
        }
        Ok(())
    }

    async fn set_views(&mut self, views: &[(u32, &View)]) -> Result<(), StateError> {
        let rows = vec!["(?, ?, ?, ?, ?)"; views.len()].join(", ");
        let sql =
            format!("INSERT OR REPLACE INTO view (tbl, key, id, version, cells) VALUES {rows}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (table, view) in views {
            query = query
                .bind(*table)
                .bind(view.key.to_text())
                .bind(&view.id)
                .bind(version::to_text(view.version.as_ref()))
                .bind(codec::encode(&view.cells));
        }
        let done = query.execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    pub(super) async fn bulk_run(
        &mut self,
        sql: &'static str,
        table: Option<u32>,
        items: &impl Serialize,
    ) -> Result<(), StateError> {
        let items =
            serde_json::to_string(items).map_err(|error| self.store.damaged(error.to_string()))?;
        let query = sqlx::query(sql);
        let query = match table {
            Some(table) => query.bind(table),
            None => query,
        };
        let done = query.bind(items).execute(self.store.connection()).await;
        done.map(|_| ()).map_err(|source| self.store.failed(source))
    }

    async fn read_views(
        &mut self,
        sql: &'static str,
        table: u32,
        names: &[String],
        key_columns: usize,
    ) -> Result<Vec<View>, StateError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let names =
            serde_json::to_string(names).map_err(|error| self.store.damaged(error.to_string()))?;
        let rows =
            sqlx::query(sql).bind(table).bind(names).fetch_all(self.store.connection()).await;
        let rows = rows.map_err(|source| self.store.failed(source))?;
        rows.iter().map(|row| self.view_of(row, key_columns)).collect()
    }

    fn view_of(
        &self,
        row: &sqlx::sqlite::SqliteRow,
        key_columns: usize,
    ) -> Result<View, StateError> {
        let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        let read: Result<(String, String, String, Vec<u8>), sqlx::Error> = read();
        let (key, id, version, cells) = read.map_err(|source| self.store.failed(source))?;
        let view = || {
            let key = Key::from_text(&key, key_columns)?;
            let version = version::from_text(&version)?;
            let cells = codec::decode("cells of a row", &cells).ok()?;
            Some(View { key, id: id.clone(), version, cells })
        };
        view().ok_or_else(|| self.store.damaged(format!("the view of row {key} cannot be read")))
    }
}

/// A version as text; nothing for a row that stands for none.
mod version {
    use branchline_crdt::record::Version;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn to_text(version: Option<&Version>) -> String {
        version.map(Version::to_string).unwrap_or_default()
    }

    pub(super) fn from_text(text: &str) -> Option<Option<Version>> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }

    pub(super) fn serialize<S: Serializer>(
        version: &Option<Version>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_str(&to_text(version.as_ref()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Version>, D::Error> {
        let text = String::deserialize(from)?;
        from_text(&text).ok_or_else(|| D::Error::custom("no version of a record"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sql::state::waiting::IS_DONE;

    /// How SQLite finds what a statement names.
    async fn search(state: &mut BridgeState, sql: &str) -> String {
        let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
        let explained = explained.bind(1).bind("[]").persistent(false);
        let steps = explained.fetch_all(state.store.connection()).await.unwrap();
        steps.first().unwrap().get(3)
    }

    #[tokio::test]
    async fn what_a_batch_names_is_found_without_reading_all_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut state = BridgeState::open(folder.path().join("state.sqlite")).await.unwrap();
        for (sql, by) in [(BY_KEY, "key=?"), (BY_RECORD, "id=?"), (IS_DONE, "id=?")] {
            let search = search(&mut state, sql).await;
            assert!(search.contains(&format!("(tbl=? AND {by})")), "{search} of {sql}");
        }
    }
}
