//! Bringing sled up to what was applied: a thread writes a generation when it is full or old, and merges runs meanwhile.
//!
//! | what happens | then |
//! |---|---|
//! | a generation is full | the thread writes it as a run; until it has taken it, [`super::Tables::apply`] waits |
//! | a generation is old | the thread writes it as a run |
//! | no generation is to be written | the thread does a step of what else there is to do: `tidy` |
//! | [`super::Tables::flush`], closing | the caller writes the generation, after what the thread is writing |
//! | sled fails | the tables have failed, as if in the call that comes next |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use super::folder::{CLOSE_WAIT_MAX, guarded, panic_text};
use super::open::Open;
use super::tidy::{Holds, RUNS_MAX, Work};
use super::writer::RunWriter;
use super::{TablesShared, TablesState, failed};
use crate::storage::disk::free_bytes;
use branchline_crdt::store::StoreError;

/// How long to wait before looking again whether the disk has room.
const ROOM_PAUSE: Duration = Duration::from_secs(1);
/// By how much sled's files grow at a time, whatever is written.
const SLED_GROWS_BYTES: u64 = 1 << 20;

/// Who writes, and who waits for it.
#[derive(Default)]
pub(super) struct Turn {
    /// Held by the one who writes to sled or exchanges it.
    writing: Mutex<Work>,
    pub(super) holds: Holds,
    thread: Mutex<Thread>,
    /// Something changed for those who wait: what is in memory, or the thread's state.
    changed: Condvar,
}

/// The thread that writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Thread {
    #[default]
    Runs,
    IsToEnd,
    Ended,
}

impl Turn {
    /// Waits until nobody writes to sled, and keeps it so.
    pub(super) fn take(&self) -> MutexGuard<'_, Work> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all who wait.
    pub(super) fn wake(&self) {
        // With the lock, so that anyone who is about to wait has either seen the change or waits already.
        drop(self.thread());
        self.changed.notify_all();
    }

    /// Tells the thread to end and waits for it, but no longer than sled may take to close. True if it has ended.
    pub(super) fn end(&self) -> bool {
        let mut thread = self.thread();
        *thread = Thread::IsToEnd;
        self.changed.notify_all();
        let has_not = |thread: &mut Thread| *thread != Thread::Ended;
        let waited = self.changed.wait_timeout_while(thread, CLOSE_WAIT_MAX, has_not);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn thread(&self) -> MutexGuard<'_, Thread> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TablesShared {
    /// Starts the thread that writes. It keeps what is shared until [`Turn::end`].
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let shared = self.clone();
        let run = move || shared.write_when_due();
        thread::Builder::new().name("tables-write".to_owned()).spawn(run).map(|_| ())
    }

    fn write_when_due(&self) {
        let changed = &self.turn.changed;
        let mut thread = self.turn.thread();
        while *thread == Thread::Runs {
            drop(thread);
            let is_due = self.due_in().is_some_and(|wait| wait.is_zero());
            // The next caller learns of a failure.
            let has_tidied = (!is_due || self.has_too_many_runs()) && self.tidy().unwrap_or(false);
            let has_worked = has_tidied || is_due && self.write_out().is_ok();
            thread = self.turn.thread();
            if has_worked || *thread != Thread::Runs {
                continue;
            }
            thread = match self.due_in() {
                None => changed.wait(thread).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    changed.wait_timeout(thread, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        *thread = Thread::Ended;
        changed.notify_all();
    }

    fn due_in(&self) -> Option<Duration> {
        let age_max = Duration::from_millis(self.options.flush_every_ms);
        match &*self.state() {
            TablesState::Open(open) => {
                let due = open.memory.due_in(self.options.generation_bytes, age_max)?;
                Some(if due.is_zero() && self.is_to_wait_for_room(open) { ROOM_PAUSE } else { due })
            }
            TablesState::Failed { .. } => None,
        }
    }

    /// Whether rows stay in memory since the disk has no room for them: a disk that is full does sled harm, and the
    /// journal has them. A full generation is written all the same, for those who wait for it.
    fn is_to_wait_for_room(&self, open: &Open) -> bool {
        let needed = 2 * open.memory.bytes() as u64 + SLED_GROWS_BYTES;
        !self.is_full(open) && free_bytes(&self.folder.path()).is_ok_and(|free| free < needed)
    }

    /// Waits until there is room in memory for one more batch, or the tables have failed.
    pub(super) fn wait_for_room(&self) {
        let mut thread = self.turn.thread();
        while matches!(&*self.state(), TablesState::Open(open) if self.is_full(open)) {
            thread = self.turn.changed.wait(thread).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes out everything that was applied before the call.
    pub(super) fn write_out(&self) -> Result<(), StoreError> {
        let turn = self.turn.take();
        let written = self.writing(|| self.write_generation());
        drop(turn);
        self.turn.wake();
        written
    }

    /// Runs what writes to sled. Where it fails, or panics, the tables have failed.
    pub(super) fn writing<T>(
        &self,
        write: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let written = catch_unwind(AssertUnwindSafe(write));
        let written = written.unwrap_or_else(|panic| Err(failed(panic_text(&*panic))));
        if let Err(error) = &written {
            let mut state = self.state_mut();
            if let TablesState::Open(_) = &*state {
                tracing::error!(%error, "the tables cannot be written");
                self.folder.remember_failure();
                state.fail(match error {
                    StoreError::Tables { reason } => reason.clone(),
                    StoreError::Unwritable { .. }
                    | StoreError::Damaged { .. }
                    | StoreError::Newer { .. }
                    | StoreError::Unreadable { .. } => error.to_string(),
                });
            }
        }
        written
    }

    /// Readers see the rows in memory until they see them in sled: both change under one lock.
    fn write_generation(&self) -> Result<(), StoreError> {
        let (db, mut manifest, older, generation) = {
            let mut state = self.state_mut();
            let open = state.open_mut()?;
            if self.is_to_wait_for_room(open) {
                return Ok(());
            }
            let Some(generation) = open.memory.begin_writing() else { return Ok(()) };
            (open.blocks.db.clone(), open.manifest.clone(), open.runs.clone(), generation)
        };
        self.turn.wake();
        manifest.applied = generation.applied.or(manifest.applied);
        let (mut batch, run) = if generation.rows.is_empty() {
            (sled::Batch::default(), None)
        } else {
            let mut writer = RunWriter::new(manifest.next_run, generation.rows.len(), &older);
            for (key, value) in &generation.rows {
                writer.push(key, value.as_deref())?;
            }
            let (batch, run) = writer.finish()?;
            manifest.next_run += 1;
            manifest.runs.insert(0, run.head);
            (batch, Some(Arc::new(run)))
        };
        manifest.store(&mut batch);
        guarded(|| db.apply_batch(batch)).map_err(failed)?;
        {
            let mut state = self.state_mut();
            let open = state.open_mut()?;
            open.manifest = manifest;
            open.runs.splice(0..0, run);
            open.memory.end_writing();
        }
        self.make_durable(&db)
    }

    /// What sled keeps to itself a killed process would lose; what its flush leaves to the drive, a power cut.
    pub(super) fn make_durable(&self, db: &sled::Db) -> Result<(), StoreError> {
        guarded(|| db.flush()).map_err(failed)?;
        self.folder.sync_items().map_err(failed)
    }

    fn has_too_many_runs(&self) -> bool {
        matches!(&*self.state(), TablesState::Open(open) if open.runs.len() >= RUNS_MAX)
    }
}
