//! Records as Automerge documents: what goes out, as of when, and what is noticed where Automerge reads otherwise.

use std::collections::BTreeSet;

use automerge::{Automerge, ObjType, ReadDoc, ScalarValue, Value as Read};
use branchline_crdt::inspect::documents::{
    DOCUMENT_CHANGES_BYTES_MAX, DocumentError, DocumentsReport, RecordDocument, document,
    verify_documents, view_at,
};
use branchline_crdt::record::{Edit, SCHEMA_COLLECTION, Value, View};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::store::Store;
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::records::{Changes, RecordKey, RecordRow};
use serde_json::{Map, Value as Json, json};

use super::pair::{Pair, damaged, put};

fn fields(json: Json) -> Map<String, Json> {
    let Json::Object(fields) = json else { panic!("no object") };
    fields
}

fn merge(id: &str, json: Json) -> RecordEdit {
    RecordEdit::new("products", id, Edit::Merge { patch: fields(json), create: true })
}

fn key(pair: &Pair, id: &str) -> RecordKey {
    RecordKey { space: pair.space(), collection: "products".to_owned(), id: id.to_owned() }
}

fn store(pair: &Pair) -> &MemoryStore {
    pair.replicas[0].store()
}

fn view(pair: &Pair, id: &str) -> View {
    read::record(store(pair), &key(pair, id)).unwrap().unwrap()
}

fn out(pair: &Pair, id: &str, at: Option<&str>) -> RecordDocument {
    document(store(pair), &key(pair, id), at).unwrap().unwrap()
}

fn scalar(document: &Automerge, field: &str) -> ScalarValue {
    match document.get(automerge::ROOT, field).unwrap() {
        Some((Read::Scalar(scalar), _)) => scalar.into_owned(),
        other => panic!("{field} is {other:?}"),
    }
}

/// Two offices that wrote apart from each other to a product with a field of every kind, and met again.
fn with_every_kind() -> Pair {
    let mut pair = Pair::new();
    let kinds = json!({
        "name": "string", "price": "decimal", "since": "datetime", "seen": "timestamp", "code": "bytes",
        "stock": "counter", "notes": "text", "lines": "list", "address": "map", "gone": "boolean", "width": "float",
    });
    let schema = RecordEdit::new(SCHEMA_COLLECTION, "products", Edit::Put(fields(kinds)));
    pair.transact(0, None, vec![schema]).unwrap();
    let tea = json!({
        "name": "Green tea", "price": "2.50", "since": "2024-03-10T00:30:00.12345Z",
        "seen": "2024-03-10T00:30:00.5Z", "code": "AQID", "stock": {"$inc": 40}, "notes": "dry",
        "lines": [1, {"a": null}], "address": {"city": "Yame"}, "gone": false, "width": 0.5, "free": 7,
    });
    pair.transact(0, None, vec![put("tea", tea)]).unwrap();
    pair.down();
    let by_head = json!({"price": "2.60", "stock": {"$inc": -2}, "notes": "keep dry", "free": 8});
    pair.transact(0, None, vec![merge("tea", by_head)]).unwrap();
    let by_north =
        json!({"price": "2.70", "stock": {"$inc": -3}, "notes": "dry and cool", "free": 9});
    pair.transact(1, None, vec![merge("tea", by_north)]).unwrap();
    pair.up();
    pair
}

#[test]
fn a_document_holds_what_the_record_shows() {
    let pair = with_every_kind();
    let RecordDocument { version, bytes } = out(&pair, "tea", None);
    let shown = view(&pair, "tea");
    assert_eq!(version, shown.version());
    let document = Automerge::load(&bytes).unwrap();
    let mut heads: Vec<[u8; 32]> = document.get_heads().iter().map(|head| head.0).collect();
    heads.sort_unstable();
    assert_eq!(heads, shown.heads);
    assert_eq!(scalar(&document, "stock"), ScalarValue::counter(35));
    assert_eq!(scalar(&document, "name"), ScalarValue::Str("Green tea".into()));
    assert_eq!(scalar(&document, "since"), ScalarValue::Str("2024-03-10T00:30:00.12345Z".into()));
    assert_eq!(scalar(&document, "seen"), ScalarValue::Timestamp(1_710_030_600_500));
    assert_eq!(scalar(&document, "code"), ScalarValue::Bytes(vec![1, 2, 3]));
    assert_eq!(scalar(&document, "width"), ScalarValue::F64(0.5));
    let (kind, notes) = document.get(automerge::ROOT, "notes").unwrap().unwrap();
    assert_eq!(kind, Read::Object(ObjType::Text));
    assert_eq!(Value::Text(document.text(notes).unwrap()), shown.fields["notes"]);
    assert_eq!(shown.fields["notes"], Value::Text("keep dry and cool".to_owned()));
    let (_, address) = document.get(automerge::ROOT, "address").unwrap().unwrap();
    let (city, _) = document.get(address, "city").unwrap().unwrap();
    assert_eq!(city.as_str(), Some("Yame"));
    // Both prices are there, the shown one last, and by whom each is.
    let prices = document.get_all(automerge::ROOT, "price").unwrap();
    let prices: Vec<_> = prices.iter().rev().map(|(price, _)| price.as_str().unwrap()).collect();
    let conflict = shown.conflicts.iter().find(|it| it.path == "price").unwrap();
    let expected: Vec<_> = conflict.values.iter().map(|it| it.value.to_json()).collect();
    assert_eq!(json!(prices), json!(expected));
    let actors: BTreeSet<Vec<u8>> =
        document.get_changes(&[]).iter().map(|it| it.actor_id().to_bytes().to_vec()).collect();
    assert!(conflict.values.iter().all(|it| actors.contains(&it.actor[..])));
    // Both sites make the same of it.
    let north = document_of_north(&pair);
    let both = Automerge::load(&north).unwrap();
    assert_eq!(both.get_heads(), document.get_heads());
}

fn document_of_north(pair: &Pair) -> Vec<u8> {
    document(pair.replicas[1].store(), &key(pair, "tea"), None).unwrap().unwrap().bytes
}

#[test]
fn a_deleted_record_is_given_as_well_and_a_missing_one_is_not() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let delete = RecordEdit::new("products", "tea", Edit::Delete);
    pair.transact(0, None, vec![delete]).unwrap();
    let read = Automerge::load(&out(&pair, "tea", None).bytes).unwrap();
    assert_eq!(scalar(&read, "_deleted"), ScalarValue::Boolean(true));
    assert_eq!(scalar(&read, "price"), ScalarValue::Int(1));
    assert_eq!(document(store(&pair), &key(&pair, "rice"), None).unwrap(), None);
    assert_eq!(view_at(store(&pair), &key(&pair, "rice"), "00").unwrap(), None);
}

#[test]
fn a_record_is_given_as_it_was_at_a_version_or_behind_a_change() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let first = view(&pair, "tea");
    pair.down();
    pair.write(0, "tea", json!({"price": 2}));
    pair.transact(1, None, vec![merge("tea", json!({"shelf": "B"}))]).unwrap();
    pair.up();
    let both = view(&pair, "tea");
    assert_eq!(both.heads.len(), 2);
    pair.write(0, "tea", json!({"price": 3}));
    let hash: String = first.heads[0].iter().map(|byte| format!("{byte:02x}")).collect();
    for (at, seen) in [
        (first.version().to_string(), &first),
        (hash[..12].to_owned(), &first),
        (both.version().to_string(), &both),
    ] {
        let RecordDocument { version, bytes } = out(&pair, "tea", Some(&at));
        assert_eq!(version, seen.version(), "{at}");
        let read = Automerge::load(&bytes).unwrap();
        let Value::Int(price) = seen.fields["price"] else { panic!("{seen:?}") };
        assert_eq!(scalar(&read, "price"), ScalarValue::Int(price), "{at}");
        assert_eq!(read.get(automerge::ROOT, "shelf").unwrap().is_some(), seen.heads.len() == 2);
        assert_eq!(view_at(store(&pair), &key(&pair, "tea"), &at).unwrap().as_ref(), Some(seen));
    }
    let refused = |at: &str| document(store(&pair), &key(&pair, "tea"), Some(at)).unwrap_err();
    assert!(matches!(refused(&"00".repeat(16)), DocumentError::NoVersion { .. }));
    for at in ["", "xyz", "00-11"] {
        assert!(matches!(refused(at), DocumentError::NotNamed(_)), "{at}");
    }
}

#[test]
fn more_history_than_a_document_is_made_of_is_refused_and_left_out() {
    const TEXT_BYTES: usize = 1_000_000;
    let mut pair = Pair::new();
    pair.write(0, "rice", json!({"price": 1}));
    for number in 0..=DOCUMENT_CHANGES_BYTES_MAX / TEXT_BYTES {
        let text = number.to_string().repeat(TEXT_BYTES / number.to_string().len());
        pair.write(0, "tea", json!({ "text": text }));
    }
    let error = document(store(&pair), &key(&pair, "tea"), None).unwrap_err();
    assert!(matches!(error, DocumentError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("products/tea"), "{error}");
    let found = verify_all(store(&pair));
    assert_eq!((found.records, found.fault_count, found.skipped_count), (1, 0, 1));
    assert!(found.skipped[0].contains("products/tea"), "{found:?}");
}

/// All pages.
fn verify_all(store: &MemoryStore) -> DocumentsReport {
    let (mut found, mut after) = (DocumentsReport::default(), None);
    loop {
        let page = verify_documents(store, after.as_deref()).unwrap();
        found.add(page.report);
        assert!(found.records + found.skipped_count <= page.records_total);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

#[test]
fn automerge_reads_every_record_as_it_is_shown() {
    let mut pair = with_every_kind();
    let delete = RecordEdit::new("products", "tea", Edit::Delete);
    pair.transact(1, None, vec![delete]).unwrap();
    let many = (0..4_500).map(|number| put(&number.to_string(), json!({ "price": number })));
    pair.transact(0, None, many.collect()).unwrap();
    let found = verify_all(store(&pair));
    // With the schema.
    assert_eq!((found.records, found.skipped_count), (4_502, 0));
    assert!(found.is_sound(), "{found:?}");
    assert!(verify_documents(store(&pair), None).unwrap().next.is_some());
}

/// Puts something else into a record's row, as a fault of this program or of the disk would.
fn plant(pair: &Pair, id: &str, change: impl FnOnce(RecordRow<'_>) -> Vec<u8>) -> MemoryStore {
    let mut store = store(pair).clone();
    let row = store.get(&key(pair, id).record()).unwrap().unwrap();
    let changed = change(RecordRow::decode(&row).unwrap());
    store.apply(vec![(key(pair, id).record(), Some(changed))], None).unwrap();
    store
}

#[test]
fn a_difference_that_is_planted_is_seen_and_named() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    pair.write(0, "rice", json!({"price": 1}));
    let before = store(&pair).get(&key(&pair, "tea").record()).unwrap().unwrap();
    let before = RecordRow::decode(&before).unwrap();
    pair.write(0, "tea", json!({"price": 2}));
    assert!(verify_all(store(&pair)).is_sound());
    let one = |found: DocumentsReport| {
        assert_eq!((found.records, found.fault_count), (2, 1), "{found:?}");
        found.faults.into_iter().next().unwrap()
    };

    // What is live is that of the change before.
    let planted = plant(&pair, "tea", |row| {
        RecordRow { changes: row.changes, live: before.live, first: None }.encode()
    });
    let fault = one(verify_all(&planted));
    assert_eq!(fault, "record products/tea: price is integer 1 here, Automerge reads integer 2");
    let error = document(&planted, &key(&pair, "tea"), None).unwrap_err();
    assert!(matches!(error, DocumentError::Unreadable { .. }), "{error}");

    // The last change is not among those that are named.
    let planted = plant(&pair, "tea", |row| {
        let changes = Changes { last: row.changes.last[..1].to_vec(), ..row.changes };
        RecordRow { changes, live: row.live, first: None }.encode()
    });
    let fault = one(verify_all(&planted));
    assert_eq!(fault, "record products/tea: price is integer 2 here, Automerge reads integer 1");

    // The first one is not.
    let planted = plant(&pair, "tea", |row| {
        let changes = Changes { last: row.changes.last[1..].to_vec(), ..row.changes };
        RecordRow { changes, live: row.live, first: None }.encode()
    });
    let fault = one(verify_all(&planted));
    assert!(fault.starts_with("record products/tea cannot be read") && fault.contains("missing"));
}

#[test]
fn a_record_whose_change_is_damaged_is_named_and_the_others_are_compared() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    pair.write(0, "rice", json!({"price": 1}));
    let places = pair.places(0, 0);
    let last = places.last().unwrap();
    let damaged = damaged(store(&pair).clone(), &[*last]);
    let found = verify_all(&damaged);
    assert_eq!((found.records, found.fault_count), (2, 1));
    assert!(found.faults[0].contains("products/rice") && found.faults[0].contains("damaged"));
    let error = document(&damaged, &key(&pair, "rice"), None).unwrap_err();
    assert!(matches!(error, DocumentError::Unreadable { .. }), "{error}");
}
