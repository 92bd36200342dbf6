//! What a replica needs kept: a journal that is the truth, and tables that can be rebuilt from it.

pub(crate) mod cache;
pub mod changes;
pub mod frame;
pub(crate) mod logs;
pub mod memory;
pub mod read;
pub mod tables;

use std::io;

use crate::store::frame::Frame;
use crate::store::tables::ReadTables;

/// A frame's place in the journal: opaque, strictly increasing in journal order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Position(pub u64);

/// Key and new value of one row; `None` deletes it.
pub type RowWrite = (Vec<u8>, Option<Vec<u8>>);
/// Key and value of one row.
pub type Row = (Vec<u8>, Vec<u8>);

/// Reading the journal, which needs no exclusive access: the half of a [`Store`] that readers share.
pub trait ReadJournal {
    /// One frame. Damaged frames are errors, never served.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] where the bytes are not those that were written, [`StoreError::Unreadable`] where the
    /// disk fails.
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError>;

    /// Undamaged frames after `after` (`None`: from the first), in order: at least one if there is one, then
    /// up to `bytes_max`.
    ///
    /// # Errors
    /// [`StoreError::Unreadable`] where the disk fails.
    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError>;

    /// How far the tables show the journal.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the tables cannot be read.
    fn applied(&self) -> Result<Option<Position>, StoreError>;

    /// Where stretches of the journal that are known to be damaged begin.
    fn damaged(&self) -> Vec<Position>;
}

/// Reading rows, and the frames that they name: whatever tells of the past without a replica.
pub trait ReadStore: ReadTables + ReadJournal {}

impl<T: ReadTables + ReadJournal> ReadStore for T {}

/// What a replica needs kept. The journal is the truth; the tables can be rebuilt from it.
pub trait Store: ReadTables + ReadJournal {
    /// Appends frames to the journal and makes them durable with one sync. All or none. Positions in the
    /// order given.
    ///
    /// # Errors
    /// [`StoreError::Unwritable`] where the disk takes nothing: nothing changed, and trying again later is safe.
    fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError>;

    /// Applies all writes atomically, together with "the tables now show the journal up to and including
    /// `applied`".
    ///
    /// # Errors
    /// [`StoreError::Tables`]: the tables can no longer be trusted, and are to be rebuilt.
    fn apply(&mut self, writes: Vec<RowWrite>, applied: Option<Position>)
    -> Result<(), StoreError>;

    /// Whether what was applied is still being written, so that rows that can wait had better wait.
    fn is_behind(&self) -> bool {
        false
    }

    /// Empties the tables (the journal stays): the first step of a rebuild.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the tables cannot be emptied.
    fn clear_tables(&mut self) -> Result<(), StoreError>;

    /// Writes a damaged frame's true bytes back into its own place (the length must fit), durably.
    ///
    /// # Errors
    /// [`StoreError`] where the frame does not fit its place, or the disk fails. The place is then as damaged as
    /// before.
    fn repair(&mut self, at: Position, frame: &[u8]) -> Result<(), StoreError>;
}

/// Why something could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The journal could not be written (disk full, read-only, IO error). Nothing changed, reads go on; trying
    /// again later is safe.
    #[error("the journal cannot be written: {source}")]
    Unwritable {
        /// What the disk said.
        source: io::Error,
    },
    /// One frame does not carry what was written.
    #[error("journal frame at {position:?} is damaged: {reason}")]
    Damaged {
        /// Its place.
        position: Position,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer program has written to the journal. Nothing is wrong with it, and nothing was changed.
    #[error(
        "the journal was written by a newer program (frame kind {found} at {}; kinds {} to {} are known): update this one",
        position.0, Frame::FIRST, Frame::LAST
    )]
    Newer {
        /// Where the first such frame is.
        position: Position,
        /// Its kind.
        found: u8,
    },
    /// The journal could not be read.
    #[error("the journal cannot be read: {source}")]
    Unreadable {
        /// What the disk said.
        source: io::Error,
    },
    /// The tables failed; they can be rebuilt from the journal.
    #[error("the tables failed: {reason}")]
    Tables {
        /// What was found.
        reason: String,
    },
}
