//! A block: rows of a run that lie next to each other, compressed together. Sled keeps blocks rather than rows, because
//! what it costs per item (time, memory, several times the bytes on disk) does not depend on the item's length.
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
//! | 1 | kind: 0 the value; 1 the value's length (8 bytes) and number in the run (4 bytes), it lies in chunks; 2 nothing, the row was removed |
//! | K | its key |
//! | L | what is held |
//!
//! Kinds must stay stable. What keys have in common costs next to nothing once compressed.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

/// A block ends with the row that brings it to so many bytes: short enough for a page of them even where they do not
/// compress, as chunks are. Rows of 310 bytes took 109 bytes each in blocks of 4 KiB and 99 in blocks of 8; smaller ones
/// cost a reader of one row less.
pub(super) const BLOCK_BYTES: usize = 6 << 10;
/// More than any block has: one row that just fits, with the longest of keys.
const ROWS_BYTES_MAX: usize = 1 << 20;
/// The quickest of zstd's levels but for the negative ones.
const ZSTD_LEVEL: i32 = 1;

const ROW_HEADER_BYTES: usize = 9;
/// What is reckoned for a row; a block of shorter ones makes more room.
const ROW_BYTES: usize = 192;
const LONG_BYTES: usize = 12;
thread_local! {
    // Making a context takes longer than a block does. One for each thread that writes (one) or reads.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = RefCell::new(Compressor::new(ZSTD_LEVEL).ok());
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

const KIND_VALUE: u8 = 0;
const KIND_LONG: u8 = 1;
const KIND_REMOVED: u8 = 2;

/// What a block holds of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held<'b> {
    /// Its value.
    Value(&'b [u8]),
    /// Its value is a long one.
    Long(Long),
    /// Nothing: what older runs hold of the row does not count.
    Removed,
}

/// A value that lies in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Long {
    /// Its bytes.
    pub(super) len: u64,
    /// Which of its run's long values it is.
    pub(super) number: u32,
}

/// Compresses what a block holds.
pub(super) fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(plain.len()).ok().filter(|_| plain.len() <= ROWS_BYTES_MAX)?;
    let compress = |compressor: &RefCell<Option<Compressor<'_>>>| {
        compressor.borrow_mut().as_mut()?.compress(plain).ok()
    };
    Some([&len.to_le_bytes()[..], &COMPRESSOR.with(compress)?].concat())
}

/// Appends a row to what a block is to hold. `None` if it is too long for that.
pub(super) fn append(plain: &mut Vec<u8>, key: &[u8], held: Held<'_>) -> Option<()> {
    let mut long = [0; LONG_BYTES];
    let (kind, bytes) = match held {
        Held::Value(value) => (KIND_VALUE, value),
        Held::Long(Long { len, number }) => {
            long[..8].copy_from_slice(&len.to_le_bytes());
            long[8..].copy_from_slice(&number.to_le_bytes());
            (KIND_LONG, &long[..])
        }
        Held::Removed => (KIND_REMOVED, &[][..]),
    };
    for length in [key.len(), bytes.len()] {
        plain.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
    }
    plain.push(kind);
    plain.extend_from_slice(key);
    plain.extend_from_slice(bytes);
    Some(())
}

/// A block's rows, decompressed, each of them found to be one.
pub(super) struct Plain {
    bytes: Vec<u8>,
    /// Where each row begins.
    rows: Vec<u32>,
}

impl Plain {
    /// Decompresses a block; `None` if it is not one.
    pub(super) fn read(block: &[u8]) -> Option<Self> {
        let (len, frame) = block.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        if len > ROWS_BYTES_MAX {
            return None;
        }
        let decompress = |decompressor: &RefCell<Option<Decompressor<'_>>>| {
            decompressor.borrow_mut().as_mut()?.decompress(frame, len).ok()
        };
        let bytes = DECOMPRESSOR.with(decompress)?;
        let mut rows = Vec::with_capacity(len / ROW_BYTES);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rows.push((bytes.len() - rest.len()) as u32);
            take_row(&mut rest)?;
        }
        (bytes.len() == len).then_some(Self { bytes, rows })
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the rows.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What the rows take in memory.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + self.rows.capacity() * size_of::<u32>() + size_of::<Self>()
    }

    /// Row number `row`; `None` behind the last.
    pub(super) fn row(&self, row: usize) -> Option<(&[u8], Held<'_>)> {
        take_row(&mut self.bytes.get(*self.rows.get(row)? as usize..)?)
    }

    /// The rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], Held<'_>)> {
        (0..self.len()).map_while(|row| self.row(row))
    }

    /// The first row whose key is not less than `key`, or is greater; the number of rows where there is none.
    pub(super) fn first_from(&self, key: &[u8], or_equal: bool) -> usize {
        self.rows.partition_point(|at| {
            let row = self.bytes.get(*at as usize..).and_then(|mut rest| take_row(&mut rest));
            row.is_some_and(|(at, _)| if or_equal { at < key } else { at <= key })
        })
    }

    /// How many rows come before `key`.
    pub(super) fn len_before(&self, key: &[u8]) -> usize {
        match self.rows.len().checked_sub(1).and_then(|last| self.row(last)) {
            Some((last, _)) if last < key => self.len(),
            Some(_) | None => self.first_from(key, true),
        }
    }

    /// What is held of row `key`; `None` if it is not here.
    pub(super) fn find(&self, key: &[u8]) -> Option<Held<'_>> {
        let (at, held) = self.row(self.first_from(key, true))?;
        (at == key).then_some(held)
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
        KIND_LONG => {
            let (len, number) = held.split_first_chunk()?;
            let number = u32::from_le_bytes(number.try_into().ok()?);
            Some((key, Held::Long(Long { len: u64::from_le_bytes(*len), number })))
        }
        KIND_REMOVED if held.is_empty() => Some((key, Held::Removed)),
        _ => None,
    }
}
