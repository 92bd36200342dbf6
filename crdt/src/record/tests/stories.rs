//! What offices do, and what they must then see.

use serde_json::{Value as Json, json};

use super::support::{Office, assert_like_automerge, fields, meet, merge};
use crate::record::{
    Document, Edit, EditError, INCREMENT_MAX, Schema, SchemaError, Value, validate_schema_edit,
};

const ITEM: &[(&str, &str)] = &[
    ("name", "string required"),
    ("stock", "counter"),
    ("notes", "text"),
    ("lines", "list"),
    ("price", "decimal"),
    ("seen", "timestamp"),
    ("photo", "bytes"),
    ("weight", "float"),
    ("address.city", "string"),
    ("address.visits", "counter"),
];

fn two_offices() -> (Office, Office) {
    (Office::with_schema(1, ITEM), Office::with_schema(2, ITEM))
}

#[test]
fn two_offices_that_create_the_same_record_merge_field_by_field() {
    let (mut a, mut b) = two_offices();
    a.put(json!({
        "name": "bolt", "stock": 5, "notes": "abc", "lines": [1],
        "address": {"city": "Graz", "visits": 1},
    }));
    b.put(json!({
        "name": "nut", "stock": 7, "notes": "xyz", "lines": [2],
        "address": {"visits": 2},
    }));
    meet(&mut a, &mut b);
    let json = a.json();
    assert_eq!(json["stock"], 12);
    assert_eq!(json["address"], json!({"city": "Graz", "visits": 3}));
    assert_eq!(json["lines"].as_array().unwrap().len(), 2);
    assert_eq!(json["notes"].as_str().unwrap().len(), 6);
    let conflicts = a.view().conflicts;
    assert_eq!(conflicts.len(), 1, "only the name, written twice: {conflicts:?}");
}

#[test]
fn increments_without_schema_add_up() {
    let (mut a, mut b) = (Office::new(1), Office::new(2));
    a.merge(json!({"stock": {"$inc": 2}, "at": {"x": {"$inc": 1}}}));
    b.merge(json!({"stock": {"$inc": -5}, "at": {"x": {"$inc": 1}}}));
    meet(&mut a, &mut b);
    assert_eq!(a.json(), json!({"stock": -3, "at": {"x": 2}}));
    assert_eq!(a.view().fields["stock"], Value::Counter(-3));
}

#[test]
fn writing_the_same_thing_again_changes_nothing() {
    let mut office = Office::with_schema(1, ITEM);
    let record = json!({
        "name": "bolt", "stock": 5, "notes": "two\nlines ☂", "lines": [1, {"a": [null, 2.5]}],
        "price": "12.50", "seen": "2026-01-31T12:00:00.250Z", "photo": "AQID", "weight": 2,
        "address": {"city": "Graz", "visits": 1}, "extra": {"b": true}, "nothing": null,
    });
    assert!(office.put(record.clone()));
    assert!(!office.put(record.clone()));
    assert!(!office.merge(json!({"name": "bolt", "stock": 5, "extra": {}})));
    let read = office.json();
    assert!(!office.put(read.clone()), "what was read can be written back");
    office.schema = None;
    assert!(!office.put(read), "with and without schema");
    assert_like_automerge(&office);
}

#[test]
fn counters_are_set_relative_to_what_was_read() {
    let (mut a, mut b) = two_offices();
    a.put(json!({"name": "bolt", "stock": 10}));
    b.pull(&a);
    a.merge(json!({"stock": 15}));
    b.merge(json!({"stock": {"$inc": -1}}));
    meet(&mut a, &mut b);
    assert_eq!(a.json()["stock"], 14);
    assert!(!a.put(json!({"name": "bolt"})), "an absent counter stays as it is");
    assert_eq!(a.json()["stock"], 14);
}

#[test]
fn counters_are_neither_removed_nor_overwritten() {
    let mut office = Office::new(1);
    office.merge(json!({"n": {"$inc": 1}, "m": {"n": {"$inc": 1}, "x": 1}, "s": "text"}));
    for (patch, put) in [
        (json!({"n": null}), false),
        (json!({"n": null}), true),
        (json!({"m": null}), false),
        (json!({"n": "five"}), false),
        (json!({"m": 7}), false),
        (json!({"s": {"$inc": 1}}), false),
        (json!({"n": {"$inc": 1.5}}), false),
        (json!({"n": {"$inc": 1, "x": 2}}), false),
        (json!({"n": {"$inc": INCREMENT_MAX + 1}}), false),
        (json!({"l": [{"$inc": 1}]}), false),
    ] {
        let edit = if put { Edit::Put(fields(patch.clone())) } else { merge(patch.clone()) };
        let before = office.view();
        let error = office.try_edit(&edit).expect_err(&patch.to_string());
        assert!(!matches!(error, EditError::Refused(_)), "{error:?}");
        assert_eq!(office.view(), before, "{patch}");
    }
    office.put(json!({}));
    assert_eq!(office.json(), json!({"n": 1, "m": {"n": 1}}));
}

#[test]
fn a_counter_that_is_created_at_0_is_there() {
    let mut office = Office::with_schema(1, &[("stock", "counter"), ("notes", "text")]);
    assert!(office.put(json!({"stock": 0, "notes": ""})));
    assert_eq!(office.json(), json!({"stock": 0, "notes": ""}));
    assert!(!office.put(json!({"stock": 0, "notes": ""})));
}

#[test]
fn sums_beyond_64_bits_stand_still_at_the_end() {
    let mut office = Office::new(1);
    for _ in 0..1_030 {
        office.merge(json!({"n": {"$inc": INCREMENT_MAX}}));
    }
    assert_eq!(office.json()["n"], i64::MAX);
    office.merge(json!({"n": {"$inc": -INCREMENT_MAX}}));
    assert_eq!(office.json()["n"], i64::MAX, "the sum is kept beyond what is shown");
    let loaded = Document::load(&office.document.save()).unwrap();
    assert_eq!(loaded.view(), office.view());
    let mut other = Office::new(2);
    other.pull(&office);
    other.merge(json!({"n": {"$inc": INCREMENT_MAX}, "x": 1}));
    office.merge(json!({"n": {"$inc": INCREMENT_MAX}, "x": 2}));
    office.pull(&other);
    other.pull(&office);
    assert_eq!(office.view(), other.view());
}

#[test]
fn an_empty_record_exists() {
    let mut office = Office::new(1);
    assert!(office.document.is_empty());
    assert!(office.put(json!({})));
    assert!(!office.document.is_empty());
    assert!(!office.view().deleted);
    assert_eq!(office.json(), json!({}));
    assert!(!office.put(json!({})));
}

#[test]
fn deleted_records_stay_deleted_and_keep_everything() {
    let (mut a, mut b) = (Office::new(1), Office::new(2));
    a.put(json!({"x": 1}));
    b.pull(&a);
    a.delete();
    b.merge(json!({"y": 2}));
    meet(&mut a, &mut b);
    assert!(a.view().deleted);
    let patch = fields(json!({"z": 3}));
    let edit = Edit::Merge { patch, create: false };
    assert!(matches!(b.try_edit(&edit), Err(EditError::Missing)));
    assert!(matches!(b.try_edit(&Edit::Delete), Err(EditError::Missing)));
    assert!(b.try_edit(&Edit::Undelete).unwrap());
    assert!(!b.try_edit(&Edit::Undelete).unwrap());
    assert_eq!(b.json(), json!({"x": 1, "y": 2}));
}

#[test]
fn an_import_brings_a_deleted_record_back_only_where_that_is_asked_for() {
    let import = |json: Json| Edit::Import(fields(json));
    let mut office = Office::with_schema(1, &[("stock", "counter")]);
    assert!(office.try_edit(&import(json!({"x": 1, "stock": 5}))).unwrap());
    assert!(office.try_edit(&import(json!({"y": {"n": 2}}))).unwrap());
    assert_eq!(office.json(), json!({"x": 1, "y": {"n": 2}, "stock": 5}));
    office.delete();
    assert!(matches!(office.try_edit(&import(json!({"x": 2}))), Err(EditError::Deleted)));
    assert!(office.view().deleted);
    let back = Edit::Revive(fields(json!({"x": 2, "empty": null})));
    assert!(office.try_edit(&back).unwrap());
    // A counter cannot be removed: others may be adding to it.
    assert_eq!(office.json(), json!({"x": 2, "empty": null, "stock": 0}));
    assert!(!office.try_edit(&back).unwrap());
}

#[test]
fn of_concurrent_deleting_and_reviving_deleting_wins() {
    let (mut a, mut b) = (Office::new(1), Office::new(2));
    a.put(json!({"x": 1}));
    a.delete();
    b.pull(&a);
    a.put(json!({"x": 2}));
    a.delete();
    b.put(json!({"x": 3}));
    meet(&mut a, &mut b);
    assert!(a.view().deleted && b.view().deleted);
    assert!(a.view().conflicts.iter().all(|c| c.path != "_deleted"));
}

#[test]
fn a_missing_record_is_created_only_when_asked() {
    let mut office = Office::new(1);
    let patch = fields(json!({"x": 1, "gone": null}));
    let edit = Edit::Merge { patch: patch.clone(), create: false };
    assert!(matches!(office.try_edit(&edit), Err(EditError::Missing)));
    assert!(matches!(office.try_edit(&Edit::Delete), Err(EditError::Missing)));
    assert!(matches!(office.try_edit(&Edit::Undelete), Err(EditError::Missing)));
    let edit = Edit::Merge { patch, create: true };
    assert!(office.try_edit(&edit).unwrap());
    assert_eq!(office.json(), json!({"x": 1}));
}

#[test]
fn merge_follows_rfc_7386() {
    let mut office = Office::new(1);
    office.put(json!({"a": "b", "c": {"d": "e", "f": "g"}, "l": [1, 2]}));
    office.merge(json!({"a": "z", "c": {"f": null, "n": {"x": null, "y": 1}}, "l": [2]}));
    assert_eq!(office.json(), json!({"a": "z", "c": {"d": "e", "n": {"y": 1}}, "l": [2]}));
    office.merge(json!({"c": null, "l": "was a list", "a": {"now": "a map"}}));
    assert_eq!(office.json(), json!({"a": {"now": "a map"}, "l": "was a list"}));
    assert_like_automerge(&office);
}

#[test]
fn put_replaces_fields_and_maps() {
    let mut office = Office::new(1);
    office.put(json!({"a": 1, "m": {"x": 1, "y": {"z": 1}}, "n": null}));
    office.put(json!({"m": {"y": {"w": null}}}));
    assert_eq!(office.json(), json!({"m": {"y": {"w": null}}}));
}

#[test]
fn a_conflict_is_seen_and_settled_by_writing_the_shown_value() {
    for is_put in [true, false] {
        let (mut a, mut b) = (Office::new(1), Office::new(2));
        a.put(json!({"x": "from a", "m": {"k": 1}, "l": [1]}));
        b.put(json!({"x": "from b", "m": {"k": 2}, "l": [2]}));
        meet(&mut a, &mut b);
        let view = a.view();
        let conflict = &view.conflicts.iter().find(|c| c.path == "x").unwrap().values;
        assert_eq!(conflict[0].value, Value::Str("from b".into()));
        assert_eq!(conflict[1].value, Value::Str("from a".into()));
        assert_eq!((conflict[0].actor, conflict[1].time_ms), ([2; 16], 1_000));
        let shown = a.json();
        let write = |office: &mut Office| {
            if is_put { office.put(shown.clone()) } else { office.merge(shown.clone()) }
        };
        assert!(write(&mut a));
        assert!(!write(&mut a));
        assert_eq!((a.json(), a.view().conflicts), (shown.clone(), vec![]));
        meet(&mut a, &mut b);
        assert_eq!(b.view().conflicts, vec![]);
    }
}

#[test]
fn concurrent_edits_of_texts_and_lists_merge() {
    let (mut a, mut b) = two_offices();
    a.put(json!({"name": "n", "notes": "the quick fox", "lines": ["a", "b", "c"]}));
    b.pull(&a);
    a.merge(json!({"notes": "the very quick fox", "lines": ["a", "c"]}));
    b.merge(json!({"notes": "the quick red fox!", "lines": ["a", "b", "c", "d"]}));
    meet(&mut a, &mut b);
    assert_eq!(a.json()["notes"], "the very quick red fox!");
    assert_eq!(a.json()["lines"], json!(["a", "c", "d"]));
}

#[test]
fn kinds_come_from_the_schema_then_from_what_is_there() {
    let mut office = Office::with_schema(1, ITEM);
    office.put(json!({"name": "n", "seen": 86_400_000, "photo": "AQID", "weight": 3,
        "price": 12.5}));
    let view = office.view().fields;
    assert_eq!(view["seen"], Value::Timestamp(86_400_000));
    assert_eq!(view["photo"], Value::Bytes(vec![1, 2, 3]));
    assert_eq!(view["weight"], Value::Float(3.0));
    assert_eq!(view["price"], Value::Str("12.5".into()));
    office.schema = None;
    office.merge(json!({"seen": "1970-01-01T00:00:00.001Z", "photo": "AQ==", "weight": 4}));
    let view = office.view().fields;
    assert_eq!(view["seen"], Value::Timestamp(1));
    assert_eq!(view["photo"], Value::Bytes(vec![1]));
    assert_eq!(view["weight"], Value::Float(4.0));
    office.merge(json!({"seen": true}));
    assert_eq!(office.view().fields["seen"], Value::Bool(true));
}

#[test]
fn what_does_not_fit_the_schema_is_refused() {
    let mut office = Office::with_schema(1, ITEM);
    let bad = [
        json!({"name": 1}),
        json!({}),
        json!({"name": null}),
        json!({"name": "n", "stock": 1.5}),
        json!({"name": "n", "stock": "1"}),
        json!({"name": "n", "price": "1e3"}),
        json!({"name": "n", "seen": "yesterday"}),
        json!({"name": "n", "photo": "AQ"}),
        json!({"name": "n", "lines": {}}),
        json!({"name": "n", "address": "Graz"}),
        json!({"name": "n", "address": {"city": 5}}),
        json!({"name": "n", "_x": 1}),
        json!({"name": "n", "a.b": 1}),
        json!({"name": "n", "big": u64::MAX}),
        json!({"name": "n", "stock": {"$inc": 0.5}}),
    ];
    for body in bad {
        let result = office.try_edit(&Edit::Put(fields(body.clone())));
        assert!(result.is_err(), "{body}");
        assert!(office.document.is_empty());
    }
    office.put(json!({"name": "n", "unknown": {"is": "kept"}}));
    assert!(office.try_edit(&merge(json!({"name": null}))).is_err());
    office.merge(json!({"stock": 1}));
}

#[test]
fn schemas_are_edited_as_records() {
    let mut office = Office::new(1);
    office.schema = Some(Schema::of_schemas());
    office.put(json!({"name": "string required", "address.city": "text"}));
    let before = office.view();
    let schema = validate_schema_edit(None, &before).unwrap();
    assert_eq!(schema.to_fields(), before.fields);
    for bad in [json!({"x": "number"}), json!({"a..b": "text"}), json!({"x": 5})] {
        let result = office.try_edit(&merge(bad));
        assert!(matches!(result, Err(EditError::Schema(_))), "{result:?}");
    }
    office.merge(json!({"name": "integer"}));
    assert!(matches!(
        validate_schema_edit(Some(&before), &office.view()),
        Err(SchemaError::KindChange { .. })
    ));
}

#[test]
fn records_nest_only_so_deep_and_changes_grow_only_so_large() {
    let nest = |levels| (0..levels).fold(json!(1), |inner, _| json!({"m": inner}));
    let mut office = Office::new(1);
    assert!(office.put(nest(17)));
    let result = office.try_edit(&Edit::Put(fields(nest(18))));
    assert!(matches!(result, Err(EditError::TooDeep { .. })), "{result:?}");
    let large = "x".repeat(1 << 20);
    let result = office.try_edit(&merge(json!({"large": large})));
    assert!(matches!(result, Err(EditError::TooLarge { .. })), "{result:?}");
    let many: Vec<u32> = (0..70_000).collect();
    let result = office.try_edit(&merge(json!({"many": many})));
    assert!(matches!(result, Err(EditError::TooManyOperations { .. })));
    let genesis: serde_json::Map<_, _> =
        (0..65).map(|n| (format!("n{n}"), json!({"$inc": 1}))).collect();
    let result = office.try_edit(&merge(genesis.into()));
    assert!(matches!(result, Err(EditError::TooManyGenesis { .. })));
}

#[test]
fn a_change_of_many_operations_is_saved_and_loaded() {
    let mut office = Office::with_schema(1, ITEM);
    let notes: String = ('a'..='z').cycle().take(12_000).collect();
    office.put(json!({"name": "n", "notes": notes, "lines": (0..3_000).collect::<Vec<_>>()}));
    office.merge(json!({"notes": notes.replace('q', "Q")}));
    let mut other = Office::with_schema(2, ITEM);
    other.pull(&office);
    let loaded = Document::load(&other.document.save()).unwrap();
    assert_eq!(loaded.view(), office.view());
}

#[test]
fn what_is_imported_again_changes_nothing_and_settles_no_conflict() {
    const SCHEMA: &[(&str, &str)] =
        &[("stock", "counter"), ("notes", "text"), ("price", "decimal")];
    let (mut a, mut b) = (Office::with_schema(1, SCHEMA), Office::with_schema(2, SCHEMA));
    let import = |office: &mut Office, json: Json| office.try_edit(&Edit::Import(fields(json)));
    assert!(import(&mut a, json!({"price": "1", "stock": 3, "notes": "x", "kept": 1})).unwrap());
    meet(&mut a, &mut b);
    a.merge(json!({"price": "2", "notes": "xa", "free": {"x": 1}}));
    b.merge(json!({"price": "3", "notes": "bx", "free": {"x": 2}}));
    meet(&mut a, &mut b);
    let conflicts = a.view().conflicts;
    assert!(!conflicts.is_empty());
    let shown = a.json();
    assert!(!import(&mut a, shown).unwrap());
    assert_eq!(a.view().conflicts, conflicts);
    // Null is a value, and what is not named stays.
    assert!(import(&mut a, json!({"price": null, "new": null, "free": {"y": null}})).unwrap());
    let record = a.json();
    assert_eq!((&record["price"], &record["kept"]), (&Json::Null, &json!(1)));
    assert!(record.as_object().unwrap().contains_key("new") && record["free"]["x"] != Json::Null);
    assert!(record["free"].as_object().unwrap().contains_key("y"));
    assert!(!import(&mut a, record).unwrap());
}
