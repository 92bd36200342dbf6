//! The room that is kept for this office's own writes: while the disk has less, what other sites wrote waits.

use std::io;
use std::path::{Path, PathBuf};

use branchline_crdt::replica::RoomLeft;
use serde::{Deserialize, Serialize};

use super::disk::{FileSystem, file_system};

const MIB: u64 = 1 << 20;
/// What is kept where nothing is set: enough for millions of own writes,
const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// but no more than this part of a small file system.
const RESERVE_SHARE: u64 = 20;
/// So much of the reserve has to be free beside it before what others wrote is taken in again: what came in meanwhile takes
/// room, and the tables take more now and then while they are merged.
const MARGIN_SHARE: u64 = 4;
/// What decides about members may take so much of the reserve in the journal, and about as much again in the tables. Half
/// of it is then left to this office, whatever others do.
const MEMBERSHIP_SHARE: u64 = 4;

/// What the node measures where its data lies, and what follows for what other sites wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskRoom {
    /// Where the least room is: the data folder, or a folder in it that lies on another disk.
    pub path: PathBuf,
    /// Room there, for the node's user.
    pub free_bytes: u64,
    /// Room that is kept for this office's own writes, beside what the tables need; 0: none is.
    pub reserve_bytes: u64,
    /// What other sites wrote is not taken in while there is less room than this.
    pub needed_bytes: u64,
    /// Since when it is not, in ms since 1970 by this machine's clock; `None`: it is.
    pub held_back_since_ms: Option<i64>,
}

/// How much room is kept, and whether there is so much.
#[derive(Debug)]
pub(crate) struct Reserve {
    folder: PathBuf,
    /// What the tables need.
    tables_bytes: u64,
    /// What is set; `None`: as much as suits the file system.
    wanted_bytes: Option<u64>,
    room: DiskRoom,
}

impl Reserve {
    /// For a data folder. `tables_bytes`: what is kept for the tables, beside which this is; `wanted_mib`: the setting.
    pub(crate) fn new(folder: &Path, tables_bytes: u64, wanted_mib: Option<u64>) -> Self {
        let room = DiskRoom::default();
        let mut reserve =
            Self { folder: folder.to_owned(), tables_bytes, wanted_bytes: None, room };
        reserve.want(wanted_mib);
        reserve
    }

    /// Another setting is used from the next look on.
    pub(crate) fn want(&mut self, wanted_mib: Option<u64>) {
        self.wanted_bytes = wanted_mib.map(|mib| mib.saturating_mul(MIB));
    }

    /// What the last look found.
    pub(crate) fn room(&self) -> &DiskRoom {
        &self.room
    }

    /// What the replica is to take in of what other sites wrote.
    pub(crate) fn intake(&self) -> RoomLeft {
        match self.room.held_back_since_ms {
            None => RoomLeft::Enough,
            Some(_) => {
                let membership_bytes_max = (self.room.reserve_bytes / MEMBERSHIP_SHARE).max(1);
                RoomLeft::Short { membership_bytes_max }
            }
        }
    }

    /// Looks at the disk. `is_new`: by another setting than before. Returns whether what is taken in changes. Where the
    /// system does not say how much room there is, all stays as it was.
    pub(crate) fn look(&mut self, wall_ms: i64, is_new: bool) -> bool {
        match least_room(&self.folder) {
            Ok((path, found)) => self.note(path, found, wall_ms, is_new),
            Err(_) => false,
        }
    }

    fn note(&mut self, path: PathBuf, found: FileSystem, wall_ms: i64, is_new: bool) -> bool {
        let default = || RESERVE_BYTES_MAX.min(found.bytes / RESERVE_SHARE);
        let reserve_bytes = self.wanted_bytes.unwrap_or_else(default);
        let needed_bytes = match reserve_bytes {
            0 => 0,
            _ => self.tables_bytes.saturating_add(reserve_bytes),
        };
        let before = self.room.held_back_since_ms;
        let margin = if before.is_some() && !is_new { reserve_bytes / MARGIN_SHARE } else { 0 };
        let is_short = found.free_bytes < needed_bytes.saturating_add(margin);
        let held_back_since_ms = is_short.then(|| before.unwrap_or(wall_ms));
        let free_bytes = found.free_bytes;
        self.room = DiskRoom { path, free_bytes, reserve_bytes, needed_bytes, held_back_since_ms };
        before.is_some() != is_short
    }
}

impl DiskRoom {
    /// Why nothing new of what other sites wrote is taken in, in words; `None`: it is.
    #[must_use]
    pub fn held_back(&self) -> Option<String> {
        self.held_back_since_ms?;
        let Self { path, free_bytes, reserve_bytes, needed_bytes, .. } = self;
        let (free, reserve, needed) = (free_bytes / MIB, reserve_bytes / MIB, needed_bytes / MIB);
        Some(format!(
            "the disk of {} has {free} MiB left, and takes in what other sites wrote only while it has {needed} MiB: {reserve} MiB are kept for this office's own writes, the rest for the tables",
            path.display()
        ))
    }
}

/// The folder with data whose file system has the least room.
fn least_room(folder: &Path) -> io::Result<(PathBuf, FileSystem)> {
    let mut least = (folder.to_owned(), file_system(folder)?);
    // They may be links to folders on other disks.
    for name in ["journal", "tables"] {
        let path = folder.join(name);
        if let Ok(found) = file_system(&path)
            && found.free_bytes < least.1.free_bytes
        {
            least = (path, found);
        }
    }
    Ok((std::path::absolute(&least.0)?, least.1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn look(reserve: &mut Reserve, free_bytes: u64, wall_ms: i64) -> bool {
        let found = FileSystem { free_bytes, bytes: 10 * GIB };
        reserve.note("data".into(), found, wall_ms, false)
    }

    #[test]
    fn what_is_kept_suits_the_file_system() {
        let folder = Path::new("data");
        for (bytes, expected) in [(100 * GIB, GIB), (10 * GIB, GIB / 2), (0, 0)] {
            let mut reserve = Reserve::new(folder, 64 * MIB, None);
            let found = FileSystem { free_bytes: bytes, bytes };
            reserve.note(folder.to_owned(), found, 0, false);
            assert_eq!(reserve.room().reserve_bytes, expected);
        }
    }

    #[test]
    fn what_others_wrote_waits_below_the_reserve_and_comes_again_well_above_it() {
        let mut reserve = Reserve::new(Path::new("data"), 64 * MIB, Some(400));
        assert!(!look(&mut reserve, 464 * MIB, 1));
        assert_eq!(reserve.intake(), RoomLeft::Enough);
        assert!(look(&mut reserve, 463 * MIB, 2));
        assert_eq!(reserve.intake(), RoomLeft::Short { membership_bytes_max: 100 * MIB });
        let why = reserve.room().held_back().unwrap();
        for part in ["has 463 MiB left", "while it has 464 MiB", "400 MiB are kept"] {
            assert!(why.contains(part), "{part}: {why}");
        }
        // What is written and freed around the bound changes nothing.
        for (free, wall_ms) in [(464, 3), (500, 4), (10, 5), (563, 6)] {
            assert!(!look(&mut reserve, free * MIB, wall_ms));
            assert_eq!(reserve.room().held_back_since_ms, Some(2));
        }
        assert!(look(&mut reserve, 564 * MIB, 7));
        assert_eq!((reserve.intake(), reserve.room().held_back()), (RoomLeft::Enough, None));
        assert!(!look(&mut reserve, 500 * MIB, 8));
    }

    #[test]
    fn another_setting_is_judged_as_at_the_start_and_none_keeps_nothing() {
        let mut reserve = Reserve::new(Path::new("data"), 64 * MIB, Some(400));
        assert!(look(&mut reserve, 450 * MIB, 1));
        reserve.want(Some(386));
        let found = FileSystem { free_bytes: 450 * MIB, bytes: GIB };
        assert!(reserve.note("data".into(), found, 2, true), "no margin is asked for");
        reserve.want(Some(u64::MAX));
        assert!(reserve.note("data".into(), found, 3, true));
        reserve.want(Some(0));
        let empty = FileSystem { free_bytes: 0, bytes: GIB };
        assert!(reserve.note("data".into(), empty, 4, true));
        assert_eq!(reserve.intake(), RoomLeft::Enough);
    }

    #[test]
    fn the_disk_is_looked_at_where_the_data_lies() {
        let folder = tempfile::tempdir().unwrap();
        let mut reserve = Reserve::new(folder.path(), 0, Some(u64::MAX));
        assert!(reserve.look(5, false));
        assert!(reserve.room().free_bytes > 0);
        assert!(reserve.room().held_back().unwrap().contains(&folder.path().display().to_string()));
        let mut gone = Reserve::new(&folder.path().join("gone"), 0, Some(u64::MAX));
        assert!(!gone.look(5, false));
    }
}
