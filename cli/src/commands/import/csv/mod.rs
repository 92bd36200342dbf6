//! The rows of a CSV input. A row that breaks the rules of quoting may have swallowed others or be a part of one: those
//! lines are set aside which are in doubt, and reading goes on with the next line from which a row can be read.

pub(super) mod cells;
pub(super) mod dialect;

use std::collections::VecDeque;
use std::io::BufRead;

use super::input::lines::{LINE_BYTES_MAX, Line, Lines, LinesError};
use super::rows::RawRow;
use cells::{Cells, Progress, QuoteError, RowParser};

/// What a row of the table has to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Cells of a row, by the header.
    pub(crate) columns: usize,
    /// Cells that it has at least: columns behind it have no name.
    pub(crate) columns_min: usize,
}

/// A row: its cells, or why it is set aside.
pub(crate) struct CsvRow {
    pub(crate) raw: RawRow,
    pub(crate) cells: Result<Vec<String>, String>,
    /// What is odd about a row that keeps the rules: it may have swallowed others.
    pub(crate) doubt: Option<String>,
    /// The cells that are empty and stand in quotes, from 0.
    pub(crate) quoted_empty: Vec<usize>,
}

/// Reads rows.
pub(crate) struct CsvRows<R> {
    lines: Lines<R>,
    delimiter: char,
    shape: Option<Shape>,
    /// Lines that were read ahead.
    ahead: VecDeque<Line>,
    /// Whether the row before broke the rules, so that the next lines may be a part of it.
    in_doubt: bool,
}

/// What begins at a line that was read ahead.
struct Attempt {
    /// How many lines it takes.
    lines: usize,
    row: Result<Cells, QuoteError>,
}

impl<R: BufRead> CsvRows<R> {
    /// Skips so many lines and reads the header row behind them.
    pub(crate) fn open(
        lines: Lines<R>,
        delimiter: char,
        skip: u64,
    ) -> Result<(Self, Option<CsvRow>), LinesError> {
        let mut rows =
            Self { lines, delimiter, shape: None, ahead: VecDeque::new(), in_doubt: false };
        for _ in 0..skip {
            rows.lines.next()?;
        }
        let header = rows.next()?;
        Ok((rows, header))
    }

    /// Says how the rows behind the header have to look.
    pub(crate) fn expect(&mut self, shape: Shape) {
        self.shape = Some(shape);
    }

    /// Returns how many bytes are read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    /// Returns how many bytes there are up to the end of the row that was read last.
    pub(crate) fn passed(&self) -> u64 {
        let ahead: usize = self.ahead.iter().map(|line| line.bytes.len()).sum();
        self.lines.bytes() - ahead as u64
    }

    pub(crate) fn next(&mut self) -> Result<Option<CsvRow>, LinesError> {
        let Some(Attempt { lines, row }) = self.next_attempt()? else { return Ok(None) };
        if self.in_doubt && row.is_ok() && !self.is_clean(&row) {
            let error =
                "it may be a part of the row before, which breaks the rules of quoting".to_owned();
            return self.set_aside(1, error).map(Some);
        }
        self.in_doubt = false;
        match row {
            Ok(row) => match self.count_error(row.cells.len()) {
                None => {
                    let doubt = self.doubt(lines);
                    Ok(Some(CsvRow { doubt, ..self.take(lines, row) }))
                }
                // Its quotes are right, unless one of its lines is a row of its own.
                Some(error) => match self.clean_within(lines)? {
                    Some(lines) => self.set_aside(lines, self.swallows(lines, &error)).map(Some),
                    None => Ok(Some(self.refuse(lines, error))),
                },
            },
            Err(error) => {
                let next = self.next_start()?;
                let unclosed = matches!(error, QuoteError::Unclosed { .. });
                let mut error = error.to_string();
                if let Some(last) = self.ahead.get(lines - 1).filter(|_| lines > 1 && !unclosed) {
                    error = format!("a quote is not closed, or {error} (on line {})", last.number);
                }
                let error = self.swallows(next, &error);
                self.set_aside(next, error).map(Some)
            }
        }
    }

    /// The next row with anything in it, which begins with the first line ahead.
    fn next_attempt(&mut self) -> Result<Option<Attempt>, LinesError> {
        while self.look(0)? {
            if self.is_blank(&self.ahead[0]) {
                self.ahead.pop_front();
                continue;
            }
            let attempt = self.attempt(0)?;
            let is_empty = |row: &Cells| row.cells.iter().all(String::is_empty);
            if self.shape.is_none() || !attempt.row.as_ref().is_ok_and(is_empty) {
                return Ok(Some(attempt));
            }
            // Spreadsheets write rows of delimiters alone below a table.
            self.ahead.drain(..attempt.lines);
        }
        Ok(None)
    }

    /// Reads ahead; whether there is such a line.
    fn look(&mut self, index: usize) -> Result<bool, LinesError> {
        while self.ahead.len() <= index {
            match self.lines.next()? {
                Some(line) => self.ahead.push_back(line),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// A line without anything in it. With one column it would be an empty cell, so spaces count there.
    fn is_blank(&self, line: &Line) -> bool {
        let has_one_column = self.shape.as_ref().is_some_and(|shape| shape.columns == 1);
        let is_space = |c: char| c != self.delimiter && (c.is_whitespace() || c == '\u{1a}');
        line.text.is_empty() || !has_one_column && line.text.chars().all(is_space)
    }

    /// Reads a row from a line on that was read ahead.
    fn attempt(&mut self, from: usize) -> Result<Attempt, LinesError> {
        let mut parser = RowParser::new(self.delimiter);
        let (mut index, mut bytes) = (from, 0);
        while self.look(index)? {
            let line = &self.ahead[index];
            bytes += line.bytes.len();
            index += 1;
            let lines = index - from;
            match parser.line(&line.text, line.end) {
                Ok(Progress::Done) => return Ok(Attempt { lines, row: Ok(parser.into_cells()) }),
                Ok(Progress::Open) if bytes > LINE_BYTES_MAX => break,
                Ok(Progress::Open) => {}
                Err(error) => return Ok(Attempt { lines, row: Err(error) }),
            }
        }
        Ok(Attempt { lines: index - from, row: Err(parser.unclosed()) })
    }

    fn count_error(&self, found: usize) -> Option<String> {
        let shape = self.shape.as_ref()?;
        if (shape.columns_min..=shape.columns).contains(&found) {
            return None;
        }
        let hint = if found > shape.columns {
            "; is a cell with the delimiter in it not quoted?"
        } else {
            ""
        };
        let noun = if found == 1 { "column" } else { "columns" };
        Some(format!("{found} {noun}, expected {}{hint}", shape.columns))
    }

    /// Whether a row that begins where it is not known whether one does is one beyond doubt.
    fn is_clean(&self, row: &Result<Cells, QuoteError>) -> bool {
        row.as_ref()
            .is_ok_and(|row| !row.has_loose_quote && self.count_error(row.cells.len()).is_none())
    }

    /// Finds the first line behind the next one from which a row can be read beyond doubt, or which breaks the rules itself.
    fn next_start(&mut self) -> Result<usize, LinesError> {
        let mut bytes = 0;
        let mut index = 1;
        while self.look(index)? {
            bytes += self.ahead[index - 1].bytes.len();
            if bytes > LINE_BYTES_MAX {
                break;
            }
            let row = self.attempt(index)?.row;
            if row.is_err() || self.is_clean(&row) && !self.is_blank(&self.ahead[index]) {
                break;
            }
            index += 1;
        }
        Ok(index)
    }

    fn clean_within(&mut self, lines: usize) -> Result<Option<usize>, LinesError> {
        for index in 1..lines {
            let row = self.attempt(index)?.row;
            if self.is_clean(&row) {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn swallows(&self, lines: usize, error: &str) -> String {
        let first = self.ahead[0].number;
        match first + lines as u64 - 1 {
            last if last == first => error.to_owned(),
            last => format!("{error}; lines {first} to {last} are set aside"),
        }
    }

    /// A cell over several lines each of which has the delimiters of a whole row may well be right, and may be what lies
    /// between two stray quotes.
    fn doubt(&self, lines: usize) -> Option<String> {
        let columns = self.shape.as_ref()?.columns;
        let is_like_row = |line: &Line| line.text.matches(self.delimiter).count() + 1 == columns;
        let are_like_rows = lines > 1 && columns > 1 && self.ahead.range(..lines).all(is_like_row);
        are_like_rows.then(|| {
            let first = self.ahead[0].number;
            let last = first + lines as u64 - 1;
            format!("one cell spans lines {first} to {last}, each of which looks like a row; is there a stray quote?")
        })
    }

    fn take(&mut self, lines: usize, row: Cells) -> CsvRow {
        let Cells { cells, quoted_empty, has_loose_quote: _ } = row;
        let (raw, bad_line) = self.raw(lines);
        let cells = match bad_line {
            None => Ok(cells),
            Some(line) => {
                let replaced = |cell: &String| cell.contains(char::REPLACEMENT_CHARACTER);
                let column = cells.iter().position(replaced).map_or(1, |index| index + 1);
                Err(format!(
                    "column {column}, on line {line}, has bytes that are not text in this encoding"
                ))
            }
        };
        CsvRow { raw, cells, doubt: None, quoted_empty }
    }

    fn refuse(&mut self, lines: usize, error: String) -> CsvRow {
        CsvRow { raw: self.raw(lines).0, cells: Err(error), doubt: None, quoted_empty: Vec::new() }
    }

    /// Sets lines aside as one; those behind them may be a part of them.
    fn set_aside(&mut self, lines: usize, error: String) -> Result<CsvRow, LinesError> {
        self.in_doubt = true;
        Ok(self.refuse(lines, error))
    }

    fn raw(&mut self, lines: usize) -> (RawRow, Option<u64>) {
        let mut raw = RawRow { line: 0, lines: lines as u64, bytes: Vec::new() };
        let mut bad_line = None;
        for line in self.ahead.drain(..lines) {
            if raw.line == 0 {
                raw.line = line.number;
                raw.bytes = line.bytes;
            } else {
                raw.bytes.extend(line.bytes);
            }
            if !line.is_text {
                bad_line = bad_line.or(Some(line.number));
            }
        }
        (raw, bad_line)
    }
}
