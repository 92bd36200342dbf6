//! What one generation changes in sled: blocks, chunks, the applied position, and the sum over all of them.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::block::{self, Held};
use super::folder::guarded;
use super::memory::Generation;
use super::read::Block;
use super::rows::{self, APPLIED_KEY, CHUNK_BYTES, INLINE_BYTES_MAX, SUM_KEY, Sum};
use super::{bad_row, failed};
use branchline_crdt::store::{Position, StoreError};

/// Key and new value of a row; `None` removes it.
type Change<'g> = (&'g Vec<u8>, &'g Option<Vec<u8>>);

/// Changes that are to be applied together.
pub(super) struct Batch<'d> {
    db: &'d sled::Db,
    batch: sled::Batch,
    sum: Sum,
}

impl<'d> Batch<'d> {
    /// What `generation` changes in a store whose items make `sum`; and the sum afterwards.
    pub(super) fn of(
        generation: &Generation,
        db: &'d sled::Db,
        sum: Sum,
    ) -> Result<(sled::Batch, Sum), StoreError> {
        let mut batch = Batch { db, batch: sled::Batch::default(), sum };
        let mut changes = generation.rows.iter().peekable();
        while let Some((key, _)) = changes.peek() {
            let block = Block::of(db, key)?;
            batch.change_block(block, &mut changes)?;
        }
        if let Some(applied) = generation.applied {
            batch.set_applied(applied)?;
        }
        let Batch { mut batch, sum, .. } = batch;
        batch.insert(SUM_KEY, rows::encode(SUM_KEY, &sum.to_bytes()));
        Ok((batch, sum))
    }

    /// Takes from `changes` those to rows of `block`, and stores the block or what it is split into.
    fn change_block<'g>(
        &mut self,
        block: Block,
        changes: &mut Peekable<impl Iterator<Item = Change<'g>>>,
    ) -> Result<(), StoreError> {
        let end = block.next(self.db)?.map(|next| next.key);
        let end = end.as_deref().and_then(rows::block_start);
        let plain = block.plain()?;
        let mut held = plain.rows().map_err(|_| bad_row(&block.key))?;
        while let Some((key, value)) =
            changes.next_if(|(key, _)| end.is_none_or(|end| key.as_slice() < end))
        {
            let old = match value {
                Some(value) if value.len() > INLINE_BYTES_MAX => {
                    held.insert(key, Held::Chunked(value.len() as u64))
                }
                Some(value) => held.insert(key, Held::Value(value)),
                None => held.remove(&key[..]),
            };
            self.change_chunks(key, old, value.as_deref())?;
        }
        let mut blocks = BTreeMap::from([(block.key.clone(), None)]);
        for (number, piece) in block::split(held).iter().enumerate() {
            let stored_key = match (number, piece.first()) {
                (0, _) | (_, None) => block.key.clone(),
                (_, Some((first, _))) => rows::block_key(first),
            };
            let bytes = block::encode(piece).ok_or_else(|| {
                failed(format_args!("the block {} is too long", stored_key.escape_ascii()))
            })?;
            blocks.insert(stored_key, Some(bytes));
        }
        let mut old = block.stored;
        for (stored_key, bytes) in blocks {
            // The first is the block as it was; the others are new.
            let new = bytes.map(|bytes| rows::encode(&stored_key, &bytes));
            self.replace(&stored_key, old.take(), new);
        }
        Ok(())
    }

    /// Writes the chunks of a long value, and removes those that an older, longer one had.
    fn change_chunks(
        &mut self,
        key: &[u8],
        old: Option<Held<'_>>,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let chunks_old = match old {
            Some(Held::Chunked(len)) => rows::chunk_count(len),
            Some(Held::Value(_)) | None => 0,
        };
        let chunks = match value {
            Some(value) if value.len() > INLINE_BYTES_MAX => value.chunks(CHUNK_BYTES).collect(),
            Some(_) | None => Vec::new(),
        };
        for number in 0..chunks_old.max(chunks.len() as u32) {
            let chunk_key = rows::chunk_key(key, number);
            let old = if number < chunks_old { self.old(&chunk_key)? } else { None };
            let new = chunks.get(number as usize).map(|chunk| rows::encode(&chunk_key, chunk));
            self.replace(&chunk_key, old, new);
        }
        Ok(())
    }

    /// Sets down how far into the journal the tables come with this batch.
    fn set_applied(&mut self, applied: Position) -> Result<(), StoreError> {
        let old = self.old(APPLIED_KEY)?;
        let new = rows::encode(APPLIED_KEY, &applied.0.to_be_bytes());
        self.replace(APPLIED_KEY, old, Some(new));
        Ok(())
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
