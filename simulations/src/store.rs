//! An office's disk: the journal of the product on a disk that forgets, and tables that lag behind it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage, scan_back_from, scan_from};
use branchline_crdt::store::{Position, ReadJournal, Row, RowWrite, Store, StoreError};
use branchline_node::storage::disk::Disk;
use branchline_node::storage::journal::{Journal, JournalOpenError, JournalOptions};
use branchline_node::storage::testing::FaultyDisk;

/// Segments are small, so that short runs begin new ones too.
const JOURNAL: JournalOptions = JournalOptions { segment_bytes_max: 256 * 1024, room_bytes: 0 };

/// Batches by which a crash may set the tables back. The product writes its tables out twice a second; a busy office
/// applies about this many batches meanwhile.
const LAG_BATCHES_MAX: usize = 16;

/// Rows in memory, which a crash sets back to an earlier batch.
#[derive(Clone, Debug, Default)]
pub struct LaggingTables {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Option<Position>,
    /// What undoes the latest batches, the latest last; at most [`LAG_BATCHES_MAX`].
    undo: VecDeque<Undo>,
}

#[derive(Clone, Debug)]
struct Undo {
    rows: Vec<RowWrite>,
    applied: Option<Position>,
}

impl LaggingTables {
    fn apply(&mut self, writes: Vec<RowWrite>, applied: Option<Position>) {
        let mut undo = Undo { rows: Vec::with_capacity(writes.len()), applied: self.applied };
        for (key, value) in writes {
            let before = self.set(key.clone(), value);
            undo.rows.push((key, before));
        }
        self.applied = applied.or(self.applied);
        self.undo.push_back(undo);
        if self.undo.len() > LAG_BATCHES_MAX {
            self.undo.pop_front();
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        match value {
            Some(value) => self.rows.insert(key, value),
            None => self.rows.remove(&key),
        }
    }

    /// Loses the latest `batches`, as far as they are not safe by now.
    fn fall_back(&mut self, batches: usize) {
        for _ in 0..batches {
            let Some(undo) = self.undo.pop_back() else { return };
            // Backwards: a batch may write one row twice.
            for (key, value) in undo.rows.into_iter().rev() {
                self.set(key, value);
            }
            self.applied = undo.applied;
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a crash does to an office's tables; its journal keeps what was synced in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TablesLoss {
    /// The latest batches are lost, so many of them.
    Batches(usize),
    /// All is lost.
    All,
}

/// What lies on an office's disk while nobody has it open.
#[derive(Default)]
pub struct OfficeDisk {
    journal: FaultyDisk,
    tables: LaggingTables,
}

impl OfficeDisk {
    /// A disk of its own with the same content: a backup, or a clone.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { journal: self.journal.copy(), tables: self.tables.clone() }
    }

    /// The process ended without warning, the machine did not: all that was written is there, synced or not.
    pub fn kill(&mut self, tables: TablesLoss) {
        self.journal.restart();
        self.lose(tables);
    }

    /// Whether the disk has ended its process in the middle of a write.
    pub fn is_killed(&self) -> bool {
        self.journal.is_killed()
    }

    /// The power went: what was not synced survives in parts, which `seed` chooses.
    pub fn cut_power(&mut self, seed: u64, tables: TablesLoss) {
        self.journal.crash(seed);
        self.lose(tables);
    }

    fn lose(&mut self, tables: TablesLoss) {
        match tables {
            TablesLoss::Batches(batches) => self.tables.fall_back(batches),
            TablesLoss::All => self.tables.clear(),
        }
    }

    /// The disk under the journal, to make it fail.
    pub fn faulty_disk(&self) -> &FaultyDisk {
        &self.journal
    }

    /// Changes one bit of a journal's segment, chosen by `choice`. False: there is no byte yet.
    pub fn flip_bit(&mut self, choice: u64) -> bool {
        let segments = self.segments();
        let mut offset = match segments.iter().map(|(_, len)| len).sum() {
            0 => return false,
            bytes => (choice >> 3) % bytes,
        };
        for (name, len) in segments {
            if offset < len {
                self.journal.flip(&name, offset, 1 << (choice & 7));
                return true;
            }
            offset -= len;
        }
        false
    }

    /// The journal's segments, with their lengths in bytes.
    fn segments(&self) -> Vec<(String, u64)> {
        let mut names = self.journal.list().unwrap_or_default();
        names.retain(|name| name.ends_with(".seg"));
        names.sort_unstable();
        let len = |name: &String| self.journal.open(name).and_then(|file| file.len()).unwrap_or(0);
        names.into_iter().map(|name| (name.clone(), len(&name))).collect()
    }

    /// Bytes of the journal's segments.
    pub fn journal_bytes(&self) -> u64 {
        self.segments().into_iter().map(|(_, len)| len).sum()
    }

    /// Opens it, as a node's start does.
    ///
    /// # Errors
    /// The store as it was, and why its journal cannot be opened.
    pub fn open(self) -> Result<SimulatedStore, (Self, JournalOpenError)> {
        let Self { journal: disk, mut tables } = self;
        let journal = match Journal::open(Arc::new(disk.clone()), tables.applied, JOURNAL) {
            Ok((journal, _)) => journal,
            Err(error) => return Err((Self { journal: disk, tables }, error)),
        };
        if tables
            .applied
            .is_some_and(|applied| journal.reader().end().is_none_or(|end| applied >= end))
        {
            // They show more than the journal holds.
            tables.clear();
        }
        Ok(SimulatedStore { disk, journal, tables, frames_appended: 0, swaps_frames: false })
    }
}

/// The journal of the product over a [`FaultyDisk`], and tables in memory.
pub struct SimulatedStore {
    disk: FaultyDisk,
    journal: Journal,
    tables: LaggingTables,
    frames_appended: u64,
    swaps_frames: bool,
}

impl SimulatedStore {
    /// Closes it. The disk is as it would be for the next to open it, without a crash.
    pub fn into_disk(self) -> OfficeDisk {
        OfficeDisk { journal: self.disk, tables: self.tables }
    }

    /// A copy of the disk, taken while it is in use.
    pub fn copy(&self) -> OfficeDisk {
        OfficeDisk { journal: self.disk.copy(), tables: self.tables.clone() }
    }

    /// The same disk for the one who opens it once this is dropped, without the tables.
    pub fn disk_without_tables(&self) -> OfficeDisk {
        OfficeDisk { journal: self.disk.clone(), tables: LaggingTables::default() }
    }

    /// The disk under the journal, to make it fail.
    pub fn disk(&self) -> &FaultyDisk {
        &self.disk
    }

    /// Frames appended since it was opened.
    pub fn frames_appended(&self) -> u64 {
        self.frames_appended
    }

    /// Bytes of the journal.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.reader().sizes().bytes
    }

    /// Bytes of the tables' rows.
    pub fn rows_bytes(&self) -> u64 {
        let bytes = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64;
        self.tables.rows.iter().map(bytes).sum()
    }

    /// Changes a row behind the replica's back: to prove that checkers notice.
    pub fn alter_row(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.tables.set(key, Some(value));
    }

    /// Writes the frames of each commit in reverse from now on: to prove that checkers notice.
    pub fn swap_frames(&mut self) {
        self.swaps_frames = true;
    }
}

impl ReadTables for SimulatedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.rows.get(key).cloned())
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        let rows = self.tables.rows.range::<[u8], _>((scan_from(prefix, after), Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix));
        page.fill(rows.map(|(key, value)| (key.as_slice(), value.as_slice())), limits);
        Ok(())
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let from = scan_back_from(prefix, before);
        let from = from.as_ref().map(Vec::as_slice);
        let rows = self.tables.rows.range::<[u8], _>((Included(prefix), from)).rev().take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl ReadJournal for SimulatedStore {
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        self.journal.reader().read(at)
    }

    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        self.journal.reader().scan(after, bytes_max)
    }

    fn applied(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.tables.applied)
    }

    fn damaged(&self) -> Vec<Position> {
        self.journal.reader().damaged()
    }
}

impl Store for SimulatedStore {
    fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
        let mut positions = if !self.swaps_frames {
            self.journal.append(frames)?
        } else {
            self.journal.append(&frames.iter().rev().copied().collect::<Vec<_>>())?
        };
        if self.swaps_frames {
            positions.reverse();
        }
        self.frames_appended += frames.len() as u64;
        Ok(positions)
    }

    fn apply(
        &mut self,
        writes: Vec<RowWrite>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        self.tables.apply(writes, applied);
        Ok(())
    }

    fn clear_tables(&mut self) -> Result<(), StoreError> {
        self.tables.clear();
        Ok(())
    }

    fn repair(&mut self, at: Position, frame: &[u8]) -> Result<(), StoreError> {
        self.journal.repair(at, frame)
    }
}
