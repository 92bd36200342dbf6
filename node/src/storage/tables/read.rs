//! Reading rows from sled: the runs, the newest first, and the blocks of them that are kept in memory.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::block::{Held, Plain};
use super::folder::guarded;
use super::run::{self, Run};
use super::{bad_row, failed, items};
use branchline_crdt::store::StoreError;

/// What is reckoned for a block in memory when it is not known better.
const BLOCK_MEMORY: u64 = 10 << 10;

/// Room that is made at once for a value; no record has more.
const CAPACITY_MAX: usize = 16 << 20;

/// Blocks of runs, from memory or from sled.
#[derive(Clone)]
pub(super) struct Blocks {
    pub(super) db: sled::Db,
    /// Blocks by run and number. Runs never change, so what is here cannot be out of date.
    kept: Arc<Cache<(u64, u32), Arc<Plain>, ByMemory>>,
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<(u64, u32), Arc<Plain>> for ByMemory {
    fn weight(&self, _: &(u64, u32), plain: &Arc<Plain>) -> u64 {
        plain.memory() as u64
    }
}

impl Blocks {
    /// Blocks of which so many bytes are kept in memory.
    pub(super) fn new(db: sled::Db, memory_bytes: u64) -> Self {
        let count = (memory_bytes / BLOCK_MEMORY).max(1) as usize;
        Self { db, kept: Arc::new(Cache::with_weighter(count, memory_bytes, ByMemory)) }
    }

    /// A block, kept for who asks for it next.
    pub(super) fn get(&self, run: &Run, block: u32) -> Result<Arc<Plain>, StoreError> {
        let at = (run.head.number, block);
        if let Some(plain) = self.kept.get(&at) {
            return Ok(plain);
        }
        let plain = self.read(run, block)?;
        self.kept.insert(at, plain.clone());
        Ok(plain)
    }

    /// A block that nobody is expected to ask for again.
    pub(super) fn read(&self, run: &Run, block: u32) -> Result<Arc<Plain>, StoreError> {
        let stored_key = items::block_key(run.head.number, block);
        let stored = guarded(|| self.db.get(&stored_key)).map_err(failed)?;
        let stored = stored.as_deref().and_then(|stored| items::decode(&stored_key, stored));
        let plain = stored.and_then(Plain::read);
        let plain = plain.filter(|plain| plain.row(0).map(|(key, _)| key) == run.start(block));
        plain.map(Arc::new).ok_or_else(|| bad_row(&stored_key))
    }

    /// The bytes of an item that has to be there.
    pub(super) fn stored(&self, stored_key: &[u8]) -> Result<Vec<u8>, StoreError> {
        let stored = guarded(|| self.db.get(stored_key)).map_err(failed)?;
        let bytes = stored.as_deref().and_then(|stored| items::decode(stored_key, stored));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| bad_row(stored_key))
    }

    /// The value that a run holds of a row, its chunks collected; `None` if the row was removed.
    pub(super) fn value(&self, run: &Run, held: Held<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let long = match held {
            Held::Value(value) => return Ok(Some(value.to_vec())),
            Held::Removed => return Ok(None),
            Held::Long(long) => long,
        };
        let mut value =
            Vec::with_capacity(usize::try_from(long.len).unwrap_or(0).min(CAPACITY_MAX));
        for chunk in 0..items::chunk_count(long.len) {
            let stored_key = items::chunk_key(run.head.number, long.number, chunk);
            value.extend_from_slice(&self.stored(&stored_key)?);
        }
        if value.len() as u64 == long.len {
            Ok(Some(value))
        } else {
            Err(bad_row(&items::chunk_key(run.head.number, long.number, 0)))
        }
    }

    /// The value of row `key` in the newest of `runs` that has one.
    pub(super) fn find(
        &self,
        runs: &[Arc<Run>],
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let hash = run::hash(key);
        for run in runs.iter().filter(|run| run.may_have(hash)) {
            let Some(block) = run.block_of(key) else { continue };
            let plain = self.get(run, block)?;
            if let Some(held) = plain.find(key) {
                return self.value(run, held);
            }
        }
        Ok(None)
    }
}
