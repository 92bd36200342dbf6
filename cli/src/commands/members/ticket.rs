//! Where tickets come from and go to. A ticket is a secret, and whatever stands on a command line can be read by every
//! user of the machine: so there are files and pipes for it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// What every ticket begins with, of whichever version.
const BEGIN: &str = "branchline-ticket-";
/// Longest text that is read as a ticket, in bytes: room for blanks around one.
const BYTES_MAX: u64 = 16 * 1024;

/// The ticket that is meant: `-` for stdin, the ticket itself, or its file.
pub(super) fn read(given: &str) -> Result<String, CliError> {
    if given.trim_start().starts_with(BEGIN) {
        return Ok(given.trim().to_owned());
    }
    let text = match given {
        "-" => text(io::stdin()).map_err(|error| {
            CliError::failed(format!("cannot read the ticket from stdin: {error}"))
        })?,
        _ => {
            let path = Path::new(given);
            let read = File::open(path).and_then(text);
            read.map_err(|error| not_read(path, &error))?
        }
    };
    let ticket = text.trim();
    if ticket.is_empty() {
        let whence = if given == "-" { "stdin" } else { given };
        return Err(CliError::failed(format!("{whence} contains no ticket: it is empty"))
            .hint("`branchline invite -o FILE` at an admin's site makes one"));
    }
    Ok(ticket.to_owned())
}

fn text(input: impl Read) -> io::Result<String> {
    let mut text = String::new();
    input.take(BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn not_read(path: &Path, error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::NotFound => CliError::failed(format!(
            "{} is neither a file nor a ticket, which would begin with {BEGIN}1-",
            path.display()
        ))
        .hint("name the file that `branchline invite -o FILE` has written, or - for stdin"),
        _ => CliError::file("read", path, error),
    }
}

/// A file that a ticket is to be written to, for its owner only. There was none before, and there is none again if no
/// ticket comes.
pub(super) struct TicketFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl TicketFile {
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                CliError::failed(format!("{} exists already", path.display())).hint(
                    "it may contain a ticket that is still valid: name another file, or remove it",
                )
            }
            _ => CliError::file("write", path, &error),
        })?;
        Ok(Self { path: path.to_owned(), file, is_written: false })
    }

    pub(super) fn write(mut self, ticket: &str) -> Result<(), CliError> {
        let written = writeln!(self.file, "{ticket}").and_then(|()| self.file.sync_all());
        written.map_err(|error| CliError::file("write", &self.path, &error))?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for TicketFile {
    fn drop(&mut self) {
        if !self.is_written {
            // It may be gone already.
            let _ = fs::remove_file(&self.path);
        }
    }
}
