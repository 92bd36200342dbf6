//! The cells of the CSV files that `export` writes, from which `import` reads back exactly what there was.
//!
//! | cell | what it means |
//! |---|---|
//! | empty | the record has no such field |
//! | `""`, in quotes | the empty text |
//! | `null` | null |
//! | an apostrophe, then text | that text, as it is |
//! | any other | the value, lists and maps as JSON |
//!
//! So a text that is `null` or begins with an apostrophe gets one more before it, and with `--safe` whatever a
//! spreadsheet would run. A file with a column [`ID_COLUMN`] is such a file: no record has a field of that name.

use serde_json::Value;

/// The column or field of the record id. No record has a field of that name: names with `_` are reserved.
pub(crate) const ID_COLUMN: &str = "_id";

/// What marks the rest of a cell as text.
const MARK: char = '\'';
/// What stands for null.
const NULL: &str = "null";
/// Beginnings of cells that spreadsheets take for formulas, also in their wide forms.
const FORMULA_BEGINNINGS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Writes rows of cells.
pub(crate) struct CellWriter {
    /// Whether cells that a spreadsheet would run are marked as text.
    is_safe: bool,
    /// Cells that a spreadsheet would run.
    pub(crate) formulas: u64,
    row: String,
}

impl CellWriter {
    pub(crate) fn new(is_safe: bool) -> Self {
        Self { is_safe, formulas: 0, row: String::new() }
    }

    /// Adds a record's id or the name of a field.
    pub(crate) fn name(&mut self, name: &str) {
        self.add(name, false, name.starts_with(MARK));
    }

    /// Adds a value; `None`: the record has none.
    pub(crate) fn value(&mut self, value: Option<&Value>) {
        match value {
            None => self.row.push(','),
            Some(Value::Null) => self.add(NULL, true, false),
            Some(Value::String(text)) => {
                self.add(text, is_number(text), text == NULL || text.starts_with(MARK));
            }
            Some(
                value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)),
            ) => self.add(&value.to_string(), true, false),
        }
    }

    /// The row that was put together, with its line end.
    pub(crate) fn end_row(&mut self) -> String {
        // Each cell ends in a comma.
        self.row.pop();
        self.row.push('\n');
        std::mem::take(&mut self.row)
    }

    /// `is_harmless`: no spreadsheet runs it, whatever it begins with.
    fn add(&mut self, text: &str, is_harmless: bool, is_marked: bool) {
        let is_formula = !is_harmless && text.starts_with(FORMULA_BEGINNINGS);
        self.formulas += u64::from(is_formula);
        let is_marked = is_marked || (is_formula && self.is_safe);
        // More than a comma-separated file needs: then none who guesses takes another separator for it.
        let is_quoted = text.is_empty()
            || text.contains([',', ';', '|', '\t', '"', '\r', '\n'])
            || text.starts_with(' ')
            || text.ends_with(' ');
        if is_quoted {
            self.row.push('"');
        }
        if is_marked {
            self.row.push(MARK);
        }
        if is_quoted {
            self.row.push_str(&text.replace('"', "\"\""));
            self.row.push('"');
        } else {
            self.row.push_str(text);
        }
        self.row.push(',');
    }
}

/// What a cell of such a file says of a record's field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'a> {
    /// The record has none.
    Absent,
    /// It is null.
    Null,
    /// It is what the text says.
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// Reads a cell. `is_quoted`: it stands in quotes.
    pub(crate) fn of(cell: &'a str, is_quoted: bool) -> Self {
        match cell {
            "" if !is_quoted => Self::Absent,
            NULL => Self::Null,
            cell => Self::Text(unmarked(cell)),
        }
    }
}

/// What a cell with a name or an id means.
pub(crate) fn unmarked(cell: &str) -> &str {
    cell.strip_prefix(MARK).unwrap_or(cell)
}

/// Whether a spreadsheet takes a text for a number: `-12.50` is one, and no formula.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    [whole, fraction]
        .iter()
        .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn row(is_safe: bool, values: &[Value]) -> (String, u64) {
        let mut writer = CellWriter::new(is_safe);
        values.iter().for_each(|value| writer.value(Some(value)));
        (writer.end_row(), writer.formulas)
    }

    #[test]
    fn what_is_there_is_told_from_what_is_not() {
        let mut writer = CellWriter::new(false);
        writer.name("'id");
        writer.value(None);
        writer.value(Some(&json!("")));
        writer.value(Some(&json!(null)));
        writer.value(Some(&json!("null")));
        writer.value(Some(&json!({"a": [1, null]})));
        assert_eq!(writer.end_row(), "''id,,\"\",null,'null,\"{\"\"a\"\":[1,null]}\"\n");
    }

    #[test]
    fn cells_that_a_spreadsheet_would_run_are_counted_and_marked_if_asked() {
        let values = [
            json!("=1+1"),
            json!("+49 30 1"),
            json!("-2+3"),
            json!("@SUM(A1)"),
            json!("\tx"),
            json!("\rx"),
            json!("\u{ff1d}1"),
        ];
        let (plain, formulas) = row(false, &values);
        assert_eq!(plain, "=1+1,+49 30 1,-2+3,@SUM(A1),\"\tx\",\"\rx\",\u{ff1d}1\n");
        assert_eq!(formulas, 7);
        let (safe, formulas) = row(true, &values);
        assert_eq!(safe, "'=1+1,'+49 30 1,'-2+3,'@SUM(A1),\"'\tx\",\"'\rx\",'\u{ff1d}1\n");
        assert_eq!(formulas, 7);
        // Numbers are what they look like, and other text begins nothing.
        let harmless = [json!(-5), json!("-12.50"), json!(-1e-7), json!("a=1"), json!([-1])];
        assert_eq!(row(true, &harmless), ("-5,-12.50,-1e-7,a=1,[-1]\n".to_owned(), 0));
    }
}
