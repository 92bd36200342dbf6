//! Reading rows from sled: the block that a row belongs to, and its chunks.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::ops::Bound;

use super::block::{Held, Plain};
use super::folder::guarded;
use super::{bad_row, failed, rows};
use branchline_crdt::store::{Row, StoreError};

/// A block as it is stored.
#[derive(PartialEq, Eq)]
pub(super) struct Block {
    /// Its stored key.
    pub(super) key: Vec<u8>,
    /// Its stored value; `None` for the block that is yet to be stored.
    pub(super) stored: Option<sled::IVec>,
}

impl Block {
    /// The block where row `key` is, if it is anywhere.
    pub(super) fn of(db: &sled::Db, key: &[u8]) -> Result<Block, StoreError> {
        let found = guarded(|| db.range(..=rows::block_key(key)).next_back().transpose());
        Ok(match found.map_err(failed)? {
            Some((key, value)) => Block { key: key.to_vec(), stored: Some(value) },
            // Blocks sort first: there is none before this row. The next one, then, is for all keys up to itself.
            None => Block { key: rows::block_key(b""), stored: None },
        })
    }

    /// The block after this one.
    pub(super) fn next(&self, db: &sled::Db) -> Result<Option<Block>, StoreError> {
        let after = (Bound::Excluded(&self.key[..]), Bound::Unbounded);
        let found = guarded(|| db.range::<&[u8], _>(after).next().transpose()).map_err(failed)?;
        let block = |(key, value): (sled::IVec, sled::IVec)| {
            rows::block_start(&key)?;
            Some(Block { key: key.to_vec(), stored: Some(value) })
        };
        Ok(found.and_then(block))
    }

    /// The block before the one under this stored key; `None` for that: the last of all.
    fn before(db: &sled::Db, stored_key: Option<&[u8]>) -> Result<Option<Block>, StoreError> {
        // Blocks sort first.
        let end = stored_key.unwrap_or(rows::BLOCKS_END);
        let found = guarded(|| db.range(..end).next_back().transpose()).map_err(failed)?;
        Ok(found.map(|(key, value)| Block { key: key.to_vec(), stored: Some(value) }))
    }

    /// Its rows.
    pub(super) fn plain(&self) -> Result<Plain, StoreError> {
        let Some(stored) = &self.stored else { return Ok(Plain::empty()) };
        let bytes = rows::decode(&self.key, stored);
        bytes.and_then(Plain::read).ok_or_else(|| bad_row(&self.key))
    }
}

/// Blocks that a thread keeps. Rows that are asked for one after the other often lie in a few of them: of new records in
/// the last of each kind of row, and the rows that mark single records all in one.
const BLOCKS_KEPT: usize = 4;

thread_local! {
    // The last one used comes last. What a block holds follows from its bytes, so this cannot be out of date.
    static KEPT: RefCell<Vec<(Block, Plain)>> = const { RefCell::new(Vec::new()) };
}

/// The value of row `key`.
pub(super) fn get(db: &sled::Db, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let block = Block::of(db, key)?;
    KEPT.with_borrow_mut(|kept| {
        let known = kept.iter().position(|(known, _)| *known == block);
        let (block, plain) = match known {
            Some(known) => kept.remove(known),
            None => {
                let plain = block.plain()?;
                (block, plain)
            }
        };
        let found = find(db, key, &block, &plain);
        if kept.len() == BLOCKS_KEPT {
            kept.remove(0);
        }
        kept.push((block, plain));
        found
    })
}

fn find(
    db: &sled::Db,
    key: &[u8],
    block: &Block,
    plain: &Plain,
) -> Result<Option<Vec<u8>>, StoreError> {
    for row in plain.iter() {
        let (at, held) = row.map_err(|_| bad_row(&block.key))?;
        match at.cmp(key) {
            Ordering::Less => {}
            Ordering::Equal => return value(db, key, held).map(Some),
            Ordering::Greater => break,
        }
    }
    Ok(None)
}

/// At most `limit` rows from `from` on whose keys begin with `prefix`, ascending.
pub(super) fn scan(
    db: &sled::Db,
    prefix: &[u8],
    from: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut page = Vec::new();
    let (Bound::Included(first) | Bound::Excluded(first)) = from else { return Ok(page) };
    let mut next = Some(Block::of(db, first)?);
    while let Some(block) = next {
        let plain = block.plain()?;
        for row in plain.iter() {
            let (key, held) = row.map_err(|_| bad_row(&block.key))?;
            let is_before = match from {
                Bound::Included(first) => key < first,
                Bound::Excluded(last) => key <= last,
                Bound::Unbounded => false,
            };
            if is_before {
                continue;
            }
            if !key.starts_with(prefix) || page.len() >= limit {
                return Ok(page);
            }
            page.push((key.to_vec(), value(db, key, held)?));
        }
        next = if page.len() < limit { block.next(db)? } else { None };
    }
    Ok(page)
}

/// At most `limit` rows from `from` down whose keys begin with `prefix`, descending. No key from there up to the greatest
/// with the prefix is without it.
pub(super) fn scan_back(
    db: &sled::Db,
    prefix: &[u8],
    from: Bound<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut page = Vec::new();
    let mut next = match from {
        Bound::Included(from) | Bound::Excluded(from) => Some(Block::of(db, from)?),
        Bound::Unbounded => Block::before(db, None)?,
    };
    while let Some(block) = next {
        let plain = block.plain()?;
        let rows = plain.iter().collect::<Result<Vec<_>, _>>();
        for (key, held) in rows.map_err(|_| bad_row(&block.key))?.into_iter().rev() {
            let is_behind = match from {
                Bound::Included(from) => key > from,
                Bound::Excluded(from) => key >= from,
                Bound::Unbounded => false,
            };
            if is_behind {
                continue;
            }
            if !key.starts_with(prefix) || page.len() >= limit {
                return Ok(page);
            }
            page.push((key.to_vec(), value(db, key, held)?));
        }
        next = if page.len() < limit { Block::before(db, Some(&block.key))? } else { None };
    }
    Ok(page)
}

/// The value that a block holds of a row, collecting its chunks.
pub(super) fn value(db: &sled::Db, key: &[u8], held: Held<'_>) -> Result<Vec<u8>, StoreError> {
    let len = match held {
        Held::Value(value) => return Ok(value.to_vec()),
        Held::Chunked(len) => len,
    };
    let mut bytes = Vec::new();
    for chunk in 0..rows::chunk_count(len) {
        let chunk_key = rows::chunk_key(key, chunk);
        let stored = guarded(|| db.get(&chunk_key)).map_err(failed)?;
        match stored.as_deref().and_then(|stored| rows::decode(&chunk_key, stored)) {
            Some(chunk) => bytes.extend_from_slice(chunk),
            None => return Err(bad_row(&chunk_key)),
        }
    }
    match bytes.len() as u64 == len {
        true => Ok(bytes),
        false => Err(bad_row(&rows::chunk_key(key, 0))),
    }
}
