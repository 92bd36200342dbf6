//! The rows of a file, with their line numbers and as they stand there.

use std::io::{self, BufRead};

/// Longest row, in bytes. A quote that is never closed would otherwise take in the rest of the file.
const ROW_BYTES_MAX: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A row as it stands in the file, without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRow {
    /// The number of its first line, from 1.
    pub(crate) line: u64,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

/// Why the rows cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A row does not end.
    #[error(
        "the row that begins on line {line} has more than {ROW_BYTES_MAX} bytes; is a quote never closed?"
    )]
    TooLong {
        /// Its first line.
        line: u64,
    },
}

/// Splits a file into rows. Blank lines are skipped.
pub(crate) struct Rows<R> {
    input: R,
    /// Whether a quoted field may hold line ends, as in CSV.
    quoted: bool,
    line: u64,
    bytes: u64,
}

impl<R: BufRead> Rows<R> {
    /// Rows of CSV, in which quoted fields may hold line ends.
    pub(crate) fn csv(input: R) -> Self {
        Self { input, quoted: true, line: 0, bytes: 0 }
    }

    /// Rows of one line each.
    pub(crate) fn lines(input: R) -> Self {
        Self { input, quoted: false, line: 0, bytes: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn next(&mut self) -> Result<Option<RawRow>, RowsError> {
        loop {
            let Some(mut row) = self.next_row()? else { return Ok(None) };
            if row.line == 1 && row.bytes.starts_with(BYTE_ORDER_MARK) {
                row.bytes.drain(..BYTE_ORDER_MARK.len());
            }
            if !row.bytes.trim_ascii().is_empty() {
                return Ok(Some(row));
            }
        }
    }

    fn next_row(&mut self) -> Result<Option<RawRow>, RowsError> {
        let line = self.line + 1;
        let mut bytes = Vec::new();
        let mut quote = Quote::FieldStart;
        loop {
            let scanned = bytes.len();
            let room = (ROW_BYTES_MAX + 1 - scanned) as u64;
            let read = io::Read::take(&mut self.input, room).read_until(b'\n', &mut bytes)?;
            self.bytes += read as u64;
            if bytes.len() > ROW_BYTES_MAX {
                return Err(RowsError::TooLong { line });
            }
            if read == 0 {
                break;
            }
            self.line += 1;
            if !self.quoted {
                break;
            }
            quote = bytes[scanned..].iter().fold(quote, |quote, byte| quote.after(*byte));
            if quote != Quote::Quoted {
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        for end in [b'\n', b'\r'] {
            if bytes.last() == Some(&end) {
                bytes.pop();
            }
        }
        Ok(Some(RawRow { line, bytes }))
    }
}

/// Where in a CSV row one is, by RFC 4180: a quote opens a field only at its start, and two are one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    FieldStart,
    Unquoted,
    Quoted,
    /// Behind a quote within a quoted field: its end, or the first of two.
    Closed,
}

impl Quote {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Closed,
            (Self::Quoted, _) => Self::Quoted,
            (Self::FieldStart | Self::Closed, b'"') => Self::Quoted,
            (Self::FieldStart | Self::Unquoted | Self::Closed, b',') => Self::FieldStart,
            (Self::FieldStart | Self::Unquoted | Self::Closed, _) => Self::Unquoted,
        }
    }
}

/// The cells of a CSV row.
pub(crate) fn cells(row: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(row.len().max(1))
        .from_reader(row);
    let mut record = csv::ByteRecord::new();
    let mut next = |record: &mut csv::ByteRecord| {
        reader.read_byte_record(record).map_err(|error| error.to_string())
    };
    next(&mut record)?;
    if next(&mut csv::ByteRecord::new())? {
        return Err("a carriage return stands within the row, outside of quotes".to_owned());
    }
    let cell = |(index, cell): (usize, &[u8])| match std::str::from_utf8(cell) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(format!("column {} is not UTF-8 text", index + 1)),
    };
    record.iter().enumerate().map(cell).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(u64, String)> {
        let mut rows = Rows::csv(text.as_bytes());
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push((row.line, String::from_utf8(row.bytes).unwrap()));
        }
        found
    }

    fn owned(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
        rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn rows_know_the_line_they_begin_on() {
        let text = "\u{feff}id,note\r\n1,\"two\r\nlines\"\r\n\r\n2,\"a \"\"b\"\"\nc\"\r\n3,x";
        let expected =
            [(1, "id,note"), (2, "1,\"two\r\nlines\""), (5, "2,\"a \"\"b\"\"\nc\""), (7, "3,x")];
        assert_eq!(rows(text), owned(&expected));
    }

    #[test]
    fn a_quote_within_a_field_opens_nothing() {
        let text = "1,5\" pipe\n2,x\n";
        assert_eq!(rows(text), owned(&[(1, "1,5\" pipe"), (2, "2,x")]));
        assert_eq!(cells(b"1,5\" pipe").unwrap(), ["1", "5\" pipe"]);
    }

    #[test]
    fn a_quote_that_never_closes_is_reported_with_its_line() {
        let mut text = b"id\n1\n\"2\n".to_vec();
        text.resize(ROW_BYTES_MAX + 100, b'\n');
        let mut rows = Rows::csv(&text[..]);
        assert_eq!(rows.next().unwrap().unwrap().line, 1);
        assert_eq!(rows.next().unwrap().unwrap().line, 2);
        assert!(matches!(rows.next(), Err(RowsError::TooLong { line: 3 })));
    }

    #[test]
    fn cells_are_unquoted_and_checked() {
        assert_eq!(cells(b"1,\"a \"\"b\"\"\nc\",").unwrap(), ["1", "a \"b\"\nc", ""]);
        assert!(cells(b"1,\xff").unwrap_err().contains("column 2"));
        assert!(cells(b"1\r2").is_err());
    }
}
