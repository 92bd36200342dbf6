//! Data to stdout, messages to stderr. All that a command says goes through here, and is made visible on its way.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use branchline_node::api::KindMismatchResponse;
use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::error::CliError;
use crate::visible;

/// Longest text in a cell of a table, in characters; the rest is cut off.
const CELL_CHARS_MAX: usize = 40;

/// One line of data.
pub(crate) fn line(text: impl Display) -> Result<(), CliError> {
    write(&visible::one_line(&text.to_string()))
}

/// Data of several lines.
pub(crate) fn lines(text: impl Display) -> Result<(), CliError> {
    write(&visible::lines(&text.to_string()))
}

fn write(text: &str) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Where exact data goes: bytes as they are, but not to a terminal.
pub(crate) fn data() -> Box<dyn Write> {
    visible::at_terminal(io::stdout())
}

/// One line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string(value).map_err(io::Error::from)?;
    line(text)
}

/// JSON for a person where one looks on, and in one line otherwise.
pub(crate) fn json_for_reader(value: &impl Serialize, compact: bool) -> Result<(), CliError> {
    if compact || !io::stdout().is_terminal() {
        return json(value);
    }
    lines(serde_json::to_string_pretty(value).map_err(io::Error::from)?)
}

/// What a command says of the file that it wrote: on stderr where the file itself went to stdout.
pub(crate) fn result(file_is_stdout: bool, text: impl Display) -> Result<(), CliError> {
    if file_is_stdout {
        note(text);
        return Ok(());
    }
    line(text)
}

/// A message. Nobody is left to read it where stderr is closed.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", visible::lines(&text.to_string()));
}

/// Says of which fields of a query nothing is known, which may be mistyped.
pub(crate) fn unknown_fields(fields: &[String]) {
    for field in fields {
        note(format_args!(
            "no record that was looked at has a field {field:?}, and no schema does"
        ));
    }
}

/// Says of which fields of a filter the values are of another kind than they are compared with.
pub(crate) fn mismatched_fields(collection: &str, fields: &[KindMismatchResponse]) {
    for KindMismatchResponse { field, kind, compared_with, records } in fields {
        let kind = if kind == "string" { "text" } else { kind };
        let records = counted(*records, "record");
        note(format_args!(
            "{field} is {kind} in {records} of {collection}: no comparison with a {compared_with} finds them"
        ));
        if kind == "text" && compared_with == "number" {
            note(format_args!(
                "  a schema that declares {field} a decimal makes text such as \"2.50\" a number: `branchline schema apply --help`"
            ));
        }
    }
}

/// Asks anyone who sits at a terminal whether something is meant that cannot be taken back, unless the command line says so.
pub(crate) fn require_yes(said: bool, question: impl Display) -> Result<(), CliError> {
    if said || !io::stdin().is_terminal() {
        return Ok(());
    }
    note(format_args!("{question} [y/N]"));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was changed")),
    }
}

/// A table without lines.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: Vec<[String; N]>,
) -> Result<(), CliError> {
    let header = header.iter().map(ToString::to_string).collect();
    wide_table(header, rows.into_iter().map(Vec::from).collect())
}

/// A table without a header.
pub(crate) fn rows<const N: usize>(rows: Vec<[String; N]>) -> Result<(), CliError> {
    let mut table = Table::new();
    table.add_rows(rows.into_iter().map(in_one_line));
    print(table)
}

/// A table whose columns depend on the data.
pub(crate) fn wide_table(header: Vec<String>, rows: Vec<Vec<String>>) -> Result<(), CliError> {
    let mut table = Table::new();
    table.set_header(in_one_line(header)).add_rows(rows.into_iter().map(in_one_line));
    print(table)
}

/// A line end in a cell would make a row of its own.
fn in_one_line(cells: impl IntoIterator<Item = String>) -> Vec<String> {
    cells.into_iter().map(|cell| visible(&cell)).collect()
}

fn print(mut table: Table) -> Result<(), CliError> {
    table.load_style(presets::NOTHING);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().try_for_each(|text| line(text.trim_end()))
}

/// A value in a cell of a table.
pub(crate) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let text = visible(&text);
    let mut cell: String = text.chars().take(CELL_CHARS_MAX).collect();
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        cell.pop();
        cell.push('…');
    }
    cell
}

/// Text of another site within a line.
pub(crate) fn visible(text: &str) -> String {
    visible::one_line(text).into_owned()
}

/// `1 record`, `2 records`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `1 entry`, `2 entries`.
pub(crate) fn counted_entries(number: u64) -> String {
    match number {
        1 => "1 entry".to_owned(),
        _ => format!("{number} entries"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_stay_in_their_place() {
        assert_eq!(cell(&json!("a\u{1b}[2Jb\n")), r"a\u001b[2Jb\u000a");
        assert_eq!(cell(&json!("x".repeat(50))).chars().count(), CELL_CHARS_MAX);
        assert_eq!(cell(&json!({"a": [1, null]})), r#"{"a":[1,null]}"#);
        assert_eq!(cell(&json!(null)), "");
    }
}
