//! Files that appear under their name when they are whole, and never in place of another by accident.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::CliError;
use crate::{output, visible};

/// Bytes that are gathered before they are written: few calls for rows of some hundred bytes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Who may read a new file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readers {
    /// Its owner alone: it holds a key, or entries.
    Owner,
    /// Those whom the process's umask lets.
    Umask,
}

/// A file in the making. Dropped before it is whole, it leaves nothing.
pub(crate) struct WholeFile {
    out: PathBuf,
    place: Place,
}

enum Place {
    /// Under another name beside its own. `replaces`: what has the name may go.
    Aside { file: BufWriter<NamedTempFile>, replaces: bool },
    /// Standard output, a pipe or a device, where nothing can be taken back or overwritten.
    Through(BufWriter<Box<dyn Write>>),
}

impl WholeFile {
    /// Begins the file `out`; `-` is standard output. A file that exists is refused without `force`.
    pub(crate) fn create(out: &Path, readers: Readers, force: bool) -> Result<Self, CliError> {
        let buffered = |through| Place::Through(BufWriter::with_capacity(BUFFER_BYTES, through));
        let failed = |error: io::Error| CliError::file("write", out, &error);
        let place = if is_stdout(out) {
            buffered(output::data())
        } else if is_through(out) {
            let opened = OpenOptions::new().write(true).open(out).map_err(failed)?;
            buffered(visible::at_terminal(opened))
        } else {
            refuse_existing(out, force)?;
            let mode = match readers {
                Readers::Owner => 0o600,
                Readers::Umask => 0o666,
            };
            let mut name = out.file_name().unwrap_or_default().to_owned();
            name.push(".");
            let file = tempfile::Builder::new()
                .prefix(&name)
                .suffix(".partial")
                .permissions(Permissions::from_mode(mode))
                .tempfile_in(folder_of(out))
                .map_err(failed)?;
            Place::Aside { file: BufWriter::with_capacity(BUFFER_BYTES, file), replaces: force }
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
            Place::Through(mut through) => {
                return through.flush().map_err(|error| failed(&out, error));
            }
            Place::Aside { file, replaces } => (file, replaces),
        };
        let file = file.into_inner().map_err(|error| failed(&out, error.into_error()))?;
        file.as_file().sync_all().map_err(|error| failed(&out, error))?;
        if replaces {
            file.persist(&out).map_err(|error| failed(&out, error.error))?;
        } else if let Err(error) = file.persist_noclobber(&out) {
            // It came meanwhile; or the file system of a stick knows no such renaming.
            refuse_existing(&out, false)?;
            error.file.persist(&out).map_err(|error| failed(&out, error.error))?;
        }
        // A stick's file system may not know how to make a name durable; the file is there all the same.
        let _ = File::open(folder_of(&out)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.place {
            Place::Aside { file, .. } => file.write(bytes),
            Place::Through(through) => through.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Aside { file, .. } => file.flush(),
            Place::Through(through) => through.flush(),
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

fn folder_of(out: &Path) -> &Path {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn refuse_existing(out: &Path, force: bool) -> Result<(), CliError> {
    let name = out.display();
    match fs::symlink_metadata(out) {
        Ok(meta) if meta.is_dir() => {
            Err(CliError::failed(format!("{name} is a folder, expected the name of a file")))
        }
        Ok(_) if !force => Err(CliError::failed(format!("{name} exists already"))
            .hint("choose another name, or overwrite it with --force")),
        Ok(_) | Err(_) => Ok(()),
    }
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
        let mut first = WholeFile::create(&out, Readers::Owner, false).unwrap();
        let mut second = WholeFile::create(&out, Readers::Umask, false).unwrap();
        first.write(b"first").unwrap();
        second.write(b"second").unwrap();
        assert!(!out.exists());
        first.finish().unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        // What came meanwhile stays.
        assert!(second.finish().unwrap_err().message().contains("--force"));
        assert_eq!(fs::read(&out).unwrap(), b"first");
        assert!(WholeFile::create(&out, Readers::Owner, false).is_err());
        drop(WholeFile::create(&out, Readers::Owner, true).unwrap());
        assert_eq!((fs::read(&out).unwrap(), names()), (b"first".to_vec(), 1));
        let mut third = WholeFile::create(&out, Readers::Owner, true).unwrap();
        third.write(b"third").unwrap();
        third.finish().unwrap();
        assert_eq!((fs::read(&out).unwrap(), names()), (b"third".to_vec(), 1));
        assert!(WholeFile::create(folder.path(), Readers::Owner, true).is_err());
    }
}
