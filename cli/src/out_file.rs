//! Where a command writes: a file that appears when it is whole, and never in place of another by accident, or a pipe.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

pub(crate) use branchline_node::whole_file::Readers;
use branchline_node::whole_file::WholeFile;

use crate::error::CliError;
use crate::{output, visible};

/// Bytes that are gathered before they are written: few calls for rows of some hundred bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// A file in the making. Dropped before it is whole, it leaves nothing.
pub(crate) struct OutFile {
    out: PathBuf,
    place: OutPlace,
}

enum OutPlace {
    /// Under another name beside its own. `replaces`: what has the name may go.
    Aside { file: BufWriter<WholeFile>, replaces: bool },
    /// Standard output, a pipe or a device, where nothing can be taken back or overwritten.
    Through(BufWriter<Box<dyn Write>>),
}

impl OutFile {
    /// Begins the file `out`; `-` is standard output. A file that exists is refused without `force`.
    pub(crate) fn create(out: &Path, readers: Readers, force: bool) -> Result<Self, CliError> {
        let buffered = |through| OutPlace::Through(BufWriter::with_capacity(BUFFER_BYTES, through));
        let failed = |error: io::Error| CliError::file("write", out, &error);
        let place = if is_stdout(out) {
            buffered(output::data())
        } else if is_through(out) {
            let opened = OpenOptions::new().write(true).open(out).map_err(failed)?;
            buffered(visible::at_terminal(opened))
        } else {
            refuse_existing(out, force)?;
            let file = WholeFile::create(out, readers).map_err(failed)?;
            OutPlace::Aside { file: BufWriter::with_capacity(BUFFER_BYTES, file), replaces: force }
        };
        Ok(Self { out: out.to_owned(), place })
    }

    /// Whether it goes to standard output, so that what is said of it must not.
    pub(crate) fn is_stdout(&self) -> bool {
        is_stdout(&self.out)
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.write_all(bytes).map_err(|error| failed(&self.out, error))
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn finish(self) -> Result<(), CliError> {
        let Self { out, place } = self;
        let (file, replaces) = match place {
            OutPlace::Through(mut through) => {
                return through.flush().map_err(|error| failed(&out, error));
            }
            OutPlace::Aside { file, replaces } => (file, replaces),
        };
        let file = file.into_inner().map_err(|error| failed(&out, error.into_error()))?;
        let finished = if replaces { file.finish() } else { file.finish_new() };
        finished.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&out),
            _ => failed(&out, error),
        })
    }
}

impl Write for OutFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.place {
            OutPlace::Aside { file, .. } => file.write(bytes),
            OutPlace::Through(through) => through.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            OutPlace::Aside { file, .. } => file.flush(),
            OutPlace::Through(through) => through.flush(),
        }
    }
}

/// An error of writing; nobody may read standard output any more.
fn failed(out: &Path, error: io::Error) -> CliError {
    if is_stdout(out) { error.into() } else { CliError::file("write", out, &error) }
}

fn is_stdout(out: &Path) -> bool {
    out == Path::new("-") || out == Path::new("/dev/stdout")
}

/// Whether a path leads to what cannot be renamed into place: a pipe, a device, or a file that is open already.
fn is_through(out: &Path) -> bool {
    let is_open_file = ["/dev/", "/proc/"].iter().any(|folder| out.starts_with(folder));
    is_open_file || fs::metadata(out).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

fn refuse_existing(out: &Path, force: bool) -> Result<(), CliError> {
    match fs::symlink_metadata(out) {
        Ok(meta) if meta.is_dir() => Err(CliError::failed(format!(
            "{} is a folder, expected the name of a file",
            out.display()
        ))),
        Ok(_) if !force => Err(exists(out)),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn exists(out: &Path) -> CliError {
    CliError::failed(format!("{} exists already", out.display()))
        .hint("choose another name, or overwrite it with --force")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_and_in_place_of_none() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        let mut first = OutFile::create(&out, Readers::Owner, false).unwrap();
        first.write(b"first").unwrap();
        assert!(!out.exists());
        // What came meanwhile stays.
        fs::write(&out, "meanwhile").unwrap();
        assert!(first.finish().unwrap_err().message().contains("--force"));
        assert_eq!((fs::read(&out).unwrap(), names()), (b"meanwhile".to_vec(), 1));
        assert!(OutFile::create(&out, Readers::Owner, false).is_err());
        drop(OutFile::create(&out, Readers::Owner, true).unwrap());
        assert_eq!((fs::read(&out).unwrap(), names()), (b"meanwhile".to_vec(), 1));
        let mut second = OutFile::create(&out, Readers::Owner, true).unwrap();
        second.write(b"second").unwrap();
        second.finish().unwrap();
        assert_eq!((fs::read(&out).unwrap(), names()), (b"second".to_vec(), 1));
        assert!(OutFile::create(folder.path(), Readers::Owner, true).is_err());
    }
}
