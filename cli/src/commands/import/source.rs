//! From a file to records: its header, its kinds, and each row as a record or the reason why it is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use branchline_crdt::record::check_record_id;
use serde_json::{Map, Value};

use super::infer::{Guess, JsonGuess, Kinds, of_cell, of_json};
use super::rows::{RawRow, Rows, RowsError, cells};
use crate::args::FileFormat;
use crate::commands::export::ID_COLUMN;
use crate::error::CliError;

/// What a first reading of the whole file found.
pub(crate) struct Survey {
    /// The header row of a CSV file as it stands there; empty for JSON lines.
    pub(crate) raw_header: Vec<u8>,
    /// The names of the columns; empty for JSON lines.
    pub(crate) header: Vec<String>,
    /// What kind each field has by its values. A field of JSON lines may have none.
    pub(crate) kinds: Kinds,
    /// All fields that there are.
    pub(crate) fields: BTreeSet<String>,
}

/// A row of the file.
pub(crate) struct Row {
    pub(crate) raw: RawRow,
    /// Its id and fields, or why it is no record.
    pub(crate) record: Result<(String, Map<String, Value>), String>,
}

/// Reads the whole file for its kinds.
pub(crate) fn survey(path: &Path, format: FileFormat, id: &str) -> Result<Survey, CliError> {
    match format {
        FileFormat::Csv => survey_csv(path, id),
        FileFormat::Jsonl => survey_lines(path),
    }
}

fn open(path: &Path, format: FileFormat) -> Result<Rows<BufReader<File>>, CliError> {
    let file = File::open(path).map_err(|error| CliError::file("read", path, &error))?;
    let input = BufReader::with_capacity(256 * 1024, file);
    Ok(match format {
        FileFormat::Csv => Rows::csv(input),
        FileFormat::Jsonl => Rows::lines(input),
    })
}

fn unreadable(path: &Path, error: &RowsError) -> CliError {
    CliError::failed(format!("cannot read {}: {error}", path.display()))
}

fn survey_csv(path: &Path, id: &str) -> Result<Survey, CliError> {
    let name = path.display();
    let mut rows = open(path, FileFormat::Csv)?;
    let first = rows.next().map_err(|error| unreadable(path, &error))?;
    let first = first.ok_or_else(|| CliError::failed(format!("{name} has no header row")))?;
    let header = cells(&first.bytes)
        .map_err(|error| CliError::failed(format!("the header row of {name} is wrong: {error}")))?;
    check_header(path, &header, id)?;
    let mut guesses = vec![Guess::new(); header.len()];
    while let Some(row) = rows.next().map_err(|error| unreadable(path, &error))? {
        // Rows that will be rejected say nothing about the others.
        let Ok(cells) = cells(&row.bytes) else { continue };
        if cells.len() == header.len() {
            guesses.iter_mut().zip(&cells).for_each(|(guess, cell)| guess.observe(cell));
        }
    }
    let kinds = header.iter().cloned().zip(guesses.into_iter().map(Guess::kind));
    let kinds = kinds.filter(|(name, _)| name != ID_COLUMN).collect::<Kinds>();
    let fields = kinds.keys().cloned().collect();
    Ok(Survey { raw_header: first.bytes, header, kinds, fields })
}

fn check_header(path: &Path, header: &[String], id: &str) -> Result<(), CliError> {
    let name = path.display();
    if !header.iter().any(|column| column == id) {
        let columns = header.join(", ");
        return Err(CliError::failed(format!("{name} has no column {id:?}"))
            .hint(format!("--id takes one of {columns}")));
    }
    for (index, column) in header.iter().enumerate() {
        let number = index + 1;
        let problem = if column.is_empty() {
            format!("column {number} has no name")
        } else if header[..index].contains(column) {
            format!("column {number} is the second one named {column:?}")
        } else if column.contains('.') || column.starts_with('_') && column != ID_COLUMN {
            format!(
                "column {column:?} cannot be a field: names have no '.' and do not begin with '_'"
            )
        } else {
            continue;
        };
        return Err(CliError::failed(format!("the header row of {name} is wrong: {problem}"))
            .hint("the first row names the fields; change it and import again"));
    }
    Ok(())
}

fn survey_lines(path: &Path) -> Result<Survey, CliError> {
    let mut rows = open(path, FileFormat::Jsonl)?;
    let mut guesses: BTreeMap<String, JsonGuess> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(|error| unreadable(path, &error))? {
        let Ok(fields) = serde_json::from_slice::<Map<String, Value>>(&row.bytes) else { continue };
        for (name, value) in fields {
            if name != ID_COLUMN {
                guesses.entry(name).or_default().observe(&value);
            }
        }
    }
    let fields = guesses.keys().cloned().collect();
    let kind = |(name, guess): (String, JsonGuess)| Some((name, guess.kind()?));
    let kinds = guesses.into_iter().filter_map(kind).collect();
    Ok(Survey { raw_header: Vec::new(), header: Vec::new(), kinds, fields })
}

/// The second reading: row by row.
pub(crate) struct Source<'a> {
    path: &'a Path,
    format: FileFormat,
    id: &'a str,
    header: &'a [String],
    kinds: &'a Kinds,
    rows: Rows<BufReader<File>>,
}

impl<'a> Source<'a> {
    pub(crate) fn open(
        path: &'a Path,
        format: FileFormat,
        id: &'a str,
        header: &'a [String],
        kinds: &'a Kinds,
    ) -> Result<Self, CliError> {
        let mut source = Self { path, format, id, header, kinds, rows: open(path, format)? };
        if format == FileFormat::Csv {
            source.next_raw()?;
        }
        Ok(source)
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>, CliError> {
        let Some(raw) = self.next_raw()? else { return Ok(None) };
        let record = match self.format {
            FileFormat::Csv => self.of_csv(&raw.bytes),
            FileFormat::Jsonl => self.of_line(&raw.bytes),
        };
        Ok(Some(Row { raw, record }))
    }

    fn next_raw(&mut self) -> Result<Option<RawRow>, CliError> {
        self.rows.next().map_err(|error| unreadable(self.path, &error))
    }

    fn of_csv(&self, row: &[u8]) -> Result<(String, Map<String, Value>), String> {
        let cells = cells(row)?;
        if cells.len() != self.header.len() {
            return Err(format!("{} columns, expected {}", cells.len(), self.header.len()));
        }
        let (mut id, mut fields) = (String::new(), Map::new());
        for (name, cell) in self.header.iter().zip(cells) {
            if name == self.id {
                id.clone_from(&cell);
            }
            if let Some(kind) = self.kinds.get(name)
                && !cell.is_empty()
            {
                fields.insert(name.clone(), of_cell(name, *kind, &cell)?);
            }
        }
        self.check_id(&id)?;
        Ok((id, fields))
    }

    fn of_line(&self, row: &[u8]) -> Result<(String, Map<String, Value>), String> {
        let parsed: Result<Map<String, Value>, _> = serde_json::from_slice(row);
        let mut fields = parsed.map_err(|error| {
            // The row's number in the file is told beside it.
            format!("no JSON object: {error}").replace(" at line 1 column ", " at column ")
        })?;
        let id = match fields.get(self.id) {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            Some(Value::Null) | None => String::new(),
            Some(other) => return Err(format!("{} is {other}, expected a text", self.id)),
        };
        self.check_id(&id)?;
        fields.shift_remove(ID_COLUMN);
        let fields = fields.into_iter().map(|(name, value)| {
            let value = of_json(self.kinds.get(&name).copied(), value);
            (name, value)
        });
        Ok((id, fields.collect()))
    }

    fn check_id(&self, id: &str) -> Result<(), String> {
        match id {
            "" => Err(format!("{} is empty, expected the record's id", self.id)),
            id => check_record_id(id).map_err(|error| format!("{} is no id: {error}", self.id)),
        }
    }
}
