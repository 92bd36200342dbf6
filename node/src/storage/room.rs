//! Whether the disk has room, and whether it takes what is appended.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use branchline_crdt::store::StoreError;

use super::disk;

/// A disk that was full takes appends again once it has so much room, whatever is kept for the tables.
const ROOM_AGAIN_BYTES: u64 = 1 << 20;

/// What is known of the disk of one data folder.
pub(super) struct Preallocated {
    folder: PathBuf,
    /// Room that is left to the tables: without it nothing is appended.
    reserve_bytes: u64,
    /// Why the last append was refused.
    refusal: RwLock<Option<Refusal>>,
}

struct Refusal {
    reason: String,
    /// Whether room was all that it lacked.
    is_full: bool,
    /// That there is less room than is kept, which may change without an append.
    is_of_room: bool,
}

/// Whether an error says that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn is_of_room(error: &StoreError, is_such: impl Fn(&io::Error) -> bool) -> bool {
    matches!(error, StoreError::Unwritable { source } if is_full(source) && is_such(source))
}

/// How much room the disk of a path has, in words; `None`: the system does not say.
pub fn left(path: &Path) -> Option<String> {
    let free = disk::free_bytes(path).ok()?;
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Some(format!("the disk of {} has {} MiB left", path.display(), free >> 20))
}

impl Preallocated {
    /// Of a data folder that was just opened.
    pub(super) fn new(folder: &Path, reserve_bytes: u64) -> Self {
        let room = Self { folder: folder.to_owned(), reserve_bytes, refusal: RwLock::default() };
        room.note(room.demand().err().as_ref());
        room
    }

    /// Refuses what would take room that the tables need.
    pub(super) fn demand(&self) -> Result<(), StoreError> {
        match self.lack() {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => {
                let source = io::Error::new(io::ErrorKind::StorageFull, reason);
                Err(StoreError::Unwritable { source })
            }
            Err(source) => Err(StoreError::Unwritable { source }),
        }
    }

    /// Sets down whether the disk takes appends, and says so when that changes.
    pub(super) fn note(&self, refusal: Option<&StoreError>) {
        let refusal = refusal.map(|error| Refusal {
            reason: error.to_string(),
            is_full: is_of_room(error, |_| true),
            // The system's own errors have a number.
            is_of_room: is_of_room(error, |source| source.raw_os_error().is_none()),
        });
        let mut known = self.refusal.write().unwrap_or_else(PoisonError::into_inner);
        match (&*known, &refusal) {
            (None, Some(Refusal { reason, .. })) => tracing::error!(reason, "writes are refused"),
            (Some(_), None) => tracing::info!("writes are taken again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *known = refusal;
    }

    /// Why the disk takes no appends; `None` if it does, as far as is known.
    pub(super) fn refusal(&self) -> Option<String> {
        if let Ok(Some(reason)) = self.lack() {
            return Some(reason);
        }
        let known = self.refusal.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|refusal| !refusal.is_of_room).map(|refusal| refusal.reason.clone())
    }

    /// Returns whether the disk would take an append now, as far as that can be known without one.
    pub(super) fn takes_appends(&self) -> bool {
        let free = disk::free_bytes(&self.folder).unwrap_or(u64::MAX);
        let refusal = self.refusal.read().unwrap_or_else(PoisonError::into_inner);
        match &*refusal {
            None => free >= self.reserve_bytes,
            Some(Refusal { is_full, .. }) => {
                *is_full && free >= self.reserve_bytes.max(ROOM_AGAIN_BYTES)
            }
        }
    }

    /// Whether the disk has less room than is left to the tables, in words.
    fn lack(&self) -> io::Result<Option<String>> {
        if disk::free_bytes(&self.folder)? >= self.reserve_bytes {
            return Ok(None);
        }
        let reserve = self.reserve_bytes >> 20;
        Ok(left(&self.folder).map(|left| format!("{left}, {reserve} MiB are kept for the tables")))
    }
}
