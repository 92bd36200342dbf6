//! Reading notes and rows.

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::sql::cell::{Cell, Key, Row, hex_of};
use crate::sql::database::{DbError, DbErrorClass, Note, Read};
use crate::sql::shape::Bound;

use super::Postgres;
use super::arguments::Arguments;
use super::arguments::is_bytes;
use super::error::{of, without_code};
use super::install::{OUTBOX, own};
use super::statement::{self, table};

/// How many keys go into one statement. The spike's figures are of this size; more gains nothing.
pub(super) const PIECE: usize = 1_000;

/// So many notes are read at once at most, some 10 MB: a transaction of more, which the node could not write as one
/// either, is taken in parts.
const NOTES_MAX: usize = 50_000;

impl Postgres {
    /// Begins a snapshot, with the tables locked first: TRUNCATE is not seen by snapshots that are older.
    pub(super) async fn begin_snapshot(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.session.roll_back().await;
        let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY".to_owned();
        if !tables.is_empty() {
            let names: Vec<String> = tables.iter().map(|bound| table(&bound.table)).collect();
            sql.push_str(&format!("; LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")));
        }
        self.session.is_open = true;
        let begun = self.session.run(sql).await;
        if begun.is_err() {
            self.session.roll_back().await;
        }
        begun
    }

    /// Ends a transaction.
    pub(super) async fn end(&mut self, sql: &str) -> Result<(), DbError> {
        self.session.run(sql.to_owned()).await?;
        (self.session.is_open, self.session.has_mark) = (false, false);
        Ok(())
    }

    /// Whether there are notes. In the index's order, which skips the dead ones at the front soon; a search of the whole
    /// table would pass over all that were deleted since it was last cleaned.
    pub(super) async fn any_notes(&mut self) -> Result<bool, DbError> {
        let outbox = own(self.home()?, OUTBOX);
        let sql = format!("SELECT 1 FROM {outbox} ORDER BY xid LIMIT 1");
        Ok(self.session.one(sql, Arguments::default()).await?.is_some())
    }

    /// How many notes wait, up to a million.
    pub(super) async fn count_notes(&mut self) -> Result<u64, DbError> {
        let outbox = own(self.home()?, OUTBOX);
        let sql = format!("SELECT count(*) FROM (SELECT FROM {outbox} LIMIT 1000000) AS n");
        let row = self.session.one(sql, Arguments::default()).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(|error| of(&error))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The notes of the first transactions that have about so many.
    pub(super) async fn read_notes(&mut self, limit: usize) -> Result<Vec<Note>, DbError> {
        let outbox = own(self.home()?, OUTBOX);
        let mut arguments = Arguments::default();
        let limit = arguments.number(i64::try_from(limit.max(1)).unwrap_or(i64::MAX))?;
        let most = NOTES_MAX.saturating_add(1);
        let sql = format!(
            "SELECT xid::text, tbl, op::text, key, ctid::text FROM {outbox} WHERE xid <= \
             (SELECT f.xid FROM (SELECT xid FROM {outbox} ORDER BY xid LIMIT {limit}) AS f ORDER BY f.xid DESC LIMIT 1) \
             ORDER BY xid LIMIT {most}"
        );
        let notes = self.session.map(sql, arguments, note).await?;
        Ok(whole_transactions(notes))
    }

    /// The rows of some keys, locked or not.
    pub(super) async fn read_rows(
        &mut self,
        bound: &Bound,
        keys: &[Key],
        locks: bool,
    ) -> Result<Vec<Read>, DbError> {
        let mut reads = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PIECE) {
            let (sql, arguments) = statement::rows(bound, keys, locks)?;
            for row in self.session.all(sql, arguments).await? {
                reads.extend(read(bound, &row)?);
            }
        }
        Ok(reads)
    }

    /// Rows behind a key.
    pub(super) async fn read_page(
        &mut self,
        bound: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError> {
        let (sql, arguments) = statement::page(bound, after, limit)?;
        let rows = self.session.all(sql, arguments).await?;
        let reads = rows.iter().filter_map(|row| read(bound, row).transpose());
        reads.collect()
    }
}

/// Notes in the order of their transactions, as far as those are whole. Of a transaction that alone is too large, what was
/// read, each note named by its place.
fn whole_transactions(mut notes: Vec<(Note, String)>) -> Vec<Note> {
    if notes.len() > NOTES_MAX {
        let cut = notes.last().map(|(note, _)| note.id.clone()).unwrap_or_default();
        let whole = notes.iter().take_while(|(note, _)| note.id != cut).count();
        if whole > 0 {
            notes.truncate(whole);
        } else {
            for (note, place) in &mut notes {
                note.id = format!("{}@{place}", note.id);
            }
        }
    }
    notes.into_iter().map(|(note, _)| note).collect()
}

fn note(row: &PgRow) -> Result<(Note, String), sqlx::Error> {
    let operation: String = row.try_get(2)?;
    let note = Note {
        id: row.try_get(0)?,
        // Never below 0: only the bridge writes notes.
        table: u32::try_from(row.try_get::<i32, _>(1)?).unwrap_or(0),
        operation: operation.chars().next().unwrap_or('L'),
        key: row.try_get(3)?,
    };
    Ok((note, row.try_get(4)?))
}

/// A row as it was read; `None` where a column of its key is NULL, so that nothing names it.
fn read(bound: &Bound, row: &PgRow) -> Result<Option<Read>, DbError> {
    let mut cells: Row = Vec::with_capacity(bound.columns.len());
    for (index, column) in bound.columns.iter().enumerate() {
        let cell = if is_bytes(column) {
            row.try_get(index).map(|bytes: Option<Vec<u8>>| bytes.map(Cell::Bytes))
        } else {
            row.try_get(index).map(|text: Option<String>| text.map(Cell::Text))
        };
        cells.push(cell.map_err(|error| of(&error))?.unwrap_or(Cell::Null));
    }
    let is_captured: bool = row.try_get(bound.columns.len()).map_err(|error| of(&error))?;
    let mut key = Vec::with_capacity(bound.key.len());
    for index in &bound.key {
        match cells.get(*index) {
            Some(cell) => match key_text(cell) {
                Some(text) => key.push(text),
                None => return Ok(None),
            },
            None => {
                let message = format!("the key of {} names a column that is not read", bound.table);
                return Err(without_code(DbErrorClass::Bug, message));
            }
        }
    }
    Ok(Some(Read { key: Key(key), row: cells, is_captured }))
}

/// A cell as keys have it.
pub(super) fn key_text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Null => None,
        Cell::Text(text) => Some(text.clone()),
        Cell::Bytes(bytes) => Some(hex_of(bytes)),
        Cell::Integer(number) => Some(number.to_string()),
        Cell::Real(number) => Some(number.to_string()),
    }
}
