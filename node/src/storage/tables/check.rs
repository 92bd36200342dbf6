//! Reading every row: for a verification, and to see whether a crash left rows of one moment.

use std::ops::Bound;

use super::folder::guarded;
use super::rows::{self, Sum};
use super::{State, Tables, failed, load};
use branchline_crdt::store::StoreError;

/// How many rows are read under one lock.
const PAGE_ROWS: usize = 256;
/// How many bad rows a verification names; more are counted only.
pub const BAD_ROWS_NAMED_MAX: usize = 100;

/// Key and value of a row as sled has it.
type StoredRow = (sled::IVec, sled::IVec);

/// What [`Tables::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablesVerified {
    /// Rows read, chunks not counted.
    pub rows: u64,
    /// Rows that are not what was stored.
    pub bad: u64,
    /// The first [`BAD_ROWS_NAMED_MAX`] of their stored keys (`r` + key for a row).
    pub bad_keys: Vec<Vec<u8>>,
    /// Why sled could not be read to the end.
    pub failed: Option<String>,
}

impl Tables {
    /// Reads every value; `progress` is told the rows read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> TablesVerified {
        let mut verified = TablesVerified::default();
        let read = self.each_page(&mut |db, page| {
            for (stored_key, value) in page {
                let sound = match rows::row_of(stored_key) {
                    Some(_) => {
                        verified.rows += 1;
                        load(db, stored_key, value).is_ok()
                    }
                    None => rows::decode(stored_key, value).is_some(),
                };
                if !sound {
                    verified.bad += 1;
                    if verified.bad_keys.len() < BAD_ROWS_NAMED_MAX {
                        verified.bad_keys.push(stored_key.to_vec());
                    }
                }
            }
            progress(verified.rows);
        });
        verified.failed = read.err().map(|error| error.to_string());
        verified
    }

    /// Reads every row and compares their sum with the one that the last batch stored.
    pub(super) fn compare_sum(&self) -> Result<(), StoreError> {
        tracing::debug!("the tables were not closed in order: reading every row");
        let mut found = Sum::default();
        self.each_page(&mut |_, page| {
            for (stored_key, value) in page.iter().filter(|(key, _)| Sum::covers(key)) {
                found.add(stored_key, value);
            }
        })?;
        match &*self.state() {
            State::Open { sum, .. } if *sum == found => Ok(()),
            State::Open { .. } => Err(failed("a crash left rows that do not belong together")),
            State::Failed { reason, .. } => Err(failed(reason)),
        }
    }

    /// Shows `visit` all stored rows, a page at a time.
    fn each_page(&self, visit: &mut dyn FnMut(&sled::Db, &[StoredRow])) -> Result<(), StoreError> {
        let mut from = Bound::Unbounded;
        loop {
            let state = self.state();
            let db = state.db()?;
            let page = guarded(|| {
                let rows = db.range::<sled::IVec, _>((from, Bound::Unbounded));
                rows.take(PAGE_ROWS).collect::<sled::Result<Vec<_>>>()
            });
            let page = page.map_err(failed)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            visit(db, &page);
            from = Bound::Excluded(last.clone());
        }
    }
}
