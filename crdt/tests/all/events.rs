//! Events are never changed, and a change by a site that does not keep to that is not shown, whatever happens in which
//! order.

use branchline_crdt::events::{self, Event, EventBounds};
use branchline_crdt::feed::{Change, Cursor, FeedId, FeedReader, Item, PageBounds};
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteKey};
use branchline_crdt::inspect::verify::verify;
use branchline_crdt::log::entry::{Body, Draft, Entry, RecordWrite, Tip, Transaction};
use branchline_crdt::protocol::Gossip;
use branchline_crdt::record::{
    ActorBytes, Document, Edit, EventFault, SCHEMA_COLLECTION, SchemaError, View,
};
use branchline_crdt::replica::{Input, RecordEdit, WriteError};
use branchline_crdt::store::ReadJournal;
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::records::{RecordKey, RecordRow};
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

use super::pair::Pair;

const COLLECTION: &str = "ledger";
const BOUNDS: EventBounds = EventBounds { events: 1000, bytes: 1 << 20, ordered: 1000 };

fn fields(json: Json) -> Map<String, Json> {
    let Json::Object(fields) = json else { panic!("no object") };
    fields
}

fn edit(id: &str, edit: Edit) -> RecordEdit {
    RecordEdit::new(COLLECTION, id, edit)
}

fn event(aggregate: &str, amount: u32) -> Json {
    json!({"type": "paid", "aggregate_id": aggregate, "data": {"amount": amount}})
}

fn put(id: &str, event: Json) -> RecordEdit {
    edit(id, Edit::Put(fields(event)))
}

fn declare(pair: &mut Pair, schema: Json) -> Result<(), WriteError> {
    let edit = Edit::Put(fields(schema));
    let declared = vec![RecordEdit::new(SCHEMA_COLLECTION, COLLECTION, edit)];
    pair.transact(0, None, declared).map(drop)
}

fn with_events() -> Pair {
    let mut pair = Pair::new();
    declare(&mut pair, json!({"events": true})).unwrap();
    pair.write(1, "tea", json!({"price": 1}));
    pair.pass(2_000);
    pair
}

fn key(pair: &Pair, id: &str) -> RecordKey {
    RecordKey { space: pair.space(), collection: COLLECTION.to_owned(), id: id.to_owned() }
}

fn view(pair: &Pair, office: usize, id: &str) -> Option<View> {
    read::record(pair.replicas[office].store(), &key(pair, id)).unwrap()
}

fn amount(view: &View) -> String {
    view.fields["data"].to_json().as_str().unwrap().to_owned()
}

fn feed(pair: &Pair, office: usize) -> FeedId {
    FeedId::new(pair.site(office), pair.space())
}

fn of_aggregate(pair: &Pair, office: usize, aggregate: &str) -> Vec<Event> {
    let (store, of) = (pair.replicas[office].store(), (feed(pair, office), pair.space()));
    let found = events::of_aggregate(store, of, COLLECTION, aggregate, None, BOUNDS).unwrap();
    found.unwrap().events
}

fn altered(pair: &Pair, office: usize) -> Vec<String> {
    let store = pair.replicas[office].store();
    let found = events::altered(store, pair.space(), Some(COLLECTION), None, 100).unwrap();
    found.into_iter().map(|altered| altered.key.id).collect()
}

/// What the feed tells of the collection.
fn reported(pair: &Pair, office: usize) -> Vec<(Change, Cursor)> {
    let store = pair.replicas[office].store();
    let (of, start) = (feed(pair, office), Cursor::start(feed(pair, office)));
    let mut reader =
        FeedReader::open(store, of, pair.space(), start, Some(COLLECTION.into())).unwrap();
    let bounds = PageBounds { items_max: 10_000, bytes_max: 1 << 24 };
    let page = reader.read(store, bounds).unwrap();
    let change = |reported: branchline_crdt::feed::FeedEvent| match reported.item {
        Item::Change(change) => (*change, reported.cursor),
        Item::Fork { .. } => panic!("no fork was made"),
    };
    page.reported.into_iter().map(change).collect()
}

fn check_verified(pair: &Pair, office: usize) {
    let report = verify(pair.replicas[office].store(), &[pair.space()]).unwrap();
    assert!(report.is_sound(), "{:?}", report.faults);
}

/// The north office edits a record as a program that heeds no schema: an entry of a further start of its, which is signed
/// as any other.
fn ignore(pair: &mut Pair, start: u8, id: &str, edits: &[Edit]) {
    let store = pair.replicas[0].store();
    let frames = store.scan_journal(None, usize::MAX).unwrap();
    let entries = frames.iter().filter_map(|(_, frame)| frame.strip_prefix(&[1]));
    let entries: Vec<_> = entries.map(|bytes| Entry::decode(bytes).unwrap()).collect();
    let mut past: Vec<Tip> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.header.space == pair.space()) {
        let tip = Tip { author: entry.header.author, seq: entry.header.seq, hash: entry.hash };
        past.retain(|known| known.author != tip.author);
        past.push(tip);
    }
    past.sort_by_key(|tip| tip.author);
    let north = pair.site(1);
    let own = entries.iter().find(|entry| {
        entry.header.author.site == north && !entry.header.membership_past.is_empty()
    });
    let membership_past = own.unwrap().header.membership_past.clone();
    let author = Author { site: north, incarnation: Incarnation([start; 8]) };
    let row = store.get(&key(pair, id).record()).unwrap();
    let mut document = match &row {
        Some(row) => RecordRow::decode(row).unwrap().document().unwrap(),
        None => Document::empty(),
    };
    let actor = ActorBytes(author.actor());
    let change = |edit: &Edit| {
        // What is deleted already is not deleted again.
        let change = document.edit(actor, 0, edit, None).ok()??.change;
        Some(RecordWrite { collection: COLLECTION.to_owned(), id: id.to_owned(), change })
    };
    let changes = edits.iter().filter_map(change).collect();
    let network = pair.replicas[0].realms().network().unwrap();
    let (space, seq, previous) = (pair.space(), 1, EntryHash::NONE);
    let draft =
        Draft { realm: network, space, author, seq, previous, past, membership_past, time_ms: 7 };
    let body = Body::Transactions(vec![Transaction { origin: None, changes }]);
    let entry = draft.sign(&body, &SiteKey::from_seed([2; 32]));
    for office in 0..2 {
        let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
        let from = pair.site(1 - office);
        pair.input(office, Input::Gossip { from, token: 0, data });
        pair.settle();
    }
}

fn merge(patch: Json) -> Edit {
    Edit::Merge { patch: fields(patch), create: true }
}

fn fault(result: Result<branchline_crdt::replica::Written, WriteError>) -> EventFault {
    match result {
        Err(WriteError::Event { fault, .. }) => fault,
        Err(WriteError::InEdit { error, .. }) => fault(Err(*error)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_stored_is_stored_again_without_effect_and_never_changed() {
    let mut pair = with_events();
    let first = pair.transact(0, None, vec![put("e1", event("a", 1))]).unwrap();
    assert_eq!(first.records_changed, 1);
    for office in 0..2 {
        // As it is, in another order, with the data as text, by another edit.
        let same =
            json!({"data": "{\"amount\": 1}", "aggregate_id": "a", "type": "paid", "id": "e1"});
        for again in [
            put("e1", event("a", 1)),
            put("e1", same.clone()),
            edit("e1", Edit::Import(fields(same.clone()))),
            edit("e1", merge(same)),
        ] {
            let again = pair.transact(office, None, vec![again]).unwrap();
            assert_eq!((again.records_changed, again.entry), (0, None));
        }
        let patch = Edit::Merge { patch: fields(json!({"type": "x"})), create: false };
        for (other, expected) in [
            (put("e1", event("a", 2)), EventFault::Exists),
            (put("e1", event("b", 1)), EventFault::Exists),
            (edit("e1", Edit::Import(fields(event("a", 3)))), EventFault::Exists),
            (edit("e1", Edit::Revive(fields(event("a", 3)))), EventFault::Exists),
            (edit("e1", patch), EventFault::Edited),
            (edit("e1", Edit::Delete), EventFault::Deleted),
            (edit("e1", Edit::Undelete), EventFault::Deleted),
        ] {
            assert_eq!(fault(pair.transact(office, None, vec![other])), expected);
        }
    }
    // Several are stored together or not at all, and the same twice is once.
    let two = vec![put("e2", event("a", 2)), put("e2", event("a", 2)), put("e3", event("a", 3))];
    assert_eq!(pair.transact(1, None, two).unwrap().records_changed, 2);
    let bad = vec![put("e4", event("a", 4)), put("e4", event("a", 5))];
    assert_eq!(fault(pair.transact(1, None, bad)), EventFault::Exists);
    let bad = vec![put("e4", event("a", 4)), put("e1", event("a", 9))];
    assert_eq!(fault(pair.transact(1, None, bad)), EventFault::Exists);
    let ids: Vec<_> = of_aggregate(&pair, 0, "a").into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["e1", "e2", "e3"]);
    assert_eq!(view(&pair, 0, "e1").unwrap().fields.len(), 3 + 1);
    let missing = pair.transact(0, None, vec![edit("e9", Edit::Delete)]);
    assert!(matches!(missing, Err(WriteError::Edit(_))), "{missing:?}");
    (0..2).for_each(|office| check_verified(&pair, office));
}

#[test]
fn a_change_by_a_site_that_keeps_no_events_is_not_shown_and_listed() {
    let mut pair = with_events();
    pair.transact(0, None, vec![put("e1", event("a", 1)), put("e2", event("a", 2))]).unwrap();
    pair.transact(1, None, vec![put("e3", event("a", 3))]).unwrap();
    let before = view(&pair, 0, "e1");
    ignore(&mut pair, 100, "e1", &[merge(json!({"aggregate_id": "b", "more": 1}))]);
    ignore(&mut pair, 101, "e2", &[merge(json!({"data": "9"})), Edit::Delete]);
    for restarts in 0..2 {
        for office in 0..2 {
            assert_eq!(altered(&pair, office), ["e1", "e2"], "office {office}");
            assert_eq!(view(&pair, office, "e1"), before);
            assert_eq!(amount(&view(&pair, office, "e2").unwrap()), "{\"amount\":2}");
            assert!(!view(&pair, office, "e2").unwrap().deleted);
            assert_eq!(of_aggregate(&pair, office, "a").len(), 3);
            assert_eq!(of_aggregate(&pair, office, "b"), []);
            // The feed tells each event, and that nothing became of the others' changes.
            let reported = reported(&pair, office);
            assert_eq!(reported.len(), 3 + 3);
            let values = reported.iter().map(|(change, _)| change.values.as_ref().unwrap());
            let unchanged = values.filter(|values| values.before.as_ref() == Some(&values.after));
            assert_eq!(unchanged.count(), 3);
            let reported = reported.into_iter();
            let events: Vec<_> =
                reported.filter_map(|(change, cursor)| Event::of_change(&change, cursor)).collect();
            assert_eq!(events.len(), 3);
            assert!(events.iter().all(|event| event.others.is_empty()));
            check_verified(&pair, office);
            // Still it is stored, and nothing else under its id.
            let same = pair.transact(office, None, vec![put("e1", event("a", 1))]).unwrap();
            assert_eq!(same.records_changed, 0);
            let other = pair.transact(office, None, vec![put("e2", event("a", 9))]);
            assert_eq!(fault(other), EventFault::Exists);
        }
        assert_eq!(pair.digest(0), pair.digest(1));
        if restarts == 0 {
            pair.restart(0, MemoryStore::without_tables);
            pair.restart(1, |store| store);
            pair.up();
            pair.pass(5_000);
        }
    }
    let store = pair.replicas[0].store();
    let listed = events::altered(store, pair.space(), None, None, 1).unwrap();
    let (entry, time_ms) = listed[0].first.unwrap();
    assert_eq!((entry.author.site, time_ms, listed[0].count), (pair.site(1), 7, 1));
    let next = events::altered(store, pair.space(), None, Some(&listed[0].key), 1).unwrap();
    assert_eq!((next[0].key.id.as_str(), next[0].count), ("e2", 2));
    assert_eq!(events::altered_keys(store, pair.space(), 100).unwrap().len(), 2);
}

#[test]
fn one_id_written_apart_is_a_conflict_and_the_same_event_written_apart_is_none() {
    let mut pair = with_events();
    pair.down();
    for office in 0..2 {
        let amount = office as u32 + 1;
        let with_metadata = json!({
            "type": "paid", "aggregate_id": format!("a{office}"), "data": amount,
            "metadata": if office == 0 { json!({"by": "till"}) } else { Json::Null },
        });
        let edits = vec![put("same", event("a", 7)), put("e1", with_metadata)];
        pair.transact(office, None, edits).unwrap();
    }
    pair.up();
    pair.pass(2_000);
    assert_eq!(view(&pair, 0, "e1"), view(&pair, 1, "e1"));
    let space = pair.space();
    for office in 0..2 {
        let store = pair.replicas[office].store();
        let conflicted = read::conflicted(store, space, None, None, 9).unwrap();
        assert_eq!(conflicted, [key(&pair, "e1")]);
        assert!(view(&pair, office, "same").unwrap().conflicts.is_empty());
        // One is shown as a whole, at its aggregate, and the other beside it.
        let shown = [of_aggregate(&pair, office, "a0"), of_aggregate(&pair, office, "a1")].concat();
        assert_eq!(shown.len(), 1);
        let (shown, other) = (&shown[0].content, &shown[0].others[..]);
        let is_first = shown.data == json!(1);
        let first = if is_first { shown } else { &other[0] };
        let second = if is_first { &other[0] } else { shown };
        assert_eq!(other.len(), 1);
        assert_eq!((first.aggregate_id.as_str(), &first.metadata), ("a0", &json!({"by": "till"})));
        assert_eq!((second.aggregate_id.as_str(), &second.metadata), ("a1", &Json::Null));
        assert_eq!(second.data, json!(2));
        // Both are stored, and a third is not.
        for stored in [first.clone(), second.clone()] {
            let events::EventContent { kind, aggregate_id, data, metadata } = stored;
            let again = json!({
                "type": kind, "aggregate_id": aggregate_id, "data": data, "metadata": metadata,
            });
            let again = pair.transact(office, None, vec![put("e1", again)]).unwrap();
            assert_eq!(again.records_changed, 0);
        }
        let third = pair.transact(office, None, vec![put("e1", event("a", 3))]);
        assert_eq!(fault(third), EventFault::Exists);
        assert_eq!(altered(&pair, office), [""; 0]);
        let reported = reported(&pair, office).into_iter();
        let events: Vec<_> =
            reported.filter_map(|(change, cursor)| Event::of_change(&change, cursor)).collect();
        let ids: Vec<_> = events.iter().map(|event| event.id.as_str()).collect();
        // The second to come tells of the conflict; one of the same event tells nothing.
        assert_eq!(ids, ["same", "e1", "e1"]);
        assert_eq!(events[2].others.len(), 1);
        check_verified(&pair, office);
    }
}

#[test]
fn a_collection_becomes_one_of_events_and_ceases_to_be_one_only_while_it_is_empty() {
    let mut pair = Pair::new();
    let fixed = |result| {
        let Err(WriteError::Schema(SchemaError::EventsFixed { events, .. })) = result else {
            panic!("{result:?}");
        };
        events
    };
    pair.transact(1, None, vec![put("e1", json!({"n": 1}))]).unwrap();
    assert!(fixed(declare(&mut pair, json!({"events": true}))));
    let mut pair = with_events();
    declare(&mut pair, json!({"n": "integer"})).unwrap();
    declare(&mut pair, json!({"events": "append-only"})).unwrap();
    pair.transact(1, None, vec![put("e1", event("a", 1))]).unwrap();
    assert!(!fixed(declare(&mut pair, json!({"n": "integer"}))));
    let delete = RecordEdit::new(SCHEMA_COLLECTION, COLLECTION, Edit::Delete);
    assert!(!fixed(pair.transact(0, None, vec![delete]).map(drop)));
    declare(&mut pair, json!({"events": true, "type": "string required"})).unwrap();
}

#[test]
fn what_was_changed_before_the_schema_came_is_shown_as_it_was_first() {
    for is_rebuilt in [false, true] {
        let mut pair = Pair::new();
        pair.write(1, "tea", json!({}));
        pair.down();
        declare(&mut pair, json!({"events": true})).unwrap();
        for number in 0..600 {
            let stored = json!({"type": "t", "aggregate_id": "a", "data": "1", "metadata": null});
            let id = format!("e{number:03}");
            pair.transact(1, None, vec![put(&id, stored)]).unwrap();
            if number % 3 == 0 {
                pair.transact(1, None, vec![edit(&id, merge(json!({"aggregate_id": "b"})))])
                    .unwrap();
            }
        }
        pair.transact(1, None, vec![edit("e598", Edit::Delete)]).unwrap();
        pair.up();
        if is_rebuilt {
            pair.restart(1, MemoryStore::without_tables);
            pair.up();
        }
        pair.pass(10_000);
        assert_eq!(pair.digest(0), pair.digest(1));
        for office in 0..2 {
            assert_eq!(altered(&pair, office).len(), 100, "a page of them, office {office}");
            let store = pair.replicas[office].store();
            assert_eq!(events::altered_keys(store, pair.space(), 1000).unwrap().len(), 201);
            assert_eq!(of_aggregate(&pair, office, "a").len(), 600, "office {office}");
            assert_eq!(of_aggregate(&pair, office, "b"), []);
            assert!(!view(&pair, office, "e598").unwrap().deleted);
            check_verified(&pair, office);
        }
    }
}

#[test]
fn the_events_of_an_aggregate_come_in_the_order_of_the_site_behind_a_version() {
    let mut pair = with_events();
    for number in (0..9).rev() {
        let office = number % 2;
        let aggregate = if number == 4 { "other" } else { "a" };
        let stored = put(&format!("e{number}"), event(aggregate, number as u32));
        pair.transact(office, None, vec![stored]).unwrap();
    }
    let all = of_aggregate(&pair, 1, "a");
    let ids: Vec<_> = all.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["e8", "e7", "e6", "e5", "e3", "e2", "e1", "e0"]);
    let (store, of) = (pair.replicas[1].store(), (feed(&pair, 1), pair.space()));
    let since = all[4].version.cursor();
    let bounds = EventBounds { events: 2, ..BOUNDS };
    let page = events::of_aggregate(store, of, COLLECTION, "a", Some(since), bounds).unwrap();
    let page = page.unwrap();
    let ids: Vec<_> = page.events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!((ids, page.has_more), (vec!["e2", "e1"], true));
    // One with more than are put in order is for the feed.
    let few = EventBounds { ordered: 7, ..BOUNDS };
    assert_eq!(events::of_aggregate(store, of, COLLECTION, "a", None, few).unwrap(), None);
    let ids = ["e0".to_owned(), "e9".to_owned(), "e4".to_owned()];
    let found = events::by_id(store, of, COLLECTION, &ids).unwrap();
    assert_eq!(found.len(), 2);
    // The versions are those that the feed gives.
    for (change, cursor) in reported(&pair, 1) {
        let reported = Event::of_change(&change, cursor).unwrap();
        let read =
            events::by_id(store, of, COLLECTION, std::slice::from_ref(&reported.id)).unwrap();
        assert_eq!(read, [reported]);
    }
    let none = events::of_aggregate(store, of, "products", "a", None, BOUNDS);
    assert!(matches!(none, Err(events::NotLoaded::NoEvents { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Offices store events under few ids, apart and together, and one that keeps no events changes them.
    #[test]
    fn what_is_shown_of_an_event_never_changes_but_for_a_conflict(
        steps in prop::collection::vec((0_u8..8, 0_usize..2, 0_u8..5, 0_u32..4), 1..40),
    ) {
        let mut pair = with_events();
        let mut starts = 100;
        for (what, office, id, number) in steps {
            let id = format!("e{id}");
            let before: Vec<_> = (0..2).map(|office| view(&pair, office, &id)).collect();
            match what {
                0..4 => {
                    let stored = put(&id, event(&format!("a{}", number % 2), number));
                    let _ = pair.transact(office, None, vec![stored]);
                }
                4 => pair.down(),
                5 => pair.up(),
                6 if before[0].is_some() => {
                    starts += 1;
                    let change = [merge(json!({"aggregate_id": "x", "n": starts})), Edit::Delete];
                    ignore(&mut pair, starts, &id, &change[..1 + number as usize % 2]);
                }
                _ => pair.restart(office, if number == 0 { MemoryStore::without_tables } else { |store| store }),
            }
            for (office, before) in before.into_iter().enumerate() {
                let after = view(&pair, office, &id);
                let Some(before) = before else { continue };
                let after = after.unwrap();
                prop_assert!(!after.deleted);
                prop_assert!(after == before || !after.conflicts.is_empty() || after.fields == before.fields);
            }
        }
        pair.up();
        pair.pass(10_000);
        prop_assert_eq!(pair.digest(0), pair.digest(1));
        for id in 0..5 {
            let id = format!("e{id}");
            let shown = view(&pair, 0, &id);
            prop_assert_eq!(&shown, &view(&pair, 1, &id));
            let Some(shown) = shown else { continue };
            let aggregate = shown.fields["aggregate_id"].to_json();
            for office in 0..2 {
                let of = of_aggregate(&pair, office, aggregate.as_str().unwrap());
                prop_assert!(of.iter().any(|event| event.id == id));
            }
        }
        prop_assert_eq!(altered(&pair, 0), altered(&pair, 1));
        for office in 0..2 {
            prop_assert_eq!(of_aggregate(&pair, office, "x"), []);
            check_verified(&pair, office);
        }
    }
}
