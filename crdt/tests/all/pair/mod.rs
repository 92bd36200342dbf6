//! Two replicas that hear each other at once.

#![allow(dead_code)] // Each file of tests uses some of it.

use branchline_crdt::Replica;
use branchline_crdt::ids::{Incarnation, SiteId, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Entry, Header, Origin};
use branchline_crdt::membership::{Genesis, Role};
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Notice, Now, Opening, Output, RecordEdit, WriteError,
    Written,
};
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::{Position, ReadJournal};
use serde_json::Value as Json;

/// Steps behind which something is written: each such write is itself taken in by a step at the other office.
const STEPS_WRITTEN_MAX: usize = 40;

/// Two replicas that hear each other at once; the first is the founder.
pub(crate) struct Pair {
    pub(crate) replicas: Vec<Replica<MemoryStore>>,
    pub(crate) notices: Vec<Vec<Notice>>,
    /// The results of each office's writes that were not taken yet.
    written: Vec<Vec<Result<Written, WriteError>>>,
    linked: bool,
    time_ms: u64,
    starts: u8,
    /// Whether answers are taken in by steps, how many there were, and what is written behind each.
    pub(crate) in_steps: bool,
    pub(crate) steps: usize,
    pub(crate) between_steps: Option<Box<dyn Fn(usize) -> Input>>,
    /// Bytes of the largest request so far, and of all messages.
    pub(crate) request_bytes: usize,
    pub(crate) bytes: usize,
}

/// What the network layer takes of a request.
pub(crate) const REQUEST_BYTES_MAX: usize = 1024 * 1024;

fn identity(office: usize, start: u8) -> Identity {
    Identity {
        key: SiteKey::from_seed([office as u8 + 1; 32]),
        name: ["head", "north"][office].to_owned(),
        incarnation: Incarnation([start; 8]),
        seed: u64::from(start),
    }
}

/// The wall clock goes on by a day with each start, so that nothing passes for what the journal says that the clock said.
fn now(start: u8, monotonic_ms: u64) -> Now {
    let days = i64::from(start) - 1;
    Now { wall_ms: days * 86_400_000 + monotonic_ms.cast_signed(), monotonic_ms }
}

fn open(store: MemoryStore, office: usize, start: u8, monotonic_ms: u64) -> Replica<MemoryStore> {
    let now = now(start, monotonic_ms);
    Replica::open(store, identity(office, start), Opening::with(None), now, &mut |_| ()).unwrap()
}

impl Pair {
    pub(crate) fn new() -> Self {
        let replicas = (0..2).map(|office| open(MemoryStore::new(), office, 1, 0)).collect();
        let notices = vec![Vec::new(), Vec::new()];
        let written = vec![Vec::new(), Vec::new()];
        let mut pair = Self {
            replicas,
            notices,
            written,
            linked: true,
            time_ms: 0,
            starts: 1,
            in_steps: false,
            steps: 0,
            between_steps: None,
            request_bytes: 0,
            bytes: 0,
        };
        let founders = vec![(pair.site(0), "head".to_owned())];
        pair.replicas[0].found(Genesis { founders, time_ms: 0, nonce: [7; 16] });
        pair.settle();
        let secret = SiteKey::from_seed([99; 32]);
        let ticket = pair.replicas[0].invite(Role::Writer, 1_000_000, secret, Vec::new()).unwrap();
        pair.input(1, Input::Join(Box::new(ticket)));
        pair.up();
        pair
    }

    pub(crate) fn site(&self, office: usize) -> SiteId {
        self.replicas[office].site()
    }

    pub(crate) fn space(&self) -> SpaceId {
        self.replicas[0].realms().network().unwrap().main_space()
    }

    pub(crate) fn up(&mut self) {
        self.linked = true;
        self.tell_both(Input::PeerUp);
    }

    pub(crate) fn down(&mut self) {
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

    pub(crate) fn input(&mut self, office: usize, input: Input) {
        let now = now(self.starts, self.time_ms);
        self.replicas[office].handle(input, now).unwrap();
    }

    /// Writes one record.
    pub(crate) fn write(&mut self, office: usize, id: &str, fields: Json) -> Written {
        self.transact(office, None, vec![put(id, fields)]).unwrap()
    }

    /// Writes one transaction.
    pub(crate) fn transact(
        &mut self,
        office: usize,
        origin: Option<Origin>,
        edits: Vec<RecordEdit>,
    ) -> Result<Written, WriteError> {
        let transactions = vec![LocalTransaction { origin, edits }];
        self.input(office, Input::Write { id: 0, space: None, transactions });
        self.settle();
        self.written[office].pop().expect("an answer")
    }

    /// What the office's writers were answered.
    pub(crate) fn take_written(&mut self, office: usize) -> Vec<Result<Written, WriteError>> {
        std::mem::take(&mut self.written[office])
    }

    /// Delivers everything until nobody has anything to say.
    pub(crate) fn settle(&mut self) {
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
            let due_ms = self.replicas.iter().filter_map(Replica::news_due_ms).min();
            match due_ms.filter(|_| quiet) {
                Some(due_ms) => {
                    self.time_ms = due_ms.max(self.time_ms);
                    (0..2).for_each(|office| self.input(office, Input::Tick));
                }
                None if quiet => return,
                None => {}
            }
        }
    }

    /// What the other office hears of an output.
    fn hear(&mut self, office: usize, output: Output) -> Option<Input> {
        let from = self.site(office);
        match output {
            Output::Request { id, body, .. } => {
                self.request_bytes = self.request_bytes.max(body.len());
                self.bytes += body.len();
                if body.len() > REQUEST_BYTES_MAX {
                    let to = self.site(1 - office);
                    self.input(office, Input::RequestFailed { to, id, unsupported: false });
                    return None;
                }
                Some(Input::Request { from, token: id, body })
            }
            Output::Respond { token, body } => {
                self.bytes += body.len();
                Some(Input::Response { from, id: token, body })
            }
            Output::Prepare(job) if self.in_steps => {
                let now = now(self.starts, self.time_ms);
                self.replicas[office].begin_taking(job.run());
                while self.replicas[office].is_taking() {
                    self.replicas[office].go_on_taking(now).unwrap();
                    self.replicas[office].commit().unwrap();
                    self.steps += 1;
                    let between = self.between_steps.as_ref();
                    let between = between.filter(|_| self.steps <= STEPS_WRITTEN_MAX);
                    let written = between.map(|input| input(self.steps));
                    if let Some(input) = written {
                        self.input(office, input);
                        self.replicas[office].commit().unwrap();
                    }
                }
                None
            }
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
                self.written[office].extend(results);
                None
            }
            Output::Subscribe(_)
            | Output::Validate { .. }
            | Output::Members(_)
            | Output::Spaces(_)
            | Output::Decided { .. } => None,
        }
    }

    /// Lets time pass: timers come due.
    pub(crate) fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.time_ms += 100;
            self.input(0, Input::Tick);
            self.input(1, Input::Tick);
            self.settle();
        }
    }

    pub(crate) fn restart(
        &mut self,
        office: usize,
        change: impl FnOnce(MemoryStore) -> MemoryStore,
    ) {
        self.starts += 1;
        let empty = open(MemoryStore::new(), office, 0, self.time_ms);
        let old = std::mem::replace(&mut self.replicas[office], empty);
        let store = change(old.into_store());
        self.replicas[office] = open(store, office, self.starts, self.time_ms);
        self.settle();
    }

    /// Starts an office with other data under an incarnation that it has had before, as no honest site does.
    pub(crate) fn start_as(&mut self, office: usize, store: MemoryStore, start: u8) {
        self.replicas[office] = open(store, office, start, self.time_ms);
        self.settle();
    }

    pub(crate) fn digest(&self, office: usize) -> String {
        read::digest(self.replicas[office].store(), self.space()).unwrap().to_string()
    }

    pub(crate) fn count(&self, office: usize) -> u64 {
        let collections = read::collections(self.replicas[office].store(), self.space()).unwrap();
        collections.values().map(|row| row.live).sum()
    }

    /// Where an office's journal has the records' entries that another wrote.
    pub(crate) fn places(&self, office: usize, author: usize) -> Vec<Position> {
        let (space, site) = (self.space(), self.site(author));
        self.places_of(office, |header| header.space == space && header.author.site == site)
    }

    /// Where an office's journal has the entries that say who the members are.
    pub(crate) fn membership_places(&self, office: usize) -> Vec<Position> {
        self.places_of(office, |header| header.space == header.realm.membership_space())
    }

    fn places_of(&self, office: usize, is_one: impl Fn(&Header) -> bool) -> Vec<Position> {
        let frames = self.replicas[office].store().scan_journal(None, usize::MAX).unwrap();
        let is_of = |frame: &[u8]| {
            let entry = frame.strip_prefix(&[1]).and_then(|bytes| Entry::decode(bytes).ok());
            entry.is_some_and(|entry| is_one(&entry.header))
        };
        frames.iter().filter(|(_, frame)| is_of(frame)).map(|(at, _)| *at).collect()
    }
}

pub(crate) fn damaged(mut store: MemoryStore, places: &[Position]) -> MemoryStore {
    places.iter().for_each(|place| store.damage(*place));
    store
}

/// An edit that gives a product these fields.
pub(crate) fn put(id: &str, fields: Json) -> RecordEdit {
    let Json::Object(fields) = fields else { panic!("no object") };
    RecordEdit::new("products", id, Edit::Put(fields))
}
