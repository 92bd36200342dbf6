//! The manifest: which runs make up the tables, and how far they show the journal. Runs that it does not name are not
//! there.

use serde::{Deserialize, Serialize};

use super::folder::guarded;
use super::items::{self, MANIFEST_KEY};
use super::run::RunHead;
use super::{bad_row, failed};
use branchline_crdt::format::codec;
use branchline_crdt::store::{Position, StoreError};

/// What the manifest's item holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// How far into the journal the runs come.
    pub(super) applied: Option<Position>,
    /// Runs in the order of their age, the newest first.
    pub(super) runs: Vec<RunHead>,
    /// Number of the run that is begun next.
    pub(super) next_run: u64,
}

impl Manifest {
    /// The one that is stored; an empty one where none is.
    pub(super) fn load(db: &sled::Db) -> Result<Self, StoreError> {
        let Some(stored) = guarded(|| db.get(MANIFEST_KEY)).map_err(failed)? else {
            return Ok(Self::default());
        };
        let bytes = items::decode(MANIFEST_KEY, &stored);
        let manifest = bytes.and_then(|bytes| codec::decode("manifest", bytes).ok());
        manifest.ok_or_else(|| bad_row(MANIFEST_KEY))
    }

    /// Stores it with what else `batch` changes.
    pub(super) fn store(&self, batch: &mut sled::Batch) {
        batch.insert(MANIFEST_KEY, items::encode(MANIFEST_KEY, &codec::encode(self)));
    }

    /// Whether run `number` is one of its runs.
    pub(super) fn has(&self, number: u64) -> bool {
        self.runs.iter().any(|run| run.number == number)
    }
}
