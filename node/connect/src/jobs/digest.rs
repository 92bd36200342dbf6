//! What a value is, whatever way it was written: the same digest for the same value.

use bigdecimal::BigDecimal;
use serde_json::Value;

/// Digits of a number, with its exponent written out, up to which numbers are compared by value: beyond, they are compared
/// as they are written, so that `1e999999999` does not take a gigabyte.
const DIGITS_MAX: i64 = 400;

/// BLAKE3 of the value in one form: keys sorted, no spaces, numbers by value (`12.50`, `12.5` and `1.25e1` are the same).
#[must_use]
pub fn digest(value: &Value) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    add(&mut hasher, value);
    *hasher.finalize().as_bytes()
}

fn add(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Null => hasher.update(b"n"),
        Value::Bool(false) => hasher.update(b"f"),
        Value::Bool(true) => hasher.update(b"t"),
        Value::Number(number) => add_text(hasher, b"#", &plain(&number.to_string())),
        Value::String(text) => add_text(hasher, b"s", text),
        Value::Array(items) => {
            add_count(hasher, b"[", items.len());
            for item in items {
                add(hasher, item);
            }
            hasher
        }
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            add_count(hasher, b"{", names.len());
            for name in names {
                add_text(hasher, b"k", name);
                if let Some(value) = fields.get(name) {
                    add(hasher, value);
                }
            }
            hasher
        }
    };
}

fn add_text<'a>(hasher: &'a mut blake3::Hasher, kind: &[u8], text: &str) -> &'a mut blake3::Hasher {
    add_count(hasher, kind, text.len());
    hasher.update(text.as_bytes())
}

fn add_count(hasher: &mut blake3::Hasher, kind: &[u8], count: usize) {
    hasher.update(kind);
    hasher.update(&(count as u64).to_le_bytes());
}

/// A number in one form.
fn plain(text: &str) -> String {
    let Ok(number) = text.parse::<BigDecimal>() else { return text.to_owned() };
    let number = number.normalized();
    let (digits, scale) = number.as_bigint_and_exponent();
    if scale.saturating_abs() > DIGITS_MAX {
        return format!("{digits}e{}", scale.saturating_neg());
    }
    number.to_plain_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str) -> [u8; 32] {
        digest(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn c30_the_same_value_has_the_same_digest_however_it_is_written() {
        for (a, b) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1, 2], "a": 1 }"#),
            ("12.50", "12.5"),
            ("1.25e1", "12.5"),
            ("1000", "1e3"),
            ("0", "-0.0"),
            ("1e999999999", "10e999999998"),
            (r#""é""#, r#""\u00e9""#),
        ] {
            assert_eq!(of(a), of(b), "{a} and {b}");
        }
    }

    #[test]
    fn other_values_have_other_digests() {
        let all = [
            "null",
            "false",
            "true",
            "0",
            "1",
            "\"1\"",
            "\"\"",
            "[]",
            "{}",
            "[null]",
            "[[]]",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[[1,2]]",
            r#"{"a":null}"#,
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"b":1}"#,
            r#"{"a":{"b":1}}"#,
            "12345678901234567890.1",
            "12345678901234567890.2",
            "18446744073709551616",
            "18446744073709551617",
        ];
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                assert_ne!(of(a), of(b), "{a} and {b}");
            }
        }
    }
}
