//! An office whose disk has too little room for what others write: its own writes go on, what it leaves out is only late, and
//! it still hears who is shut out.

use super::bundle::{bundle, merge};
use super::pair::Pair;
use branchline_crdt::bundle::Since;
use branchline_crdt::format::codec;
use branchline_crdt::log::entry::Entry;
use branchline_crdt::membership::Role;
use branchline_crdt::protocol::Gossip;
use branchline_crdt::replica::{Decision, Input, Now, Output, RoomLeft, Taken, Validation};
use branchline_crdt::store::ReadJournal;
use serde_json::json;

const HEAD: usize = 0;
const NORTH: usize = 1;
const SHORT: RoomLeft = RoomLeft::Short { membership_bytes_max: 1 << 20 };
/// Longer than any timer.
const LONG_MS: u64 = 60_000;

fn room(pair: &mut Pair, office: usize, room: RoomLeft) {
    pair.input(office, Input::Room(room));
    pair.settle();
}

/// Head writes records, numbered from `first` on.
fn head_writes(pair: &mut Pair, numbers: std::ops::Range<u32>) {
    for number in numbers {
        pair.write(HEAD, &number.to_string(), json!({"price": number}));
    }
}

/// How an office judges a message.
fn hear(pair: &mut Pair, office: usize, gossip: &Gossip) -> Vec<Validation> {
    let from = pair.site(1 - office);
    let input = Input::Gossip { from, token: 1, data: codec::encode(gossip) };
    pair.input(office, input);
    let replica = &mut pair.replicas[office];
    replica.commit().unwrap();
    let mut verdicts = Vec::new();
    while let Some(output) = replica.output() {
        if let Output::Validate { verdict, .. } = output {
            verdicts.push(verdict);
        }
    }
    verdicts
}

#[test]
fn what_others_write_waits_while_own_writes_go_on_and_comes_at_once_when_there_is_room() {
    let mut pair = Pair::new();
    head_writes(&mut pair, 0..3);
    assert_eq!(pair.count(NORTH), 3);
    room(&mut pair, NORTH, SHORT);
    head_writes(&mut pair, 3..9);
    pair.write(NORTH, "own", json!({"price": 1}));
    pair.pass(LONG_MS);
    assert_eq!(pair.count(NORTH), 4, "what it held, and its own");
    assert_eq!(pair.count(HEAD), 10, "head is served and hears of it");
    // Links that go and come change nothing.
    pair.down();
    pair.up();
    pair.pass(LONG_MS);
    assert_eq!(pair.count(NORTH), 4);
    room(&mut pair, NORTH, RoomLeft::Enough);
    assert_eq!(pair.count(NORTH), 10, "no timer had to come due");
    assert_eq!(pair.digest(HEAD), pair.digest(NORTH));
    assert!(
        pair.notices
            .iter()
            .flatten()
            .all(|notice| { !matches!(notice, branchline_crdt::replica::Notice::Refused { .. }) })
    );
}

#[test]
fn a_message_for_which_there_is_no_room_is_neither_judged_nor_remembered() {
    let mut pair = Pair::new();
    pair.down();
    head_writes(&mut pair, 0..2);
    let store = pair.replicas[HEAD].store().clone();
    let frames = pair.places(HEAD, HEAD).into_iter().map(|place| store.read(place).unwrap());
    let entries: Vec<_> = frames.map(|frame| Entry::decode(&frame[1..]).unwrap()).collect();
    let message = |number: usize| Gossip::Entry(entries[number].bytes().to_vec());
    let announced = Gossip::Announce { space: pair.space(), tip: entries[1].tip() };
    room(&mut pair, NORTH, SHORT);
    for gossip in [message(0), message(1), announced] {
        assert_eq!(hear(&mut pair, NORTH, &gossip), [Validation::Ignore]);
    }
    assert_eq!(pair.replicas[NORTH].footprint().early, 0, "nothing waits in memory");
    assert_eq!(pair.count(NORTH), 0);
    room(&mut pair, NORTH, RoomLeft::Enough);
    assert_eq!(hear(&mut pair, NORTH, &message(0)), [Validation::Accept]);
    assert_eq!(hear(&mut pair, NORTH, &message(1)), [Validation::Accept]);
    assert_eq!(pair.digest(HEAD), pair.digest(NORTH));
}

#[test]
fn an_answer_that_is_being_taken_in_ends_where_room_does() {
    let mut pair = Pair::new();
    pair.down();
    for number in 0..40 {
        // Each takes a step or more.
        let edits = (0..2_000).map(|id| {
            super::pair::put(&format!("{number}-{id}"), json!({"price": number, "name": "tea"}))
        });
        pair.transact(HEAD, None, edits.collect()).unwrap();
    }
    pair.in_steps = true;
    pair.between_steps = Some(Box::new(|_| Input::Room(SHORT)));
    pair.up();
    let held = pair.count(NORTH);
    assert!(held < 80_000, "{held}");
    pair.between_steps = None;
    pair.pass(LONG_MS);
    assert_eq!(pair.count(NORTH), held);
    room(&mut pair, NORTH, RoomLeft::Enough);
    assert_eq!(pair.digest(HEAD), pair.digest(NORTH));
}

#[test]
fn who_fills_the_disk_is_shut_out_all_the_same() {
    let mut pair = Pair::new();
    room(&mut pair, NORTH, SHORT);
    head_writes(&mut pair, 0..3);
    let site = pair.site(NORTH);
    pair.input(
        HEAD,
        Input::Decide { id: 1, decision: Decision::ChangeRole { site, role: Role::Reader } },
    );
    pair.settle();
    pair.pass(LONG_MS);
    assert_eq!(pair.count(NORTH), 0);
    let members = pair.replicas[NORTH].realms().members().unwrap();
    assert_eq!(members.get(&site).map(|member| member.role), Some(Role::Reader));
}

#[test]
fn what_decides_about_members_is_taken_in_up_to_a_bound() {
    let mut pair = Pair::new();
    let site = pair.site(NORTH);
    room(&mut pair, NORTH, RoomLeft::Short { membership_bytes_max: 300 });
    let taken = |pair: &mut Pair| -> u64 {
        let taken = pair.replicas[NORTH].take_notes().taken;
        taken.values().map(|taken| taken.bytes).sum()
    };
    taken(&mut pair);
    for number in 0..20 {
        let name = format!("name-{number}");
        pair.input(HEAD, Input::Decide { id: 1, decision: Decision::Rename { site, name } });
        pair.settle();
    }
    pair.pass(LONG_MS);
    let bytes = taken(&mut pair);
    assert!((300..1_000).contains(&bytes), "up to the bound, and one entry further: {bytes}");
    room(&mut pair, NORTH, RoomLeft::Enough);
    let names =
        |office: usize| pair.replicas[office].realms().members().unwrap().get(&site).cloned();
    assert_eq!(names(NORTH).unwrap().name, "name-19");
    assert_eq!(pair.digest(HEAD), pair.digest(NORTH));
}

#[test]
fn a_bundle_brings_members_but_no_records_and_says_how_many_it_left_out() {
    let mut pair = Pair::new();
    pair.write(HEAD, "tea", json!({"price": 1}));
    pair.down();
    head_writes(&mut pair, 0..4);
    let site = pair.site(NORTH);
    let decision = Decision::Rename { site, name: "nord".to_owned() };
    pair.input(HEAD, Input::Decide { id: 1, decision });
    pair.settle();
    let (file, _) = bundle(&pair, HEAD, &Since::Nothing);
    room(&mut pair, NORTH, SHORT);
    let merged = merge(&mut pair, NORTH, &file);
    assert_eq!((merged.without_room, merged.refused, merged.waiting), (4, 0, 0));
    assert_eq!(merged.new, 1, "the decision");
    assert!(merged.known > 0, "what is held takes no room");
    assert_eq!(pair.count(NORTH), 1);
    room(&mut pair, NORTH, RoomLeft::Enough);
    let merged = merge(&mut pair, NORTH, &file);
    assert_eq!((merged.new, merged.without_room), (4, 0));
    assert_eq!(pair.digest(HEAD), pair.digest(NORTH));
}

#[test]
fn what_came_of_each_site_is_counted_once() {
    let mut pair = Pair::new();
    pair.replicas[NORTH].take_notes();
    head_writes(&mut pair, 0..3);
    pair.write(NORTH, "own", json!({"price": 1}));
    pair.pass(LONG_MS);
    let taken = pair.replicas[NORTH].take_notes().taken;
    let of = |office: usize| taken.get(&pair.site(office)).copied().unwrap_or_default();
    assert_eq!((of(HEAD).entries, of(NORTH).entries), (3, 1));
    let places = pair.places(NORTH, HEAD).into_iter();
    let store = pair.replicas[NORTH].store();
    // A frame is an entry behind a byte that says so.
    let bytes = places.map(|place| store.read(place).unwrap().len() as u64 - 1).sum();
    assert_eq!(of(HEAD), Taken { entries: 3, bytes });
    assert!(pair.replicas[NORTH].take_notes().taken.is_empty());
    // Tables that are made once more count nothing.
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    pair.replicas[NORTH].rebuild(&mut |_| ()).unwrap();
    pair.replicas[NORTH].handle(Input::Tick, now).unwrap();
    assert!(pair.replicas[NORTH].take_notes().taken.is_empty());
}
