//! What a writer is answered, and what it may ask for.

use std::collections::BTreeMap;

use branchline_crdt::inspect::kinds::held_kinds;
use branchline_crdt::inspect::misfits::{SchemaMisfits, misfits};
use branchline_crdt::inspect::why::{Reason, causes};
use branchline_crdt::log::entry::{EntryId, Origin};
use branchline_crdt::query::Bounds;
use branchline_crdt::record::{
    ActorBytes, Drafted, Edit, Expected, Kind, SCHEMA_COLLECTION, Value, Version, View,
};
use branchline_crdt::replica::{Input, LocalTransaction, Output, RecordEdit, WriteError, Written};
use branchline_crdt::store::memory::MemoryStore;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::{Value as Json, json};

use super::pair::{Pair, put};

fn view(pair: &Pair, office: usize, id: &str) -> View {
    let (collection, id) = ("products".to_owned(), id.to_owned());
    let key = RecordKey { space: pair.space(), collection, id };
    read::record(pair.replicas[office].store(), &key).unwrap().unwrap()
}

fn version(pair: &Pair, office: usize, id: &str) -> Version {
    Version::of(&view(pair, office, id))
}

fn put_if(id: &str, fields: Json, expected: Expected) -> RecordEdit {
    RecordEdit { expected: Some(expected), ..put(id, fields) }
}

fn asked(request: &str) -> Option<Origin> {
    Some(Origin { source: format!("key#{request}"), number: 7 })
}

#[test]
fn a_write_names_its_entry_and_one_that_changes_nothing_names_none() {
    let mut pair = Pair::new();
    let author = |written: Written| written.entry.map(|entry| (entry.author.site, entry.seq));
    let first = pair.write(0, "tea", json!({"price": 1}));
    assert_eq!(author(first), Some((pair.site(0), 1)));
    let second = pair.write(0, "tea", json!({"price": 2}));
    assert_eq!(author(second), Some((pair.site(0), 2)));
    let third = pair.write(0, "tea", json!({"price": 2}));
    let nothing =
        Written { records_changed: 0, changes: vec![None], entry: None, is_repeat: false };
    assert_eq!(third, nothing);
}

#[test]
fn an_edit_is_made_only_where_the_record_is_as_expected() {
    let mut pair = Pair::new();
    let mut transact = |edits| pair.transact(0, None, edits);
    transact(vec![put_if("tea", json!({"price": 1}), Expected::Existing)]).unwrap_err();
    transact(vec![put_if("tea", json!({"price": 1}), Expected::Missing)]).unwrap();
    transact(vec![put_if("tea", json!({"price": 2}), Expected::Missing)]).unwrap_err();
    let read = version(&pair, 0, "tea");
    let seen = Expected::OneOf(vec![read]);
    pair.transact(0, None, vec![put_if("tea", json!({"price": 3}), seen.clone())]).unwrap();
    let late = vec![put("rice", json!({})), put_if("tea", json!({"price": 4}), seen)];
    let Err(WriteError::InEdit { number: 1, error }) = pair.transact(0, None, late) else {
        panic!("it was written");
    };
    let WriteError::Unexpected { found, .. } = *error else { panic!("{error}") };
    assert_eq!(Version::of(&found), version(&pair, 0, "tea"));
    assert_eq!(pair.count(0), 1, "nothing of a refused transaction shows");
}

#[test]
fn of_two_writers_in_one_group_who_read_the_same_one_is_refused() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let seen = Expected::OneOf(vec![version(&pair, 0, "tea")]);
    let edit = |price| put_if("tea", json!({"price": price}), seen.clone());
    let transaction = |price| LocalTransaction { origin: None, edits: vec![edit(price)] };
    let transactions = vec![transaction(2), transaction(3)];
    pair.input(0, Input::Write { id: 1, space: None, transactions });
    pair.settle();
    let results = pair.take_written(0);
    assert!(results[0].is_ok() && matches!(results[1], Err(WriteError::Unexpected { .. })));
}

#[test]
fn a_repeat_changes_nothing_and_names_the_entry_of_the_first() {
    let mut pair = Pair::new();
    let first = pair.transact(0, asked("a"), vec![put("tea", json!({"price": 1}))]).unwrap();
    pair.write(0, "tea", json!({"price": 2}));
    let changes = Vec::new();
    let repeat = Written { records_changed: 0, changes, entry: first.entry, is_repeat: true };
    for change in [|store| store, MemoryStore::without_tables] {
        let again = pair.transact(0, asked("a"), vec![put("tea", json!({"price": 1}))]);
        assert_eq!(again.unwrap(), repeat);
        pair.restart(0, change);
    }
    let other = pair.transact(0, asked("b"), vec![put("tea", json!({"price": 9}))]);
    assert!(matches!(other, Err(WriteError::OriginReused)), "{other:?}");
    let source = "key#b".to_owned();
    let elsewhere = Some(Origin { source, number: 8 });
    pair.transact(0, elsewhere, vec![put("tea", json!({"price": 9}))]).unwrap();
}

#[test]
fn repeats_are_recognised_within_one_group() {
    let mut pair = Pair::new();
    let transaction = |request, price| LocalTransaction {
        origin: asked(request),
        edits: vec![put("tea", json!({"price": price}))],
    };
    let transactions = vec![transaction("a", 1), transaction("a", 1), transaction("b", 2)];
    pair.input(0, Input::Write { id: 1, space: None, transactions });
    pair.settle();
    let results = pair.take_written(0);
    let entry = results[0].as_ref().unwrap().entry;
    let second = results[1].as_ref().unwrap();
    assert!(entry.is_some() && second.entry == entry && second.is_repeat);
    assert!(matches!(results[2], Err(WriteError::OriginReused)));
}

/// What a site wrote before its data was lost comes back from others, perhaps at the moment of a repeat.
#[test]
fn a_repeat_is_recognised_in_the_group_in_which_its_first_arrives() {
    let mut pair = Pair::new();
    let transaction = |request: &str, number| {
        let edits = vec![put("tea", json!({"stock": number}))];
        vec![LocalTransaction { origin: asked(request), edits }]
    };
    let mut backup = MemoryStore::new();
    pair.restart(1, |store| {
        backup = store.clone();
        store
    });
    pair.input(1, Input::Write { id: 1, space: None, transactions: transaction("a", 1) });
    pair.replicas[1].commit().unwrap();
    let mut gossip = None;
    while let Some(output) = pair.replicas[1].output() {
        if let Output::Publish { data, .. } = output {
            gossip = Some(data);
        }
    }
    let gossip = gossip.expect("the entry is spread");
    let (site, from) = (pair.site(1), pair.site(0));
    pair.down();
    pair.restart(1, |_| backup);
    pair.take_written(1);
    pair.input(1, Input::Gossip { from, token: 0, data: gossip });
    let repeat = [transaction("a", 1), transaction("b", 2)].concat();
    pair.input(1, Input::Write { id: 2, space: None, transactions: repeat });
    pair.settle();
    let results = pair.take_written(1);
    let first = results[0].as_ref().unwrap();
    assert!(first.is_repeat && first.records_changed == 0, "{first:?}");
    assert_eq!(first.entry.map(|entry| entry.author.site), Some(site));
    assert!(matches!(results[1], Err(WriteError::OriginReused)), "{:?}", results[1]);
}

#[test]
fn receipts_tell_who_holds_an_entry() {
    let mut pair = Pair::new();
    let north = pair.site(1);
    let holds = |pair: &Pair, entry: EntryId| {
        pair.replicas[0].realms().holders(pair.space(), entry)[&north]
    };
    pair.down();
    let entry = pair.write(0, "tea", json!({"price": 1})).entry.unwrap();
    assert_ne!(holds(&pair, entry), Some(true));
    pair.up();
    pair.pass(3_000);
    assert_eq!(holds(&pair, entry), Some(true));
    pair.down();
    let later = pair.write(0, "tea", json!({"price": 2})).entry.unwrap();
    assert_eq!(holds(&pair, entry), Some(true));
    assert_eq!(holds(&pair, later), Some(false));
    // An incarnation that ended is implied by the next.
    pair.up();
    pair.restart(0, |store| store);
    pair.write(0, "tea", json!({"price": 3}));
    pair.up();
    pair.pass(3_000);
    pair.down();
    pair.write(0, "tea", json!({"price": 4}));
    assert_eq!(holds(&pair, later), Some(true));
}

#[test]
fn an_edit_that_was_made_beforehand_counts_only_where_the_replica_would_make_the_same() {
    let mut pair = Pair::new();
    let drafted = |pair: &Pair, office: usize, id: &str, fields: Json| {
        let edit = put(id, fields);
        let actor = ActorBytes(pair.replicas[office].author().actor());
        let drafted = Drafted::new(actor, 7, &edit.edit, None);
        assert!(drafted.is_some());
        RecordEdit { drafted, ..edit }
    };
    let made_here = drafted(&pair, 0, "tea", json!({"price": 1}));
    pair.transact(0, None, vec![made_here]).unwrap();
    let made_for_another = drafted(&pair, 1, "rice", json!({"price": 2}));
    pair.transact(0, None, vec![made_for_another]).unwrap();
    let made_for_a_new_record = drafted(&pair, 0, "tea", json!({"price": 3}));
    pair.transact(0, None, vec![made_for_a_new_record]).unwrap();
    let made_before_the_schema = drafted(&pair, 0, "salt", json!({"price": "dear"}));
    let schema = Edit::Put([("price".to_owned(), json!("integer"))].into_iter().collect());
    pair.transact(0, None, vec![RecordEdit::new("_schema", "products", schema)]).unwrap();
    pair.transact(0, None, vec![made_before_the_schema]).unwrap_err();
    pair.settle();
    assert_eq!(pair.count(0), 3, "two products and a schema");
    assert_eq!(pair.digest(0), pair.digest(1));
    let key = |id: &str| RecordKey {
        space: pair.space(),
        collection: "products".to_owned(),
        id: id.to_owned(),
    };
    let price = |id: &str| {
        let view = read::record(pair.replicas[1].store(), &key(id)).unwrap().unwrap();
        view.fields["price"].to_json()
    };
    assert_eq!((price("tea"), price("rice")), (json!(3), json!(2)));
}

/// Ids of a batch, with gaps for others between them.
fn batch_ids() -> Vec<String> {
    (10..40).map(|number| format!("id-{}", number * 10)).collect()
}

#[test]
fn a_record_that_is_there_already_is_found_wherever_it_lies_in_a_batch() {
    let ids = batch_ids();
    let batch = || ids.iter().map(|id| put(id, json!({"price": 1}))).collect::<Vec<_>>();
    // Before the batch, at its ends, within, between two of it, behind it.
    for there in ["id-0", "id-100", "id-200", "id-205", "id-390", "id-3900"] {
        for writer in 0..2 {
            let mut pair = Pair::new();
            pair.down();
            let is_shared = ids.iter().any(|id| id == there);
            pair.write(0, there, json!({"stock": 7}));
            pair.transact(writer, None, batch()).unwrap();
            pair.up();
            pair.pass(3_000);
            let expected = ids.len() as u64 + u64::from(!is_shared);
            assert_eq!((pair.count(0), pair.count(1)), (expected, expected), "{there}");
            assert_eq!(pair.digest(0), pair.digest(1), "{there} by {writer}");
            let heads = view(&pair, 1, there).heads.len();
            // Apart they are two beginnings of one record; at one office the second edits the first.
            assert_eq!(heads, 1 + usize::from(is_shared && writer == 1), "{there} by {writer}");
        }
    }
}

#[test]
fn a_refused_batch_leaves_nothing_of_its_new_records() {
    let mut pair = Pair::new();
    let batch = || batch_ids().into_iter().map(|id| put(&id, json!({"price": 1})));
    let absent = put_if("tea", json!({}), Expected::Existing);
    let transaction = |edits: Vec<_>| LocalTransaction { origin: None, edits };
    let transactions = vec![
        transaction(vec![put("id-100", json!({"price": 2}))]),
        transaction(batch().chain([absent]).collect()),
        transaction(batch().take(2).collect()),
    ];
    pair.input(0, Input::Write { id: 1, space: None, transactions });
    pair.settle();
    let [first, refused, last] = &pair.take_written(0)[..] else { panic!("three results") };
    assert!(first.is_ok() && refused.is_err() && last.is_ok());
    assert_eq!(pair.count(0), 2);
    assert_eq!(pair.digest(0), pair.digest(1));
}

#[test]
fn records_from_before_a_schema_are_found_until_they_are_written_again() {
    let mut pair = Pair::new();
    let import = |pair: &mut Pair, collection: &str, id: &str, record: Json| {
        let edit = Edit::Import(record.as_object().unwrap().clone());
        pair.transact(0, None, vec![RecordEdit::new(collection, id, edit)]).unwrap();
    };
    for n in 0..6 {
        let total = if n % 2 == 0 { json!(format!("{n}.50")) } else { json!(n) };
        import(&mut pair, "sales", &n.to_string(), json!({"total": total, "code": "007"}));
    }
    let space = pair.space();
    let held = held_kinds(pair.replicas[0].store(), space, "sales", 100).unwrap();
    assert_eq!(held.fields["total"], BTreeMap::from([("decimal", 3), ("integer", 3)]));
    assert_eq!(held.fields["code"], BTreeMap::from([("string", 6)]));
    assert!(held_kinds(pair.replicas[0].store(), space, "sales", 5).unwrap().has_more);
    let declared = json!({"total": "decimal", "branch": "string required"});
    import(&mut pair, SCHEMA_COLLECTION, "sales", declared);
    import(&mut pair, "sales", "1", json!({"total": "1", "branch": "A"}));
    let bounds = |records, scanned| Bounds { records, bytes: 0, scanned, sorted: 0 };
    let page = |pair: &Pair, after: Option<&str>, bounds| {
        let tables = pair.replicas[0].store();
        let schema = read::schema(tables, space, "sales").unwrap().unwrap();
        misfits(tables, (space, "sales"), &schema, after, bounds).unwrap()
    };
    let all = page(&pair, None, bounds(10, 10));
    let ids = |page: &SchemaMisfits| {
        page.records.iter().map(|record| record.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (ids(&all), all.scanned, all.next.clone()),
        (["0", "2", "3", "4", "5"].map(str::to_owned).to_vec(), 6, None)
    );
    let fields: Vec<_> = all.records[2]
        .fields
        .iter()
        .map(|field| (field.path.as_str(), field.declared, field.found.clone()))
        .collect();
    assert_eq!(
        fields,
        [("branch", Kind::String, None), ("total", Kind::Decimal, Some(Value::Int(3)))]
    );
    for bounds in [bounds(2, 10), bounds(10, 2)] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = page(&pair, after.as_deref(), bounds);
            found.extend(ids(&page));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ids(&all));
    }
    let realm = pair.replicas[0].realms().network().unwrap();
    let why = |pair: &Pair, records_max| {
        let (tables, own) = (pair.replicas[0].store(), pair.site(0));
        let found = causes(tables, realm, own, [], &BTreeMap::new(), records_max).unwrap();
        let cause = found.causes.get(&(Reason::SchemaMismatch, own));
        (cause.and_then(|cause| cause.detail.clone()), found.partly_checked)
    };
    assert_eq!(why(&pair, 6), (Some("5 of sales".to_owned()), Vec::new()));
    // Of a collection that is too large it says what it saw, and that this was not all.
    let partly = vec!["sales".to_owned()];
    assert_eq!(why(&pair, 4), (Some("at least 3 of sales".to_owned()), partly.clone()));
    for n in 0..6 {
        import(
            &mut pair,
            "sales",
            &n.to_string(),
            json!({"total": format!("{n}.50"), "branch": "B"}),
        );
    }
    assert_eq!(page(&pair, None, bounds(10, 10)).records, Vec::new());
    assert_eq!(why(&pair, 6), (None, Vec::new()));
    assert_eq!(why(&pair, 4), (None, partly));
}

#[test]
fn what_another_site_wrote_under_an_origin_is_no_repeat_of_what_this_one_writes() {
    let mut pair = Pair::new();
    // North takes the keys beforehand that head is going to write under.
    let stolen = Origin { source: "till".to_owned(), number: 4711 };
    let sale = |price: i64| vec![put("sale", json!({ "price": price }))];
    pair.transact(1, Some(stolen.clone()), vec![put("decoy", json!({ "n": 1 }))]).unwrap();
    pair.transact(1, asked("other"), vec![put("decoy", json!({ "n": 2 }))]).unwrap();
    pair.settle();
    let written = pair.transact(0, Some(stolen.clone()), sale(5)).unwrap();
    assert!(!written.is_repeat && written.records_changed == 1, "{written:?}");
    let under_key = pair.transact(0, asked("mine"), vec![put("key", json!({ "n": 1 }))]).unwrap();
    assert!(!under_key.is_repeat, "{under_key:?}");
    assert_eq!(view(&pair, 0, "sale").fields["price"].to_json(), json!(5));
    // Nor does anything that comes later make head's own repeat a new sale.
    pair.settle();
    pair.transact(1, Some(stolen.clone()), vec![put("decoy", json!({ "n": 3 }))]).unwrap();
    pair.settle();
    let again = pair.transact(0, Some(stolen), sale(5)).unwrap();
    assert!(again.is_repeat && again.entry == written.entry, "{again:?}");
    assert!(matches!(pair.transact(0, asked("else"), sale(6)), Err(WriteError::OriginReused)));
}

#[test]
fn repeats_are_known_after_the_tables_are_made_anew() {
    let mut pair = Pair::new();
    let origin = || Some(Origin { source: "till".to_owned(), number: 1 });
    let sale = || vec![put("sale", json!({ "price": 5 }))];
    let first = pair.transact(0, origin(), sale()).unwrap();
    pair.settle();
    pair.replicas[0].rebuild(&mut |_| ()).unwrap();
    let again = pair.transact(0, origin(), sale()).unwrap();
    assert!(again.is_repeat && again.entry == first.entry);
}
