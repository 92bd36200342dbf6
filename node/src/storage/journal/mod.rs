//! The journal: every frame this replica ever accepted, in order, in an append-only series of
//! segment files. It is the truth from which the tables can be rebuilt.
//!
//! - `frame`: the bytes on disk.
//! - `walk`: reading a segment front to back.
//! - `open`: opening, and what to make of a tail that a crash left behind.
//! - `append`: the write path and its failures; repair.
//! - `room`: what is written ahead of the write path.
//! - `reader`: reads, from any thread, while the writer writes.
//!
//! Promises:
//!
//! - A commit (one [`Journal::append`]) is one contiguous write and one `fdatasync`; when it
//!   returns, its frames survive any crash.
//! - An append that failed, or that a crash interrupted, leaves nothing, or after a crash any
//!   whole prefix of its frames; never a part of a frame, and never a frame that a later
//!   acknowledged commit contradicts.
//! - A frame is served byte for byte or not at all.

mod append;
mod frame;
mod open;
mod reader;
mod room;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use branchline_crdt::store::{Position, StoreError};
pub use frame::FRAME_BYTES_MAX;
use reader::JournalShared;
pub use reader::{JournalReader, JournalVerified};
pub use walk::DamageKind;

/// Greatest size of a segment before the next one is begun: large enough that few files are
/// needed, small enough that the last one is checked in a moment on opening. Also the greatest
/// size of one commit.
pub const SEGMENT_BYTES_MAX: u32 = 64 << 20;
/// How many copies of cut tails are kept: enough to look into the last few crashes.
pub const TORN_COPIES_MAX: usize = 8;

/// How the journal is kept.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// A segment that would grow beyond this many bytes is closed and the next one begun. At most
    /// (and by default) [`SEGMENT_BYTES_MAX`]; less is for tests.
    pub segment_bytes_max: u32,
    /// How much room a small commit leaves behind itself for the next ones, see `room`. Syncs of 500 bytes took 220 to
    /// 275 us where they made the file longer, and 170 to 190 us in room on the same disk (medians of four runs each while
    /// other programs wrote files); the worst of a hundred 0.4 to 24 ms, and 0.4 to 4 ms. 0: none.
    pub room_bytes: u32,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self { segment_bytes_max: SEGMENT_BYTES_MAX, room_bytes: 256 << 10 }
    }
}

/// The write end of the journal. Reads go through [`Journal::reader`].
pub struct Journal {
    disk: Arc<dyn Disk>,
    options: JournalOptions,
    tail: Tail,
    /// The commit being written; kept to reuse its memory.
    buffer: Vec<u8>,
    reader: JournalReader,
}

/// Where the next commit goes.
enum Tail {
    /// Behind byte `end` of the newest segment, where there is room up to byte `room`.
    Open { file: Arc<dyn DiskFile>, number: u32, end: u32, room: u32 },
    /// Into a segment that is yet to be created.
    Closed,
}

/// What opening a journal found and did.
#[derive(Debug, Default)]
pub struct JournalReport {
    /// The tail that a crash left behind and that was cut off.
    pub torn: Option<Torn>,
    /// Damaged stretches of the newest segment, and missing segments. Damage in older segments
    /// shows when it is first read, or through verification.
    pub damaged: Vec<Position>,
    /// Numbers of segments whose files are missing.
    pub segments_missing: Vec<RangeInclusive<u32>>,
    /// Segments whose own header was garbled; it was written again, no frame is lost by it.
    pub headers_rewritten: Vec<u32>,
}

/// A tail that was cut off: the remains of a commit that was never acknowledged.
#[derive(Debug)]
pub struct Torn {
    /// Where the first torn frame began.
    pub at: Position,
    /// How many bytes were cut.
    pub bytes: u64,
    /// The file in the journal's folder that now holds the bytes, or why there is none (then the
    /// bytes stay in their segment, beyond its end, and the next commit begins a new segment).
    pub kept_as: Result<String, io::Error>,
}

/// Why the journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum JournalOpenError {
    /// The disk failed; nothing was changed that opening again would not do too.
    #[error("the journal cannot be opened: {source}")]
    Io {
        /// What the disk said.
        #[from]
        source: io::Error,
    },
    /// The journal was written by a newer program; nothing was changed.
    #[error(
        "journal segment {segment:08x}.seg has format version {found}, expected at most \
         {expected}: open it with the newer program that wrote it"
    )]
    NewerFormat {
        /// Number of the segment.
        segment: u32,
        /// Version found.
        found: u32,
        /// Newest version known here.
        expected: u32,
    },
}

/// Sizes of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSizes {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Number of segment files.
    pub segments: u64,
}

/// A stretch without sound frames, from its position (the map's key) on.
#[derive(Clone, Copy, Debug)]
struct Damage {
    /// Offset behind its last byte.
    end: u32,
    kind: DamageKind,
}

/// What readers and the writer know of the files. Bounded by what is on disk: a few bytes per
/// segment and per damaged stretch.
#[derive(Default)]
struct JournalState {
    /// End of each segment by number: every byte before it is durable and, but for repairs,
    /// never changes.
    segments: BTreeMap<u32, u32>,
    damaged: BTreeMap<Position, Damage>,
}

impl Journal {
    /// Opens the journal in `disk`, verifying the newest segment and cutting a torn tail.
    ///
    /// `applied_hint` is how far the tables had come: a bad frame up to there was acknowledged,
    /// so it is damage and not a torn tail.
    ///
    /// A bad frame that no frame of a later commit follows is torn: it and what lies behind it
    /// belong to the last commit, which a crash interrupted (a drive may write its later pages
    /// first). With a later commit behind it, it once was durable: that is damage.
    ///
    /// # Errors
    /// [`JournalOpenError`] where the disk fails, or the segments are not those of one journal.
    pub fn open(
        disk: Arc<dyn Disk>,
        applied_hint: Option<Position>,
        options: JournalOptions,
    ) -> Result<(Self, JournalReport), JournalOpenError> {
        open::open(disk, applied_hint, options)
    }

    /// The read end, for this and other threads.
    pub fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// Appends `frames` as one commit; see [`branchline_crdt::store::Store::append`].
    ///
    /// # Errors
    /// [`StoreError::Unwritable`]; nothing changes when the disk does not take the
    /// frames, or (kind `InvalidInput`) when a frame is longer than [`FRAME_BYTES_MAX`] or all
    /// together than a segment.
    pub fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
        append::append(self, frames)
    }

    /// Writes the true bytes of a damaged frame into its own place, durably.
    ///
    /// `frame` must be as long as the frame was. Where the damage hides that length, it must at
    /// least fit; what then remains of the stretch stays damaged, under a position of its own.
    /// Repairing a sound frame with its own bytes does nothing.
    ///
    /// # Errors
    /// [`StoreError`] where the frame does not fit its place, or the disk fails.
    pub fn repair(&mut self, at: Position, frame: &[u8]) -> Result<(), StoreError> {
        append::repair(self, at, frame)
    }

    /// Gives back the room behind the last commit. Where this does not happen, the next opening uses it.
    pub fn close(mut self) {
        if let Err(error) = append::give_room_back(&mut self) {
            tracing::debug!(%error, "the room at the journal's end stays");
        }
    }

    fn shared(&self) -> &JournalShared {
        self.reader.shared()
    }
}

fn segment_name(number: u32) -> String {
    format!("{number:08x}.seg")
}

/// The number of the segment file `name`, if it is one.
fn segment_number(name: &str) -> Option<u32> {
    let number = u32::from_str_radix(name.strip_suffix(".seg")?, 16).ok()?;
    (segment_name(number) == name).then_some(number)
}
