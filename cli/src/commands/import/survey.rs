//! The first reading of a whole input: its header and the kinds of its fields.

use std::collections::BTreeMap;

use branchline_crdt::format::json;
use serde_json::{Map, Value};

use super::csv::dialect::{Dialect, column_name};
use super::csv::{CsvRows, Shape};
use super::ids;
use super::input::lines::{Lines, LinesError};
use super::input::{Input, InputReader};
use super::json::{JsonForm, JsonRows, Values};
use super::kinds::columns::{Column, ColumnGuess, columns};
use super::kinds::infer::{Inferred, JsonGuess, Kinds, addition};
use super::reading::{Form, Reading};
use crate::commands::records::cells::{Cell, ID_COLUMN, unmarked};
use crate::error::CliError;
use crate::output;

/// What a first reading of the whole input found.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) reading: Reading,
    /// The columns of a CSV input; empty for JSON.
    pub(crate) table: Table,
    /// The columns or fields that make the record's id.
    pub(crate) id: Vec<String>,
    /// What each field's values say of its kind.
    pub(crate) inferred: BTreeMap<String, Inferred>,
}

/// The columns of a CSV input.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Their names. One that has no name has no values.
    pub(crate) header: Vec<String>,
    pub(crate) columns: Vec<Column>,
    /// Whether `export` wrote it: then its cells say more than their text.
    pub(crate) is_export: bool,
    /// Cells that a row has at least: columns behind it have no name.
    pub(crate) columns_min: usize,
    /// Bytes up to the end of the header row.
    pub(crate) head_bytes: u64,
    pub(crate) head_lines: u64,
}

impl Survey {
    /// Reads the whole input.
    pub(crate) fn of(input: &Input, reading: Reading, id: &str) -> Result<Self, CliError> {
        match reading.form {
            Form::Csv(dialect) => of_csv(input, reading, dialect, id),
            Form::Json(form) => of_json(input, reading, form, id),
        }
    }

    /// Returns the kinds that the values alone say.
    pub(crate) fn kinds(&self) -> Kinds {
        let kind = |(name, inferred): (&String, &Inferred)| Some((name.clone(), inferred.kind()?));
        self.inferred.iter().filter_map(kind).collect()
    }

    /// Whether the input is JSON.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.reading.form, Form::Json(_))
    }

    /// Whether there are numbers with a decimal comma.
    pub(crate) fn has_decimal_comma(&self) -> bool {
        self.table.columns.iter().any(Column::has_decimal_comma)
    }

    /// Says for programs how the input is read.
    pub(crate) fn json(&self) -> Value {
        let mut read_as = self.reading.json(self.has_decimal_comma());
        let ambiguous: Vec<&str> = self.ambiguous().map(|(name, _)| name).collect();
        if !ambiguous.is_empty() {
            read_as["ambiguous"] = ambiguous.into();
        }
        read_as
    }

    /// Returns the columns whose numbers may mean two, with an example of each.
    pub(crate) fn ambiguous(&self) -> impl Iterator<Item = (&str, &str)> {
        let named = self.table.header.iter().zip(&self.table.columns);
        named.filter_map(|(name, column)| Some((name.as_str(), column.ambiguous.as_deref()?)))
    }
}

/// The header of a CSV input.
pub(crate) struct Header {
    pub(crate) names: Vec<String>,
    is_export: bool,
    /// Bytes and lines up to the end of its row.
    bytes: u64,
    lines: u64,
}

/// Opens the rows of a CSV input behind its header.
pub(crate) fn open_csv<'a>(
    input: &'a Input,
    reading: Reading,
    dialect: Dialect,
) -> Result<(CsvRows<InputReader<'a>>, Header), CliError> {
    let name = &input.name;
    let lines = Lines::new(input.reader(), reading.recognised);
    let opened = CsvRows::open(lines, dialect.delimiter, dialect.skip);
    let (rows, header) = opened.map_err(|error| unreadable(input, &error))?;
    let header = header.ok_or_else(|| {
        CliError::failed(format!("{name} has no header row"))
            .hint("the first row names the columns; --skip LINES skips what is above it")
    })?;
    let lines = header.raw.line + header.raw.lines - 1;
    let cells = header.cells.map_err(|error| {
        let line = header.raw.line;
        CliError::failed(format!("the header row of {name}, on line {line}, is wrong: {error}"))
    })?;
    let is_export = cells.iter().any(|cell| cell == ID_COLUMN);
    let name = |cell: &String| {
        if is_export { unmarked(cell).to_owned() } else { column_name(cell) }
    };
    let names = cells.iter().map(name).collect();
    let bytes = rows.passed();
    Ok((rows, Header { names, is_export, bytes, lines }))
}

/// Opens the records of a JSON input.
pub(crate) fn open_json<'a>(
    input: &'a Input,
    reading: Reading,
    form: JsonForm,
) -> JsonRows<InputReader<'a>> {
    match form {
        JsonForm::Lines => JsonRows::Lines(Lines::new(input.reader(), reading.recognised)),
        JsonForm::Values | JsonForm::Array => JsonRows::Values(Values::new(input.reader())),
    }
}

pub(crate) fn unreadable(input: &Input, error: &LinesError) -> CliError {
    input.unreadable(error)
}

fn of_csv(input: &Input, reading: Reading, dialect: Dialect, id: &str) -> Result<Survey, CliError> {
    let (mut rows, header) = open_csv(input, reading, dialect)?;
    let Header { names: header, is_export, bytes: head_bytes, lines: head_lines } = header;
    let id = ids::columns(id, header.iter().map(String::as_str));
    check_header(&input.name, &header, &id)?;
    let columns_min = header.iter().rposition(|name| !name.is_empty()).map_or(0, |index| index + 1);
    rows.expect(Shape { columns: header.len(), columns_min });
    let mut guesses = vec![ColumnGuess::new(); header.len()];
    while let Some(row) = rows.next().map_err(|error| unreadable(input, &error))? {
        // Rows that will be set aside say nothing of the others.
        let Ok(cells) = &row.cells else { continue };
        for (index, (guess, text)) in guesses.iter_mut().zip(cells).enumerate() {
            match cell(is_export, text, row.quoted_empty.contains(&index)) {
                Cell::Absent | Cell::Null => {}
                Cell::Text("") => guess.observe_empty_text(),
                Cell::Text(text) => guess.observe(text),
            }
        }
    }
    let columns = columns(&guesses, reading.decimal, dialect.delimiter);
    let unnamed =
        header.iter().zip(&columns).position(|(name, column)| name.is_empty() && !column.is_empty);
    if let Some(index) = unnamed {
        return Err(wrong_header(
            &input.name,
            &format!("column {} has values and no name", index + 1),
        ));
    }
    let named =
        header.iter().zip(&columns).filter(|(name, _)| !name.is_empty() && *name != ID_COLUMN);
    let inferred = named.map(|(name, column)| (name.clone(), column.inferred())).collect();
    let table = Table { header, columns, is_export, columns_min, head_bytes, head_lines };
    Ok(Survey { reading, table, id, inferred })
}

/// What a cell says. `is_quoted`: it is empty and stands in quotes.
pub(crate) fn cell(is_export: bool, text: &str, is_quoted: bool) -> Cell<'_> {
    if is_export {
        return Cell::of(text, is_quoted);
    }
    if text.is_empty() { Cell::Absent } else { Cell::Text(text) }
}

fn check_header(name: &str, header: &[String], id: &[String]) -> Result<(), CliError> {
    if let Some(missing) = id.iter().find(|column| !header.contains(column)) {
        let columns: Vec<&str> =
            header.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        return Err(CliError::failed(format!("{name} has no column {missing:?}")).hint(format!(
            "--id takes one or more of {}; --delimiter and --skip say how the file is to be read",
            output::visible(&columns.join(", "))
        )));
    }
    for (index, column) in header.iter().enumerate().filter(|(_, column)| !column.is_empty()) {
        let number = index + 1;
        let problem = if header[..index].contains(column) {
            format!("column {number} is the second one named {column:?}")
        } else if column.contains('.') || column.starts_with('_') && column != ID_COLUMN {
            format!(
                "column {column:?} cannot be a field: names have no '.' and do not begin with '_'"
            )
        } else {
            continue;
        };
        return Err(wrong_header(name, &problem));
    }
    Ok(())
}

fn wrong_header(name: &str, problem: &str) -> CliError {
    CliError::failed(format!("the header row of {name} is wrong: {problem}"))
        .hint("the header row names the fields; change it and import again")
}

fn of_json(input: &Input, reading: Reading, form: JsonForm, id: &str) -> Result<Survey, CliError> {
    let mut rows = open_json(input, reading, form);
    let mut guesses: BTreeMap<String, JsonGuess> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(|error| unreadable(input, &error))? {
        let fields: Result<Map<String, Value>, _> = json::read(row.text.as_bytes());
        let (Ok(fields), None) = (fields, row.error) else { continue };
        // Rows that will be set aside say nothing of the others.
        let is_there = |name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        let has_id = is_there(id) || id.split(',').any(is_there);
        if !has_id || addition(&fields).is_some() {
            continue;
        }
        for (name, value) in fields {
            if name != ID_COLUMN {
                guesses.entry(name).or_default().observe(&value);
            }
        }
    }
    let names = guesses.keys().map(String::as_str).chain([ID_COLUMN]);
    let id = ids::columns(id, names);
    let inferred = guesses.into_iter().map(|(name, guess)| (name, guess.inferred())).collect();
    Ok(Survey { reading, table: Table::default(), id, inferred })
}
