//! Saving what is noted of other sites in a small file, now and then, away from the thread that notes it.

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use branchline_crdt::replica::Now;
use tracing::warn;

use crate::whole_file;

/// Time between two saves: so much may be missing after a crash.
const SAVE_INTERVAL_MS: u64 = 60_000;

/// What of a file is yet to be saved.
#[derive(Debug, Default)]
pub(super) struct Saver {
    is_changed: bool,
    saved_ms: u64,
    saving: Option<JoinHandle<()>>,
}

impl Saver {
    /// There is something to save.
    pub(super) fn note_change(&mut self) {
        self.is_changed = true;
    }

    /// Whether it is time to save.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let is_time = now.monotonic_ms.saturating_sub(self.saved_ms) >= SAVE_INTERVAL_MS;
        is_time && self.is_changed && self.saving.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Whether there is something to save, which then counts as saved.
    pub(super) fn begin(&mut self, now: Now) -> bool {
        let is_changed = std::mem::take(&mut self.is_changed);
        if is_changed {
            self.saved_ms = now.monotonic_ms;
        }
        is_changed
    }

    /// Writes the file on another thread.
    pub(super) fn write(&mut self, path: PathBuf, bytes: io::Result<Vec<u8>>) {
        let write = move || {
            let saved = bytes.and_then(|bytes| whole_file::replace(&path, &bytes));
            if let Err(error) = saved {
                warn!(path = %path.display(), %error, "what is noted of other sites is not saved");
            }
        };
        self.saving = std::thread::Builder::new().name("noted".to_owned()).spawn(write).ok();
    }

    /// Waits until all that was written is there.
    pub(super) fn wait(&mut self) {
        if let Some(saving) = self.saving.take() {
            // A panic while saving has been reported already.
            let _ = saving.join();
        }
    }
}
