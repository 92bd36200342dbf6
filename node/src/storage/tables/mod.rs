//! The tables: rows by key, kept in sled 0.34, which can be rebuilt from the journal at any time.
//!
//! sled is trusted with nothing: every value carries a checksum, every call is guarded against
//! panics (sled panics on garbled pages), and what is not sound on opening is set aside.
//!
//! One tree only, because sled applies a batch atomically within one tree. After a power cut that does not hold: where
//! the drive tore a write, sled brings back a part of a batch. So every batch carries a sum over all rows, and unless
//! the tables were closed in order, opening reads every row and compares.
//!
//! - `rows`: keys and values.
//! - `batch`: what one [`Tables::apply`] changes.
//! - `check`: reading every row.
//! - `folder`: sled's folder.

mod batch;
mod check;
mod folder;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use self::batch::Batch;
pub use self::check::{BAD_ROWS_NAMED_MAX, TablesVerified};
pub use self::folder::SetAside;
use self::folder::{Found, SledFailure, TablesFolder, guarded, let_go};
use self::rows::{APPLIED_KEY, SUM_KEY, Sum, Value};
use branchline_crdt::store::{Position, StoreError};

/// How sled is run.
#[derive(Clone, Copy, Debug)]
pub struct TablesOptions {
    /// Memory for sled's page cache.
    pub cache_bytes: u64,
    /// How often sled writes out what changed. The journal makes up for what a crash takes, so
    /// this only bounds how much has to be replayed after one.
    pub flush_every_ms: u64,
    /// How long sled may take to open. On damaged files it may never end.
    pub open_wait_max: Duration,
}

impl Default for TablesOptions {
    fn default() -> TablesOptions {
        TablesOptions {
            cache_bytes: 64 << 20,
            flush_every_ms: 500,
            // Sled reads what was written since it was last opened: gigabytes, on a slow disk.
            open_wait_max: Duration::from_secs(600),
        }
    }
}

/// Why the tables could not be opened, nor begun anew.
#[derive(Debug, thiserror::Error)]
pub enum TablesOpenError {
    /// The disk refused (full, read-only, no permission); nothing was set aside.
    #[error("the tables cannot be opened: {source}")]
    Io {
        /// What the disk said.
        #[from]
        source: io::Error,
    },
    /// Even an empty folder cannot be used.
    #[error("the tables in {} cannot be used even when empty: {reason}", path.display())]
    Unusable {
        /// sled's folder.
        path: PathBuf,
        /// What sled said.
        reason: String,
    },
    /// sled does not come to an end.
    #[error(
        "the tables in {} have not opened within {} s: try again, they will then be made anew from the journal",
        path.display(),
        waited.as_secs()
    )]
    Stuck {
        /// sled's folder.
        path: PathBuf,
        /// How long was waited for it.
        waited: Duration,
    },
}

/// The tables. Clones share them; [`Tables::apply`] and [`Tables::clear`] are for one writer.
#[derive(Clone)]
pub struct Tables {
    shared: Arc<Shared>,
}

struct Shared {
    folder: TablesFolder,
    options: TablesOptions,
    /// Locked for writing while a batch is applied: a value in chunks is several rows, and sled
    /// shows readers only single rows whole.
    state: RwLock<State>,
}

enum State {
    Open {
        db: sled::Db,
        /// Of all rows, as the sum's row has it.
        sum: Sum,
    },
    /// A batch failed half-way, or sled could not be opened again: nothing is served until the
    /// tables are cleared.
    Failed { db: Option<sled::Db>, reason: String },
}

fn failed(reason: impl ToString) -> StoreError {
    StoreError::Tables { reason: reason.to_string() }
}

fn bad_row(stored_key: &[u8]) -> StoreError {
    failed(format_args!("the row {} does not match its checksum", stored_key.escape_ascii()))
}

impl Tables {
    /// Opens the tables in the data folder `data`. Unsound ones are set aside: then they are
    /// empty, [`Tables::applied`] is `None`, and the caller rebuilds them from the journal.
    pub fn open(
        data: &Path,
        options: TablesOptions,
    ) -> Result<(Tables, Option<SetAside>), TablesOpenError> {
        let folder = TablesFolder::new(data);
        let (db, found) = folder.open(options)?;
        let state = RwLock::new(State::open(db));
        let tables = Tables { shared: Arc::new(Shared { folder, options, state }) };
        let read = match found {
            Found::SetAside(set_aside) => return Ok((tables, set_aside)),
            Found::Closed => tables.take_up(),
            Found::NotClosed => tables.take_up().and_then(|()| tables.compare_sum()),
        };
        let set_aside = match read {
            Ok(()) => None,
            Err(error) => tables.set_aside(error.to_string())?,
        };
        Ok((tables, set_aside))
    }

    /// Reads the rows about the rows.
    fn take_up(&self) -> Result<(), StoreError> {
        self.applied()?;
        let mut state = self.state_mut();
        let State::Open { db, sum } = &mut *state else { return state.db().map(|_| ()) };
        if let Some(value) = guarded(|| db.get(SUM_KEY)).map_err(failed)? {
            let Some(Value::Plain(bytes)) = rows::decode(SUM_KEY, &value) else {
                return Err(bad_row(SUM_KEY));
            };
            *sum = Sum::from_bytes(bytes).ok_or_else(|| bad_row(SUM_KEY))?;
        }
        Ok(())
    }

    /// Sets the tables aside and begins empty ones.
    pub fn set_aside(&self, reason: String) -> Result<Option<SetAside>, TablesOpenError> {
        let mut state = self.state_mut();
        let was = std::mem::replace(&mut *state, State::failed("they are being set aside"));
        let_go_of(was, &self.shared.folder.path());
        let set_aside = self.shared.folder.set_aside(reason)?;
        *state = State::open(self.shared.folder.begin_anew(self.shared.options)?);
        Ok(set_aside)
    }

    /// The value of row `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let state = self.state();
        let db = state.db()?;
        let stored_key = rows::row_key(key);
        let Some(value) = guarded(|| db.get(&stored_key)).map_err(failed)? else {
            return Ok(None);
        };
        load(db, &stored_key, &value).map(Some)
    }

    /// Rows whose key begins with `prefix`, strictly after key `after`, ascending, at most
    /// `limit`: one state of the tables.
    #[allow(clippy::type_complexity)]
    pub fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let state = self.state();
        let db = state.db()?;
        let stored_prefix = rows::row_key(prefix);
        let from = match after.map(rows::row_key) {
            Some(after) if after >= stored_prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(stored_prefix.clone()),
        };
        let stored = guarded(|| {
            db.range((from, Bound::Unbounded))
                .take_while(|row| row.as_ref().map_or(true, |(k, _)| k.starts_with(&stored_prefix)))
                .take(limit)
                .collect::<sled::Result<Vec<_>>>()
        });
        let mut page = Vec::new();
        for (stored_key, value) in stored.map_err(failed)? {
            if let Some(key) = rows::row_of(&stored_key) {
                page.push((key.to_vec(), load(db, &stored_key, &value)?));
            }
        }
        Ok(page)
    }

    /// Applies all writes (`None` deletes; of several to one key the last counts) and the applied
    /// position in one atomic batch. After a failure inside sled nothing is served until
    /// [`Tables::clear`], because a part of the batch may show.
    pub fn apply(
        &self,
        writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        applied: Option<Position>,
    ) -> Result<(), StoreError> {
        let mut state = self.state_mut();
        let State::Open { db, sum } = &mut *state else { return state.db().map(|_| ()) };
        let writes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = writes.into_iter().collect();
        let mut batch = Batch::new(db, *sum);
        for (key, value) in &writes {
            batch.write(key, value.as_deref())?;
        }
        if let Some(applied) = applied {
            batch.set_applied(applied)?;
        }
        let (batch, new_sum) = batch.finish();
        if let Err(failure) = guarded(|| db.apply_batch(batch)) {
            self.shared.folder.remember_failure();
            state.fail(&failure);
            return Err(failed(failure));
        }
        *sum = new_sum;
        Ok(())
    }

    /// How far into the journal the tables have come.
    pub fn applied(&self) -> Result<Option<Position>, StoreError> {
        let state = self.state();
        let db = state.db()?;
        let Some(value) = guarded(|| db.get(APPLIED_KEY)).map_err(failed)? else {
            return Ok(None);
        };
        let Some(Value::Plain(bytes)) = rows::decode(APPLIED_KEY, &value) else {
            return Err(bad_row(APPLIED_KEY));
        };
        let bytes = bytes.try_into().map_err(|_| bad_row(APPLIED_KEY))?;
        Ok(Some(Position(u64::from_be_bytes(bytes))))
    }

    /// Empties the tables, whatever state sled is in.
    pub fn clear(&self) -> Result<(), StoreError> {
        let mut state = self.state_mut();
        let was = std::mem::replace(&mut *state, State::failed("they are being emptied"));
        if !let_go_of(was, &self.shared.folder.path()) {
            let reason = "sled does not let go of its folder: restart the node";
            *state = State::failed(reason);
            return Err(failed(reason));
        }
        match self.shared.folder.begin_anew(self.shared.options) {
            Ok(db) => {
                *state = State::open(db);
                Ok(())
            }
            Err(error) => {
                *state = State::failed(&error.to_string());
                Err(failed(error))
            }
        }
    }

    /// Writes out what changed. Saves replaying after a restart; nothing depends on it.
    pub fn flush(&self) -> Result<(), StoreError> {
        let state = self.state();
        let db = state.db()?;
        guarded(|| db.flush()).map(|_| ()).map_err(failed)
    }

    /// Bytes on disk. Looks at every file of the folder.
    pub fn bytes_on_disk(&self) -> Result<u64, StoreError> {
        let state = self.state();
        let db = state.db()?;
        guarded(|| db.size_on_disk()).map_err(failed)
    }

    // A thread that panicked while holding the lock has not left it half-changed: the state is
    // replaced as a whole.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.shared.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value that a stored row stands for, collecting its chunks.
fn load(db: &sled::Db, stored_key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
    let key = rows::row_of(stored_key).ok_or_else(|| bad_row(stored_key))?;
    let len = match rows::decode(stored_key, value).ok_or_else(|| bad_row(stored_key))? {
        Value::Plain(bytes) => return Ok(bytes.to_vec()),
        Value::Chunked(len) => len,
    };
    let mut bytes = Vec::new();
    for chunk in 0..rows::chunk_count(len) {
        let chunk_key = rows::chunk_key(key, chunk);
        let stored = guarded(|| db.get(&chunk_key)).map_err(failed)?;
        match stored.as_deref().and_then(|stored| rows::decode(&chunk_key, stored)) {
            Some(Value::Plain(chunk)) => bytes.extend_from_slice(chunk),
            Some(Value::Chunked(_)) | None => return Err(bad_row(&chunk_key)),
        }
    }
    if bytes.len() as u64 != len {
        return Err(bad_row(stored_key));
    }
    Ok(bytes)
}

/// Closes sled. True if its folder is free afterwards.
fn let_go_of(state: State, path: &Path) -> bool {
    match state {
        State::Open { db, .. } | State::Failed { db: Some(db), .. } => let_go(db, path),
        State::Failed { db: None, .. } => true,
    }
}

impl State {
    fn open(db: sled::Db) -> State {
        State::Open { db, sum: Sum::default() }
    }

    fn failed(reason: &str) -> State {
        State::Failed { db: None, reason: reason.to_owned() }
    }

    fn db(&self) -> Result<&sled::Db, StoreError> {
        match self {
            State::Open { db, .. } => Ok(db),
            State::Failed { reason, .. } => Err(failed(reason)),
        }
    }

    /// Stops serving; the handle stays until the tables are cleared.
    fn fail(&mut self, failure: &SledFailure) {
        let db = match self {
            State::Open { db, .. } => Some(db.clone()),
            State::Failed { db, .. } => db.take(),
        };
        *self = State::Failed { db, reason: failure.to_string() };
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let was = std::mem::replace(state, State::failed("they are closed"));
        let written = was.db().is_ok_and(|db| guarded(|| db.flush()).is_ok());
        if let_go_of(was, &self.folder.path()) && written {
            self.folder.remember_close();
        }
    }
}
