//! A store in memory on top of one that many sites share: what they all know is there once.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound::{self, Included, Unbounded};
use std::sync::Arc;

use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage, scan_back_from, scan_from};
use branchline_crdt::store::{Position, ReadJournal, Row, RowWrite, Store, StoreError};

/// Frames and rows that many sites have in common.
#[derive(Debug, Default)]
struct Base {
    frames: Vec<Vec<u8>>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A store in memory on top of a shared one.
#[derive(Debug, Default)]
pub(super) struct SharedStore {
    base: Arc<Base>,
    frames: Vec<Vec<u8>>,
    /// Rows that differ from the shared ones; `None`: deleted here.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    applied: Option<Position>,
}

impl SharedStore {
    /// Stores on top of all that this one holds.
    pub(super) fn into_shared(self) -> impl Fn() -> Self {
        let applied = self.applied;
        let rows = match self.scan(&[], None, usize::MAX) {
            Ok(rows) => rows.into_iter().collect(),
            Err(_) => unreachable!("a store in memory does not fail"),
        };
        let frames = self.base.frames.iter().chain(&self.frames).cloned().collect();
        let base = Arc::new(Base { frames, rows });
        move || Self { base: base.clone(), applied, ..Self::default() }
    }

    /// Bytes of the site's own frames and rows.
    pub(super) fn own_bytes(&self) -> u64 {
        let frames = self.frames.iter().map(Vec::len);
        let rows =
            self.rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
        frames.chain(rows).sum::<usize>() as u64
    }

    /// All rows of a range.
    fn merged(&self, range: (Bound<&[u8]>, Bound<&[u8]>)) -> impl Iterator<Item = Item<'_>> {
        let own = self.rows.range::<[u8], _>(range).map(|(key, value)| (key, value.as_ref()));
        let shared = self.base.rows.range::<[u8], _>(range).map(|(key, value)| (key, Some(value)));
        Merged { own: own.peekable(), shared: shared.peekable() }
    }

    fn frame(&self, index: usize) -> Option<&Vec<u8>> {
        let shared = self.base.frames.len();
        self.base.frames.get(index).or_else(|| self.frames.get(index.checked_sub(shared)?))
    }
}

impl ReadTables for SharedStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(match self.rows.get(key) {
            Some(own) => own.clone(),
            None => self.base.rows.get(key).cloned(),
        })
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        let rows = self
            .merged((scan_from(prefix, after), Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        page.fill(
            rows.filter_map(|(key, value)| Some((key.as_slice(), value?.as_slice()))),
            limits,
        );
        Ok(())
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        // Nobody asks for it here: it takes the time of all rows in between.
        let from = scan_back_from(prefix, before);
        let range = (Included(prefix), from.as_ref().map(Vec::as_slice));
        let rows: Vec<_> = self.merged(range).collect();
        let rows = rows.into_iter().rev();
        let rows = rows.filter_map(|(key, value)| Some((key.clone(), value?.clone())));
        Ok(rows.take(limit).collect())
    }
}

type Item<'a> = (&'a Vec<u8>, Option<&'a Vec<u8>>);

/// Both kinds of rows in order; a row of the site's own hides the shared one.
struct Merged<'a, O: Iterator<Item = Item<'a>>, S: Iterator<Item = Item<'a>>> {
    own: Peekable<O>,
    shared: Peekable<S>,
}

impl<'a, O: Iterator<Item = Item<'a>>, S: Iterator<Item = Item<'a>>> Iterator for Merged<'a, O, S> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let next = self.own.peek().map(|(key, _)| *key);
        match (next, self.shared.peek().map(|(key, _)| *key)) {
            (Some(own), Some(shared)) if own == shared => {
                self.shared.next();
                self.own.next()
            }
            (Some(own), Some(shared)) if shared < own => self.shared.next(),
            (None, Some(_)) => self.shared.next(),
            (Some(_), _) | (None, None) => self.own.next(),
        }
    }
}

impl ReadJournal for SharedStore {
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        let frame = usize::try_from(at.0).ok().and_then(|index| self.frame(index));
        let reason = "there is no such frame".to_owned();
        frame.cloned().ok_or(StoreError::Damaged { position: at, reason })
    }

    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        let first = after.map_or(0, |position| position.0 as usize + 1);
        let frames =
            (first..).map_while(|index| Some((Position(index as u64), self.frame(index)?)));
        let mut bytes = 0;
        let fitting = frames.take_while(|(_, frame)| {
            let fits = bytes == 0 || bytes + frame.len() <= bytes_max;
            bytes += frame.len();
            fits
        });
        Ok(fitting.map(|(position, frame)| (position, frame.clone())).collect())
    }

    fn applied(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.applied)
    }

    fn damaged(&self) -> Vec<Position> {
        Vec::new()
    }
}

impl Store for SharedStore {
    fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
        let first = self.base.frames.len() + self.frames.len();
        self.frames.extend(frames.iter().map(|frame| frame.to_vec()));
        Ok((first..first + frames.len()).map(|index| Position(index as u64)).collect())
    }

    fn apply(
        &mut self,
        writes: Vec<RowWrite>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        self.rows.extend(writes);
        self.applied = applied.or(self.applied);
        Ok(())
    }

    fn clear_tables(&mut self) -> Result<(), StoreError> {
        let shared = self.base.rows.keys().map(|key| (key.clone(), None));
        self.rows = shared.collect();
        self.applied = None;
        Ok(())
    }

    fn repair(&mut self, at: Position, _: &[u8]) -> Result<(), StoreError> {
        let reason = "nothing here is ever damaged".to_owned();
        Err(StoreError::Damaged { position: at, reason })
    }
}
