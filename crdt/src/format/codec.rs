//! One way to turn values into bytes and back: bincode 2, standard configuration (little endian, variable-length
//! integers), every decode limited by the bytes it was given and refused if any are left over.

use bincode::config;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::{Deserialize, Serialize};

/// Bytes that are not a value of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not follow the layout.
    #[error("the bytes are not a valid {what}: {source}")]
    Layout {
        /// The kind of value that was expected.
        what: &'static str,
        /// Where the layout was broken.
        source: bincode::error::DecodeError,
    },
    /// A value was found, and bytes after it.
    #[error("{extra} bytes follow the {what}, none were expected")]
    Trailing {
        /// The kind of value that was found.
        what: &'static str,
        /// How many bytes were left over.
        extra: usize,
    },
}

/// Room for most values.
const ENCODED_BYTES: usize = 256;

/// Bytes that are being written.
struct Bytes(Vec<u8>);

impl Writer for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// The bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_sized(value, ENCODED_BYTES)
}

/// The bytes of `value`, which are about so many.
pub(crate) fn encode_sized<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    let mut bytes = Bytes(Vec::with_capacity(bytes));
    match bincode::serde::encode_into_writer(value, &mut bytes, config::standard()) {
        Ok(()) => bytes.0,
        // Encoding to memory fails only for types that serde cannot describe (sequences of unknown length).
        Err(error) => unreachable!("the type cannot be encoded: {error}"),
    }
}

/// The value that `bytes` hold, which may borrow from them. `what` names the expected kind in the error.
///
/// # Errors
/// [`DecodeError`] where the bytes are no `T`, or go on behind one: nothing of them is to be used.
pub fn decode<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, DecodeError> {
    let (value, used) = decode_start(what, bytes)?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { what, extra }),
    }
}

/// The value that `bytes` begin with, which may borrow from them, and how many bytes it takes.
///
/// A length is believed before its bytes are read, so what all lengths and numbers together may claim is limited. Each
/// claims its size in memory, at the most 8 bytes for one that is read: a sound value never passes these limits.
/// They are types, hence the steps. Nothing that another site sends reaches the last: rows of this site's own tables
/// alone are that long.
pub(crate) fn decode_start<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, usize), DecodeError> {
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    let decoded = match bytes.len() {
        0..=4_096 => claiming::<T, { 32 * KIB }>(bytes),
        4_097..=524_288 => claiming::<T, { 4 * MIB }>(bytes),
        524_289..=16_777_216 => claiming::<T, { 128 * MIB }>(bytes),
        _ => claiming::<T, { 4096 * MIB }>(bytes),
    };
    decoded.map_err(|source| DecodeError::Layout { what, source })
}

fn claiming<'a, T: Deserialize<'a>, const BYTES_MAX: usize>(
    bytes: &'a [u8],
) -> Result<(T, usize), bincode::error::DecodeError> {
    let config = config::standard().with_limit::<BYTES_MAX>();
    bincode::serde::borrow_decode_from_slice(bytes, config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_the_input_cannot_hold_is_refused() {
        let mut bytes = encode(&u64::MAX);
        bytes.extend_from_slice(b"abc");
        assert!(decode::<Vec<u8>>("list", &bytes).is_err());
        assert!(decode::<String>("name", &bytes).is_err());
    }

    #[test]
    fn a_value_of_any_size_comes_back() {
        // One byte for each number, eight in memory: the most that a value can claim.
        for len in [0, 100, 4_000, 5_000, 500_000, 600_000, 3_000_000] {
            let list = vec![7_u64; len];
            assert_eq!(decode::<Vec<u64>>("list", &encode(&list)).unwrap(), list);
        }
        let large = "a".repeat(20_000_000);
        assert_eq!(decode::<String>("text", &encode(&large)).unwrap(), large);
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&("a", 1u32));
        bytes.push(0);
        let error = decode::<(String, u32)>("pair", &bytes).unwrap_err();
        assert_eq!(error.to_string(), "1 bytes follow the pair, none were expected");
    }
}
