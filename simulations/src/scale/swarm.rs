//! Many sites on good links: nothing fails here, only the amounts matter. [`crate::World`] is for faults.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteId, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Tip};
use branchline_crdt::log::frontier::{Frontier, Known};
use branchline_crdt::membership::{Admission, Genesis, Grant, Operation, Role, Ticket};
use branchline_crdt::protocol::prepare::Job;
use branchline_crdt::protocol::{Welcome, pack_entries};
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Now, Opening, Output, RecordEdit, Validation,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::store::SharedStore;
use crate::world::{EPOCH_MS, random};

/// Delay of every message.
const LATENCY_MS: u64 = 20;
/// Links that each site makes; as many lead to it from others.
const DIALS: usize = 3;
/// Sites that take up their tickets in one group.
const ADMITTED_AT_ONCE: usize = 200;
/// Stores in memory and encodings of one's own do not fail.
const CANNOT_FAIL: &str = "a store in memory does not fail";
/// Gossip messages that a site remembers.
const SEEN_MAX: usize = 4096;

/// A kind of message, for counting.
#[derive(Clone, Copy, Debug)]
pub(super) enum SwarmKind {
    /// Entries and announcements of them.
    Entry,
    /// Receipts.
    Receipt,
    /// Requests and responses.
    Sync,
}

impl SwarmKind {
    pub(super) const ALL: [Self; 3] = [Self::Entry, Self::Receipt, Self::Sync];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Entry => "entries",
            Self::Receipt => "receipts",
            Self::Sync => "sync",
        }
    }
}

/// What a site received.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    /// By [`SwarmKind`].
    pub(super) messages: [u64; 3],
    /// By [`SwarmKind`].
    pub(super) bytes: [u64; 3],
}

impl Received {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }

    fn count(&mut self, kind: SwarmKind, bytes: usize) {
        self.messages[kind as usize] += 1;
        self.bytes[kind as usize] += bytes as u64;
    }
}

#[derive(Clone)]
enum SwarmMessage {
    Gossip { topic: Arc<str>, data: Arc<[u8]> },
    Request { id: u64, body: Vec<u8> },
    Response { id: u64, body: Vec<u8> },
}

enum SwarmEvent {
    Deliver { from: usize, to: usize, message: SwarmMessage },
    Tick { site: usize },
    Write { site: usize },
}

struct SwarmSite {
    replica: Replica<SharedStore>,
    neighbours: Vec<usize>,
    tick_ms: u64,
    /// Gossip messages that came, so that each is taken once.
    seen: HashSet<[u8; 16]>,
    seen_order: VecDeque<[u8; 16]>,
    received: Received,
}

/// A gossip message that waits for a verdict: who sent it, its topic and content.
type Unjudged = (usize, Arc<str>, Arc<[u8]>);

/// Many sites on good links.
pub(super) struct Swarm {
    sites: Vec<SwarmSite>,
    index: HashMap<SiteId, usize>,
    /// By time, then in the order in which they were planned.
    planned: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, SwarmEvent>,
    count: u64,
    /// Gossip that waits for a verdict, and requests that wait for an answer, by token.
    gossip: HashMap<u64, Unjudged>,
    requests: HashMap<u64, (usize, u64)>,
    time_ms: u64,
    random: SmallRng,
}

fn now(time_ms: u64) -> Now {
    Now { wall_ms: EPOCH_MS + time_ms as i64, monotonic_ms: time_ms }
}

fn identity(seed: u64, site: usize) -> Identity {
    let number = random::number(seed, "site", &[site as u64]);
    Identity {
        key: SiteKey::from_seed(random::hash(seed, "key", &[site as u64])),
        name: format!("site {site}"),
        incarnation: Incarnation(number.to_le_bytes()),
        seed: number,
    }
}

/// The replicas of a network's members, all in step.
///
/// One site is welcomed as the product does it, with the admissions of all; the others begin with a copy of what it
/// then holds.
fn members(count: usize, seed: u64) -> Vec<Replica<SharedStore>> {
    let founder = identity(seed, 0);
    let founders = vec![(founder.key.site(), founder.name.clone())];
    let genesis = Genesis { founders, time_ms: EPOCH_MS, nonce: [7; 16] };
    let network = genesis.network();
    let tickets: Vec<_> = (0..count.max(2)).map(|site| ticket(seed, site, network)).collect();
    let admit = |(site, ticket): (usize, &Ticket)| {
        let identity = identity(seed, site);
        Operation::Admit(Admission::sign(ticket, identity.key.site(), &identity.name))
    };
    let operations: Vec<_> = tickets.iter().enumerate().skip(1).map(admit).collect();
    let author = Author { site: founder.key.site(), incarnation: Incarnation([1; 8]) };
    let mut draft = Draft {
        realm: network,
        space: network.membership_space(),
        author,
        seq: 0,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: EPOCH_MS,
    };
    let mut entries = Vec::new();
    for admitted in operations.chunks(ADMITTED_AT_ONCE) {
        draft.seq += 1;
        let entry = draft.clone().sign(&Body::Membership(admitted.to_vec()), &founder.key);
        draft.previous = entry.hash;
        entries.push(entry);
    }
    let welcome = Welcome::Member { genesis, entries: pack_entries(&entries) };
    let body = codec::encode(&welcome);

    let start = now(0);
    let open = |store, ticket| {
        let opening = Opening::with(ticket);
        match Replica::open(store, identity(seed, 1), opening, start, &mut |_| ()) {
            Ok(replica) => replica,
            Err(_) => unreachable!("{CANNOT_FAIL}"),
        }
    };
    let mut first = open(SharedStore::default(), tickets.into_iter().nth(1));
    let welcomed = Input::IntroductionAnswer { from: founder.key.site(), body };
    let done = first.handle(welcomed, start).and_then(|()| first.commit());
    debug_assert!(done.is_ok(), "{CANNOT_FAIL}");
    let shared = first.into_store().into_shared();
    let first = open(shared(), None);
    let beside = |site| {
        let opened = {
            let opening = Opening { beside: Some(&first), ..Opening::with(None) };
            Replica::open(shared(), identity(seed, site), opening, start, &mut |_| ())
        };
        let mut replica = opened.ok()?;
        while replica.output().is_some() {}
        Some(replica)
    };
    (0..count).filter_map(beside).collect()
}

fn ticket(seed: u64, site: usize, network: RealmId) -> Ticket {
    let founder = identity(seed, 0).key;
    let secret = SiteKey::from_seed(random::hash(seed, "ticket", &[site as u64]));
    let grant = Grant::sign(network, secret.site(), Role::Writer, i64::MAX, &founder);
    Ticket { grant, secret, inviter: founder.site(), addresses: Vec::new() }
}

impl Swarm {
    /// A network of that many sites, all linked and in step.
    pub(super) fn new(count: usize, seed: u64) -> Self {
        let replicas = members(count, seed);
        let mut random = random::concern(seed, "mesh", &[]);
        let mut links: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); replicas.len()];
        for site in 0..replicas.len() {
            for _ in 0..DIALS.min(replicas.len() - 1) {
                let other = (site + random.random_range(1..replicas.len())) % replicas.len();
                links[site].insert(other);
                links[other].insert(site);
            }
        }
        let sites = replicas.into_iter().zip(links).map(|(replica, links)| SwarmSite {
            replica,
            neighbours: links.into_iter().collect(),
            tick_ms: 0,
            seen: HashSet::new(),
            seen_order: VecDeque::new(),
            received: Received::default(),
        });
        let sites: Vec<_> = sites.collect();
        let index = sites.iter().enumerate().map(|(i, site)| (site.replica.site(), i)).collect();
        let mut swarm = Self {
            sites,
            index,
            planned: BinaryHeap::new(),
            events: HashMap::new(),
            count: 0,
            gossip: HashMap::new(),
            requests: HashMap::new(),
            time_ms: 0,
            random: SmallRng::from_seed(random::hash(seed, "writers", &[])),
        };
        for site in 0..swarm.sites.len() {
            for neighbour in swarm.sites[site].neighbours.clone() {
                let peer = swarm.sites[neighbour].replica.site();
                swarm.input(site, Input::PeerUp(peer));
            }
        }
        swarm
    }

    pub(super) fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Lets random sites write one record each, some time within `within_ms`. Says when the last one will.
    pub(super) fn plan_writes(&mut self, writers: usize, within_ms: u64) -> u64 {
        let mut chosen = BTreeSet::new();
        while chosen.len() < writers.min(self.sites.len()) {
            chosen.insert(self.random.random_range(0..self.sites.len()));
        }
        let mut last_ms = self.time_ms;
        for site in chosen {
            let at_ms = self.time_ms + self.random.random_range(0..within_ms);
            self.plan(at_ms, SwarmEvent::Write { site });
            last_ms = last_ms.max(at_ms);
        }
        last_ms
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        while let Some(Reverse((at_ms, number))) = self.planned.peek().copied()
            && at_ms <= end_ms
        {
            self.planned.pop();
            self.time_ms = at_ms;
            match self.events.remove(&number) {
                Some(SwarmEvent::Deliver { from, to, message }) => self.deliver(from, to, message),
                Some(SwarmEvent::Tick { site }) if self.sites[site].tick_ms == at_ms => {
                    self.input(site, Input::Tick);
                }
                Some(SwarmEvent::Write { site }) => self.write(site),
                Some(SwarmEvent::Tick { .. }) | None => {}
            }
        }
        self.time_ms = end_ms;
    }

    /// Whether every site holds the logs of that many authors, and the same of each.
    pub(super) fn in_step(&self, authors: usize) -> bool {
        let mut frontiers = self.sites.iter().map(|site| {
            let network = site.replica.realms().network()?;
            site.replica.realms().frontier(network.main_space())
        });
        let first = frontiers.next().flatten();
        first.as_ref().is_some_and(|frontier| frontier.tips().count() >= authors)
            && frontiers.all(|frontier| frontier == first)
    }

    /// What each site received since the last call.
    pub(super) fn take_received(&mut self) -> Vec<Received> {
        self.sites.iter_mut().map(|site| std::mem::take(&mut site.received)).collect()
    }

    /// Bytes that all sites have stored of their own.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.sites.iter().map(|site| site.replica.store().own_bytes()).sum()
    }

    /// Bytes of the whole frontier as a site tells it, and of everything that two sites say for one to get a single
    /// new entry of the other's by pulling.
    pub(super) fn measure_pull(&mut self) -> (usize, u64) {
        let Some(network) = self.sites[0].replica.realms().network() else { return (0, 0) };
        let frontier = self.sites[0].replica.realms().frontier(network.main_space());
        let known = |tip: Tip| Known {
            author: tip.author,
            seq: tip.seq,
            check: tip.hash.short(),
            predecessors: Vec::new(),
        };
        let known: Vec<_> = frontier.iter().flat_map(Frontier::tips).map(known).collect();
        let whole = codec::encode(&known).len();
        // Nobody hears of the write but by pulling.
        self.write(0);
        self.planned.clear();
        self.events.clear();
        self.take_received();
        let (asker, teller) = (self.sites[0].neighbours[0], 0);
        let peer = self.sites[teller].replica.site();
        self.input(asker, Input::PeerUp(peer));
        self.run_until(self.time_ms + 1_000);
        let bytes =
            [asker, teller].map(|site| self.sites[site].received.bytes[SwarmKind::Sync as usize]);
        (whole, bytes.iter().sum())
    }

    fn plan(&mut self, at_ms: u64, event: SwarmEvent) {
        self.count += 1;
        self.planned.push(Reverse((at_ms, self.count)));
        self.events.insert(self.count, event);
    }

    fn send(&mut self, from: usize, to: usize, message: SwarmMessage) {
        self.plan(self.time_ms + LATENCY_MS, SwarmEvent::Deliver { from, to, message });
    }

    fn write(&mut self, site: usize) {
        let fields = [("name", format!("made at site {site}").into()), ("quantity", site.into())];
        let fields =
            fields.map(|(name, value): (&str, serde_json::Value)| (name.to_owned(), value));
        let edit = Edit::Put(fields.into_iter().collect());
        let id = format!("{site}-{}", self.time_ms);
        let edit = RecordEdit::new("products", id, edit);
        let transactions = vec![LocalTransaction { origin: None, edits: vec![edit] }];
        self.input(site, Input::Write { id: 0, space: None, transactions });
    }

    fn deliver(&mut self, from: usize, to: usize, message: SwarmMessage) {
        let sender = self.sites[from].replica.site();
        self.count += 1;
        let token = self.count;
        let input = match message {
            SwarmMessage::Gossip { topic, data } => {
                // The variants of the protocol's message: its first byte.
                let kind =
                    if data.first() == Some(&2) { SwarmKind::Receipt } else { SwarmKind::Entry };
                self.sites[to].received.count(kind, data.len());
                if !self.sites[to].is_new(&data) {
                    return;
                }
                let copy = data.to_vec();
                self.gossip.insert(token, (from, topic, data));
                Input::Gossip { from: sender, token, data: copy }
            }
            SwarmMessage::Request { id, body } => {
                self.sites[to].received.count(SwarmKind::Sync, body.len());
                self.requests.insert(token, (from, id));
                Input::Request { from: sender, token, body }
            }
            SwarmMessage::Response { id, body } => {
                self.sites[to].received.count(SwarmKind::Sync, body.len());
                Input::Response { from: sender, id, body }
            }
        };
        self.input(to, input);
    }

    fn input(&mut self, site: usize, input: Input) {
        let replica = &mut self.sites[site].replica;
        let done = replica.handle(input, now(self.time_ms)).and_then(|()| replica.commit());
        debug_assert!(done.is_ok(), "{CANNOT_FAIL}");
        let mut jobs = Vec::new();
        while let Some(output) = self.sites[site].replica.output() {
            self.act(site, output, &mut jobs);
        }
        for job in jobs {
            self.input(site, Input::Prepared(job.run()));
        }
        let due_ms = self.sites[site].replica.due_ms().max(self.time_ms + 1);
        if due_ms != self.sites[site].tick_ms {
            self.sites[site].tick_ms = due_ms;
            self.plan(due_ms, SwarmEvent::Tick { site });
        }
    }

    fn act(&mut self, site: usize, output: Output, jobs: &mut Vec<Job>) {
        match output {
            Output::Request { to, id, body } => {
                if let Some(to) = self.index.get(&to).copied() {
                    self.send(site, to, SwarmMessage::Request { id, body });
                }
            }
            Output::Prepare(job) => jobs.push(job),
            Output::Respond { token, body } => {
                if let Some((to, id)) = self.requests.remove(&token) {
                    self.send(site, to, SwarmMessage::Response { id, body });
                }
            }
            Output::Publish { topic, data } => {
                self.sites[site].is_new(&data);
                self.spread(site, None, &topic.into(), &data.into());
            }
            Output::Validate { token, verdict } => {
                if let (Some((from, topic, data)), Validation::Accept) =
                    (self.gossip.remove(&token), verdict)
                {
                    self.spread(site, Some(from), &topic, &data);
                }
            }
            Output::Written { .. }
            | Output::Decided { .. }
            | Output::Introduce { .. }
            | Output::AnswerIntroduction { .. }
            | Output::Subscribe(_)
            | Output::Members(_)
            | Output::Spaces(_)
            | Output::Notice(_) => {}
        }
    }

    fn spread(&mut self, site: usize, except: Option<usize>, topic: &Arc<str>, data: &Arc<[u8]>) {
        for peer in self.sites[site].neighbours.clone() {
            if Some(peer) != except {
                let (topic, data) = (topic.clone(), data.clone());
                self.send(site, peer, SwarmMessage::Gossip { topic, data });
            }
        }
    }
}

impl SwarmSite {
    fn is_new(&mut self, data: &[u8]) -> bool {
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(data).as_bytes()[..16]);
        let is_new = self.seen.insert(hash);
        if is_new {
            self.seen_order.push_back(hash);
            if self.seen_order.len() > SEEN_MAX
                && let Some(oldest) = self.seen_order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
        is_new
    }
}
