//! Keys and values of the tree.
//!
//! | key | value's bytes |
//! |---|---|
//! | `b`, K | a [`super::block`]: the rows from key K up to the K of the next block |
//! | `c`, length of K (4 bytes, big-endian), K, chunk number (4 bytes, big-endian) | a chunk of the value of row K |
//! | `m` `applied` | position up to which the tables show the journal (8 bytes, big-endian) |
//! | `m` `format` | [`FORMAT`] |
//! | `m` `sum` | [`Sum`] of all other items but the format (16 bytes, little-endian) |
//!
//! Every stored value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the stored key and of bytes 4 to the end, little-endian |
//! | 4 | … | the bytes |
//!
//! Chunks hold [`CHUNK_BYTES`] each, the last one the rest.

/// A longer value is kept in chunks outside its block, so that blocks stay short.
pub(super) const INLINE_BYTES_MAX: usize = 8 << 10;
/// Size of a chunk: with its checksum, values in sled stay under 64 KiB, far from the size at which sled moves items to
/// files that it does not sync.
pub(super) const CHUNK_BYTES: usize = 60 << 10;
/// What the format row says.
pub(super) const FORMAT: &[u8] = b"branchline tables 2";

/// Key of the format row.
pub(super) const FORMAT_KEY: &[u8] = b"mformat";
/// Key of the row that says how far the tables have come.
pub(super) const APPLIED_KEY: &[u8] = b"mapplied";
/// Key of the row with the [`Sum`].
pub(super) const SUM_KEY: &[u8] = b"msum";
/// What the stored keys of all blocks are less than, and no other's is.
pub(super) const BLOCKS_END: &[u8] = b"c";
const BLOCK: u8 = b'b';
const CHUNK: u8 = b'c';

const CRC_BYTES: usize = 4;

/// A sum over stored items, whatever their order. It changes with every batch and is stored with it, so after a crash
/// it tells rows of one moment from a mixture: sled brings back a part of a batch, or one page without another, where
/// the drive lost or tore a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u128);

impl Sum {
    /// Whether the sum covers the item of this stored key.
    pub(super) fn covers(stored_key: &[u8]) -> bool {
        stored_key != FORMAT_KEY && stored_key != SUM_KEY
    }

    /// Takes an item in.
    pub(super) fn add(&mut self, stored_key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(item_hash(stored_key, value));
    }

    /// Takes an item out.
    pub(super) fn remove(&mut self, stored_key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(item_hash(stored_key, value));
    }

    /// The bytes of the sum's row.
    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    /// Reads [`Sum::to_bytes`].
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Sum> {
        Some(Sum(u128::from_le_bytes(bytes.try_into().ok()?)))
    }
}

fn item_hash(stored_key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(stored_key.len() as u64).to_le_bytes()).update(stored_key).update(value);
    let mut hash = [0; 16];
    hasher.finalize_xof().fill(&mut hash);
    u128::from_le_bytes(hash)
}

/// The stored key of the block that begins at row `key`.
pub(super) fn block_key(key: &[u8]) -> Vec<u8> {
    [&[BLOCK], key].concat()
}

/// The first row's key that the block under this stored key may have; `None` if it is no block.
pub(super) fn block_start(stored_key: &[u8]) -> Option<&[u8]> {
    stored_key.strip_prefix(&[BLOCK])
}

/// The stored key of a chunk of row `key`.
pub(super) fn chunk_key(key: &[u8], chunk: u32) -> Vec<u8> {
    // Keys are a few hundred bytes long; one of 4 GiB does not fit into sled.
    let len = (key.len() as u32).to_be_bytes();
    [&[CHUNK], &len[..], key, &chunk.to_be_bytes()].concat()
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
