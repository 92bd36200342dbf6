//! What is written, within a write.

use std::collections::BTreeMap;

use super::error::plain;
use super::install::OUTBOX;
use super::session::{MariadbSession, SessionState, text_or_empty};
use super::text::{is_listed, item, list, list_json, name, written};
use crate::sql::cell::{Cell, Key, hex_of};
use crate::sql::database::{DbError, DbErrorClass, Insert, Mark, Note, Update};
use crate::sql::shape::{Bound, ColumnShape, ColumnType};

/// Rows of one statement, so that it holds no lock for long.
const ROWS_MAX: usize = 1_000;
/// Bytes of one statement's values: far below what a server takes in one packet (16 MiB by default), and above the greatest
/// row of a node.
const BYTES_MAX: usize = 2 << 20;
/// How often an insert is tried without the rows that turn out to be there.
const TRIES_MAX: u32 = 3;

type Values = Vec<Option<String>>;

/// From here on rows of this table make no notes.
pub(super) async fn guard(
    session: &mut MariadbSession,
    table: Option<&Bound>,
) -> Result<(), DbError> {
    let Some(table) = table else {
        if session.is_guarded {
            session.raw("SET @branchline_apply = NULL").await?;
            session.is_guarded = false;
        }
        return Ok(());
    };
    session.in_write()?;
    session.is_guarded = true;
    session.raw(format!("SET @branchline_apply = {}", table.number)).await
}

/// Commits; the guard is cleared first, since no rollback would do it.
pub(super) async fn commit(session: &mut MariadbSession) -> Result<(), DbError> {
    session.in_write()?;
    guard(session, None).await?;
    session.raw("COMMIT").await?;
    session.state = SessionState::Idle;
    Ok(())
}

/// Sets the mark, or goes back to it.
pub(super) async fn savepoint(
    session: &mut MariadbSession,
    is_undone: bool,
) -> Result<(), DbError> {
    session.in_write()?;
    if !is_undone {
        return session.raw("SAVEPOINT branchline").await;
    }
    match session.raw("ROLLBACK TO SAVEPOINT branchline").await {
        // After a deadlock there is no such mark: the server has rolled all of it back.
        Err(error) if error.code == "1305" => {
            Err(DbError { class: DbErrorClass::Transient, ..error })
        }
        answer => answer,
    }
}

/// Deletes notes by their numbers.
pub(super) async fn delete_notes(
    session: &mut MariadbSession,
    notes: &[Note],
) -> Result<(), DbError> {
    session.in_write()?;
    let ids: Vec<String> = notes.iter().map(|note| note.id.clone()).collect();
    delete_ids(session, &ids).await
}

/// Each by its primary key: a range or a scan would wait for notes that others have not committed yet.
pub(super) async fn delete_ids(
    session: &mut MariadbSession,
    ids: &[String],
) -> Result<(), DbError> {
    for ids in ids.chunks(ROWS_MAX) {
        let values: Vec<Values> = ids.iter().map(|id| vec![Some(id.clone())]).collect();
        let sql = format!(
            "DELETE {OUTBOX} FROM {} STRAIGHT_JOIN {OUTBOX} ON {OUTBOX}.id = CAST({} AS UNSIGNED)",
            list(1),
            item(0)
        );
        session.run(sql, vec![list_json(&values).into()]).await?;
    }
    Ok(())
}

/// Notes keys again.
pub(super) async fn note(
    session: &mut MariadbSession,
    table: &Bound,
    keys: &[Key],
) -> Result<(), DbError> {
    session.in_write()?;
    let sql = format!(
        "INSERT INTO {OUTBOX} (tbl, op, k) SELECT {}, 'L', {} FROM {}",
        table.number,
        item(0),
        list(1)
    );
    for keys in keys.chunks(ROWS_MAX) {
        let values: Vec<Values> = keys.iter().map(|key| vec![Some(key.to_text())]).collect();
        session.run(sql.clone(), vec![list_json(&values).into()]).await?;
    }
    Ok(())
}

/// Inserts rows; returns the keys that were there.
pub(super) async fn insert(
    session: &mut MariadbSession,
    table: &Bound,
    rows: &[Insert],
) -> Result<Vec<Key>, DbError> {
    session.in_write()?;
    // Rows that leave the same columns to their defaults go together.
    let mut groups: BTreeMap<Vec<usize>, Vec<(&Key, Values)>> = BTreeMap::new();
    for row in rows {
        let mut columns = Vec::new();
        let mut values = Vec::new();
        for (index, (column, cell)) in table.columns.iter().zip(&row.row).enumerate() {
            if let Some(cell) = cell {
                columns.push(index);
                values.push(value(column, cell)?);
            }
        }
        groups.entry(columns).or_default().push((&row.key, values));
    }
    let mut existing = Vec::new();
    for (columns, rows) in groups {
        let sql = insert_sql(table, &columns);
        for piece in pieces(rows, |(_, values)| values) {
            insert_piece(session, table, &sql, piece, &mut existing).await?;
        }
    }
    Ok(existing)
}

fn insert_sql(table: &Bound, columns: &[usize]) -> String {
    let columns = columns.iter().filter_map(|index| table.columns.get(*index));
    let names: Vec<String> = columns.clone().map(|column| name(&column.name)).collect();
    let values: Vec<String> =
        columns.enumerate().map(|(i, column)| written(column, &item(i))).collect();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {}",
        name(&table.table.name),
        names.join(", "),
        values.join(", "),
        list(values.len())
    )
}

/// A statement that fails leaves nothing behind, so rows that turn out to be there are left out and the others tried again.
async fn insert_piece(
    session: &mut MariadbSession,
    table: &Bound,
    sql: &str,
    mut rows: Vec<(&Key, Values)>,
    existing: &mut Vec<Key>,
) -> Result<(), DbError> {
    let mut tries = 0;
    while !rows.is_empty() {
        tries += 1;
        let values: Vec<&Values> = rows.iter().map(|(_, values)| values).collect();
        let json = serde_json::to_string(&values).unwrap_or_default();
        let error = match session.run(sql.to_owned(), vec![json.into()]).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.code != "1062" || tries > TRIES_MAX {
            return Err(error);
        }
        let keys: Vec<Key> = rows.iter().map(|(key, _)| (*key).clone()).collect();
        let found = super::read::rows(session, table, &keys, false).await?;
        if found.is_empty() {
            return Err(error);
        }
        rows.retain(|(key, _)| found.iter().all(|read| read.key != **key));
        existing.extend(found.into_iter().map(|read| read.key));
    }
    Ok(())
}

/// Changes rows, those that set the same columns together.
pub(super) async fn update(
    session: &mut MariadbSession,
    table: &Bound,
    rows: &[Update],
    habits: &Habits,
) -> Result<(), DbError> {
    session.in_write()?;
    let mut groups: BTreeMap<(Vec<usize>, Vec<usize>), Vec<Values>> = BTreeMap::new();
    for row in rows {
        let mut values: Values = row.key.0.iter().cloned().map(Some).collect();
        let (mut set, mut add) = (Vec::new(), Vec::new());
        for (index, cell) in &row.set {
            let Some(column) = table.columns.get(*index) else { continue };
            set.push(*index);
            values.push(value(column, cell)?);
        }
        for (index, amount) in &row.add {
            add.push(*index);
            values.push(Some(amount.to_string()));
        }
        groups.entry((set, add)).or_default().push(values);
    }
    for ((set, add), rows) in groups {
        let Some(sql) = update_sql(table, &set, &add, &habits.timed) else { continue };
        for piece in pieces(rows, |values| values) {
            session.run(sql.clone(), vec![list_json(&piece).into()]).await?;
        }
    }
    Ok(())
}

/// `kept`: columns that would get the time by themselves. Of those, what the bridge knows stays as it is.
fn update_sql(table: &Bound, set: &[usize], add: &[usize], kept: &[String]) -> Option<String> {
    let own = name(&table.table.name);
    let mut position = table.key.len();
    let mut parts = Vec::new();
    for column in set.iter().filter_map(|index| table.columns.get(*index)) {
        parts.push(format!("{own}.{} = {}", name(&column.name), written(column, &item(position))));
        position += 1;
    }
    for column in add.iter().filter_map(|index| table.columns.get(*index)) {
        let column = format!("{own}.{}", name(&column.name));
        parts.push(format!("{column} = {column} + CAST({} AS SIGNED)", item(position)));
        position += 1;
    }
    if parts.is_empty() {
        return None;
    }
    let is_written = |index: &usize| set.contains(index) || add.contains(index);
    for (index, column) in table.columns.iter().enumerate() {
        if kept.contains(&column.name) && !is_written(&index) {
            let column = format!("{own}.{}", name(&column.name));
            parts.push(format!("{column} = {column}"));
        }
    }
    Some(format!(
        "UPDATE {} STRAIGHT_JOIN {own} ON {} SET {}",
        list(position),
        is_listed(table),
        parts.join(", ")
    ))
}

/// Deletes rows.
pub(super) async fn delete(
    session: &mut MariadbSession,
    table: &Bound,
    keys: &[Key],
) -> Result<(), DbError> {
    session.in_write()?;
    let own = name(&table.table.name);
    let sql = format!(
        "DELETE {own} FROM {} STRAIGHT_JOIN {own} ON {}",
        list(table.key.len()),
        is_listed(table)
    );
    for keys in keys.chunks(ROWS_MAX) {
        let values: Vec<Values> =
            keys.iter().map(|key| key.0.iter().cloned().map(Some).collect()).collect();
        session.run(sql.clone(), vec![list_json(&values).into()]).await?;
    }
    Ok(())
}

/// Writes the time or true into a column, or takes it back, and leaves every other column as it is.
pub(super) async fn mark(
    session: &mut MariadbSession,
    table: &Bound,
    column: &str,
    rows: &[Mark],
    habits: &Habits,
) -> Result<(), DbError> {
    session.in_write()?;
    let (set, cleared) = if habits.times.iter().any(|time| time == column) {
        ("UTC_TIMESTAMP(6)", "NULL")
    } else {
        ("1", "0")
    };
    let own = name(&table.table.name);
    let is_set = item(table.key.len());
    let mut parts = vec![format!("{own}.{} = IF({is_set} = '1', {set}, {cleared})", name(column))];
    for kept in habits.timed.iter().filter(|kept| *kept != column) {
        parts.push(format!("{own}.{0} = {own}.{0}", name(kept)));
    }
    let sql = format!(
        "UPDATE {} STRAIGHT_JOIN {own} ON {} SET {}",
        list(table.key.len() + 1),
        is_listed(table),
        parts.join(", ")
    );
    for rows in rows.chunks(ROWS_MAX) {
        let values = rows.iter().map(|row| {
            let mut values: Values = row.key.0.iter().cloned().map(Some).collect();
            values.push(Some(if row.is_set { "1" } else { "0" }.to_owned()));
            values
        });
        let values: Vec<Values> = values.collect();
        session.run(sql.clone(), vec![list_json(&values).into()]).await?;
    }
    Ok(())
}

/// What columns of a table do by themselves.
#[derive(Clone, Default)]
pub(super) struct Habits {
    /// Those that get the time with every change.
    pub(super) timed: Vec<String>,
    /// Those that hold a time.
    times: Vec<String>,
}

/// Asks the catalogue, which leaves out a table that is being altered: so the table is opened first, and stays as it is
/// until the write ends.
pub(super) async fn habits(session: &mut MariadbSession, table: &str) -> Result<Habits, DbError> {
    session.raw(format!("SELECT 1 FROM {} LIMIT 0", name(table))).await?;
    let sql = "SELECT column_name, data_type, extra FROM information_schema.columns \
        WHERE table_schema = DATABASE() AND table_name = ?";
    let mut habits = Habits::default();
    for row in session.query(sql, vec![table.into()]).await? {
        let column = text_or_empty(&row, 0)?;
        if text_or_empty(&row, 2)?.to_lowercase().contains("on update") {
            habits.timed.push(column.clone());
        }
        if matches!(text_or_empty(&row, 1)?.as_str(), "datetime" | "timestamp" | "date") {
            habits.times.push(column);
        }
    }
    Ok(habits)
}

/// A cell as the text that [`written`] converts.
fn value(column: &ColumnShape, cell: &Cell) -> Result<Option<String>, DbError> {
    let text = match cell {
        Cell::Null => return Ok(None),
        Cell::Integer(integer) => integer.to_string(),
        Cell::Real(real) => real.to_string(),
        Cell::Text(text) => text.clone(),
        Cell::Bytes(bytes) if matches!(column.kind, ColumnType::Bytes { .. }) => {
            return Ok(Some(hex_of(bytes)));
        }
        Cell::Bytes(_) => return Err(refused(column, "bytes, which the column cannot hold")),
    };
    match &column.kind {
        ColumnType::Bytes { .. } => Ok(Some(hex_of(text.as_bytes()))),
        ColumnType::Boolean => match text.as_str() {
            "t" | "true" | "1" => Ok(Some("1".to_owned())),
            "f" | "false" | "0" => Ok(Some("0".to_owned())),
            _ => Err(refused(column, "neither true nor false")),
        },
        // A number that is no label would be taken for the place of one.
        ColumnType::Enum { labels } if !labels.contains(&text) && text.parse::<u64>().is_ok() => {
            Err(refused(column, "none of the column's labels"))
        }
        ColumnType::DateTime { .. } => Ok(Some(without_zone(&text))),
        _ => Ok(Some(text)),
    }
}

fn refused(column: &ColumnShape, what: &str) -> DbError {
    let message = format!("the value of column {} is {what}", column.name);
    DbError { column: Some(column.name.clone()), ..plain(DbErrorClass::Row, message) }
}

/// `2024-03-10T00:30:00Z` as MariaDB reads it. Moments are given in UTC.
fn without_zone(text: &str) -> String {
    let text =
        ["Z", "+00:00", "+00"].iter().find_map(|zone| text.strip_suffix(zone)).unwrap_or(text);
    match text.get(10..11) {
        Some("T" | "t") => text.replacen(['T', 't'], " ", 1),
        _ => text.to_owned(),
    }
}

/// Cuts rows into pieces of bounded size.
fn pieces<T>(rows: Vec<T>, values: impl Fn(&T) -> &Values) -> Vec<Vec<T>> {
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let mut bytes = 0_usize;
    for row in rows {
        let size: usize = values(&row).iter().flatten().map(String::len).sum();
        if !piece.is_empty() && (piece.len() >= ROWS_MAX || bytes.saturating_add(size) > BYTES_MAX)
        {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes = bytes.saturating_add(size);
        piece.push(row);
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}
