//! Foreign keys that SQLite checks only at the commit (`DEFERRABLE INITIALLY DEFERRED`, as Django declares them all).
//!
//! A commit that fails takes the whole batch with it, and SQLite has no statement that checks them before. So the rows
//! that were written are looked at one foreign key after the other.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteDatabase;
use super::sql::{self, KEYS_PER_STATEMENT_MAX};
use crate::sql::cell::{Cell, Key, hex_of};
use crate::sql::database::{DbError, DbErrorClass};
use crate::sql::shape::{Bound, ForeignKey};

/// SQLITE_CONSTRAINT_FOREIGNKEY.
const FOREIGN_KEY: &str = "787";

impl SqliteDatabase {
    /// Keeps what was written for [`SqliteDatabase::check_deferred_keys`], where there is anything to check.
    pub(super) async fn remember_written(
        &mut self,
        table: &Bound,
        keys: impl Iterator<Item = &Key> + Send,
    ) -> Result<(), DbError> {
        if self.has_deferred_keys().await? {
            self.written.push((table.clone(), keys.cloned().collect()));
        }
        Ok(())
    }

    async fn has_deferred_keys(&mut self) -> Result<bool, DbError> {
        if let Some(known) = self.has_deferred_keys {
            return Ok(known);
        }
        let sql = "SELECT (SELECT f.foreign_keys FROM pragma_foreign_keys AS f) AND EXISTS (SELECT 1 FROM sqlite_master AS m \
                   WHERE m.type = 'table' AND m.sql LIKE '%INITIALLY%DEFERRED%')";
        let known = self.session.number(sql, Vec::new()).await? == Some(1);
        self.has_deferred_keys = Some(known);
        Ok(known)
    }

    pub(super) async fn check_deferred_keys(&mut self) -> Result<(), DbError> {
        for (table, keys) in std::mem::take(&mut self.written) {
            for key in self.foreign_keys_of(&table.table.name).await? {
                let is_table = |name: &str| name.eq_ignore_ascii_case(&table.table.name);
                // A table may refer to itself.
                let out = is_table(&key.from.name).then(|| sql::without_parent(&table, &key));
                let into = is_table(&key.to.name).then(|| sql::left_children(&table, &key));
                for sql in [out, into].into_iter().flatten().flatten() {
                    for piece in keys.chunks(KEYS_PER_STATEMENT_MAX) {
                        self.check_foreign_key(&key, &sql, piece).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn check_foreign_key(
        &mut self,
        key: &ForeignKey,
        sql: &str,
        keys: &[Key],
    ) -> Result<(), DbError> {
        let values = vec![Cell::text(sql::keys_json(keys))];
        let read = |row: &SqliteRow| row.try_get::<Option<String>, _>(0);
        let Some(value) = self.session.fetch(sql, values, read).await?.into_iter().next() else {
            return Ok(());
        };
        Err(broken(key, &value.unwrap_or_default()))
    }

    /// Names the foreign key, which SQLite's own error does not, where a write of one row has failed by one. `value`: what
    /// was written into a column.
    pub(super) async fn explained(
        &mut self,
        table: &Bound,
        refused: DbError,
        value: impl Fn(&str) -> Option<Cell> + Send + Sync,
    ) -> DbError {
        if refused.code != FOREIGN_KEY {
            return refused;
        }
        let keys = self.foreign_keys_of(&table.table.name).await.unwrap_or_default();
        for key in keys {
            if !key.from.name.eq_ignore_ascii_case(&table.table.name) {
                continue;
            }
            let values: Option<Vec<Cell>> =
                key.from_columns.iter().map(|name| value(name)).collect();
            let Some(values) = values.filter(|values| !values.contains(&Cell::Null)) else {
                continue;
            };
            let shown = values.iter().map(shown).collect::<Vec<_>>().join(", ");
            if self.session.number(&sql::parents(&key), values).await == Ok(Some(0)) {
                return broken(&key, &shown);
            }
        }
        refused
    }
}

fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Null => "NULL".to_owned(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => sql::literal(text),
        Cell::Bytes(bytes) => format!("x'{}'", hex_of(bytes)),
    }
}

fn broken(key: &ForeignKey, value: &str) -> DbError {
    DbError {
        class: DbErrorClass::Row,
        code: FOREIGN_KEY.to_owned(),
        constraint: Some(key.name.clone()),
        column: key.from_columns.first().cloned(),
        message: format!(
            "FOREIGN KEY constraint failed: {}.{} is {value}, which no row of {} has",
            key.from.name,
            key.from_columns.join(", "),
            key.to.name,
        ),
    }
}
