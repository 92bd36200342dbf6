//! Files that appear under their name when they are whole, durably.
//!
//! A file `NAME` is written as `NAME.new` beside it and renamed: so do all small files of a data folder come to be, and what
//! commands write for their user.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bits of `open` that keep it from following a symbolic link at the end of the path.
pub(crate) const NO_FOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
/// What a file is called until it is whole, behind its name.
const ASIDE: &str = ".new";

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone: it holds a key, or entries.
    Owner,
    /// Those whom the process's umask lets.
    Umask,
}

/// A file in the making. Dropped before it is whole, it leaves nothing.
#[derive(Debug)]
pub struct WholeFile {
    out: PathBuf,
    aside: PathBuf,
    /// Locked as long as it is open, so that nobody takes it for what a crash has left.
    file: File,
    is_whole: bool,
}

impl WholeFile {
    /// Begins the file `out` under another name beside it. What stands at `out` stays until [`WholeFile::finish`]; it is
    /// refused if it is anything but a file.
    ///
    /// # Errors
    /// Those of the file system; [`io::ErrorKind::ResourceBusy`] where another process writes the file now.
    pub fn create(out: &Path, readers: Readers) -> io::Result<Self> {
        match fs::symlink_metadata(out) {
            Ok(found) => refuse_no_file(&found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut aside = out.as_os_str().to_owned();
        aside.push(ASIDE);
        let aside = PathBuf::from(aside);
        remove_left(&aside)?;
        let mode = match readers {
            Readers::Owner => 0o600,
            Readers::Umask => 0o666,
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        // Some network file systems have no locks: two writers of one file are then not kept apart.
        let _ = file.try_lock();
        Ok(Self { out: out.to_owned(), aside, file, is_whole: false })
    }

    /// Gives the file its name, once all of it is durable. What had the name is gone.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.rename()
    }

    /// Gives the file its name, once all of it is durable, if nothing has the name by then.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and those of the file system.
    pub fn finish_new(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        match fs::hard_link(&self.aside, &self.out) {
            // The other name goes when this is dropped.
            Ok(()) => sync_folder_of(&self.out),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // The file systems of sticks know no second names.
            Err(_) if fs::symlink_metadata(&self.out).is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(_) => self.rename(),
        }
    }

    fn rename(&mut self) -> io::Result<()> {
        fs::rename(&self.aside, &self.out)?;
        self.is_whole = true;
        sync_folder_of(&self.out)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
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

/// Replaces `path` by a file of mode 0600 with this content: after a crash there is the old or the new.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::finish`].
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = WholeFile::create(path, Readers::Owner)?;
    file.write_all(content)?;
    file.finish()
}

/// Removes what an interrupted attempt of this user has left under the name of an unfinished file.
fn remove_left(aside: &Path) -> io::Result<()> {
    let refuse = |kind, what: &str| {
        let message = format!("{} {what}", aside.display());
        Err(io::Error::new(kind, message))
    };
    let found = match fs::symlink_metadata(aside) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        let what = "is in the way and was not left by this user: look at it, then remove it";
        return refuse(io::ErrorKind::PermissionDenied, what);
    }
    let left = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(aside)?;
    if matches!(left.try_lock(), Err(TryLockError::WouldBlock)) {
        return refuse(io::ErrorKind::ResourceBusy, "is being written by another process");
    }
    fs::remove_file(aside)
}

/// A rename would put a file in the place of a link, a device or a pipe.
fn refuse_no_file(found: &fs::Metadata) -> io::Result<()> {
    let what = match found.file_type() {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a symbolic link",
        _ => "no ordinary file",
    };
    Err(io::Error::other(format!(
        "there is {what} of that name already, expected a file or nothing"
    )))
}

/// Makes names in the folder of `path` durable, where its file system knows how to.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut unfinished = WholeFile::create(&path, Readers::Owner).unwrap();
        unfinished.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(unfinished);
        assert_eq!(names(folder.path()), ["file"]);
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_a_crash_left_is_written_anew_and_never_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, aside) = (folder.path().join("file"), folder.path().join("file.new"));
        fs::write(&aside, "half of an earlier attempt, longer than the new one").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, "precious").unwrap();
        symlink(&elsewhere, &aside).unwrap();
        let error = replace(&path, b"newer").unwrap_err().to_string();
        assert!(error.contains("file.new is in the way"), "{error}");
        fs::remove_file(&aside).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        let error = replace(&path, b"newer").unwrap_err().to_string();
        assert!(error.contains("a symbolic link"), "{error}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"precious");
        assert_eq!(names(folder.path()), ["elsewhere", "file"]);
    }

    #[test]
    fn a_device_or_folder_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path()] {
            WholeFile::create(path, Readers::Owner).unwrap_err();
        }
    }

    #[test]
    fn two_writers_of_one_file_are_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut first = WholeFile::create(&path, Readers::Owner).unwrap();
        let error = WholeFile::create(&path, Readers::Owner).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        first.write_all(b"first").unwrap();
        first.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"first");
        WholeFile::create(&path, Readers::Owner).unwrap();
    }

    #[test]
    fn a_new_file_takes_the_place_of_none_that_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut first = WholeFile::create(&path, Readers::Umask).unwrap();
        first.write_all(b"first").unwrap();
        first.finish_new().unwrap();
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"first".to_vec(), vec!["file".to_owned()])
        );
        let mut second = WholeFile::create(&path, Readers::Umask).unwrap();
        second.write_all(b"second").unwrap();
        assert_eq!(second.finish_new().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(
            (fs::read(&path).unwrap(), names(folder.path())),
            (b"first".to_vec(), vec!["file".to_owned()])
        );
    }
}
