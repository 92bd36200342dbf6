//! Two offices that changed the same records apart from each other, when they meet.

use std::collections::BTreeSet;

use branchline_crdt::inspect::verify::verify;
use branchline_crdt::record::{Edit, View};
use branchline_crdt::replica::{Input, Now, RecordEdit};
use branchline_crdt::store::read::{self, AtOdds};
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::{Value as Json, json};

use super::pair::{Pair, put};

/// More than an entry has of which records stay in memory.
const RECORDS: usize = 300;

fn patch(id: &str, fields: Json) -> RecordEdit {
    let Json::Object(patch) = fields else { panic!("no object") };
    RecordEdit::new("products", id, Edit::Merge { patch, create: false })
}

fn id(number: usize) -> String {
    format!("{number:04}")
}

/// Both offices have the records, and know nothing of each other any more.
fn apart() -> Pair {
    let mut pair = Pair::new();
    let schema = RecordEdit::new(
        "_schema",
        "products",
        Edit::Put(
            json!({"price": "integer indexed", "stock": "counter", "note": "text"})
                .as_object()
                .unwrap()
                .clone(),
        ),
    );
    pair.transact(0, None, vec![schema]).unwrap();
    let made = |n| put(&id(n), json!({"price": n, "stock": 10, "note": "new", "name": "a"}));
    pair.transact(0, None, (0..RECORDS).map(made).collect()).unwrap();
    pair.down();
    pair
}

fn both_reprice(pair: &mut Pair, office: usize) {
    let edit = |n: usize| match n % 7 {
        0 if office == 1 => RecordEdit::new("products", id(n), Edit::Delete),
        1 => patch(&id(n), json!({"note": format!("new, by {office}")})),
        2 => patch(&id(n), json!({"stock": {"$inc": 1 + office}, "price": 7 + office})),
        3 => put(&id(n), json!({"price": 100 + office})),
        _ => patch(&id(n), json!({"price": 1_000 + office})),
    };
    pair.transact(office, None, (0..RECORDS).map(edit).collect()).unwrap();
    // Several entries, of which the later ones build on the first.
    let more = |n: usize| patch(&id(n), json!({"name": format!("of {office}")}));
    pair.transact(office, None, (0..RECORDS).filter(|n| n % 7 > 0).map(more).collect()).unwrap();
}

fn view(pair: &Pair, office: usize, id: &str) -> View {
    let (collection, id) = ("products".to_owned(), id.to_owned());
    let key = RecordKey { space: pair.space(), collection, id };
    read::record(pair.replicas[office].store(), &key).unwrap().unwrap()
}

fn at_odds(pair: &Pair, office: usize, which: AtOdds) -> BTreeSet<String> {
    let store = pair.replicas[office].store();
    let keys = read::at_odds(store, pair.space(), which, None, None, 10_000).unwrap();
    keys.into_iter().map(|key| key.id).collect()
}

fn assert_sound(pair: &Pair) {
    assert_eq!(pair.digest(0), pair.digest(1));
    for office in 0..2 {
        let store = pair.replicas[office].store();
        let report = verify(store, &[pair.space()]).unwrap();
        assert!(report.is_sound(), "{:?}", report.faults);
    }
    assert_eq!(at_odds(pair, 0, AtOdds::Conflicted), at_odds(pair, 1, AtOdds::Conflicted));
    assert_eq!(at_odds(pair, 0, AtOdds::Hidden), at_odds(pair, 1, AtOdds::Hidden));
}

#[test]
fn what_both_sides_changed_is_the_same_whether_it_is_taken_in_at_once_or_in_steps() {
    let mut digests = BTreeSet::new();
    for in_steps in [false, true] {
        let mut pair = apart();
        both_reprice(&mut pair, 0);
        both_reprice(&mut pair, 1);
        pair.in_steps = in_steps;
        pair.up();
        assert_sound(&pair);
        assert!(
            view(&pair, 0, &id(2)).fields["stock"] == branchline_crdt::record::Value::Counter(13)
        );
        digests.insert(pair.digest(0));
        // The same from the journal alone.
        pair.restart(1, |mut store| {
            branchline_crdt::store::Store::clear_tables(&mut store).unwrap();
            store
        });
        assert_sound(&pair);
        digests.insert(pair.digest(1));
    }
    assert_eq!(digests.len(), 1);
}

#[test]
fn writers_get_their_turn_between_the_steps_of_an_entry_and_lose_nothing() {
    let mut pair = apart();
    both_reprice(&mut pair, 0);
    both_reprice(&mut pair, 1);
    pair.in_steps = true;
    // To records that were looked at and to some that were not, one of them again and again.
    let busy = |step: usize| patch(&id(step * 37 % RECORDS), json!({"busy": step}));
    let hot = |step: usize| patch(&id(5), json!({"hot": step, "price": step}));
    pair.between_steps = Some(Box::new(move |step| {
        let edits = if step % 7 == 0 { vec![hot(step)] } else { vec![busy(step), hot(step)] };
        Input::Write {
            id: 1,
            space: None,
            transactions: edits
                .into_iter()
                .map(|edit| branchline_crdt::replica::LocalTransaction {
                    origin: None,
                    edits: vec![edit],
                })
                .collect(),
        }
    }));
    pair.up();
    assert!(pair.steps >= 8, "{} steps", pair.steps);
    pair.between_steps = None;
    pair.settle();
    assert_sound(&pair);
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    for replica in &mut pair.replicas {
        assert!(!replica.is_taking());
        replica.go_on_taking(now).unwrap();
    }
    assert!(view(&pair, 0, &id(5)).fields.contains_key("hot"));
}

#[test]
fn offices_that_write_the_same_are_not_at_odds_and_kinds_count() {
    let mut pair = Pair::new();
    pair.down();
    for office in 0..2 {
        // As two offices that import one file apart.
        let made = |n| put(&id(n), json!({"price": n, "name": "tea", "tags": ["a", "b"]}));
        pair.transact(office, None, (0..RECORDS).map(made).collect()).unwrap();
        let kinds = [json!({"size": 1}), json!({"size": "1"})];
        pair.transact(office, None, vec![put("kinds", kinds[office].clone())]).unwrap();
        let texts = [json!({"price": "1.10"}), json!({"price": "1.1"})];
        pair.transact(office, None, vec![put("texts", texts[office].clone())]).unwrap();
    }
    pair.up();
    assert_sound(&pair);
    let at_odds = at_odds(&pair, 0, AtOdds::Conflicted);
    assert_eq!(at_odds, ["kinds", "texts"].map(str::to_owned).into());
    // Anyone who then writes something else alone changes it for all.
    pair.transact(1, None, vec![patch(&id(3), json!({"price": 77}))]).unwrap();
    assert_sound(&pair);
    assert!(view(&pair, 0, &id(3)).conflicts.is_empty());
}

#[test]
fn a_deleted_record_is_in_no_conflict_and_tells_what_its_deletion_hides() {
    let mut pair = apart();
    let price = |n, price| patch(&id(n), json!({"price": price}));
    // 1 is repriced by both and deleted later; 2 is deleted and repriced; 3 is deleted by both; 4 is repriced by both.
    pair.transact(0, None, vec![price(1, 5), price(4, 5)]).unwrap();
    let delete = |n| RecordEdit::new("products", id(n), Edit::Delete);
    pair.transact(0, None, vec![delete(2), delete(3)]).unwrap();
    pair.transact(1, None, vec![price(1, 6), price(2, 6), price(4, 6), delete(3)]).unwrap();
    pair.up();
    assert_eq!(at_odds(&pair, 0, AtOdds::Conflicted), [id(1), id(4)].into());
    pair.transact(0, None, vec![delete(1)]).unwrap();
    assert_sound(&pair);
    assert_eq!(at_odds(&pair, 1, AtOdds::Conflicted), [id(4)].into());
    assert_eq!(at_odds(&pair, 1, AtOdds::Hidden), [id(2)].into());
    let (collection, space) = ("products".to_owned(), pair.space());
    let key = RecordKey { space, collection, id: id(2) };
    let hidden = read::hidden_edits(pair.replicas[1].store(), &key).unwrap();
    let paths: Vec<_> = hidden.iter().map(|it| (it.path.as_str(), it.values.len())).collect();
    assert_eq!(paths, [("_deleted", 1), ("price", 1)]);
    // Back with the edit, or gone for good by somebody who knows of it.
    pair.transact(1, None, vec![RecordEdit::new("products", id(2), Edit::Undelete)]).unwrap();
    assert!(at_odds(&pair, 0, AtOdds::Hidden).is_empty());
    pair.transact(1, None, vec![delete(2)]).unwrap();
    assert_sound(&pair);
    assert!(at_odds(&pair, 0, AtOdds::Hidden).is_empty());
}
