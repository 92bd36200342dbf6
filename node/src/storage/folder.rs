//! The data folder: its format file, and the lock that keeps a second process out.
//!
//! | name | what |
//! |---|---|
//! | `format` | `branchline data 1` and a line end: which layout the folder has |
//! | `lock` | locked while a process has the folder open; holds that process's id and whether it is a node, for messages |
//! | `journal/` | the journal |
//! | `tables/` | sled |
//! | `tables.set-aside-<n>` | tables that were not usable |
//! | `spare` | room for a start on a full disk |

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk::create_dir_private;
use super::ownership::{self, User};
use crate::whole_file::{self, NO_FOLLOW};

/// Version of the folder's layout. Where it is raised, programs of before refuse the folder from the first opening on.
const FORMAT_VERSION: u32 = 1;
/// The oldest layout that this program takes up.
const FORMAT_OLDEST: u32 = 1;
/// The file that makes a folder a data folder.
pub const FORMAT_FILE: &str = "format";
/// What the format file says before the version.
const FORMAT_PREFIX: &str = "branchline data ";
/// More than any format or lock file has; the rest of a longer file is not read.
const SMALL_FILE_BYTES_MAX: u64 = 256;

/// How long a command that has the folder open is waited for by the one who needs it next: most take less than a second.
pub const FOLDER_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before looking again.
pub const FOLDER_PAUSE: Duration = Duration::from_millis(50);
/// What the lock's file says of a process that runs a node.
const NODE: &str = "node";

/// A data folder that this process has locked; dropping it unlocks it.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Locked as long as it is open.
    lock: File,
}

/// Why a data folder could not be opened or created; nothing was changed but, on creation, parts
/// of an empty folder.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process (or another part of this one) has it open.
    #[error(
        "the data folder {} is in use by {}: stop that one first",
        path.display(),
        process.map_or("another process".to_owned(), |id| format!("process {id}"))
    )]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Id of the process that holds it, if it is known.
        process: Option<u32>,
        /// Whether that process runs a node, by its own word. Commands hold a folder for a short time only.
        is_node: bool,
    },
    /// It, or something in it, belongs to another user.
    #[error(
        "{} belongs to user {}, and this is user {}",
        path.display(), owner.name(), user.name()
    )]
    Foreign {
        /// The folder or file.
        path: PathBuf,
        /// Whose it is.
        owner: User,
        /// As whom this process works.
        user: User,
    },
    /// Other users may write to it, or to something in it.
    #[error("{} can be written to by other users of this machine", path.display())]
    Writable {
        /// The folder or file.
        path: PathBuf,
    },
    /// A symbolic link, a pipe or a device is where a file should be.
    #[error("{} is a symbolic link, a pipe or a device, expected a file", path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
    },
    /// There is no format file.
    #[error("{} is not a data folder: it has no file named format", path.display())]
    NotADataFolder {
        /// The folder.
        path: PathBuf,
    },
    /// Creation found data there.
    #[error("{} already holds data: open it, or choose an empty folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was written by a newer program.
    #[error(
        "the data folder {} has format version {found}, expected at most {expected}: open it with \
         the newer program that wrote it",
        path.display()
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Version found.
        found: u32,
        /// Newest version known here.
        expected: u32,
    },
    /// The format file says nothing that this program understands.
    #[error(
        "the format file of {} says {found:?}, expected {:?}",
        path.display(),
        format_text(FORMAT_VERSION)
    )]
    UnknownFormat {
        /// The folder.
        path: PathBuf,
        /// What the file says, at most its first 256 bytes.
        found: String,
    },
    /// The disk failed.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

impl DataFolder {
    /// Creates a data folder: a new folder, or an existing one without data in it.
    ///
    /// # Errors
    /// [`FolderError`] where it holds data, belongs to another user, is in use, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let io_error = |source| FolderError::Io { path: path.to_owned(), source };
        create_dir_private(path).map_err(io_error)?;
        ownership::check(path)?;
        let folder = lock(path)?;
        let taken = [FORMAT_FILE, "journal", "tables"];
        if taken.iter().any(|name| path.join(name).exists()) {
            return Err(FolderError::NotEmpty { path: path.to_owned() });
        }
        say_format(path, FORMAT_VERSION)?;
        Ok(folder)
    }

    /// Opens an existing data folder.
    ///
    /// # Errors
    /// [`FolderError`] where it is no data folder, is of a newer program, belongs to another user, or is in use.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_as(path, FORMAT_VERSION)
    }

    /// Opens an existing data folder as a program does whose layout has this version.
    pub(super) fn open_as(path: &Path, version: u32) -> Result<Self, FolderError> {
        match ownership::check(path) {
            Err(FolderError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::NotADataFolder { path: path.to_owned() });
            }
            checked => checked?,
        }
        check_format(path, version)?;
        let folder = lock(path)?;
        // Read once more: a newer program may have had the folder meanwhile.
        if check_format(path, version)? < version {
            say_format(path, version)?;
        }
        Ok(folder)
    }

    /// Opens an existing data folder, once commands that have it open are done.
    ///
    /// # Errors
    /// [`FolderError`] as for [`DataFolder::open`]; a node that has it open is not waited for.
    pub fn open_patiently(path: &Path) -> Result<Self, FolderError> {
        let deadline = Instant::now() + FOLDER_PATIENCE;
        loop {
            match Self::open(path) {
                Err(FolderError::Locked { is_node: false, .. }) if Instant::now() < deadline => {
                    std::thread::sleep(FOLDER_PAUSE);
                }
                opened => return opened,
            }
        }
    }

    /// Tells others, who find the folder locked, that a node has it and not a command that is soon done.
    pub fn say_node(&self) {
        note_holder(&self.lock, &[NODE]);
    }

    /// Whether a process has the folder open; for the one who may not open it. Makes nothing there.
    pub fn is_locked(path: &Path) -> bool {
        let lock = OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(path.join("lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Opens the data folder, creating it if there is none.
    ///
    /// # Errors
    /// [`FolderError`] as for [`DataFolder::open`] and [`DataFolder::create`].
    pub fn open_or_create(path: &Path) -> Result<Self, FolderError> {
        match Self::open(path) {
            Err(FolderError::NotADataFolder { .. }) => Self::create(path),
            opened => opened,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataFolder {
    /// Closing alone would leave the lock with a process that another thread is just starting.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

fn lock(path: &Path) -> Result<DataFolder, FolderError> {
    let io_error = |source| FolderError::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    // Not emptied on opening: it names the holder.
    let options = options.read(true).write(true).create(true).truncate(false);
    let options = options.mode(0o600).custom_flags(NO_FOLLOW);
    let mut file = options.open(path.join("lock")).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let text = read_small(&mut file).unwrap_or_default();
            let mut lines = text.lines();
            let process = lines.next().and_then(|line| line.parse().ok());
            let is_node = lines.next() == Some(NODE);
            return Err(FolderError::Locked { path: path.to_owned(), process, is_node });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(source)),
    }
    note_holder(&file, &[]);
    Ok(DataFolder { path: path.to_owned(), lock: file })
}

/// Says who has the folder. That only makes messages better: on a full disk the folder opens without it.
fn note_holder(lock: &File, more: &[&str]) {
    let id = std::process::id().to_string();
    let text: String =
        [&[id.as_str()], more].concat().iter().map(|line| format!("{line}\n")).collect();
    let _ = lock.set_len(0).and_then(|()| lock.write_all_at(text.as_bytes(), 0));
}

fn read_small(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The version of a folder's layout, which a program with this one takes up.
fn check_format(path: &Path, newest: u32) -> Result<u32, FolderError> {
    let found = match File::open(path.join(FORMAT_FILE)).and_then(|mut file| read_small(&mut file))
    {
        Ok(found) => found,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(FolderError::NotADataFolder { path: path.to_owned() });
        }
        Err(source) => {
            return Err(FolderError::Io { path: path.to_owned(), source });
        }
    };
    let version = found.strip_prefix(FORMAT_PREFIX).and_then(|rest| rest.strip_suffix('\n'));
    match version.and_then(|version| version.parse::<u32>().ok()) {
        Some(version) if version > newest => Err(FolderError::NewerFormat {
            path: path.to_owned(),
            found: version,
            expected: newest,
        }),
        Some(version) if version >= FORMAT_OLDEST => Ok(version),
        Some(_) | None => Err(FolderError::UnknownFormat { path: path.to_owned(), found }),
    }
}

/// Writes the format file.
fn say_format(path: &Path, version: u32) -> Result<(), FolderError> {
    whole_file::replace(&path.join(FORMAT_FILE), format_text(version).as_bytes())
        .map_err(|source| FolderError::Io { path: path.to_owned(), source })
}

/// What the format file of a folder says.
fn format_text(version: u32) -> String {
    format!("{FORMAT_PREFIX}{version}\n")
}
