//! One way to turn values into bytes and back: bincode 2, standard configuration (little endian, variable-length
//! integers), every decode limited to the bytes it was given and refused if any are left over.

use bincode::config::{self, Configuration, Limit, LittleEndian, Varint};
use serde::{Serialize, de::DeserializeOwned};

/// Nothing that is decoded may claim more memory than this: the largest payload (16 MiB) with room for its frame.
const DECODED_BYTES_MAX: usize = 17 * 1024 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODED_BYTES_MAX>> =
    config::standard().with_limit::<DECODED_BYTES_MAX>();

/// Bytes that are not a value of the expected kind.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes do not follow the layout.
    #[error("the bytes are no {what}: {source}")]
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

/// The bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    match bincode::serde::encode_to_vec(value, config::standard()) {
        Ok(bytes) => bytes,
        // Encoding to memory fails only for types that serde cannot describe (sequences of unknown length).
        Err(error) => unreachable!("the type cannot be encoded: {error}"),
    }
}

/// The value that `bytes` hold. `what` names the expected kind in the error.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|source| DecodeError::Layout { what, source })?;
    match bytes.len() - used {
        0 => Ok(value),
        extra => Err(DecodeError::Trailing { what, extra }),
    }
}

/// How many items the list claims to have that `bytes` begin with: to be bounded before any is made, since an item
/// of one byte may take a hundred in memory.
pub fn list_len(what: &'static str, bytes: &[u8]) -> Result<u64, DecodeError> {
    let (count, _) = bincode::serde::decode_from_slice(bytes, CONFIG)
        .map_err(|source| DecodeError::Layout { what, source })?;
    Ok(count)
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
    fn the_length_of_a_list_is_known_before_its_items() {
        for len in [0_usize, 1, 250, 251, 70_000] {
            let list = vec![7_u8; len];
            assert_eq!(list_len("list", &encode(&list)).unwrap(), len as u64);
        }
        assert!(list_len("list", &[]).is_err());
    }

    #[test]
    fn bytes_left_over_are_refused() {
        let mut bytes = encode(&("a", 1u32));
        bytes.push(0);
        let error = decode::<(String, u32)>("pair", &bytes).unwrap_err();
        assert_eq!(error.to_string(), "1 bytes follow the pair, none were expected");
    }
}
