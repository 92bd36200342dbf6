//! A store in memory, for simulations and tests: the same contract, nothing durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;

use crate::store::tables::{PageLimits, ReadTables, RowPage, scan_back_from, scan_from};
use crate::store::{Position, ReadJournal, Row, RowWrite, Store, StoreError};

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    frames: Vec<Vec<u8>>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    applied: Option<Position>,
    damaged: BTreeSet<Position>,
    full: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether appends are refused from now on, as by a full disk.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Damages a frame.
    pub fn damage(&mut self, at: Position) {
        self.damaged.insert(at);
    }

    /// What is left where the tables are lost: the journal alone.
    #[must_use]
    pub fn without_tables(mut self) -> Self {
        self.rows.clear();
        self.applied = None;
        self
    }

    /// Number of frames in the journal.
    pub fn frame_count(&self) -> usize {
        self.frames.len()
    }

    fn index(&self, at: Position) -> Result<usize, StoreError> {
        let missing = StoreError::Unreadable { source: io::ErrorKind::NotFound.into() };
        usize::try_from(at.0).ok().filter(|index| *index < self.frames.len()).ok_or(missing)
    }
}

impl ReadTables for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        let rows = self.rows.range::<[u8], _>((scan_from(prefix, after), Bound::Unbounded));
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
        let rows = self.rows.range((Bound::Included(prefix.to_vec()), from)).rev().take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl ReadJournal for MemoryStore {
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        let index = self.index(at)?;
        if self.damaged.contains(&at) {
            let reason = "it was marked as damaged".to_owned();
            return Err(StoreError::Damaged { position: at, reason });
        }
        Ok(self.frames[index].clone())
    }

    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        let first = after.map_or(0, |position| position.0 + 1);
        let mut found = Vec::new();
        let mut bytes = 0;
        for index in first..self.frames.len() as u64 {
            let position = Position(index);
            if self.damaged.contains(&position) {
                continue;
            }
            let frame = self.read(position)?;
            bytes += frame.len();
            if !found.is_empty() && bytes > bytes_max {
                break;
            }
            found.push((position, frame));
        }
        Ok(found)
    }

    fn applied(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.applied)
    }

    fn damaged(&self) -> Vec<Position> {
        self.damaged.iter().copied().collect()
    }
}

impl Store for MemoryStore {
    fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
        if self.full {
            return Err(StoreError::Unwritable { source: io::ErrorKind::StorageFull.into() });
        }
        let first = self.frames.len();
        self.frames.extend(frames.iter().map(|frame| frame.to_vec()));
        Ok((first..self.frames.len()).map(|index| Position(index as u64)).collect())
    }

    fn apply(
        &mut self,
        writes: Vec<RowWrite>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        for (key, value) in writes {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        self.applied = applied.or(self.applied);
        Ok(())
    }

    fn clear_tables(&mut self) -> Result<(), StoreError> {
        self.rows.clear();
        self.applied = None;
        Ok(())
    }

    fn repair(&mut self, at: Position, frame: &[u8]) -> Result<(), StoreError> {
        let index = self.index(at)?;
        self.frames[index] = frame.to_vec();
        self.damaged.remove(&at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_backwards_stays_within_its_prefix() {
        let mut store = MemoryStore::new();
        let keys: [&[u8]; 6] = [b"a", b"b", b"b1", b"b\xff", b"b\xff\xff", b"\xff\xff"];
        store.apply(keys.map(|key| (key.to_vec(), Some(Vec::new()))).to_vec(), None).unwrap();
        for prefix in [&b""[..], b"a", b"b", b"b\xff", b"c", b"\xff"] {
            for before in keys.map(Some).into_iter().chain([None, Some(&b""[..])]) {
                let is_such = |key: &&[u8]| {
                    key.starts_with(prefix) && before.is_none_or(|before| *key < before)
                };
                let expected: Vec<_> = keys.into_iter().filter(is_such).rev().collect();
                let found = store.scan_back(prefix, before, 10).unwrap();
                let found: Vec<_> = found.iter().map(|(key, _)| key.as_slice()).collect();
                assert_eq!(found, expected, "{prefix:?} before {before:?}");
            }
        }
    }
}
