//! Files that appear under their name when they are whole, for their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::CliError;

/// A file in the making. Dropped before it is whole, it leaves nothing.
pub(crate) struct WholeFile {
    out: PathBuf,
    aside: PathBuf,
    file: File,
    is_whole: bool,
}

impl WholeFile {
    /// Begins the file `out`, under another name beside it.
    pub(crate) fn create(out: &Path) -> Result<Self, CliError> {
        let mut aside = out.as_os_str().to_owned();
        aside.push(".partial");
        let aside = PathBuf::from(aside);
        let create = || {
            // What an interrupted attempt left may be readable for others.
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)
        };
        let file = create().map_err(|error| CliError::file("write", &aside, &error))?;
        Ok(Self { out: out.to_owned(), aside, file, is_whole: false })
    }

    /// Adds bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| CliError::file("write", &self.aside, &error))
    }

    /// The file is whole: it is made durable and gets its name.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        let finished = self.file.sync_all().and_then(|()| fs::rename(&self.aside, &self.out));
        finished.map_err(|error| CliError::file("write", &self.out, &error))?;
        self.is_whole = true;
        // A stick's file system may not know how to make a name durable; the file is there all the same.
        let folder = self.out.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = File::open(folder.unwrap_or(Path::new(".")));
        let _ = folder.and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // It may be gone already.
            let _ = fs::remove_file(&self.aside);
        }
    }
}
