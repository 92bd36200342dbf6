//! Offices, the links between them, and the messages under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use branchline_crdt::Replica;
use branchline_crdt::entry::Origin;
use branchline_crdt::ids::{Incarnation, NetworkId, SiteId, SiteKey, SpaceId};
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::memory::MemoryStore;
use branchline_crdt::read;
use branchline_crdt::record::{Edit, View};
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Notice, Now, Output, RecordEdit, Validation, WriteError,
    Written,
};
use branchline_crdt::store::StoreError;
use branchline_crdt::tables::records::RecordKey;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// How far time goes in one step.
const STEP_MS: u64 = 50;
/// Messages that one step may deliver; more means that they breed each other.
const DELIVERIES_MAX: usize = 200_000;
/// The world begins on this day (2026-01-01), for display only.
const EPOCH_MS: i64 = 1_767_225_600_000;

/// An office in the world: its number, from 0.
pub type Office = usize;

/// What travels between two offices.
#[derive(Clone, Debug)]
enum Message {
    Gossip { topic: String, data: Vec<u8> },
    Request { id: u64, body: Vec<u8> },
    Response { id: u64, body: Vec<u8> },
    Introduction { body: Vec<u8> },
    IntroductionAnswer { body: Vec<u8> },
}

/// Bytes and messages that a kind of traffic took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes, without the transport's own.
    pub bytes: u64,
}

struct Site {
    key: SiteKey,
    name: String,
    replica: Option<Replica<MemoryStore>>,
    topics: BTreeSet<String>,
    members: BTreeSet<SiteId>,
    connected: BTreeSet<Office>,
    tokens: BTreeMap<u64, (Office, u64)>,
    gossip: BTreeMap<u64, (Office, String, Vec<u8>)>,
    seen: BTreeSet<Vec<u8>>,
    results: BTreeMap<u64, Vec<Result<Written, WriteError>>>,
    notices: Vec<Notice>,
}

/// Offices, the links between them, and the messages under way.
pub struct World {
    sites: Vec<Site>,
    links: BTreeSet<(Office, Office)>,
    under_way: VecDeque<(Office, Office, Message)>,
    random: SmallRng,
    time_ms: u64,
    count: u64,
    traffic: Traffic,
}

impl World {
    /// A network of offices, all members, with no link yet. The first founded it.
    pub fn new(seed: u64, names: &[&str]) -> Self {
        let mut world = Self {
            sites: Vec::new(),
            links: BTreeSet::new(),
            under_way: VecDeque::new(),
            random: SmallRng::seed_from_u64(seed),
            time_ms: 0,
            count: 0,
            traffic: Traffic::default(),
        };
        for name in names {
            world.add_office(name);
        }
        let founders = vec![(world.site_id(0), world.sites[0].name.clone())];
        let genesis = Genesis { founders, time_ms: EPOCH_MS, nonce: [7; 16] };
        if let Some(replica) = &mut world.sites[0].replica {
            replica.found(genesis);
        }
        world.commit(0);
        for office in 1..names.len() {
            world.link(0, office);
            world.join(0, office, Role::Writer);
            world.unlink(0, office);
        }
        world
    }

    /// A new office that belongs to no network.
    pub fn add_office(&mut self, name: &str) -> Office {
        let mut seed = [0; 32];
        self.random.fill(&mut seed);
        let key = SiteKey::from_seed(seed);
        let mut site = Site {
            key,
            name: name.to_owned(),
            replica: None,
            topics: BTreeSet::new(),
            members: BTreeSet::new(),
            connected: BTreeSet::new(),
            tokens: BTreeMap::new(),
            gossip: BTreeMap::new(),
            seen: BTreeSet::new(),
            results: BTreeMap::new(),
            notices: Vec::new(),
        };
        let identity = self.identity(&site);
        site.replica = open(MemoryStore::new(), identity, self.now());
        self.sites.push(site);
        self.sites.len() - 1
    }

    /// Invites and joins over an existing link, and waits until it is done.
    pub fn join(&mut self, inviter: Office, office: Office, role: Role) {
        let mut seed = [0; 32];
        self.random.fill(&mut seed);
        let expires_ms = self.now().wall_ms + 3_600_000;
        let addresses = vec![inviter.to_string()];
        let replica = self.sites[inviter].replica.as_ref();
        let ticket = replica.and_then(|replica| {
            replica.invite(role, expires_ms, SiteKey::from_seed(seed), addresses).ok()
        });
        if let Some(ticket) = ticket {
            self.input(office, Input::Join(Box::new(ticket)));
        }
        self.run_ms(1_000);
    }

    /// The site of an office.
    pub fn site_id(&self, office: Office) -> SiteId {
        self.sites[office].key.site()
    }

    /// The key pair of an office, for tests in which it lies.
    pub fn key(&self, office: Office) -> &SiteKey {
        &self.sites[office].key
    }

    /// The network, as the founder knows it.
    pub fn network(&self) -> Option<NetworkId> {
        self.sites[0].replica.as_ref()?.network()
    }

    /// The replica of an office that is up.
    pub fn replica(&self, office: Office) -> Option<&Replica<MemoryStore>> {
        self.sites.get(office)?.replica.as_ref()
    }

    /// What an office had to tell its operator.
    pub fn notices(&self, office: Office) -> &[Notice] {
        &self.sites[office].notices
    }

    /// Sync messages since the last call.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Connects two offices.
    pub fn link(&mut self, a: Office, b: Office) {
        self.links.insert(pair(a, b));
        self.connect();
    }

    /// Cuts the link between two offices; messages under way are lost.
    pub fn unlink(&mut self, a: Office, b: Office) {
        self.links.remove(&pair(a, b));
        self.under_way.retain(|(from, to, _)| pair(*from, *to) != pair(a, b));
        for (office, peer) in [(a, b), (b, a)] {
            if self.sites[office].connected.remove(&peer) {
                let site = self.site_id(peer);
                self.input(office, Input::PeerDown(site));
            }
        }
    }

    /// Stops an office's node without warning and starts it again, with or without its tables.
    pub fn restart(&mut self, office: Office, tables_lost: bool) {
        let peers: Vec<_> = (0..self.sites.len()).filter(|p| self.is_linked(office, *p)).collect();
        for peer in &peers {
            self.unlink(office, *peer);
        }
        let Some(replica) = self.sites[office].replica.take() else { return };
        let store = replica.into_store();
        let store = if tables_lost { store.without_tables() } else { store };
        let identity = self.identity(&self.sites[office]);
        let now = self.now();
        let site = &mut self.sites[office];
        site.tokens.clear();
        site.gossip.clear();
        site.replica = open(store, identity, now);
        self.drain(office);
        for peer in peers {
            self.link(office, peer);
        }
    }

    /// Writes one edit at an office.
    pub fn write(
        &mut self,
        office: Office,
        collection: &str,
        id: &str,
        edit: Edit,
    ) -> Result<Written, WriteError> {
        let edit = RecordEdit { collection: collection.to_owned(), id: id.to_owned(), edit };
        self.transact(office, None, vec![edit])
    }

    /// Writes one transaction at an office.
    pub fn transact(
        &mut self,
        office: Office,
        origin: Option<Origin>,
        edits: Vec<RecordEdit>,
    ) -> Result<Written, WriteError> {
        self.count += 1;
        let id = self.count;
        let transactions = vec![LocalTransaction { origin, edits }];
        self.input(office, Input::Write { id, transactions });
        let results = self.sites[office].results.remove(&id);
        let unanswered = || WriteError::Unwritable { reason: "the office is down".to_owned() };
        results.and_then(|mut results| results.pop()).unwrap_or_else(|| Err(unanswered()))
    }

    /// Sends an input of any kind, as a hostile office might cause.
    pub fn input(&mut self, office: Office, input: Input) {
        self.inputs(office, vec![input]);
    }

    /// Sends inputs that share one commit.
    pub fn inputs(&mut self, office: Office, inputs: Vec<Input>) {
        let now = self.now();
        let Some(replica) = &mut self.sites[office].replica else { return };
        let handled = inputs.into_iter().try_for_each(|input| replica.handle(input, now));
        let committed = handled.and_then(|()| replica.commit());
        self.must(office, committed);
        self.drain(office);
    }

    /// The results of a write that was sent as an input.
    pub fn take_results(
        &mut self,
        office: Office,
        id: u64,
    ) -> Option<Vec<Result<Written, WriteError>>> {
        self.sites[office].results.remove(&id)
    }

    /// Lets an office make its tables anew while it runs.
    pub fn rebuild(&mut self, office: Office) {
        let Some(replica) = &mut self.sites[office].replica else { return };
        let rebuilt = replica.rebuild(&mut |_| ());
        self.must(office, rebuilt);
        self.drain(office);
    }

    /// The members that an office's network layer was told of last.
    pub fn told_members(&self, office: Office) -> &BTreeSet<SiteId> {
        &self.sites[office].members
    }

    /// A copy of an office's disk.
    pub fn backup(&self, office: Office) -> Option<MemoryStore> {
        Some(self.replica(office)?.store().clone())
    }

    /// Puts a copy of a disk in place of an office's own, with no link at first.
    pub fn restore(&mut self, office: Office, disk: MemoryStore) {
        for peer in 0..self.sites.len() {
            self.unlink(office, peer);
        }
        let identity = self.identity(&self.sites[office]);
        let now = self.now();
        let site = &mut self.sites[office];
        site.tokens.clear();
        site.gossip.clear();
        site.replica = open(disk, identity, now);
        self.drain(office);
    }

    /// Lets an office's disk be full, or have room again.
    pub fn set_full(&mut self, office: Office, full: bool) {
        if let Some(replica) = &mut self.sites[office].replica {
            replica.store_mut().set_full(full);
        }
    }

    /// Lets an office find out that a linked one does not know it as a member.
    pub fn present(&mut self, office: Office, to: Office) {
        let to = self.site_id(to);
        self.input(office, Input::RequestFailed { to, id: 0, unsupported: true });
    }

    /// Lets `ms` pass, delivering everything in between.
    pub fn run_ms(&mut self, ms: u64) {
        let end = self.time_ms + ms;
        while self.time_ms < end {
            self.time_ms += STEP_MS;
            for office in 0..self.sites.len() {
                self.input(office, Input::Tick);
            }
            self.deliver();
        }
    }

    /// Whether all offices hold the same, by their frontiers.
    pub fn in_step(&self) -> bool {
        let Some(network) = self.network() else { return false };
        let spaces = [network.membership_space(), network.main_space()];
        spaces.iter().all(|space| {
            let held = |site: &Site| site.replica.as_ref()?.frontier(*space);
            let first = held(&self.sites[0]);
            first.is_some() && self.sites.iter().all(|site| held(site) == first)
        })
    }

    /// Digest of the main space at an office, in hex.
    pub fn digest(&self, office: Office) -> String {
        let read = |store: &MemoryStore, space| read::digest(store, space).map(|d| d.to_string());
        self.read(office, read).unwrap_or_default()
    }

    /// The view of a record at an office.
    pub fn view(&self, office: Office, collection: &str, id: &str) -> Option<View> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let read =
            |store: &MemoryStore, space| read::record(store, &RecordKey { space, collection, id });
        self.read(office, read).flatten()
    }

    fn read<T>(
        &self,
        office: Office,
        read: impl FnOnce(&MemoryStore, SpaceId) -> Result<T, StoreError>,
    ) -> Option<T> {
        let replica = self.sites[office].replica.as_ref()?;
        read(replica.store(), replica.network()?.main_space()).ok()
    }

    fn identity(&self, site: &Site) -> Identity {
        // Not from `random`: a restart must not change what happens elsewhere.
        let seed = mix(&site.key.site().0, self.time_ms);
        let incarnation = Incarnation(seed.to_le_bytes());
        Identity { key: site.key.clone(), name: site.name.clone(), incarnation, seed }
    }

    fn now(&self) -> Now {
        let since = i64::try_from(self.time_ms).unwrap_or(i64::MAX);
        Now { wall_ms: EPOCH_MS.saturating_add(since), monotonic_ms: self.time_ms }
    }

    fn is_linked(&self, a: Office, b: Office) -> bool {
        self.links.contains(&pair(a, b))
    }

    fn commit(&mut self, office: Office) {
        let Some(replica) = &mut self.sites[office].replica else { return };
        let committed = replica.commit();
        self.must(office, committed);
        self.drain(office);
    }

    /// A store in memory does not fail; if it does, the office stops, which every test notices.
    fn must<T>(&mut self, office: Office, result: Result<T, StoreError>) {
        if result.is_err() {
            self.sites[office].replica = None;
        }
    }

    /// Members that are linked and know each other are connected.
    fn connect(&mut self) {
        for (a, b) in self.links.clone() {
            let knows = |x: Office, y: Office| self.sites[x].members.contains(&self.site_id(y));
            if knows(a, b) && knows(b, a) && !self.sites[a].connected.contains(&b) {
                for (office, peer) in [(a, b), (b, a)] {
                    self.sites[office].connected.insert(peer);
                    let site = self.site_id(peer);
                    self.input(office, Input::PeerUp(site));
                }
            }
        }
    }

    fn office_of(&self, site: &SiteId) -> Option<Office> {
        self.sites.iter().position(|other| other.key.site() == *site)
    }

    fn drain(&mut self, office: Office) {
        while let Some(output) =
            self.sites[office].replica.as_mut().and_then(|replica| replica.output())
        {
            self.act(office, output);
        }
    }

    fn act(&mut self, office: Office, output: Output) {
        match output {
            Output::Written { id, results } => {
                self.sites[office].results.insert(id, results);
            }
            Output::Request { to, id, body } => {
                self.send_to(office, &to, Message::Request { id, body });
            }
            Output::Respond { token, body } => {
                if let Some((to, id)) = self.sites[office].tokens.remove(&token) {
                    self.send(office, to, Message::Response { id, body });
                }
            }
            Output::Introduce { to, addresses: _, body } => {
                self.send_to(office, &to, Message::Introduction { body });
            }
            Output::AnswerIntroduction { token, body } => {
                if let Some((to, _)) = self.sites[office].tokens.remove(&token) {
                    self.send(office, to, Message::IntroductionAnswer { body });
                }
            }
            Output::Subscribe(topic) => {
                self.sites[office].topics.insert(topic);
            }
            Output::Publish { topic, data } => {
                self.sites[office].seen.insert(data.clone());
                self.spread(office, None, &topic, &data);
            }
            Output::Validate { token, verdict } => {
                let message = self.sites[office].gossip.remove(&token);
                if let (Some((from, topic, data)), Validation::Accept) = (message, verdict) {
                    self.spread(office, Some(from), &topic, &data);
                }
            }
            Output::Members(members) => {
                self.sites[office].members = members;
                self.connect();
            }
            Output::Notice(notice) => self.sites[office].notices.push(notice),
        }
    }

    fn spread(&mut self, office: Office, except: Option<Office>, topic: &str, data: &[u8]) {
        for peer in self.sites[office].connected.clone() {
            if Some(peer) != except && self.sites[peer].topics.contains(topic) {
                let (topic, data) = (topic.to_owned(), data.to_vec());
                self.send(office, peer, Message::Gossip { topic, data });
            }
        }
    }

    fn send_to(&mut self, office: Office, to: &SiteId, message: Message) {
        if let Some(to) = self.office_of(to) {
            self.send(office, to, message);
        }
    }

    fn send(&mut self, from: Office, to: Office, message: Message) {
        if self.is_linked(from, to) {
            self.under_way.push_back((from, to, message));
        }
    }

    fn deliver(&mut self) {
        for _ in 0..DELIVERIES_MAX {
            let Some((from, to, message)) = self.under_way.pop_front() else { return };
            self.deliver_one(from, to, message);
            self.connect();
        }
        self.under_way.clear();
    }

    fn deliver_one(&mut self, from: Office, to: Office, message: Message) {
        let sender = self.site_id(from);
        self.count += 1;
        let token = self.count;
        let input = match message {
            Message::Gossip { topic, data } => {
                if !self.sites[to].seen.insert(data.clone()) {
                    return;
                }
                self.sites[to].gossip.insert(token, (from, topic, data.clone()));
                Input::Gossip { from: sender, token, data }
            }
            Message::Request { id, body } => {
                self.count_bytes(&body);
                if !self.sites[to].members.contains(&sender) {
                    let site = self.site_id(to);
                    let failed = Input::RequestFailed { to: site, id, unsupported: true };
                    self.input(from, failed);
                    return;
                }
                self.sites[to].tokens.insert(token, (from, id));
                Input::Request { from: sender, token, body }
            }
            Message::Response { id, body } => {
                self.count_bytes(&body);
                Input::Response { from: sender, id, body }
            }
            Message::Introduction { body } => {
                self.sites[to].tokens.insert(token, (from, 0));
                Input::Introduction { from: sender, token, body }
            }
            Message::IntroductionAnswer { body } => {
                Input::IntroductionAnswer { from: sender, body }
            }
        };
        self.input(to, input);
    }

    fn count_bytes(&mut self, body: &[u8]) {
        self.traffic.messages += 1;
        self.traffic.bytes += body.len() as u64;
    }
}

fn open(store: MemoryStore, identity: Identity, now: Now) -> Option<Replica<MemoryStore>> {
    Replica::open(store, identity, None, now, &mut |_| ()).ok()
}

fn pair(a: Office, b: Office) -> (Office, Office) {
    (a.min(b), a.max(b))
}

fn mix(site: &[u8; 32], time_ms: u64) -> u64 {
    let mut seed = u64::from_le_bytes([
        site[0], site[1], site[2], site[3], site[4], site[5], site[6], site[7],
    ]);
    // One round of SplitMix64 (Steele, Lea, Flood 2014).
    seed = seed.wrapping_add(time_ms.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    seed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    seed = (seed ^ (seed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    seed ^ (seed >> 31)
}
