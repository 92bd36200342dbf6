//! Keys and values of the tree.
//!
//! | key | value's bytes |
//! |---|---|
//! | `c`, length of K (4 bytes, big-endian), K, chunk number (4 bytes, big-endian) | a chunk of the value of row K |
//! | `m` `applied` | position up to which the tables show the journal (8 bytes, big-endian) |
//! | `m` `format` | [`FORMAT`] |
//! | `m` `sum` | [`Sum`] of all other rows but the format's (16 bytes, little-endian) |
//! | `r`, K | the value of row K, or (kind 1) what its chunks make up |
//!
//! Every stored value:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the stored key and of bytes 4 to the end, little-endian |
//! | 4 | 1 | kind: 0 plain; 1 chunked |
//! | 5 | … | plain: the bytes; chunked: their length in all (8 bytes, little-endian) |
//!
//! Chunks hold [`CHUNK_BYTES`] each, the last one the rest. Kinds must stay stable.

/// Largest value in one piece, and size of a chunk: with its header, values in sled stay under
/// 64 KiB, far from the size at which sled moves items to files that it does not sync.
pub(super) const CHUNK_BYTES: usize = 60 << 10;
/// What the format row says.
pub(super) const FORMAT: &[u8] = b"branchline tables 1";

/// Key of the format row.
pub(super) const FORMAT_KEY: &[u8] = b"mformat";
/// Key of the row that says how far the tables have come.
pub(super) const APPLIED_KEY: &[u8] = b"mapplied";
/// Key of the row with the [`Sum`].
pub(super) const SUM_KEY: &[u8] = b"msum";
const ROW: u8 = b'r';
const CHUNK: u8 = b'c';

const KIND_PLAIN: u8 = 0;
const KIND_CHUNKED: u8 = 1;
const CRC_BYTES: usize = 4;

/// What a stored value holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Plain(&'a [u8]),
    /// So many bytes, in chunks.
    Chunked(u64),
}

/// A sum over stored rows, whatever their order. It changes with every batch and is stored with it, so after a crash
/// it tells rows of one moment from a mixture: sled brings back a part of a batch, or one page without another, where
/// the drive lost or tore a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum(u128);

impl Sum {
    /// Whether the sum covers the row of this stored key.
    pub(super) fn covers(stored_key: &[u8]) -> bool {
        stored_key != FORMAT_KEY && stored_key != SUM_KEY
    }

    /// Takes a row in.
    pub(super) fn add(&mut self, stored_key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(row_hash(stored_key, value));
    }

    /// Takes a row out.
    pub(super) fn remove(&mut self, stored_key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(row_hash(stored_key, value));
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

fn row_hash(stored_key: &[u8], value: &[u8]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(stored_key.len() as u64).to_le_bytes()).update(stored_key).update(value);
    let mut hash = [0; 16];
    hasher.finalize_xof().fill(&mut hash);
    u128::from_le_bytes(hash)
}

/// The stored key of row `key`.
pub(super) fn row_key(key: &[u8]) -> Vec<u8> {
    [&[ROW], key].concat()
}

/// The row whose stored key this is; `None` for a chunk or a meta row.
pub(super) fn row_of(stored_key: &[u8]) -> Option<&[u8]> {
    stored_key.strip_prefix(&[ROW])
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

/// The stored value for plain bytes.
pub(super) fn plain(stored_key: &[u8], bytes: &[u8]) -> Vec<u8> {
    encode(stored_key, KIND_PLAIN, bytes)
}

/// The stored value of a row whose `len` bytes are in chunks.
pub(super) fn chunked(stored_key: &[u8], len: usize) -> Vec<u8> {
    encode(stored_key, KIND_CHUNKED, &(len as u64).to_le_bytes())
}

fn encode(stored_key: &[u8], kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CRC_BYTES + 1 + bytes.len());
    value.extend_from_slice(&[0; CRC_BYTES]);
    value.push(kind);
    value.extend_from_slice(bytes);
    let crc = crc(stored_key, &value[CRC_BYTES..]);
    value[..CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
    value
}

/// Reads a stored value; `None` if it is not what was stored under this key.
pub(super) fn decode<'a>(stored_key: &[u8], value: &'a [u8]) -> Option<Value<'a>> {
    let (stored_crc, rest) = value.split_at_checked(CRC_BYTES)?;
    if u32::from_le_bytes(stored_crc.try_into().ok()?) != crc(stored_key, rest) {
        return None;
    }
    match rest.split_first()? {
        (&KIND_PLAIN, bytes) => Some(Value::Plain(bytes)),
        (&KIND_CHUNKED, len) => Some(Value::Chunked(u64::from_le_bytes(len.try_into().ok()?))),
        (_, _) => None,
    }
}

fn crc(stored_key: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(stored_key), rest)
}
