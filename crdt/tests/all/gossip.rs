//! What gossip brings: in any order, several entries at a time, and now and then what nobody should believe.

use super::pair::Pair;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, RealmId, SiteKey};
use branchline_crdt::log::entry::{Body, Draft, Entry};
use branchline_crdt::protocol::{Gossip, pack_entries};
use branchline_crdt::replica::{Input, Now, Output, Validation};
use branchline_crdt::store::ReadJournal;
use serde_json::json;

const NORTH: usize = 1;

/// Two offices apart, of which the first writes one record by one. Returns its entries.
fn written(count: usize) -> (Pair, Vec<Entry>) {
    let mut pair = Pair::new();
    pair.down();
    for number in 0..count {
        pair.write(0, &number.to_string(), json!({"price": number}));
    }
    let places = pair.places(0, 0);
    let store = pair.replicas[0].store();
    let frames = places.into_iter().map(|place| store.read(place).unwrap());
    let entries: Vec<_> = frames.map(|frame| Entry::decode(&frame[1..]).unwrap()).collect();
    assert_eq!(entries.len(), count);
    (pair, entries)
}

/// The other office hears a message, at a time. Returns what it says of messages.
fn hear(pair: &mut Pair, token: u64, gossip: &Gossip, monotonic_ms: u64) -> Vec<(u64, Validation)> {
    let from = pair.site(0);
    let input = Input::Gossip { from, token, data: codec::encode(gossip) };
    verdicts(pair, input, monotonic_ms)
}

fn verdicts(pair: &mut Pair, input: Input, monotonic_ms: u64) -> Vec<(u64, Validation)> {
    let replica = &mut pair.replicas[NORTH];
    replica.handle(input, Now { wall_ms: 0, monotonic_ms }).unwrap();
    replica.commit().unwrap();
    let mut found = Vec::new();
    while let Some(output) = replica.output() {
        if let Output::Validate { token, verdict } = output {
            found.push((token, verdict));
        }
    }
    found
}

fn one(entry: &Entry) -> Gossip {
    Gossip::Entry(entry.bytes().to_vec())
}

fn accepted(tokens: impl IntoIterator<Item = u64>) -> Vec<(u64, Validation)> {
    tokens.into_iter().map(|token| (token, Validation::Accept)).collect()
}

#[test]
fn entries_that_come_in_the_wrong_order_wait_for_those_before_them() {
    let (mut pair, entries) = written(5);
    for number in (1..5).rev() {
        assert_eq!(hear(&mut pair, number, &one(&entries[number as usize]), 0), []);
    }
    assert_eq!(pair.replicas[NORTH].footprint().early, 4);
    assert_eq!(pair.count(NORTH), 0);
    assert_eq!(hear(&mut pair, 0, &one(&entries[0]), 10), accepted(0..5));
    assert_eq!(pair.count(NORTH), 5);
    assert_eq!(pair.replicas[NORTH].footprint().early, 0);
    assert_eq!(pair.digest(0), pair.digest(NORTH));
}

#[test]
fn what_is_awaited_in_vain_is_ignored_and_pulled() {
    let (mut pair, entries) = written(3);
    assert_eq!(hear(&mut pair, 7, &one(&entries[2]), 0), []);
    assert_eq!(verdicts(&mut pair, Input::Tick, 200), []);
    assert_eq!(verdicts(&mut pair, Input::Tick, 300), [(7, Validation::Ignore)]);
    assert_eq!(pair.replicas[NORTH].footprint().early, 0);
    pair.up();
    assert_eq!(pair.digest(0), pair.digest(NORTH));
}

#[test]
fn several_entries_of_a_message_are_taken_in_together_or_wait_together() {
    let (mut pair, entries) = written(9);
    let several = |entries: &[Entry]| Gossip::Entries(pack_entries(entries));
    assert_eq!(hear(&mut pair, 1, &several(&entries[4..9]), 0), []);
    assert_eq!(pair.count(NORTH), 0);
    // One that is known already is no hindrance, wherever it stands.
    assert_eq!(hear(&mut pair, 2, &several(&entries[..2]), 0), accepted([2]));
    assert_eq!(hear(&mut pair, 3, &several(&entries[1..4]), 0), accepted([3, 1]));
    assert_eq!(pair.count(NORTH), 9);
    assert_eq!(hear(&mut pair, 4, &several(&entries), 0), accepted([4]));
    assert_eq!(pair.digest(0), pair.digest(NORTH));
}

#[test]
fn a_message_with_anything_in_it_that_nobody_should_believe_is_rejected() {
    let (mut pair, entries) = written(3);
    let realm = entries[0].header.realm;
    let draft = |realm: RealmId, seq, previous| Draft {
        realm,
        space: realm.main_space(),
        author: Author { site: entries[0].header.author.site, ..entries[0].header.author },
        seq,
        previous,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    };
    let body = Body::Transactions(Vec::new());
    let liar = SiteKey::from_seed([66; 32]);
    let forged = draft(realm, 3, entries[1].hash).sign(&body, &liar);
    let far = draft(realm, 30, EntryHash([3; 32])).sign(&body, &liar);
    let other = RealmId([8; 32]);
    let elsewhere = draft(other, 1, EntryHash::NONE).sign(&body, &liar);
    let stranger = Author { site: liar.site(), incarnation: Incarnation([1; 8]) };
    let unknown = Draft { author: stranger, ..draft(realm, 2, EntryHash([5; 32])) };
    let unknown = unknown.sign(&body, &liar);
    let packed = |entries: &[&Entry]| Gossip::Entries(pack_entries(entries.iter().copied()));
    let rejected = |token| vec![(token, Validation::Reject)];
    // Nothing, no packed entries, entries of two networks, and of another network.
    assert_eq!(hear(&mut pair, 1, &packed(&[]), 0), rejected(1));
    assert_eq!(hear(&mut pair, 2, &Gossip::Entries(vec![9; 50]), 0), rejected(2));
    assert_eq!(hear(&mut pair, 3, &packed(&[&entries[0], &elsewhere]), 0), rejected(3));
    assert_eq!(hear(&mut pair, 4, &one(&elsewhere), 0), rejected(4));
    assert_eq!(pair.count(NORTH), 0);
    // What is not signed by its author gets no place to wait; nor does what nobody who is known wrote.
    assert_eq!(hear(&mut pair, 5, &one(&far), 0), rejected(5));
    assert_eq!(hear(&mut pair, 6, &one(&unknown), 0), [(6, Validation::Ignore)]);
    assert_eq!(pair.replicas[NORTH].footprint().early, 0);
    // What stands before it counts all the same.
    assert_eq!(hear(&mut pair, 7, &packed(&[&entries[0], &entries[1], &forged]), 0), rejected(7));
    assert_eq!(pair.count(NORTH), 2);
    assert_eq!(hear(&mut pair, 8, &one(&entries[2]), 0), accepted([8]));
    assert_eq!(pair.digest(0), pair.digest(NORTH));
}

#[test]
fn who_signs_number_after_number_twice_has_tables_rebuilt_now_and_then_alone() {
    let mut pair = Pair::new();
    pair.pass(2_000);
    pair.down();
    let network = pair.replicas[NORTH].realms().network().unwrap();
    let head = SiteKey::from_seed([1; 32]);
    let signed = |life: u8, time_ms| {
        let draft = Draft {
            realm: network,
            space: network.main_space(),
            author: Author { site: head.site(), incarnation: Incarnation([life; 8]) },
            seq: 1,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms,
        };
        one(&draft.sign(&Body::Transactions(Vec::new()), &head))
    };
    let twice = |pair: &mut Pair, life, at_ms| {
        let mut verdicts = hear(pair, 1, &signed(life, 1), at_ms);
        verdicts.extend(hear(pair, 2, &signed(life, 2), at_ms));
        verdicts
    };
    assert_eq!(twice(&mut pair, 66, 10_000), accepted([1, 2]));
    // The next one's second branch is not taken yet, nor is that of one after it.
    let ignored = [(1, Validation::Accept), (2, Validation::Ignore)];
    assert_eq!(twice(&mut pair, 67, 10_001), ignored);
    assert_eq!(twice(&mut pair, 68, 19_000), ignored);
    // All that is offered then is, at once.
    assert_eq!(hear(&mut pair, 2, &signed(67, 2), 21_000), accepted([2]));
    assert_eq!(hear(&mut pair, 2, &signed(68, 2), 21_001), [(2, Validation::Ignore)]);
    assert_eq!(hear(&mut pair, 2, &signed(68, 2), 32_000), accepted([2]));
}
