//! A block: rows that lie next to each other, compressed together. Sled keeps blocks rather than rows, because what it
//! costs per item (time, memory, several times the bytes on disk) does not depend on the item's length.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | length of the rows before compression, little-endian |
//! | 4 | … | the rows, ascending by key, as one zstd frame |
//!
//! Each row (numbers of 4 bytes, little-endian):
//!
//! | bytes | field |
//! |---|---|
//! | 4 | length of its key, K |
//! | 4 | length of what is held, L |
//! | 1 | kind: 0 the value; 1 the value's length (8 bytes), it lies in chunks |
//! | K | its key |
//! | L | what is held |
//!
//! Kinds must stay stable. What keys have in common costs next to nothing once compressed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::iter;

use zstd::bulk::{Compressor, Decompressor};

/// A block that would be longer is split, into blocks of about three quarters of it. Rows of 310 bytes took 109 bytes
/// each in blocks of 4 KiB and 99 in blocks of 8; smaller ones cost a reader of one row and a writer of scattered rows
/// less.
pub(super) const BLOCK_BYTES_MAX: usize = 8 << 10;
/// Length of each block that a split makes, about.
const SPLIT_BYTES: usize = BLOCK_BYTES_MAX / 4 * 3;
/// More than any block has: one row that just fits, with the longest of keys.
const ROWS_BYTES_MAX: usize = 1 << 20;
/// The quickest of zstd's levels but for the negative ones.
const ZSTD_LEVEL: i32 = 1;

const ROW_HEADER_BYTES: usize = 9;
thread_local! {
    // Making a context takes longer than a block does. One for each thread that writes (one) or reads.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(ZSTD_LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

const KIND_VALUE: u8 = 0;
const KIND_CHUNKED: u8 = 1;

/// What a block holds of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held<'b> {
    /// Its value.
    Value(&'b [u8]),
    /// Its value has so many bytes, in chunks.
    Chunked(u64),
}

/// Rows by key, as they are put together for a block.
pub(super) type Rows<'b> = BTreeMap<&'b [u8], Held<'b>>;

impl Held<'_> {
    fn bytes(&self) -> usize {
        match self {
            Held::Value(value) => value.len(),
            Held::Chunked(_) => 8,
        }
    }
}

/// Cuts rows into blocks of about equal length; none for no rows.
pub(super) fn split<'b>(rows: Rows<'b>) -> Vec<Vec<(&'b [u8], Held<'b>)>> {
    let bytes = |key: &[u8], held: &Held<'_>| ROW_HEADER_BYTES + key.len() + held.bytes();
    let total: usize = rows.iter().map(|(key, held)| bytes(key, held)).sum();
    let blocks = if total <= BLOCK_BYTES_MAX { 1 } else { total.div_ceil(SPLIT_BYTES) };
    let each = total.div_ceil(blocks);
    let mut pieces: Vec<Vec<(&[u8], Held<'_>)>> = Vec::with_capacity(blocks);
    let mut filled = each;
    for (key, held) in rows {
        if filled >= each {
            pieces.push(Vec::new());
            filled = 0;
        }
        filled += bytes(key, &held);
        if let Some(piece) = pieces.last_mut() {
            piece.push((key, held));
        }
    }
    pieces
}

/// The bytes of a block. `None` if the rows are too long for one.
pub(super) fn encode(rows: &[(&[u8], Held<'_>)]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(BLOCK_BYTES_MAX);
    for (key, held) in rows {
        for length in [key.len(), held.bytes()] {
            plain.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        }
        match held {
            Held::Value(value) => {
                plain.push(KIND_VALUE);
                plain.extend_from_slice(key);
                plain.extend_from_slice(value);
            }
            Held::Chunked(len) => {
                plain.push(KIND_CHUNKED);
                plain.extend_from_slice(key);
                plain.extend_from_slice(&len.to_le_bytes());
            }
        }
    }
    if plain.len() > ROWS_BYTES_MAX {
        return None;
    }
    let mut block = (plain.len() as u32).to_le_bytes().to_vec();
    let compress = |compressor: &RefCell<Option<Compressor<'_>>>| {
        compressor.borrow_mut().as_mut()?.compress(&plain).ok()
    };
    block.extend(COMPRESSOR.with(compress)?);
    Some(block)
}

/// A block, or a row of it, that is not one.
#[derive(Debug)]
pub(super) struct Garbled;

/// A block's rows, decompressed.
pub(super) struct Plain(Vec<u8>);

impl Plain {
    /// Decompresses a block; `None` if it is not one.
    pub(super) fn read(block: &[u8]) -> Option<Plain> {
        let (len, frame) = block.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        if len > ROWS_BYTES_MAX {
            return None;
        }
        let decompress = |decompressor: &RefCell<Option<Decompressor<'_>>>| {
            decompressor.borrow_mut().as_mut()?.decompress(frame, len).ok()
        };
        let plain = DECOMPRESSOR.with(decompress)?;
        (plain.len() == len).then_some(Plain(plain))
    }

    /// A block without rows.
    pub(super) fn empty() -> Plain {
        Plain(Vec::new())
    }

    /// The rows in order; an error in place of the first one that is garbled.
    pub(super) fn iter(&self) -> impl Iterator<Item = Result<(&[u8], Held<'_>), Garbled>> {
        let mut rest = &self.0[..];
        iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let row = take_row(&mut rest).ok_or(Garbled);
            if row.is_err() {
                rest = &[];
            }
            Some(row)
        })
    }

    /// All rows.
    pub(super) fn rows(&self) -> Result<Rows<'_>, Garbled> {
        self.iter().collect()
    }
}

fn take_row<'b>(rest: &mut &'b [u8]) -> Option<(&'b [u8], Held<'b>)> {
    let (header, after) = rest.split_first_chunk::<ROW_HEADER_BYTES>()?;
    let [k0, k1, k2, k3, h0, h1, h2, h3, kind] = *header;
    let (key, after) = after.split_at_checked(u32::from_le_bytes([k0, k1, k2, k3]) as usize)?;
    let (held, after) = after.split_at_checked(u32::from_le_bytes([h0, h1, h2, h3]) as usize)?;
    *rest = after;
    match kind {
        KIND_VALUE => Some((key, Held::Value(held))),
        KIND_CHUNKED => Some((key, Held::Chunked(u64::from_le_bytes(held.try_into().ok()?)))),
        _ => None,
    }
}
