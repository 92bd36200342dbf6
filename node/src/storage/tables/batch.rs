//! What one [`super::Tables::apply`] changes: rows, their chunks, and the sum over all of them.

use super::folder::guarded;
use super::rows::{self, APPLIED_KEY, CHUNK_BYTES, SUM_KEY, Sum, Value};
use super::{bad_row, failed};
use branchline_crdt::store::{Position, StoreError};

/// Writes that are to be applied together. Each row may be written once.
pub(super) struct Batch<'d> {
    db: &'d sled::Db,
    batch: sled::Batch,
    sum: Sum,
}

impl<'d> Batch<'d> {
    /// An empty batch for a store whose rows make `sum`.
    pub(super) fn new(db: &'d sled::Db, sum: Sum) -> Batch<'d> {
        Batch { db, batch: sled::Batch::default(), sum }
    }

    /// Writes (`None`: removes) a row with its chunks, and removes chunks that an older, longer value had.
    pub(super) fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        let stored_key = rows::row_key(key);
        let old = self.old(&stored_key)?;
        let chunks_old = match old.as_deref().map(|old| rows::decode(&stored_key, old)) {
            Some(Some(Value::Chunked(len))) => rows::chunk_count(len),
            Some(Some(Value::Plain(_))) | None => 0,
            Some(None) => return Err(bad_row(&stored_key)),
        };
        let chunks = match value {
            Some(value) if value.len() > CHUNK_BYTES => value.chunks(CHUNK_BYTES).collect(),
            Some(_) | None => Vec::new(),
        };
        for number in 0..chunks_old.max(chunks.len() as u32) {
            let chunk_key = rows::chunk_key(key, number);
            let old = if number < chunks_old { self.old(&chunk_key)? } else { None };
            let new = chunks.get(number as usize).map(|chunk| rows::plain(&chunk_key, chunk));
            self.replace(&chunk_key, old, new);
        }
        let new = value.map(|value| match chunks.is_empty() {
            true => rows::plain(&stored_key, value),
            false => rows::chunked(&stored_key, value.len()),
        });
        self.replace(&stored_key, old, new);
        Ok(())
    }

    /// Sets down how far into the journal the tables come with this batch.
    pub(super) fn set_applied(&mut self, applied: Position) -> Result<(), StoreError> {
        let old = self.old(APPLIED_KEY)?;
        let new = rows::plain(APPLIED_KEY, &applied.0.to_be_bytes());
        self.replace(APPLIED_KEY, old, Some(new));
        Ok(())
    }

    /// What sled applies, and the sum of all rows afterwards.
    pub(super) fn finish(mut self) -> (sled::Batch, Sum) {
        self.batch.insert(SUM_KEY, rows::plain(SUM_KEY, &self.sum.to_bytes()));
        (self.batch, self.sum)
    }

    fn old(&self, stored_key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guarded(|| self.db.get(stored_key)).map_err(failed)
    }

    fn replace(&mut self, stored_key: &[u8], old: Option<sled::IVec>, new: Option<Vec<u8>>) {
        if let Some(old) = old {
            self.sum.remove(stored_key, &old);
        }
        match new {
            Some(new) => {
                self.sum.add(stored_key, &new);
                self.batch.insert(stored_key, new);
            }
            None => self.batch.remove(stored_key),
        }
    }
}
