//! Compression of what is stored or sent as one piece, with output that is capped by counting bytes.

use std::io::Read;

/// One byte before the content: how it is packed. Stored and signed, so these numbers never change.
const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// Level 1 packs a hundred changes to a quarter at 0.3 us each; higher levels gain little on such input.
const LEVEL: i32 = 1;

/// What is smaller stays as it is. A change or two hardly shrink alone, and shrink well with the others of an answer:
/// entries of three records each travel in 69 bytes a record, where packed one by one they take 156.
const PACKED_BYTES_MIN: usize = 1024;

/// The window that a frame may ask for: 2^23 bytes, more than level 1 ever uses and a bound on memory.
const WINDOW_LOG_MAX: u32 = 23;

/// Why a packed piece cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// There is not even the leading byte.
    #[error("a packed piece is empty")]
    Empty,
    /// The leading byte is not a known way of packing.
    #[error("packing {found} is unknown, this program knows {RAW} (raw) and {ZSTD} (zstd)")]
    Unknown {
        /// The leading byte.
        found: u8,
    },
    /// The content is larger than allowed.
    #[error("the unpacked content exceeds {bytes_max} bytes")]
    TooLarge {
        /// The cap that was given.
        bytes_max: usize,
    },
    /// zstd refuses it.
    #[error("the content is not a zstd frame: {source}")]
    Zstd {
        /// What zstd said.
        source: std::io::Error,
    },
}

/// Packs `raw`, with zstd where it is not small and that makes it smaller.
pub fn pack(raw: &[u8]) -> Vec<u8> {
    let mut packed = vec![ZSTD];
    if raw.len() >= PACKED_BYTES_MIN
        && let Ok(compressed) = zstd::bulk::compress(raw, LEVEL)
        && compressed.len() < raw.len()
    {
        packed.extend_from_slice(&compressed);
        return packed;
    }
    packed[0] = RAW;
    packed.extend_from_slice(raw);
    packed
}

/// Whether a packed piece is compressed, so that nothing is gained by compressing it with others.
pub(crate) fn is_compressed(packed: &[u8]) -> bool {
    packed.first() != Some(&RAW)
}

/// The inverse of [`pack`]; never yields, nor makes, more than `bytes_max` bytes.
///
/// # Errors
/// [`UnpackError`] where the bytes are not packed in a known way, are damaged, or unpack to more than `bytes_max`.
pub fn unpack(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let (&kind, content) = packed.split_first().ok_or(UnpackError::Empty)?;
    match kind {
        RAW if content.len() > bytes_max => Err(UnpackError::TooLarge { bytes_max }),
        RAW => Ok(content.to_vec()),
        ZSTD => unpack_zstd(content, bytes_max),
        found => Err(UnpackError::Unknown { found }),
    }
}

fn unpack_zstd(content: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let zstd_error = |source| UnpackError::Zstd { source };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(content).map_err(zstd_error)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(zstd_error)?;
    let limit = bytes_max as u64 + 1;
    // What the frame says of its length is believed no further than the cap.
    let stated = zstd::zstd_safe::get_frame_content_size(content).ok().flatten().unwrap_or(0);
    let mut raw = Vec::with_capacity(stated.min(limit) as usize);
    decoder.take(limit).read_to_end(&mut raw).map_err(zstd_error)?;
    if raw.len() > bytes_max {
        return Err(UnpackError::TooLarge { bytes_max });
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        for raw in [vec![], vec![1], b"sale ".repeat(1000)] {
            assert_eq!(unpack(&pack(&raw), raw.len()).unwrap(), raw);
        }
        assert!(pack(&b"sale ".repeat(1000)).len() < 100);
    }

    #[test]
    fn a_bomb_stops_at_the_cap() {
        let bomb = pack(&vec![0; 50_000_000]);
        assert!(bomb.len() < 10_000);
        assert!(matches!(unpack(&bomb, 1_000_000), Err(UnpackError::TooLarge { .. })));
        assert!(matches!(unpack(&[RAW, 1, 2, 3], 2), Err(UnpackError::TooLarge { .. })));
    }

    #[test]
    fn garbage_is_named() {
        assert!(matches!(unpack(&[], 9), Err(UnpackError::Empty)));
        assert_eq!(
            unpack(&[9, 1], 9).unwrap_err().to_string(),
            "packing 9 is unknown, this program knows 0 (raw) and 1 (zstd)"
        );
        assert!(matches!(unpack(&[ZSTD, 1, 2, 3], 9), Err(UnpackError::Zstd { .. })));
    }
}
