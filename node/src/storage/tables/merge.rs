//! Merging runs, so that there are few of them whatever was written, in whatever order.
//!
//! Runs are kept in the order of their age, and those that are next to each other are merged: four of about one size
//! become one, as in a log-structured merge-tree with tiers (O'Neil and others, "The log-structured merge-tree", 1996).
//! A row is so written again once for each time that the tables have grown fourfold, however scattered what is written is.
//! Blocks that no other run has a row between are taken over as they are: rows that follow each other are compressed once.
//!
//! A merge goes in steps of some milliseconds, between which generations are written. Until its last step nothing reads
//! what it has written, and after a crash that is removed.

use std::ops::Range;
use std::sync::Arc;

use super::block::{BLOCK_BYTES, Held};
use super::items;
use super::read::Blocks;
use super::run::{Run, RunHead};
use super::walk::{Cursor, Way, next_of, pass};
use super::writer::RunWriter;
use branchline_crdt::store::StoreError;

/// So many runs of one size are merged.
const FAN: usize = 4;
/// Runs of less are of one size: 16 KiB, a few dozen rows.
const SIZE_BYTES: u64 = 16 << 10;
/// Tables of less are not merged only because little of them counts.
const WASTE_BYTES: u64 = 256 << 10;
/// How much of the rows a step takes up, before they are compressed.
const STEP_BYTES: usize = 1 << 20;

/// Which runs, the newest first, are to be merged next: all, where no more than half of their rows count; otherwise the
/// newest four or more that are of one size. A run counts as being as large as the largest that is newer, so runs of one
/// size lie next to each other.
pub(super) fn to_merge(runs: &[RunHead]) -> Option<Range<usize>> {
    let sum = |of: fn(&RunHead) -> u64| runs.iter().map(of).sum::<u64>();
    let superseded = sum(|run| run.superseded);
    if 2 * superseded >= sum(|run| run.rows) && sum(|run| run.bytes) >= WASTE_BYTES {
        return Some(0..runs.len());
    }
    let (mut size, mut group) = (0, 0..0);
    for (number, run) in runs.iter().enumerate() {
        let own = (run.bytes / SIZE_BYTES).max(1).ilog(FAN as u64);
        if own > size {
            if group.len() >= FAN {
                break;
            }
            (size, group) = (own, number..number);
        }
        group.end = number + 1;
    }
    (group.len() >= FAN).then_some(group)
}

/// A merge that is under way.
pub(super) struct Merge {
    inputs: Vec<u64>,
    /// The newest run's first.
    cursors: Vec<Cursor>,
    writer: RunWriter,
    /// There is no older run: that a row was removed need not be remembered.
    is_oldest: bool,
    steps: usize,
}

/// What a step of a merge has written, to be stored.
pub(super) enum Stepped {
    /// There are rows left.
    Partial(sled::Batch),
    /// All of it.
    Last { batch: sled::Batch, run: Arc<Run>, is_only: bool },
}

impl Merge {
    /// Begins to merge `inputs`, of which the newest comes first, into run `number`.
    pub(super) fn begin(
        inputs: &[Arc<Run>],
        older: &[Arc<Run>],
        number: u64,
        blocks: &Blocks,
    ) -> Result<Self, StoreError> {
        let mut cursors = Vec::with_capacity(inputs.len());
        for run in inputs {
            cursors.extend(Cursor::first(run, blocks)?);
        }
        let rows: u64 = inputs.iter().map(|run| run.head.rows).sum();
        let writer = RunWriter::new(number, rows as usize, older);
        let inputs = inputs.iter().map(|run| run.head.number).collect();
        Ok(Self { inputs, cursors, writer, is_oldest: older.is_empty(), steps: 0 })
    }

    /// The runs that are merged.
    pub(super) fn inputs(&self) -> &[u64] {
        &self.inputs
    }

    /// Takes up some of the rows.
    pub(super) fn step(
        mut self: Box<Self>,
        blocks: &Blocks,
    ) -> Result<(Option<Box<Self>>, Stepped), StoreError> {
        self.steps += 1;
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let Some((next, _)) = next_of(&self.cursors, Way::Up) else {
                let is_only = self.steps == 1;
                let (batch, run) = self.writer.finish()?;
                let run = Arc::new(run);
                return Ok((None, Stepped::Last { batch, run, is_only }));
            };
            bytes += if self.block_alone(next) {
                self.take_block(next, blocks)?
            } else {
                self.take_row(next, blocks)?
            };
        }
        let batch = self.writer.take_batch();
        Ok((Some(self), Stepped::Partial(batch)))
    }

    /// Whether the cursor is at a block that can be taken over as it is: no other run has a row in between, it is not much
    /// shorter than blocks are, and none of its rows has to change.
    fn block_alone(&self, number: usize) -> bool {
        let Some((_, plain)) = self.cursors[number].whole_block() else { return false };
        let last = plain.row(plain.len() - 1).map_or(&[][..], |(key, _)| key);
        let mut others = self.cursors.iter().enumerate().filter(|(other, _)| *other != number);
        plain.bytes() >= BLOCK_BYTES / 2
            && others.all(|(_, other)| other.key() > last)
            && plain.iter().all(|(_, held)| self.stays(held))
    }

    fn stays(&self, held: Held<'_>) -> bool {
        match held {
            Held::Value(_) => true,
            Held::Long(_) => false,
            Held::Removed => !self.is_oldest,
        }
    }

    fn take_block(&mut self, number: usize, blocks: &Blocks) -> Result<usize, StoreError> {
        let cursor = &mut self.cursors[number];
        let Some((block, plain)) = cursor.whole_block() else { return Ok(0) };
        let bytes = plain.bytes();
        let stored = blocks.stored(&items::block_key(cursor.run.head.number, block))?;
        self.writer.copy_block(plain, &stored)?;
        if !cursor.leave_block(blocks)? {
            self.cursors.remove(number);
        }
        Ok(bytes)
    }

    fn take_row(&mut self, number: usize, blocks: &Blocks) -> Result<usize, StoreError> {
        let cursor = &self.cursors[number];
        let key = cursor.key().to_vec();
        let bytes = match cursor.held() {
            Held::Value(value) => {
                self.writer.push(&key, Some(value))?;
                value.len()
            }
            Held::Removed if self.is_oldest => 0,
            Held::Removed => {
                self.writer.push(&key, None)?;
                0
            }
            long @ Held::Long(_) => {
                let value = blocks.value(&cursor.run, long)?;
                self.writer.push(&key, value.as_deref())?;
                value.map_or(0, |value| value.len())
            }
        };
        pass(&mut self.cursors, &key, |cursor| cursor.next_once(blocks))?;
        Ok(key.len() + bytes)
    }
}
