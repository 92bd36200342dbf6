//! A backlog is pulled with the next answer on its way while one is taken in, and whatever becomes of an answer only
//! costs time.

use std::collections::VecDeque;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Incarnation, SiteKey};
use branchline_crdt::membership::Genesis;
use branchline_crdt::protocol::prepare::{Job, Prepared};
use branchline_crdt::protocol::{Answer, Have, Outcome, PULL_BYTES, Pull, Request, pack_entries};
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Now, Opening, Output, RecordEdit,
};
use branchline_crdt::store::memory::MemoryStore;

type Lie = Box<dyn FnMut(&mut Answer)>;

/// Answers that may be under way between two sites and for one space.
const UNDER_WAY_MAX: usize = 2;
/// Bytes of one write, which hardly shrink.
const WRITE_BYTES: usize = 50_000;
/// Writes of the backlog: five answers.
const WRITES: usize = 5 * PULL_BYTES as usize / WRITE_BYTES;

/// Head has a backlog for north, which asks for it.
struct Offices {
    head: Replica<MemoryStore>,
    north: Replica<MemoryStore>,
    /// What north has prepared by others and not got back.
    jobs: VecDeque<Job>,
    /// Answers with entries that came to north.
    answers: usize,
    time_ms: u64,
}

fn open(office: u8) -> Replica<MemoryStore> {
    let keys = [1, 2].map(|office| SiteKey::from_seed([office; 32]));
    let founders = keys.iter().map(|key| (key.site(), format!("{:?}", key.site()))).collect();
    let identity = Identity {
        key: keys[usize::from(office) - 1].clone(),
        name: office.to_string(),
        incarnation: Incarnation([office; 8]),
        seed: 1,
    };
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let mut replica =
        Replica::open(MemoryStore::new(), identity, Opening::with(None), now, &mut |_| ()).unwrap();
    replica.found(Genesis { founders, time_ms: 0, nonce: [7; 16] });
    assert!(replica.commit().unwrap());
    replica
}

impl Offices {
    fn new() -> Self {
        let (head, north) = (open(1), open(2));
        let mut offices = Self { head, north, jobs: VecDeque::new(), answers: 0, time_ms: 1 };
        for number in 0..WRITES {
            offices.write(number);
        }
        offices
    }

    fn now(&self) -> Now {
        Now { wall_ms: 0, monotonic_ms: self.time_ms }
    }

    fn write(&mut self, number: usize) {
        // No two bytes in a row repeat, so that little is gained by compression.
        let mut hash = noise(number);
        let mut text = String::new();
        while text.len() < WRITE_BYTES * 4 / 3 {
            text.extend(hash.iter().map(|byte| char::from(byte % 64 + 48)));
            hash = noise(hash);
        }
        let fields = [("text".to_owned(), text.into())].into_iter().collect();
        let edit = Edit::Put(fields);
        let edit = RecordEdit::new("a", number.to_string(), edit);
        let transactions = vec![LocalTransaction { origin: None, edits: vec![edit] }];
        self.head.handle(Input::Write { id: 0, space: None, transactions }, self.now()).unwrap();
        assert!(self.head.commit().unwrap());
        while self.head.output().is_some() {}
    }

    fn connect(&mut self) {
        let head = self.head.site();
        self.feed_north(Input::PeerUp(head), &mut |_| ());
    }

    /// Feeds north, and lets head answer its pulls. `alter` changes answers.
    fn feed_north(&mut self, input: Input, alter: &mut impl FnMut(&mut Answer)) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.north.handle(input, self.now()).unwrap();
            assert!(self.north.commit().unwrap());
            while let Some(output) = self.north.output() {
                match output {
                    Output::Request { id, body, .. } => {
                        let mut answer = self.answer(body);
                        alter(&mut answer);
                        if let Outcome::Entries { .. } = answer.outcome {
                            self.answers += 1;
                        }
                        let (from, body) = (self.head.site(), codec::encode(&answer));
                        inputs.push_back(Input::Response { from, id, body });
                    }
                    Output::Prepare(job) => self.jobs.push_back(job),
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, body: Vec<u8>) -> Answer {
        let from = self.north.site();
        self.head.handle(Input::Request { from, token: 1, body }, self.now()).unwrap();
        assert!(self.head.commit().unwrap());
        while let Some(output) = self.head.output() {
            if let Output::Respond { body, .. } = output {
                return codec::decode("answer", &body).unwrap();
            }
        }
        panic!("a pull is answered");
    }

    /// Prepares the first of what waits.
    fn prepare(&mut self) -> Option<Prepared> {
        Some(self.jobs.pop_front()?.run())
    }

    /// Lets north take in all that comes.
    fn settle(&mut self, alter: &mut impl FnMut(&mut Answer)) {
        while let Some(prepared) = self.prepare() {
            self.feed_north(Input::Prepared(prepared), alter);
            assert!(self.jobs.len() <= UNDER_WAY_MAX);
        }
    }

    fn in_step(&self) -> bool {
        let space = self.head.realms().network().unwrap().main_space();
        self.head.realms().frontier(space) == self.north.realms().frontier(space)
    }

    /// Lets time pass until north holds all, and says how many seconds that took.
    fn catch_up(&mut self) -> u64 {
        for seconds in 0..60 {
            if self.in_step() {
                return seconds;
            }
            self.time_ms += 1_000;
            self.feed_north(Input::Tick, &mut |_| ());
            self.settle(&mut |_| ());
        }
        panic!("north never catches up");
    }
}

/// Bytes that follow from a seed and look like nothing.
fn noise(seed: impl Hash) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut state = BuildHasherDefault::<DefaultHasher>::default().hash_one(seed) | 1;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = (state >> 32) as u8;
    }
    bytes
}

#[test]
fn the_next_answer_is_on_its_way_while_one_is_taken_in() {
    let mut offices = Offices::new();
    offices.connect();
    // Nothing is taken in yet, and no more comes than two answers.
    assert_eq!(offices.jobs.len(), UNDER_WAY_MAX);
    let mut least = offices.jobs.len();
    while let Some(prepared) = offices.prepare() {
        offices.feed_north(Input::Prepared(prepared), &mut |_| ());
        if !offices.in_step() {
            least = least.min(offices.jobs.len());
        }
    }
    assert!(offices.in_step());
    assert!(least >= 1, "nothing was under way while an answer was taken in");
    // Nothing is sent twice.
    assert!(offices.answers <= 7, "{} answers", offices.answers);
}

#[test]
fn an_answer_that_comes_to_nothing_costs_only_time() {
    for lost in 0..4 {
        let mut offices = Offices::new();
        offices.connect();
        for number in 0.. {
            let Some(mut prepared) = offices.prepare() else { break };
            if number == lost {
                prepared = Prepared::failed(prepared.from, prepared.id);
            }
            offices.feed_north(Input::Prepared(prepared), &mut |_| ());
        }
        assert!(!offices.in_step());
        assert!(offices.catch_up() <= 16);
        assert!(offices.answers <= 12, "{} answers", offices.answers);
    }
}

#[test]
fn a_member_that_lies_about_what_is_left_gains_nothing() {
    let raise = |answer: &mut Answer| {
        if let Outcome::Entries { until, .. } = &mut answer.outcome {
            until.iter_mut().for_each(|known| known.seq += 7);
        }
    };
    let empty = |answer: &mut Answer| {
        if let Outcome::Entries { packed, .. } = &mut answer.outcome {
            packed.clone_from(&pack_entries([]));
        }
    };
    let mut endless = 1;
    let more = move |answer: &mut Answer| {
        endless += 1;
        if let Outcome::Entries { packed, until, .. } = &mut answer.outcome {
            packed.clone_from(&pack_entries([]));
            until.iter_mut().for_each(|known| known.seq = endless);
        }
    };
    let lies: [Lie; 3] = [Box::new(raise), Box::new(empty), Box::new(more)];
    for (number, mut lie) in lies.into_iter().enumerate() {
        let mut offices = Offices::new();
        let head = offices.head.site();
        offices.feed_north(Input::PeerUp(head), &mut lie);
        offices.settle(&mut lie);
        // At the worst as if each answer were sent twice.
        assert!(offices.answers <= 16, "lie {number}: {} answers", offices.answers);
        offices.catch_up();
    }
}

#[test]
fn a_peer_that_leaves_takes_nothing_with_it() {
    let mut offices = Offices::new();
    offices.connect();
    let head = offices.head.site();
    offices.feed_north(Input::PeerDown(head), &mut |_| ());
    // What was prepared for a connection that is gone is not taken in: the next one asks again.
    offices.settle(&mut |_| ());
    assert!(!offices.in_step());
    offices.connect();
    offices.settle(&mut |_| ());
    assert!(offices.in_step());
}

#[test]
fn the_pull_behind_an_answer_claims_what_that_answer_has() {
    let mut offices = Offices::new();
    let head = offices.head.site();
    offices.north.handle(Input::PeerUp(head), offices.now()).unwrap();
    let mut claimed = Vec::new();
    let mut inputs = VecDeque::new();
    for _ in 0..20 {
        assert!(offices.north.commit().unwrap());
        while let Some(output) = offices.north.output() {
            if let Output::Request { id, body, .. } = output {
                let request: Request = codec::decode("request", &body).unwrap();
                if let Request::Pull(Pull { have: Have::Frontier { known, .. }, .. }) = &request {
                    claimed.push(known.iter().map(|known| known.seq).sum::<u64>());
                }
                let body = codec::encode(&offices.answer(body));
                inputs.push_back(Input::Response { from: head, id, body });
            }
        }
        if let Some(input) = inputs.pop_front() {
            offices.north.handle(input, offices.now()).unwrap();
        }
    }
    // Two pulls of the backlog: nothing was held at either.
    assert_eq!(claimed.len(), 2, "{claimed:?}");
    assert_eq!(claimed[0], 0);
    assert!(claimed[1] >= PULL_BYTES as u64 / WRITE_BYTES as u64 / 2, "{claimed:?}");
}
