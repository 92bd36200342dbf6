//! Reading a segment from front to back: frames, and what is not a frame.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::frame::{FRAME_HEADER_BYTES, FrameHeader, MARKER, SEGMENT_HEADER_BYTES, position};
use crate::storage::disk::DiskFile;

/// What is wrong with a damaged stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The frame's header is unreadable: the stretch up to the next frame may have held several.
    Header,
    /// The header is sound, the bytes are not the ones written.
    Bytes,
    /// The frame runs past the end of its segment.
    CutShort,
    /// The whole segment file is missing.
    SegmentMissing,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "its header is unreadable",
            Self::Bytes => "its bytes do not match their checksum",
            Self::CutShort => "it runs past the end of its segment",
            Self::SegmentMissing => "its segment file is missing",
        })
    }
}

/// One thing found in a segment.
#[derive(Debug)]
pub(super) enum Step<'b> {
    /// A sound frame; `commit`: offset of the first frame of its commit.
    Frame { commit: u32, bytes: &'b [u8] },
    /// From `at` up to `end` (beyond the segment's end, if the frame is cut short) there is no
    /// sound frame. `commit`: first frame of its commit, where the header tells.
    Bad { at: u32, end: u32, commit: Option<u32>, kind: DamageKind },
}

/// Reads one segment front to back through a buffer.
pub(super) struct Walk {
    file: Arc<dyn DiskFile>,
    number: u32,
    /// Offset of the next step.
    offset: u32,
    /// The segment's end: nothing from here on counts.
    end: u32,
    buffer: Vec<u8>,
    buffer_start: u32,
    chunk_bytes: u32,
}

impl Walk {
    /// A walk from `offset` (a frame's begin) to `end`, reading about `chunk_bytes` at a time.
    pub(super) fn new(
        file: Arc<dyn DiskFile>,
        number: u32,
        offset: u32,
        end: u32,
        chunk_bytes: u32,
    ) -> Self {
        let offset = offset.max(SEGMENT_HEADER_BYTES);
        Self { file, number, offset, end, buffer: Vec::new(), buffer_start: offset, chunk_bytes }
    }

    /// Offset of the next step.
    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    /// Goes on from `offset`.
    pub(super) fn skip_to(&mut self, offset: u32) {
        self.offset = offset;
    }

    /// The next frame or bad stretch; `None` at the segment's end.
    pub(super) fn next(&mut self) -> io::Result<Option<Step<'_>>> {
        let at = self.offset;
        if at >= self.end {
            return Ok(None);
        }
        let header =
            FrameHeader::decode(position(self.number, at), self.bytes(at, FRAME_HEADER_BYTES)?);
        let Some(header) = header else {
            let end = self.find_header(at + 1)?;
            self.offset = end;
            return Ok(Some(Step::Bad { at, end, commit: None, kind: DamageKind::Header }));
        };
        let commit = at - header.commit_distance;
        let whole = FRAME_HEADER_BYTES + header.len;
        if whole > self.end - at {
            self.offset = self.end;
            let (end, kind) = (at.saturating_add(whole), DamageKind::CutShort);
            return Ok(Some(Step::Bad { at, end, commit: Some(commit), kind }));
        }
        self.offset = at + whole;
        let end = self.offset;
        let frame = self.bytes(at, whole)?;
        let bytes = frame.get(FRAME_HEADER_BYTES as usize..).unwrap_or_default();
        Ok(Some(if header.matches(bytes) {
            Step::Frame { commit, bytes }
        } else {
            Step::Bad { at, end, commit: Some(commit), kind: DamageKind::Bytes }
        }))
    }

    /// First offset from `from` on where a sound header lies; the segment's end if there is none.
    fn find_header(&mut self, from: u32) -> io::Result<u32> {
        let mut at = from;
        while at < self.end {
            // Overlapping windows, so that a header across two of them is found in the second.
            let window = self.chunk_bytes.max(2 * FRAME_HEADER_BYTES);
            let number = self.number;
            let bytes = self.bytes(at, window)?;
            for (i, quad) in bytes.windows(MARKER.len()).enumerate() {
                if quad == MARKER
                    && FrameHeader::decode(position(number, at + i as u32), &bytes[i..]).is_some()
                {
                    return Ok(at + i as u32);
                }
            }
            if bytes.len() < window as usize {
                break;
            }
            at = at.saturating_add(window - (FRAME_HEADER_BYTES - 1));
        }
        Ok(self.end)
    }

    /// `len` bytes from offset `at`, fewer at the end of the segment or of the file.
    fn bytes(&mut self, at: u32, len: u32) -> io::Result<&[u8]> {
        let len = len.min(self.end.saturating_sub(at));
        let buffered = self.buffer.len() as u32;
        if at < self.buffer_start || at + len > self.buffer_start + buffered {
            let want = len.max(self.chunk_bytes).min(self.end - at);
            self.buffer.resize(want as usize, 0);
            self.buffer_start = at;
            let got = self.file.read_at(u64::from(at), &mut self.buffer)?;
            self.buffer.truncate(got);
        }
        let start = (at - self.buffer_start) as usize;
        let end = (start + len as usize).min(self.buffer.len());
        Ok(self.buffer.get(start..end).unwrap_or_default())
    }
}
