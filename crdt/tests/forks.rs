//! Machines that were set back with their memory: two that write as one author, in one log that forks. Nobody lies, and
//! nothing that anybody wrote is lost.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry, EntryId, RecordWrite, Tip, Transaction};
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::protocol::Gossip;
use branchline_crdt::record::{ActorBytes, Document, Edit, Value, View};
use branchline_crdt::replica::{
    Decision, Identity, Input, LocalTransaction, Notice, Now, Opening, Output, RecordEdit,
    WriteError,
};
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::logs::{EntryRow, Fate, entries_of_space, entry_of_key};
use branchline_crdt::store::tables::records::{RecordKey, RecordRow};
use branchline_crdt::store::tables::{ReadTables, SCAN_ROWS};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

type Site = usize;

/// Offices of which some are one site twice, and meet two by two.
struct Offices {
    replicas: Vec<Replica<MemoryStore>>,
    sites: Vec<Site>,
    notices: Vec<Vec<Notice>>,
    time_ms: u64,
    starts: u8,
}

fn identity(site: Site, incarnation: Incarnation) -> Identity {
    Identity {
        key: SiteKey::from_seed([site as u8 + 1; 32]),
        name: format!("site-{site}"),
        incarnation,
        seed: u64::from_le_bytes(incarnation.0) ^ site as u64,
    }
}

fn object(fields: Json) -> serde_json::Map<String, Json> {
    let Json::Object(fields) = fields else { panic!("no object") };
    fields
}

impl Offices {
    /// Three sites of one network, in step; the first is head.
    fn new() -> Self {
        let mut offices = Self {
            replicas: Vec::new(),
            sites: Vec::new(),
            notices: Vec::new(),
            time_ms: 0,
            starts: 1,
        };
        for site in 0..3 {
            offices.open(MemoryStore::new(), site, Incarnation([1; 8]));
        }
        let founders = vec![(offices.replicas[0].site(), "site-0".to_owned())];
        offices.replicas[0].found(Genesis { founders, time_ms: 0, nonce: [7; 16] });
        offices.settle(0, 0);
        for office in 1..3 {
            let secret = SiteKey::from_seed([90 + office as u8; 32]);
            let replica = &offices.replicas[0];
            let ticket = replica.invite(Role::Writer, 1_000_000_000, secret, Vec::new()).unwrap();
            offices.input(office, Input::Join(Box::new(ticket)));
            offices.meet(0, office);
        }
        let kinds = json!({"stock": "counter", "note": "text"});
        offices.write_to(0, "_schema", "products", Edit::Put(object(kinds))).unwrap();
        offices.meet(0, 1);
        offices.meet(0, 2);
        offices
    }

    fn open(&mut self, store: MemoryStore, site: Site, incarnation: Incarnation) {
        let now = Now { wall_ms: 0, monotonic_ms: self.time_ms };
        let identity = identity(site, incarnation);
        let replica =
            Replica::open(store, identity, Opening::with(None), now, &mut |_| ()).unwrap();
        self.replicas.push(replica);
        self.sites.push(site);
        self.notices.push(Vec::new());
    }

    /// The machine's image is started a second time: the same key, the same life.
    fn copy(&mut self, office: usize) -> usize {
        let replica = &self.replicas[office];
        let incarnation = replica.author().incarnation;
        let store = replica.store().clone();
        self.open(store, self.sites[office], incarnation);
        let copy = self.replicas.len() - 1;
        assert_eq!(self.replicas[copy].author(), self.replicas[office].author());
        copy
    }

    fn input(&mut self, office: usize, input: Input) {
        // No two changes are made in one millisecond: of two that are equal to the byte, one would be kept.
        self.time_ms += 1;
        let now = Now { wall_ms: self.time_ms as i64, monotonic_ms: self.time_ms };
        self.replicas[office].handle(input, now).unwrap();
    }

    fn space(&self) -> SpaceId {
        self.replicas[0].realms().network().unwrap().main_space()
    }

    fn write_to(
        &mut self,
        office: usize,
        collection: &str,
        id: &str,
        edit: Edit,
    ) -> Result<(), WriteError> {
        let edits = vec![RecordEdit::new(collection, id, edit)];
        let transactions = vec![LocalTransaction { origin: None, edits }];
        self.input(office, Input::Write { id: 1, space: None, transactions });
        self.replicas[office].commit().unwrap();
        let mut written = None;
        while let Some(output) = self.replicas[office].output() {
            if let Output::Written { mut results, .. } = output {
                written = results.pop();
            } else if let Output::Notice(notice) = output {
                self.notices[office].push(notice);
            }
        }
        written.expect("an answer").map(drop)
    }

    fn put(&mut self, office: usize, id: &str, fields: Json) {
        let edit = Edit::Merge { patch: object(fields), create: true };
        self.write_to(office, "products", id, edit).unwrap();
    }

    /// Two offices are connected until neither has anything to say.
    fn meet(&mut self, one: usize, other: usize) {
        assert_ne!(self.sites[one], self.sites[other]);
        for (office, peer) in [(one, other), (other, one)] {
            let peer = self.replicas[peer].site();
            self.input(office, Input::PeerUp(peer));
        }
        self.settle(one, other);
        for _ in 0..40 {
            self.time_ms += 500;
            self.input(one, Input::Tick);
            self.input(other, Input::Tick);
            self.settle(one, other);
        }
        for (office, peer) in [(one, other), (other, one)] {
            let peer = self.replicas[peer].site();
            self.input(office, Input::PeerDown(peer));
        }
        self.settle(one, other);
    }

    fn settle(&mut self, one: usize, other: usize) {
        loop {
            let mut is_quiet = true;
            for (office, peer) in [(one, other), (other, one)] {
                self.replicas[office].commit().unwrap();
                let Some(output) = self.replicas[office].output() else { continue };
                is_quiet = false;
                let from = self.replicas[office].site();
                let input = match output {
                    Output::Request { id, body, .. } => Input::Request { from, token: id, body },
                    Output::Respond { token, body } => Input::Response { from, id: token, body },
                    Output::Prepare(job) => {
                        self.input(office, Input::Prepared(job.run()));
                        continue;
                    }
                    Output::Introduce { body, .. } => Input::Introduction { from, token: 0, body },
                    Output::AnswerIntroduction { body, .. } => {
                        Input::IntroductionAnswer { from, body }
                    }
                    Output::Publish { data, .. } => Input::Gossip { from, token: 0, data },
                    Output::Notice(notice) => {
                        self.notices[office].push(notice);
                        continue;
                    }
                    Output::Written { .. }
                    | Output::Subscribe(_)
                    | Output::Validate { .. }
                    | Output::Members(_)
                    | Output::Spaces(_)
                    | Output::Decided { .. } => continue,
                };
                if one != other {
                    self.input(peer, input);
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    /// Everybody meets everybody, until nothing is new.
    fn converge(&mut self) {
        for _ in 0..4 {
            for one in 0..self.replicas.len() {
                for other in one + 1..self.replicas.len() {
                    if self.sites[one] != self.sites[other] {
                        self.meet(one, other);
                    }
                }
            }
        }
    }

    fn view(&self, office: usize, id: &str) -> Option<View> {
        let (collection, id) = ("products".to_owned(), id.to_owned());
        let key = RecordKey { space: self.space(), collection, id };
        read::record(self.replicas[office].store(), &key).unwrap()
    }

    fn field(&self, office: usize, id: &str, field: &str) -> Option<Value> {
        self.view(office, id)?.fields.get(field).cloned()
    }

    /// All values of a field, the one that is shown and those beside it.
    fn values(&self, office: usize, id: &str, field: &str) -> BTreeSet<String> {
        let view = self.view(office, id).expect("a record");
        let shown = view.fields.get(field).map(|value| value.to_json().to_string());
        let conflict = view.conflicts.iter().filter(|conflict| conflict.path == field);
        let others = conflict.flat_map(|conflict| &conflict.values);
        shown.into_iter().chain(others.map(|it| it.value.to_json().to_string())).collect()
    }

    fn digest(&self, office: usize) -> String {
        read::digest(self.replicas[office].store(), self.space()).unwrap().to_string()
    }

    /// The entries of records that an office holds, and what became of each.
    fn fates(&self, office: usize) -> BTreeMap<EntryId, Fate> {
        let store = self.replicas[office].store();
        let rows = store.scan(&entries_of_space(self.space()), None, SCAN_ROWS).unwrap();
        let fate = |(key, value): (Vec<u8>, Vec<u8>)| {
            let (author, seq) = entry_of_key(&key).unwrap();
            let row: EntryRow = codec::decode("entry row", &value).unwrap();
            (EntryId { author, seq }, row.fate)
        };
        rows.into_iter().map(fate).collect()
    }

    /// Takes a step, among at most `most` offices. `own`: the records that only one of them writes, and which.
    fn take(&mut self, step: Step, number: usize, most: usize, own: &mut Vec<(String, usize)>) {
        let count = self.replicas.len();
        match step {
            Step::Put { office, id, field } => {
                let office = office % count;
                let fields = json!({["price", "name"][usize::from(field)]: number});
                let edit = Edit::Merge { patch: object(fields), create: true };
                self.write_to(office, "products", &id.to_string(), edit).unwrap();
                let unique = format!("own-{number}");
                self.put(office, &unique, json!({"by": office}));
                own.push((unique, office));
            }
            Step::Sell { office, id, by } => {
                let (office, name) = (office % count, format!("stock-{id}"));
                let now = match self.field(office, &name, "stock") {
                    Some(Value::Counter(now)) => now,
                    _ => 0,
                };
                self.put(office, &name, json!({"stock": now + i64::from(by)}));
            }
            Step::Say { office, id } => {
                let list = json!([number, {"a": number}]);
                let fields = json!({"note": format!("said {number}"), "list": list});
                self.put(office % count, &id.to_string(), fields);
            }
            Step::Delete { office, id } => {
                // Nobody may have written it.
                self.write_to(office % count, "products", &id.to_string(), Edit::Delete).ok();
            }
            Step::Copy { office } => {
                if count < most {
                    self.copy(office % count);
                }
            }
            Step::Meet { one, other } => {
                let (one, other) = (one % count, other % count);
                if self.sites[one] != self.sites[other] {
                    self.meet(one, other);
                }
            }
        }
    }

    /// Makes the tables of an office once more of its journal.
    fn rebuild(&mut self, office: usize) {
        self.starts += 1;
        let replica = self.replicas.remove(office);
        let store = replica.into_store().without_tables();
        let now = Now { wall_ms: 0, monotonic_ms: self.time_ms };
        let identity = identity(self.sites[office], Incarnation([self.starts; 8]));
        let opened = Replica::open(store, identity, Opening::with(None), now, &mut |_| ());
        self.replicas.insert(office, opened.unwrap());
    }

    /// All hold the same, all of it has its effects, and a rebuild makes the same of it.
    fn agree(&mut self) -> Result<(), TestCaseError> {
        let space = self.space();
        let (digest, fates) = (self.digest(0), self.fates(0));
        for office in 0..self.replicas.len() {
            let frontier = self.replicas[office].realms().frontier(space);
            prop_assert_eq!(&frontier, &self.replicas[0].realms().frontier(space), "{}", office);
            prop_assert_eq!(self.digest(office), digest.clone(), "digest of {}", office);
            prop_assert_eq!(self.fates(office), fates.clone(), "entries of {}", office);
        }
        let void: Vec<_> = fates.iter().filter(|(_, fate)| **fate != Fate::Applied).collect();
        prop_assert!(void.is_empty(), "{void:?} {:?}", self.notices);
        for office in 0..self.replicas.len() {
            self.rebuild(office);
            prop_assert_eq!(self.digest(office), digest.clone(), "rebuilt at {}", office);
            prop_assert_eq!(self.fates(office), fates.clone());
        }
        Ok(())
    }
}

#[test]
fn both_branches_of_a_log_stay_with_what_was_built_on_either() {
    for number in 0..8 {
        let mut offices = Offices::new();
        offices.put(2, "tea", json!({"price": 1, "stock": 10}));
        offices.meet(0, 2);
        let copy = offices.copy(2);
        offices.put(2, "tea", json!({"price": 10 + number}));
        offices.put(copy, "tea", json!({"price": 20 + number}));
        // Head builds on the one, north on the other; neither knows of both.
        offices.meet(0, 2);
        offices.meet(1, copy);
        offices.put(0, "tea", json!({"price": 30 + number, "by": "head"}));
        offices.put(1, "tea", json!({"weight": 7}));
        offices.put(1, "rice", json!({"price": 5}));
        offices.converge();
        offices.agree().unwrap();
        for office in 0..offices.replicas.len() {
            let prices = offices.values(office, "tea", "price");
            let expected = [20 + number, 30 + number].map(|price| price.to_string());
            assert_eq!(prices, BTreeSet::from(expected), "head's replaced the one that it saw");
            assert_eq!(offices.field(office, "tea", "weight"), Some(Value::Int(7)));
            assert_eq!(offices.field(office, "rice", "price"), Some(Value::Int(5)));
        }
        let is_fork = |notice: &Notice| matches!(notice, Notice::Fork { .. });
        for office in 0..offices.replicas.len() {
            let count = offices.notices[office].iter().filter(|notice| is_fork(notice)).count();
            assert_eq!(count, 1, "each office learns of it once");
            assert_eq!(offices.replicas[office].status().forks.len(), 1);
        }
    }
}

#[test]
fn an_office_takes_all_of_another_that_built_on_a_branch_it_has_not_seen() {
    for number in 0..8 {
        let mut offices = Offices::new();
        let copy = offices.copy(2);
        offices.put(2, "bait", json!({"price": number}));
        offices.put(copy, "bait", json!({"price": 100 + number}));
        offices.meet(0, 2);
        offices.put(0, "bait", json!({"price": 300}));
        offices.put(0, "rice", json!({"price": 9}));
        // Head hears of the other branch; north meets head alone.
        offices.meet(0, copy);
        offices.meet(0, 1);
        offices.put(0, "salt", json!({"price": 1}));
        offices.meet(0, 1);
        assert_eq!(offices.field(1, "salt", "price"), Some(Value::Int(1)));
        assert_eq!(offices.digest(0), offices.digest(1));
        assert_eq!(offices.values(1, "bait", "price").len(), 2);
    }
}

#[test]
fn what_both_branches_decided_about_members_counts() {
    for number in 0..4 {
        let mut offices = Offices::new();
        let copy = offices.copy(0);
        let renamed = [(0, 1, format!("harbour-{number}")), (copy, 2, format!("depot-{number}"))];
        for (office, member, name) in &renamed {
            let (site, name) = (offices.replicas[*member].site(), name.clone());
            let decision = Decision::Rename { site, name };
            offices.input(*office, Input::Decide { id: 1, decision });
            offices.settle(*office, *office);
        }
        offices.put(0, "tea", json!({"price": 1}));
        offices.put(copy, "tea", json!({"price": 2}));
        offices.meet(0, 1);
        offices.meet(copy, 2);
        offices.converge();
        offices.agree().unwrap();
        for office in 0..offices.replicas.len() {
            let members = offices.replicas[office].realms().members().unwrap();
            for (_, member, name) in &renamed {
                let site = offices.replicas[*member].site();
                assert_eq!(members.name_of(&site), Some(name.as_str()), "at {office}");
            }
        }
    }
}

/// What happens to the offices.
#[derive(Clone, Debug)]
enum Step {
    Put { office: usize, id: u8, field: u8 },
    Sell { office: usize, id: u8, by: i8 },
    Say { office: usize, id: u8 },
    Delete { office: usize, id: u8 },
    Copy { office: usize },
    Meet { one: usize, other: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let (office, id) = (0..5_usize, 0..3_u8);
    prop_oneof![
        4 => (office.clone(), id.clone(), 0..2_u8)
            .prop_map(|(office, id, field)| Step::Put { office, id, field }),
        3 => (office.clone(), id.clone(), -3..9_i8)
            .prop_map(|(office, id, by)| Step::Sell { office, id, by }),
        2 => (office.clone(), id.clone()).prop_map(|(office, id)| Step::Say { office, id }),
        1 => (office.clone(), id).prop_map(|(office, id)| Step::Delete { office, id }),
        1 => office.clone().prop_map(|office| Step::Copy { office }),
        4 => (office.clone(), office).prop_map(|(one, other)| Step::Meet { one, other }),
    ]
}

/// How many histories are tried: more with BRANCHLINE_HISTORIES.
fn histories() -> u32 {
    let asked = std::env::var("BRANCHLINE_HISTORIES").ok();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Offices write, meet, and are copied, as often as not in the middle of a copy's life. All that they wrote is there in
    /// the end: each unique record, and each counter's difference once.
    #[test]
    fn nothing_is_lost_however_often_machines_are_set_back(steps in prop::collection::vec(step(), 10..40)) {
        let mut offices = Offices::new();
        let mut own = Vec::new();
        let mut sold: BTreeMap<u8, i64> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            if let Step::Sell { id, by, .. } = &step {
                *sold.entry(*id).or_default() += i64::from(*by);
            }
            offices.take(step, number, 5, &mut own);
        }
        offices.converge();
        offices.agree()?;
        for office in 0..offices.replicas.len() {
            for (id, _) in &own {
                prop_assert!(offices.view(office, id).is_some(), "{} at {}", id, office);
            }
            for (id, sum) in &sold {
                let stock = offices.field(office, &format!("stock-{id}"), "stock");
                prop_assert_eq!(stock, Some(Value::Counter(*sum)), "stock of {} at {}", id, office);
            }
        }
    }
}

/// What a liar does, who holds the key of a site: it signs another entry behind any that it ever signed, with a change that
/// builds on what some office shows, or none, and hands it to some office.
#[derive(Clone, Debug)]
enum Lie {
    Sign {
        behind: usize,
        seen_at: usize,
        id: u8,
        is_empty: bool,
        names_past: bool,
        to: usize,
    },
    /// The payload of a former entry once more, in another place.
    Repeat {
        behind: usize,
        former: usize,
        to: usize,
    },
    Honest(Step),
}

fn lies() -> impl Strategy<Value = Vec<Lie>> {
    let one = || 0..64_usize;
    let sign = (one(), one(), 0..3_u8, prop::bool::weighted(0.1), any::<bool>(), one());
    let lie = prop_oneof![
        4 => sign.prop_map(|(behind, seen_at, id, is_empty, names_past, to)| {
            Lie::Sign { behind, seen_at, id, is_empty, names_past, to }
        }),
        1 => (one(), one(), one())
            .prop_map(|(behind, former, to)| Lie::Repeat { behind, former, to }),
        8 => step().prop_map(Lie::Honest),
    ];
    prop::collection::vec(lie, 10..50)
}

/// A member whose key somebody else has got hold of.
struct Liar {
    key: SiteKey,
    author: Author,
    signed: Vec<(Entry, Body)>,
}

impl Liar {
    fn sign(&mut self, offices: &Offices, behind: usize, past: Vec<Tip>, body: Body) -> Entry {
        let behind = self.signed.get(behind % (self.signed.len() + 1)).map(|(entry, _)| entry);
        let realm = offices.replicas[0].realms().network().unwrap();
        let draft = Draft {
            realm,
            space: realm.main_space(),
            author: self.author,
            seq: behind.map_or(1, |entry| entry.header.seq + 1),
            previous: behind.map_or(EntryHash::NONE, |entry| entry.hash),
            past,
            membership_past: Vec::new(),
            time_ms: self.signed.len() as i64,
        };
        let entry = draft.sign(&body, &self.key);
        self.signed.push((entry.clone(), body));
        entry
    }

    /// A change of a record as an office shows it.
    fn change(&self, offices: &Offices, seen_at: usize, id: u8) -> Option<RecordWrite> {
        let (collection, id) = ("products".to_owned(), id.to_string());
        let key = RecordKey { space: offices.space(), collection, id };
        let row = offices.replicas[seen_at].store().get(&key.record()).unwrap();
        let mut document = match &row {
            Some(row) => RecordRow::decode(row).unwrap().document().unwrap(),
            None => Document::empty(),
        };
        let number = self.signed.len();
        let fields = json!({"price": format!("lie {number}"), "note": format!("lied {number}"), "list": [number]});
        let edit = Edit::Merge { patch: object(fields), create: true };
        let actor = ActorBytes(self.author.actor());
        let edited = document.edit(actor, number as i64, &edit, None).ok()??;
        Some(RecordWrite { collection: key.collection, id: key.id, change: edited.change })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Whatever one member signs, whenever: the offices come to show the same, and nothing that an honest one wrote is void.
    #[test]
    fn a_liar_takes_nothing_of_what_others_wrote(lies in lies()) {
        let mut offices = Offices::new();
        let key = SiteKey::from_seed([3; 32]);
        let author = Author { site: key.site(), incarnation: Incarnation([9; 8]) };
        let mut liar = Liar { key, author, signed: Vec::new() };
        let mut own = Vec::new();
        for (number, lie) in lies.into_iter().enumerate() {
            let (entry, to) = match lie {
                Lie::Honest(step) => {
                    offices.take(step, number, 3, &mut own);
                    continue;
                }
                Lie::Sign { behind, seen_at, id, is_empty, names_past, to } => {
                    let seen_at = seen_at % 3;
                    let change = liar.change(&offices, seen_at, id).filter(|_| !is_empty);
                    let changes: Vec<_> = change.into_iter().collect();
                    let transactions = match changes.is_empty() {
                        true => Vec::new(),
                        false => vec![Transaction { origin: None, changes }],
                    };
                    let tips = offices.replicas[seen_at].realms().frontier(offices.space()).unwrap();
                    let tips = tips.tips().filter(|tip| names_past && tip.author != author);
                    let (past, body) = (tips.collect(), Body::Transactions(transactions));
                    (liar.sign(&offices, behind, past, body), to)
                }
                Lie::Repeat { behind, former, to } => {
                    let former = former % liar.signed.len().max(1);
                    let Some((_, body)) = liar.signed.get(former).cloned() else { continue };
                    (liar.sign(&offices, behind, Vec::new(), body), to)
                }
            };
            let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
            let from = liar.key.site();
            offices.input(to % 2, Input::Gossip { from, token: 0, data });
            offices.settle(to % 2, to % 2);
        }
        offices.converge();
        let space = offices.space();
        let frontier = offices.replicas[0].realms().frontier(space);
        for office in 0..3 {
            prop_assert_eq!(&offices.replicas[office].realms().frontier(space), &frontier);
            prop_assert_eq!(offices.digest(office), offices.digest(0), "digest of {}", office);
            prop_assert_eq!(offices.fates(office), offices.fates(0), "entries of {}", office);
            for (id, by) in &own {
                prop_assert_eq!(offices.field(office, id, "by"), Some(Value::Int(*by as i64)), "{} at {}", id, office);
            }
        }
        let is_honest = |id: &EntryId| id.author.site != author.site;
        let fates = offices.fates(0);
        let void: Vec<_> = fates.iter().filter(|(id, fate)| is_honest(id) && **fate != Fate::Applied).collect();
        prop_assert!(void.is_empty(), "{void:?}");
        let digest = offices.digest(0);
        for office in 0..3 {
            offices.rebuild(office);
            prop_assert_eq!(offices.digest(office), digest.clone(), "rebuilt at {}", office);
        }
    }
}
