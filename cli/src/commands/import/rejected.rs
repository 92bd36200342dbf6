//! Rows that could not be imported: told on stderr, and kept in a file for mending.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::rows::RawRow;
use crate::args::FileFormat;
use crate::error::CliError;
use crate::output;

/// Rows told on stderr; the file has them all.
const TOLD_MAX: u64 = 20;

/// Collects the rejected rows of one file.
pub(crate) struct Rejected<'a> {
    input: &'a Path,
    format: FileFormat,
    raw_header: &'a [u8],
    file: Option<(PathBuf, BufWriter<File>)>,
    count: u64,
}

impl<'a> Rejected<'a> {
    pub(crate) fn new(input: &'a Path, format: FileFormat, raw_header: &'a [u8]) -> Self {
        Self { input, format, raw_header, file: None, count: 0 }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn add(&mut self, row: &RawRow, error: &str) -> Result<(), CliError> {
        self.count += 1;
        if self.count <= TOLD_MAX {
            output::note(format_args!("{}:{}: {error}", self.input.display(), row.line));
        }
        if self.file.is_none() {
            self.file = Some(self.create()?);
        }
        if let Some((path, file)) = &mut self.file {
            let written = match self.format {
                FileFormat::Csv => write_csv(file, &row.bytes, error),
                FileFormat::Jsonl => write_line(file, row, error),
            };
            written.map_err(|error| CliError::file("write", path, &error))?;
        }
        Ok(())
    }

    /// Writes the file out and tells where it is.
    pub(crate) fn finish(self) -> Result<Option<PathBuf>, CliError> {
        let Some((path, mut file)) = self.file else { return Ok(None) };
        file.flush().map_err(|error| CliError::file("write", &path, &error))?;
        if self.count > TOLD_MAX {
            output::note(format_args!("... and {} more", self.count - TOLD_MAX));
        }
        Ok(Some(path))
    }

    /// Next to the input, or in the current folder where that cannot be written.
    fn create(&self) -> Result<(PathBuf, BufWriter<File>), CliError> {
        let mut name = self.input.file_name().unwrap_or_default().to_owned();
        name.push(match self.format {
            FileFormat::Csv => ".rejected.csv",
            FileFormat::Jsonl => ".rejected.jsonl",
        });
        let beside = self.input.with_file_name(&name);
        let (path, file) = match File::create(&beside) {
            Ok(file) => (beside, file),
            Err(_) => {
                let here = PathBuf::from(name);
                let file = File::create(&here);
                let file = file.map_err(|error| CliError::file("write", &here, &error))?;
                (here, file)
            }
        };
        let mut file = BufWriter::new(file);
        if self.format == FileFormat::Csv {
            let written = write_header(&mut file, self.raw_header);
            written.map_err(|error| CliError::file("write", &path, &error))?;
        }
        Ok((path, file))
    }
}

fn write_header(file: &mut impl Write, header: &[u8]) -> io::Result<()> {
    file.write_all(header)?;
    file.write_all(b",error\n")
}

/// The row as it stood in the file, with one column more.
fn write_csv(file: &mut impl Write, row: &[u8], error: &str) -> io::Result<()> {
    file.write_all(row)?;
    writeln!(file, ",\"{}\"", error.replace('"', "\"\""))
}

fn write_line(file: &mut impl Write, row: &RawRow, error: &str) -> io::Result<()> {
    let text = String::from_utf8_lossy(&row.bytes);
    writeln!(file, "{}", json!({ "line": row.line, "error": error, "row": text }))
}
