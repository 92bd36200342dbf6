//! Whose a data folder is. Only the user that owns it opens it, root included: a file that another user made in it would
//! keep the owner's node out, and anyone who may write into it could take the site's key or lead its files elsewhere.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::folder::FolderError;
use super::spare;

/// Bits of a mode by which the group or others may write.
const OTHERS_WRITE: u32 = 0o022;
/// Bits of a mode by which the group or others may do anything.
const OTHERS: u32 = 0o077;
/// May belong to root too, who often keeps it for a service; nothing is written to it.
const CONFIG: &str = "branchline.toml";
/// May lie on another disk, with a link to it.
const FOLDERS: [&str; 2] = ["journal", "tables"];
/// What else is read or written by these names; files that a rename is to put in their places come besides.
const FILES: [&str; 9] = [
    "format",
    "lock",
    "site.key",
    "site.key.next",
    "site.json",
    "ticket",
    "api.token",
    "run.json",
    spare::FILE,
];
/// Where people's names are, by their numbers.
const USERS: &str = "/etc/passwd";

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32);

impl User {
    /// As whom this process works.
    pub fn own() -> Self {
        Self(rustix::process::geteuid().as_raw())
    }

    /// As `sudo -u` and `chown` take it: the name, or else the number.
    pub fn name(self) -> String {
        let users = fs::read_to_string(USERS).unwrap_or_default();
        let named = users.lines().find_map(|line| {
            let mut parts = line.split(':');
            let (name, number) = (parts.next()?, parts.nth(1)?);
            (number.parse() == Ok(self.0)).then(|| name.to_owned())
        });
        named.unwrap_or_else(|| format!("#{}", self.0))
    }
}

/// Refuses a data folder that belongs to another user than this process's, or that others may write to; and the same of
/// what in it is a site's.
pub(super) fn check(folder: &Path) -> Result<(), FolderError> {
    let found = look(folder, true)?;
    check_owner(folder, &found)?;
    check_mode(folder, &found)?;
    let is_open = found.permissions().mode() & OTHERS != 0;
    for path in parts(folder)? {
        let found = match look(&path, false) {
            Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            found => found?,
        };
        let name = path.file_name().unwrap_or_default();
        let is_of_root = name == CONFIG && found.uid() == 0;
        if !is_of_root {
            check_owner(&path, &found)?;
        }
        let may_be_link = name == CONFIG || FOLDERS.iter().any(|folder| name == *folder);
        if !(found.is_file() || found.is_dir() || may_be_link) {
            return Err(FolderError::NoFile { path });
        }
        if is_open && !found.is_symlink() {
            check_mode(&path, &found)?;
        }
    }
    for name in FOLDERS {
        check_inside(&folder.join(name))?;
    }
    Ok(())
}

/// Refuses a folder that belongs to another user than this process's.
///
/// # Errors
/// [`FolderError::Foreign`] names the owner, [`FolderError::Io`] where the folder cannot be looked at.
pub fn check_owner_of(folder: &Path) -> Result<(), FolderError> {
    check_owner(folder, &look(folder, true)?)
}

/// What is in a data folder and is to be its owner's.
fn parts(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let mut parts: Vec<_> =
        FOLDERS.iter().chain(&FILES).chain(&[CONFIG]).map(|name| folder.join(name)).collect();
    for path in entries(folder)? {
        if path.extension().is_some_and(|extension| extension == "new") {
            parts.push(path);
        }
    }
    Ok(parts)
}

/// Files of the journal and of the tables. Nobody else can have put them there, but root, or a copy as root.
fn check_inside(folder: &Path) -> Result<(), FolderError> {
    if !folder.is_dir() {
        return Ok(());
    }
    let found = look(folder, true)?;
    check_owner(folder, &found)?;
    check_mode(folder, &found)?;
    for path in entries(folder)? {
        check_owner(&path, &look(&path, false)?)?;
    }
    Ok(())
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), FolderError> {
    let (owner, user) = (User(found.uid()), User::own());
    if owner == user {
        return Ok(());
    }
    Err(FolderError::Foreign { path: path.to_owned(), owner, user })
}

fn check_mode(path: &Path, found: &Metadata) -> Result<(), FolderError> {
    if found.permissions().mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(FolderError::Writable { path: path.to_owned() })
}

fn look(path: &Path, through_links: bool) -> Result<Metadata, FolderError> {
    let found = if through_links { fs::metadata(path) } else { fs::symlink_metadata(path) };
    found.map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
    entries.map_err(|source| FolderError::Io { path: folder.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::init;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused_by_name() {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        check(data.path()).unwrap();
        for mode in [0o770, 0o702, 0o777] {
            set_mode(data.path(), mode);
            let error = check(data.path()).unwrap_err();
            assert!(
                matches!(&error, FolderError::Writable { path } if path == data.path()),
                "{error}"
            );
        }
        // In a folder that nobody else can enter a file's mode lets nobody in.
        let (key, aside) = (data.path().join("site.key"), data.path().join("run.json.new"));
        fs::write(&aside, "").unwrap();
        for path in [&key, &aside] {
            set_mode(path, 0o666);
            set_mode(data.path(), 0o700);
            check(data.path()).unwrap();
            set_mode(data.path(), 0o755);
            let error = check(data.path()).unwrap_err();
            assert!(
                matches!(&error, FolderError::Writable { path: found } if found == path),
                "{error}"
            );
            set_mode(path, 0o600);
        }
        check(data.path()).unwrap();
    }

    #[test]
    fn links_lead_nowhere_but_to_the_journal_and_the_tables() {
        let data = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let journal = data.path().join("journal");
        fs::rename(&journal, elsewhere.path().join("journal")).unwrap();
        symlink(elsewhere.path().join("journal"), &journal).unwrap();
        check(data.path()).unwrap();
        for name in ["lock", "api.token", "run.json.new"] {
            let path = data.path().join(name);
            let _ = fs::remove_file(&path);
            symlink(elsewhere.path().join("victim"), &path).unwrap();
            let error = check(data.path()).unwrap_err();
            assert!(
                matches!(&error, FolderError::NoFile { path: found } if *found == path),
                "{error}"
            );
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn users_have_a_name_or_a_number() {
        assert_eq!(User(0).name(), "root");
        assert_eq!(User(4_000_000_000).name(), "#4000000000");
    }
}
