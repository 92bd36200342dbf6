//! A run: rows in the order of their keys, written once and never changed. It has the rows of one generation, or of
//! several older runs that were merged. What a newer run holds of a row counts, and what older ones hold does not.
//!
//! Its index has the place where each block begins, and a filter that says of most rows that are not in the run that they
//! are not, so that nothing has to be read to know a record for a new one. It stays in memory: some 70 bytes for a
//! block, and ten bits for a row.
//!
//! The index on disk, compressed by zstd and cut into pieces (numbers little-endian):
//!
//! | bytes | field |
//! |---|---|
//! | 4 | number of blocks, B |
//! | 4 | number of the filter's words, W |
//! | B * 4 | for each block, where the key of its first row ends among the keys |
//! | W * 8 | the filter's words |
//! | … | the keys of the blocks' first rows, joined |
//!
//! The filter is a Bloom filter (Burton H. Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970) over
//! the rows' XXH3 hashes: with ten bits a row and seven of them set, one row in a hundred that is not there is looked for
//! in vain.

use fastbloom::BloomFilter;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::folder::guarded;
use super::items::{self, CHUNK_BYTES, Sum};
use super::{bad_row, failed};
use branchline_crdt::store::StoreError;

const FILTER_BITS: usize = 10;
const FILTER_HASHES: u32 = 7;
/// As for blocks, but there are long stretches of like keys.
const ZSTD_LEVEL: i32 = 1;
/// The index of a run of a hundred million rows has less.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// What the manifest says of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunHead {
    /// Runs are numbered in the order in which they are begun.
    pub(super) number: u64,
    /// How many rows it has, removed ones among them.
    pub(super) rows: u64,
    /// How many rows a merge with all older runs would do away with, about: those that it removes, and those that older
    /// runs have too.
    pub(super) superseded: u64,
    /// Bytes of its items, as they are stored.
    pub(super) bytes: u64,
    /// Of all its items.
    pub(super) sum: Sum,
    /// Bytes of its index, before it is compressed.
    index_bytes: u64,
    /// Into how many pieces its index is cut.
    index_pieces: u32,
}

impl RunHead {
    /// The head of a run that has nothing yet.
    pub(super) fn new(number: u64) -> Self {
        let sum = Sum::default();
        Self { number, rows: 0, superseded: 0, bytes: 0, sum, index_bytes: 0, index_pieces: 0 }
    }
}

/// A run, and what is known of it without reading its rows.
pub(super) struct Run {
    pub(super) head: RunHead,
    index: Index,
}

impl Run {
    /// A run that was written.
    pub(super) fn new(head: RunHead, index: Index) -> Self {
        Self { head, index }
    }

    /// The run of this head.
    pub(super) fn load(db: &sled::Db, head: RunHead) -> Result<Self, StoreError> {
        let mut packed = Vec::new();
        for piece in 0..head.index_pieces {
            let stored_key = items::index_key(head.number, piece);
            let stored = guarded(|| db.get(&stored_key)).map_err(failed)?;
            let piece = stored.as_deref().and_then(|stored| items::decode(&stored_key, stored));
            packed.extend_from_slice(piece.ok_or_else(|| bad_row(&stored_key))?);
        }
        let index = Index::unpack(&packed, head.index_bytes);
        Ok(Self { head, index: index.ok_or_else(|| bad_row(&items::run_key(head.number)))? })
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> u32 {
        self.index.starts.len()
    }

    /// The key of the first row of a block.
    pub(super) fn start(&self, block: u32) -> Option<&[u8]> {
        self.index.starts.get(block)
    }

    /// The block where row `key` is, if it is anywhere. `None`: all rows come behind it.
    pub(super) fn block_of(&self, key: &[u8]) -> Option<u32> {
        self.index.starts.last_until(key)
    }

    /// Whether the run may have the row of this [`hash`].
    pub(super) fn may_have(&self, hash: u64) -> bool {
        self.index.filter.contains_hash(hash)
    }
}

/// What filters know a row by.
pub(super) fn hash(key: &[u8]) -> u64 {
    XxHash3_64::oneshot(key)
}

/// Where the blocks of a run begin, and a filter of its rows.
pub(super) struct Index {
    starts: Starts,
    filter: BloomFilter,
}

impl Index {
    /// For a run of at most so many rows.
    pub(super) fn new(rows_max: usize) -> Self {
        let words = (rows_max * FILTER_BITS).div_ceil(64).max(1);
        Self { starts: Starts::default(), filter: filter_of(vec![0; words]) }
    }

    /// Takes up the next block, by its first row. `None` if there is no room for it.
    pub(super) fn add_block(&mut self, first: &[u8]) -> Option<u32> {
        self.starts.push(first)
    }

    /// Takes up a row, by its [`hash`].
    pub(super) fn add_row(&mut self, hash: u64) {
        self.filter.insert_hash(hash);
    }

    /// The pieces to be stored; `head` says of them what is needed to read them.
    pub(super) fn pack(&self, head: &mut RunHead) -> Option<Vec<Vec<u8>>> {
        let words = self.filter.as_slice();
        let Starts { keys, ends } = &self.starts;
        let mut bytes = Vec::with_capacity(8 + ends.len() * 4 + words.len() * 8 + keys.len());
        for count in [ends.len(), words.len()] {
            bytes.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
        }
        bytes.extend(ends.iter().flat_map(|end| end.to_le_bytes()));
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(keys);
        head.index_bytes = bytes.len() as u64;
        let packed = zstd::bulk::compress(&bytes, ZSTD_LEVEL).ok()?;
        let pieces: Vec<_> = packed.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
        head.index_pieces = u32::try_from(pieces.len()).ok()?;
        Some(pieces)
    }

    fn unpack(packed: &[u8], bytes: u64) -> Option<Self> {
        let capacity = usize::try_from(bytes).ok().filter(|_| bytes <= INDEX_BYTES_MAX)?;
        let bytes = zstd::bulk::decompress(packed, capacity).ok()?;
        let (blocks, rest) = bytes.split_first_chunk()?;
        let (words, rest) = rest.split_first_chunk()?;
        let (blocks, words) =
            (u32::from_le_bytes(*blocks) as usize, u32::from_le_bytes(*words) as usize);
        let (ends, rest) = rest.split_at_checked(blocks.checked_mul(4)?)?;
        let (words, keys) = rest.split_at_checked(words.checked_mul(8)?)?;
        let ends: Vec<_> = ends.as_chunks().0.iter().map(|end| u32::from_le_bytes(*end)).collect();
        let words: Vec<_> =
            words.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let is_sound =
            ends.is_sorted() && ends.last().is_none_or(|end| *end as usize == keys.len());
        let starts = Starts { keys: keys.to_vec(), ends };
        (is_sound && !words.is_empty()).then(|| Self { starts, filter: filter_of(words) })
    }
}

fn filter_of(words: Vec<u64>) -> BloomFilter {
    BloomFilter::from_vec(words).hashes(FILTER_HASHES)
}

/// Keys in order, in one piece of memory.
#[derive(Default)]
struct Starts {
    keys: Vec<u8>,
    ends: Vec<u32>,
}

impl Starts {
    fn push(&mut self, key: &[u8]) -> Option<u32> {
        let number = self.len();
        let end = u32::try_from(self.keys.len() + key.len()).ok()?;
        self.keys.extend_from_slice(key);
        self.ends.push(end);
        Some(number)
    }

    fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    fn get(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let from = if number == 0 { 0 } else { self.ends[number - 1] };
        self.keys.get(from as usize..*self.ends.get(number)? as usize)
    }

    /// The last key that is not greater than this one.
    fn last_until(&self, key: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(|start| start <= key) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        low.checked_sub(1)
    }
}
