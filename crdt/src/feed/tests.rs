//! What a reader leaves out, and comes back to.

use serde_json::json;

use super::cursor::{HOLES_MAX, Hole};
use super::*;
use crate::Replica;
use crate::format::codec;
use crate::ids::{Incarnation, SiteKey, SpaceId};
use crate::log::entry::PAYLOAD_FORMAT;
use crate::membership::Genesis;
use crate::record::Edit;
use crate::replica::{Identity, Input, LocalTransaction, Now, Opening, RecordEdit};
use crate::store::memory::MemoryStore;
use crate::store::tables::logs::{self, EntryRow, EntryStatus};
use crate::store::tables::{decode_row, walk};
use crate::store::{Position, ReadJournal, Store};

const BOUNDS: PageBounds = PageBounds { items_max: 100, bytes_max: 1 << 20 };

/// Three records of one site, each in an entry of its own.
fn store() -> (MemoryStore, FeedId, SpaceId) {
    store_of(&["a", "b", "c"])
}

/// Records of one site that were written one after the other, each time in an entry of its own.
fn store_of(ids: &[&str]) -> (MemoryStore, FeedId, SpaceId) {
    let key = SiteKey::from_seed([1; 32]);
    let site = key.site();
    let incarnation = Incarnation([1; 8]);
    let identity = Identity { key, name: "head".to_owned(), incarnation, seed: 1 };
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let opened = Replica::open(MemoryStore::new(), identity, Opening::with(None), now, &mut |_| ());
    let mut replica = opened.unwrap();
    replica.found(Genesis {
        founders: vec![(site, "head".to_owned())],
        time_ms: 0,
        nonce: [1; 16],
    });
    replica.commit().unwrap();
    for (price, id) in ids.iter().enumerate() {
        let serde_json::Value::Object(fields) = json!({"price": price}) else {
            panic!("an object")
        };
        let edits = vec![RecordEdit::new("products", *id, Edit::Put(fields))];
        let transactions = vec![LocalTransaction { origin: None, edits }];
        replica.handle(Input::Write { id: 1, space: None, transactions }, now).unwrap();
        replica.commit().unwrap();
    }
    let space = replica.realms().network().unwrap().main_space();
    (replica.into_store(), FeedId::new(site, space), space)
}

fn read(
    store: &MemoryStore,
    feed: FeedId,
    space: SpaceId,
    cursor: Cursor,
) -> (Vec<String>, Cursor) {
    let mut reader = FeedReader::open(store, feed, space, cursor, None).unwrap();
    let page = reader.read(store, BOUNDS).unwrap();
    assert!(page.is_end);
    let ids = page.reported.into_iter().map(|reported| match reported.item {
        Item::Change(change) => change.key.id,
        Item::Fork { .. } => panic!("there is no fork"),
    });
    (ids.collect(), page.cursor)
}

/// Sets what became of the second entry, and returns its place.
fn set_status(store: &mut MemoryStore, space: SpaceId, status: EntryStatus) -> Position {
    let mut rows = Vec::new();
    walk(store, &logs::entries_of_space(space), None, |key, value| {
        let row: EntryRow = decode_row("entry row", value)?;
        rows.push((key.to_vec(), row));
        Ok(true)
    })
    .unwrap();
    let (key, row) = rows.swap_remove(1);
    let changed = codec::encode(&EntryRow { status, ..row });
    store.apply(vec![(key, Some(changed))], None).unwrap();
    row.position()
}

#[test]
fn what_was_held_is_told_once_a_newer_program_applies_it() {
    let (mut store, feed, space) = store();
    let position = set_status(&mut store, space, EntryStatus::Held);
    let (ids, mut cursor) = read(&store, feed, space, Cursor::start(feed));
    assert_eq!(ids, ["a", "c"]);
    assert_eq!(cursor.owed.held, Some((position, PAYLOAD_FORMAT)));
    assert_eq!(read(&store, feed, space, cursor.clone()).0, Vec::<String>::new());

    // As if the program that held it had known one format less.
    set_status(&mut store, space, EntryStatus::Applied);
    cursor.owed.held = Some((position, PAYLOAD_FORMAT - 1));
    let (ids, cursor) = read(&store, feed, space, cursor);
    assert_eq!(ids, ["b", "c"]);
    assert_eq!(cursor.owed.held, None);
}

#[test]
fn what_is_void_is_not_told() {
    let (mut store, feed, space) = store();
    set_status(&mut store, space, EntryStatus::Void);
    assert_eq!(read(&store, feed, space, Cursor::start(feed)).0, ["a", "c"]);
}

#[test]
fn a_change_whose_values_need_what_is_damaged_is_reported_again_once_that_is_mended() {
    let (mut store, feed, space) = store_of(&["a", "b", "a", "c"]);
    let mut reader = FeedReader::open(&store, feed, space, Cursor::start(feed), None).unwrap();
    let items_max = 2;
    let page = reader.read(&store, PageBounds { items_max, ..BOUNDS }).unwrap();
    let first = page.reported[0].cursor.place().unwrap().position;
    let frame = store.read(first).unwrap();

    // One who goes on in another process has nothing in memory of what was read.
    store.damage(first);
    let mut reader = FeedReader::open(&store, feed, space, page.cursor, None).unwrap();
    let page = reader.read(&store, BOUNDS).unwrap();
    let changes = |page: FeedRead| -> Vec<(String, bool)> {
        let changes = page.reported.into_iter().map(|reported| match reported.item {
            Item::Change(change) => (change.key.id, change.values.is_ok()),
            Item::Fork { .. } => panic!("there is no fork"),
        });
        changes.collect()
    };
    let cursor = page.cursor.clone();
    assert_eq!(changes(page), [("a".to_owned(), false), ("c".to_owned(), true)]);
    assert_eq!(cursor.owed.holes.iter().map(|hole| hole.start).collect::<Vec<_>>(), [first]);
    assert!(!cursor.is_due(&store).unwrap());
    assert_eq!(read(&store, feed, space, cursor.clone()).0, Vec::<String>::new());

    store.repair(first, &frame).unwrap();
    let mut reader = FeedReader::open(&store, feed, space, cursor, None).unwrap();
    let page = reader.read(&store, BOUNDS).unwrap();
    assert!(page.went_back && page.cursor.is_owed_nothing());
    let whole = ["a", "b", "a", "c"].map(|id| (id.to_owned(), true));
    assert_eq!(changes(page), whole);
}

#[test]
fn more_damage_than_a_cursor_remembers_is_an_error() {
    let (mut store, feed, space) = store();
    let mut cursor = Cursor::start(feed);
    let hole = |number| Hole { start: Position(900 + number), end: None };
    cursor.owed.holes = (0..HOLES_MAX as u64).map(hole).collect();
    let last = store.applied().unwrap().unwrap();
    for hole in &cursor.owed.holes {
        store.damage(hole.start);
    }
    store.damage(last);
    let mut reader = FeedReader::open(&store, feed, space, cursor, None).unwrap();
    let error = reader.read(&store, BOUNDS).unwrap_err();
    assert!(error.to_string().contains("in more than 16 places"), "{error}");
}
