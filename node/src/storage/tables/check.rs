//! Reading every item: for a verification, and to see whether a crash left runs that are not whole.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::block::Plain;
use super::folder::guarded;
use super::items::{self, Sum};
use super::read::Blocks;
use super::run::Run;
use super::{Tables, TablesShared, failed};
use branchline_crdt::store::StoreError;

/// How many items are read under one lock.
const PAGE_ITEMS: usize = 256;
/// How many bad items a verification names; more are counted only.
pub const BAD_BLOCKS_NAMED_MAX: usize = 100;

/// Key and value of an item as sled has it.
type Item = (sled::IVec, sled::IVec);

/// What [`Tables::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesVerified {
    /// Rows read: older ones that newer ones hide, and those that say that a row was removed, among them.
    pub rows: u64,
    /// Blocks of rows, and items about them, that are not what was stored.
    pub bad: u64,
    /// The first [`BAD_BLOCKS_NAMED_MAX`] of their stored keys.
    pub bad_keys: Vec<Vec<u8>>,
    /// Why sled could not be read to the end, or brought up to what was applied.
    pub failed: Option<String>,
}

impl Tables {
    /// Writes out what is in memory and reads every value; `progress` is given the rows read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> TablesVerified {
        let mut verified = TablesVerified::default();
        let mut named = BTreeSet::new();
        let read = self.flush().and_then(|()| {
            self.shared().unsound_runs(&mut |blocks, run, page| {
                for (key, value) in page {
                    match rows_of(blocks, run, key, value) {
                        Some(rows) => verified.rows += rows,
                        None => {
                            named.insert(run.head.number);
                            verified.is_bad(key.to_vec());
                        }
                    }
                }
                progress(verified.rows);
            })
        });
        match read {
            Ok(unsound) => {
                // Those of which nothing was named lack an item, or have one too many.
                for run in unsound.into_iter().filter(|run| !named.contains(run)) {
                    verified.is_bad(items::run_key(run));
                }
            }
            Err(error) => verified.failed = Some(error.to_string()),
        }
        verified
    }
}

impl TablesVerified {
    fn is_bad(&mut self, stored_key: Vec<u8>) {
        self.bad += 1;
        if self.bad_keys.len() < BAD_BLOCKS_NAMED_MAX {
            self.bad_keys.push(stored_key);
        }
    }
}

/// How many rows an item has, all of them read with their chunks; `None` if it is not what was stored.
fn rows_of(blocks: &Blocks, run: &Run, key: &sled::IVec, value: &sled::IVec) -> Option<u64> {
    let bytes = items::decode(key, value)?;
    if !items::is_block(key) {
        return Some(0);
    }
    let plain = Plain::read(bytes)?;
    for (_, held) in plain.iter() {
        blocks.value(run, held).ok()?;
    }
    Some(plain.len() as u64)
}

impl TablesShared {
    /// Reads every item and compares each run's sum with the one that the manifest has.
    pub(super) fn compare_sums(&self) -> Result<(), StoreError> {
        tracing::debug!("the tables were not closed in order: reading every item");
        if self.unsound_runs(&mut |_, _, _| {})?.is_empty() {
            Ok(())
        } else {
            Err(failed("a crash left rows that do not belong together"))
        }
    }

    /// Shows `visit` all items of all runs, a page at a time; returns the runs whose items do not make their sum.
    fn unsound_runs(
        &self,
        visit: &mut dyn FnMut(&Blocks, &Run, &[Item]),
    ) -> Result<Vec<u64>, StoreError> {
        let _stay = self.hold_runs();
        let runs = self.state().open_ref()?.runs.clone();
        let mut unsound = Vec::new();
        for run in runs {
            let number = run.head.number;
            let (mut sum, mut from) = (Sum::default(), Bound::Included(items::run_key(number)));
            loop {
                // Those who write have a turn between two pages.
                let state = self.state();
                let blocks = &state.open_ref()?.blocks;
                let page = guarded(|| {
                    let items = blocks.db.range((from, Bound::Unbounded));
                    let is_of_run = |key: &sled::IVec| items::run_of(key) == Some(number);
                    let items = items
                        .take_while(|item| item.as_ref().map_or(true, |(key, _)| is_of_run(key)));
                    items.take(PAGE_ITEMS).collect::<sled::Result<Vec<_>>>()
                });
                let page = page.map_err(failed)?;
                let Some((last, _)) = page.last() else { break };
                for (key, value) in &page {
                    sum.add(key, value);
                }
                visit(blocks, &run, &page);
                from = Bound::Excluded(last.to_vec());
            }
            if sum != run.head.sum {
                unsound.push(number);
            }
        }
        Ok(unsound)
    }
}
