//! The SQL of reads and writes. Names are quoted by [`quote`] and in no other way; values never are in the text.
//!
//! Every value crosses as text, of bytes as bytes. Text is cast to the column's type without its length or digits
//! ([`cast`]): an explicit cast to `varchar(3)` cuts without a word, where the assignment to the column refuses.

use crate::sql::cell::Key;
use crate::sql::database::DbError;
use crate::sql::shape::{Bound, ColumnShape, ColumnType, TableName};

use super::arguments::{Arguments, is_bytes};

/// A name as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as SQL, for what cannot be a parameter (DDL).
pub(super) fn literal(text: &str) -> String {
    // With `E`, backslashes mean the same whatever `standard_conforming_strings` says.
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// A table as SQL.
pub(super) fn table(name: &TableName) -> String {
    match &name.schema {
        Some(schema) => format!("{}.{}", quote(schema), quote(&name.name)),
        None => quote(&name.name),
    }
}

/// A declared type without its length and digits: `numeric(12,2)` gives `numeric`.
pub(super) fn cast(declared: &str) -> String {
    let (mut bare, mut depth, mut is_quoted) = (String::new(), 0_usize, false);
    for character in declared.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => {
                depth = depth.saturating_sub(1);
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            bare.push(character);
        }
    }
    let (one, array) = match bare.split_once("[]") {
        Some((one, more)) => (one, format!("[]{more}")),
        None => (&*bare, String::new()),
    };
    let one = match one {
        // Without a length these mean one character, one bit.
        "character" => "bpchar",
        "bit" => "\"bit\"",
        one if one.starts_with("interval") => "interval",
        one => one,
    };
    format!("{one}{array}")
}

/// The type of the array in which a column's values are given.
fn array_of(column: &ColumnShape) -> &'static str {
    if is_bytes(column) { "bytea[]" } else { "text[]" }
}

/// A parameter's or an array's value as the column's type.
fn as_column(column: &ColumnShape, value: &str) -> String {
    if is_bytes(column) { value.to_owned() } else { format!("{value}::{}", cast(&column.declared)) }
}

/// What is selected of each column: text, or bytes.
fn selected(columns: &[ColumnShape]) -> String {
    let columns = columns.iter().map(|column| {
        let name = quote(&column.name);
        if is_bytes(column) { name } else { format!("{name}::text") }
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// The columns of the key, with commas between.
pub(super) fn key_list(bound: &Bound) -> String {
    bound.key_columns().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ")
}

/// The same to sort by. With the table's name: the name alone would mean the column of the result, which is text.
fn key_order(bound: &Bound) -> String {
    let table = table(&bound.table);
    let columns = bound.key_columns().map(|column| format!("{table}.{}", quote(&column.name)));
    columns.collect::<Vec<_>>().join(", ")
}

/// `SELECT` of a table's columns and of whether its filter is true, up to the `WHERE`.
fn select(bound: &Bound, arguments: &mut Arguments) -> Result<String, DbError> {
    let filter = match &bound.filter {
        Some(filter) if filter.contains("{site}") => {
            let site = arguments.text(&bound.site)?;
            format!("COALESCE(({}\n), false)", filter.replace("{site}", &format!("{site}::text")))
        }
        Some(filter) => format!("COALESCE(({filter}\n), false)"),
        None => "true".to_owned(),
    };
    let columns = selected(&bound.columns);
    Ok(format!("SELECT {columns}, {filter} FROM {}", table(&bound.table)))
}

/// The rows of some keys. `locks`: and nobody else changes them until the transaction ends.
pub(super) fn rows(
    bound: &Bound,
    keys: &[Key],
    locks: bool,
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let select = select(bound, &mut arguments)?;
    let is_key = is_key(bound, keys, &mut arguments)?;
    let lock = if locks {
        // In the key's order, so that two who lock rows wait for each other instead of crossing.
        format!(" ORDER BY {} FOR UPDATE", key_order(bound))
    } else {
        String::new()
    };
    Ok((format!("{select} WHERE {is_key}{lock}"), arguments))
}

/// Rows behind a key.
pub(super) fn page(
    bound: &Bound,
    after: Option<&Key>,
    limit: usize,
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let select = select(bound, &mut arguments)?;
    let mut conditions: Vec<String> = bound
        .key_columns()
        .filter(|column| column.is_nullable)
        .map(|column| format!("{} IS NOT NULL", quote(&column.name)))
        .collect();
    if let Some(after) = after {
        let mut values = Vec::new();
        for (number, column) in bound.key_columns().enumerate() {
            let parameter = arguments.key_value(after, number, column)?;
            let typed = if is_bytes(column) {
                format!("{parameter}::bytea")
            } else {
                as_column(column, &format!("{parameter}::text"))
            };
            values.push(typed);
        }
        conditions.push(format!("({}) > ({})", key_list(bound), values.join(", ")));
    }
    let condition = match &conditions[..] {
        [] => String::new(),
        conditions => format!(" WHERE {}", conditions.join(" AND ")),
    };
    let limit = arguments.number(i64::try_from(limit).unwrap_or(i64::MAX))?;
    let order = key_order(bound);
    Ok((format!("{select}{condition} ORDER BY {order} LIMIT {limit}"), arguments))
}

/// The condition that a row's key is one of these.
fn is_key(bound: &Bound, keys: &[Key], arguments: &mut Arguments) -> Result<String, DbError> {
    let columns: Vec<&ColumnShape> = bound.key_columns().collect();
    // An array of arrays cannot be written so; `Other` may be an array.
    if let [one] = columns[..]
        && !matches!(one.kind, ColumnType::Other)
    {
        let parameter = arguments.key_array(keys, 0, one)?;
        let array = array_of(one);
        let typed = if is_bytes(one) {
            format!("{parameter}::{array}")
        } else {
            format!("{parameter}::{array}::{}[]", cast(&one.declared))
        };
        return Ok(format!("{} = ANY({typed})", quote(&one.name)));
    }
    let (list, from) = unnest_keys(bound, keys, arguments)?;
    Ok(format!("({}) IN (SELECT {list} FROM {from})", key_list(bound)))
}

/// The values of keys as the columns' types, and the `unnest` which they come from.
fn unnest_keys(
    bound: &Bound,
    keys: &[Key],
    arguments: &mut Arguments,
) -> Result<(String, String), DbError> {
    let (mut list, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (number, column) in bound.key_columns().enumerate() {
        let parameter = arguments.key_array(keys, number, column)?;
        arrays.push(format!("{parameter}::{}", array_of(column)));
        list.push(as_column(column, &format!("branchline_u.k{number}")));
        names.push(format!("k{number}"));
    }
    let from = format!("unnest({}) AS branchline_u({})", arrays.join(", "), names.join(", "));
    Ok((list.join(", "), from))
}

/// Inserts rows that give values to these columns; returns the keys that were inserted.
pub(super) fn insert(
    bound: &Bound,
    columns: &[usize],
    mut values: impl FnMut(usize, &ColumnShape, &mut Arguments) -> Result<String, DbError>,
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let (mut names, mut list, mut arrays, mut fields) = (vec![], vec![], vec![], vec![]);
    let mut overriding = "";
    for index in columns {
        let Some(column) = bound.columns.get(*index) else { continue };
        let parameter = values(*index, column, &mut arguments)?;
        arrays.push(format!("{parameter}::{}", array_of(column)));
        names.push(quote(&column.name));
        list.push(as_column(column, &format!("branchline_u.c{index}")));
        fields.push(format!("c{index}"));
        if column.is_identity_always {
            overriding = " OVERRIDING SYSTEM VALUE";
        }
    }
    let key: Vec<ColumnShape> = bound.key_columns().cloned().collect();
    let sql = format!(
        "INSERT INTO {table} ({names}){overriding} SELECT {list} FROM unnest({arrays}) AS branchline_u({fields}) \
         ON CONFLICT ({key}) DO NOTHING RETURNING {returned}",
        table = table(&bound.table),
        names = names.join(", "),
        list = list.join(", "),
        arrays = arrays.join(", "),
        fields = fields.join(", "),
        key = key_list(bound),
        returned = selected(&key),
    );
    Ok((sql, arguments))
}

/// The text form that the database gives keys: `1` of a `numeric(12,2)` becomes `1.00`.
pub(super) fn key_texts(bound: &Bound, keys: &[Key]) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let (_, from) = unnest_keys(bound, keys, &mut arguments)?;
    let list = bound.key_columns().enumerate().map(|(number, column)| {
        let value = format!("branchline_u.k{number}");
        if is_bytes(column) {
            value
        } else {
            // Twice, since a cast with a length is what the column itself does to the value.
            format!("{value}::{}::{}::text", cast(&column.declared), column.declared)
        }
    });
    let list = list.collect::<Vec<_>>().join(", ");
    // The order of an unnest is the order of its arrays, and nothing here changes it.
    Ok((format!("SELECT {list} FROM {from}"), arguments))
}

/// Changes rows: `set` columns to values, `add` columns by amounts.
pub(super) fn update(
    bound: &Bound,
    keys: &[Key],
    set: &[usize],
    add: &[usize],
    mut values: impl FnMut(usize, &ColumnShape, &mut Arguments) -> Result<String, DbError>,
    mut amounts: impl FnMut(usize) -> Vec<i64>,
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let (mut arrays, mut fields, mut changes, mut same) = (vec![], vec![], vec![], vec![]);
    for (number, column) in bound.key_columns().enumerate() {
        let parameter = arguments.key_array(keys, number, column)?;
        arrays.push(format!("{parameter}::{}", array_of(column)));
        fields.push(format!("k{number}"));
        let value = as_column(column, &format!("branchline_u.k{number}"));
        same.push(format!("branchline_t.{} = {value}", quote(&column.name)));
    }
    for index in set {
        let Some(column) = bound.columns.get(*index) else { continue };
        let parameter = values(*index, column, &mut arguments)?;
        arrays.push(format!("{parameter}::{}", array_of(column)));
        fields.push(format!("c{index}"));
        let value = as_column(column, &format!("branchline_u.c{index}"));
        changes.push(format!("{} = {value}", quote(&column.name)));
    }
    for index in add {
        let Some(column) = bound.columns.get(*index) else { continue };
        let parameter = arguments.numbers(amounts(*index))?;
        arrays.push(format!("{parameter}::bigint[]"));
        fields.push(format!("a{index}"));
        let name = quote(&column.name);
        changes.push(format!("{name} = branchline_t.{name} + branchline_u.a{index}"));
    }
    let sql = format!(
        "UPDATE {table} AS branchline_t SET {changes} FROM unnest({arrays}) AS branchline_u({fields}) WHERE {same}",
        table = table(&bound.table),
        changes = changes.join(", "),
        arrays = arrays.join(", "),
        fields = fields.join(", "),
        same = same.join(" AND "),
    );
    Ok((sql, arguments))
}

/// Deletes rows.
pub(super) fn delete(bound: &Bound, keys: &[Key]) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let is_key = is_key(bound, keys, &mut arguments)?;
    Ok((format!("DELETE FROM {} WHERE {is_key}", table(&bound.table)), arguments))
}

/// Sets one column of rows to an expression.
pub(super) fn mark(
    bound: &Bound,
    column: &str,
    value: &str,
    keys: &[Key],
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let is_key = is_key(bound, keys, &mut arguments)?;
    let (table, column) = (table(&bound.table), quote(column));
    Ok((format!("UPDATE {table} SET {column} = {value} WHERE {is_key}"), arguments))
}

/// The keys of notes, from an `unnest`: as the triggers write them.
fn note_keys(bound: &Bound, keys: &[Key], arguments: &mut Arguments) -> Result<String, DbError> {
    let (mut arrays, mut names) = (Vec::new(), Vec::new());
    for number in 0..bound.key.len() {
        // As text, of bytes too: that is what notes hold.
        let values = keys.iter().map(|key| key.0.get(number).cloned()).collect();
        arrays.push(format!("{}::text[]", arguments.texts(values)?));
        names.push(format!("k{number}"));
    }
    let key = note_key(&names);
    Ok(format!(
        "SELECT {key} FROM unnest({}) AS branchline_u({})",
        arrays.join(", "),
        names.join(", ")
    ))
}

/// A note's key, made of the texts of the key's columns.
pub(super) fn note_key(texts: &[String]) -> String {
    match texts {
        [one] => one.clone(),
        several => {
            let several = several.join(", ");
            format!(
                "CASE WHEN num_nulls({several}) = 0 THEN jsonb_build_array({several})::text END"
            )
        }
    }
}

/// Notes keys.
pub(super) fn note(
    outbox: &str,
    bound: &Bound,
    keys: &[Key],
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let number = arguments.number(i64::from(bound.number))?;
    let keys = note_keys(bound, keys, &mut arguments)?;
    let sql = format!(
        "INSERT INTO {outbox} (tbl, op, key) SELECT {number}::integer, 'L', n.key FROM ({keys}) AS n(key)"
    );
    Ok((sql, arguments))
}

/// Deletes the notes of keys that this transaction has made.
pub(super) fn forget(
    outbox: &str,
    bound: &Bound,
    keys: &[Key],
) -> Result<(String, Arguments), DbError> {
    let mut arguments = Arguments::default();
    let number = arguments.number(i64::from(bound.number))?;
    let keys = note_keys(bound, keys, &mut arguments)?;
    let sql = format!(
        "DELETE FROM {outbox} WHERE xid = pg_current_xact_id() AND tbl = {number} AND key IN ({keys})"
    );
    Ok((sql, arguments))
}
