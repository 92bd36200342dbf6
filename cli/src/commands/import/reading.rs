//! How an input is read: as the command line asks, and as it is recognised where that says nothing.

use std::io::{self, Read};

use serde_json::{Value, json};

use super::csv::dialect::{self, Dialect, SAMPLE_LINES};
use super::input::Input;
use super::input::encoding::{self, Encoding, Recognised};
use super::input::lines::{Line, Lines, LinesError};
use super::json::{self, JsonForm};
use super::kinds::numbers::DecimalMark;
use crate::args::FileFormat;
use crate::error::CliError;

/// Bytes by which a dialect is recognised, so that long lines do not fill the memory.
const SAMPLE_BYTES: u64 = 1024 * 1024;
/// Bytes by which JSON is distinguished from CSV.
const START_BYTES: u64 = 4096;

/// How the command line asks for an input to be read. Whatever is not given is recognised.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ReadArgs {
    /// The input's format [default: by its name, else by its content]
    #[arg(long)]
    pub(crate) format: Option<FileFormat>,
    /// The column separator: a character, or comma, semicolon, tab, pipe or space
    #[arg(long, value_name = "CHAR", value_parser = parse_delimiter)]
    pub(crate) delimiter: Option<char>,
    /// The text encoding, such as utf-8, utf-16, latin1 or windows-1250
    #[arg(long, value_name = "NAME", value_parser = Encoding::parse)]
    pub(crate) encoding: Option<Encoding>,
    /// The decimal mark of numbers; the other one may separate thousands
    #[arg(long, value_name = ".|,")]
    pub(crate) decimal: Option<DecimalMark>,
    /// How many lines to skip above the header row
    #[arg(long, value_name = "LINES")]
    pub(crate) skip: Option<u64>,
}

fn parse_delimiter(text: &str) -> Result<char, String> {
    match text {
        "comma" => return Ok(','),
        "semicolon" => return Ok(';'),
        "tab" | "\\t" => return Ok('\t'),
        "pipe" => return Ok('|'),
        "space" => return Ok(' '),
        _ => {}
    }
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(c), None) if !matches!(c, '"' | '\r' | '\n') => Ok(c),
        _ => Err("expected one character that is neither a quote nor a line break".to_owned()),
    }
}

/// How an input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) recognised: Recognised,
    pub(crate) form: Form,
    pub(crate) decimal: Option<DecimalMark>,
}

/// What the text of an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Csv(Dialect),
    Json(JsonForm),
}

impl Reading {
    /// Looks at an input, the record's id of which is `id`.
    pub(crate) fn of(input: &mut Input, args: &ReadArgs, id: &str) -> Result<Self, CliError> {
        let recognised = encoding::recognise(input, args.encoding);
        let recognised = recognised.map_err(|error| input.unreadable(&error))?;
        let sample = sample(input, recognised).map_err(|error| input.unreadable(&error))?;
        let start = start(input, recognised).map_err(|error| input.unreadable(&error))?;
        let by_name = || input.path.as_deref().and_then(FileFormat::by_name);
        let format = args.format.or_else(by_name).unwrap_or_else(|| by_content(&start));
        let form = match format {
            FileFormat::Csv => {
                Form::Csv(dialect::recognise(&sample, args.delimiter, args.skip, id))
            }
            FileFormat::Jsonl => {
                args.refuse_for_json()?;
                Form::Json(json::form(&start, &sample))
            }
        };
        if matches!(form, Form::Json(JsonForm::Values | JsonForm::Array)) {
            // These are read byte by byte.
            input.make_utf_8(recognised.encoding)?;
        }
        Ok(Self { recognised, form, decimal: args.decimal })
    }

    /// Whether it is read in the plainest way, of which nothing needs to be said.
    pub(crate) fn is_plain(&self) -> bool {
        let is_plain_csv = Form::Csv(Dialect { delimiter: ',', skip: 0 });
        let is_plain = self.form == is_plain_csv || self.form == Form::Json(JsonForm::Lines);
        is_plain && self.recognised.encoding == Encoding::UTF_8
    }

    /// Says in one line how the input is read; `decimal_comma`: whether it has numbers with one.
    pub(crate) fn text(&self, decimal_comma: bool) -> String {
        let mut parts = Vec::new();
        match self.form {
            Form::Csv(Dialect { delimiter, skip }) => {
                parts.push(match delimiter {
                    ',' => "comma-separated".to_owned(),
                    ';' => "semicolon-separated".to_owned(),
                    '\t' => "tab-separated".to_owned(),
                    '|' => "separated by |".to_owned(),
                    other => format!("separated by {other:?}"),
                });
                match skip {
                    0 => {}
                    1 => parts.push("1 line above the header".to_owned()),
                    lines => parts.push(format!("{lines} lines above the header")),
                }
            }
            Form::Json(JsonForm::Lines) => parts.push("JSON lines".to_owned()),
            Form::Json(JsonForm::Array) => parts.push("a JSON array".to_owned()),
            Form::Json(JsonForm::Values) => parts.push("JSON objects".to_owned()),
        }
        if decimal_comma {
            parts.push("decimal comma".to_owned());
        }
        parts.push(self.recognised.encoding.name());
        parts.join(", ")
    }

    /// Says for programs how the input is read.
    pub(crate) fn json(&self, decimal_comma: bool) -> Value {
        let encoding = self.recognised.encoding.name();
        match self.form {
            Form::Csv(Dialect { delimiter, skip }) => json!({
                "format": "csv",
                "encoding": encoding,
                "delimiter": delimiter,
                "decimal": if decimal_comma { "," } else { "." },
                "skip": skip,
            }),
            Form::Json(_) => json!({ "format": "json", "encoding": encoding }),
        }
    }
}

impl ReadArgs {
    fn refuse_for_json(&self) -> Result<(), CliError> {
        let given = [
            ("--delimiter", self.delimiter.is_some()),
            ("--decimal", self.decimal.is_some()),
            ("--skip", self.skip.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => {
                Err(CliError::usage(format!("{name} is for CSV, but the input is JSON"))
                    .hint("--format csv says that it is CSV"))
            }
            None => Ok(()),
        }
    }
}

/// The first lines, up to one that is too long for CSV.
fn sample(input: &Input, recognised: Recognised) -> io::Result<Vec<Line>> {
    let mut lines = Lines::new(input.reader(), recognised);
    let mut sample = Vec::new();
    while sample.len() < SAMPLE_LINES && lines.bytes() < SAMPLE_BYTES {
        match lines.next() {
            Ok(Some(line)) => sample.push(line),
            Ok(None) | Err(LinesError::TooLong { .. }) => break,
            Err(LinesError::Io(error)) => return Err(error),
        }
    }
    Ok(sample)
}

/// The first text, without space before it.
fn start(input: &Input, recognised: Recognised) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.reader().take(START_BYTES).read_to_end(&mut bytes)?;
    let (text, _) = recognised.encoding.decode(&bytes);
    Ok(text.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').to_owned())
}

/// JSON begins with a bracket or a brace; what does not is CSV.
fn by_content(start: &str) -> FileFormat {
    if start.starts_with(['{', '[']) { FileFormat::Jsonl } else { FileFormat::Csv }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_a_character_or_its_name() {
        assert_eq!(parse_delimiter(";"), Ok(';'));
        assert_eq!(parse_delimiter("tab"), Ok('\t'));
        assert_eq!(parse_delimiter("\u{a7}"), Ok('\u{a7}'));
        for wrong in ["", "ab", "\"", "\n"] {
            assert!(parse_delimiter(wrong).is_err(), "{wrong:?}");
        }
    }
}
