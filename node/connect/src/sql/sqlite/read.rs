//! Notes and rows, read.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, TypeInfo, ValueRef};

use super::SqliteDatabase;
use super::install::KEY_COLUMNS_MAX;
use super::sql::{self, KEYS_PER_STATEMENT_MAX};
use crate::sql::cell::{Cell, Key, Row};
use crate::sql::database::{DbError, Note, Read};
use crate::sql::shape::Bound;

/// A value, by its own class: a column's declared type binds nobody in SQLite.
fn cell(row: &SqliteRow, index: usize) -> Result<Cell, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let class = value.type_info().name().to_owned();
    Ok(match class.as_str() {
        "INTEGER" | "BOOLEAN" => Cell::Integer(row.try_get_unchecked(index)?),
        "REAL" => Cell::Real(row.try_get_unchecked(index)?),
        "BLOB" => Cell::Bytes(row.try_get_unchecked(index)?),
        _ => match row.try_get_unchecked::<String, _>(index) {
            Ok(text) => Cell::Text(text),
            Err(_) => Cell::Bytes(row.try_get_unchecked(index)?),
        },
    })
}

/// A row as [`sql`] selects it. `None`: its key is NULL, so that it could not be found by it. Of a key that is no UTF-8
/// what can be shown is taken; the cells have its bytes.
fn read(table: &Bound, row: &SqliteRow) -> Result<Option<Read>, sqlx::Error> {
    let key_length = table.key.len();
    let mut key = Vec::with_capacity(key_length);
    for index in 0..key_length {
        match cell(row, index)? {
            Cell::Text(text) => key.push(text),
            Cell::Bytes(bytes) => key.push(String::from_utf8_lossy(&bytes).into_owned()),
            Cell::Null | Cell::Integer(_) | Cell::Real(_) => return Ok(None),
        }
    }
    let cells = key_length..key_length + table.columns.len();
    let cells = cells.map(|index| cell(row, index)).collect::<Result<Row, sqlx::Error>>()?;
    let is_captured = row.try_get::<i64, _>(key_length + table.columns.len())? != 0;
    Ok(Some(Read { key: Key(key), row: cells, is_captured }))
}

impl SqliteDatabase {
    pub(super) async fn rows_of(
        &mut self,
        table: &Bound,
        keys: &[Key],
    ) -> Result<Vec<Read>, DbError> {
        let sql = sql::rows(table);
        let mut found = Vec::with_capacity(keys.len());
        for piece in keys.chunks(KEYS_PER_STATEMENT_MAX) {
            let values = vec![Cell::text(sql::keys_json(piece)), Cell::text(table.site.clone())];
            found.extend(self.session.fetch(&sql, values, |row| read(table, row)).await?);
        }
        Ok(found.into_iter().flatten().collect())
    }

    pub(super) async fn page_of(
        &mut self,
        table: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError> {
        let limit = Cell::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut values = vec![limit, Cell::text(table.site.clone())];
        if let Some(key) = after {
            values.extend(sql::key_cells(table, key));
        }
        let sql = sql::page(table, after.is_none());
        let rows = self.session.fetch(&sql, values, |row| read(table, row)).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    pub(super) async fn notes_of(&mut self, limit: usize) -> Result<Vec<Note>, DbError> {
        let columns: Vec<String> = (1..=KEY_COLUMNS_MAX)
            .map(|number| {
                let k = format!("o.k{number}");
                format!(
                    "CASE typeof({k}) WHEN 'blob' THEN lower(hex({k})) ELSE CAST({k} AS TEXT) END"
                )
            })
            .collect();
        let sql = format!(
            "SELECT o.id, o.tbl, o.op, {} FROM branchline_outbox AS o ORDER BY o.id LIMIT ?1",
            columns.join(", ")
        );
        let limit = Cell::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        let lengths = &self.key_lengths;
        let note = |row: &SqliteRow| {
            let table = u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0);
            let length = lengths.get(&table).copied().unwrap_or(1);
            let mut key = Vec::with_capacity(length);
            for index in 0..length {
                match cell(row, 3 + index)? {
                    Cell::Text(text) => key.push(text),
                    Cell::Bytes(bytes) => key.push(String::from_utf8_lossy(&bytes).into_owned()),
                    Cell::Null | Cell::Integer(_) | Cell::Real(_) => {}
                }
            }
            Ok(Note {
                id: row.try_get::<i64, _>(0)?.to_string(),
                table,
                operation: row.try_get::<String, _>(2)?.chars().next().unwrap_or('L'),
                key: (key.len() == length).then(|| Key(key).to_text()),
            })
        };
        self.session.fetch(&sql, vec![limit], note).await
    }
}
