//! A member that begins logs without number. It may fill disks; it does not keep honest offices from hearing each other.

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Body, Draft, Entry};
use branchline_crdt::membership::{Admission, Role};
use branchline_crdt::protocol::{Gossip, Introduction};
use branchline_crdt::replica::{Decision, Input};
use serde_json::json;

use super::pair::{Pair, REQUEST_BYTES_MAX};

/// More logs than a request has room for.
const LIVES: u32 = 24_000;

fn south() -> SiteKey {
    SiteKey::from_seed([77; 32])
}

/// Two offices, and a third site that both know as a member.
fn offices() -> Pair {
    let mut pair = Pair::new();
    let secret = SiteKey::from_seed([98; 32]);
    let ticket = pair.replicas[0].invite(Role::Writer, 1_000_000, secret, Vec::new()).unwrap();
    let admission = Box::new(Admission::sign(&ticket, south().site(), "south"));
    let body = codec::encode(&Introduction::Ticket(admission));
    pair.input(0, Input::Introduction { from: south().site(), token: 7, body });
    pair.settle();
    pair
}

/// An empty entry of the third site, the first of an incarnation, in the records or the members.
fn life(pair: &Pair, number: u32, space: SpaceId) -> Entry {
    let realm = pair.replicas[0].realms().network().unwrap();
    let mut incarnation = [0; 8];
    incarnation[4..].copy_from_slice(&number.to_be_bytes());
    let draft = Draft {
        realm,
        space,
        author: Author { site: south().site(), incarnation: Incarnation(incarnation) },
        seq: 1,
        previous: EntryHash::NONE,
        past: Vec::new(),
        membership_past: Vec::new(),
        time_ms: 0,
    };
    let body = if space == realm.membership_space() {
        Body::Membership(Vec::new())
    } else {
        Body::Transactions(Vec::new())
    };
    draft.sign(&body, &south())
}

/// An office hears of these incarnations.
fn hear(pair: &mut Pair, office: usize, space: SpaceId, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let entry = life(pair, number, space);
        let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
        pair.input(office, Input::Gossip { from: south().site(), token: 0, data });
    }
    pair.settle();
}

fn in_step(pair: &Pair) -> bool {
    let spaces = pair.replicas[0].realms().spaces();
    let frontier = |office: usize, space| pair.replicas[office].realms().frontier(space);
    spaces.iter().all(|space| frontier(0, *space) == frontier(1, *space))
}

/// Lets time pass until both hold the same, and says how many seconds that took.
fn meet(pair: &mut Pair) -> u64 {
    for seconds in 0..120 {
        if in_step(pair) {
            return seconds;
        }
        pair.pass(1_000);
    }
    panic!("they never hold the same; the largest request had {} bytes", pair.request_bytes);
}

#[test]
fn incarnations_without_number_keep_nobody_from_hearing_of_the_others() {
    let mut pair = offices();
    pair.down();
    let space = pair.space();
    hear(&mut pair, 0, space, 0..LIVES);
    pair.write(0, "tea", json!({"price": 3}));
    pair.write(1, "rice", json!({"price": 4}));
    pair.up();
    assert!(meet(&mut pair) <= 30);
    // And goes on so, with little more to say.
    let before = pair.bytes;
    hear(&mut pair, 0, space, LIVES..LIVES + 1);
    pair.write(0, "salt", json!({"price": 1}));
    pair.pass(30_000);
    assert!(in_step(&pair));
    assert_eq!(pair.digest(0), pair.digest(1));
    assert_eq!((pair.count(0), pair.count(1)), (3, 3));
    assert!(pair.request_bytes <= REQUEST_BYTES_MAX, "{} bytes", pair.request_bytes);
    assert!(pair.bytes - before <= 200_000, "{} bytes", pair.bytes - before);
}

#[test]
fn offices_that_heard_of_different_ones_hold_all_in_the_end() {
    let mut pair = offices();
    pair.down();
    let space = pair.space();
    hear(&mut pair, 0, space, 0..LIVES / 2);
    hear(&mut pair, 1, space, LIVES / 2..LIVES);
    pair.write(0, "tea", json!({"price": 3}));
    pair.write(1, "rice", json!({"price": 4}));
    pair.up();
    assert!(meet(&mut pair) <= 60);
    assert_eq!((pair.count(0), pair.count(1)), (2, 2));
    assert!(pair.request_bytes <= REQUEST_BYTES_MAX, "{} bytes", pair.request_bytes);
}

#[test]
fn neither_do_incarnations_among_the_members() {
    let mut pair = offices();
    pair.down();
    let space = pair.replicas[0].realms().network().unwrap().membership_space();
    hear(&mut pair, 0, space, 0..LIVES);
    pair.write(0, "tea", json!({"price": 3}));
    pair.up();
    assert!(meet(&mut pair) <= 60);
    assert_eq!(pair.count(1), 1);
    assert!(pair.request_bytes <= REQUEST_BYTES_MAX, "{} bytes", pair.request_bytes);
}

#[test]
fn a_restart_reads_the_logs_and_writes_on() {
    let mut pair = offices();
    let space = pair.space();
    hear(&mut pair, 0, space, 0..1_000);
    pair.restart(0, |store| store);
    pair.up();
    pair.write(0, "tea", json!({"price": 3}));
    pair.pass(1_000);
    assert!(in_step(&pair));
    assert_eq!(pair.count(1), 1);
}

#[test]
fn a_member_of_any_number_of_logs_is_revoked() {
    let mut pair = offices();
    let space = pair.space();
    // Some that only the other office has heard of when it hears of the revocation.
    hear(&mut pair, 0, space, 0..LIVES);
    assert!(meet(&mut pair) <= 30);
    pair.down();
    hear(&mut pair, 1, space, LIVES..LIVES + 100);
    let decision = Decision::Revoke { site: south().site() };
    pair.input(0, Input::Decide { id: 0, decision });
    pair.settle();
    pair.up();
    assert!(meet(&mut pair) <= 60);
    for office in 0..2 {
        let members = pair.replicas[office].realms().members().unwrap();
        assert!(members.revoked().contains_key(&south().site()));
        // What the other office held stays.
        for number in [0, LIVES - 1, LIVES, LIVES + 99] {
            let author = life(&pair, number, space).header.author;
            assert!(members.allowed(space, author, 1).is_some(), "{number} at {office}");
        }
        let later = life(&pair, LIVES + 100, space).header.author;
        assert_eq!(members.allowed(space, later, 1), None);
    }
    pair.write(1, "tea", json!({"price": 3}));
    pair.pass(1_000);
    assert_eq!((pair.count(0), pair.count(1)), (1, 1));
}
