//! Rows as the API takes them, some at a time.

use std::collections::HashMap;

use branchline_node::api::ImportLine;
use serde_json::{Map, Value};

use super::rows::RawRow;
use super::source::{Row, Source};
use crate::error::CliError;

/// Rows sent at a time.
const BATCH_ROWS: usize = 1000;
/// A batch is sent when it passes this many bytes, so that it stays below what the API takes.
const BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Largest row that is sent, in bytes of JSON: with a full batch it is still below what the API takes.
const ROW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Rows that are sent together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) body: Vec<u8>,
    pub(crate) rows: Vec<RawRow>,
    pub(crate) rejected: Vec<(RawRow, String)>,
    /// Lines of good rows with what is odd about them.
    pub(crate) doubts: Vec<(u64, String)>,
    /// Bytes of the input up to the last of them.
    pub(crate) end: u64,
}

/// An input's rows, some at a time.
pub(crate) struct Batches<'a> {
    source: Source<'a>,
    /// The line on which each id was found: a second row of one id would undo the first, at every import.
    lines: HashMap<String, u64>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, lines: HashMap::new() }
    }

    /// Returns the next rows; `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<Batch>, CliError> {
        let mut batch = Batch::default();
        while batch.rows.len() + batch.rejected.len() < BATCH_ROWS
            && batch.body.len() < BATCH_BYTES
            && let Some(Row { raw, record, doubt }) = self.source.next()?
        {
            batch.doubts.extend(doubt.map(|doubt| (raw.line, doubt)));
            match record.and_then(|(id, fields)| self.line(&raw, id, fields)) {
                Ok(mut line) => {
                    batch.body.append(&mut line);
                    batch.body.push(b'\n');
                    batch.rows.push(raw);
                }
                Err(error) => batch.rejected.push((raw, error)),
            }
        }
        batch.end = self.source.bytes();
        let is_empty = batch.rows.is_empty() && batch.rejected.is_empty();
        Ok((!is_empty).then_some(batch))
    }

    /// A row as the API takes it.
    fn line(
        &mut self,
        raw: &RawRow,
        id: String,
        fields: Map<String, Value>,
    ) -> Result<Vec<u8>, String> {
        if let Some(first) = self.lines.get(&id) {
            return Err(format!("the id {id:?} is that of line {first} already"));
        }
        self.lines.insert(id.clone(), raw.line);
        let line = serde_json::to_vec(&ImportLine { id, fields })
            .map_err(|error| format!("no JSON: {error}"))?;
        match line.len() {
            ..=ROW_BYTES_MAX => Ok(line),
            found => Err(format!("{found} bytes, at most {ROW_BYTES_MAX} are possible")),
        }
    }
}
