//! Looking at the disk: the replica is to know whether there is room for what other sites wrote.

use std::time::{Duration, Instant};

use branchline_crdt::replica::Input;
use branchline_crdt::store::StoreError;
use tracing::{info, warn};

use super::Driver;
use crate::clock::wall_ms;
use crate::storage::reserve::DiskRoom;

/// How often the disk is looked at. It takes a microsecond, and a fast line brings some megabytes in that time.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

impl Driver {
    /// Looks at the disk if it is time to, and lets the replica know what follows.
    pub(super) fn look_at_room(&mut self) -> Result<(), StoreError> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return Ok(());
        }
        self.look_at_room_now(self.looked.is_none())
    }

    /// The same at once. `is_new`: by another setting than before.
    fn look_at_room_now(&mut self, is_new: bool) -> Result<(), StoreError> {
        self.looked = Some(Instant::now());
        if !self.reserve.look(wall_ms(), is_new) {
            return Ok(());
        }
        match self.reserve.room().held_back() {
            Some(reason) => warn!(reason, "what other sites write is not taken in"),
            None => info!("what other sites write is taken in again"),
        }
        self.feed(Input::Room(self.reserve.intake()))
    }

    /// What the last look at the disk found.
    pub(crate) fn room(&self) -> &DiskRoom {
        self.reserve.room()
    }

    /// Keeps another amount of room for this office's own writes, from now on.
    pub(super) fn keep_room(&mut self, wanted_mib: Option<u64>) -> Result<(), StoreError> {
        self.reserve.want(wanted_mib);
        self.look_at_room_now(true)
    }
}
