//! Rows that could not be imported: reported on stderr, and kept as they stand in a file that can be mended and imported with
//! the same command. What is wrong with each stands in a second file beside it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::input::Input;
use super::json::JsonForm;
use super::reading::Form;
use super::rows::RawRow;
use super::survey::Survey;
use crate::args::FileFormat;
use crate::error::CliError;
use crate::output;

/// Rows reported on stderr; the files have them all.
const TOLD_MAX: u64 = 20;
/// Names that are tried for the files. Nobody keeps so many unmended.
const NAMES_MAX: u32 = 10_000;
const MARK: &str = ".rejected";

/// Collects the rejected rows of one input.
pub(crate) struct Rejected<'a> {
    input: &'a Input,
    survey: &'a Survey,
    /// What the files are called after where the input has no name.
    collection: &'a str,
    files: Option<Files>,
    count: u64,
    doubts: u64,
}

/// The two files.
struct Files {
    rows: PathBuf,
    rows_file: BufWriter<File>,
    reasons: PathBuf,
    reasons_file: BufWriter<File>,
    /// The line of the next row in the file of rows.
    line: u64,
}

/// Where the rows and the reasons are kept.
pub(crate) struct Kept {
    pub(crate) rows: PathBuf,
    pub(crate) reasons: PathBuf,
}

impl<'a> Rejected<'a> {
    pub(crate) fn new(input: &'a Input, survey: &'a Survey, collection: &'a str) -> Self {
        Self { input, survey, collection, files: None, count: 0, doubts: 0 }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Returns how many rows were imported though they are odd.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts
    }

    /// Says what is odd about a row that is imported.
    pub(crate) fn doubt(&mut self, line: u64, doubt: &str) {
        self.doubts += 1;
        if self.doubts <= TOLD_MAX {
            output::note(format_args!("{}:{line}: imported, but {doubt}", self.input.name));
        }
    }

    pub(crate) fn add(&mut self, row: &RawRow, error: &str) -> Result<(), CliError> {
        self.count += 1;
        let error = output::visible(error);
        if self.count <= TOLD_MAX {
            output::note(format_args!("{}:{}: {error}", self.input.name, row.line));
        }
        let mut files = match self.files.take() {
            Some(files) => files,
            None => self.create()?,
        };
        let is_ended = row.bytes.is_empty() || row.bytes.ends_with(self.line_end());
        let end = if is_ended { &[] } else { self.line_end() };
        files.add(row, end, &error)?;
        self.files = Some(files);
        Ok(())
    }

    /// Writes the files out and says where they are.
    pub(crate) fn finish(self) -> Result<Option<Kept>, CliError> {
        let Some(files) = self.files else { return Ok(None) };
        if self.count > TOLD_MAX {
            output::note(format_args!("... and {} more", self.count - TOLD_MAX));
        }
        files.finish().map(Some)
    }

    fn line_end(&self) -> &'static [u8] {
        match self.survey.reading.form {
            Form::Json(JsonForm::Values | JsonForm::Array) => b"\n",
            Form::Json(JsonForm::Lines) | Form::Csv(_) => self.survey.reading.recognised.line_end(),
        }
    }

    /// Next to the input, or in the current folder where that cannot be written; never in the place of another file.
    fn create(&self) -> Result<Files, CliError> {
        let path = self.input.path.as_deref().unwrap_or(Path::new(self.collection));
        let (base, ending) = names(path, self.survey.reading.form);
        let files = match self.create_in(path.parent().unwrap_or(Path::new("")), &base, ending) {
            Err((_, error)) if may_be_elsewhere(&error) => {
                self.create_in(Path::new(""), &base, ending)
            }
            created => created,
        };
        files.map_err(|(path, error)| CliError::file("write", &path, &error))
    }

    fn create_in(
        &self,
        folder: &Path,
        base: &OsString,
        ending: &str,
    ) -> Result<Files, (PathBuf, io::Error)> {
        let mut number = 1;
        loop {
            let named = |ending: &str| {
                let mut name = base.clone();
                name.push(MARK);
                if number > 1 {
                    name.push(format!("-{number}"));
                }
                name.push(ending);
                folder.join(name)
            };
            let (rows, reasons) = (named(&format!(".{ending}")), named(".reasons.txt"));
            let create = |path: &Path| OpenOptions::new().write(true).create_new(true).open(path);
            let is_taken = |error: &io::Error| {
                error.kind() == io::ErrorKind::AlreadyExists && number < NAMES_MAX
            };
            // The reasons first: what is left of an attempt that finds the other name taken is an empty file less.
            let created = match rows.symlink_metadata() {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => create(&reasons),
            };
            let reasons_file = match created {
                Ok(file) => file,
                Err(error) if is_taken(&error) => {
                    number += 1;
                    continue;
                }
                Err(error) => return Err((reasons, error)),
            };
            let rows_file = match create(&rows) {
                Ok(file) => file,
                Err(error) => {
                    let _ = std::fs::remove_file(&reasons);
                    if is_taken(&error) {
                        number += 1;
                        continue;
                    }
                    return Err((rows, error));
                }
            };
            let files = Files {
                rows_file: BufWriter::new(rows_file),
                reasons_file: BufWriter::new(reasons_file),
                line: 1,
                rows,
                reasons,
            };
            return self.begin(files);
        }
    }

    /// Everything up to the header row goes along as it stands, so that the same command reads the file.
    fn begin(&self, mut files: Files) -> Result<Files, (PathBuf, io::Error)> {
        let table = &self.survey.table;
        let mut head = self.input.reader().take(table.head_bytes);
        let copied = io::copy(&mut head, &mut files.rows_file);
        copied.map_err(|error| (files.rows.clone(), error))?;
        files.line += table.head_lines;
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reported = writeln!(
            files.reasons_file,
            "Rows of {} that were not imported, and why. Mend them in {}; the same command imports that file.\n",
            output::visible(&self.input.name),
            output::visible(&name(&files.rows)),
        );
        reported.map_err(|error| (files.reasons.clone(), error))?;
        Ok(files)
    }
}

fn may_be_elsewhere(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | StorageFull)
}

/// What the files of an input are called, without numbers: those of an input that is such a file itself are its next ones.
fn names(path: &Path, form: Form) -> (OsString, &str) {
    let by_form = || match form {
        Form::Csv(_) => "csv",
        Form::Json(JsonForm::Lines) => "jsonl",
        Form::Json(JsonForm::Values | JsonForm::Array) => "json",
    };
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.filter(|_| FileFormat::by_name(path).is_some()).unwrap_or_else(by_form);
    let name = path.file_name().unwrap_or_default();
    let stem = name.to_str().and_then(|name| {
        let (stem, behind) = name.rsplit_once(MARK)?;
        let number = behind.strip_suffix(ending)?.strip_suffix('.')?.trim_start_matches('-');
        number.bytes().all(|byte| byte.is_ascii_digit()).then_some(stem)
    });
    (stem.map_or_else(|| name.to_owned(), OsString::from), ending)
}

impl Files {
    fn add(&mut self, row: &RawRow, end: &[u8], error: &str) -> Result<(), CliError> {
        let written =
            self.rows_file.write_all(&row.bytes).and_then(|()| self.rows_file.write_all(end));
        written.map_err(|error| CliError::file("write", &self.rows, &error))?;
        let reported = if row.lines == 0 {
            writeln!(self.reasons_file, "line {}: {error}", row.line)
        } else {
            writeln!(self.reasons_file, "line {} (line {} here): {error}", row.line, self.line)
        };
        reported.map_err(|error| CliError::file("write", &self.reasons, &error))?;
        self.line += row.lines;
        Ok(())
    }

    fn finish(mut self) -> Result<Kept, CliError> {
        let written = self.rows_file.flush();
        written.map_err(|error| CliError::file("write", &self.rows, &error))?;
        let written = self.reasons_file.flush();
        written.map_err(|error| CliError::file("write", &self.reasons, &error))?;
        Ok(Kept { rows: self.rows, reasons: self.reasons })
    }
}

#[cfg(test)]
mod tests {
    use super::super::csv::dialect::Dialect;
    use super::*;

    #[test]
    fn the_files_are_called_after_the_input() {
        let csv = Form::Csv(Dialect { delimiter: ',', skip: 0 });
        for (path, base, ending) in [
            ("a/products.csv", "products.csv", "csv"),
            ("products.tsv", "products.tsv", "tsv"),
            ("products", "products", "csv"),
            ("products.data", "products.data", "csv"),
            ("products.csv.rejected.csv", "products.csv", "csv"),
            ("products.csv.rejected-12.csv", "products.csv", "csv"),
            ("my.rejected.things.csv", "my.rejected.things.csv", "csv"),
        ] {
            assert_eq!(names(Path::new(path), csv), (OsString::from(base), ending), "{path}");
        }
        assert_eq!(names(Path::new("sales"), Form::Json(JsonForm::Lines)).1, "jsonl");
        assert_eq!(names(Path::new("sales.json"), Form::Json(JsonForm::Lines)).1, "json");
    }
}
