//! The pieces of SQL that all statements are made of: quoted names, columns as text, and lists of values.
//!
//! Every list crosses as one JSON parameter whose elements are texts: `JSON_TABLE` would cut what is longer than a column
//! of its own without a word, make the next number of what is too large, and take the database's default charset, so its
//! columns are all `LONGTEXT CHARACTER SET utf8mb4`, converted where they are used.

use crate::sql::cell::Key;
use crate::sql::shape::{Bound, ColumnShape, ColumnType};

/// The alias of a list of values. Columns of filters are not qualified, so its columns have names of our own.
pub(super) const LIST: &str = "branchline_list";

/// A name in backticks.
pub(super) fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in quotes.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A column's declared type without its collation, and the collation.
fn declared(column: &ColumnShape) -> (&str, Option<&str>) {
    match column.declared.split_once(COLLATE) {
        Some((declared, collation)) => (declared, Some(collation)),
        None => (&column.declared, None),
    }
}

/// Between type and collation in [`ColumnShape::declared`].
pub(super) const COLLATE: &str = " collate ";

/// What a declared type begins with: `bigint` of `bigint(20) unsigned`.
pub(super) fn base(declared: &str) -> &str {
    declared.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

fn argument(declared: &str) -> &str {
    let Some((_, rest)) = declared.split_once('(') else { return "" };
    rest.split(')').next().unwrap_or_default()
}

fn is_bytes(column: &ColumnShape) -> bool {
    matches!(column.kind, ColumnType::Bytes { .. })
}

fn is_bit(column: &ColumnShape) -> bool {
    base(&column.declared) == "bit"
}

/// The text form of a column, in any session of ours: `value` is the column, or `NEW.` and the column in a trigger.
pub(super) fn key_text(column: &ColumnShape, value: &str) -> String {
    let (declared, _) = declared(column);
    match base(declared) {
        _ if is_bytes(column) => format!("LOWER(HEX({value}))"),
        // Its text depends on the time zone of the session, which in a trigger is the application's.
        "timestamp" => {
            let digits = argument(declared);
            let digits = if digits.is_empty() { "0" } else { digits };
            let epoch = "TIMESTAMP'1970-01-01 00:00:00'";
            format!(
                "CAST(CAST({epoch} + INTERVAL UNIX_TIMESTAMP({value}) SECOND AS DATETIME({digits})) AS CHAR)"
            )
        }
        _ => cell_text(column, value),
    }
}

/// A column as it is read: text, or bytes.
pub(super) fn cell(column: &ColumnShape, value: &str) -> String {
    if is_bytes(column) {
        return format!("CAST({value} AS BINARY)");
    }
    cell_text(column, value)
}

fn cell_text(column: &ColumnShape, value: &str) -> String {
    let (declared, _) = declared(column);
    match base(declared) {
        "bit" => format!("CAST({value} + 0 AS CHAR)"),
        // As text it has six digits only.
        "float" => format!("CAST(CAST({value} AS DOUBLE) AS CHAR)"),
        // `00042` is 42.
        _ if declared.ends_with("zerofill") => format!("CAST({value} + 0 AS CHAR)"),
        _ => format!("CAST({value} AS CHAR)"),
    }
}

/// A text as a column takes it when it is written.
pub(super) fn written(column: &ColumnShape, text: &str) -> String {
    if is_bytes(column) {
        format!("UNHEX({text})")
    } else if is_bit(column) {
        format!("CAST({text} AS UNSIGNED)")
    } else {
        text.to_owned()
    }
}

/// A text as a value that is compared with a key column, so that the column's index is used.
fn comparable(column: &ColumnShape, text: &str) -> String {
    let (declared, collation) = declared(column);
    let unsigned = if declared.contains("unsigned") { "UNSIGNED" } else { "SIGNED" };
    match base(declared) {
        _ if is_bytes(column) => format!("UNHEX({text})"),
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
            format!("CAST({text} AS {unsigned})")
        }
        "bit" | "year" => format!("CAST({text} AS UNSIGNED)"),
        "decimal" => format!("CAST({text} AS DECIMAL({}))", argument(declared)),
        "double" | "float" => format!("CAST({text} AS DOUBLE)"),
        "date" => format!("CAST({text} AS DATE)"),
        "datetime" | "timestamp" => match argument(declared) {
            "" => format!("CAST({text} AS DATETIME)"),
            digits => format!("CAST({text} AS DATETIME({digits}))"),
        },
        "time" => match argument(declared) {
            "" => format!("CAST({text} AS TIME)"),
            digits => format!("CAST({text} AS TIME({digits}))"),
        },
        _ => match collation {
            Some(collation) => {
                let charset = collation.split('_').next().unwrap_or("utf8mb4");
                format!("CONVERT({text} USING {charset}) COLLATE {collation}")
            }
            None => text.to_owned(),
        },
    }
}

/// Whether two keys compare as their texts do not: `ENUM` and `SET` sort by definition and compare by label.
fn sorts_by_text(column: &ColumnShape) -> bool {
    matches!(column.kind, ColumnType::Enum { .. } | ColumnType::Set { .. })
}

/// `JSON_TABLE(?, …)` with so many columns, `c0` and on: of one column a list of texts, of several a list of lists.
pub(super) fn list(columns: usize) -> String {
    let columns: Vec<String> = (0..columns)
        .map(|i| format!("{} LONGTEXT CHARACTER SET utf8mb4 PATH '$[{i}]'", item_name(i)))
        .collect();
    format!("JSON_TABLE(?, '$[*]' COLUMNS ({})) AS {LIST}", columns.join(", "))
}

fn item_name(index: usize) -> String {
    format!("branchline_c{index}")
}

/// A column of [`list`].
pub(super) fn item(index: usize) -> String {
    format!("{LIST}.{}", item_name(index))
}

/// The parameter of [`list`].
pub(super) fn list_json(rows: &[Vec<Option<String>>]) -> String {
    serde_json::to_string(rows).unwrap_or_default()
}

/// The condition that a row of the table is the one whose key stands in the first columns of [`list`]: by the index, and
/// byte by byte, since a collation may find another.
pub(super) fn is_listed(table: &Bound) -> String {
    let own = name(&table.table.name);
    let mut conditions = Vec::new();
    for (i, column) in table.key_columns().enumerate() {
        let value = format!("{own}.{}", name(&column.name));
        conditions.push(format!("{value} = {}", comparable(column, &item(i))));
        let text = cell_text_of_key(column, &value);
        conditions.push(format!("{text} COLLATE utf8mb4_nopad_bin = {}", item(i)));
    }
    conditions.join(" AND ")
}

/// [`key_text`] in a session of ours, whose zone is UTC.
pub(super) fn cell_text_of_key(column: &ColumnShape, value: &str) -> String {
    if is_bytes(column) {
        return format!("LOWER(HEX({value}))");
    }
    cell_text(column, value)
}

/// The order of the key, and the condition that a row is behind a key whose values are bound in the order of the result.
pub(super) fn behind(table: &Bound, after: Option<&Key>) -> (String, String, Vec<String>) {
    let columns: Vec<&ColumnShape> = table.key_columns().collect();
    let sorted = |column: &ColumnShape| {
        if sorts_by_text(column) {
            format!("CAST({} AS CHAR)", name(&column.name))
        } else {
            name(&column.name)
        }
    };
    let order: Vec<String> = columns.iter().map(|column| sorted(column)).collect();
    let Some(after) = after else { return (order.join(", "), "TRUE".to_owned(), Vec::new()) };
    let mut alternatives = Vec::new();
    let mut values = Vec::new();
    // (a, b) > (x, y) as a > x OR (a = x AND b > y), of which the optimiser makes ranges of the index.
    for i in 0..columns.len() {
        let mut conditions = Vec::new();
        for (j, (column, value)) in columns.iter().zip(&after.0).enumerate().take(i + 1) {
            let is = if j == i { ">" } else { "=" };
            let compared =
                if sorts_by_text(column) { "?".to_owned() } else { comparable(column, "?") };
            conditions.push(format!("{} {is} {compared}", sorted(column)));
            values.push(value.clone());
        }
        alternatives.push(format!("({})", conditions.join(" AND ")));
    }
    (order.join(", "), format!("({})", alternatives.join(" OR ")), values)
}

/// A filter with a `?` for each `{site}`, and how many there are. The text 1 or 0, never NULL.
pub(super) fn filter(table: &Bound) -> (String, usize) {
    let Some(filter) = &table.filter else { return ("'1'".to_owned(), 0) };
    let condition = format!("CAST((({filter}) IS TRUE) AS CHAR)");
    (condition.replace("{site}", "?"), filter.matches("{site}").count())
}
