//! Entries whose journal frames are damaged come back from a peer.

use branchline_crdt::Replica;
use branchline_crdt::feed::{Cursor, FeedId, FeedReader, PageBounds};
use branchline_crdt::ids::{Incarnation, SiteKey};
use branchline_crdt::inspect::verify::verify;
use branchline_crdt::record::Value;
use branchline_crdt::replica::{Identity, Notice, Now, Opening};
use branchline_crdt::store::frame::Frame;
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::{Position, ReadJournal, Store};
use serde_json::{Value as Json, json};

use super::pair::{Pair, damaged};

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
        status.sites.iter().find(|site| site.name == "head").unwrap().lag_entries
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

#[test]
fn damaged_entries_of_members_make_nobody_a_stranger() {
    for office in 0..2 {
        let mut pair = apart();
        let places = pair.membership_places(office);
        assert!(!places.is_empty());
        let whole: Vec<_> =
            places.iter().map(|at| pair.replicas[office].store().read(*at).unwrap()).collect();
        pair.restart(office, |store| damaged(store, &places));
        let status = pair.replicas[office].status();
        assert_eq!((status.sites.len(), status.entries_lost), (2, 0), "office {office}");
        let store = pair.replicas[office].store();
        let read: Vec<_> = places.iter().map(|at| store.read(*at).unwrap()).collect();
        assert_eq!(read, whole, "put back without a peer");
        pair.write(1 - office, "oil", json!({"price": 4}));
        pair.up();
        pair.pass(3_000);
        assert_eq!(pair.digest(0), pair.digest(1));
    }
}

#[test]
fn a_genesis_document_survives_the_loss_of_the_tables_and_of_one_of_its_copies() {
    for office in 0..2 {
        let mut pair = apart();
        for _ in 0..3 {
            let frames = pair.replicas[office].store().scan_journal(None, usize::MAX).unwrap();
            let is_genesis = |frame: &[u8]| matches!(Frame::read(frame), Ok(Frame::Genesis(_)));
            let copies = frames.iter().filter(|(_, frame)| is_genesis(frame));
            let copies: Vec<_> = copies.map(|(at, _)| *at).collect();
            assert!(copies.len() >= 2, "office {office} has {copies:?}");
            pair.restart(office, |store| damaged(store, &copies[..1]).without_tables());
            assert_eq!(pair.count(office), 3, "office {office}");
        }
        pair.up();
        pair.write(1 - office, "oil", json!({"price": 4}));
        pair.pass(3_000);
        assert_eq!((pair.count(0), pair.count(1)), (4, 4));
        assert_eq!(pair.digest(0), pair.digest(1));
    }
}

/// A frame of a kind that no program of today writes.
const LATER: &[u8] = &[200, 1, 2, 3];

#[test]
fn a_journal_that_a_newer_program_wrote_to_is_named_as_such() {
    let mut pair = Pair::new();
    let (site, space) = (pair.site(0), pair.space());
    let mut store = pair.replicas.remove(0).into_store();
    let at = store.append(&[LATER]).unwrap()[0].0;
    let expected = format!(
        "the journal was written by a newer program (frame kind 200 at {at}; kinds 1 to 4 are known): update this one"
    );
    assert_eq!(verify(&store, &[space]).unwrap().faults, std::slice::from_ref(&expected));
    // As the newer program leaves it: its tables have the frame.
    store.apply(Vec::new(), Some(Position(at))).unwrap();
    let feed = FeedId::new(site, space);
    let mut reader = FeedReader::open(&store, feed, space, Cursor::start(feed), None).unwrap();
    let page = reader.read(&store, PageBounds { items_max: 100, bytes_max: 1 << 20 });
    assert_eq!(page.unwrap_err().to_string(), expected);
    let key = SiteKey::from_seed([1; 32]);
    let incarnation = Incarnation([9; 8]);
    let identity = Identity { key, name: "head".to_owned(), incarnation, seed: 9 };
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let store = store.without_tables();
    let opened = Replica::open(store, identity, Opening::with(None), now, &mut |_| ());
    assert_eq!(opened.err().unwrap().to_string(), expected);
}

/// One office has changed a record more often than one row names places, and has started over: it holds in memory, and
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
