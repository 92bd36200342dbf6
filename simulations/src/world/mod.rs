//! Offices, the links between them, and the messages under way, in virtual time.
//!
//! - `node`: one office's node, driven as the product's driver does it.
//! - `transport`: connections and messages, with the manners of the product's network layer.
//! - `power`: starts, crashes, and what disks do to those who trust them.
//! - `link`, `clock`, `events`, `random`: what these are made of.
//!
//! Time goes from event to event. A replica is given the time when it has something to do then
//! ([`Replica::due_ms`]), on the 100 ms grid of the product's driver; the ticks in between, which do nothing, are
//! left out ([`World::tick_always`] has them all).

mod clock;
mod events;
mod link;
mod node;
mod observation;
mod power;
pub mod random;
mod site;
mod transport;

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::Replica;
use branchline_crdt::ids::{RealmId, SiteId, SiteKey, SpaceId};
use branchline_crdt::log::entry::Origin;
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::record::{Edit, View};
use branchline_crdt::replica::{
    Decision, DecisionError, Input, LocalTransaction, Notice, RecordEdit, WriteError, Written,
};
use branchline_crdt::store::StoreError;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;

use crate::scenario::LinkQuality;
use crate::store::SimulatedStore;

pub use clock::{EPOCH_MS, WallClock};
pub use link::LostTo;
pub use observation::{DiskChange, Observation, Receiver};
pub use power::Ending;
pub use transport::{Message, Tamper};

use events::{Events, WorldEvent};
use link::Link;
use site::Site;

/// An office in the world: its number, from 0.
pub type SiteIndex = usize;

/// Links of tests that do not ask for worse.
const GOOD_LINK: LinkQuality =
    LinkQuality { latency_ms: 5, jitter_ms: 2, loss_ppm: 0, bytes_per_second: None };

/// Bytes and messages that sync took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes, without the transport's own.
    pub bytes: u64,
}

/// Offices, the links between them, and the messages under way.
pub struct World {
    seed: u64,
    sites: Vec<Site>,
    /// A cloned disk makes two offices of one site.
    offices: BTreeMap<SiteId, Vec<SiteIndex>>,
    links: BTreeMap<(SiteIndex, SiteIndex), Link>,
    neighbours: Vec<BTreeSet<SiteIndex>>,
    events: Events,
    time_ms: u64,
    /// Numbers for writes, tokens and messages.
    count: u64,
    traffic: Traffic,
    /// What happened since it was asked last; `None`: nobody asks.
    observations: Option<Vec<Observation>>,
    ticks_always: bool,
    tamper: Option<Tamper>,
}

impl World {
    /// A network of offices, all members, with no link yet. The first founded it.
    pub fn new(seed: u64, names: &[&str]) -> Self {
        let mut world = Self::found(seed, names);
        for office in 1..names.len() {
            world.link(0, office);
            world.join(0, office, Role::Writer);
            world.unlink(0, office);
        }
        world
    }

    /// Offices of which only the first is a member: of the network that it founded.
    pub fn found(seed: u64, names: &[&str]) -> Self {
        let mut world = Self {
            seed,
            sites: Vec::new(),
            offices: BTreeMap::new(),
            links: BTreeMap::new(),
            neighbours: Vec::new(),
            events: Events::default(),
            time_ms: 0,
            count: 0,
            traffic: Traffic::default(),
            observations: None,
            ticks_always: false,
            tamper: None,
        };
        for name in names {
            world.add_office(name);
        }
        let founders = vec![(world.site_id(0), world.sites[0].name.clone())];
        let genesis = Genesis { founders, time_ms: EPOCH_MS, nonce: [7; 16] };
        if let Some(replica) = &mut world.sites[0].replica {
            replica.found(genesis);
        }
        world.inputs(0, Vec::new());
        world
    }

    /// A new office that belongs to no network.
    pub fn add_office(&mut self, name: &str) -> SiteIndex {
        let office = self.sites.len();
        let key = SiteKey::from_seed(random::hash(self.seed, "key", &[office as u64]));
        self.add_site(Site::new(key, name))
    }

    fn add_site(&mut self, site: Site) -> SiteIndex {
        let office = self.sites.len();
        self.offices.entry(site.id).or_default().push(office);
        self.sites.push(site);
        self.neighbours.push(BTreeSet::new());
        self.start(office);
        office
    }

    /// Invites and joins over an existing link, and waits until it is done.
    pub fn join(&mut self, inviter: SiteIndex, office: SiteIndex, role: Role) {
        self.invite(inviter, office, role);
        self.run_ms(1_000);
    }

    /// Gives an office a ticket to join with, which it presents over a link to the inviter.
    pub fn invite(&mut self, inviter: SiteIndex, office: SiteIndex, role: Role) {
        let secret = SiteKey::from_seed(random::hash(self.seed, "ticket", &[office as u64]));
        let addresses = vec![inviter.to_string()];
        let replica = self.sites[inviter].replica.as_ref();
        // Tickets expire by the wall clocks of both sides, which may be a year apart.
        let ticket =
            replica.and_then(|replica| replica.invite(role, i64::MAX, secret, addresses).ok());
        if let Some(ticket) = ticket {
            self.sites[office].ticket = Some(ticket.clone());
            self.input(office, Input::Join(Box::new(ticket)));
        }
    }

    /// Number of offices, running or not.
    pub fn office_count(&self) -> usize {
        self.sites.len()
    }

    /// An office's name.
    pub fn name(&self, office: SiteIndex) -> &str {
        &self.sites[office].name
    }

    /// The site of an office.
    pub fn site_id(&self, office: SiteIndex) -> SiteId {
        self.sites[office].id
    }

    /// The key pair of an office, for tests in which it lies.
    pub fn key(&self, office: SiteIndex) -> &SiteKey {
        &self.sites[office].key
    }

    /// The network, as the first office that runs knows it.
    pub fn network(&self) -> Option<RealmId> {
        self.sites.iter().find_map(|site| site.replica.as_ref()?.realms().network())
    }

    /// The replica of an office that is up.
    pub fn replica(&self, office: SiteIndex) -> Option<&Replica<SimulatedStore>> {
        self.sites.get(office)?.replica.as_ref()
    }

    /// How often an office's node has started.
    pub fn starts(&self, office: SiteIndex) -> u32 {
        self.sites[office].starts
    }

    /// What an office had to say to its operator.
    pub fn notices(&self, office: SiteIndex) -> &[Notice] {
        &self.sites[office].notices
    }

    /// The members that an office's network layer was informed of last.
    pub fn told_members(&self, office: SiteIndex) -> &BTreeSet<SiteId> {
        &self.sites[office].members
    }

    /// Sync messages since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Events that wait: messages under way, and timers.
    pub fn events_waiting(&self) -> usize {
        self.events.len()
    }

    /// Virtual time since the world began, in ms.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Keeps what happens from now on, for [`World::take_observations`]. It begins with what each running node holds.
    pub fn observe(&mut self) {
        self.observations.get_or_insert_default();
        for office in 0..self.sites.len() {
            if self.sites[office].replica.is_some() {
                self.observe_start(office);
            }
        }
    }

    /// What happened since the last call.
    pub fn take_observations(&mut self) -> Vec<Observation> {
        self.observations.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn observed(&mut self, observation: impl FnOnce() -> Observation) {
        if let Some(observations) = &mut self.observations {
            observations.push(observation());
        }
    }

    /// Tells every replica the time each 100 ms, whether it has something to do or not.
    pub fn tick_always(&mut self) {
        self.ticks_always = true;
        for office in 0..self.sites.len() {
            self.sites[office].tick_ms = None;
            self.plan_tick(office);
        }
    }

    /// Sets an office's wall clock.
    pub fn set_clock(&mut self, office: SiteIndex, clock: WallClock) {
        self.sites[office].clock = clock;
    }

    /// An office's wall clock.
    pub fn clock(&self, office: SiteIndex) -> WallClock {
        self.sites[office].clock
    }

    /// What an office's wall clock shows.
    pub fn wall_ms(&self, office: SiteIndex) -> i64 {
        self.sites[office].clock.shows(self.time_ms)
    }

    /// Lets something change, drop or add to messages on their way: to prove that checkers notice.
    pub fn tamper(&mut self, tamper: Tamper) {
        self.tamper = Some(tamper);
    }

    /// Writes one edit at an office.
    ///
    /// # Errors
    /// [`WriteError`] says why the office refused it.
    pub fn write(
        &mut self,
        office: SiteIndex,
        collection: &str,
        id: &str,
        edit: Edit,
    ) -> Result<Written, WriteError> {
        let edit = RecordEdit::new(collection, id, edit);
        self.transact(office, None, vec![edit])
    }

    /// Writes one transaction at an office.
    ///
    /// # Errors
    /// [`WriteError`] says why the office refused it.
    pub fn transact(
        &mut self,
        office: SiteIndex,
        origin: Option<Origin>,
        edits: Vec<RecordEdit>,
    ) -> Result<Written, WriteError> {
        let unanswered = || WriteError::Unwritable { reason: "the office is down".to_owned() };
        self.try_transact(office, origin, edits).unwrap_or_else(|| Err(unanswered()))
    }

    /// Writes one transaction at an office. `None`: nobody answered, for the node is down, or died over it.
    pub fn try_transact(
        &mut self,
        office: SiteIndex,
        origin: Option<Origin>,
        edits: Vec<RecordEdit>,
    ) -> Option<Result<Written, WriteError>> {
        self.try_transact_in(office, None, origin, edits)
    }

    /// As [`World::try_transact`], in a space of records.
    pub fn try_transact_in(
        &mut self,
        office: SiteIndex,
        space: Option<SpaceId>,
        origin: Option<Origin>,
        edits: Vec<RecordEdit>,
    ) -> Option<Result<Written, WriteError>> {
        let id = self.number();
        let transactions = vec![LocalTransaction { origin, edits }];
        self.input(office, Input::Write { id, space, transactions });
        self.sites[office].results.remove(&id)?.pop()
    }

    /// Makes a decision of a member at an office. `None`: its node is down.
    pub fn decide(
        &mut self,
        office: SiteIndex,
        decision: Decision,
    ) -> Option<Result<(), DecisionError>> {
        let id = self.number();
        self.input(office, Input::Decide { id, decision });
        self.sites[office].decisions.remove(&id)
    }

    /// The results of a write that was sent as an input.
    pub fn take_results(
        &mut self,
        office: SiteIndex,
        id: u64,
    ) -> Option<Vec<Result<Written, WriteError>>> {
        self.sites[office].results.remove(&id)
    }

    /// Lets `ms` pass, delivering everything in between.
    pub fn run_ms(&mut self, ms: u64) {
        let end_ms = self.time_ms + ms;
        while self.step(end_ms) {}
    }

    /// Lets the next event before `end_ms` happen. False: there is none, and it is `end_ms`.
    pub fn step(&mut self, end_ms: u64) -> bool {
        let Some((at_ms, event)) = self.events.next(end_ms) else {
            self.time_ms = self.time_ms.max(end_ms);
            return false;
        };
        self.time_ms = at_ms;
        match event {
            WorldEvent::Deliver { number, from, to, session, message } => {
                self.deliver(number, from, to, session, message);
            }
            WorldEvent::Tick { office } => {
                if self.sites[office].tick_ms == Some(at_ms) {
                    self.sites[office].tick_ms = None;
                    self.input(office, Input::Tick);
                }
            }
            WorldEvent::Notice { a, b, session } => self.notice_link(a, b, session),
            WorldEvent::Search { office, peer, session } => self.search(office, peer, session),
            WorldEvent::TimedOut { office, peer, id, start } => {
                self.time_out(office, peer, id, start)
            }
        }
        true
    }

    /// Whether all running offices hold the same, by their frontiers.
    pub fn in_step(&self) -> bool {
        let all: Vec<_> = (0..self.sites.len()).filter(|o| self.replica(*o).is_some()).collect();
        self.are_in_step(&all)
    }

    /// Whether these offices hold the same, by their frontiers.
    pub fn are_in_step(&self, offices: &[SiteIndex]) -> bool {
        let Some(network) = self.network() else { return false };
        let spaces = [network.membership_space(), network.main_space()];
        spaces.iter().all(|space| {
            let held = |office: &SiteIndex| self.replica(*office)?.realms().frontier(*space);
            let first = offices.first().and_then(held);
            first.is_some() && offices.iter().all(|office| held(office) == first)
        })
    }

    /// Digest of the main space at an office, in hex.
    pub fn digest(&self, office: SiteIndex) -> String {
        let read = |store: &SimulatedStore, space| read::digest(store, space);
        self.read(office, read).map(|digest| digest.to_string()).unwrap_or_default()
    }

    /// The view of a record at an office.
    pub fn view(&self, office: SiteIndex, collection: &str, id: &str) -> Option<View> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let key = |space| RecordKey { space, collection, id };
        self.read(office, |store, space| read::record(store, &key(space))).flatten()
    }

    /// Reads the tables of an office that is up.
    pub fn read<T>(
        &self,
        office: SiteIndex,
        read: impl FnOnce(&SimulatedStore, SpaceId) -> Result<T, StoreError>,
    ) -> Option<T> {
        let replica = self.replica(office)?;
        read(replica.store(), replica.realms().network()?.main_space()).ok()
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

fn pair(a: SiteIndex, b: SiteIndex) -> (SiteIndex, SiteIndex) {
    (a.min(b), a.max(b))
}
