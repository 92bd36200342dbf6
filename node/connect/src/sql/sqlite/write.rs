//! Rows written by key, in as few statements as there are sets of columns.

use std::collections::BTreeMap;

use super::SqliteDatabase;
use super::error::error;
use super::sql::{self, rows_per_write};
use crate::sql::cell::{Cell, Key};
use crate::sql::database::{DbError, DbErrorClass, Insert, Mark, Update};
use crate::sql::shape::{Bound, ColumnType};

impl SqliteDatabase {
    /// Whether statements must say OR ABORT. A constraint of the table may be declared ON CONFLICT REPLACE (or IGNORE),
    /// and then a plain INSERT of ours would remove another row. OR ABORT overrides that, and also what the
    /// application's triggers say for themselves, which is why it is not said where it is not needed.
    async fn is_or_abort(&mut self, table: &Bound) -> Result<bool, DbError> {
        if let Some(known) = self.conflict_clauses.get(&table.table.name) {
            return Ok(*known);
        }
        let sql = "SELECT m.sql FROM sqlite_master AS m WHERE m.type = 'table' AND m.name = ?1 COLLATE NOCASE";
        let name = vec![Cell::text(table.table.name.clone())];
        let found =
            self.session.fetch(sql, name, |row| sqlx::Row::try_get::<String, _>(row, 0)).await?;
        let clause = |sql: &String| sql.to_ascii_uppercase().contains("CONFLICT");
        let is_or_abort = found.iter().any(clause);
        self.conflict_clauses.insert(table.table.name.clone(), is_or_abort);
        Ok(is_or_abort)
    }

    pub(super) async fn insert_rows(
        &mut self,
        table: &Bound,
        rows: &[Insert],
    ) -> Result<Vec<Key>, DbError> {
        let mut there = Vec::new();
        // Rows with values for the same columns go together.
        let mut groups: BTreeMap<Vec<usize>, Vec<&Insert>> = BTreeMap::new();
        for row in rows {
            let given = row.row.iter().enumerate().filter(|(_, cell)| cell.is_some());
            groups.entry(given.map(|(index, _)| index).collect()).or_default().push(row);
        }
        for (columns, rows) in groups {
            // `DEFAULT VALUES` makes one row.
            let most = if columns.is_empty() { 1 } else { rows_per_write(columns.len()) };
            for piece in rows.chunks(most) {
                let Err(refused) = self.insert_piece(table, &columns, piece).await else {
                    continue;
                };
                // Mostly no row is there, so that is asked only now. A statement that is refused leaves nothing behind, but one
                // of which the application's triggers have ignored a part (which has no code).
                let keys: Vec<Key> = piece.iter().map(|row| row.key.clone()).collect();
                let is_undone = !refused.code.is_empty() || keys.len() == 1;
                let present = if refused.class == DbErrorClass::Row && is_undone {
                    self.present(table, &keys).await?
                } else {
                    Vec::new()
                };
                if !present.contains(&true) {
                    return Err(self.insert_refused(table, piece, refused).await);
                }
                let (is_there, is_absent): (Vec<_>, Vec<_>) =
                    piece.iter().copied().zip(present).partition(|(_, is_present)| *is_present);
                there.extend(is_there.into_iter().map(|(row, _)| row.key.clone()));
                let absent: Vec<&Insert> = is_absent.into_iter().map(|(row, _)| row).collect();
                if let Err(refused) = self.insert_piece(table, &columns, &absent).await {
                    return Err(self.insert_refused(table, &absent, refused).await);
                }
            }
        }
        self.remember_written(table, rows.iter().map(|row| &row.key)).await?;
        Ok(there)
    }

    async fn insert_piece(
        &mut self,
        table: &Bound,
        columns: &[usize],
        rows: &[&Insert],
    ) -> Result<(), DbError> {
        if rows.is_empty() {
            return Ok(());
        }
        let is_or_abort = self.is_or_abort(table).await?;
        let values = rows.iter().flat_map(|row| row.row.iter().flatten().cloned());
        let sql = sql::insert(table, columns, rows.len(), is_or_abort);
        let written = self.session.run(&sql, values.collect()).await?;
        if written == rows.len() as u64 {
            return Ok(());
        }
        let what = "the row was not taken: a trigger of the application ignores it";
        Err(error(DbErrorClass::Row, what))
    }

    /// For each key, whether it has a row.
    async fn present(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<bool>, DbError> {
        let values = vec![Cell::text(sql::keys_json(keys))];
        let read = |row: &sqlx::sqlite::SqliteRow| sqlx::Row::try_get::<i64, _>(row, 0);
        let places = self.session.fetch(&sql::present(table), values, read).await?;
        let mut present = vec![false; keys.len()];
        for place in places {
            if let Some(is_present) = usize::try_from(place).ok().and_then(|at| present.get_mut(at))
            {
                *is_present = true;
            }
        }
        Ok(present)
    }

    pub(super) async fn update_rows(
        &mut self,
        table: &Bound,
        rows: &[Update],
    ) -> Result<(), DbError> {
        let is_or_abort = self.is_or_abort(table).await?;
        // Rows with the same columns to set and to add to go together.
        let mut groups: BTreeMap<(Vec<usize>, Vec<usize>), Vec<&Update>> = BTreeMap::new();
        for row in rows {
            let set: Vec<usize> = row.set.iter().map(|(index, _)| *index).collect();
            let add: Vec<usize> = row.add.iter().map(|(index, _)| *index).collect();
            if !set.is_empty() || !add.is_empty() {
                groups.entry((set, add)).or_default().push(row);
            }
        }
        for ((set, add), rows) in groups {
            let parameters = table.key.len() + set.len() + add.len();
            let assignments = sql::assignments(table, &set, &add);
            for piece in rows.chunks(rows_per_write(parameters)) {
                let mut values = Vec::new();
                for row in piece {
                    values.extend(sql::key_cells(table, &row.key));
                    values.extend(row.set.iter().map(|(_, cell)| cell.clone()));
                    values.extend(row.add.iter().map(|(_, amount)| Cell::Integer(*amount)));
                }
                let sql = sql::update(table, &assignments, parameters, piece.len(), is_or_abort);
                if let Err(refused) = self.session.run(&sql, values).await {
                    return Err(self.update_refused(table, piece, refused).await);
                }
            }
        }
        self.remember_written(table, rows.iter().map(|row| &row.key)).await
    }

    async fn insert_refused(
        &mut self,
        table: &Bound,
        rows: &[&Insert],
        refused: DbError,
    ) -> DbError {
        let [row] = rows else { return refused };
        let value = |name: &str| {
            let at = table.columns.iter().position(|column| column.name == name)?;
            row.row.get(at)?.clone()
        };
        self.explained(table, refused, value).await
    }

    async fn update_refused(
        &mut self,
        table: &Bound,
        rows: &[&Update],
        refused: DbError,
    ) -> DbError {
        let [row] = rows else { return refused };
        let value = |name: &str| {
            let at = table.columns.iter().position(|column| column.name == name)?;
            row.set.iter().find(|(index, _)| *index == at).map(|(_, cell)| cell.clone())
        };
        self.explained(table, refused, value).await
    }

    pub(super) async fn delete_rows(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        for piece in keys.chunks(rows_per_write(table.key.len())) {
            let values = piece.iter().flat_map(|key| sql::key_cells(table, key)).collect();
            self.session.run(&sql::delete(table, piece.len()), values).await?;
        }
        self.remember_written(table, keys.iter()).await
    }

    pub(super) async fn mark_rows(
        &mut self,
        table: &Bound,
        column: &str,
        rows: &[Mark],
    ) -> Result<(), DbError> {
        let kind = self.kind_of(table, column).await?;
        for is_set in [true, false] {
            let keys = rows.iter().filter(|row| row.is_set == is_set).map(|row| row.key.clone());
            let keys: Vec<Key> = keys.collect();
            let value = match (&kind, is_set) {
                (ColumnType::Boolean | ColumnType::Integer { .. }, true) => "1",
                (ColumnType::Boolean | ColumnType::Integer { .. }, false) => "0",
                // UTC, in the form of SQLite's own functions, which the usual libraries read as well.
                (_, true) => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
                (_, false) => "NULL",
            };
            let assignment = [format!("{} = {value}", sql::quoted(column))];
            for piece in keys.chunks(rows_per_write(table.key.len())) {
                let values = piece.iter().flat_map(|key| sql::key_cells(table, key)).collect();
                let sql = sql::update(table, &assignment, table.key.len(), piece.len(), false);
                self.session.run(&sql, values).await?;
            }
        }
        Ok(())
    }

    async fn kind_of(&mut self, table: &Bound, column: &str) -> Result<ColumnType, DbError> {
        if let Some(known) = table.columns.iter().find(|known| known.name == column) {
            return Ok(known.kind.clone());
        }
        let sql = "SELECT x.type FROM pragma_table_xinfo(?1) AS x WHERE x.name = ?2 COLLATE NOCASE";
        let names = vec![Cell::text(table.table.name.clone()), Cell::text(column)];
        let found =
            self.session.fetch(sql, names, |row| sqlx::Row::try_get::<String, _>(row, 0)).await?;
        match found.first() {
            Some(declared) => Ok(super::types::column_type(declared, false).0),
            None => {
                let what = format!("no such column: {}.{column}", table.table.name);
                Err(error(DbErrorClass::Schema, what))
            }
        }
    }
}
