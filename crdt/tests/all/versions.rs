//! Edits that build on a version which the record is no longer of, and the hashes that writers are given.

use branchline_crdt::log::entry::Origin;
use branchline_crdt::record::{Edit, Value, Version, View};
use branchline_crdt::replica::{Input, LocalTransaction, RecordEdit, WriteError, Written};
use branchline_crdt::store::changes::{MadeChange, made_by};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::{Value as Json, json};

use super::pair::{Pair, damaged};

fn key(pair: &Pair, id: &str) -> RecordKey {
    RecordKey { space: pair.space(), collection: "products".to_owned(), id: id.to_owned() }
}

fn view(pair: &Pair, office: usize, id: &str) -> View {
    read::record(pair.replicas[office].store(), &key(pair, id)).unwrap().unwrap()
}

fn version(pair: &Pair, office: usize, id: &str) -> Version {
    Version::of(&view(pair, office, id))
}

fn merge(id: &str, fields: Json) -> RecordEdit {
    let Json::Object(patch) = fields else { panic!("no object") };
    RecordEdit::new("products", id, Edit::Merge { patch, create: true })
}

fn on(version: &Version, id: &str, fields: Json) -> RecordEdit {
    RecordEdit { builds_on: Some(version.clone()), ..merge(id, fields) }
}

fn made(written: &Written) -> Vec<[u8; 32]> {
    written.changes.iter().flatten().copied().collect()
}

/// The values of each field in conflict, the shown one first.
fn conflicts(view: &View) -> Vec<(&str, Vec<i64>)> {
    let integer = |value: &Value| match value {
        Value::Int(n) => *n,
        other => panic!("{other:?}"),
    };
    let reported = view.conflicts.iter().map(|conflict| {
        let values = conflict.values.iter().map(|value| integer(&value.value));
        (conflict.path.as_str(), values.collect())
    });
    reported.collect()
}

/// Both offices must show the same, and the other one must not have refused anything.
fn assert_converged(pair: &mut Pair) {
    pair.pass(2_000);
    assert_eq!(pair.digest(0), pair.digest(1));
    assert!(
        pair.notices
            .iter()
            .flatten()
            .all(|it| format!("{it:?}").contains("Member") || format!("{it:?}").contains("Joined")),
        "{:?}",
        pair.notices
    );
}

#[test]
fn an_edit_on_an_older_version_is_taken_by_the_other_site() {
    let mut pair = Pair::new();
    pair.transact(0, None, vec![merge("tea", json!({"price": 1, "stock": {"$inc": 10}}))]).unwrap();
    let seen = version(&pair, 0, "tea");
    pair.transact(1, None, vec![merge("tea", json!({"price": 2, "stock": {"$inc": -3}}))]).unwrap();
    pair.transact(0, None, vec![merge("tea", json!({"price": 3, "shelf": 4}))]).unwrap();
    assert_ne!(version(&pair, 0, "tea"), seen);
    let edit = on(&seen, "tea", json!({"price": 5, "stock": {"$inc": -1}}));
    let written = pair.transact(0, None, vec![edit]).unwrap();
    let after = view(&pair, 0, "tea");
    assert_eq!(after.heads, made(&written));
    assert_eq!(after.fields["stock"], Value::Counter(6));
    assert_eq!(conflicts(&after), [("price", vec![5, 3])]);
    assert_converged(&mut pair);
    assert_eq!(view(&pair, 1, "tea"), after);
}

#[test]
fn what_others_wrote_meanwhile_is_concurrent() {
    let mut pair = Pair::new();
    pair.transact(0, None, vec![merge("tea", json!({"price": 1, "stock": {"$inc": 10}}))]).unwrap();
    let seen = version(&pair, 1, "tea");
    pair.transact(0, None, vec![merge("tea", json!({"price": 2, "stock": {"$inc": -3}}))]).unwrap();
    let edit = on(&seen, "tea", json!({"price": 3, "stock": {"$inc": -1}}));
    let written = pair.transact(1, None, vec![edit]).unwrap();
    let after = view(&pair, 1, "tea");
    assert_eq!(after.heads.len(), 2);
    assert_eq!(after.fields["stock"], Value::Counter(6));
    assert_eq!(conflicts(&after)[0].1.len(), 2);
    // The row stands for that change now: the next edit of the row builds on it alone.
    let own = Version::of_heads(&made(&written));
    let again = pair.transact(1, None, vec![on(&own, "tea", json!({"price": 4}))]).unwrap();
    let after = view(&pair, 1, "tea");
    assert!(after.heads.len() == 2 && after.heads.contains(&made(&again)[0]));
    let mut prices = conflicts(&after)[0].1.clone();
    prices.sort_unstable();
    assert_eq!(prices, [2, 4]);
    assert_converged(&mut pair);
    let both = version(&pair, 1, "tea");
    pair.transact(0, None, vec![on(&both, "tea", json!({"price": 5}))]).unwrap();
    assert!(view(&pair, 1, "tea").conflicts.is_empty());
    assert_converged(&mut pair);
}

#[test]
fn edits_of_one_record_in_one_transaction_and_in_one_group_build_on_what_they_name() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let seen = version(&pair, 0, "tea");
    let edits = (2..5).map(|price| on(&seen, "tea", json!({"price": price}))).collect();
    let written = pair.transact(0, None, edits).unwrap();
    assert_eq!(made(&written).len(), 3);
    assert_eq!(conflicts(&view(&pair, 0, "tea")), [("price", vec![4, 3, 2])]);
    // Not yet durable, and built upon: what is begun in the same group, by its first change.
    let of = |edits| LocalTransaction { origin: None, edits };
    let rice = |price| merge("rice", json!({"price": price}));
    let transactions = vec![of(vec![rice(1)]), of(vec![rice(2)]), of(vec![rice(3)])];
    let mut other = Pair::new();
    other.input(0, Input::Write { id: 0, space: None, transactions: transactions.clone() });
    other.settle();
    // The second change's hash, which a replica of the same key makes again.
    let second = other.take_written(0)[1].as_ref().unwrap().changes[0].unwrap();
    let late = on(&Version::of_heads([&second]), "rice", json!({"price": 4}));
    let mut third = Pair::new();
    let transactions = [transactions, vec![of(vec![late])]].concat();
    third.input(0, Input::Write { id: 0, space: None, transactions });
    third.settle();
    assert!(third.take_written(0).iter().all(Result::is_ok));
    assert_eq!(conflicts(&view(&third, 0, "rice")), [("price", vec![4, 3])]);
    assert_converged(&mut third);
    assert_converged(&mut pair);
}

#[test]
fn a_version_that_the_record_does_not_have_is_refused_and_named() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    pair.write(0, "rice", json!({"price": 7}));
    let foreign = version(&pair, 0, "rice");
    let before = pair.digest(0);
    for id in ["tea", "coffee"] {
        let refused = pair.transact(0, None, vec![on(&foreign, id, json!({"price": 2}))]);
        let Err(error @ WriteError::UnknownVersion { .. }) = refused else { panic!("{refused:?}") };
        let reported = error.to_string();
        assert!(reported.contains(&foreign.to_string()) && reported.contains(id), "{reported}");
    }
    // As is all of a transaction with it.
    let edits = vec![merge("tea", json!({"price": 3})), on(&foreign, "tea", json!({"price": 2}))];
    pair.transact(0, None, edits).unwrap_err();
    assert_eq!(pair.digest(0), before);
}

#[test]
fn what_is_written_as_missing_is_new_or_concurrent_to_what_is_there() {
    let mut pair = Pair::new();
    let none = Version::default();
    pair.transact(0, None, vec![on(&none, "tea", json!({"price": 1}))]).unwrap();
    pair.transact(1, None, vec![on(&none, "tea", json!({"price": 2}))]).unwrap();
    assert_eq!(view(&pair, 0, "tea").heads.len(), 2);
    assert_eq!(conflicts(&view(&pair, 0, "tea"))[0].1.len(), 2);
    assert_converged(&mut pair);
}

#[test]
fn an_edit_of_a_record_that_was_deleted_meanwhile_is_listed_as_hidden() {
    for deleter in [0, 1] {
        let mut pair = Pair::new();
        pair.write(0, "tea", json!({"price": 1}));
        let seen = version(&pair, 0, "tea");
        let delete = RecordEdit::new("products", "tea", Edit::Delete);
        pair.transact(deleter, None, vec![delete]).unwrap();
        pair.transact(0, None, vec![on(&seen, "tea", json!({"price": 2}))]).unwrap();
        assert_converged(&mut pair);
        for office in 0..2 {
            assert!(view(&pair, office, "tea").deleted);
            let (store, space) = (pair.replicas[office].store(), pair.space());
            let hidden = read::at_odds(store, space, read::AtOdds::Hidden, None, None, 9).unwrap();
            assert_eq!(hidden, [key(&pair, "tea")]);
            let edits = read::hidden_edits(store, &hidden[0]).unwrap();
            assert_eq!(edits[1].values[0].value, Value::Int(2));
        }
    }
}

#[test]
fn a_row_inserted_again_under_a_deleted_key_has_its_own_fields_and_counters() {
    let mut pair = Pair::new();
    let old = json!({"price": 1, "stock": {"$inc": 5}, "sold": {"$inc": 2}, "shelf": 3});
    pair.transact(0, None, vec![merge("tea", old)]).unwrap();
    pair.transact(1, None, vec![RecordEdit::new("products", "tea", Edit::Delete)]).unwrap();
    let Json::Object(row) = json!({"price": 2, "stock": 7}) else { panic!("an object") };
    let edit = RecordEdit::new("products", "tea", Edit::Revive(row));
    let written = pair.transact(0, None, vec![edit]).unwrap();
    let after = view(&pair, 1, "tea");
    assert!(!after.deleted && after.conflicts.is_empty());
    let names: Vec<_> = after.fields.keys().map(String::as_str).collect();
    // A counter cannot be removed.
    assert_eq!(names, ["price", "sold", "stock"]);
    assert_eq!(after.fields["stock"], Value::Counter(7));
    assert_eq!(after.fields["sold"], Value::Counter(0));
    assert_eq!(after.heads, made(&written));
    assert_converged(&mut pair);
}

#[test]
fn a_site_that_was_started_anew_edits_what_it_wrote_before() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let seen = version(&pair, 0, "tea");
    pair.write(0, "tea", json!({"price": 2}));
    // Nothing is kept in memory then, and it writes under a new incarnation.
    pair.restart(0, |store| store);
    pair.up();
    let written = pair.transact(0, None, vec![on(&seen, "tea", json!({"price": 3}))]).unwrap();
    let after = view(&pair, 0, "tea");
    assert!(after.heads.len() == 2 && after.heads.contains(&made(&written)[0]));
    assert_eq!(conflicts(&after)[0].1.len(), 2);
    assert_converged(&mut pair);
    pair.transact(0, None, vec![on(&seen, "tea", json!({"price": 4}))]).unwrap();
    assert_eq!(conflicts(&view(&pair, 1, "tea"))[0].1.len(), 3);
    assert_converged(&mut pair);
}

#[test]
fn where_the_history_is_damaged_the_edit_is_refused_and_the_record_stays() {
    let mut pair = Pair::new();
    pair.write(0, "tea", json!({"price": 1}));
    let seen = version(&pair, 0, "tea");
    pair.write(0, "tea", json!({"price": 2}));
    pair.down();
    let places = pair.places(0, 0);
    pair.restart(0, |store| damaged(store, &places[..1]));
    let refused = pair.transact(0, None, vec![on(&seen, "tea", json!({"price": 3}))]);
    let Err(WriteError::Unreadable { reason, .. }) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("damaged"), "{reason}");
    assert_eq!(view(&pair, 0, "tea").fields["price"], Value::Int(2));
    pair.write(0, "tea", json!({"price": 4}));
}

#[test]
fn the_changes_of_a_repeat_are_read_back_from_its_entry() {
    let mut pair = Pair::new();
    let asked = |number| Some(Origin { source: "till".to_owned(), number });
    let edits = |price: i64| {
        vec![merge("tea", json!({"price": price})), merge("rice", json!({"price": price}))]
    };
    let of = |number, edits| LocalTransaction { origin: asked(number), edits };
    // Both are in one entry.
    let transactions = vec![of(1, edits(1)), of(2, edits(2))];
    pair.input(0, Input::Write { id: 0, space: None, transactions });
    pair.settle();
    let written: Vec<Written> = pair.take_written(0).into_iter().map(Result::unwrap).collect();
    assert_eq!(written[0].entry, written[1].entry);
    let repeat = pair.transact(0, asked(2), edits(2)).unwrap();
    assert!(repeat.is_repeat && repeat.changes.is_empty());
    for (written, number) in written.iter().zip(1..) {
        let origin = asked(number).unwrap();
        for office in 0..2 {
            let store = pair.replicas[office].store();
            let entry = written.entry.unwrap();
            let read = made_by(store, pair.space(), entry, &origin).unwrap().unwrap();
            let change = |id: &str, hash| {
                let (collection, id) = ("products".to_owned(), id.to_owned());
                MadeChange { collection, id, hash }
            };
            let expected = [change("tea", made(written)[0]), change("rice", made(written)[1])];
            assert_eq!(read, expected);
        }
    }
    let unknown = asked(3).unwrap();
    let (store, entry) = (pair.replicas[0].store(), written[0].entry.unwrap());
    assert_eq!(made_by(store, pair.space(), entry, &unknown).unwrap(), None);
}
