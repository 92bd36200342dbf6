//! Rows that sled does not have yet: one generation that is being filled, one that is being written out.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_crdt::store::{Position, RowWrite};

/// What a row takes in memory beside its key and value: two vectors and its share of a tree's nodes, about.
const ROW_OVERHEAD_BYTES: usize = 96;

/// The key of a row, and its value unless it is removed.
type RowSeen<'r> = (&'r [u8], Option<&'r [u8]>);

/// Rows that are written to sled together.
#[derive(Debug, Default)]
pub(super) struct Generation {
    pub(super) rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// How far into the journal the tables come with it, if it brings them further.
    pub(super) applied: Option<Position>,
    bytes: usize,
    /// When the first of it was applied; `None` while there is nothing in it.
    begun: Option<Instant>,
}

impl Generation {
    fn add(&mut self, writes: Vec<RowWrite>, applied: Option<Position>) {
        self.begun.get_or_insert_with(Instant::now);
        self.applied = applied.or(self.applied);
        for (key, value) in writes {
            let key_len = key.len();
            let bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
            self.bytes += bytes(&value);
            match self.rows.insert(key, value) {
                Some(old) => self.bytes -= bytes(&old),
                None => self.bytes += key_len + ROW_OVERHEAD_BYTES,
            }
        }
    }

    fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(key).map(Option::as_deref)
    }

    fn range(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl DoubleEndedIterator<Item = RowSeen<'_>> {
        let rows = self.rows.range::<[u8], _>((from, to));
        rows.map(|(key, value)| (key.as_slice(), value.as_deref()))
    }
}

/// What was applied and is not in sled.
#[derive(Debug, Default)]
pub(super) struct Memtable {
    filling: Generation,
    writing: Option<Arc<Generation>>,
}

impl Memtable {
    /// Takes up what is applied.
    pub(super) fn add(&mut self, writes: Vec<RowWrite>, applied: Option<Position>) {
        self.filling.add(writes, applied);
    }

    /// Bytes of the generation that is being filled.
    pub(super) fn bytes(&self) -> usize {
        self.filling.bytes
    }

    /// Whether there is nothing in the generation that is being filled.
    pub(super) fn is_empty(&self) -> bool {
        self.filling.begun.is_none()
    }

    /// Whether the generation that is being filled has `bytes`.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.filling.bytes >= bytes
    }

    /// Whether a generation is being written while the one that is being filled has `bytes`.
    pub(super) fn is_behind(&self, bytes: usize) -> bool {
        self.writing.is_some() && self.is_full(bytes)
    }

    /// When the generation that is being filled is to be written out; `None` while there is nothing in it.
    pub(super) fn due_in(&self, bytes: usize, age_max: Duration) -> Option<Duration> {
        let begun = self.filling.begun?;
        if self.is_full(bytes) {
            Some(Duration::ZERO)
        } else {
            Some(age_max.saturating_sub(begun.elapsed()))
        }
    }

    /// Ends the generation that is being filled and begins the next; `None` if there is nothing in it. The one before
    /// has been written.
    pub(super) fn begin_writing(&mut self) -> Option<Arc<Generation>> {
        self.filling.begun?;
        let generation = Arc::new(std::mem::take(&mut self.filling));
        self.writing = Some(generation.clone());
        Some(generation)
    }

    /// Forgets the generation that was being written: sled has it.
    pub(super) fn end_writing(&mut self) {
        self.writing = None;
    }

    /// A row: `None` if nothing here touches it, `Some(None)` if it was removed.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.filling.get(key).or_else(|| self.writing.as_ref()?.get(key))
    }

    /// Whether anything that begins with `prefix` is here from `from` to `to`.
    pub(super) fn has_any(&self, prefix: &[u8], from: Bound<&[u8]>, to: Bound<&[u8]>) -> bool {
        let first = |generation: &Generation| {
            generation.range(from, to).next().is_some_and(|(key, _)| key.starts_with(prefix))
        };
        first(&self.filling) || self.writing.as_deref().is_some_and(first)
    }

    /// What is here from `from` to `to`, over `stored` rows of the same range; ascending. No value means that the row
    /// is removed.
    pub(super) fn over<'r>(
        &'r self,
        from: Bound<&'r [u8]>,
        to: Bound<&'r [u8]>,
        stored: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    ) -> impl Iterator<Item = RowSeen<'r>> {
        let writing = self.writing.iter().flat_map(move |writing| writing.range(from, to));
        let stored = stored.map(|(key, value)| (key, Some(value)));
        newest(self.filling.range(from, to), newest(writing, stored, Ord::cmp), Ord::cmp)
    }

    /// The same descending, from `from` down to `to`.
    pub(super) fn over_back<'r>(
        &'r self,
        from: Bound<&'r [u8]>,
        to: Bound<&'r [u8]>,
        stored: impl Iterator<Item = (&'r [u8], &'r [u8])>,
    ) -> impl Iterator<Item = RowSeen<'r>> {
        let back = |a: &[u8], b: &[u8]| b.cmp(a);
        let writing = self.writing.iter().flat_map(move |writing| writing.range(to, from).rev());
        let stored = stored.map(|(key, value)| (key, Some(value)));
        newest(self.filling.range(to, from).rev(), newest(writing, stored, back), back)
    }
}

/// Both, by the order of keys in which each of them is; where both have a row, the newer one's.
fn newest<'r>(
    newer: impl Iterator<Item = RowSeen<'r>>,
    older: impl Iterator<Item = RowSeen<'r>>,
    order: fn(&[u8], &[u8]) -> Ordering,
) -> impl Iterator<Item = RowSeen<'r>> {
    let (mut newer, mut older) = (newer.peekable(), older.peekable());
    iter::from_fn(move || {
        let Some((next, _)) = newer.peek() else { return older.next() };
        match older.peek().map(|(key, _)| order(key, next)) {
            Some(Ordering::Less) => older.next(),
            Some(Ordering::Equal) => {
                older.next();
                newer.next()
            }
            Some(Ordering::Greater) | None => newer.next(),
        }
    })
}
