//! One row of CSV, strictly by RFC 4180 but for the character between cells: what breaks the rules of quoting is an error,
//! never a guess.
//!
//! A quote within a cell that does not begin with one stands for itself, as in `5" pipe`; so every reader takes it.

/// A row that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    pub(crate) cells: Vec<String>,
    /// The cells that are empty and stand in quotes, from 0.
    pub(crate) quoted_empty: Vec<usize>,
    /// Whether a quote stands within a cell that does not begin with one.
    pub(crate) has_loose_quote: bool,
}

/// What breaks the rules, with the column, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QuoteError {
    /// Text between a closing quote and the end of the cell.
    #[error(
        "there is text after the closing quote of column {column}; a quote within quotes has to be written twice"
    )]
    BehindQuote { column: usize },
    /// A backslash before a quote.
    #[error(
        "there is a backslash before a quote in column {column}; a quote within quotes has to be written twice instead"
    )]
    Backslash { column: usize },
    /// A quote that opens behind spaces.
    #[error("there is a space before the opening quote of column {column}")]
    BeforeQuote { column: usize },
    /// A quote that is never closed.
    #[error("the quote that opens in column {column} is not closed")]
    Unclosed { column: usize },
    /// A carriage return outside of quotes.
    #[error("there is a carriage return in column {column}, outside of quotes")]
    CarriageReturn { column: usize },
}

/// Whether a row goes on with the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Open,
}

/// Reads one row, line by line.
pub(crate) struct RowParser {
    delimiter: char,
    row: Cells,
    cell: String,
    place: CellPlace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CellPlace {
    Start,
    Unquoted,
    Quoted,
    /// Behind a quote within a quoted cell: its end, or the first of two.
    Closed,
}

impl RowParser {
    pub(crate) fn new(delimiter: char) -> Self {
        Self { delimiter, row: Cells::default(), cell: String::new(), place: CellPlace::Start }
    }

    /// Reads one line, and its end where that lies within quotes.
    pub(crate) fn line(&mut self, text: &str, end: &str) -> Result<Progress, QuoteError> {
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match self.place {
                CellPlace::Quoted if c == '"' => self.place = CellPlace::Closed,
                CellPlace::Quoted => {
                    let more = rest.find('"').unwrap_or(rest.len());
                    self.cell.push(c);
                    self.cell.push_str(&rest[..more]);
                    rest = &rest[more..];
                }
                CellPlace::Closed if c == '"' => {
                    self.cell.push('"');
                    self.place = CellPlace::Quoted;
                }
                CellPlace::Start if c == '"' => self.place = CellPlace::Quoted,
                _ if c == self.delimiter => self.end_cell()?,
                CellPlace::Closed => return Err(self.behind_quote()),
                CellPlace::Start | CellPlace::Unquoted => {
                    let more = rest.find(self.delimiter).unwrap_or(rest.len());
                    self.cell.push(c);
                    self.cell.push_str(&rest[..more]);
                    rest = &rest[more..];
                    self.place = CellPlace::Unquoted;
                }
            }
        }
        if self.place == CellPlace::Quoted {
            self.cell.push_str(end);
            return Ok(Progress::Open);
        }
        self.end_cell()?;
        Ok(Progress::Done)
    }

    /// Returns the row, which is done.
    pub(crate) fn into_cells(self) -> Cells {
        self.row
    }

    /// Returns what is wrong with a row that is open at the end of the input.
    pub(crate) fn unclosed(&self) -> QuoteError {
        QuoteError::Unclosed { column: self.column() }
    }

    fn column(&self) -> usize {
        self.row.cells.len() + 1
    }

    fn behind_quote(&self) -> QuoteError {
        let column = self.column();
        if self.cell.ends_with('\\') {
            QuoteError::Backslash { column }
        } else {
            QuoteError::BehindQuote { column }
        }
    }

    fn end_cell(&mut self) -> Result<(), QuoteError> {
        let column = self.column();
        if self.place == CellPlace::Unquoted {
            if self.cell.contains('\r') {
                return Err(QuoteError::CarriageReturn { column });
            }
            if self.cell.contains('"') {
                if self.cell.contains("\\\"") {
                    return Err(QuoteError::Backslash { column });
                }
                if self.cell.trim_start().starts_with('"') {
                    return Err(QuoteError::BeforeQuote { column });
                }
                self.row.has_loose_quote = true;
            }
        }
        if self.place == CellPlace::Closed && self.cell.is_empty() {
            self.row.quoted_empty.push(self.row.cells.len());
        }
        self.row.cells.push(std::mem::take(&mut self.cell));
        self.place = CellPlace::Start;
        Ok(())
    }
}

/// Reads a row that is one line.
pub(crate) fn one_line(text: &str, delimiter: char) -> Result<Cells, QuoteError> {
    let mut parser = RowParser::new(delimiter);
    match parser.line(text, "")? {
        Progress::Done => Ok(parser.into_cells()),
        Progress::Open => Err(parser.unclosed()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cells(text: &str) -> Vec<String> {
        one_line(text, ',').unwrap().cells
    }

    #[test]
    fn quotes_hold_what_would_end_a_cell() {
        assert_eq!(cells(r#"1,"a ""b"", c","#), ["1", r#"a "b", c"#, ""]);
        assert_eq!(cells(r#""","""","#), ["", "\"", ""]);
        assert_eq!(cells(r#""C:\dir\",x"#), [r"C:\dir\", "x"]);
        assert_eq!(cells(""), [""]);
        assert_eq!(one_line(r#","",x"#, ',').unwrap().quoted_empty, [1]);
        assert_eq!(one_line("a;b,c;\"d;\"", ';').unwrap().cells, ["a", "b,c", "d;"]);
    }

    #[test]
    fn a_quote_within_a_cell_stands_for_itself() {
        let row = one_line("1,5\" pipe,O\"Brien", ',').unwrap();
        assert_eq!(row.cells, ["1", "5\" pipe", "O\"Brien"]);
        assert!(row.has_loose_quote);
        assert!(!one_line("\"5\"\" pipe\"", ',').unwrap().has_loose_quote);
    }

    #[test]
    fn a_row_goes_on_within_quotes() {
        let mut parser = RowParser::new(',');
        assert_eq!(parser.line("1,\"two", "\r\n"), Ok(Progress::Open));
        assert_eq!(parser.line("", "\n"), Ok(Progress::Open));
        assert_eq!(parser.line("lines\",x", "\n"), Ok(Progress::Done));
        assert_eq!(parser.into_cells().cells, ["1", "two\r\n\nlines", "x"]);
    }

    #[test]
    fn what_breaks_the_rules_is_said_with_its_column() {
        for (text, error) in [
            (r#"5,"a" b,5"#, QuoteError::BehindQuote { column: 2 }),
            (r#"5,"a" ,5"#, QuoteError::BehindQuote { column: 2 }),
            (r#"2,"O"Brien",2"#, QuoteError::BehindQuote { column: 2 }),
            (r#"1,"say \"hi\" now",1"#, QuoteError::Backslash { column: 2 }),
            (r#"1,"a\",\"b",1"#, QuoteError::Backslash { column: 3 }),
            (r#"1,say \"hi\",1"#, QuoteError::Backslash { column: 2 }),
            (r#"1, "Tea, green",1"#, QuoteError::BeforeQuote { column: 2 }),
            (r#"3,"open quote,3"#, QuoteError::Unclosed { column: 2 }),
            ("1,a\rb", QuoteError::CarriageReturn { column: 2 }),
        ] {
            assert_eq!(one_line(text, ','), Err(error), "{text}");
        }
    }
}
