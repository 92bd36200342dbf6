//! What can be done with entries from others before anything is known of them: no state, so on any thread.

use crate::entry::Entry;
use crate::ids::SiteId;
use crate::protocol::{UnpackEntriesError, unpack_entries};

/// The packed entries of an answer, to be prepared for the replica that asked for them.
#[derive(Debug)]
pub struct Job {
    /// Who answered.
    pub from: SiteId,
    /// The request that was answered.
    pub id: u64,
    pub(crate) packed: Vec<u8>,
}

/// Why entries cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPrepared {
    /// They cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackEntriesError),
    /// This program failed over them.
    #[error("this program failed over the entries, please report this")]
    Failed,
}

/// What a [`Job`] came to.
#[derive(Debug)]
pub struct Prepared {
    /// Who answered.
    pub from: SiteId,
    /// The request that was answered.
    pub id: u64,
    /// The entries, or why there are none.
    pub(crate) entries: Result<Vec<Entry>, NotPrepared>,
}

impl Job {
    /// Does it.
    pub fn run(self) -> Prepared {
        let Self { from, id, packed } = self;
        Prepared { from, id, entries: unpack_entries(&packed).map_err(NotPrepared::from) }
    }
}

impl Prepared {
    /// In place of what a job did not come to.
    pub fn failed(from: SiteId, id: u64) -> Self {
        Self { from, id, entries: Err(NotPrepared::Failed) }
    }
}
