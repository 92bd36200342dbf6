//! Keys and values of the tree.
//!
//! | key | value's bytes |
//! |---|---|
//! | `r`, run, `b`, block number (4 bytes) | a [`super::block`] of the run |
//! | `r`, run, `c`, value number (4 bytes), chunk number (4 bytes) | a chunk of a value of the run that is too long for a block |
//! | `r`, run, `i`, piece number (4 bytes) | a piece of the run's [`super::run::Index`] |
//! | `m` `format` | [`FORMAT`] |
//! | `m` `manifest` | [`super::manifest::Manifest`]: which runs there are, and how far they show the journal |
//!
//! A run is its number, 8 bytes. Numbers are big-endian.
//!
//! Every stored value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the stored key and of bytes 4 to the end, little-endian |
//! | 4 | … | the bytes |
//!
//! Chunks and pieces hold [`CHUNK_BYTES`] each, the last one the rest.

use serde::{Deserialize, Serialize};

/// A longer value is kept in chunks outside its block, so that blocks stay short.
pub(super) const INLINE_BYTES_MAX: usize = 4 << 10;
/// Size of a chunk. Sled keeps up to 17 items in one page, and pages of more than 128 KiB in files of their own, which it
/// does not sync: a crash beside such a file left tables that read well when they were opened, and failed later.
pub(super) const CHUNK_BYTES: usize = 6 << 10;
/// What the format row says.
pub(super) const FORMAT: &[u8] = b"branchline tables 3";

/// Key of the format row.
pub(super) const FORMAT_KEY: &[u8] = b"mformat";
/// Key of the manifest.
pub(super) const MANIFEST_KEY: &[u8] = b"mmanifest";
const RUN: u8 = b'r';
const RUN_KEY_BYTES: usize = 9;
const BLOCK: u8 = b'b';
const CHUNK: u8 = b'c';
const INDEX: u8 = b'i';

const CRC_BYTES: usize = 4;

/// A sum over the items of a run, whatever their order. The manifest has it, so after a crash it distinguishes a run that is
/// whole from one that is not: sled brings back a part of a batch, or one page without another, where the drive lost or
/// tore a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum(u128);

impl Sum {
    /// Takes an item in.
    pub(super) fn add(&mut self, stored_key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(item_hash(stored_key, value));
    }
}

fn item_hash(stored_key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(stored_key.len() as u64).to_le_bytes()).update(stored_key).update(value);
    let mut hash = [0; 16];
    hasher.finalize_xof().fill(&mut hash);
    u128::from_le_bytes(hash)
}

/// What the stored keys of all items of a run begin with, and no other's.
pub(super) fn run_key(run: u64) -> Vec<u8> {
    [&[RUN][..], &run.to_be_bytes()].concat()
}

/// What run an item is of; `None` if it is of none.
pub(super) fn run_of(stored_key: &[u8]) -> Option<u64> {
    let number = stored_key.get(1..RUN_KEY_BYTES).filter(|_| stored_key[0] == RUN)?;
    Some(u64::from_be_bytes(number.try_into().ok()?))
}

/// Whether an item of a run is a block.
pub(super) fn is_block(stored_key: &[u8]) -> bool {
    stored_key.get(RUN_KEY_BYTES) == Some(&BLOCK)
}

/// The stored key of a block.
pub(super) fn block_key(run: u64, block: u32) -> Vec<u8> {
    [&run_key(run)[..], &[BLOCK], &block.to_be_bytes()].concat()
}

/// The stored key of a chunk of a value.
pub(super) fn chunk_key(run: u64, value: u32, chunk: u32) -> Vec<u8> {
    [&run_key(run)[..], &[CHUNK], &value.to_be_bytes(), &chunk.to_be_bytes()].concat()
}

/// The stored key of a piece of a run's index.
pub(super) fn index_key(run: u64, piece: u32) -> Vec<u8> {
    [&run_key(run)[..], &[INDEX], &piece.to_be_bytes()].concat()
}

/// In how many chunks `len` bytes are stored.
pub(super) fn chunk_count(len: u64) -> u32 {
    u32::try_from(len.div_ceil(CHUNK_BYTES as u64)).unwrap_or(u32::MAX)
}

/// The stored value for `bytes`.
pub(super) fn encode(stored_key: &[u8], bytes: &[u8]) -> Vec<u8> {
    [&crc(stored_key, bytes).to_le_bytes(), bytes].concat()
}

/// The bytes of a stored value; `None` if they are not what was stored under this key.
pub(super) fn decode<'a>(stored_key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (stored_crc, bytes) = value.split_first_chunk::<CRC_BYTES>()?;
    (u32::from_le_bytes(*stored_crc) == crc(stored_key, bytes)).then_some(bytes)
}

fn crc(stored_key: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(stored_key), bytes)
}
