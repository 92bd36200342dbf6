//! All SQL for rows, and the one function that quotes names.
//!
//! SQLite takes `"name"` for a text where no column is called so, as after a migration has dropped it. Every column is
//! therefore written with its table (`"goods"."name"`), where that rule does not hold. Tables keep their names, since a
//! filter may use them; what else is in a statement has names that no table and no column of an application has.

use std::fmt::Write as _;

use crate::sql::cell::{Cell, Key};
use crate::sql::shape::{Bound, ColumnShape, ColumnType, ForeignKey};

/// Keys in one statement, and rows read by it.
pub(super) const KEYS_PER_STATEMENT_MAX: usize = 1000;

/// Rows written by one statement: its text grows with them and is kept by the driver's cache.
const ROWS_PER_WRITE_MAX: usize = 100;

/// SQLite allows 32,766 parameters.
const PARAMETERS_MAX: usize = 30_000;

/// How many rows of so many parameters fit one statement.
pub(super) fn rows_per_write(parameters_per_row: usize) -> usize {
    (PARAMETERS_MAX / parameters_per_row.max(1)).clamp(1, ROWS_PER_WRITE_MAX)
}

/// A name, quoted.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text, quoted.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn is_blob(column: &ColumnShape) -> bool {
    matches!(column.kind, ColumnType::Bytes { .. })
}

/// A column with its table.
fn of(table: &Bound, column: &str) -> String {
    format!("{}.{}", quoted(&table.table.name), quoted(column))
}

/// The keys of the JSON array `?1`, one row each. The columns of `json_each` itself (`key`, `value`, `type`, `id`, …) would
/// meet those of the table in a filter.
const KEYS: &str = "(SELECT j.value AS branchline_key, j.key AS branchline_place FROM json_each(?1) AS j) AS branchline_keys";

/// A key column's value as the text that [`Key`] has.
fn key_text(table: &Bound, column: &ColumnShape) -> String {
    let name = of(table, &column.name);
    if is_blob(column) { format!("lower(hex({name}))") } else { format!("CAST({name} AS TEXT)") }
}

/// What is read of each row: the key's texts, the cells, whether the filter is true. The filter is given the site as
/// parameter `?2`.
fn columns_read(table: &Bound) -> String {
    let mut list: Vec<String> = table.key_columns().map(|column| key_text(table, column)).collect();
    list.extend(table.columns.iter().map(|column| of(table, &column.name)));
    list.push(match &table.filter {
        // The line's end is for a filter that ends in a comment.
        Some(filter) => format!("({}\n) IS TRUE", filter_text(filter)),
        None => "1".to_owned(),
    });
    let mut text = String::new();
    for (number, expression) in list.iter().enumerate() {
        let comma = if number == 0 { "" } else { ", " };
        // Names of our own: a column may be called anything.
        let _ = write!(text, "{comma}{expression} AS c{number}");
    }
    text
}

/// The filter with the site's place made a parameter, with or without quotes around it.
pub(super) fn filter_text(filter: &str) -> String {
    filter.replace("'{site}'", "?2").replace("{site}", "?2")
}

/// The value at a place of the key, out of one element of the JSON array of keys.
fn key_value(table: &Bound, place: usize, column: &ColumnShape) -> String {
    let value = match table.key.len() {
        1 => "branchline_key".to_owned(),
        _ => format!("json_extract(branchline_key, '$[{place}]')"),
    };
    if is_blob(column) { format!("unhex({value})") } else { value }
}

/// The condition that a row of the table has a key. It is compared as the column's affinity wants it, so that an
/// index is used; where a collation would take two keys for one, byte by byte as well.
fn key_equals(table: &Bound, value: impl Fn(usize, &ColumnShape) -> String) -> String {
    let mut conditions = Vec::new();
    for (place, column) in table.key_columns().enumerate() {
        let (name, value) = (of(table, &column.name), value(place, column));
        conditions.push(format!("{name} = {value}"));
        if column.key_trap.is_some() {
            conditions.push(format!("{name} = {value} COLLATE BINARY"));
        }
    }
    conditions.join(" AND ")
}

/// The rows of the keys in the JSON array `?1`.
pub(super) fn rows(table: &Bound) -> String {
    format!(
        "SELECT {} FROM {KEYS} CROSS JOIN {} ON {}",
        columns_read(table),
        quoted(&table.table.name),
        key_equals(table, |place, column| key_value(table, place, column)),
    )
}

/// Rows behind the key in `?3` and following, `?1` of them at most. Rows without a key are none.
pub(super) fn page(table: &Bound, is_first: bool) -> String {
    let names: Vec<String> = table.key_columns().map(|column| of(table, &column.name)).collect();
    let mut conditions = Vec::new();
    for (name, column) in names.iter().zip(table.key_columns()) {
        match (is_blob(column), column.is_nullable) {
            (true, _) => conditions.push(format!("typeof({name}) = 'blob'")),
            (false, true) => conditions.push(format!("{name} IS NOT NULL")),
            (false, false) => {}
        }
    }
    if !is_first {
        let values: Vec<String> = (0..names.len()).map(|place| format!("?{}", place + 3)).collect();
        conditions.push(format!("({}) > ({})", names.join(", "), values.join(", ")));
    }
    let condition = if conditions.is_empty() {
        String::new()
    } else {
        format!(" WHERE {}", conditions.join(" AND "))
    };
    format!(
        "SELECT {} FROM {}{condition} ORDER BY {} LIMIT ?1",
        columns_read(table),
        quoted(&table.table.name),
        names.join(", "),
    )
}

/// A key's values as parameters.
pub(super) fn key_cells(table: &Bound, key: &Key) -> Vec<Cell> {
    let cell = |(column, text): (&ColumnShape, &String)| {
        if !is_blob(column) {
            return Cell::text(text.clone());
        }
        data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_or(Cell::Null, Cell::Bytes)
    };
    table.key_columns().zip(&key.0).map(cell).collect()
}

/// Keys as the JSON array that the statements take. SQLite cuts a text of JSON at U+0000 and would find another row:
/// such a key is NULL, which none has.
pub(super) fn keys_json(keys: &[Key]) -> String {
    let elements: Vec<serde_json::Value> = keys
        .iter()
        .map(|key| match &key.0[..] {
            values if values.iter().any(|value| value.contains('\0')) => serde_json::Value::Null,
            [one] => serde_json::Value::String(one.clone()),
            several => several.iter().cloned().map(serde_json::Value::String).collect(),
        })
        .collect();
    serde_json::Value::Array(elements).to_string()
}

/// Which of the keys in `?1` have rows: their places in the array.
pub(super) fn present(table: &Bound) -> String {
    format!(
        "SELECT branchline_place FROM {KEYS} WHERE EXISTS (SELECT 1 FROM {} WHERE {})",
        quoted(&table.table.name),
        key_equals(table, |place, column| key_value(table, place, column)),
    )
}

fn placeholders(rows: usize, parameters: usize) -> String {
    let row = format!("({})", vec!["?"; parameters].join(", "));
    vec![row; rows].join(", ")
}

/// Inserts `rows` rows with values for these columns, given row by row. `is_or_abort`: see [`super::write`].
pub(super) fn insert(table: &Bound, columns: &[usize], rows: usize, is_or_abort: bool) -> String {
    let name = quoted(&table.table.name);
    let or_abort = if is_or_abort { " OR ABORT" } else { "" };
    if columns.is_empty() {
        return format!("INSERT{or_abort} INTO {name} DEFAULT VALUES");
    }
    let names: Vec<String> = names_of(table, columns);
    let values = placeholders(rows, columns.len());
    format!("INSERT{or_abort} INTO {name} ({}) VALUES {values}", names.join(", "))
}

fn names_of(table: &Bound, columns: &[usize]) -> Vec<String> {
    let name = |index: &usize| table.columns.get(*index).map(|column| quoted(&column.name));
    columns.iter().filter_map(name).collect()
}

/// What [`update`] assigns: the values and amounts that follow the key among a row's parameters.
pub(super) fn assignments(table: &Bound, set: &[usize], add: &[usize]) -> Vec<String> {
    let (row, key_length) = (quoted(&table.table.name), table.key.len());
    let mut assignments = Vec::new();
    for (place, name) in names_of(table, set).iter().enumerate() {
        assignments.push(format!("{name} = branchline_v.c{}", key_length + place));
    }
    for (place, name) in names_of(table, add).iter().enumerate() {
        let amount = format!("branchline_v.c{}", key_length + set.len() + place);
        // SQLite makes a float of a sum that is too large, and a number of a text; abs() of the least number is an
        // error. The amount is in it so that it is not computed beforehand.
        assignments.push(format!(
            "{name} = CASE WHEN typeof({row}.{name}) = 'integer' AND typeof({row}.{name} + {amount}) = 'integer' \
             THEN {row}.{name} + {amount} ELSE abs({amount} * 0 - 9223372036854775807 - 1) END"
        ));
    }
    assignments
}

/// Updates `rows` rows, each given as so many parameters, its key first.
pub(super) fn update(
    table: &Bound,
    assignments: &[String],
    parameters: usize,
    rows: usize,
    is_or_abort: bool,
) -> String {
    let columns: Vec<String> = (0..parameters).map(|number| format!("c{number}")).collect();
    format!(
        "WITH branchline_v({}) AS (VALUES {}) UPDATE{} {} SET {} FROM branchline_v WHERE {}",
        columns.join(", "),
        placeholders(rows, parameters),
        if is_or_abort { " OR ABORT" } else { "" },
        quoted(&table.table.name),
        assignments.join(", "),
        key_equals(table, |place, _| format!("branchline_v.c{place}")),
    )
}

/// Deletes `rows` rows, each given as its key. (A key of several columns `IN` a list is looked up by the first alone.)
pub(super) fn delete(table: &Bound, rows: usize) -> String {
    let length = table.key.len();
    let conditions: Vec<String> = (0..rows)
        .map(|row| key_equals(table, |place, _| format!("?{}", row * length + place + 1)))
        .map(|condition| format!("({condition})"))
        .collect();
    let name = quoted(&table.table.name);
    format!("DELETE FROM {name} WHERE {}", conditions.join(" OR "))
}

/// The value of a foreign key's columns in one of the rows of the keys in `?1` that has no parent.
pub(super) fn without_parent(table: &Bound, key: &ForeignKey) -> Option<String> {
    let keys = key_equals(table, |place, column| key_value(table, place, column));
    Some(format!(
        "SELECT {} FROM {KEYS} CROSS JOIN {} ON {keys} WHERE {} LIMIT 1",
        values_text(key),
        quoted(&table.table.name),
        is_orphan(key)?,
    ))
}

/// The same of a child of one of the rows of the keys in `?1`, where the foreign key is to the table's key; other children
/// are seen at the commit alone.
pub(super) fn left_children(table: &Bound, key: &ForeignKey) -> Option<String> {
    if key.to_columns.len() != table.key.len() {
        return None;
    }
    let mut conditions = Vec::new();
    for (place, column) in table.key_columns().enumerate() {
        let at = key.to_columns.iter().position(|name| name.eq_ignore_ascii_case(&column.name))?;
        let from = referring(key, key.from_columns.get(at)?);
        conditions.push(format!("{from} = {}", key_value(table, place, column)));
    }
    Some(format!(
        "SELECT {} FROM {KEYS} CROSS JOIN {} ON {} WHERE {} LIMIT 1",
        values_text(key),
        quoted(&key.from.name),
        conditions.join(" AND "),
        is_orphan(key)?,
    ))
}

fn referring(key: &ForeignKey, column: &str) -> String {
    format!("{}.{}", quoted(&key.from.name), quoted(column))
}

fn values_text(key: &ForeignKey) -> String {
    let text = |column: &String| format!("quote({})", referring(key, column));
    key.from_columns.iter().map(text).collect::<Vec<_>>().join(" || ', ' || ")
}

fn is_orphan(key: &ForeignKey) -> Option<String> {
    let mut conditions = Vec::new();
    let mut equal = Vec::new();
    for (from, to) in key.from_columns.iter().zip(&key.to_columns) {
        let from = referring(key, from);
        conditions.push(format!("{from} IS NOT NULL"));
        equal.push(format!("branchline_p.{} = {from}", quoted(to)));
    }
    if equal.is_empty() {
        return None;
    }
    let parent = quoted(&key.to.name);
    conditions.push(format!(
        "NOT EXISTS (SELECT 1 FROM {parent} AS branchline_p WHERE {})",
        equal.join(" AND ")
    ));
    Some(conditions.join(" AND "))
}

/// How many rows a foreign key's parent has with these values.
pub(super) fn parents(key: &ForeignKey) -> String {
    let equal = |(place, name): (usize, &String)| format!("p.{} = ?{}", quoted(name), place + 1);
    let conditions: Vec<String> = key.to_columns.iter().enumerate().map(equal).collect();
    format!("SELECT count(*) FROM {} AS p WHERE {}", quoted(&key.to.name), conditions.join(" AND "))
}
