//! What is said of records.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use branchline_crdt::record::Kind;
use clap::{Subcommand, ValueEnum};

use crate::commands::import::ReadArgs;
use crate::error::CliError;

const ID_HELP: &str = "\
The column or field that holds the record's id. Several, as in --id order,line, are joined into one id by commas, such
as 4711,2. A comma or backslash within a value gets a backslash in front of it, so that no two rows end up with the same
id. Quote a column whose name has a comma in it, as in --id '\"unit, price\",sku'.";

const FILTER_HELP: &str = "\
Only records that match: = != < <= > >=, in (...), starts with, is null, is not null, and, or, not, parentheses.
Put strings, timestamps and datetimes (RFC 3339) and bytes (base64) in quotes; numbers, true, false and null without.
Fields that the schema declares are compared by their kind. For example

  price >= 2.50 and (origin.city starts with 'Ya' or shelf in (1, 4)) and note is not null";

#[derive(clap::Args)]
pub(crate) struct RecordArgs {
    /// The record's collection
    pub(crate) collection: String,
    /// The record's id
    pub(crate) id: String,
}

#[derive(clap::Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Show the record as it was: at a version (the API's ETag), or after a change, given by the start of its hash or by
    /// its entry, as `history` prints them
    #[arg(long, value_name = "VERSION")]
    pub(crate) at: Option<String>,
    /// Write its Automerge document with the whole history to this file, or to stdout with -, even if it is deleted
    #[arg(long, value_name = "FILE")]
    pub(crate) automerge: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long, requires = "automerge")]
    pub(crate) force: bool,
}

#[derive(clap::Args)]
pub(crate) struct MergeDocumentArgs {
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// The document, or - for stdin
    pub(crate) file: PathBuf,
    /// Create the record from the document
    #[arg(long)]
    pub(crate) new: bool,
}

/// Records of a list where nothing else is said.
pub(crate) const LISTED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// The collection
    pub(crate) collection: String,
    /// Only records that match, for example "price > 2.50 and name starts with 'Tea'"
    #[arg(long = "where", value_name = "FILTER", long_help = FILTER_HELP)]
    pub(crate) filter: Option<String>,
    /// Sort by these fields, greatest first for those with a minus in front [default: by id]
    #[arg(long, value_name = "FIELD,-FIELD,...", allow_hyphen_values = true)]
    pub(crate) order: Option<String>,
    /// List at most this many records
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    pub(crate) limit: NonZeroUsize,
    /// Continue after this id, or from the cursor that a list with --where or --order ended with
    #[arg(long, value_name = "ID|CURSOR")]
    pub(crate) after: Option<String>,
    /// List the ids of deleted records instead; `branchline undelete` restores one
    #[arg(long, conflicts_with_all = ["filter", "order"])]
    pub(crate) deleted: bool,
}

#[derive(clap::Args)]
pub(crate) struct WatchArgs {
    /// Only this collection
    pub(crate) collection: Option<String>,
    /// Where to begin: a cursor, `start` or `now` [default: now, or start if no node is running]
    #[arg(long, value_name = "CURSOR")]
    pub(crate) since: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct SummaryArgs {
    /// The collection
    pub(crate) collection: String,
    /// Only records that match, for example "price > 2.50 and name starts with 'Tea'"
    #[arg(long = "where", value_name = "FILTER", long_help = FILTER_HELP)]
    pub(crate) filter: Option<String>,
    /// Group by the values of these fields
    #[arg(long, value_name = "FIELD,...")]
    pub(crate) by: Option<String>,
    /// The exact sums of these fields
    #[arg(long, value_name = "FIELD,...")]
    pub(crate) sum: Option<String>,
    /// The averages of these fields
    #[arg(long, value_name = "FIELD,...")]
    pub(crate) avg: Option<String>,
    /// The smallest values of these fields
    #[arg(long, value_name = "FIELD,...")]
    pub(crate) min: Option<String>,
    /// The largest values of these fields
    #[arg(long, value_name = "FIELD,...")]
    pub(crate) max: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct ImportArgs {
    /// The collection; it is created if it does not exist
    pub(crate) collection: String,
    /// CSV with a header row, or JSON, possibly gzipped: a file, a pipe, or - for stdin
    pub(crate) file: PathBuf,
    /// The column or field that holds the record's id; several are joined by commas
    #[arg(long, value_name = "FIELD,...", long_help = ID_HELP)]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    /// Kinds for fields that the schema does not declare; all others are inferred
    #[arg(long, value_name = "NAME=KIND,...", value_delimiter = ',', value_parser = parse_type)]
    pub(crate) types: Vec<(String, Kind)>,
    /// Restore deleted records with the fields of the input; without this, their rows are set aside
    #[arg(long)]
    pub(crate) undelete: bool,
    /// Do not declare a schema for a collection that has none
    #[arg(long)]
    pub(crate) no_schema: bool,
    /// What said so before it was the rule
    #[arg(long, hide = true)]
    pub(crate) write_schema: bool,
}

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    /// The collection
    pub(crate) collection: String,
    /// The format [default: by the name of the output file, else CSV]
    #[arg(long)]
    pub(crate) format: Option<FileFormat>,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Overwrite the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
    /// CSV: put an apostrophe in front of cells that a spreadsheet would run as formulas; `import` removes it
    #[arg(long)]
    pub(crate) safe: bool,
}

#[derive(Subcommand)]
pub(crate) enum SchemaCommand {
    /// Print all schemas or that of one collection, in the form that `schema apply` reads
    Show {
        /// The collection
        collection: Option<String>,
    },
    /// Apply schemas from a file: {"COLLECTION": {"FIELD": "KIND [required] [indexed]"}} as JSON or TOML
    Apply {
        /// The file, or - to read JSON from stdin
        file: PathBuf,
    },
    /// List records that do not fit their collection's schema, such as those written before it
    Check {
        /// The collection [default: all that have a schema]
        collection: Option<String>,
        /// List at most this many records of each collection; all are counted
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
}

/// Formats of files with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// Comma-separated values with a header row
    Csv,
    /// One JSON object per line; import also reads arrays, and objects that span several lines
    #[value(alias = "json", alias = "ndjson")]
    Jsonl,
}

impl FileFormat {
    /// By the file's name, if that says it.
    pub(crate) fn by_name(path: &std::path::Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "ndjson" | "json" => Some(Self::Jsonl),
            "csv" | "tsv" | "tab" | "psv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// The format of a file to be written, by its name; CSV where it has no ending.
    pub(crate) fn to_write(path: &std::path::Path) -> Result<Self, CliError> {
        let Some(ending) = path.extension() else { return Ok(Self::Csv) };
        let ending = ending.to_string_lossy().to_lowercase();
        match ending.as_str() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" | "json" => Ok(Self::Jsonl),
            other => {
                let message = format!("no format ends in .{other}: {}", path.display());
                let hint = match other {
                    "xlsx" | "xls" | "ods" | "numbers" => {
                        "spreadsheets open CSV: name the file .csv"
                    }
                    _ => "known are .csv, .jsonl and .json; --format csv or jsonl takes any name",
                };
                Err(CliError::usage(message).hint(hint))
            }
        }
    }
}

fn parse_type(text: &str) -> Result<(String, Kind), String> {
    let (name, kind) = text
        .rsplit_once('=')
        .ok_or_else(|| format!("{text:?} is not a type; expected NAME=KIND"))?;
    let kind = kind.parse().map_err(|error| format!("{error}"))?;
    Ok((name.to_owned(), kind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_to_be_written_has_an_ending_that_is_known() {
        let of = |name: &str| FileFormat::to_write(std::path::Path::new(name)).ok();
        assert_eq!(of("a.CSV"), Some(FileFormat::Csv));
        assert_eq!(of("a.b.jsonl"), Some(FileFormat::Jsonl));
        assert_eq!(of("/dev/stdout"), Some(FileFormat::Csv));
        for name in ["a.xlsx", "a.csv.gz", "a.txt"] {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn types_name_a_known_kind() {
        assert_eq!(parse_type("a=b=integer"), Ok(("a=b".to_owned(), Kind::Integer)));
        assert!(parse_type("price").is_err());
        assert!(parse_type("price=money").unwrap_err().contains("decimal"));
    }
}
