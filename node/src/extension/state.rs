//! What extensions keep that cannot be rebuilt: copied for a backup, and put into place by a restore.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::OwnedMutexGuard;

use super::open::{Extensions, OpenedExtensions, TAKEN};
use super::{ExtensionError, RESTORED_FILE};
use crate::storage::disk::create_dir_private;
use crate::whole_file::{self, Readers, WholeFile};

/// Where the copies are while a backup is made, in each extension's folder. One that a crash has left is removed.
const COPIES: &str = ".backup";
/// Longest name of a file.
const NAME_BYTES_MAX: usize = 100;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefused {
    /// An extension's files cannot be copied.
    #[error("{name} cannot copy what it keeps: {source}")]
    Extension {
        /// Which.
        name: &'static str,
        /// Why.
        source: ExtensionError,
    },
}

/// Copies of the files of all extensions; dropping it removes them.
pub(crate) struct Snapshot {
    /// Each file, by extension and name, and where its copy is.
    pub(crate) files: Vec<(String, PathBuf)>,
    folders: Vec<PathBuf>,
    /// One backup is made at a time, so that copies need no more room than once.
    _turn: OwnedMutexGuard<()>,
}

impl Extensions {
    /// Lets each part copy what it keeps.
    pub(crate) async fn snapshot(&self, data: &Path) -> Result<Snapshot, BackupRefused> {
        let turn = self.backups.clone().lock_owned().await;
        let mut snapshot = Snapshot { files: Vec::new(), folders: Vec::new(), _turn: turn };
        for OpenedExtensions { name, part } in self.parts() {
            let folder = data.join(name).join(COPIES);
            let refused = |source| BackupRefused::Extension { name, source };
            remove(&folder).map_err(|error| refused(error.into()))?;
            create_dir_private(&folder).map_err(|error| refused(error.into()))?;
            snapshot.folders.push(folder.clone());
            part.snapshot(&folder).await.map_err(refused)?;
            snapshot.add(name, &folder).map_err(refused)?;
        }
        Ok(snapshot)
    }
}

impl Snapshot {
    fn add(&mut self, extension: &str, folder: &Path) -> Result<(), ExtensionError> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = format!("{extension}/{name}");
            if !path.is_file() || place(&name).is_none() {
                return Err(format!("{} cannot be in a backup", path.display()).into());
            }
            self.files.push((name, path));
        }
        self.files.sort();
        Ok(())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        for folder in &self.folders {
            // The next backup removes what is left. Where there is nothing else, the extension has kept nothing.
            let _ = remove(folder);
            let _ = folder.parent().map(fs::remove_dir);
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The extension and the file that a name in a backup tells; `None`: no backup has such a name.
pub(crate) fn place(name: &str) -> Option<(&str, &str)> {
    let (extension, file) = name.split_once('/')?;
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let is_extension = !extension.is_empty()
        && extension.bytes().all(|byte| byte.is_ascii_lowercase())
        && !TAKEN.contains(&extension);
    let is_file = file.bytes().all(is_plain)
        && !file.is_empty()
        && !file.starts_with('.')
        && file != RESTORED_FILE;
    (is_extension && is_file && name.len() <= NAME_BYTES_MAX).then_some((extension, file))
}

/// Puts the files of extensions into a restored data folder, as they come.
pub(crate) struct Restoring<'a> {
    data: &'a Path,
    /// The file that is being written, by its name in the backup.
    open: Option<(String, WholeFile)>,
    folders: BTreeSet<PathBuf>,
}

impl<'a> Restoring<'a> {
    pub(crate) fn new(data: &'a Path) -> Self {
        Self { data, open: None, folders: BTreeSet::new() }
    }

    /// Takes the next bytes of a file. Those of another file end the one before.
    pub(crate) fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.close()?;
            let refused =
                || io::Error::other(format!("no file of an extension is called {name:?}"));
            let (extension, file) = place(name).ok_or_else(refused)?;
            let folder = self.data.join(extension);
            create_dir_private(&folder)?;
            self.open =
                Some((name.to_owned(), WholeFile::create(&folder.join(file), Readers::Owner)?));
            self.folders.insert(folder);
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(bytes),
            None => Ok(()),
        }
    }

    /// Tells each extension that its files come from a backup of this time.
    pub(crate) fn finish(mut self, time: &str) -> io::Result<()> {
        self.close()?;
        let mark =
            |folder: &PathBuf| whole_file::replace(&folder.join(RESTORED_FILE), time.as_bytes());
        self.folders.iter().try_for_each(mark)
    }

    fn close(&mut self) -> io::Result<()> {
        self.open.take().map_or(Ok(()), |(_, file)| file.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_a_backup_leads_nowhere_but_into_the_folder_of_an_extension() {
        assert_eq!(place("connect/views.db"), Some(("connect", "views.db")));
        for name in [
            "",
            "/",
            "connect",
            "connect/",
            "/views.db",
            "connect/../site.key",
            "connect/a/b",
            "../connect/a",
            "journal/a",
            "tables/a",
            "connect/.backup",
            "connect/restored",
            "Connect/a",
            "connect/A",
            "./a",
            "connect/a\0",
        ] {
            assert_eq!(place(name), None, "{name:?}");
        }
        assert_eq!(place(&format!("connect/{}", "a".repeat(NAME_BYTES_MAX))), None);
    }
}
