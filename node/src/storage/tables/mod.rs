//! The tables: rows by key, kept in sled 0.34, which can be rebuilt from the journal at any time.
//!
//! What is applied goes into memory, and from there to sled when it is half a second old or fills a generation; a thread
//! of its own brings it there (`write`). Readers see memory over sled. A crash takes what was in memory: the replay of
//! the journal begins where sled ends.
//!
//! sled is trusted with nothing: every value carries a checksum, every call is guarded against
//! panics (sled panics on garbled pages), and what is not sound on opening is set aside.
//!
//! # Why in runs
//!
//! Ids of records follow each other only where one office counts them. Random ones, receipts and numbers of fifty shops
//! lie anywhere, and where rows were put at once into the blocks where they belong, each generation wrote nearly every
//! block again: what a record cost grew with the number of records. So a generation becomes a *run* of its own, sorted,
//! and runs are merged later, by size, while there is nothing to write. Who looks for a row asks the newest run first;
//! filters in memory say of nearly all rows that are in no run that they are not, which is what a new record needs to
//! know. The journal is the truth, so nothing of this is in a hurry.
//!
//! # Why sled 0.34.7, and why in blocks
//!
//! 1,000,000 rows of 310 bytes, for each row the processor's time to write it, and its bytes on disk; side by side, and
//! scattered by key. Measured on two cores that others used too, so only the proportions count:
//!
//! | | time, us | on disk, B | memory of the process |
//! |---|---|---|---|
//! | 0.34.7, an item for each row, 50,000 in a batch | 23, 44 | 900, 770 | 2.4, 5.5 GB |
//! | 1.0.0-alpha.124, leaves of 256 rows, 50,000 in a flush | 2.4, 25 | 96, 243 | 375, 490 MB |
//! | 1.0.0-alpha.124, leaves of 32 rows, 50,000 in a flush | 4.4, 37 | 119, 222 | 390, 580 MB |
//! | 0.34.7, blocks of up to 8 KiB where rows belong, generations of 4 MiB | 4, 69 | 165, 459 | 54, 317 MB |
//!
//! The alpha is quicker for scattered rows and a flush of it is meant to be atomic, but its memory has no bound: a leaf
//! that was written stays until sled is closed, whatever the cache's capacity. And so says its source: where an entry
//! of its log is damaged it takes up an older state without a word, whose leaves may have been overwritten, and spins
//! without end on a leaf that is not the one it looks for; after a failed flush the next one waits without end; killed
//! at a wrong moment of its opening it deletes its only snapshot at the next; each opening runs `sync` for the whole
//! machine.
//!
//! One tree only, because sled applies a batch atomically within one tree. After a power cut that does not hold: where
//! the drive tore a write, sled brings back a part of a batch. So the manifest has a sum over the items of each run, and
//! unless the tables were closed in order, opening reads every item and compares: 100 MB for 1,000,000 rows of 310 bytes. That
//! opening took 0.9 s after a `kill -9`, of it 0.4 to 0.7 s of the processor; one after a close in order 24 ms.
//! Each generation is made durable by itself: a power cut between two of them finds whole ones.
//!
//! - `open`: rows as they are.
//! - `memory`: rows that are not in sled yet.
//! - `write`: the thread that writes them, and who waits for it.
//! - `tidy`: what the thread does when there is nothing to write: `merge` makes one run of several.
//! - `manifest`: which runs there are.
//! - `run`: rows that were written together; `writer` writes one.
//! - `block`: rows of a run that lie next to each other, in one item.
//! - `read`: reading rows from the runs; `walk`: in order.
//! - `moment`: one state of the tables.
//! - `rows`: keys and values of sled's items.
//! - `check`: reading every item.
//! - `folder`: sled's folder.

mod block;
mod check;
mod folder;
mod items;
mod manifest;
mod memtable;
mod merge;
mod moment;
mod open;
mod read;
mod run;
#[cfg(test)]
mod tests;
mod tidy;
mod walk;
mod write;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};
use std::time::Duration;

use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage};
use branchline_crdt::store::{Position, Row, RowWrite, StoreError};
pub use check::{BAD_BLOCKS_NAMED_MAX, TablesVerified};
use folder::{Found, TablesFolder, guarded, let_go};
pub use folder::{SetAside, TablesOpenError};
use manifest::Manifest;
use memtable::Memtable;
pub use moment::TablesSnapshot;
use open::Open;
use read::Blocks;
use run::Run;
use tidy::Work;
use write::Turn;

/// How sled is run.
#[derive(Clone, Copy, Debug)]
pub struct TablesOptions {
    /// Memory for what was read: half of it for sled's page cache, by its own count, of which the process takes two to
    /// three times as much; a quarter for blocks of rows.
    pub cache_bytes: u64,
    /// How long what is applied may stay in memory only. The journal makes up for what a crash takes, so
    /// this only bounds how much has to be replayed after one.
    pub flush_every_ms: u64,
    /// How much of what is applied stays in memory only: one generation of so many bytes that is being filled, and one
    /// that is being written. Twice this is what a crash takes, and what the replay has to make up for: by default
    /// some 20,000 records.
    pub generation_bytes: usize,
    /// How long sled may take to open. On damaged files it may never end.
    pub open_wait_max: Duration,
}

impl Default for TablesOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            flush_every_ms: 500,
            generation_bytes: 4 << 20,
            // Sled reads what was written since it was last opened: gigabytes, on a slow disk.
            open_wait_max: Duration::from_secs(600),
        }
    }
}

/// The tables. Clones share them; [`Tables::apply`] and [`Tables::clear`] are for one writer.
#[derive(Clone)]
pub struct Tables {
    handle: Arc<TablesHandle>,
}

/// Closes the tables when the last clone of them is dropped.
struct TablesHandle {
    shared: Arc<TablesShared>,
}

struct TablesShared {
    folder: TablesFolder,
    options: TablesOptions,
    /// Locked for reading throughout each read, and for writing wherever rows change, pass from memory to sled or from
    /// runs to the run that they were merged to.
    state: RwLock<TablesState>,
    turn: Turn,
}

enum TablesState {
    Open(Open),
    /// Writing failed, or sled could not be opened again: nothing is served until the tables are cleared.
    Failed {
        db: Option<sled::Db>,
        reason: String,
    },
}

fn failed(reason: impl ToString) -> StoreError {
    StoreError::Tables { reason: reason.to_string() }
}

fn bad_row(stored_key: &[u8]) -> StoreError {
    failed(format_args!("the item {} does not match its checksum", stored_key.escape_ascii()))
}

impl Tables {
    /// Opens the tables in the data folder `data`. Unsound ones are set aside: then they are
    /// empty, [`Tables::applied`] is `None`, and the caller rebuilds them from the journal.
    ///
    /// # Errors
    /// [`TablesOpenError`] where the disk fails, and setting the tables aside does not help.
    pub fn open(
        data: &Path,
        options: TablesOptions,
    ) -> Result<(Self, Option<SetAside>), TablesOpenError> {
        let folder = TablesFolder::new(data);
        let (db, found) = folder.open(options)?;
        let state = RwLock::new(TablesState::open(db, options));
        let shared = Arc::new(TablesShared { folder, options, state, turn: Turn::default() });
        let set_aside = match found {
            Found::SetAside(set_aside) => set_aside,
            Found::Closed => shared.set_aside_unless(shared.take_up())?,
            Found::NotClosed => {
                shared.set_aside_unless(shared.take_up().and_then(|()| shared.compare_sums()))?
            }
        };
        shared.start()?;
        Ok((Self { handle: Arc::new(TablesHandle { shared }) }, set_aside))
    }

    /// Sets the tables aside and begins empty ones.
    ///
    /// # Errors
    /// [`TablesOpenError`] where the disk fails.
    pub fn set_aside(&self, reason: String) -> Result<Option<SetAside>, TablesOpenError> {
        self.shared().set_aside(reason)
    }

    /// The tables as they are, if nobody is writing them.
    pub fn moment(&self) -> Option<TablesSnapshot<'_>> {
        match self.shared().state.try_read() {
            Ok(state) => Some(TablesSnapshot { state }),
            Err(TryLockError::Poisoned(poisoned)) => {
                Some(TablesSnapshot { state: poisoned.into_inner() })
            }
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Applies all writes (`None` deletes; of several to one key the last counts) and the applied
    /// position: readers see all of it or nothing. Waits where sled does not follow. Fails once
    /// sled has failed, whenever that was; then nothing is served until [`Tables::clear`].
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they are damaged or the disk fails: rebuild them.
    pub fn apply(
        &self,
        writes: Vec<RowWrite>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        let shared = self.shared();
        let has_news = loop {
            let mut state = shared.state_mut();
            let open = state.open_mut()?;
            if !shared.is_full(open) {
                let was_empty = open.memory.is_empty();
                open.memory.add(writes, applied);
                open.applied = applied.or(open.applied);
                break was_empty || shared.is_full(open);
            }
            drop(state);
            shared.wait_for_room();
        };
        if has_news {
            shared.turn.wake();
        }
        Ok(())
    }

    /// Whether sled does not follow: while one generation is being written, the next is half full.
    pub fn is_behind(&self) -> bool {
        let shared = self.shared();
        match &*shared.state() {
            TablesState::Open(open) => open.memory.is_behind(shared.options.generation_bytes / 2),
            TablesState::Failed { .. } => false,
        }
    }

    /// How far into the journal the tables have come.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they are damaged or the disk fails: rebuild them.
    pub fn applied(&self) -> Result<Option<Position>, StoreError> {
        Ok(self.shared().state().open_ref()?.applied)
    }

    /// Empties the tables, whatever state sled is in.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the disk fails.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.shared().clear()
    }

    /// Writes out what is in memory. Saves replaying after a restart; nothing depends on it.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the disk fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.shared().write_out()
    }

    /// Bytes on disk. Looks at every file of the folder.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the folder cannot be read.
    pub fn bytes_on_disk(&self) -> Result<u64, StoreError> {
        let state = self.shared().state();
        let db = &state.open_ref()?.blocks.db;
        guarded(|| db.size_on_disk()).map_err(failed)
    }

    fn shared(&self) -> &TablesShared {
        &self.handle.shared
    }
}

/// Each call sees one state of the tables.
impl ReadTables for Tables {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.shared().state().open_ref()?.get(key)
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        self.shared().state().open_ref()?.scan_page(prefix, after, limits, page)
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.shared().state().open_ref()?.scan_back(prefix, before, limit)
    }
}

impl TablesShared {
    /// Reads the manifest and what it names of each run.
    fn take_up(&self) -> Result<(), StoreError> {
        {
            let mut state = self.state_mut();
            let open = state.open_mut()?;
            open.manifest = Manifest::load(&open.blocks.db)?;
            open.applied = open.manifest.applied;
            let runs = open.manifest.runs.iter();
            let runs = runs.map(|head| Run::load(&open.blocks.db, *head).map(Arc::new));
            open.runs = runs.collect::<Result<_, _>>()?;
        }
        self.remove_strays()
    }

    fn set_aside_unless(
        &self,
        read: Result<(), StoreError>,
    ) -> Result<Option<SetAside>, TablesOpenError> {
        match read {
            Ok(()) => Ok(None),
            Err(error) => self.set_aside(error.to_string()),
        }
    }

    fn set_aside(&self, reason: String) -> Result<Option<SetAside>, TablesOpenError> {
        let mut turn = self.turn.take();
        *turn = Work::default();
        let mut state = self.state_mut();
        let was = std::mem::replace(&mut *state, TablesState::failed("they are being set aside"));
        let_go_of(was, &self.folder.path());
        let set_aside = self.folder.set_aside(reason)?;
        *state = TablesState::open(self.folder.begin_anew(self.options)?, self.options);
        Ok(set_aside)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut turn = self.turn.take();
        *turn = Work::default();
        let mut state = self.state_mut();
        let was = std::mem::replace(&mut *state, TablesState::failed("they are being emptied"));
        if !let_go_of(was, &self.folder.path()) {
            let reason = "sled does not let go of its folder: restart the node";
            *state = TablesState::failed(reason);
            return Err(failed(reason));
        }
        match self.folder.begin_anew(self.options) {
            Ok(db) => {
                *state = TablesState::open(db, self.options);
                Ok(())
            }
            Err(error) => {
                *state = TablesState::failed(&error.to_string());
                Err(failed(error))
            }
        }
    }

    fn is_full(&self, open: &Open) -> bool {
        open.memory.is_full(self.options.generation_bytes)
    }

    // A thread that panicked while holding the lock has not left it half-changed: the state is
    // replaced as a whole.
    fn state(&self) -> RwLockReadGuard<'_, TablesState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, TablesState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes sled. True if its folder is free afterwards.
fn let_go_of(state: TablesState, path: &Path) -> bool {
    match state {
        TablesState::Open(Open { blocks: Blocks { db, .. }, .. })
        | TablesState::Failed { db: Some(db), .. } => let_go(db, path),
        TablesState::Failed { db: None, .. } => true,
    }
}

impl TablesState {
    fn open(db: sled::Db, options: TablesOptions) -> Self {
        Self::Open(Open {
            blocks: Blocks::new(db, options.cache_bytes / 4),
            manifest: Manifest::default(),
            runs: Vec::new(),
            applied: None,
            memory: Memtable::default(),
        })
    }

    fn failed(reason: &str) -> Self {
        Self::Failed { db: None, reason: reason.to_owned() }
    }

    fn open_ref(&self) -> Result<&Open, StoreError> {
        match self {
            Self::Open(open) => Ok(open),
            Self::Failed { reason, .. } => Err(failed(reason)),
        }
    }

    fn open_mut(&mut self) -> Result<&mut Open, StoreError> {
        match self {
            Self::Open(open) => Ok(open),
            Self::Failed { reason, .. } => Err(failed(reason)),
        }
    }

    /// Stops serving; sled's handle stays until the tables are cleared.
    fn fail(&mut self, reason: String) {
        let db = match self {
            Self::Open(open) => Some(open.blocks.db.clone()),
            Self::Failed { db, .. } => db.take(),
        };
        *self = Self::Failed { db, reason };
    }
}

impl Drop for TablesHandle {
    fn drop(&mut self) {
        if !self.shared.turn.end() {
            tracing::warn!(
                "sled does not end what it writes: the tables are left to the next start"
            );
            return;
        }
        let written = self.shared.write_out().is_ok();
        let mut state = self.shared.state_mut();
        let was = std::mem::replace(&mut *state, TablesState::failed("they are closed"));
        if let_go_of(was, &self.shared.folder.path()) && written {
            self.shared.folder.remember_close();
        }
    }
}
