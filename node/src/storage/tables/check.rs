//! Reading every item: for a verification, and to see whether a crash left items of one moment.

use std::ops::Bound;

use super::folder::guarded;
use super::read::{self, Block};
use super::rows::{self, Sum};
use super::{Tables, TablesShared, failed};
use branchline_crdt::store::StoreError;

/// How many items are read under one lock.
const PAGE_ITEMS: usize = 256;
/// How many bad blocks a verification names; more are counted only.
pub const BAD_BLOCKS_NAMED_MAX: usize = 100;

/// Key and value of an item as sled has it.
type Item = (sled::IVec, sled::IVec);

/// What [`Tables::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesVerified {
    /// Rows read.
    pub rows: u64,
    /// Blocks of rows, and items about them, that are not what was stored.
    pub bad: u64,
    /// The first [`BAD_BLOCKS_NAMED_MAX`] of their stored keys (`b` + its first row's key for a block).
    pub bad_keys: Vec<Vec<u8>>,
    /// Why sled could not be read to the end, or brought up to what was applied.
    pub failed: Option<String>,
}

impl Tables {
    /// Writes out what is in memory and reads every value; `progress` is given the rows read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> TablesVerified {
        let mut verified = TablesVerified::default();
        let read = self.flush().and_then(|()| {
            self.shared().each_page(&mut |db, page| {
                for (key, value) in page {
                    match rows_of(db, key, value) {
                        Some(rows) => verified.rows += rows,
                        None => {
                            verified.bad += 1;
                            if verified.bad_keys.len() < BAD_BLOCKS_NAMED_MAX {
                                verified.bad_keys.push(key.to_vec());
                            }
                        }
                    }
                }
                progress(verified.rows);
            })
        });
        verified.failed = read.err().map(|error| error.to_string());
        verified
    }
}

/// How many rows an item has, all of them read with their chunks; `None` if it is not what was stored.
fn rows_of(db: &sled::Db, key: &sled::IVec, value: &sled::IVec) -> Option<u64> {
    if rows::block_start(key).is_none() {
        return rows::decode(key, value).map(|_| 0);
    }
    let block = Block { key: key.to_vec(), stored: Some(value.clone()) };
    let plain = block.plain().ok()?;
    let mut rows = 0;
    for row in plain.iter() {
        let (key, held) = row.ok()?;
        read::value(db, key, held).ok()?;
        rows += 1;
    }
    Some(rows)
}

impl TablesShared {
    /// Reads every item and compares their sum with the one that the last batch stored.
    pub(super) fn compare_sum(&self) -> Result<(), StoreError> {
        tracing::debug!("the tables were not closed in order: reading every item");
        let mut found = Sum::default();
        self.each_page(&mut |_, page| {
            for (key, value) in page.iter().filter(|(key, _)| Sum::covers(key)) {
                found.add(key, value);
            }
        })?;
        match self.state().open_ref()?.sum == found {
            true => Ok(()),
            false => Err(failed("a crash left rows that do not belong together")),
        }
    }

    /// Shows `visit` all items, a page at a time.
    fn each_page(&self, visit: &mut dyn FnMut(&sled::Db, &[Item])) -> Result<(), StoreError> {
        let mut from = Bound::Unbounded;
        loop {
            let state = self.state();
            let db = &state.open_ref()?.db;
            let page = guarded(|| {
                let items = db.range::<sled::IVec, _>((from, Bound::Unbounded));
                items.take(PAGE_ITEMS).collect::<sled::Result<Vec<_>>>()
            });
            let page = page.map_err(failed)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            visit(db, &page);
            from = Bound::Excluded(last.clone());
        }
    }
}
