//! Bytes of the journal: segment headers and frames. All integers are little-endian.
//!
//! Segment file `journal/<number, 8 hex digits>.seg`:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `BLJRNL\r\n` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | segment number |
//! | 16 | 4 | where the previous segment ended (0 for the first) |
//! | 20 | 4 | CRC32C of bytes 0 to 20 |
//! | 24 | … | frames, one after the other |
//!
//! Behind the newest segment's last frame there may be room ([`super::room`]): the 16 bytes `room to write in` over and
//! over, so that the byte at an offset of the file is that of the offset's remainder.
//!
//! The previous segment's end decides what counts in it: a segment is given up when the drive
//! fails to sync it, and what then lies beyond its last durable byte was never acknowledged.
//!
//! Frame:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | marker `b7 66 72 a9` |
//! | 4 | 4 | length L of the frame's bytes, at most 8 MiB |
//! | 8 | 4 | distance back to the first frame of the same commit, 0 for that frame itself |
//! | 12 | 4 | CRC32C of the frame's bytes |
//! | 16 | 4 | CRC32C of the frame's [`Position`] (8 bytes) and of bytes 0 to 16 |
//! | 20 | L | the frame's bytes |
//!
//! The header has a CRC of its own, so that damage within the bytes does not make the length
//! doubtful. It covers the position, so that a frame is valid in its own place only: bytes that
//! look like a frame inside another one, or a block that the drive wrote to the wrong place, are
//! never taken for it.

use branchline_crdt::store::Position;

/// Length of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: u32 = 24;
/// Length of a frame's header.
pub(super) const FRAME_HEADER_BYTES: u32 = 20;
/// Greatest length of one frame: far above the greatest entry, and small enough to hold in memory.
pub const FRAME_BYTES_MAX: usize = 8 << 20;
/// First bytes of every frame: what a search for the next frame looks for.
pub(super) const MARKER: [u8; 4] = [0xb7, b'f', b'r', 0xa9];

const SEGMENT_MAGIC: [u8; 8] = *b"BLJRNL\r\n";
/// Format version that this code reads and writes.
pub(super) const SEGMENT_VERSION: u32 = 1;

/// The place of byte `offset` of segment `number`.
pub(super) fn position(number: u32, offset: u32) -> Position {
    Position(u64::from(number) << 32 | u64::from(offset))
}

/// The segment that a position lies in.
pub(super) fn segment_of(at: Position) -> u32 {
    (at.0 >> 32) as u32
}

/// A position's byte offset within its segment.
pub(super) fn offset_of(at: Position) -> u32 {
    (at.0 & u64::from(u32::MAX)) as u32
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset + 4)?.try_into().ok()?))
}

/// What a segment's header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// Sound; `previous_end` is where the segment before it ends.
    Sound { previous_end: u32 },
    /// Sound, but of a format that this code does not know.
    Version(u32),
    /// Too short, garbled or another segment's.
    Bad,
}

impl SegmentHeader {
    /// The header of segment `number`.
    pub(super) fn encode(number: u32, previous_end: u32) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&number.to_le_bytes());
        bytes[16..20].copy_from_slice(&previous_end.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[0..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header of segment `number`.
    pub(super) fn decode(number: u32, bytes: &[u8]) -> Self {
        let fields = (u32_at(bytes, 8), u32_at(bytes, 12), u32_at(bytes, 16), u32_at(bytes, 20));
        let (Some(version), Some(found), Some(previous_end), Some(crc)) = fields else {
            return Self::Bad;
        };
        if bytes[0..8] != SEGMENT_MAGIC || crc32c::crc32c(&bytes[0..20]) != crc {
            Self::Bad
        } else if version != SEGMENT_VERSION {
            Self::Version(version)
        } else if found != number {
            Self::Bad
        } else {
            Self::Sound { previous_end }
        }
    }
}

/// A sound frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Length of the frame's bytes.
    pub(super) len: u32,
    /// Distance back to the first frame of the same commit.
    pub(super) commit_distance: u32,
    /// CRC32C of the frame's bytes.
    crc: u32,
}

impl FrameHeader {
    /// Reads the header of a frame at `at`; `None` unless it is whole, sound and in its place.
    pub(super) fn decode(at: Position, bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER_BYTES as usize)?;
        if header[0..4] != MARKER || u32_at(header, 16)? != header_crc(at, header) {
            return None;
        }
        let len = u32_at(header, 4)?;
        let commit_distance = u32_at(header, 8)?;
        let sane = len as usize <= FRAME_BYTES_MAX && commit_distance <= offset_of(at);
        sane.then_some(Self { len, commit_distance, crc: u32_at(header, 12)? })
    }

    /// True if `bytes` are the ones that this header was written for.
    pub(super) fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && crc32c::crc32c(bytes) == self.crc
    }
}

/// Appends a frame (header and bytes) that will lie at `at` to `buffer`.
pub(super) fn encode_frame(buffer: &mut Vec<u8>, at: Position, commit_distance: u32, frame: &[u8]) {
    let mut header = [0; FRAME_HEADER_BYTES as usize];
    header[0..4].copy_from_slice(&MARKER);
    header[4..8].copy_from_slice(&(frame.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&commit_distance.to_le_bytes());
    header[12..16].copy_from_slice(&crc32c::crc32c(frame).to_le_bytes());
    let crc = header_crc(at, &header);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&header);
    buffer.extend_from_slice(frame);
}

fn header_crc(at: Position, header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&at.0.to_le_bytes()), &header[..16])
}
