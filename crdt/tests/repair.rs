//! Entries whose journal frames are damaged come back from a peer.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use branchline_crdt::Replica;
use branchline_crdt::entry::Entry;
use branchline_crdt::ids::{Incarnation, SiteId, SiteKey, SpaceId};
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::memory::MemoryStore;
use branchline_crdt::read;
use branchline_crdt::record::{Edit, Value};
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Notice, Now, Output, RecordEdit,
};
use branchline_crdt::store::{Position, Store};
use branchline_crdt::tables::records::RecordKey;
use serde_json::{Value as Json, json};

/// Two replicas that hear each other at once; the first is the founder.
struct Pair {
    replicas: Vec<Replica<MemoryStore>>,
    notices: Vec<Vec<Notice>>,
    linked: bool,
    time_ms: u64,
    starts: u8,
}

fn identity(office: usize, start: u8) -> Identity {
    Identity {
        key: SiteKey::from_seed([office as u8 + 1; 32]),
        name: ["head", "north"][office].to_owned(),
        incarnation: Incarnation([start; 8]),
        seed: u64::from(start),
    }
}

fn open(store: MemoryStore, office: usize, start: u8, monotonic_ms: u64) -> Replica<MemoryStore> {
    let now = Now { wall_ms: 0, monotonic_ms };
    Replica::open(store, identity(office, start), None, now, &mut |_| ()).unwrap()
}

impl Pair {
    fn new() -> Self {
        let replicas = (0..2).map(|office| open(MemoryStore::new(), office, 1, 0)).collect();
        let notices = vec![Vec::new(), Vec::new()];
        let mut pair = Self { replicas, notices, linked: true, time_ms: 0, starts: 1 };
        let founders = vec![(pair.site(0), "head".to_owned())];
        pair.replicas[0].found(Genesis { founders, time_ms: 0, nonce: [7; 16] });
        pair.settle();
        let secret = SiteKey::from_seed([99; 32]);
        let ticket = pair.replicas[0].invite(Role::Writer, 1_000_000, secret, Vec::new()).unwrap();
        pair.input(1, Input::Join(Box::new(ticket)));
        pair.up();
        pair
    }

    fn site(&self, office: usize) -> SiteId {
        self.replicas[office].site()
    }

    fn space(&self) -> SpaceId {
        self.replicas[0].network().unwrap().main_space()
    }

    fn up(&mut self) {
        self.linked = true;
        self.tell_both(Input::PeerUp);
    }

    fn down(&mut self) {
        self.linked = false;
        self.tell_both(Input::PeerDown);
    }

    fn tell_both(&mut self, input: fn(SiteId) -> Input) {
        for office in 0..2 {
            let peer = self.site(1 - office);
            self.input(office, input(peer));
        }
        self.settle();
    }

    fn input(&mut self, office: usize, input: Input) {
        let now = Now { wall_ms: 0, monotonic_ms: self.time_ms };
        self.replicas[office].handle(input, now).unwrap();
    }

    fn write(&mut self, office: usize, id: &str, fields: Json) {
        let Json::Object(fields) = fields else { panic!("no object") };
        let edit = Edit::Put(fields);
        let edit = RecordEdit { collection: "products".to_owned(), id: id.to_owned(), edit };
        let transactions = vec![LocalTransaction { origin: None, edits: vec![edit] }];
        self.input(office, Input::Write { id: 0, transactions });
        self.settle();
    }

    /// Delivers everything until nobody has anything to say.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for office in 0..2 {
                self.replicas[office].commit().unwrap();
                let Some(output) = self.replicas[office].output() else { continue };
                quiet = false;
                if let Some(input) = self.hear(office, output).filter(|_| self.linked) {
                    self.input(1 - office, input);
                }
            }
            if quiet {
                return;
            }
        }
    }

    /// What the other office hears of an output.
    fn hear(&mut self, office: usize, output: Output) -> Option<Input> {
        let from = self.site(office);
        match output {
            Output::Request { id, body, .. } => Some(Input::Request { from, token: id, body }),
            Output::Respond { token, body } => Some(Input::Response { from, id: token, body }),
            Output::Prepare(job) => {
                self.input(office, Input::Prepared(job.run()));
                None
            }
            Output::Introduce { body, .. } => Some(Input::Introduction { from, token: 0, body }),
            Output::AnswerIntroduction { body, .. } => {
                Some(Input::IntroductionAnswer { from, body })
            }
            Output::Publish { data, .. } => Some(Input::Gossip { from, token: 0, data }),
            Output::Notice(notice) => {
                self.notices[office].push(notice);
                None
            }
            Output::Written { results, .. } => {
                assert!(results.iter().all(Result::is_ok), "{results:?}");
                None
            }
            Output::Subscribe(_) | Output::Validate { .. } | Output::Members(_) => None,
        }
    }

    /// Lets time pass: timers come due.
    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.time_ms += 100;
            self.input(0, Input::Tick);
            self.input(1, Input::Tick);
            self.settle();
        }
    }

    fn restart(&mut self, office: usize, change: impl FnOnce(MemoryStore) -> MemoryStore) {
        self.starts += 1;
        let empty = open(MemoryStore::new(), office, 0, self.time_ms);
        let old = std::mem::replace(&mut self.replicas[office], empty);
        let store = change(old.into_store());
        self.replicas[office] = open(store, office, self.starts, self.time_ms);
        self.settle();
    }

    fn digest(&self, office: usize) -> String {
        read::digest(self.replicas[office].store(), self.space()).unwrap().to_string()
    }

    fn count(&self, office: usize) -> u64 {
        let collections = read::collections(self.replicas[office].store(), self.space()).unwrap();
        collections.values().map(|row| row.live).sum()
    }

    /// Where an office's journal has the records' entries that another wrote.
    fn places(&self, office: usize, author: usize) -> Vec<Position> {
        let frames = self.replicas[office].store().scan_journal(None, usize::MAX).unwrap();
        let is_of = |frame: &[u8]| {
            let entry = frame.strip_prefix(&[1]).and_then(|bytes| Entry::decode(bytes).ok());
            entry.is_some_and(|entry| {
                entry.header.space == self.space() && entry.header.author.site == self.site(author)
            })
        };
        frames.iter().filter(|(_, frame)| is_of(frame)).map(|(at, _)| *at).collect()
    }
}

fn damaged(mut store: MemoryStore, places: &[Position]) -> MemoryStore {
    places.iter().for_each(|place| store.damage(*place));
    store
}

/// Three records at both offices, and no link.
fn apart() -> Pair {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 3}));
    pair.write(1, "rice", json!({"price": 2}));
    pair.write(0, "salt", json!({"price": 1}));
    assert_eq!((pair.count(0), pair.count(1)), (3, 3));
    pair.down();
    pair
}

#[test]
fn a_damaged_entry_is_put_back_into_its_place_by_a_peer() {
    for author in 0..2 {
        let mut pair = apart();
        let place = pair.places(0, author)[0];
        let whole = pair.replicas[0].store().read(place).unwrap();
        pair.restart(0, |store| damaged(store, &[place]));
        assert_eq!(pair.replicas[0].status().entries_lost, 1);
        assert!(pair.notices[0].iter().any(|n| matches!(n, Notice::EntryLost { seq: 1, .. })));
        pair.up();
        assert_eq!(pair.replicas[0].store().read(place).unwrap(), whole);
        assert_eq!(pair.replicas[0].status().entries_lost, 0);
        assert_eq!(pair.digest(0), pair.digest(1));
    }
}

#[test]
fn a_damaged_journal_without_tables_is_filled_by_the_regular_pull() {
    let mut pair = apart();
    let (own, other) = (pair.places(0, 0)[0], pair.places(0, 1)[0]);
    pair.restart(0, |store| damaged(store, &[own, other]).without_tables());
    assert_eq!(pair.count(0), 0, "what follows a lost entry is not shown without it");
    pair.up();
    pair.pass(3_000);
    assert_eq!(pair.count(0), 3);
    assert_eq!(pair.digest(0), pair.digest(1));
    pair.write(0, "oil", json!({"price": 4}));
    assert_eq!(pair.count(1), 4);
}

#[test]
fn what_does_not_build_on_a_lost_entry_is_still_served() {
    let mut pair = apart();
    for id in ["a", "b", "c"] {
        pair.write(0, id, json!({"price": 1}));
    }
    pair.restart(0, |store| store);
    pair.write(0, "d", json!({"price": 1}));
    let last = *pair.places(0, 0).last().unwrap();
    pair.restart(0, |store| damaged(store, &[last]));
    pair.up();
    pair.pass(3_000);
    assert_eq!(pair.count(1), 6, "all but what only the founder has had");
    assert_eq!(pair.count(0), 7, "the founder still shows it");

    // The founder goes on without it.
    pair.replicas[0].rebuild(&mut |_| ()).unwrap();
    pair.write(0, "e", json!({"price": 1}));
    pair.pass(3_000);
    assert_eq!((pair.count(0), pair.count(1)), (7, 7));
    assert_eq!(pair.digest(0), pair.digest(1));
}

#[test]
fn a_receipt_does_not_claim_a_lost_entry() {
    let lacks = |pair: &Pair| {
        let status = pair.replicas[1].status();
        status.sites.iter().find(|site| site.name == "head").unwrap().lacks
    };
    let mut pair = apart();
    pair.up();
    pair.pass(2_000);
    assert_eq!(lacks(&pair), Some(0));
    // Both have lost it, so that it cannot be repaired.
    let places = [pair.places(0, 0)[0], pair.places(1, 0)[0]];
    pair.down();
    for (office, place) in places.into_iter().enumerate() {
        pair.restart(office, |store| damaged(store, &[place]));
    }
    pair.up();
    pair.write(1, "oil", json!({"price": 4}));
    pair.pass(2_000);
    assert!(lacks(&pair) > Some(0), "{:?}", lacks(&pair));
}

#[test]
fn a_damaged_genesis_document_is_written_anew_from_the_tables() {
    let mut pair = apart();
    let (first, _) = pair.replicas[0].store().scan_journal(None, 1).unwrap().remove(0);
    pair.restart(0, |store| damaged(store, &[first]));
    assert!(pair.replicas[0].store().damaged().is_empty());
    pair.restart(0, MemoryStore::without_tables);
    assert_eq!(pair.count(0), 3);
}

/// One office has changed a record more often than one row names places, and has started anew: it holds in memory, and
/// in the record's row, only what is live. The other has changed the same record as it was at first.
fn changed_apart() -> Pair {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 0, "origin": "Assam"}));
    pair.down();
    for price in 1..=70 {
        pair.write(0, "tea", json!({"price": price, "origin": "Assam"}));
    }
    pair.write(1, "tea", json!({"price": 0, "origin": "Ceylon"}));
    pair
}

fn tea(pair: &Pair, office: usize) -> Json {
    let key =
        RecordKey { space: pair.space(), collection: "products".to_owned(), id: "tea".to_owned() };
    let view = read::record(pair.replicas[office].store(), &key).unwrap().unwrap();
    Value::Map(view.fields).to_json()
}

#[test]
fn a_change_that_builds_on_what_is_gone_is_judged_by_the_journal() {
    let mut pair = changed_apart();
    pair.restart(0, |store| store);
    pair.up();
    assert_eq!(tea(&pair, 0), json!({"origin": "Ceylon", "price": 70}));
    assert_eq!(tea(&pair, 1), tea(&pair, 0));
    assert_eq!(pair.digest(0), pair.digest(1));
}

#[test]
fn a_change_that_builds_on_a_damaged_entry_waits_for_its_repair() {
    let mut pair = changed_apart();
    let first = pair.places(0, 0)[0];
    pair.restart(0, |store| damaged(store, &[first]));
    assert_eq!(tea(&pair, 0), json!({"origin": "Assam", "price": 70}));
    pair.up();
    pair.pass(30_000);
    assert_eq!(pair.replicas[0].status().entries_lost, 0);
    assert_eq!(tea(&pair, 0), json!({"origin": "Ceylon", "price": 70}));
    assert_eq!(pair.digest(0), pair.digest(1));
}
