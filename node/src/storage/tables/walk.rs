//! Walking through the rows of several runs in the order of their keys, up or down.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use super::block::{Held, Plain};
use super::read::Blocks;
use super::run::Run;
use branchline_crdt::store::tables::{PageLimits, RowPage, behind};
use branchline_crdt::store::{Row, StoreError};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

/// A place in a run that has a row.
pub(super) struct Cursor {
    pub(super) run: Arc<Run>,
    way: Way,
    block: u32,
    plain: Arc<Plain>,
    row: usize,
}

impl Cursor {
    /// The first row of a run; `None` if it has none.
    pub(super) fn first(run: &Arc<Run>, blocks: &Blocks) -> Result<Option<Self>, StoreError> {
        match run.blocks() {
            0 => Ok(None),
            _ => Ok(Some(Self::new(run, Way::Up, 0, blocks.read(run, 0)?))),
        }
    }

    fn new(run: &Arc<Run>, way: Way, block: u32, plain: Arc<Plain>) -> Self {
        let row = match way {
            Way::Up => 0,
            Way::Down => plain.len() - 1,
        };
        Self { run: run.clone(), way, block, plain, row }
    }

    /// The first row from `from` on, whose key begins with `prefix`.
    fn seek(
        run: &Arc<Run>,
        blocks: &Blocks,
        way: Way,
        prefix: &[u8],
        from: Bound<&[u8]>,
    ) -> Result<Option<Self>, StoreError> {
        let key = match from {
            Bound::Included(key) | Bound::Excluded(key) => Some(key),
            Bound::Unbounded => None,
        };
        let block = match (key, way) {
            (Some(key), _) => run.block_of(key),
            (None, Way::Up) => None,
            (None, Way::Down) => run.blocks().checked_sub(1),
        };
        let Some(block) = block else {
            // All rows are behind.
            let first = run.start(0).filter(|first| way == Way::Up && first.starts_with(prefix));
            let Some(_) = first else { return Ok(None) };
            return Ok(Some(Self::new(run, way, 0, blocks.get(run, 0)?)));
        };
        let plain = blocks.get(run, block)?;
        let (row, is_here) = match (way, from) {
            (_, Bound::Unbounded) => (plain.len() - 1, true),
            (Way::Up, Bound::Included(key)) => here_or_behind(&plain, plain.first_from(key, true)),
            (Way::Up, Bound::Excluded(key)) => here_or_behind(&plain, plain.first_from(key, false)),
            (Way::Down, Bound::Included(key)) => here_or_before(plain.first_from(key, false)),
            (Way::Down, Bound::Excluded(key)) => here_or_before(plain.first_from(key, true)),
        };
        let mut cursor = Self { run: run.clone(), way, block, plain, row };
        let has_row = if is_here {
            cursor.key().starts_with(prefix)
        } else {
            cursor.enter_next(prefix, |run, block| blocks.get(run, block))?
        };
        Ok(has_row.then_some(cursor))
    }

    /// The row's key.
    pub(super) fn key(&self) -> &[u8] {
        self.plain.row(self.row).map_or(&[], |(key, _)| key)
    }

    /// What the run holds of the row.
    pub(super) fn held(&self) -> Held<'_> {
        self.plain.row(self.row).map_or(Held::Removed, |(_, held)| held)
    }

    /// Goes on to the next row whose key begins with `prefix`; false if there is none.
    fn step(
        &mut self,
        prefix: &[u8],
        get: impl FnOnce(&Run, u32) -> Result<Arc<Plain>, StoreError>,
    ) -> Result<bool, StoreError> {
        let next = match self.way {
            Way::Up => Some(self.row + 1).filter(|row| *row < self.plain.len()),
            Way::Down => self.row.checked_sub(1),
        };
        match next {
            Some(row) => {
                self.row = row;
                Ok(self.key().starts_with(prefix))
            }
            None => self.enter_next(prefix, get),
        }
    }

    /// Goes on to the next block.
    fn enter_next(
        &mut self,
        prefix: &[u8],
        get: impl FnOnce(&Run, u32) -> Result<Arc<Plain>, StoreError>,
    ) -> Result<bool, StoreError> {
        let next = match self.way {
            // Where a block begins is known without it.
            Way::Up => Some(self.block + 1)
                .filter(|next| self.run.start(*next).is_some_and(|key| key.starts_with(prefix))),
            Way::Down => self.block.checked_sub(1),
        };
        let Some(block) = next else { return Ok(false) };
        let plain = get(&self.run, block)?;
        *self = Self::new(&self.run, self.way, block, plain);
        Ok(self.key().starts_with(prefix))
    }

    /// Takes the rows of the block that come before `end`, ascending, as far as the limits allow, and goes on to the
    /// next; false if there is none.
    fn take(
        &mut self,
        blocks: &Blocks,
        prefix: &[u8],
        end: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<bool, StoreError> {
        let rows_end = end.map_or(self.plain.len(), |end| self.plain.len_before(end));
        while let Some((key, held)) = self.plain.row(self.row).filter(|_| self.row < rows_end) {
            match held {
                Held::Value(value) => page.push(key, value),
                Held::Removed => {}
                Held::Long(_) => {
                    if let Some(value) = blocks.value(&self.run, held)? {
                        page.push(key, &value);
                    }
                }
            }
            self.row += 1;
            if page.is_full(limits) {
                break;
            }
        }
        if self.row < self.plain.len() {
            Ok(self.key().starts_with(prefix))
        } else {
            self.enter_next(prefix, |run, block| blocks.get(run, block))
        }
    }

    /// Goes on to the next row, as one who needs each block once.
    pub(super) fn next_once(&mut self, blocks: &Blocks) -> Result<bool, StoreError> {
        self.step(b"", |run, block| blocks.read(run, block))
    }

    /// The block, if its first row is this one.
    pub(super) fn whole_block(&self) -> Option<(u32, &Plain)> {
        (self.row == 0).then_some((self.block, &*self.plain))
    }

    /// Goes on behind the block, as one who needs each block once.
    pub(super) fn leave_block(&mut self, blocks: &Blocks) -> Result<bool, StoreError> {
        self.enter_next(b"", |run, block| blocks.read(run, block))
    }
}

fn here_or_behind(plain: &Plain, row: usize) -> (usize, bool) {
    (row, row < plain.len())
}

fn here_or_before(rows: usize) -> (usize, bool) {
    (rows.saturating_sub(1), rows > 0)
}

/// The next row of several cursors: of those that have it the first, which is the newest; and of the others, which comes
/// next.
pub(super) fn next_of(cursors: &[Cursor], way: Way) -> Option<(usize, Option<usize>)> {
    let comes_first = match way {
        Way::Up => Ordering::Less,
        Way::Down => Ordering::Greater,
    };
    let mut cursors = cursors.iter().map(Cursor::key).enumerate();
    let (mut next, mut second) = (cursors.next()?, None);
    for cursor in cursors {
        match second {
            Some((_, key)) if cursor.1.cmp(key) != comes_first => {}
            Some(_) | None if cursor.1.cmp(next.1) == comes_first => {
                second = Some(std::mem::replace(&mut next, cursor));
            }
            Some(_) | None => second = Some(cursor),
        }
    }
    Some((next.0, second.map(|(number, _)| number)))
}

/// Lets all cursors at row `key` go on; those that have come to their end are taken out.
pub(super) fn pass(
    cursors: &mut Vec<Cursor>,
    key: &[u8],
    mut step: impl FnMut(&mut Cursor) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut number = 0;
    while let Some(cursor) = cursors.get_mut(number) {
        if cursor.key() == key && !step(cursor)? {
            cursors.remove(number);
        } else {
            number += 1;
        }
    }
    Ok(())
}

/// Rows whose keys begin with `prefix`, ascending from `from` on, as many as the limits allow.
pub(super) fn scan(
    blocks: &Blocks,
    runs: &[Arc<Run>],
    prefix: &[u8],
    from: Bound<&[u8]>,
    limits: PageLimits,
    page: &mut RowPage,
) -> Result<(), StoreError> {
    let mut cursors = Vec::with_capacity(runs.len());
    for run in runs {
        cursors.extend(Cursor::seek(run, blocks, Way::Up, prefix, from)?);
    }
    let behind = behind(prefix);
    // How far no other run has a row.
    let mut end: Vec<u8> = Vec::new();
    while !page.is_full(limits)
        && let Some((next, second)) = next_of(&cursors, Way::Up)
    {
        let cursor = &cursors[next];
        let second = second.map(|second| cursors[second].key());
        if second == Some(cursor.key()) {
            let key = cursor.key().to_vec();
            if let Some(value) = blocks.value(&cursor.run, cursor.held())? {
                page.push(&key, &value);
            }
            pass(&mut cursors, &key, |cursor| {
                cursor.step(prefix, |run, block| blocks.get(run, block))
            })?;
            continue;
        }
        end.clear();
        let end = second.or(behind.as_deref()).map(|key| {
            end.extend_from_slice(key);
            end.as_slice()
        });
        if !cursors[next].take(blocks, prefix, end, limits, page)? {
            cursors.remove(next);
        }
    }
    Ok(())
}

/// At most `limit` rows whose keys begin with `prefix`, descending from `from` on. No key from there to the greatest with
/// the prefix is without it.
pub(super) fn scan_back(
    blocks: &Blocks,
    runs: &[Arc<Run>],
    prefix: &[u8],
    from: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut cursors = Vec::with_capacity(runs.len());
    for run in runs {
        cursors.extend(Cursor::seek(run, blocks, Way::Down, prefix, from)?);
    }
    let mut page = Vec::new();
    while page.len() < limit {
        let Some((next, _)) = next_of(&cursors, Way::Down) else { break };
        let cursor = &cursors[next];
        let key = cursor.key().to_vec();
        let value = blocks.value(&cursor.run, cursor.held())?;
        pass(&mut cursors, &key, |cursor| {
            cursor.step(prefix, |run, block| blocks.get(run, block))
        })?;
        page.extend(value.map(|value| (key, value)));
    }
    Ok(page)
}
