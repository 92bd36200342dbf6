//! Notes and rows, within a snapshot or a write.

use std::collections::HashSet;

use sqlx::mysql::MySqlRow;

use super::error::plain;
use super::install::{CONTEXT, OUTBOX};
use super::session::{MariadbSession, Parameter, SessionState, bytes, text, text_or_empty};
use super::text::{behind, cell, cell_text_of_key, filter, is_listed, list, list_json, name};
use crate::sql::cell::{Cell, Key};
use crate::sql::database::{DbError, DbErrorClass, Note, Read};
use crate::sql::shape::{Bound, ColumnShape, ColumnType};

/// Keys that are asked for at once, so that a statement stays well below a second and its parameter below 1 MiB or so.
const KEYS_MAX: usize = 1_000;

/// Begins a snapshot. First the tables are opened, so that none of them is altered or truncated any more, then the first
/// row is read, by which the snapshot is taken: nothing that it sees can change its shape (1412).
pub(super) async fn begin(session: &mut MariadbSession, tables: &[Bound]) -> Result<(), DbError> {
    if session.state != SessionState::Idle {
        return Err(plain(DbErrorClass::Bug, "a transaction is open already"));
    }
    session.state = SessionState::Reading;
    let mut sql =
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION READ ONLY".to_owned();
    for table in tables {
        sql.push_str(&format!("; SELECT 1 FROM {} LIMIT 0", name(&table.table.name)));
    }
    sql.push_str(&format!("; SELECT one FROM {CONTEXT}; SELECT id FROM {OUTBOX} LIMIT 1"));
    session.raw(sql).await
}

/// Ends it.
pub(super) async fn end(session: &mut MariadbSession) -> Result<(), DbError> {
    if session.state != SessionState::Reading {
        return Err(plain(DbErrorClass::Transient, "no snapshot is open on this connection"));
    }
    session.raw("COMMIT").await?;
    session.state = SessionState::Idle;
    Ok(())
}

/// The first notes.
pub(super) async fn notes(
    session: &mut MariadbSession,
    limit: usize,
) -> Result<Vec<Note>, DbError> {
    session.in_transaction()?;
    let sql = format!(
        "SELECT CAST(id AS CHAR), CAST(tbl AS CHAR), op, k FROM {OUTBOX} ORDER BY id LIMIT ?"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = session.query(sql, vec![limit.into()]).await?;
    let read = |row: &MySqlRow| {
        Ok(Note {
            id: text_or_empty(row, 0)?,
            // A number that is no table's: the worker deletes such notes.
            table: text_or_empty(row, 1)?.parse().unwrap_or_default(),
            operation: text_or_empty(row, 2)?.chars().next().unwrap_or('L'),
            key: text(row, 3)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Rows by key; `is_locked`: nobody else changes them until the transaction ends.
pub(super) async fn rows(
    session: &mut MariadbSession,
    table: &Bound,
    keys: &[Key],
    is_locked: bool,
) -> Result<Vec<Read>, DbError> {
    session.in_transaction()?;
    // In one order always, so that two who lock do not wait for each other.
    let mut keys: Vec<&Key> = keys.iter().collect();
    keys.sort_unstable();
    keys.dedup();
    let (filter, sites) = filter(table);
    let sql = format!(
        "SELECT {}, {filter} FROM {} STRAIGHT_JOIN {} ON {}{}",
        columns(table),
        list(table.key.len()),
        name(&table.table.name),
        is_listed(table),
        if is_locked { " FOR UPDATE" } else { "" }
    );
    let mut found = Vec::new();
    for keys in keys.chunks(KEYS_MAX) {
        let values: Vec<Vec<Option<String>>> =
            keys.iter().map(|key| key.0.iter().cloned().map(Some).collect()).collect();
        let mut parameters: Vec<Parameter> = vec![table.site.as_str().into(); sites];
        parameters.push(list_json(&values).into());
        let rows = session.query(sql.clone(), parameters).await?;
        let asked: HashSet<&Key> = keys.iter().copied().collect();
        for row in &rows {
            let read = read(table, row)?;
            if asked.contains(&read.key) {
                found.push(read);
            }
        }
    }
    Ok(found)
}

/// Rows behind a key.
pub(super) async fn page(
    session: &mut MariadbSession,
    table: &Bound,
    after: Option<&Key>,
    limit: usize,
) -> Result<Vec<Read>, DbError> {
    session.in_transaction()?;
    let (filter, sites) = filter(table);
    let (order, condition, values) = behind(table, after);
    let sql = format!(
        "SELECT {}, {filter} FROM {} WHERE {condition} ORDER BY {order} LIMIT ?",
        columns(table),
        name(&table.table.name),
    );
    let mut parameters: Vec<Parameter> = vec![table.site.as_str().into(); sites];
    parameters.extend(values.into_iter().map(Parameter::from));
    parameters.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let rows = session.query(sql, parameters).await?;
    rows.iter().map(|row| read(table, row)).collect()
}

/// The key's texts, then the cells.
fn columns(table: &Bound) -> String {
    let own = name(&table.table.name);
    let value = |column: &ColumnShape| format!("{own}.{}", name(&column.name));
    let key = table.key_columns().map(|column| cell_text_of_key(column, &value(column)));
    let cells = table.columns.iter().map(|column| cell(column, &value(column)));
    key.chain(cells).collect::<Vec<String>>().join(", ")
}

fn read(table: &Bound, row: &MySqlRow) -> Result<Read, DbError> {
    let width = table.key.len();
    let key = (0..width).map(|i| text_or_empty(row, i)).collect::<Result<_, _>>()?;
    let cells = table.columns.iter().enumerate();
    let cells = cells.map(|(i, column)| read_cell(column, row, width + i));
    let row_cells = cells.collect::<Result<_, _>>()?;
    let captured = text(row, width + table.columns.len())?;
    Ok(Read { key: Key(key), row: row_cells, is_captured: captured.as_deref() == Some("1") })
}

fn read_cell(column: &ColumnShape, row: &MySqlRow, index: usize) -> Result<Cell, DbError> {
    if matches!(column.kind, ColumnType::Bytes { .. }) {
        return Ok(bytes(row, index)?.map_or(Cell::Null, Cell::Bytes));
    }
    let Some(text) = text(row, index)? else { return Ok(Cell::Null) };
    // A float of 32 bits crosses as 64: back to the shortest text that means it.
    if matches!(column.kind, ColumnType::Float { is_double: false })
        && let Ok(float) = text.parse::<f32>()
    {
        return Ok(Cell::Text(float.to_string()));
    }
    Ok(Cell::Text(text))
}
