//! Writing a run: rows come in order, and what sled is to store goes out in batches.

use std::sync::Arc;

use super::block::{self, BLOCK_BYTES, Held, Long, Plain};
use super::failed;
use super::items::{self, CHUNK_BYTES, INLINE_BYTES_MAX};
use super::run::{self, Index, Run, RunHead};
use branchline_crdt::store::StoreError;

/// A run that is being written.
pub(super) struct RunWriter {
    head: RunHead,
    /// The runs that are older.
    older: Vec<Arc<Run>>,
    index: Index,
    /// Rows of the block that is not full, and the key of the first of them.
    block: Vec<u8>,
    first: Vec<u8>,
    long_values: u32,
    batch: sled::Batch,
}

impl RunWriter {
    /// Begins run `number`, which will have at most so many rows and is newer than runs `older`.
    pub(super) fn new(number: u64, rows_max: usize, older: &[Arc<Run>]) -> Self {
        Self {
            head: RunHead::new(number),
            older: older.to_vec(),
            index: Index::new(rows_max),
            block: Vec::with_capacity(2 * BLOCK_BYTES),
            first: Vec::new(),
            long_values: 0,
            batch: sled::Batch::default(),
        }
    }

    /// Takes up the next row; no value means that it was removed.
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        let held = match value {
            None => Held::Removed,
            Some(value) if value.len() > INLINE_BYTES_MAX => Held::Long(self.put_long(value)),
            Some(value) => Held::Value(value),
        };
        if self.block.is_empty() {
            self.first = key.to_vec();
        }
        block::append(&mut self.block, key, held).ok_or_else(too_long)?;
        self.count(key, held);
        if self.block.len() >= BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    /// Takes up all rows of a block of another run, which has no long values, as they are stored there.
    pub(super) fn copy_block(&mut self, plain: &Plain, stored: &[u8]) -> Result<(), StoreError> {
        self.end_block()?;
        for (key, held) in plain.iter() {
            self.count(key, held);
        }
        let first = plain.row(0).map_or(&[][..], |(key, _)| key);
        self.put_block(first, stored)
    }

    /// What was written since the last time.
    pub(super) fn take_batch(&mut self) -> sled::Batch {
        std::mem::take(&mut self.batch)
    }

    /// Ends the run; returns what is still to be stored of it.
    pub(super) fn finish(mut self) -> Result<(sled::Batch, Run), StoreError> {
        self.end_block()?;
        let pieces = self.index.pack(&mut self.head).ok_or_else(too_long)?;
        for (number, piece) in (0..).zip(&pieces) {
            self.put(items::index_key(self.head.number, number), piece);
        }
        Ok((self.batch, Run::new(self.head, self.index)))
    }

    fn count(&mut self, key: &[u8], held: Held<'_>) {
        let hash = run::hash(key);
        self.index.add_row(hash);
        self.head.rows += 1;
        self.head.superseded += u64::from(held == Held::Removed);
        self.head.superseded += u64::from(self.older.iter().any(|run| run.may_have(hash)));
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = block::compress(&self.block).ok_or_else(too_long)?;
        self.block.clear();
        let first = std::mem::take(&mut self.first);
        self.put_block(&first, &packed)
    }

    fn put_block(&mut self, first: &[u8], packed: &[u8]) -> Result<(), StoreError> {
        let number = self.index.add_block(first).ok_or_else(too_long)?;
        self.put(items::block_key(self.head.number, number), packed);
        Ok(())
    }

    fn put_long(&mut self, value: &[u8]) -> Long {
        let number = self.long_values;
        self.long_values += 1;
        for (chunk, bytes) in (0..).zip(value.chunks(CHUNK_BYTES)) {
            self.put(items::chunk_key(self.head.number, number, chunk), bytes);
        }
        Long { len: value.len() as u64, number }
    }

    fn put(&mut self, stored_key: Vec<u8>, bytes: &[u8]) {
        let value = items::encode(&stored_key, bytes);
        self.head.sum.add(&stored_key, &value);
        self.head.bytes += value.len() as u64;
        self.batch.insert(stored_key, value);
    }
}

fn too_long() -> StoreError {
    failed("a run is too long")
}
