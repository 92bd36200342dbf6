//! What is a schema, and what fits it.

use super::super::view::{Conflict, ConflictValue};
use super::*;

fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, Value> {
    pairs.iter().map(|(path, spec)| ((*path).to_owned(), Value::Str((*spec).to_owned()))).collect()
}

fn schema(pairs: &[(&str, &str)]) -> Schema {
    Schema::from_fields(&fields(pairs)).unwrap()
}

#[test]
fn a_schema_is_read_back_from_its_record() {
    let stored = fields(&[
        ("name", "string required"),
        ("sku", "string required indexed"),
        ("price", "decimal indexed"),
        ("address.city", "text"),
    ]);
    let schema = Schema::from_fields(&stored).unwrap();
    assert_eq!(schema.to_fields(), stored);
    assert_eq!(schema.kind("address"), Some(Kind::Map));
    assert_eq!(schema.kind("address.city"), Some(Kind::Text));
    assert_eq!(schema.kind("addr"), None);
}

#[test]
fn what_is_no_declaration_is_refused() {
    for (path, spec) in [
        ("a", "number"),
        ("a", "string optional"),
        ("a", "string indexed required"),
        ("a", "list indexed"),
        ("a", "map required indexed"),
        ("a..b", "string"),
        ("_a", "string"),
        ("", "string"),
    ] {
        assert!(Schema::from_fields(&fields(&[(path, spec)])).is_err(), "{path} {spec}");
    }
    let under_a_string = fields(&[("a", "string"), ("a.b", "string")]);
    assert!(matches!(Schema::from_fields(&under_a_string), Err(SchemaError::NotMap { .. })));
}

#[test]
fn a_path_that_is_longer_than_a_name_is_refused_with_the_path() {
    let path = |bytes: usize| format!("{}.{}", "a".repeat(200), "b".repeat(bytes - 201));
    assert!(Schema::from_fields(&fields(&[(&path(255), "string")])).is_ok());
    let error = |path: &str| check_declaration(path, &Value::Null).unwrap_err().to_string();
    assert!([256, 400].map(path).iter().all(|path| error(path).contains(path)));
    assert!(error(&"é".repeat(100_000)).len() < 2_000);
}

#[test]
fn a_kind_never_changes() {
    let old = schema(&[("a", "string"), ("b.c", "integer")]);
    assert_eq!(old.check_change(&schema(&[("a", "string required")])), Ok(()));
    for new in [&[("a", "text")], &[("a.x", "text")], &[("b", "list")]] {
        assert!(old.check_change(&schema(new)).is_err(), "{new:?}");
    }
}

#[test]
fn what_does_not_fit_is_told_by_field_kind_and_value() {
    let schema = schema(&[("a", "decimal required"), ("m.n", "integer"), ("t", "text")]);
    let decimal = Value::Str("1.50".into());
    let mut record = BTreeMap::from([("a".to_owned(), decimal), ("x".into(), Value::Null)]);
    assert_eq!(schema.mismatches(&record).count(), 0);
    let inner = BTreeMap::from([("n".to_owned(), Value::Bool(true))]);
    record.insert("m".into(), Value::Map(inner));
    record.insert("t".into(), Value::Null);
    let found = |record: &BTreeMap<String, Value>| -> Vec<(String, Kind, &'static str)> {
        let found = schema.mismatches(record);
        let name = |value: Option<&Value>| value.map_or("nothing", Value::kind_name);
        found.map(|found| (found.path.to_owned(), found.expected, name(found.found))).collect()
    };
    let wrong = |path: &str, expected, found| (path.to_owned(), expected, found);
    assert_eq!(
        found(&record),
        [wrong("m.n", Kind::Integer, "boolean"), wrong("t", Kind::Text, "null")]
    );
    record = BTreeMap::from([("m".to_owned(), Value::Int(1))]);
    assert_eq!(
        found(&record),
        [wrong("a", Kind::Decimal, "nothing"), wrong("m", Kind::Map, "integer")]
    );
}

#[test]
fn of_kinds_that_were_declared_apart_either_may_be_chosen() {
    let view = |declared: &str, others: &[&str]| View {
        fields: fields(&[("a", declared), ("b", "string")]),
        deleted: false,
        conflicts: vec![Conflict {
            path: "a".to_owned(),
            values: [declared].iter().chain(others).map(|text| conflicting(text)).collect(),
        }],
        heads: Vec::new(),
    };
    let old = view("integer", &["decimal required"]);
    let chosen = |kind: &str| validate_schema_edit(Some(&old), &view(kind, &[])).is_ok();
    assert!(chosen("decimal") && chosen("decimal indexed") && chosen("integer"));
    assert!(!chosen("string"));
}

fn conflicting(text: &str) -> ConflictValue {
    ConflictValue { value: Value::Str(text.to_owned()), actor: [0; 16], time_ms: 0 }
}

#[test]
fn fields_of_a_newer_programs_kind_are_left_out_and_the_others_hold() {
    let view = |pairs: &[(&str, &str)]| View {
        fields: fields(pairs),
        deleted: false,
        conflicts: Vec::new(),
        heads: Vec::new(),
    };
    let newer = view(&[("at", "epoch required indexed"), ("stock", "counter")]);
    assert_eq!(Schema::of(&newer), Some(schema(&[("stock", "counter")])));
    // Here it is not written, neither with that kind nor over the kinds of others.
    let error = validate_schema_edit(Some(&newer), &newer).unwrap_err();
    assert!(matches!(error, SchemaError::Kind { .. }));
    assert!(validate_schema_edit(Some(&newer), &view(&[("stock", "integer")])).is_err());
    assert!(Schema::of(&view(&[("a", "string"), ("a.b", "epoch"), ("a.c", "text")])).is_none());
}

#[test]
fn a_collection_of_events_is_marked_and_declares_all_that_events_have() {
    let json = |json: serde_json::Value| match json {
        serde_json::Value::Object(fields) => fields,
        other => unreachable!("{other} is no object"),
    };
    let text = |json: &serde_json::Value| Value::Str(json.as_str().unwrap().to_owned());
    let stored = |fields: serde_json::Value| -> BTreeMap<String, Value> {
        let fields = Schema::completed(json(fields));
        fields.iter().map(|(path, spec)| (path.clone(), text(spec))).collect()
    };
    let marked = stored(serde_json::json!({"events": true}));
    assert_eq!(marked["events"], Value::Str("append-only".into()));
    let events = Schema::from_fields(&marked).unwrap();
    assert!(events.is_of_events() && events.fields()["aggregate_id"].indexed);
    assert_eq!(events.to_fields(), marked);
    assert_eq!(stored(serde_json::json!({"events": "append-only"})), marked);
    // A field may be called so.
    let other = Schema::from_fields(&stored(serde_json::json!({"events": "list"}))).unwrap();
    assert!(!other.is_of_events() && other.fields().len() == 1);
    for (wrong, expected) in [
        (serde_json::json!({"events": true, "aggregate_id": "string"}), "aggregate_id"),
        (serde_json::json!({"events": true, "data": "map"}), "data"),
        (serde_json::json!({"events": true, "shop": "string"}), "shop"),
    ] {
        let error = Schema::from_fields(&stored(wrong)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// As programs before the mark read it: a kind that they do not know.
#[test]
fn the_mark_is_no_kind_so_that_older_programs_leave_it_out_and_heed_the_rest() {
    let error = "append-only".parse::<Kind>().unwrap_err();
    assert_eq!(error.found, "append-only");
}
