//! The second reading of an input: each row as a record, or the reason why it is none.

use std::borrow::Cow;

use branchline_crdt::format::json;
use branchline_crdt::record::check_record_id;
use serde_json::{Map, Value};

use super::csv::{CsvRows, Shape};
use super::ids;
use super::input::{Input, InputReader};
use super::json::{JsonRow, JsonRows};
use super::kinds::infer::{Kinds, addition, of_json};
use super::reading::Form;
use super::rows::RawRow;
use super::survey::{Survey, cell, open_csv, open_json, unreadable};
use crate::commands::records::cells::{Cell, ID_COLUMN, unmarked};
use crate::error::CliError;
use crate::output::visible;

/// Fields that are named where the id's is not among them.
const NAMES_SHOWN: usize = 8;

/// A row of the input.
pub(crate) struct Row {
    pub(crate) raw: RawRow,
    /// Its id and fields, or why it is no record.
    pub(crate) record: Result<(String, Map<String, Value>), String>,
    /// What is odd about a record all the same.
    pub(crate) doubt: Option<String>,
}

/// Reads row by row.
pub(crate) struct Source<'a> {
    input: &'a Input,
    survey: &'a Survey,
    kinds: &'a Kinds,
    rows: Rows<'a>,
}

enum Rows<'a> {
    Csv(CsvRows<InputReader<'a>>),
    Json(JsonRows<InputReader<'a>>),
}

impl<'a> Source<'a> {
    pub(crate) fn open(
        input: &'a Input,
        survey: &'a Survey,
        kinds: &'a Kinds,
    ) -> Result<Self, CliError> {
        let rows = match survey.reading.form {
            Form::Csv(dialect) => {
                let (mut rows, header) = open_csv(input, survey.reading, dialect)?;
                if header.names != survey.table.header {
                    return Err(CliError::failed(format!(
                        "{} changed while it was read",
                        input.name
                    ))
                    .hint("import it again when nothing writes to it"));
                }
                let columns_min = survey.table.columns_min;
                rows.expect(Shape { columns: header.names.len(), columns_min });
                Rows::Csv(rows)
            }
            Form::Json(form) => Rows::Json(open_json(input, survey.reading, form)),
        };
        Ok(Self { input, survey, kinds, rows })
    }

    /// Returns how many bytes are read so far.
    pub(crate) fn bytes(&self) -> u64 {
        match &self.rows {
            Rows::Csv(rows) => rows.bytes(),
            Rows::Json(rows) => rows.bytes(),
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row>, CliError> {
        match &mut self.rows {
            Rows::Csv(rows) => {
                let row = rows.next().map_err(|error| unreadable(self.input, &error))?;
                Ok(row.map(|row| {
                    let record =
                        row.cells.and_then(|cells| self.of_cells(&cells, &row.quoted_empty));
                    Row { raw: row.raw, record, doubt: row.doubt }
                }))
            }
            Rows::Json(rows) => {
                let row = rows.next().map_err(|error| unreadable(self.input, &error))?;
                Ok(row.map(|JsonRow { raw, text, error }| {
                    let record = error.map_or_else(|| self.of_text(&text), Err);
                    Row { raw, record, doubt: None }
                }))
            }
        }
    }

    fn of_cells(
        &self,
        cells: &[String],
        quoted_empty: &[usize],
    ) -> Result<(String, Map<String, Value>), String> {
        let table = &self.survey.table;
        let mut fields = Map::new();
        for (index, (name, column)) in table.header.iter().zip(&table.columns).enumerate() {
            let Some(text) = cells.get(index).filter(|_| name != ID_COLUMN && !name.is_empty())
            else {
                continue;
            };
            let value = match cell(table.is_export, text, quoted_empty.contains(&index)) {
                Cell::Absent => continue,
                Cell::Null => Value::Null,
                Cell::Text(text) => {
                    let Some(kind) = self.kinds.get(name) else { continue };
                    column.value(name, *kind, text)?
                }
            };
            fields.insert(name.clone(), value);
        }
        let part = |name: &String| {
            let index = table.header.iter().position(|column| column == name);
            let text = index.and_then(|index| cells.get(index)).map_or("", String::as_str);
            Ok(Cow::from(if table.is_export { unmarked(text) } else { text }))
        };
        Ok((self.id(part)?, fields))
    }

    fn of_text(&self, text: &str) -> Result<(String, Map<String, Value>), String> {
        let parsed: Result<Map<String, Value>, _> = json::read(text.as_bytes());
        let mut fields = parsed.map_err(|error| {
            // The row's number in the file is given beside it.
            format!("no JSON object: {error}").replace(" at line 1 column ", " at column ")
        })?;
        if let Some(name) = addition(&fields) {
            let instead = "the same file again would add once more: write the number, or `branchline patch` each";
            return Err(format!("{name} adds to a counter; {instead}"));
        }
        if !self.survey.id.iter().any(|name| fields.contains_key(name)) {
            let names: Vec<String> =
                fields.keys().take(NAMES_SHOWN).map(|it| visible(it)).collect();
            let (id, names) = (self.survey.id.join(","), names.join(", "));
            return Err(format!("there is no field {id}; the first fields are {names}"));
        }
        let id = self.id(|name| match fields.get(name) {
            Some(Value::String(id)) => Ok(Cow::from(id)),
            Some(Value::Number(id)) if !id.as_str().contains(['e', 'E']) => Ok(id.as_str().into()),
            Some(Value::Null) | None => Ok("".into()),
            Some(other) => {
                let expected = "expected a text, or a number without a power of ten";
                Err(format!("{name} is {other}, {expected}"))
            }
        })?;
        fields.shift_remove(ID_COLUMN);
        let fields = fields.into_iter().map(|(name, value)| {
            let value = of_json(self.kinds.get(&name).copied(), value);
            (name, value)
        });
        Ok((id, fields.collect()))
    }

    fn id<'b>(
        &self,
        part: impl Fn(&String) -> Result<Cow<'b, str>, String>,
    ) -> Result<String, String> {
        let parts: Vec<Cow<'b, str>> = self.survey.id.iter().map(part).collect::<Result<_, _>>()?;
        let names = self.survey.id.join(",");
        if parts.iter().all(|part| part.is_empty()) {
            return Err(format!("{names} is empty, expected the record's id"));
        }
        let id = ids::join(&parts);
        check_record_id(&id).map_err(|error| format!("{names} is not an id: {error}"))?;
        Ok(id)
    }
}
