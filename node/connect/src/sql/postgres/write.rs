//! Writing rows, within one transaction that also counts the generation up.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::Row as _;

use crate::sql::cell::{Cell, Key, hex_of};
use crate::sql::database::{DbError, DbErrorClass, Insert, Mark, Note, Update};
use crate::sql::shape::{Bound, ColumnShape, ColumnType};

use super::Postgres;
use super::arguments::Arguments;
use super::arguments::is_bytes;
use super::error::{of, without_code};
use super::install::{CONTEXT, OUTBOX, own};
use super::read::PIECE;
use super::statement;

impl Postgres {
    /// Begins a write, if the context is of this token and generation.
    pub(super) async fn begin_batch(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        let context = own(self.home()?, CONTEXT);
        self.session.roll_back().await;
        self.session.is_open = true;
        let mut arguments = Arguments::default();
        let token = arguments.text(token)?;
        let generation = arguments.number(generation)?;
        let applied = match applied {
            Some(applied) => format!(", applied = {}", arguments.number(applied)?),
            None => String::new(),
        };
        let sql = format!(
            "UPDATE {context} SET generation = generation + 1{applied} \
             WHERE lease_token = {token} AND generation = {generation}"
        );
        let begun = match self.session.run("BEGIN ISOLATION LEVEL READ COMMITTED".to_owned()).await
        {
            Ok(()) => self.session.count(sql, arguments).await,
            Err(error) => Err(error),
        };
        if !matches!(begun, Ok(1)) {
            self.session.roll_back().await;
        }
        Ok(begun? == 1)
    }

    /// Deletes notes, by their transactions: one that has committed makes no more. Those of a transaction that was read in
    /// parts go by their places; should these have changed meanwhile (`VACUUM FULL`), the note stays and comes again.
    pub(super) async fn remove_notes(&mut self, notes: &[Note]) -> Result<(), DbError> {
        let outbox = own(self.home()?, OUTBOX);
        let (mut whole, mut parts) = (BTreeSet::new(), Vec::new());
        for note in notes {
            match note.id.split_once('@') {
                Some((transaction, place)) => parts.push((transaction, place, note)),
                None => {
                    whole.insert(&*note.id);
                }
            }
        }
        let whole: Vec<&str> = whole.into_iter().collect();
        for piece in whole.chunks(PIECE) {
            let mut arguments = Arguments::default();
            let ids = arguments.texts(piece.iter().map(|id| Some((*id).to_owned())).collect())?;
            let sql = format!("DELETE FROM {outbox} WHERE xid = ANY ({ids}::text[]::xid8[])");
            self.session.count(sql, arguments).await?;
        }
        for piece in parts.chunks(PIECE) {
            let mut arguments = Arguments::default();
            let text = |text: &str| Some(text.to_owned());
            let places =
                arguments.texts(piece.iter().map(|(_, place, _)| text(place)).collect())?;
            let ids = arguments.texts(piece.iter().map(|(id, _, _)| text(id)).collect())?;
            let tables = piece.iter().map(|(_, _, note)| i64::from(note.table)).collect();
            let tables = arguments.numbers(tables)?;
            let keys =
                arguments.texts(piece.iter().map(|(_, _, note)| note.key.clone()).collect())?;
            let sql = format!(
                "DELETE FROM {outbox} AS o \
                 USING unnest({places}::text[]::tid[], {ids}::text[]::xid8[], {tables}::bigint[], {keys}::text[]) \
                 AS u(place, xid, tbl, key) WHERE o.ctid = ANY ({places}::text[]::tid[]) AND o.ctid = u.place \
                 AND o.xid = u.xid AND o.tbl = u.tbl AND o.key IS NOT DISTINCT FROM u.key"
            );
            self.session.count(sql, arguments).await?;
        }
        Ok(())
    }

    /// Notes keys.
    pub(super) async fn note_keys(&mut self, bound: &Bound, keys: &[Key]) -> Result<(), DbError> {
        let outbox = own(self.home()?, OUTBOX);
        for keys in keys.chunks(PIECE) {
            let (sql, arguments) = statement::note(&outbox, bound, keys)?;
            self.session.count(sql, arguments).await?;
        }
        Ok(())
    }

    /// Sets whose rows make no notes until the write ends.
    pub(super) async fn set_guard(&mut self, bound: Option<&Bound>) -> Result<(), DbError> {
        let number = match bound {
            Some(bound) if !bound.cascades_to_itself => bound.number.to_string(),
            Some(_) | None => String::new(),
        };
        let mut arguments = Arguments::default();
        let number = arguments.text(&number)?;
        let sql = format!("SELECT set_config('branchline.apply', {number}, true)");
        self.session.all(sql, arguments).await.map(drop)
    }

    /// Inserts rows; returns the keys that were there already.
    pub(super) async fn insert_rows(
        &mut self,
        bound: &Bound,
        rows: &[Insert],
    ) -> Result<Vec<Key>, DbError> {
        // By the columns that they give values to: the others keep their defaults.
        let mut groups: BTreeMap<Vec<usize>, Vec<&Insert>> = BTreeMap::new();
        for row in rows {
            groups.entry(given(bound, row)).or_default().push(row);
        }
        let mut present = Vec::new();
        for (columns, rows) in groups {
            for rows in rows.chunks(PIECE) {
                present.extend(self.insert_piece(bound, &columns, rows).await?);
            }
        }
        Ok(present)
    }

    async fn insert_piece(
        &mut self,
        bound: &Bound,
        columns: &[usize],
        rows: &[&Insert],
    ) -> Result<Vec<Key>, DbError> {
        let (sql, arguments) = statement::insert(bound, columns, |index, column, arguments| {
            match bound.key.iter().position(|key| *key == index) {
                Some(number) => {
                    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
                    arguments.key_array(&keys, number, column)
                }
                None => arguments.cells(
                    column,
                    rows.iter().map(|row| {
                        row.row.get(index).and_then(Option::as_ref).unwrap_or(&Cell::Null)
                    }),
                ),
            }
        })?;
        let inserted = self.session.all(sql, arguments).await?;
        if inserted.len() == rows.len() {
            return Ok(Vec::new());
        }
        // Which ones is reported by the texts that the database makes of the keys.
        let inserted = keys_of(bound, &inserted)?.into_iter().collect::<BTreeSet<Key>>();
        let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
        let (sql, arguments) = statement::key_texts(bound, &keys)?;
        let texts = keys_of(bound, &self.session.all(sql, arguments).await?)?;
        let absent = keys.into_iter().zip(texts).filter(|(_, text)| !inserted.contains(text));
        Ok(absent.map(|(key, _)| key).collect())
    }

    /// Changes rows.
    pub(super) async fn update_rows(
        &mut self,
        bound: &Bound,
        rows: &[Update],
    ) -> Result<(), DbError> {
        // By the columns that they change: the others are left alone.
        let mut groups: BTreeMap<(Vec<usize>, Vec<usize>), Vec<&Update>> = BTreeMap::new();
        for row in rows {
            let set: BTreeSet<usize> = row.set.iter().map(|(index, _)| *index).collect();
            let add: BTreeSet<usize> = row.add.iter().map(|(index, _)| *index).collect();
            if !set.is_empty() || !add.is_empty() {
                let columns = (set.into_iter().collect(), add.into_iter().collect());
                groups.entry(columns).or_default().push(row);
            }
        }
        for ((set, add), rows) in groups {
            for rows in rows.chunks(PIECE) {
                self.update_piece(bound, &set, &add, rows).await?;
            }
        }
        Ok(())
    }

    async fn update_piece(
        &mut self,
        bound: &Bound,
        set: &[usize],
        add: &[usize],
        rows: &[&Update],
    ) -> Result<(), DbError> {
        let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
        let values = |index: usize, column: &ColumnShape, arguments: &mut Arguments| {
            let cells = rows.iter().map(|row| {
                let cell = row.set.iter().find(|(to, _)| *to == index);
                cell.map_or(&Cell::Null, |(_, cell)| cell)
            });
            arguments.cells(column, cells)
        };
        let amounts = |index: usize| {
            let amount = |row: &&Update| {
                let amount = row.add.iter().find(|(to, _)| *to == index);
                amount.map_or(0, |(_, by)| *by)
            };
            rows.iter().map(amount).collect()
        };
        let (sql, arguments) = statement::update(bound, &keys, set, add, values, amounts)?;
        self.session.count(sql, arguments).await.map(drop)
    }

    /// Deletes rows.
    pub(super) async fn delete_rows(&mut self, bound: &Bound, keys: &[Key]) -> Result<(), DbError> {
        for keys in keys.chunks(PIECE) {
            let (sql, arguments) = statement::delete(bound, keys)?;
            self.session.count(sql, arguments).await?;
        }
        Ok(())
    }

    /// Writes a time or true into a column, or takes it back.
    pub(super) async fn mark_rows(
        &mut self,
        bound: &Bound,
        column: &str,
        rows: &[Mark],
    ) -> Result<(), DbError> {
        let kind = match bound.columns.iter().find(|known| known.name == column) {
            Some(known) => known.kind.clone(),
            None => self.kind_of(bound, column).await?,
        };
        let (set, clear) = match kind {
            // The session's time zone is UTC.
            ColumnType::DateTime { .. } | ColumnType::Date => ("now()", "NULL"),
            ColumnType::Boolean => ("true", "false"),
            _ => {
                let message =
                    format!("column {column} of {} is neither a time nor a boolean", bound.table);
                return Err(without_code(DbErrorClass::Config, message));
            }
        };
        for (is_set, value) in [(true, set), (false, clear)] {
            let keys = rows.iter().filter(|row| row.is_set == is_set).map(|row| row.key.clone());
            for keys in keys.collect::<Vec<Key>>().chunks(PIECE) {
                let (sql, arguments) = statement::mark(bound, column, value, keys)?;
                self.session.count(sql, arguments).await?;
            }
        }
        Ok(())
    }

    async fn kind_of(&mut self, bound: &Bound, column: &str) -> Result<ColumnType, DbError> {
        let shape = self.find_shape(&bound.table.to_string()).await?;
        let kind =
            shape.as_ref().and_then(|shape| shape.column(column)).map(|column| column.kind.clone());
        kind.ok_or_else(|| {
            without_code(
                DbErrorClass::Schema,
                format!("there is no column {column} in {}", bound.table),
            )
        })
    }

    /// Deletes the notes of this write, where the guard has not held them back.
    pub(super) async fn forget_keys(&mut self, bound: &Bound, keys: &[Key]) -> Result<(), DbError> {
        if !bound.is_captured || !bound.cascades_to_itself {
            return Ok(());
        }
        let outbox = own(self.home()?, OUTBOX);
        for keys in keys.chunks(PIECE) {
            let (sql, arguments) = statement::forget(&outbox, bound, keys)?;
            self.session.count(sql, arguments).await?;
        }
        Ok(())
    }

    /// Sets the mark, in place of the one before.
    pub(super) async fn set_mark(&mut self) -> Result<(), DbError> {
        let release = if self.session.has_mark { "RELEASE SAVEPOINT branchline; " } else { "" };
        self.session.run(format!("{release}SAVEPOINT branchline")).await?;
        self.session.has_mark = true;
        Ok(())
    }
}

/// The columns that an insert gives values to: those of its key at least, and none that the database computes.
fn given(bound: &Bound, row: &Insert) -> Vec<usize> {
    let columns = bound.columns.iter().enumerate().filter(|(index, column)| {
        let is_given = row.row.get(*index).is_some_and(Option::is_some);
        (is_given || bound.key.contains(index)) && !column.is_generated
    });
    columns.map(|(index, _)| index).collect()
}

/// Keys as they were returned: texts, and bytes.
fn keys_of(bound: &Bound, rows: &[sqlx::postgres::PgRow]) -> Result<Vec<Key>, DbError> {
    let key = |row: &sqlx::postgres::PgRow| {
        let values = bound.key_columns().enumerate().map(|(index, column)| {
            if is_bytes(column) {
                row.try_get(index).map(|bytes: Vec<u8>| hex_of(&bytes))
            } else {
                row.try_get(index)
            }
        });
        values.collect::<Result<Vec<String>, _>>().map(Key).map_err(|error| of(&error))
    };
    rows.iter().map(key).collect()
}
