//! Numbers: a field holds exactly the number that was written, or the edit is refused by name.

use bigdecimal::BigDecimal;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::support::{Office, fields, merge};
use crate::record::{Edit, EditError, Value};

const FIELDS: &[(&str, &str)] = &[
    ("decimal", "decimal"),
    ("integer", "integer"),
    ("float", "float"),
    ("counter", "counter"),
    ("seen", "timestamp"),
];

/// JSON as it is written, so that no number in it is one of this program before.
fn read(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Writes a number into a field of a new record: the field's value, or why there is none.
fn written(field: &str, number: &str) -> Result<Value, EditError> {
    let mut office = Office::with_schema(1, FIELDS);
    office.try_edit(&merge(read(&format!("{{{field:?}: {number}}}"))))?;
    Ok(office.view().fields[field].clone())
}

fn exact(value: &Value) -> BigDecimal {
    match value {
        Value::Str(text) => text.parse().unwrap(),
        Value::Int(n) | Value::Counter(n) | Value::Timestamp(n) => (*n).into(),
        Value::Float(_) => value.to_json().to_string().parse().unwrap(),
        other => panic!("{other:?} is no number"),
    }
}

fn json_number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?",
        "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,3})?",
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("no number", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
    ]
}

proptest! {
    /// As a number or as a string, in a new record or over what is there.
    #[test]
    fn a_decimal_holds_the_digits_that_were_written(number in json_number()) {
        let Ok(value) = written("decimal", &number) else {
            // More digits than a decimal has.
            prop_assert!(number.len() > 38 || number.contains(['e', 'E']), "{}", number);
            return Ok(());
        };
        let Value::Str(text) = &value else { panic!("{value:?}") };
        prop_assert_eq!(exact(&value), number.parse::<BigDecimal>().unwrap());
        if !number.contains(['e', 'E']) {
            prop_assert_eq!(text, &number);
        }
        let mut office = Office::with_schema(1, FIELDS);
        office.put(json!({ "decimal": text, "note": "x" }));
        prop_assert!(!office.merge(read(&format!("{{\"decimal\": {number}}}"))), "{}", number);
    }

    #[test]
    fn integers_counters_and_timestamps_are_exact_or_refused(number in json_number()) {
        let expected: BigDecimal = number.parse().unwrap();
        for field in ["integer", "counter", "seen"] {
            let fits = expected.is_integer()
                && (BigDecimal::from(i64::MIN)..=BigDecimal::from(i64::MAX)).contains(&expected);
            match written(field, &number) {
                Ok(value) => prop_assert_eq!(exact(&value), expected.clone(), "{}", field),
                Err(EditError::IncrementRange { .. }) => prop_assert!(fits && field == "counter"),
                Err(error) => prop_assert!(!fits && error.to_string().contains(field), "{}", error),
            }
        }
    }

    #[test]
    fn a_field_without_a_declared_kind_is_exact_or_refused(
        number in json_number(), before in prop::option::of(json_number()),
    ) {
        let mut office = Office::new(1);
        office.put(json!({ "note": "x" }));
        if let Some(before) = before {
            let _ = office.try_edit(&merge(read(&format!("{{\"n\": {before}}}"))));
        }
        match office.try_edit(&merge(read(&format!("{{\"n\": {number}}}")))) {
            Ok(_) => {
                let expected: BigDecimal = number.parse().unwrap();
                prop_assert_eq!(exact(&office.view().fields["n"]), expected);
            }
            Err(error) => {
                let is_loss = matches!(error, EditError::IntegerRange { .. } | EditError::Digits { .. });
                prop_assert!(is_loss, "{}", error);
            }
        }
    }

    #[test]
    fn a_float_is_the_nearest_one(number in json_number()) {
        let nearest: f64 = number.parse().unwrap();
        match written("float", &number) {
            Ok(value) => prop_assert_eq!(value, Value::Float(nearest)),
            Err(error) => {
                let is_range = matches!(error, EditError::FloatRange { .. });
                prop_assert!(is_range && nearest.is_infinite(), "{}", error);
            }
        }
    }

    /// What was read and is written back changes nothing, in lists and maps too.
    #[test]
    fn what_was_read_and_is_written_back_changes_nothing(
        numbers in prop::collection::vec(json_number(), 1..6),
    ) {
        let mut office = Office::new(1);
        let list = numbers.join(", ");
        let first = &numbers[0];
        let text = format!(
            r#"{{"list": [{list}, {{"a": [{list}]}}], "map": {{"n": {first}}}}}"#
        );
        if office.try_edit(&Edit::Put(fields(read(&text)))).is_ok() {
            prop_assert!(!office.put(read(&text)), "{}", text);
            let shown = office.json().to_string();
            prop_assert!(!office.put(read(&shown)), "{}", shown);
        }
    }
}

#[test]
fn money_given_as_a_number_keeps_its_digits() {
    for number in ["1234567890123456.78", "1.10", "0.1234567890123456789", "12345678901234567.89"] {
        assert_eq!(written("decimal", number).unwrap(), Value::Str(number.to_owned()));
    }
    let error = written("price", "1234567890123456.78").unwrap_err().to_string();
    assert!(error.contains("price") && error.contains("1234567890123456.78"), "{error}");
}

#[test]
fn whole_numbers_stay_whole_after_a_field_held_a_fraction() {
    let mut office = Office::new(1);
    office.put(json!({ "n": 1.5 }));
    office.put(json!({ "n": 2 }));
    assert_eq!(office.view().fields["n"], Value::Float(2.0));
    office.put(read(r#"{"n": 9007199254740993}"#));
    assert_eq!(office.view().fields["n"], Value::Int(9_007_199_254_740_993));
}

#[test]
fn numbers_on_both_sides_of_64_bits_are_refused_alike_and_named() {
    for number in [
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "-9223372036854775809",
    ] {
        for field in ["n", "integer", "counter", "seen"] {
            let error = written(field, number).unwrap_err();
            assert!(matches!(error, EditError::IntegerRange { .. }), "{error}");
            assert!(error.to_string().contains(number), "{error}");
        }
    }
    // However long a number is, its error is not.
    let error = written("n", &"9".repeat(100_000)).unwrap_err().to_string();
    assert!(error.len() < 300, "{error}");
}

#[test]
fn increments_are_exact_or_refused() {
    let increment = |by: &str| written("counter", &format!("{{\"$inc\": {by}}}"));
    for (by, expected) in
        [("7", 7), ("-0", 0), ("1e2", 100), ("2.0", 2), ("9007199254740992", 1 << 53)]
    {
        assert_eq!(increment(by).unwrap(), Value::Counter(expected));
    }
    for by in ["0.5", "1e-1", "\"1\"", "9007199254740993", "18446744073709551616", "1e400"] {
        let error = increment(by).unwrap_err().to_string();
        assert!(error.contains("counter"), "{error}");
    }
}
