//! Exact times as they are written, met with and read.

use proptest::prelude::*;
use serde_json::json;

use super::support::{Office, fields, meet, merge};
use crate::record::{Datetime, Edit, EditError, Kind, Schema, Value};

const SCHEMA: &[(&str, &str)] = &[("at", "datetime"), ("note", "string")];

#[test]
fn a_time_is_kept_in_its_one_form_however_it_is_written() {
    let mut office = Office::with_schema(1, SCHEMA);
    office.put(json!({"at": "2024-03-10 01:30:00.123456000+01:00", "note": "x"}));
    assert_eq!(office.view().fields["at"], Value::Str("2024-03-10T00:30:00.123456Z".into()));
    // The same moment changes nothing, and the time of a clock without a zone is another.
    for same in ["2024-03-10T00:30:00.123456Z", "2024-03-09t22:30:00.1234560-02:00"] {
        assert!(!office.merge(json!({ "at": same })), "{same}");
        assert!(!office.try_edit(&Edit::Import(fields(json!({ "at": same })))).unwrap());
    }
    assert!(office.merge(json!({"at": "2024-03-10T00:30:00.123456"})));
    assert_eq!(office.json()["at"], "2024-03-10T00:30:00.123456");
    let read = office.json();
    office.schema = None;
    assert!(!office.put(read), "what was read can be written back, without the schema too");
}

#[test]
fn one_moment_that_two_offices_write_in_different_zones_is_no_conflict() {
    let (mut a, mut b) = (Office::with_schema(1, SCHEMA), Office::with_schema(2, SCHEMA));
    a.put(json!({"at": "2024-03-10T00:30:00.50+00:00"}));
    b.put(json!({"at": "2024-03-10T01:30:00.5+01:00"}));
    meet(&mut a, &mut b);
    assert!(a.view().conflicts.is_empty());
    b.merge(json!({"at": "2024-03-10T00:30:00.500000001Z"}));
    a.merge(json!({"at": "2024-03-10T00:30:00.5"}));
    meet(&mut a, &mut b);
    assert_eq!(a.view().conflicts[0].values.len(), 2);
}

#[test]
fn what_is_no_time_is_refused_with_the_reason() {
    let mut office = Office::with_schema(1, SCHEMA);
    for (value, expected) in [
        (json!("yesterday"), "2026-01-31T12:00:00.123456Z"),
        (json!("2016-12-31T23:59:60Z"), "leap second"),
        (json!("2024-03-10T24:00:00"), "next day"),
        (json!("2024-03-10T00:30:00.1234567891Z"), "nine digits"),
        (json!("0000-03-10T00:30:00Z"), "0001 to 9999"),
        (json!(1_710_030_600_000_i64), "integer"),
        (json!(true), "boolean"),
    ] {
        let error = office.try_edit(&merge(json!({ "at": value }))).unwrap_err();
        assert!(matches!(error, EditError::Form { .. } | EditError::WrongKind { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("\"at\" is of kind datetime, found "), "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(office.document.is_empty());
    }
}

#[test]
fn a_text_from_before_the_schema_fits_if_it_has_the_form_and_else_once_it_is_written_again() {
    let mut office = Office::new(1);
    office.put(json!({"at": "2024-03-10T00:30:00.5Z"}));
    let schema = Office::with_schema(1, SCHEMA).schema.unwrap();
    let fits = |office: &Office, schema: &Schema| {
        let view = office.view();
        schema.mismatches(&view.fields).all(|mismatch| mismatch.expected != Kind::Datetime)
    };
    assert!(fits(&office, &schema));
    let loose = json!({"at": "2024-03-10T00:30:00.50Z"});
    office.put(loose.clone());
    assert!(!fits(&office, &schema));
    office.schema = Some(schema.clone());
    assert!(office.put(loose));
    assert!(fits(&office, &schema));
}

proptest! {
    #[test]
    fn a_time_comes_back_from_records_and_json_as_it_was(
        seconds in -62_135_596_800_i64..253_402_207_200,
        nanosecond in 0..1_000_000_000_i32,
        is_local in any::<bool>(),
    ) {
        let mut text = jiff::Timestamp::new(seconds, nanosecond).unwrap().to_string();
        if is_local {
            text.pop();
        }
        let mut office = Office::with_schema(1, SCHEMA);
        office.put(json!({ "at": text }));
        let shown = office.json()["at"].as_str().map(str::to_owned).unwrap();
        prop_assert_eq!(&shown, &text);
        prop_assert_eq!(shown.parse::<Datetime>(), text.parse());
        let is_changed = office.put(json!({ "at": shown }));
        prop_assert!(!is_changed);
    }
}
