//! sled's folder: opening it, letting go of it, and setting it aside when it is not sound.

use std::any::Any;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::TablesOptions;
use super::items::{self, FORMAT, FORMAT_KEY};
use crate::storage::disk::{create_dir_private, create_private, sync_dir};

/// Name of sled's folder in the data folder.
const TABLES: &str = "tables";
const SET_ASIDE: &str = "tables.set-aside-";
/// Says that a batch failed half-way: sled may recover a part of it, so the folder must not be
/// opened again.
const FAILED: &str = "tables.failed";
/// Says that sled was closed in order and everything of it is durable: then its rows are of one moment.
const CLOSED: &str = "tables.closed";
/// How many folders set aside are kept: to look into the last fault and the one before, and
/// few, for they can be as large as the tables themselves.
const SET_ASIDE_MAX: usize = 2;
/// How long sled's own threads may take to let go of the folder's lock after a close; they write
/// out what is cached first.
pub(super) const CLOSE_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often to look whether the lock is free.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Why the tables could not be opened, nor started over.
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
        "the tables in {} have not opened within {} s: try again, they will then be rebuilt from the journal",
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

/// Tables that were not usable and are out of the way now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where they are.
    pub to: PathBuf,
    /// What was wrong with them.
    pub reason: String,
}

/// In what state the tables were found.
pub(super) enum Found {
    /// Closed in order.
    Closed,
    /// Their process ended otherwise; sled may have brought back any mixture.
    NotClosed,
    /// They were not usable. Now they are empty; the ones before, if there were any, are out of the way.
    SetAside(Option<SetAside>),
}

/// Where the tables lie.
#[derive(Debug)]
pub(super) struct TablesFolder {
    data: PathBuf,
}

/// Runs a sled call; a panic inside becomes an error's text.
pub(super) fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, SledFailure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(SledFailure::Error(error)),
        Err(panic) => Err(SledFailure::Panic(panic_text(&*panic))),
    }
}

/// How sled failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SledFailure {
    #[error("{0}")]
    Error(#[from] sled::Error),
    #[error("sled panicked: {0}")]
    Panic(String),
    #[error("sled has not opened within {} s", .0.as_secs())]
    Stuck(Duration),
}

impl SledFailure {
    /// The disk's refusal, if that is what it is: no fault of the tables, so nothing is gained by
    /// setting them aside.
    fn disk_refusal(&self) -> Option<io::Error> {
        let Self::Error(sled::Error::Io(error)) = self else {
            return None;
        };
        let refusals = [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
        ];
        refusals.contains(&error.kind()).then(|| io::Error::new(error.kind(), error.to_string()))
    }
}

pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
        .to_owned()
}

impl TablesFolder {
    pub(super) fn new(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.data.join(TABLES)
    }

    /// Opens sled; sets a folder that is not sound aside and begins an empty one.
    pub(super) fn open(
        &self,
        options: TablesOptions,
    ) -> Result<(sled::Db, Found), TablesOpenError> {
        // Gone before anything changes.
        let was_closed = self.remove_mark(CLOSED)?;
        if self.data.join(FAILED).exists() {
            let set_aside = self.set_aside("they failed when last used".to_owned())?;
            return Ok((self.open_empty(options)?, Found::SetAside(set_aside)));
        }
        match self.open_as_found(options) {
            Ok(db) if was_closed => Ok((db, Found::Closed)),
            Ok(db) => Ok((db, Found::NotClosed)),
            Err(failure) => match self.not_to_be_set_aside(&failure) {
                Some(error) => Err(error),
                None => {
                    let set_aside = self.set_aside(failure.to_string())?;
                    Ok((self.open_empty(options)?, Found::SetAside(set_aside)))
                }
            },
        }
    }

    fn open_empty(&self, options: TablesOptions) -> Result<sled::Db, TablesOpenError> {
        self.open_as_found(options).map_err(|failure| {
            self.not_to_be_set_aside(&failure).unwrap_or_else(|| TablesOpenError::Unusable {
                path: self.path(),
                reason: failure.to_string(),
            })
        })
    }

    /// The error for a failure that setting the tables aside does not mend, or not in this process.
    fn not_to_be_set_aside(&self, failure: &SledFailure) -> Option<TablesOpenError> {
        if let SledFailure::Stuck(waited) = failure {
            // Sled still has the folder and knows files by their path: only the next process may start over.
            self.remember_failure();
            return Some(TablesOpenError::Stuck { path: self.path(), waited: *waited });
        }
        failure.disk_refusal().map(|source| TablesOpenError::Io { source })
    }

    /// Opens sled and checks the format row, writing it if the tree is empty.
    fn open_as_found(&self, options: TablesOptions) -> Result<sled::Db, SledFailure> {
        let path = self.path();
        create_dir_private(&path).map_err(sled::Error::Io)?;
        remove_unfinished_snapshots(&path).map_err(sled::Error::Io)?;
        wait_until_unlocked(&path);
        let config = sled::Config::new()
            .path(&path)
            .cache_capacity(options.cache_bytes / 2)
            .use_compression(false)
            // Flushed after each generation.
            .flush_every_ms(None);
        let db = within(options.open_wait_max, move || config.open())?;
        match check_format(&db) {
            Ok(()) => Ok(db),
            Err(failure) => {
                let_go(db, &path);
                Err(failure)
            }
        }
    }

    /// Empties the tables: the folder is removed and made again, which works whatever state sled
    /// is in. The caller has let go of sled.
    pub(super) fn begin_anew(&self, options: TablesOptions) -> Result<sled::Db, TablesOpenError> {
        // Renamed first, so that a crash leaves all of it or nothing under the name.
        let going = self.data.join("tables.going");
        remove_all(&going)?;
        match fs::rename(self.path(), &going) {
            Ok(()) => sync_dir(&self.data)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
        remove_all(&going)?;
        self.remove_mark(FAILED)?;
        self.open_empty(options)
    }

    /// Sets down that sled failed: a batch half-way, or opening.
    pub(super) fn remember_failure(&self) {
        if let Err(error) = self.set_mark(FAILED) {
            tracing::error!(%error, "cannot note that the tables failed");
        }
    }

    /// Makes what sled has flushed durable: its own flush does not wait for the drive.
    pub(super) fn sync_items(&self) -> io::Result<()> {
        fs::File::open(self.path().join("db"))?.sync_data()
    }

    /// Makes all files of sled durable and sets down that it was closed in order. The caller has let go of sled.
    /// Where this fails the next opening reads every row, no more.
    pub(super) fn remember_close(&self) {
        let closed = sync_files(&self.path()).and_then(|()| self.set_mark(CLOSED));
        if let Err(error) = closed {
            tracing::debug!(%error, "cannot note that the tables were closed");
        }
    }

    fn set_mark(&self, name: &str) -> io::Result<()> {
        create_private(&self.data.join(name))?;
        sync_dir(&self.data)
    }

    /// Removes a mark durably. True if it was there.
    fn remove_mark(&self, name: &str) -> io::Result<bool> {
        match fs::remove_file(self.data.join(name)) {
            Ok(()) => sync_dir(&self.data).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Renames the folder; the caller has let go of sled. `None` if there is no folder.
    pub(super) fn set_aside(&self, reason: String) -> io::Result<Option<SetAside>> {
        let mut numbers = self.numbers_set_aside()?;
        let number = numbers.last().map_or(1, |last| last.saturating_add(1));
        let to = self.data.join(format!("{SET_ASIDE}{number}"));
        match fs::rename(self.path(), &to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.remove_mark(FAILED)?;
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        sync_dir(&self.data)?;
        self.remove_mark(FAILED)?;
        numbers.push(number);
        for old in numbers.iter().take(numbers.len().saturating_sub(SET_ASIDE_MAX)) {
            remove_all(&self.data.join(format!("{SET_ASIDE}{old}")))?;
        }
        tracing::warn!(to = %to.display(), reason, "tables set aside; rebuild from the journal");
        Ok(Some(SetAside { to, reason }))
    }

    fn numbers_set_aside(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.data)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(SET_ASIDE));
            numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Makes all files below a folder, and their names, durable. Sled syncs neither its names nor its blobs.
fn sync_files(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_files(&path)? } else { fs::File::open(path)?.sync_all()? }
    }
    sync_dir(folder)
}

/// Runs a sled call on a thread of its own and waits no longer than `wait_max` for it.
fn within<T: Send + 'static>(
    wait_max: Duration,
    call: impl FnOnce() -> sled::Result<T> + Send + 'static,
) -> Result<T, SledFailure> {
    let (result, done) = mpsc::channel();
    let run = move || {
        let _ = result.send(guarded(call));
    };
    let thread = thread::Builder::new().name("tables-open".to_owned()).spawn(run);
    thread.map_err(sled::Error::Io)?;
    done.recv_timeout(wait_max).unwrap_or(Err(SledFailure::Stuck(wait_max)))
}

fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A crash while sled writes a snapshot leaves a file that keeps it from opening.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn check_format(db: &sled::Db) -> Result<(), SledFailure> {
    let wrong = |text: String| SledFailure::Error(sled::Error::Unsupported(text));
    match guarded(|| db.get(FORMAT_KEY))? {
        None if guarded(|| db.first())?.is_none() => {
            let value = items::encode(FORMAT_KEY, FORMAT);
            guarded(|| db.insert(FORMAT_KEY, value)).map(|_| ())
        }
        None => Err(wrong("the tables have no format row".to_owned())),
        Some(value) => match items::decode(FORMAT_KEY, &value) {
            Some(found) if found == FORMAT => Ok(()),
            Some(found) => {
                let (found, expected) = (found.escape_ascii(), FORMAT.escape_ascii());
                Err(wrong(format!("the tables have format \"{found}\", expected \"{expected}\"")))
            }
            None => Err(wrong("the format row is garbled".to_owned())),
        },
    }
}

/// Closes sled and waits until its threads have let go of the folder. True if they have.
///
/// The drop runs on a thread of its own: it waits for sled's flusher without end if that one has
/// panicked, and may panic itself.
pub(super) fn let_go(db: sled::Db, path: &Path) -> bool {
    let (dropped, done) = mpsc::channel();
    let drop_it = move || {
        let _ = guarded(|| {
            drop(db);
            Ok(())
        });
        let _ = dropped.send(());
    };
    match thread::Builder::new().name("tables-close".to_owned()).spawn(drop_it) {
        Ok(_) => {
            let _ = done.recv_timeout(CLOSE_WAIT_MAX);
            wait_until_unlocked(path)
        }
        Err(_) => false,
    }
}

/// Waits, at most [`CLOSE_WAIT_MAX`], until nobody holds sled's lock. True if so.
fn wait_until_unlocked(path: &Path) -> bool {
    let deadline = Instant::now() + CLOSE_WAIT_MAX;
    loop {
        match fs::File::open(path.join("db")) {
            Ok(file) if file.try_lock().is_ok() => return true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            Ok(_) | Err(_) if Instant::now() >= deadline => return false,
            Ok(_) | Err(_) => thread::sleep(LOCK_POLL),
        }
    }
}
