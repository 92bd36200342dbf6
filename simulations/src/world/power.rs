//! Starts and crashes, and what disks do to those who trust them.

use branchline_crdt::Replica;
use branchline_crdt::ids::{Incarnation, SiteKey};
use branchline_crdt::log::entry::PAYLOAD_FORMAT;
use branchline_crdt::replica::{Identity, Input, Opening, RoomLeft};
use branchline_crdt::store::ReadJournal;
use branchline_node::storage::testing::FaultyDisk;

use super::site::Site;
use super::{DiskChange, Observation, SiteIndex, World, random};
use crate::store::{OfficeDisk, SimulatedStore, TablesLoss};

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it is asked to: the tables are written out.
    Orderly,
    /// The process is killed; the machine writes out what it was given.
    Killed,
    /// The power fails: of what was not synced a random part is lost.
    PowerCut,
}

impl World {
    /// Starts an office's node on what its disk holds. A node that runs goes on.
    pub fn start(&mut self, office: SiteIndex) {
        if self.sites[office].replica.is_some() {
            return;
        }
        let time_ms = self.time_ms;
        let site = &mut self.sites[office];
        site.forget_process();
        site.starts += 1;
        site.started_ms = time_ms;
        let identity = self.identity(office);
        let now = self.now(office);
        let disk = std::mem::take(&mut self.sites[office].disk);
        let opened = match disk.open() {
            // The power fails in the middle of the start, too: then it starts once more.
            Err((mut disk, _)) if disk.is_killed() => {
                let draw = random::number(self.seed, "power cut", &[office as u64, time_ms]);
                disk.cut_power(draw, TablesLoss::Batches(0));
                disk.open()
            }
            opened => opened,
        };
        let store = match opened {
            Ok(store) => store,
            Err((disk, error)) => {
                self.sites[office].disk = disk;
                self.observed(|| Observation::Failed { office, reason: error.to_string() });
                return;
            }
        };
        self.sites[office].disk = store.disk_without_tables();
        let payload_format = self.sites[office].payload_format;
        let ticket = self.sites[office].ticket.clone();
        let opening = Opening { payload_format, ..Opening::with(ticket) };
        match Replica::open(store, identity, opening, now, &mut |_| ()) {
            Ok(replica) => self.sites[office].replica = Some(replica),
            Err(error) => {
                self.observed(|| Observation::Failed { office, reason: error.to_string() });
                return;
            }
        }
        self.observe_start(office);
        if self.sites[office].room != RoomLeft::Enough {
            self.input(office, Input::Room(self.sites[office].room));
        }
        self.drain(office);
        self.plan_tick(office);
        self.connect_all(office);
    }

    /// Ends an office's node.
    pub fn stop(&mut self, office: SiteIndex, ending: Ending) {
        let Some(replica) = self.sites[office].replica.take() else { return };
        let draw = |what| random::number(self.seed, what, &[office as u64, self.time_ms]);
        let mut disk = replica.into_store().into_disk();
        let bytes_before = disk.journal_bytes();
        match ending {
            Ending::Orderly => disk.kill(TablesLoss::Batches(0)),
            Ending::Killed => disk.kill(tables_loss(draw("lag"))),
            Ending::PowerCut => disk.cut_power(draw("power cut"), tables_loss(draw("lag"))),
        }
        let bytes_lost = bytes_before.saturating_sub(disk.journal_bytes());
        let site = &mut self.sites[office];
        site.disk = disk;
        site.forget_process();
        self.disconnect_all(office);
        let crashed = ending != Ending::Orderly;
        self.observed(|| Observation::Stopped { office, crashed, bytes_lost });
    }

    /// A node's process was killed by its own disk in the middle of a write: the power goes with it.
    pub(super) fn die(&mut self, office: SiteIndex) {
        self.stop(office, Ending::PowerCut);
    }

    /// Lets the power fail in the middle of the next write to the journal, after `changes` more operations of the
    /// disk.
    pub fn die_after(&mut self, office: SiteIndex, changes: u32) {
        self.faulty_disk(office).kill_after(changes);
    }

    /// Stops an office's node without warning and starts it again, with or without its tables.
    pub fn restart(&mut self, office: SiteIndex, tables_lost: bool) {
        self.stop(office, Ending::Killed);
        if tables_lost {
            self.lose_tables(office);
        }
        self.start(office);
    }

    /// The tables of an office whose node is off are lost.
    pub fn lose_tables(&mut self, office: SiteIndex) {
        self.sites[office].disk.kill(TablesLoss::All);
    }

    /// Flips one bit in the journal of an office whose node is off.
    pub fn flip_bit(&mut self, office: SiteIndex, choice: u64) {
        if self.sites[office].disk.flip_bit(choice) {
            self.disk_changed(office, DiskChange::Damaged);
        }
    }

    /// A copy of an office's disk.
    pub fn backup(&self, office: SiteIndex) -> Option<OfficeDisk> {
        let site = self.sites.get(office)?;
        Some(match &site.replica {
            Some(replica) => replica.store().copy(),
            None => site.disk.copy(),
        })
    }

    /// Puts a copy of a disk in place of an office's own, with no link at first.
    pub fn restore(&mut self, office: SiteIndex, disk: OfficeDisk) {
        for peer in 0..self.sites.len() {
            self.unlink(office, peer);
        }
        self.replace_disk(office, disk);
        self.start(office);
    }

    /// Puts a copy of a disk in place of an office's own, of which [`World::disk_changed`] tells. The node is off
    /// afterwards. There is room, also where the disk was full that it is a copy of.
    pub fn replace_disk(&mut self, office: SiteIndex, mut disk: OfficeDisk) {
        self.stop(office, Ending::Killed);
        disk.kill(TablesLoss::Batches(0));
        disk.faulty_disk().set_space(None);
        self.sites[office].disk = disk;
        self.sites[office].ticket = None;
    }

    /// Tells observers that an office's disk holds less than it did.
    pub fn disk_changed(&mut self, office: SiteIndex, change: DiskChange) {
        self.observed(|| Observation::DiskChanged { office, change });
    }

    /// A second node with the key and a copy of the disk of an office, with no link at first.
    pub fn clone_office(&mut self, office: SiteIndex, name: &str) -> SiteIndex {
        let mut clone = Site::new(self.sites[office].key.clone(), name);
        clone.clock = self.sites[office].clock;
        clone.payload_format = self.sites[office].payload_format;
        if let Some(mut disk) = self.backup(office) {
            disk.kill(TablesLoss::Batches(0));
            clone.disk = disk;
        }
        self.add_site(clone)
    }

    /// Lets an office run a program of the next payload format from its next start on.
    pub fn upgrade(&mut self, office: SiteIndex) {
        self.sites[office].payload_format = PAYLOAD_FORMAT + 1;
    }

    /// The payload format of the program that runs at an office from its next start on.
    pub fn payload_format(&self, office: SiteIndex) -> u8 {
        self.sites[office].payload_format
    }

    /// Lets an office go on under another key, as `branchline rotate` does between two runs of its node. False: it may
    /// not, and keeps its key.
    pub fn rotate(&mut self, office: SiteIndex) -> bool {
        let Some(replica) = self.replica(office) else { return false };
        let from = self.site_id(office);
        let numbers = [office as u64, u64::from(self.starts(office))];
        let key = SiteKey::from_seed(random::hash(self.seed, "next key", &numbers));
        let (to, decision) = (key.site(), replica.realms().rotation_to(&key));
        let is_decided = matches!(self.decide(office, decision), Some(Ok(())));
        if is_decided {
            self.stop(office, Ending::Orderly);
            self.sites[office].key = key;
            self.sites[office].id = to;
            if let Some(offices) = self.offices.get_mut(&from) {
                offices.retain(|other| *other != office);
            }
            self.offices.entry(to).or_default().push(office);
            self.start(office);
        }
        is_decided
    }

    /// Lets an office's disk be full, or have room again.
    pub fn set_full(&mut self, office: SiteIndex, full: bool) {
        self.faulty_disk(office).set_space(full.then_some(0));
    }

    /// Lets an office have too little room for what others write, or enough again.
    pub fn set_room(&mut self, office: SiteIndex, room: RoomLeft) {
        if std::mem::replace(&mut self.sites[office].room, room) != room {
            self.input(office, Input::Room(room));
        }
    }

    /// Lets the next syncs of an office's disk fail, so many of them.
    pub fn fail_syncs(&mut self, office: SiteIndex, count: u32) {
        self.faulty_disk(office).fail_syncs(count);
    }

    fn faulty_disk(&self, office: SiteIndex) -> &FaultyDisk {
        let site = &self.sites[office];
        match &site.replica {
            Some(replica) => replica.store().disk(),
            None => site.disk.faulty_disk(),
        }
    }

    /// The store of a running office, to change it behind its replica's back.
    pub fn store_mut(&mut self, office: SiteIndex) -> Option<&mut SimulatedStore> {
        Some(self.sites[office].replica.as_mut()?.store_mut())
    }

    /// Frames of an office's journal that are known to be damaged.
    pub fn damaged_count(&self, office: SiteIndex) -> usize {
        self.replica(office).map_or(0, |replica| replica.store().damaged().len())
    }

    fn identity(&self, office: SiteIndex) -> Identity {
        let site = &self.sites[office];
        // By office and start, so that neither a restart nor a clone changes what happens elsewhere.
        let seed = random::number(self.seed, "life", &[office as u64, u64::from(site.starts)]);
        let incarnation = Incarnation::from_random(seed.to_le_bytes());
        Identity { key: site.key.clone(), name: site.name.clone(), incarnation, seed }
    }
}

/// Mostly the latest batches are lost, sometimes none, and seldom all.
fn tables_loss(draw: u64) -> TablesLoss {
    match draw % 8 {
        0 => TablesLoss::All,
        1 | 2 => TablesLoss::Batches(0),
        _ => TablesLoss::Batches((draw >> 3) as usize % 16),
    }
}
