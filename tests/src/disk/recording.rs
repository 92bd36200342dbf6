//! What a process did below a folder, in order.

use std::path::{Path, PathBuf};

/// One call that succeeded. Descriptors are the process's own and are used again.
#[derive(Debug)]
pub enum Operation {
    /// A file or folder was opened.
    Open { fd: u32, path: PathBuf, create: bool, truncate: bool },
    /// A descriptor was closed.
    Close { fd: u32 },
    /// Bytes were written.
    Write { fd: u32, offset: u64, bytes: Vec<u8> },
    /// The length was set.
    Truncate { fd: u32, len: u64 },
    /// `fsync` or `fdatasync`.
    Sync { fd: u32 },
    /// `sync_file_range`: starts the writing and waits for it, but leaves the bytes in the drive's cache.
    SyncRange { fd: u32 },
    /// A name was changed.
    Rename { from: PathBuf, to: PathBuf },
    /// A file was removed.
    Unlink { path: PathBuf },
    /// A folder was made.
    MakeFolder { path: PathBuf },
    /// A folder was removed.
    RemoveFolder { path: PathBuf },
}

/// Constants of `fcntl.h` on Linux.
const O_CREAT: u32 = 0o100;
const O_TRUNC: u32 = 0o1000;

/// Reads a record that the shim wrote.
pub fn read(record: &Path) -> Vec<Operation> {
    let bytes = std::fs::read(record).expect("a record");
    let mut rest = &bytes[..];
    let mut operations = Vec::new();
    while !rest.is_empty() {
        operations.push(next(&mut rest));
    }
    operations
}

fn next(rest: &mut &[u8]) -> Operation {
    let mut take = |len: usize| {
        let (taken, behind) = rest.split_at(len);
        *rest = behind;
        taken
    };
    let mut number = || u32::from_le_bytes(take(4).try_into().expect("four bytes"));
    let (kind, fd) = (number(), number());
    let offset = u64::from(number()) | u64::from(number()) << 32;
    let (one, two) = (number() as usize, number() as usize);
    let (one, two) = (take(one).to_vec(), take(two).to_vec());
    let path = |bytes: &[u8]| PathBuf::from(String::from_utf8_lossy(bytes).into_owned());
    match kind {
        1 => {
            let (flags, path) = (offset as u32, path(&one));
            let (create, truncate) = (flags & O_CREAT != 0, flags & O_TRUNC != 0);
            Operation::Open { fd, path, create, truncate }
        }
        2 => Operation::Close { fd },
        3 => Operation::Write { fd, offset, bytes: one },
        4 => Operation::Truncate { fd, len: offset },
        5 => Operation::Sync { fd },
        6 => Operation::SyncRange { fd },
        7 => Operation::Rename { from: path(&one), to: path(&two) },
        8 => Operation::Unlink { path: path(&one) },
        9 => Operation::MakeFolder { path: path(&one) },
        10 => Operation::RemoveFolder { path: path(&one) },
        unknown => panic!("the record has an operation of kind {unknown}"),
    }
}
