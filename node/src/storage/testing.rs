//! A disk that forgets, for crash tests and simulations.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

/// What a drive writes at once: a crash keeps or loses whole sectors.
const SECTOR_BYTES: u64 = 512;

/// A folder in memory that behaves as badly as a real one may: what was not synced can be lost
/// sector by sector in a crash, space runs out, syncs fail and then lie, the process is killed
/// between any two operations.
///
/// Clones share the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Clone, Default)]
struct DiskState {
    inodes: Vec<Inode>,
    /// Names as the running system sees them, and as the drive has them.
    names: BTreeMap<String, usize>,
    names_synced: BTreeMap<String, usize>,
    /// Bytes by which files may still grow; `None`: no end.
    space: Option<u64>,
    /// How many of the next syncs fail.
    sync_failures: u32,
    /// How many more changes the process lives to make; `None`: no end.
    life: Option<u32>,
    /// The process tried one change more than it lived for.
    killed: bool,
    /// Grows with each crash or restart: handles from before are dead.
    epoch: u64,
    /// Chooses what a failed sync leaves on the drive.
    random: Random,
}

#[derive(Clone, Default)]
struct Inode {
    /// As the running system sees it.
    bytes: Vec<u8>,
    /// As the drive has it.
    synced: Vec<u8>,
    /// What is on its way to the drive, in order.
    pending: Vec<Pending>,
}

#[derive(Clone)]
enum Pending {
    Write { offset: u64, bytes: Vec<u8> },
    Truncate(u64),
}

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk of its own with the same content and the same faults to come, as a backup or a clone has.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self { state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// True once [`FaultyDisk::kill_after`] has had its way: the process must not be seen to do anything more.
    pub fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// From now on files may grow by `bytes` in all, then writes fail with `StorageFull` after
    /// having written what fits; `None` frees all space.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state().space = bytes;
    }

    /// Makes the next `count` syncs (of files or of the folder) fail. A failed sync of a file
    /// leaves a random part of what was on its way on the drive and forgets the rest; all of it
    /// still reads back until a crash.
    pub fn fail_syncs(&self, count: u32) {
        self.state().sync_failures = count;
    }

    /// Kills the process after `changes` more changes (writes, syncs, names): later ones fail and
    /// do nothing, until [`FaultyDisk::restart`] or [`FaultyDisk::crash`].
    pub fn kill_after(&self, changes: u32) {
        self.state().life = Some(changes);
    }

    /// Ends the process, not the machine: all it wrote is still to be read, synced or not. Open
    /// handles are dead afterwards.
    pub fn restart(&self) {
        let mut state = self.state();
        state.epoch += 1;
        state.life = None;
        state.killed = false;
    }

    /// Cuts the power: of everything that was not synced a random part, chosen by `seed`,
    /// survives. Open handles are dead afterwards.
    pub fn crash(&self, seed: u64) {
        let mut random = Random(seed);
        let mut state = self.state();
        state.epoch += 1;
        state.life = None;
        state.killed = false;
        for inode in &mut state.inodes {
            inode.crash(&mut random);
        }
        let (names, mut survived) = (state.names.clone(), state.names_synced.clone());
        let changed: Vec<String> = names
            .keys()
            .chain(survived.keys())
            .filter(|name| names.get(*name) != survived.get(*name))
            .cloned()
            .collect();
        for name in changed {
            if random.coin() {
                match names.get(&name) {
                    Some(inode) => survived.insert(name, *inode),
                    None => survived.remove(&name),
                };
            }
        }
        state.names = survived.clone();
        state.names_synced = survived;
    }

    /// Changes one byte on the drive by exclusive or, as bit rot does.
    pub fn flip(&self, name: &str, offset: u64, mask: u8) {
        let mut state = self.state();
        let Some(inode) = state.names.get(name).copied() else {
            return;
        };
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.bytes, &mut inode.synced] {
            if let Some(byte) = bytes.get_mut(offset as usize) {
                *byte ^= mask;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, DiskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inode: usize, epoch: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultyFile { disk: self.clone(), inode, epoch })
    }
}

impl DiskState {
    /// Counts a change.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.life {
            Some(0) => {
                self.killed = true;
                Err(io::Error::other("the process was killed"))
            }
            Some(changes) => {
                *changes -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.sync_failures == 0 {
            return Ok(());
        }
        self.sync_failures -= 1;
        Err(io::Error::other("the drive did not take the bytes"))
    }
}

impl Inode {
    fn crash(&mut self, random: &mut Random) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Truncate(len) => {
                    if random.coin() {
                        self.synced.resize(len as usize, 0);
                    }
                }
                Pending::Write { offset, bytes } => {
                    // One write in four survives whole, one is lost, two are torn.
                    let fate = random.next() % 4;
                    for (at, piece) in sectors(offset, &bytes) {
                        if fate == 0 || (fate > 1 && random.coin()) {
                            write(&mut self.synced, at, piece);
                        }
                    }
                }
            }
        }
        self.bytes = self.synced.clone();
    }
}

/// Splits a write where sectors end: each piece with its offset.
pub fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let room = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
        let (piece, behind) = rest.split_at(room.min(rest.len()));
        pieces.push((at, piece));
        at += piece.len() as u64;
        rest = behind;
    }
    pieces
}

/// Writes into a file's bytes, which grow where they must.
pub fn write(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + bytes.len());
    if file.len() < end {
        file.resize(end, 0);
    }
    file[start..end].copy_from_slice(bytes);
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state();
        let inode = state.names.get(name).copied();
        let inode =
            inode.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))?;
        Ok(self.file(inode, state.epoch))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.change()?;
        if let Some(inode) = state.names.get(name).copied() {
            let file = self.file(inode, state.epoch);
            drop(state);
            file.truncate(0)?;
            return Ok(file);
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(name.to_owned(), inode);
        Ok(self.file(inode, state.epoch))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let inode = state.names.remove(from);
        let inode =
            inode.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, from.to_owned()))?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        let removed = state.names.remove(name);
        removed.map(|_| ()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name.to_owned()))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.sync()?;
        state.names_synced = state.names.clone();
        Ok(())
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    inode: usize,
    epoch: u64,
}

impl FaultyFile {
    fn alive(&self) -> io::Result<MutexGuard<'_, DiskState>> {
        let state = self.disk.state();
        if state.epoch == self.epoch {
            Ok(state)
        } else {
            Err(io::Error::other("this handle is from before the crash"))
        }
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.alive()?;
        state.change()?;
        let len = state.inodes[self.inode].bytes.len() as u64;
        let growth = (offset + bytes.len() as u64).saturating_sub(len);
        let short = state.space.map_or(0, |space| growth.saturating_sub(space));
        let written = &bytes[..bytes.len().saturating_sub(short as usize)];
        state.space = state.space.map(|space| space.saturating_sub(growth));
        let inode = &mut state.inodes[self.inode];
        write(&mut inode.bytes, offset, written);
        inode.pending.push(Pending::Write { offset, bytes: written.to_vec() });
        if short > 0 {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"));
        }
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = self.alive()?;
        let bytes = &state.inodes[self.inode].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.inodes[self.inode].bytes.len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.alive()?;
        state.change()?;
        let inode = &mut state.inodes[self.inode];
        let freed = (inode.bytes.len() as u64).saturating_sub(len);
        inode.bytes.resize(len as usize, 0);
        inode.pending.push(Pending::Truncate(len));
        state.space = state.space.map(|space| space + freed);
        Ok(())
    }

    fn fdatasync(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.change()?;
        let synced = state.sync();
        let DiskState { inodes, names, names_synced, random, .. } = &mut *state;
        // Many file systems write the name along with the file: it then outlives even a removal
        // that was not synced.
        if synced.is_ok() && random.coin() {
            let own = names.iter().filter(|(_, inode)| **inode == self.inode);
            names_synced.extend(own.map(|(name, inode)| (name.clone(), *inode)));
        }
        let inode = &mut inodes[self.inode];
        for pending in std::mem::take(&mut inode.pending) {
            match (&synced, pending) {
                (Ok(()), Pending::Write { offset, bytes }) => {
                    write(&mut inode.synced, offset, &bytes);
                }
                // Lengths are metadata, which file systems keep in a log of their own.
                (_, Pending::Truncate(len)) => inode.synced.resize(len as usize, 0),
                (Err(_), Pending::Write { offset, bytes }) => {
                    for (at, piece) in sectors(offset, &bytes) {
                        if random.coin() {
                            write(&mut inode.synced, at, piece);
                        }
                    }
                }
            }
        }
        synced
    }
}

/// SplitMix64: a fixed sequence for each seed.
#[derive(Clone, Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }
}
