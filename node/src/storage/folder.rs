//! The data folder: its format file, and the lock that keeps a second process out.
//!
//! | name | what |
//! |---|---|
//! | `format` | [`DataFolder::FORMAT_TEXT`]: which layout the folder has |
//! | `lock` | locked while a process has the folder open; holds that process's id, for messages |
//! | `journal/` | the journal |
//! | `tables/` | sled |
//! | `tables.set-aside-<n>` | tables that were not usable |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::disk::{create_dir_private, create_private, sync_dir};

/// Version of the folder's layout.
const FORMAT_VERSION: u32 = 1;
/// What the format file says before the version.
const FORMAT_PREFIX: &str = "branchline data ";
/// More than any format or lock file has; the rest of a longer file is not read.
const SMALL_FILE_BYTES_MAX: u64 = 256;

/// A data folder that this process has locked; dropping it unlocks it.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
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
        /// Id of the process that holds it, if it could be told.
        process: Option<u32>,
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
        DataFolder::FORMAT_TEXT
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
    /// Content of the format file of a folder of this version.
    pub const FORMAT_TEXT: &str = "branchline data 1\n";

    /// Creates a data folder: a new folder, or an existing one without data in it.
    pub fn create(path: &Path) -> Result<DataFolder, FolderError> {
        let io_error = |source| FolderError::Io { path: path.to_owned(), source };
        create_dir_private(path).map_err(io_error)?;
        let folder = lock(path)?;
        let taken = ["format", "journal", "tables"];
        if taken.iter().any(|name| path.join(name).exists()) {
            return Err(FolderError::NotEmpty { path: path.to_owned() });
        }
        write_format(path).map_err(io_error)?;
        Ok(folder)
    }

    /// Opens an existing data folder.
    pub fn open(path: &Path) -> Result<DataFolder, FolderError> {
        check_format(path)?;
        lock(path)
    }

    /// Opens the data folder, creating it if there is none.
    pub fn open_or_create(path: &Path) -> Result<DataFolder, FolderError> {
        match DataFolder::open(path) {
            Err(FolderError::NotADataFolder { .. }) => DataFolder::create(path),
            opened => opened,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(path: &Path) -> Result<DataFolder, FolderError> {
    let io_error = |source| FolderError::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    // Not emptied on opening: it names the holder.
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(path.join("lock")).map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let text = read_small(&mut file).unwrap_or_default();
            let process = text.trim().parse().ok();
            return Err(FolderError::Locked { path: path.to_owned(), process });
        }
        Err(TryLockError::Error(source)) => return Err(io_error(source)),
    }
    // The id only makes a message better: on a full disk the folder opens without it.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(DataFolder { path: path.to_owned(), _lock: file })
}

fn read_small(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(SMALL_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn check_format(path: &Path) -> Result<(), FolderError> {
    let found = match File::open(path.join("format")).and_then(|mut file| read_small(&mut file)) {
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
        Some(FORMAT_VERSION) => Ok(()),
        Some(version) if version > FORMAT_VERSION => Err(FolderError::NewerFormat {
            path: path.to_owned(),
            found: version,
            expected: FORMAT_VERSION,
        }),
        Some(_) | None => Err(FolderError::UnknownFormat { path: path.to_owned(), found }),
    }
}

/// Written aside and renamed, so that the file is there whole or not at all.
fn write_format(path: &Path) -> io::Result<()> {
    let aside = path.join("format.new");
    let mut file = create_private(&aside)?;
    file.write_all(DataFolder::FORMAT_TEXT.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, path.join("format"))?;
    sync_dir(path)
}
