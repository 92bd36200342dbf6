//! What is done while no generation is to be written, a step at a time: runs are merged, and what was merged is removed.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::folder::guarded;
use super::merge::{Merge, Stepped, to_merge};
use super::read::Blocks;
use super::run::Run;
use super::{TablesShared, failed, items};
use crate::storage::disk::free_bytes;
use branchline_crdt::store::StoreError;

/// With more runs than this, merging them goes before what is to be written: each costs who reads. What was written in any
/// order makes half of it: three of each of the nine sizes from 16 KiB to 1 GiB.
pub(super) const RUNS_MAX: usize = 48;
/// How many items are removed in one step.
const REMOVED_ITEMS: usize = 512;
/// While the disk has less room than this beside what a merge takes, nothing is merged.
const ROOM_BYTES: u64 = 64 << 20;

/// What is to be done, and is under way.
#[derive(Default)]
pub(super) struct Work {
    merge: Option<Box<Merge>>,
    /// Runs that were merged, and are still stored.
    merged: Vec<u64>,
}

/// Who reads one run after the other, and so needs them to stay.
#[derive(Default)]
pub(super) struct Holds(AtomicUsize);

/// Keeps runs from being merged until it is dropped.
pub(super) struct Hold<'h>(&'h Holds);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl TablesShared {
    /// Keeps runs as they are; new ones are still written.
    pub(super) fn hold_runs(&self) -> Hold<'_> {
        self.turn.holds.0.fetch_add(1, Ordering::SeqCst);
        // A step that had begun before has ended.
        drop(self.turn.take());
        Hold(&self.turn.holds)
    }

    /// Does a step of what there is to do; false if there is nothing.
    pub(super) fn tidy(&self) -> Result<bool, StoreError> {
        let mut work = self.turn.take();
        if self.turn.holds.0.load(Ordering::SeqCst) > 0 {
            return Ok(false);
        }
        let worked = self.writing(|| self.tidy_with(&mut work));
        drop(work);
        if worked.as_ref().is_ok_and(|worked| *worked) {
            self.turn.wake();
        }
        worked
    }

    fn tidy_with(&self, work: &mut Work) -> Result<bool, StoreError> {
        if let Some(merge) = work.merge.take() {
            return self.go_on(work, merge);
        }
        if let Some(run) = work.merged.last() {
            let blocks = self.state().open_ref()?.blocks.clone();
            if remove_items(&blocks.db, *run)? < REMOVED_ITEMS {
                work.merged.pop();
            }
            return Ok(true);
        }
        work.merge = self.begin_merge()?;
        Ok(work.merge.is_some())
    }

    fn begin_merge(&self) -> Result<Option<Box<Merge>>, StoreError> {
        let (inputs, older, number, blocks) = {
            let mut state = self.state_mut();
            let open = state.open_mut()?;
            let Some(group) = to_merge(&open.manifest.runs) else { return Ok(None) };
            let (newer, older) = open.runs.split_at(group.end);
            let (inputs, older) = (newer[group.start..].to_vec(), older.to_vec());
            let needed = ROOM_BYTES + 2 * inputs.iter().map(|run| run.head.bytes).sum::<u64>();
            if free_bytes(&self.folder.path()).is_ok_and(|free| free < needed) {
                return Ok(None);
            }
            open.manifest.next_run += 1;
            (inputs, older, open.manifest.next_run - 1, open.blocks.clone())
        };
        Merge::begin(&inputs, &older, number, &blocks).map(|merge| Some(Box::new(merge)))
    }

    fn go_on(&self, work: &mut Work, merge: Box<Merge>) -> Result<bool, StoreError> {
        let blocks = self.state().open_ref()?.blocks.clone();
        let inputs = merge.inputs().to_vec();
        let (rest, step) = merge.step(&blocks)?;
        match step {
            Stepped::Partial(batch) => guarded(|| blocks.db.apply_batch(batch)).map_err(failed)?,
            Stepped::Last { batch, run, is_only } => {
                self.exchange(&blocks, &inputs, batch, run, is_only)?;
                work.merged.extend(inputs);
            }
        }
        work.merge = rest;
        Ok(true)
    }

    /// Puts a run in the place of those that it was merged from: for who reads, and on disk.
    fn exchange(
        &self,
        blocks: &Blocks,
        inputs: &[u64],
        mut batch: sled::Batch,
        run: Arc<Run>,
        is_only: bool,
    ) -> Result<(), StoreError> {
        let mut manifest = self.state().open_ref()?.manifest.clone();
        let is_input = |number: u64| inputs.contains(&number);
        let at = manifest.runs.iter().position(|run| is_input(run.number)).unwrap_or(0);
        let place = at..at + inputs.len();
        let new = (run.head.rows > 0).then_some(run);
        if new.is_none() {
            batch = sled::Batch::default();
        }
        manifest.runs.splice(place.clone(), new.as_ref().map(|run| run.head));
        if !is_only {
            // The manifest must not be on disk before what it names.
            guarded(|| blocks.db.apply_batch(std::mem::take(&mut batch))).map_err(failed)?;
            self.make_durable(&blocks.db)?;
        }
        manifest.store(&mut batch);
        guarded(|| blocks.db.apply_batch(batch)).map_err(failed)?;
        self.make_durable(&blocks.db)?;
        let mut state = self.state_mut();
        let open = state.open_mut()?;
        open.manifest = manifest;
        open.runs.splice(place, new);
        Ok(())
    }

    /// Removes items of runs that the manifest does not name: a crash left them.
    pub(super) fn remove_strays(&self) -> Result<(), StoreError> {
        let state = self.state();
        let open = state.open_ref()?;
        let mut from = items::run_key(0);
        while let Some(run) = next_run(&open.blocks.db, &from)? {
            if !open.manifest.has(run) {
                while remove_items(&open.blocks.db, run)? == REMOVED_ITEMS {}
            }
            let Some(next) = run.checked_add(1) else { break };
            from = items::run_key(next);
        }
        Ok(())
    }
}

/// The run of the first item from `from` on.
fn next_run(db: &sled::Db, from: &[u8]) -> Result<Option<u64>, StoreError> {
    let range = (Bound::Included(from), Bound::Unbounded);
    let found = guarded(|| db.range::<&[u8], _>(range).next().transpose()).map_err(failed)?;
    Ok(found.and_then(|(key, _)| items::run_of(&key)))
}

/// Removes some of a run's items; returns how many.
fn remove_items(db: &sled::Db, run: u64) -> Result<usize, StoreError> {
    let keys = guarded(|| {
        let keys = db.scan_prefix(items::run_key(run)).keys();
        keys.take(REMOVED_ITEMS).collect::<sled::Result<Vec<_>>>()
    });
    let keys = keys.map_err(failed)?;
    let count = keys.len();
    let mut batch = sled::Batch::default();
    for key in keys {
        batch.remove(key);
    }
    guarded(|| db.apply_batch(batch)).map_err(failed)?;
    Ok(count)
}
