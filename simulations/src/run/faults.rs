//! How each kind of fault begins and ends.

use branchline_crdt::replica::RoomLeft;

use super::{
    Action, BTreeSet, Decision, Edit, Ending, Event, Fault, FaultKind, FaultName, GONE, Liar,
    RngExt, Role, Run, Sabotage, SiteIndex, random,
};
use crate::hostile;
use crate::scenario::Occurrence;
use crate::world::DiskChange;

/// An office that could not be invited is invited again after this long.
const INVITE_AGAIN_MS: u64 = 10_000;
/// Operations of the disk after which a torn write ends: in the write itself, in its sync, or in the one after it.
const TORN_AFTER_MAX: u32 = 3;
/// More than is decided about members while room is short.
const SHORT: RoomLeft = RoomLeft::Short { membership_bytes_max: 1 << 20 };

impl Run<'_> {
    pub(super) fn begin(&mut self, index: usize) {
        let occurrence = self.occurrences[index].clone();
        let kind = occurrence.kind;
        self.counters.fault(kind.name());
        if self.trace.is_on() {
            let for_ms = occurrence.ends_ms.map(|ends_ms| ends_ms - occurrence.begins_ms);
            let sites = self.scenario.names(&kind.offices());
            let what = self.scenario.words(&kind);
            self.report(Event::Fault { kind: kind.name(), sites, what, for_ms });
        }
        match kind {
            FaultKind::Split { .. }
            | FaultKind::Isolate { .. }
            | FaultKind::Cut { .. }
            | FaultKind::OneWay { .. } => {
                for (from, to) in self.cut_directions(&kind) {
                    self.world.cut(from, to);
                }
            }
            FaultKind::Degrade { links, quality } => {
                for (a, b) in links {
                    self.world.degrade(a, b, index as u64, quality);
                }
            }
            FaultKind::Stop { offices } => {
                offices.into_iter().for_each(|office| self.world.stop(office, Ending::Orderly));
            }
            FaultKind::Crash { offices } => {
                for office in offices {
                    match self.forgetful.take() {
                        Some(disk) => self.world.replace_disk(office, disk),
                        None => self.world.stop(office, Ending::PowerCut),
                    }
                }
            }
            FaultKind::TornFrame { offices } => {
                for office in offices {
                    let changes = self.random.random_range(0..TORN_AFTER_MAX);
                    self.world.die_after(office, changes);
                    self.dying.insert(office);
                }
            }
            FaultKind::BitFlip { offices, bits } => {
                for office in offices {
                    self.oracle.excuse(office, &self.world);
                    let choices: Vec<u64> = (0..bits).map(|_| self.random.random()).collect();
                    self.with_node_off(office, |run| {
                        choices.iter().for_each(|choice| run.world.flip_bit(office, *choice));
                    });
                }
            }
            FaultKind::LostTables { offices } => {
                for office in offices {
                    self.with_node_off(office, |run| run.world.lose_tables(office));
                }
            }
            FaultKind::FullDisk { offices } => {
                offices.into_iter().for_each(|office| self.world.set_full(office, true));
            }
            FaultKind::ShortRoom { offices } => {
                offices.into_iter().for_each(|office| self.world.set_room(office, SHORT));
            }
            FaultKind::Restore { offices, .. } => {
                let disks = self.backups.remove(&index).unwrap_or_default();
                for (office, disk) in offices.into_iter().zip(disks) {
                    self.oracle.excuse(office, &self.world);
                    self.with_node_off(office, |run| {
                        run.world.replace_disk(office, disk);
                        run.world.disk_changed(office, DiskChange::SetBack);
                    });
                    self.join_again(office);
                }
            }
            FaultKind::Clone { offices } => {
                offices.into_iter().for_each(|office| self.begin_clone(index, office));
            }
            FaultKind::JoinLate { offices } => {
                for office in offices {
                    if !self.knows_network(office) {
                        self.world.link_with(0, office, self.scenario.quality);
                        self.world.invite(0, office, Role::Writer);
                    }
                    if !self.knows_network(office) {
                        self.agenda.plan(self.now_ms() + INVITE_AGAIN_MS, Action::Begin(index));
                    }
                }
            }
            FaultKind::Revoke { by, offices } => {
                for office in offices {
                    let site = self.world.site_id(office);
                    self.world.decide(by, Decision::Revoke { site });
                }
            }
            FaultKind::ChangeRole { by, offices, role } => {
                for office in offices {
                    let site = self.world.site_id(office);
                    self.world.decide(by, Decision::ChangeRole { site, role });
                }
            }
            FaultKind::Rotate { offices } => {
                for office in offices {
                    self.rotate(office);
                }
            }
            FaultKind::Upgrade { offices } => {
                for office in offices {
                    self.with_node_off(office, |run| run.world.upgrade(office));
                }
            }
            FaultKind::Clock { offices, offset_ms } => self.move_clocks(&offices, offset_ms),
            FaultKind::Byzantine { offices, acts } => {
                for office in offices {
                    let draw = random::concern(self.seed, "liar", &[index as u64, office as u64]);
                    let liar = Liar::new(office, acts.clone(), draw);
                    self.liar_offices.push(office);
                    let number = self.occurrences.len() * (office + 1) + index;
                    self.liars.insert(number, liar);
                    self.agenda.plan(self.now_ms(), Action::Lie(number));
                }
            }
        }
    }

    pub(super) fn end(&mut self, index: usize) {
        let kind = self.occurrences[index].kind.clone();
        match kind {
            FaultKind::Split { .. }
            | FaultKind::Isolate { .. }
            | FaultKind::Cut { .. }
            | FaultKind::OneWay { .. } => {
                for (from, to) in self.cut_directions(&kind) {
                    self.world.mend(from, to);
                }
            }
            FaultKind::Degrade { links, .. } => {
                for (a, b) in links {
                    self.world.restore_quality(a, b, index as u64);
                }
            }
            FaultKind::Stop { offices } | FaultKind::Crash { offices } => {
                offices.into_iter().for_each(|office| self.world.start(office));
            }
            FaultKind::TornFrame { offices } => {
                offices.into_iter().for_each(|office| self.let_live(office));
            }
            FaultKind::FullDisk { offices } => {
                offices.into_iter().for_each(|office| self.world.set_full(office, false));
            }
            FaultKind::ShortRoom { offices } => {
                offices
                    .into_iter()
                    .for_each(|office| self.world.set_room(office, RoomLeft::Enough));
            }
            FaultKind::Clone { .. } => self.end_clones(index),
            FaultKind::Clock { offices, offset_ms } => self.move_clocks(&offices, -offset_ms),
            FaultKind::Byzantine { offices, .. } => {
                for office in offices {
                    self.liars.remove(&(self.occurrences.len() * (office + 1) + index));
                }
            }
            FaultKind::BitFlip { .. }
            | FaultKind::LostTables { .. }
            | FaultKind::Restore { .. }
            | FaultKind::JoinLate { .. }
            | FaultKind::Revoke { .. }
            | FaultKind::ChangeRole { .. }
            | FaultKind::Rotate { .. }
            | FaultKind::Upgrade { .. } => {}
        }
    }

    /// Whether an office runs, and knows its network, if only by a ticket.
    fn knows_network(&self, office: SiteIndex) -> bool {
        self.world.replica(office).is_some_and(|replica| replica.realms().network().is_some())
    }

    /// An office whose backup is from before it joined is given another ticket once it runs, as its people would ask for
    /// one.
    fn join_again(&mut self, office: SiteIndex) {
        let has_joined = |occurrence: &Occurrence| {
            matches!(&occurrence.kind, FaultKind::JoinLate { offices } if offices.contains(&office))
                && occurrence.begins_ms <= self.now_ms()
        };
        let joining = self.occurrences.iter().position(has_joined);
        if let (false, Some(index)) = (self.knows_network(office), joining) {
            self.agenda.plan(self.now_ms() + INVITE_AGAIN_MS, Action::Begin(index));
        }
    }

    /// All faults end. Clocks may stay wrong.
    pub(super) fn heal(&mut self) {
        self.resurrect();
        let clones: Vec<_> = self.clones.keys().copied().collect();
        clones.into_iter().for_each(|index| self.end_clones(index));
        self.liars.clear();
        let upgrades = |fault: &Fault| fault.kind.name() == FaultName::Upgrade;
        let is_upgraded = self.scenario.faults.iter().any(upgrades);
        for office in 0..self.scenario.offices.len() {
            self.world.set_full(office, false);
            self.world.set_room(office, RoomLeft::Enough);
            self.let_live(office);
            if is_upgraded {
                self.with_node_off(office, |run| run.world.upgrade(office));
            }
            self.world.start(office);
        }
        for (a, b) in self.scenario.links.clone() {
            self.world.mend_all(a, b);
        }
        self.settle();
    }

    /// An office that was to die over its next write, and may have: it runs again.
    fn let_live(&mut self, office: SiteIndex) {
        if self.dying.remove(&office) {
            self.world.stop(office, Ending::PowerCut);
            self.world.start(office);
        }
    }

    fn begin_clone(&mut self, index: usize, office: SiteIndex) {
        let name = format!("{}-clone", self.world.name(office));
        let clone = self.world.clone_office(office, &name);
        for (a, b) in self.scenario.links.clone() {
            if a == office || b == office {
                let peer = if a == office { b } else { a };
                self.world.link_with(clone, peer, self.scenario.quality);
            }
        }
        self.clones.entry(index).or_default().push(clone);
        let at_ms = self.now_ms() + self.workload.pause_ms(clone);
        self.agenda.plan(at_ms, Action::Write(clone));
    }

    /// The copies are thrown away, with what only they held.
    fn end_clones(&mut self, index: usize) {
        for clone in self.clones.remove(&index).unwrap_or_default() {
            self.oracle.excuse(clone, &self.world);
            self.world.stop(clone, Ending::Killed);
            self.world.unlink_all(clone);
        }
    }

    /// The office and the copies of its disk that run, each under a new key.
    fn rotate(&mut self, office: SiteIndex) {
        let site = self.world.site_id(office);
        let clones = self.clones.values().flatten().copied();
        let copies = clones.filter(|clone| self.world.site_id(*clone) == site);
        for office in [office].into_iter().chain(copies).collect::<Vec<_>>() {
            self.world.rotate(office);
            let (site, name) = (self.world.site_id(office), self.world.name(office).to_owned());
            self.tracer.meet(site, &name);
        }
    }

    fn move_clocks(&mut self, offices: &[SiteIndex], by_ms: i64) {
        for office in offices {
            let mut clock = self.world.clock(*office);
            clock.offset_ms = clock.offset_ms.saturating_add(by_ms);
            self.world.set_clock(*office, clock);
        }
    }

    /// The directions of links that a fault cuts, each as from whom to whom.
    fn cut_directions(&self, kind: &FaultKind) -> Vec<(SiteIndex, SiteIndex)> {
        let both = |(a, b): (SiteIndex, SiteIndex)| [(a, b), (b, a)];
        let links = self.scenario.links.iter().copied();
        match kind {
            FaultKind::Split { groups } => {
                let group = |office| groups.iter().position(|group| group.contains(&office));
                let is_between = |(a, b): &(SiteIndex, SiteIndex)| match (group(*a), group(*b)) {
                    (Some(one), Some(other)) => one != other,
                    (Some(_) | None, _) => false,
                };
                links.filter(is_between).flat_map(both).collect()
            }
            FaultKind::Isolate { offices } => {
                let hits: BTreeSet<_> = offices.iter().collect();
                links.filter(|(a, b)| hits.contains(a) || hits.contains(b)).flat_map(both).collect()
            }
            FaultKind::Cut { links } => links.iter().copied().flat_map(both).collect(),
            FaultKind::OneWay { links } => links.iter().map(|(a, b)| (*b, *a)).collect(),
            FaultKind::Degrade { .. }
            | FaultKind::Stop { .. }
            | FaultKind::Crash { .. }
            | FaultKind::TornFrame { .. }
            | FaultKind::BitFlip { .. }
            | FaultKind::LostTables { .. }
            | FaultKind::FullDisk { .. }
            | FaultKind::ShortRoom { .. }
            | FaultKind::Restore { .. }
            | FaultKind::Clone { .. }
            | FaultKind::JoinLate { .. }
            | FaultKind::Clock { .. }
            | FaultKind::Byzantine { .. }
            | FaultKind::Revoke { .. }
            | FaultKind::ChangeRole { .. }
            | FaultKind::Rotate { .. }
            | FaultKind::Upgrade { .. } => Vec::new(),
        }
    }

    /// Sabotage: what must not reach a stranger does.
    pub(super) fn leak(&mut self) {
        if self.sabotage == Some(Sabotage::Leak) {
            hostile::leak(&mut self.world, 0, self.stranger);
        }
    }

    /// Sabotage: a record comes back that nobody brought back.
    fn resurrect(&mut self) {
        if self.sabotage != Some(Sabotage::Resurrect) {
            return;
        }
        let deleted = self.oracle.writes().find_map(|write| {
            let id = write.planned.deletes.clone()?;
            self.world.view(0, GONE, &id).filter(|view| view.deleted).map(|_| id)
        });
        if let Some(id) = deleted {
            // Nobody is informed: the oracle knows nothing of this write.
            self.world.write(0, GONE, &id, Edit::Undelete).ok();
        }
    }
}
