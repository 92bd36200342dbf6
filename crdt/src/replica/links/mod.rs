//! What is under way between this site and the members that it is connected with.

pub(in crate::replica) mod copies;
pub(in crate::replica) mod early;
pub(in crate::replica) mod forks;
pub(in crate::replica) mod gossip;
pub(in crate::replica) mod intake;
pub(in crate::replica) mod news;
pub(in crate::replica) mod notify;
pub(in crate::replica) mod peer;
pub(in crate::replica) mod receipts;
pub(in crate::replica) mod repair;
pub(in crate::replica) mod room;
pub(in crate::replica) mod serve;
pub(in crate::replica) mod sync;
pub(in crate::replica) mod timers;
pub(in crate::replica) mod turns;

use std::collections::{BTreeMap, VecDeque};

use self::copies::Lives;
use self::early::Early;
use self::gossip::Announced;
use self::intake::Taking;
use self::news::News;
use self::peer::Peer;
use self::receipts::HeardReceipts;
use self::repair::Losses;
use self::room::{RoomLeft, Taken};
use self::timers::{Random, Timers};
use crate::ids::SiteId;
use crate::replica::Now;

/// Tables that are rebuilt under other names keep the replica busy for a while. Between two such times pass this long, and
/// as long again for each entry: some twenty times what it takes, so that who signs number after number twice costs a site
/// some 5 % of its time.
const FORKS_PAUSE_MS: u64 = 10_000;
const FORKS_PAUSE_OF_ENTRY_US: u64 = 400;

/// The links to connected members, and what decides when something is sent over them.
pub(in crate::replica) struct Links {
    pub(in crate::replica) peers: BTreeMap<SiteId, Peer>,
    pub(in crate::replica) lives: Lives,
    /// What is asked of peers because it is damaged here.
    pub(in crate::replica) losses: Losses,
    pub(in crate::replica) announced: Announced,
    pub(in crate::replica) early: Early,
    pub(in crate::replica) news: News,
    /// Answers whose entries are being taken in.
    taking: VecDeque<Taking>,
    pub(in crate::replica) heard: HeardReceipts,
    pub(in crate::replica) timers: Timers,
    pub(in crate::replica) random: Random,
    pub(in crate::replica) request_count: u64,
    /// A proof of a fork was kept since logs were last held to their names.
    has_forks_news: bool,
    /// From when on proofs of forks are taken from peers.
    forks_from_ms: u64,
    /// The last append failed: what is pulled meanwhile is only a trial, and thrown away.
    is_unwritable: bool,
    /// How much of what other sites wrote is taken in.
    pub(in crate::replica) room: RoomLeft,
    /// By author, since it was last asked for.
    taken: BTreeMap<SiteId, Taken>,
}

impl Links {
    /// None yet. `seed`: of the choice of peers, and of jitter.
    pub(in crate::replica) fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            lives: Lives::default(),
            losses: Losses::default(),
            announced: Announced::default(),
            early: Early::default(),
            news: News::default(),
            taking: VecDeque::new(),
            heard: HeardReceipts::default(),
            timers: Timers::default(),
            random: Random::new(seed),
            request_count: 0,
            has_forks_news: false,
            forks_from_ms: 0,
            is_unwritable: false,
            room: RoomLeft::default(),
            taken: BTreeMap::new(),
        }
    }

    /// A proof of a fork was kept: logs may have other names now.
    pub(in crate::replica) fn note_forks_news(&mut self) {
        self.has_forks_news = true;
    }

    /// Whether logs may have other names than when this was last asked.
    pub(in crate::replica) fn take_forks_news(&mut self) -> bool {
        std::mem::take(&mut self.has_forks_news)
    }

    /// The tables were rebuilt, since logs of a realm with so many entries had other names.
    pub(in crate::replica) fn note_renamed(&mut self, now: Now, entries: u64) {
        let pause_ms = FORKS_PAUSE_MS + entries.saturating_mul(FORKS_PAUSE_OF_ENTRY_US) / 1_000;
        self.forks_from_ms = now.monotonic_ms.saturating_add(pause_ms);
    }

    /// Whether proofs of forks are taken from peers. What is not taken comes again with a later pull.
    pub(in crate::replica) fn takes_forks(&self, now: Now) -> bool {
        self.forks_from_ms <= now.monotonic_ms
    }

    /// Whether the last append failed.
    pub(in crate::replica) fn is_unwritable(&self) -> bool {
        self.is_unwritable
    }

    /// The journal was appended to, or could not be.
    pub(in crate::replica) fn note_append(&mut self, is_written: bool) {
        self.is_unwritable = !is_written;
    }

    /// Whether a member is connected.
    pub(in crate::replica) fn is_up(&self, site: &SiteId) -> bool {
        self.peers.contains_key(site)
    }
}
