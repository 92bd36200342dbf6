//! Edits that build on a version which the record is no longer of.

use std::collections::BTreeMap;

use automerge::transaction::Transactable;
use automerge::{ActorId, AutoCommit, ChangeHash, ReadDoc};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::laws::{edit, play, steps};
use super::support::{Office, actor, assert_like_automerge, fields, meet};
use crate::record::{Conflict, Edit, EditError, Fields, Value, Version, View, view_of_automerge};

const ITEM: &[(&str, &str)] = &[
    ("stock", "counter"),
    ("notes", "text"),
    ("lines", "list"),
    ("address.city", "string"),
    ("address.visits", "counter"),
];

fn two_offices(record: Json) -> (Office, Office) {
    let (mut a, mut b) = (Office::with_schema(1, ITEM), Office::with_schema(2, ITEM));
    a.put(record);
    meet(&mut a, &mut b);
    (a, b)
}

/// The values of a field in conflict, as JSON, the shown one first.
fn values(office: &Office, path: &str) -> Vec<Json> {
    let view = office.view();
    let conflict = view.conflicts.iter().find(|conflict| conflict.path == path);
    let values = conflict.into_iter().flat_map(|conflict| &conflict.values);
    values.map(|value| value.value.to_json()).collect()
}

#[test]
fn fields_that_both_changed_are_in_conflict_and_the_others_merge() {
    let (mut a, mut b) = two_offices(json!({"price": 1, "name": "tea", "stock": 10}));
    let seen = a.version();
    b.merge(json!({"price": 2, "shelf": "B", "stock": {"$inc": -3}}));
    a.pull(&b);
    a.merge_on(&seen, json!({"price": 3, "name": "green tea", "stock": 8}));
    assert_eq!(a.json()["shelf"], "B");
    assert_eq!(a.json()["name"], "green tea");
    assert_eq!(a.json()["stock"], 5, "10 - 3 - 2");
    let mut prices = values(&a, "price");
    prices.sort_by_key(Json::to_string);
    assert_eq!(prices, [json!(2), json!(3)]);
    meet(&mut a, &mut b);
}

#[test]
fn an_edit_on_what_the_record_is_settles_conflicts_and_one_on_what_it_was_does_not() {
    let (mut a, mut b) = two_offices(json!({"price": 1}));
    let seen = a.version();
    a.merge(json!({"price": 2}));
    b.merge(json!({"price": 3}));
    meet(&mut a, &mut b);
    let now = a.version();
    let mut late = a.clone();
    late.merge_on(&seen, json!({"price": 4}));
    assert_eq!(values(&late, "price").len(), 3);
    a.merge_on(&now, json!({"price": 4}));
    assert!(a.view().conflicts.is_empty());
}

#[test]
fn own_changes_since_stay_in_conflict() {
    let (mut a, mut b) = two_offices(json!({"price": 1, "name": "tea", "stock": 10}));
    let seen = a.version();
    a.merge(json!({"price": 2, "shelf": "B", "stock": {"$inc": 5}}));
    let change = a.entries.len();
    a.merge_on(&seen, json!({"price": 3, "name": "green tea", "stock": {"$inc": -1}}));
    assert_eq!(values(&a, "price"), [json!(3), json!(2)]);
    assert_eq!((a.json()["shelf"].clone(), a.json()["stock"].clone()), (json!("B"), json!(14)));
    let own = &a.entries[change];
    let deps = own.change.parse(own.actor).unwrap().deps().to_vec();
    assert_eq!(deps, [a.entries[change - 1].change.hash()], "its own last change has the version");
    meet(&mut a, &mut b);
}

#[test]
fn what_was_removed_by_oneself_since_stays_removed() {
    let (mut a, mut b) = two_offices(json!({"price": 1, "name": "tea", "notes": "abc"}));
    let seen = a.version();
    a.merge(json!({"price": null, "name": "rice", "notes": "ac"}));
    let removal = json!({"price": null, "name": null, "notes": "xac", "shelf": "B"});
    a.merge_on(&seen, removal);
    assert_eq!(a.json(), json!({"name": "rice", "notes": "xac", "shelf": "B"}));
    let now = a.version();
    a.merge_on(&seen, json!({"price": 4}));
    assert_eq!(a.json()["price"], 4);
    assert!(!a.try_edit_on(&now, &Edit::Import(fields(json!({"shelf": "B"})))).unwrap());
    // Everything that it would remove is gone already.
    assert!(!a.try_edit_on(&seen, &super::support::merge(json!({"name": null}))).unwrap());
    meet(&mut a, &mut b);
}

#[test]
fn what_is_empty_is_made_where_all_else_was_done_by_oneself_since() {
    for (edit, made) in [(json!({"lines": []}), "lines"), (json!({"notes": ""}), "notes")] {
        let (mut a, mut b) = two_offices(json!({"price": 1}));
        let seen = a.version();
        a.merge(json!({"price": null}));
        assert!(a.try_edit_on(&seen, &Edit::Put(fields(edit.clone()))).unwrap(), "{made}");
        assert_eq!(a.json(), edit);
        meet(&mut a, &mut b);
    }
}

#[test]
fn texts_lists_and_maps_merge() {
    let record = json!({"notes": "abc", "lines": [1, 2, 3], "address": {"city": "Graz"}});
    let (mut a, mut b) = two_offices(record);
    let seen = a.version();
    b.merge(json!({"notes": "abcd", "lines": [1, 2, 3, 4], "address": {"visits": 2}}));
    a.pull(&b);
    a.merge(json!({"notes": "abcde"}));
    let edit = json!({"notes": "xbc", "lines": [2, 3], "address": {"city": "Wien", "visits": 1}});
    a.merge_on(&seen, edit);
    let expected = json!({
        "notes": "xbcde", "lines": [2, 3, 4], "address": {"city": "Wien", "visits": 3},
    });
    assert_eq!(Value::Map(a.view().fields).to_json(), expected);
    meet(&mut a, &mut b);
}

#[test]
fn an_edit_of_a_record_that_was_deleted_since_is_hidden_by_the_deletion() {
    for own in [false, true] {
        let (mut a, mut b) = two_offices(json!({"price": 1, "notes": "abc"}));
        let seen = a.version();
        if own {
            a.delete()
        } else {
            b.delete()
        }
        a.pull(&b);
        assert!(!a.document.summary().unwrap().hides_edits);
        a.merge_on(&seen, json!({"price": 2, "notes": "abcd"}));
        assert!(a.view().deleted);
        assert!(a.document.summary().unwrap().hides_edits, "own: {own}");
        let hidden = a.document.hidden_edits();
        let paths: Vec<_> = hidden.iter().map(|conflict| conflict.path.as_str()).collect();
        assert_eq!(paths, ["_deleted", "notes", "price"], "own: {own}");
        assert_eq!(hidden, a.live.hidden_edits());
        meet(&mut a, &mut b);
        // Who brings it back has seen the edit.
        a.try_edit(&Edit::Undelete).unwrap();
        assert_eq!(a.json(), json!({"price": 2, "notes": "abcd"}));
        a.delete();
        assert!(a.document.hidden_edits().is_empty());
    }
}

#[test]
fn a_deletion_of_what_it_was_hides_what_was_changed_since() {
    let (mut a, mut b) = two_offices(json!({"price": 1}));
    let seen = a.version();
    b.merge(json!({"price": 2}));
    a.pull(&b);
    assert!(a.try_edit_on(&seen, &Edit::Delete).unwrap());
    assert!(a.view().deleted);
    let hidden = a.document.hidden_edits();
    assert_eq!(hidden[1].values[0].value, Value::Int(2));
    meet(&mut a, &mut b);
}

#[test]
fn a_record_that_others_wrote_since_it_was_missing_is_written_twice() {
    let (mut a, mut b) = two_offices(json!({"price": 1, "stock": 5}));
    a.pull(&b);
    b.try_edit_on(&Version::default(), &Edit::Put(fields(json!({"price": 2, "stock": 7}))))
        .unwrap();
    assert_eq!(b.json()["stock"], 12);
    assert_eq!(values(&b, "price").len(), 2);
    meet(&mut a, &mut b);
}

#[test]
fn a_site_under_a_new_actor_edits_what_the_former_one_saw() {
    let (mut a, mut b) = two_offices(json!({"price": 1}));
    let seen = a.version();
    a.merge(json!({"price": 2}));
    a.actor = actor(9);
    a.merge_on(&seen, json!({"price": 3}));
    assert_eq!(values(&a, "price").len(), 2);
    assert_eq!(a.view().heads.len(), 2, "the former one's change is another's");
    meet(&mut a, &mut b);
}

#[test]
fn an_edit_that_is_refused_changes_nothing() {
    let (mut a, _) = two_offices(json!({"price": 1}));
    let seen = a.version();
    a.delete();
    let before = a.view();
    let refused = a.try_edit_on(&seen, &super::support::merge(json!({"stock": null})));
    assert!(matches!(refused, Err(EditError::CounterRemoved { .. })), "{refused:?}");
    assert_eq!(a.view(), before);
    let version = "00".repeat(16).parse().unwrap();
    assert_eq!(a.document.reach(&version).err(), Some([0; 16]));
}

/// What stands at each path, whichever of those in conflict is shown, and in whichever order inserted elements stand.
fn contents(view: &View) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    leaves("", &view.fields, &mut found);
    let is_below = |path: &str, above: &str| {
        path.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    // What is at odds below a field that is itself at odds is seen only where that one of its values is shown.
    let outermost = view.conflicts.iter().filter(|conflict| {
        !view.conflicts.iter().any(|other| is_below(&conflict.path, &other.path))
    });
    for Conflict { path, values, .. } in outermost {
        found.retain(|at, _| at != path && !is_below(at, path) && !is_below(path, at));
        let mut values: Vec<String> = values.iter().map(|it| outline(&it.value)).collect();
        values.sort();
        values.dedup();
        found.insert(path.clone(), values);
    }
    found
}

/// The values of a map and of the maps in it, by path.
fn leaves(above: &str, fields: &Fields, found: &mut BTreeMap<String, Vec<String>>) {
    for (name, value) in fields {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Map(inner) if !inner.is_empty() => leaves(&path, inner, found),
            value => {
                found.insert(path, vec![outline(value)]);
            }
        }
    }
}

/// A value whose order says nothing. Of a map, its names: which of the values in it are at odds is not to be seen where
/// another value is shown in its place.
fn outline(value: &Value) -> String {
    match value {
        Value::Map(fields) => {
            format!("{{{}}}", fields.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
        value => {
            let mut characters: Vec<char> = format!("{value:?}").chars().collect();
            characters.sort_unstable();
            characters.into_iter().collect()
        }
    }
}

/// One plain edit, ours and Automerge's.
#[derive(Debug, Clone)]
enum Plain {
    Put(&'static str, i64),
    Increment(i64),
    Delete(&'static str),
}

fn plain() -> impl Strategy<Value = Plain> {
    let name = prop_oneof![Just("p"), Just("q"), Just("r")];
    prop_oneof![
        (name.clone(), 100i64..103).prop_map(|(name, n)| Plain::Put(name, n)),
        (1i64..4).prop_map(Plain::Increment),
        name.prop_map(Plain::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn an_edit_on_older_heads_is_what_automerge_makes_of_a_fork_there(
        steps in steps(),
        at in any::<prop::sample::Index>(),
        plain in plain(),
    ) {
        let mut office = play(&steps, true).remove(0);
        office.actor = actor(9);
        let version = at.get(&office.versions).clone();
        let before = office.automerge();
        let heads: Vec<ChangeHash> =
            office.seen(&version).view().heads.into_iter().map(ChangeHash).collect();
        let fork = before.fork_at(&heads).unwrap();
        let mut fork = AutoCommit::load(&fork.save()).unwrap().with_actor(ActorId::from([9; 16]));
        let (json, made) = match plain {
            Plain::Put(name, n) => {
                // What replaces a counter, or a map that may hold one, is ours alone to decide.
                let shown = fork.get_all(automerge::ROOT, name).unwrap();
                prop_assume!(shown.iter().all(|(value, _)| value.is_scalar() && !is_counter(value)));
                // So is that a number stays a fraction where one stood.
                prop_assume!(shown.iter().all(|(value, _)| !value.is_f64()));
                (json!({name: n}), fork.put(automerge::ROOT, name, n))
            }
            Plain::Increment(by) => {
                prop_assume!(fork.get(automerge::ROOT, "stock").unwrap().is_some());
                (json!({"stock": {"$inc": by}}), fork.increment(automerge::ROOT, "stock", by))
            }
            Plain::Delete(name) => {
                let shown = fork.get_all(automerge::ROOT, name).unwrap();
                prop_assume!(!shown.is_empty());
                prop_assume!(shown.iter().all(|(value, _)| value.is_scalar() && !is_counter(value)));
                (json!({name: null}), fork.delete(automerge::ROOT, name))
            }
        };
        made.unwrap();
        // A deleted record comes back by an edit, which is ours alone as well.
        prop_assume!(!office.seen(&version).view().deleted);
        office.merge_on(&version, json);
        let mut merged = AutoCommit::load(&before.save()).unwrap();
        merged.merge(&mut fork).unwrap();
        let (view, merged) = (office.view(), view_of_automerge(merged.document()).unwrap());
        prop_assert_eq!(&view.fields, &merged.fields);
        let values = |view: &View| -> BTreeMap<String, Vec<Value>> {
            let values = |it: &Conflict| it.values.iter().map(|it| it.value.clone()).collect();
            view.conflicts.iter().map(|it| (it.path.clone(), values(it))).collect()
        };
        prop_assert_eq!(values(&view), values(&merged));
    }

    #[test]
    fn own_changes_since_make_no_difference_but_for_the_order(
        steps in steps(),
        own in proptest::collection::vec(edit(), 1..3),
        at in any::<prop::sample::Index>(),
        edit in edit(),
    ) {
        let mut office = play(&steps, true).remove(0);
        let version = at.get(&office.versions).clone();
        for edit in &own {
            let _ = office.try_edit(edit);
        }
        // Another's, who has written nothing of it.
        let mut other = office.clone();
        other.actor = actor(9);
        let made = office.try_edit_on(&version, &edit);
        let also = other.try_edit_on(&version, &edit);
        prop_assert_eq!(made.is_err(), also.is_err());
        prop_assert_eq!(office.view().deleted, other.view().deleted);
        prop_assert_eq!(contents(&office.view()), contents(&other.view()));
        assert_like_automerge(&office);
    }

    #[test]
    fn an_edit_by_whom_did_nothing_since_is_the_change_that_he_would_have_made_then(
        steps in steps(),
        at in any::<prop::sample::Index>(),
        edit in edit(),
    ) {
        let mut office = play(&steps, true).remove(0);
        office.actor = actor(9);
        let version = at.get(&office.versions).clone();
        let mut seen = office.seen(&version);
        let time_ms = 1_000 + office.entries.len() as i64;
        let then = seen.edit(office.actor, time_ms, &edit, office.schema.as_ref());
        match (office.try_edit_on(&version, &edit), then) {
            (Ok(true), Ok(Some(then))) => {
                prop_assert_eq!(&office.entries.last().unwrap().change, &then.change);
            }
            (made, then) => prop_assert_eq!(made.ok(), then.ok().map(|then| then.is_some())),
        }
    }
}

fn is_counter(value: &automerge::Value<'_>) -> bool {
    matches!(value, automerge::Value::Scalar(scalar) if matches!(**scalar, automerge::ScalarValue::Counter(_)))
}
