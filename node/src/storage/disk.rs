//! The few file operations that the journal needs, so that crash tests can put a forgetful disk
//! under it ([`super::testing::FaultyDisk`]).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::whole_file::NO_FOLLOW;

/// One folder of files, without subfolders.
pub trait Disk: Send + Sync {
    /// Names of all files, in no particular order.
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such file, else what the disk says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, emptying one of that name. Lasts only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing one that has the new name. Lasts only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Lasts only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the disk says: the changes since the last success may be lost.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file. All operations name their place, so one handle serves many threads.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`; on an error any part of them may have been written.
    ///
    /// # Errors
    /// What the disk says, a full one too.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Fills `buffer` from `offset` as far as the file goes; returns how many bytes were read,
    /// fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// What the disk says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn len(&self) -> io::Result<u64>;
    /// True if the file holds no byte.
    ///
    /// # Errors
    /// What the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts (or extends with zeros) to `len` bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes the bytes and the length durable. After an error, nothing that was written since the
    /// last success may be trusted, even though it still reads back: the operating system marks
    /// pages clean that never reached the drive.
    ///
    /// # Errors
    /// What the disk says.
    fn fdatasync(&self) -> io::Result<()>;
}

/// A folder of the real file system; files are private to the user (0600, folder 0700).
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

impl RealDisk {
    /// Opens the folder, creating it (and syncing its parent) if it does not exist.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such file, else what the disk says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        create_dir_private(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.dir.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(create_private(&self.dir.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        sync_dir(&self.dir)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Creates (or empties) a file that only its owner may read; a link of that name is not followed.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).mode(0o600).custom_flags(NO_FOLLOW);
    match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.truncate(true).open(path)
        }
        created => created,
    }
}

/// Creates a folder that only its owner may enter, durably; an existing one is left as it is.
pub(crate) fn create_dir_private(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).recursive(true).create(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => sync_dir(Path::new(".")),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Room on the disk that holds `path`, for this user.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    Ok(file_system(path)?.free_bytes)
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileSystem {
    /// Bytes that this user may still write.
    pub(super) free_bytes: u64,
    /// Bytes in all.
    pub(super) bytes: u64,
}

/// The file system that holds `path`.
pub(super) fn file_system(path: &Path) -> io::Result<FileSystem> {
    let found = rustix::fs::statvfs(path)?;
    Ok(FileSystem {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        bytes: found.f_blocks.saturating_mul(found.f_frsize),
    })
}
