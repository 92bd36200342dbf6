//! Offices of which some are one site twice, and meet two by two.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Incarnation, SiteKey, SpaceId};
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::record::{Edit, Value, View};
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Notice, Now, Opening, Output, RecordEdit, WriteError,
};
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::logs::{EntryRow, EntryStatus, entries_of_space, entry_of_key};
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::tables::{ReadTables, SCAN_ROWS};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

pub(crate) type Site = usize;

/// Offices of which some are one site twice, and meet two by two.
pub(crate) struct Offices {
    pub(crate) replicas: Vec<Replica<MemoryStore>>,
    pub(crate) sites: Vec<Site>,
    pub(crate) notices: Vec<Vec<Notice>>,
    pub(crate) time_ms: u64,
    pub(crate) starts: u8,
}

pub(crate) fn identity(site: Site, incarnation: Incarnation) -> Identity {
    Identity {
        key: SiteKey::from_seed([site as u8 + 1; 32]),
        name: format!("site-{site}"),
        incarnation,
        seed: u64::from_le_bytes(incarnation.0) ^ site as u64,
    }
}

pub(crate) fn object(fields: Json) -> serde_json::Map<String, Json> {
    let Json::Object(fields) = fields else { panic!("no object") };
    fields
}

impl Offices {
    /// Three sites of one network, in step; the first is head.
    pub(crate) fn new() -> Self {
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

    pub(crate) fn open(&mut self, store: MemoryStore, site: Site, incarnation: Incarnation) {
        let now = Now { wall_ms: 0, monotonic_ms: self.time_ms };
        let identity = identity(site, incarnation);
        let replica =
            Replica::open(store, identity, Opening::with(None), now, &mut |_| ()).unwrap();
        self.replicas.push(replica);
        self.sites.push(site);
        self.notices.push(Vec::new());
    }

    /// The machine's image is started a second time: the same key, the same life.
    pub(crate) fn copy(&mut self, office: usize) -> usize {
        let replica = &self.replicas[office];
        let incarnation = replica.author().incarnation;
        let store = replica.store().clone();
        self.open(store, self.sites[office], incarnation);
        let copy = self.replicas.len() - 1;
        assert_eq!(self.replicas[copy].author(), self.replicas[office].author());
        copy
    }

    pub(crate) fn input(&mut self, office: usize, input: Input) {
        // No two changes are made in one millisecond: of two that are equal to the byte, one would be kept.
        self.time_ms += 1;
        let now = Now { wall_ms: self.time_ms as i64, monotonic_ms: self.time_ms };
        self.replicas[office].handle(input, now).unwrap();
    }

    pub(crate) fn space(&self) -> SpaceId {
        self.replicas[0].realms().network().unwrap().main_space()
    }

    pub(crate) fn write_to(
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

    pub(crate) fn put(&mut self, office: usize, id: &str, fields: Json) {
        let edit = Edit::Merge { patch: object(fields), create: true };
        self.write_to(office, "products", id, edit).unwrap();
    }

    /// Two offices are connected until neither has anything to say.
    pub(crate) fn meet(&mut self, one: usize, other: usize) {
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

    pub(crate) fn settle(&mut self, one: usize, other: usize) {
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
    pub(crate) fn converge(&mut self) {
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

    pub(crate) fn view(&self, office: usize, id: &str) -> Option<View> {
        let (collection, id) = ("products".to_owned(), id.to_owned());
        let key = RecordKey { space: self.space(), collection, id };
        read::record(self.replicas[office].store(), &key).unwrap()
    }

    pub(crate) fn field(&self, office: usize, id: &str, field: &str) -> Option<Value> {
        self.view(office, id)?.fields.get(field).cloned()
    }

    /// All values of a field, the one that is shown and those beside it.
    pub(crate) fn values(&self, office: usize, id: &str, field: &str) -> BTreeSet<String> {
        let view = self.view(office, id).expect("a record");
        let shown = view.fields.get(field).map(|value| value.to_json().to_string());
        let conflict = view.conflicts.iter().filter(|conflict| conflict.path == field);
        let others = conflict.flat_map(|conflict| &conflict.values);
        shown.into_iter().chain(others.map(|it| it.value.to_json().to_string())).collect()
    }

    pub(crate) fn digest(&self, office: usize) -> String {
        read::digest(self.replicas[office].store(), self.space()).unwrap().to_string()
    }

    /// The entries of records that an office holds, and what became of each.
    pub(crate) fn statuses(&self, office: usize) -> BTreeMap<EntryId, EntryStatus> {
        let store = self.replicas[office].store();
        let rows = store.scan(&entries_of_space(self.space()), None, SCAN_ROWS).unwrap();
        let status = |(key, value): (Vec<u8>, Vec<u8>)| {
            let (author, seq) = entry_of_key(&key).unwrap();
            let row: EntryRow = codec::decode("entry row", &value).unwrap();
            (EntryId { author, seq }, row.status)
        };
        rows.into_iter().map(status).collect()
    }

    /// Takes a step, among at most `most` offices. `own`: the records that only one of them writes, and which.
    pub(crate) fn take(
        &mut self,
        step: Step,
        number: usize,
        most: usize,
        own: &mut Vec<(String, usize)>,
    ) {
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
    pub(crate) fn rebuild(&mut self, office: usize) {
        self.starts += 1;
        let replica = self.replicas.remove(office);
        let store = replica.into_store().without_tables();
        let now = Now { wall_ms: 0, monotonic_ms: self.time_ms };
        let identity = identity(self.sites[office], Incarnation([self.starts; 8]));
        let opened = Replica::open(store, identity, Opening::with(None), now, &mut |_| ());
        self.replicas.insert(office, opened.unwrap());
    }

    /// All hold the same, all of it has its effects, and a rebuild makes the same of it.
    pub(crate) fn agree(&mut self) -> Result<(), TestCaseError> {
        let space = self.space();
        let (digest, statuses) = (self.digest(0), self.statuses(0));
        for office in 0..self.replicas.len() {
            let frontier = self.replicas[office].realms().frontier(space);
            prop_assert_eq!(&frontier, &self.replicas[0].realms().frontier(space), "{}", office);
            prop_assert_eq!(self.digest(office), digest.clone(), "digest of {}", office);
            prop_assert_eq!(self.statuses(office), statuses.clone(), "entries of {}", office);
        }
        let void: Vec<_> =
            statuses.iter().filter(|(_, status)| **status != EntryStatus::Applied).collect();
        prop_assert!(void.is_empty(), "{void:?} {:?}", self.notices);
        for office in 0..self.replicas.len() {
            self.rebuild(office);
            prop_assert_eq!(self.digest(office), digest.clone(), "rebuilt at {}", office);
            prop_assert_eq!(self.statuses(office), statuses.clone());
        }
        Ok(())
    }
}

/// What happens to the offices.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put { office: usize, id: u8, field: u8 },
    Sell { office: usize, id: u8, by: i8 },
    Say { office: usize, id: u8 },
    Delete { office: usize, id: u8 },
    Copy { office: usize },
    Meet { one: usize, other: usize },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
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
