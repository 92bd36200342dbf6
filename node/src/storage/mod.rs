//! Where a replica's data lives: a journal that is the truth, and tables that can be rebuilt
//! from it.
//!
//! A write's way: [`Store::append`] makes it durable in the [`journal`]; [`Store::apply`] brings
//! the [`tables`] to show it, together with how far in the journal they have come. After a crash
//! the tables may lag: the replica replays the journal from [`ReadJournal::applied`]. Tables that
//! are not sound are set aside on opening, and the replay starts at the journal's first frame.

pub mod disk;
pub mod folder;
pub mod journal;
pub mod ownership;
mod reader;
pub mod reserve;
pub mod room;
pub(crate) mod spare;
pub mod tables;
pub mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage};
use branchline_crdt::store::{Position, ReadJournal, Row, RowWrite, Store, StoreError};
use disk::{Disk, RealDisk};
use folder::{DataFolder, FolderError};
use journal::{Journal, JournalOpenError, JournalOptions, JournalReport, JournalVerified};
pub use reader::Reader;
use room::{Preallocated, is_full};
use tables::{SetAside, Tables, TablesOpenError, TablesOptions, TablesVerified};

use crate::metrics::Histogram;

/// How the data is kept; the defaults are right but for tests and small machines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The journal's.
    pub journal: JournalOptions,
    /// The tables'.
    pub tables: TablesOptions,
    /// Appends are refused while the disk has less room than this: the tables, which grow after the journal, could
    /// not follow.
    pub disk_reserve_bytes: u64,
}

/// What opening found and did.
#[derive(Debug)]
pub struct OpenReport {
    /// What the journal's opening found: a torn tail, damaged frames, missing segments.
    pub journal: JournalReport,
    /// The tables that were set aside, if they were not usable.
    pub tables_set_aside: Option<SetAside>,
    /// The tables are empty and the journal is not: all of it has to be replayed.
    pub rebuild_needed: bool,
}

/// Why the data could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalOpenError),
    /// The tables, even after setting them aside.
    #[error(transparent)]
    Tables(#[from] TablesOpenError),
}

impl OpenError {
    /// Whether the disk has no room for what opening takes.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Folder(FolderError::Io { source, .. })
            | Self::Journal(JournalOpenError::Io { source })
            | Self::Tables(TablesOpenError::Io { source }) => is_full(source),
            Self::Folder(_) | Self::Journal(_) | Self::Tables(_) => false,
        }
    }
}

/// Opens the tables; on a full disk with the room that was kept for it.
fn open_tables(
    folder: &Path,
    options: TablesOptions,
) -> Result<(Tables, Option<SetAside>), TablesOpenError> {
    match Tables::open(folder, options) {
        Err(TablesOpenError::Io { source }) if is_full(&source) && spare::release(folder) => {
            Tables::open(folder, options)
        }
        opened => opened,
    }
}

/// Sizes on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the journal's segments.
    pub journal_bytes: u64,
    /// Bytes of the tables' files.
    pub tables_bytes: u64,
    /// Number of segment files.
    pub segments: u64,
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyProgress {
    /// Bytes of the journal read, and to be read in all.
    Journal {
        /// Read so far.
        bytes: u64,
        /// In all.
        bytes_total: u64,
    },
    /// Rows of the tables read.
    Tables {
        /// Read so far.
        rows: u64,
    },
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageVerified {
    /// The journal's part.
    pub journal: JournalVerified,
    /// The tables' part.
    pub tables: TablesVerified,
}

impl StorageVerified {
    /// True if every frame and every row is what was written.
    pub fn is_sound(&self) -> bool {
        self.journal.damaged.is_empty() && self.tables.bad == 0 && self.tables.failed.is_none()
    }
}

/// The data of one replica, open for writing by one thread. Everything that can be read is also
/// to be had from [`Storage::reader`].
pub struct Storage {
    journal: Journal,
    append_duration: Histogram,
    reader: Reader,
}

impl Storage {
    /// Opens the data folder `dir`, creating it if there is none.
    ///
    /// # Errors
    /// [`OpenError`] where the folder, the journal or the tables cannot be opened. Damage is no error: the report
    /// names it.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, OpenReport), OpenError> {
        Self::open_in(DataFolder::open_or_create(dir)?, options)
    }

    /// Opens the data in a folder that is already locked.
    ///
    /// # Errors
    /// [`OpenError`] as for [`Storage::open`].
    pub fn open_in(folder: DataFolder, options: Options) -> Result<(Self, OpenReport), OpenError> {
        let disk = RealDisk::open(&folder.path().join("journal"));
        let disk = disk.map_err(|source| JournalOpenError::Io { source })?;
        Self::open_on(folder, Arc::new(disk), options)
    }

    /// Opens the data with the journal on `disk`: for crash tests.
    ///
    /// # Errors
    /// [`OpenError`] as for [`Storage::open`].
    pub fn open_on(
        folder: DataFolder,
        disk: Arc<dyn Disk>,
        options: Options,
    ) -> Result<(Self, OpenReport), OpenError> {
        let (tables, mut tables_set_aside) = open_tables(folder.path(), options.tables)?;
        let read_applied = || tables.applied().map_err(TablesOpenError::from_store);
        let mut applied = read_applied()?;
        let (journal, journal_report) = Journal::open(disk, applied, options.journal)?;
        if applied.is_some_and(|applied| journal.reader().end().is_none_or(|end| applied >= end)) {
            let reason = "they show more than the journal holds".to_owned();
            tables_set_aside = tables.set_aside(reason)?;
            applied = None;
        }
        let report = OpenReport {
            rebuild_needed: applied.is_none() && !journal.reader().is_empty(),
            journal: journal_report,
            tables_set_aside,
        };
        let room = Arc::new(Preallocated::new(folder.path(), options.disk_reserve_bytes));
        let reader = Reader {
            tables,
            journal: journal.reader().clone(),
            folder: Arc::new(folder),
            room,
            is_rebuilding: Arc::default(),
            grown: Arc::default(),
        };
        let append_duration = Histogram::of_times();
        Ok((Self { journal, append_duration, reader }, report))
    }

    /// A read end for another thread.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// How long appends to the journal took.
    pub(crate) fn append_duration(&self) -> Histogram {
        self.append_duration.clone()
    }

    /// Writes the tables' cache out; on shutdown this saves replaying at the next start.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the disk fails: the rows are made again from the journal.
    pub fn flush_tables(&self) -> Result<(), StoreError> {
        self.reader.tables.flush()
    }

    /// Writes the tables' cache out and gives back what the journal does not need: the end of a node's work.
    ///
    /// # Errors
    /// [`StoreError`] where the disk fails. Nothing that was acknowledged is lost.
    pub fn close(self) -> Result<(), StoreError> {
        let flushed = self.flush_tables();
        self.journal.close();
        flushed
    }

    /// Reads every frame and every row; see [`Reader::verify`].
    ///
    /// # Errors
    /// [`StoreError`] where the disk fails.
    pub fn verify(
        &self,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<StorageVerified, StoreError> {
        self.reader.verify(progress)
    }
}

impl TablesOpenError {
    fn from_store(error: StoreError) -> Self {
        Self::Io { source: io::Error::other(error) }
    }
}

/// The writer itself rebuilds the tables, so it reads them at any time.
impl ReadTables for Storage {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader.tables.get(key)
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        self.reader.tables.scan_page(prefix, after, limits, page)
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.reader.tables.scan_back(prefix, before, limit)
    }
}

impl ReadJournal for Storage {
    fn read(&self, at: Position) -> Result<Vec<u8>, StoreError> {
        self.reader.read(at)
    }

    fn scan_journal(
        &self,
        after: Option<Position>,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        self.reader.scan_journal(after, bytes_max)
    }

    fn applied(&self) -> Result<Option<Position>, StoreError> {
        self.reader.tables.applied()
    }

    fn damaged(&self) -> Vec<Position> {
        self.reader.damaged()
    }
}

impl Store for Storage {
    fn append(&mut self, frames: &[&[u8]]) -> Result<Vec<Position>, StoreError> {
        let started = Instant::now();
        let appended = self.reader.room.demand().and_then(|()| self.journal.append(frames));
        self.append_duration.record_time(started.elapsed());
        self.reader.room.note(appended.as_ref().err());
        appended
    }

    fn apply(
        &mut self,
        writes: Vec<RowWrite>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        self.reader.tables.apply(writes, applied)?;
        let is_rebuilding = &self.reader.is_rebuilding;
        if is_rebuilding.load(Ordering::Acquire) {
            let is_whole = self.scan_journal(self.applied()?, 1)?.is_empty();
            if is_whole {
                // Tables that cannot be written have not been rebuilt.
                self.flush_tables()?;
            }
            is_rebuilding.store(!is_whole, Ordering::Release);
        }
        if applied.is_some() {
            self.reader.grown.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    fn is_behind(&self) -> bool {
        self.reader.tables.is_behind()
    }

    fn clear_tables(&mut self) -> Result<(), StoreError> {
        self.reader.is_rebuilding.store(true, Ordering::Release);
        self.reader.tables.clear()
    }

    fn repair(&mut self, at: Position, frame: &[u8]) -> Result<(), StoreError> {
        self.journal.repair(at, frame)
    }
}
