//! Reading what is stored, while it is written.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::folder::DataFolder;
use super::journal::JournalReader;
use super::room::Preallocated;
use super::tables::{Tables, TablesSnapshot};
use super::{Sizes, StorageVerified, VerifyProgress};
use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage};
use branchline_crdt::store::{Position, ReadJournal, Row, StoreError};

/// Reads, from any thread, while the writer writes. Clones are cheap. The data folder stays
/// locked until the last one is dropped.
#[derive(Clone)]
pub struct Reader {
    // Fields are dropped in this order: the tables are closed before the folder is unlocked.
    pub(super) tables: Tables,
    pub(super) journal: JournalReader,
    pub(super) folder: Arc<DataFolder>,
    pub(super) room: Arc<Preallocated>,
    /// The tables were emptied and do not show the whole journal yet: nobody but the writer may look.
    pub(super) is_rebuilding: Arc<AtomicBool>,
    /// Counts how often the tables came to show more.
    pub(super) grown: Arc<watch::Sender<u64>>,
}

impl Reader {
    /// Where the journal ends: behind every frame that is durable now. `None`: it is empty.
    pub fn journal_end(&self) -> Option<Position> {
        self.journal.end()
    }

    /// Bytes of the journal behind a frame; `None`: all of them.
    pub(crate) fn bytes_behind(&self, at: Option<Position>) -> Result<u64, StoreError> {
        self.journal.bytes_behind(at)
    }

    /// Changes whenever the tables come to show more of the journal.
    pub fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// Why the disk takes no appends; `None` if it does, as far as is known.
    pub fn refusal(&self) -> Option<String> {
        self.room.refusal()
    }

    /// Returns whether the disk would take an append now, as far as that can be known without one.
    pub(crate) fn takes_appends(&self) -> bool {
        self.room.takes_appends()
    }

    /// The tables as they are, if nobody is writing them. For a row or two: anyone who writes waits.
    pub fn moment(&self) -> Option<TablesSnapshot<'_>> {
        self.require_whole().ok()?;
        self.tables.moment()
    }

    /// Where the data lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The locked folder that it lies in.
    pub(crate) fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Sizes on disk.
    ///
    /// # Errors
    /// [`StoreError`] where the disk fails.
    pub fn sizes(&self) -> Result<Sizes, StoreError> {
        let journal = self.journal.sizes();
        Ok(Sizes {
            journal_bytes: journal.bytes,
            tables_bytes: self.tables.bytes_on_disk()?,
            segments: journal.segments,
        })
    }

    /// Reads every frame and every row and says which are not what was written. Fails only if
    /// the disk does.
    ///
    /// # Errors
    /// [`StoreError`] where the disk fails.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<StorageVerified, StoreError> {
        let journal = self.journal.verify_all(&mut |bytes, bytes_total| {
            progress(VerifyProgress::Journal { bytes, bytes_total });
        })?;
        let tables = self.tables.verify(&mut |rows| progress(VerifyProgress::Tables { rows }));
        Ok(StorageVerified { journal, tables })
    }

    fn require_whole(&self) -> Result<(), StoreError> {
        if self.is_rebuilding.load(Ordering::Acquire) {
            let reason = "they are being rebuilt from the journal, try again in a while";
            Err(StoreError::Tables { reason: reason.to_owned() })
        } else {
            Ok(())
        }
    }
}

/// While the tables are rebuilt these fail: what is not there yet would pass for absent.
impl ReadTables for Reader {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.require_whole()?;
        self.tables.get(key)
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        self.require_whole()?;
        self.tables.scan_page(prefix, after, limits, page)
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.require_whole()?;
        self.tables.scan_back(prefix, before, limit)
    }
}

impl ReadJournal for Reader {
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        self.journal.read(at)
    }

    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        self.journal.scan(after, bytes_max)
    }

    /// While the tables are rebuilt this fails too: what is shown then is not where they will be.
    fn applied(&self) -> Result<Option<Position>, StoreError> {
        self.require_whole()?;
        self.tables.applied()
    }

    fn damaged(&self) -> Vec<Position> {
        self.journal.damaged()
    }
}
