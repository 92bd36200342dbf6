//! One office's node: the replica, and what the product's driver and network layer keep around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use branchline_crdt::Replica;
use branchline_crdt::ids::{SiteId, SiteKey};
use branchline_crdt::log::entry::PAYLOAD_FORMAT;
use branchline_crdt::membership::Ticket;
use branchline_crdt::protocol::prepare::Job;
use branchline_crdt::replica::{DecisionError, Notice, RoomLeft, WriteError, Written};
use branchline_crdt::store::Position;

use super::{SiteIndex, WallClock};
use crate::store::{OfficeDisk, SimulatedStore};

/// Gossip messages that were not judged and requests that were not answered; older ones are forgotten, as by the
/// product's driver.
const TOKENS_MAX: usize = 4096;
/// How long a node remembers a gossip message, so as not to take it twice: what gossipsub does.
const SEEN_MS: u64 = 60_000;
/// Notices kept for tests; a liar can cause any number.
const NOTICES_MAX: usize = 10_000;

/// Results of one group of local transactions.
pub(super) type Results = Vec<Result<Written, WriteError>>;

pub(super) struct Site {
    pub(super) key: SiteKey,
    pub(super) id: SiteId,
    pub(super) name: String,
    /// The running replica; `None`: the node is off, and its disk is in `disk`.
    pub(super) replica: Option<Replica<SimulatedStore>>,
    pub(super) disk: OfficeDisk,
    /// The file with the ticket by which it joins, until it has.
    pub(super) ticket: Option<Ticket>,
    /// Whether it has room for what others write.
    pub(super) room: RoomLeft,
    pub(super) clock: WallClock,
    /// The payload format of the program that runs there from its next start on.
    pub(super) payload_format: u8,
    /// When it started last.
    pub(super) started_ms: u64,
    /// How often it started.
    pub(super) starts: u32,
    /// When the tick that counts is planned.
    pub(super) tick_ms: Option<u64>,
    /// Frames that were observed.
    pub(super) frames_seen: u64,
    /// The last place of the journal that was observed.
    pub(super) observed_to: Option<Position>,
    pub(super) topics: BTreeSet<String>,
    pub(super) members: BTreeSet<SiteId>,
    /// The offices that it is connected to, by their sites: a cloned disk makes two of one.
    pub(super) connected: BTreeMap<SiteId, BTreeSet<SiteIndex>>,
    /// By office, the member that it was last connected to there.
    pub(super) book: BTreeMap<SiteIndex, SiteId>,
    /// Requests of others, by token: who asked, over which connection, under which number.
    pub(super) requests: Tokens<(SiteIndex, u64)>,
    /// Own requests that wait for an answer.
    pub(super) asked: BTreeSet<(SiteIndex, u64)>,
    pub(super) gossip: Tokens<(SiteIndex, String, Vec<u8>)>,
    /// Answers whose entries are to be prepared.
    pub(super) to_prepare: VecDeque<Job>,
    pub(super) seen: Seen,
    pub(super) results: BTreeMap<u64, Results>,
    pub(super) decisions: BTreeMap<u64, Result<(), DecisionError>>,
    pub(super) notices: Vec<Notice>,
}

impl Site {
    pub(super) fn new(key: SiteKey, name: &str) -> Self {
        Self {
            id: key.site(),
            key,
            name: name.to_owned(),
            replica: None,
            disk: OfficeDisk::default(),
            ticket: None,
            room: RoomLeft::Enough,
            clock: WallClock::RIGHT,
            payload_format: PAYLOAD_FORMAT,
            started_ms: 0,
            starts: 0,
            tick_ms: None,
            frames_seen: 0,
            observed_to: None,
            topics: BTreeSet::new(),
            members: BTreeSet::new(),
            connected: BTreeMap::new(),
            book: BTreeMap::new(),
            requests: Tokens::default(),
            asked: BTreeSet::new(),
            gossip: Tokens::default(),
            to_prepare: VecDeque::new(),
            seen: Seen::default(),
            results: BTreeMap::new(),
            decisions: BTreeMap::new(),
            notices: Vec::new(),
        }
    }

    /// Forgets what lives in a process.
    pub(super) fn forget_process(&mut self) {
        self.tick_ms = None;
        self.topics.clear();
        self.members.clear();
        self.connected.clear();
        self.requests = Tokens::default();
        self.asked.clear();
        self.gossip = Tokens::default();
        self.seen = Seen::default();
        self.results.clear();
        self.decisions.clear();
    }

    pub(super) fn keep_notice(&mut self, notice: Notice) {
        if matches!(notice, Notice::Joined { .. }) {
            self.ticket = None;
        }
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }

    /// Whether it is connected to this office.
    pub(super) fn is_connected(&self, site: &SiteId, office: SiteIndex) -> bool {
        self.connected.get(site).is_some_and(|offices| offices.contains(&office))
    }

    /// Returns the offices of a connected site that is a member. Once one is none any more nothing goes to it, even
    /// while the replica is still hearing that the connections end, one after the other.
    pub(super) fn connected_member(&self, site: &SiteId) -> Option<&BTreeSet<SiteIndex>> {
        self.connected.get(site).filter(|_| self.members.contains(site))
    }
}

/// What is kept under a token until it is used, at most [`TOKENS_MAX`].
pub(super) struct Tokens<T>(BTreeMap<u64, T>);

impl<T> Default for Tokens<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Tokens<T> {
    pub(super) fn keep(&mut self, token: u64, kept: T) {
        self.0.insert(token, kept);
        if self.0.len() > TOKENS_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn take(&mut self, token: u64) -> Option<T> {
        self.0.remove(&token)
    }
}

/// Gossip messages of the last minute, by hash.
#[derive(Default)]
pub(super) struct Seen {
    hashes: BTreeSet<[u8; 32]>,
    order: VecDeque<(u64, [u8; 32])>,
}

impl Seen {
    /// True if the message is new.
    pub(super) fn insert(&mut self, data: &[u8], now_ms: u64) -> bool {
        while let Some((at_ms, hash)) = self.order.front().copied()
            && at_ms + SEEN_MS < now_ms
        {
            self.hashes.remove(&hash);
            self.order.pop_front();
        }
        let hash = *blake3::hash(data).as_bytes();
        let is_new = self.hashes.insert(hash);
        if is_new {
            self.order.push_back((now_ms, hash));
        }
        is_new
    }
}
