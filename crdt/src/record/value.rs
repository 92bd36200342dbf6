//! What a field holds.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// A field value, as it is shown.
///
/// The order of the variants is part of the stored form of a view: new ones go to the end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string that is replaced as a whole. Decimals are kept as such strings.
    Str(String),
    /// Bytes that are replaced as a whole.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A number to which concurrent increments add up.
    Counter(i64),
    /// A text that is edited in place, so that concurrent edits merge.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// Named values.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// About how many bytes it takes as JSON.
    pub(crate) fn json_bytes(&self) -> usize {
        match self {
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Timestamp(_)
            | Value::Counter(_) => 8,
            Value::Str(text) | Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::List(values) => values.iter().map(Value::json_bytes).sum(),
            Value::Map(fields) => {
                fields.iter().map(|(name, value)| name.len() + value.json_bytes()).sum()
            }
        }
    }

    /// The value as JSON: a counter is an integer, a text a string, bytes are a base64 string, a
    /// timestamp is an RFC 3339 string in UTC with milliseconds (an integer where the year leaves
    /// what RFC 3339 can write), and a float that is not finite is null.
    #[must_use]
    pub fn into_json(self) -> serde_json::Value {
        match self {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => b.into(),
            Value::Int(n) | Value::Counter(n) => n.into(),
            Value::Float(n) => n.into(),
            Value::Str(s) | Value::Text(s) => s.into(),
            Value::Bytes(b) => BASE64.encode(&b).into(),
            Value::Timestamp(ms) => timestamp_to_text(ms).map_or(ms.into(), Into::into),
            Value::List(values) => values.into_iter().map(Value::into_json).collect(),
            Value::Map(fields) => serde_json::Value::Object(
                fields.into_iter().map(|(name, value)| (name, value.into_json())).collect(),
            ),
        }
    }

    /// As [`Value::into_json`], of a value that is still needed.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.clone().into_json()
    }

    /// What the value is, in the words of the kinds of fields.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Int(_) => "integer",
            Value::Float(_) => "float",
            Value::Str(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Timestamp(_) => "timestamp",
            Value::Counter(_) => "counter",
            Value::Text(_) => "text",
            Value::List(_) => "list",
            Value::Map(_) => "map",
        }
    }
}

/// Floats are equal if their bits are, so that a record that holds NaN is equal to itself, and 0 is
/// not -0.
impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b))
            | (Value::Timestamp(a), Value::Timestamp(b))
            | (Value::Counter(a), Value::Counter(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Str(a), Value::Str(b)) | (Value::Text(a), Value::Text(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => a == b,
            (Value::Map(a), Value::Map(b)) => a == b,
            (
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Str(_)
                | Value::Bytes(_)
                | Value::Timestamp(_)
                | Value::Counter(_)
                | Value::Text(_)
                | Value::List(_)
                | Value::Map(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Value {}

fn timestamp_to_text(ms: i64) -> Option<String> {
    let timestamp = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(format!("{timestamp:.3}"))
}

/// Reads an RFC 3339 timestamp as milliseconds since 1970; finer digits are cut off.
pub(crate) fn timestamp_from_text(text: &str) -> Option<i64> {
    let timestamp: jiff::Timestamp = text.parse().ok()?;
    Some(timestamp.as_millisecond())
}

/// Whether `text` is a decimal: `-?digits(.digits)?` with at most 38 digits.
pub(crate) fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        None => (unsigned, None),
        Some((whole, fraction)) => (whole, Some(fraction)),
    };
    let is_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    is_digits(whole)
        && fraction.is_none_or(is_digits)
        && whole.len() + fraction.map_or(0, str::len) <= super::limits::DECIMAL_DIGITS_MAX
}

/// Whether `text` is a decimal as a person writes a number: without zeros before it, which a code has and no number.
#[must_use]
pub fn is_plain_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = unsigned.split('.').next().unwrap_or_default();
    let has_leading_zero = whole.len() > 1 && whole.starts_with('0');
    !has_leading_zero && is_decimal(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_has_one_form_for_each_kind() {
        let cases = [
            (Value::Counter(7), json!(7)),
            (Value::Text("t".into()), json!("t")),
            (Value::Bytes(vec![1, 2, 3, 4]), json!("AQIDBA==")),
            (Value::Timestamp(0), json!("1970-01-01T00:00:00.000Z")),
            (Value::Timestamp(-1), json!("1969-12-31T23:59:59.999Z")),
            (Value::Timestamp(i64::MAX), json!(i64::MAX)),
            (Value::Float(f64::NAN), json!(null)),
            (Value::Float(1.5), json!(1.5)),
            (Value::List(vec![Value::Null]), json!([null])),
        ];
        for (value, json) in cases {
            assert_eq!(value.to_json(), json, "{value:?}");
        }
    }

    #[test]
    fn every_value_is_equal_to_itself() {
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::Int(0), Value::Counter(0));
    }

    #[test]
    fn timestamps_keep_their_milliseconds() {
        assert_eq!(timestamp_from_text("1970-01-01T00:00:00.123Z"), Some(123));
        assert_eq!(timestamp_from_text("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(timestamp_from_text("1970-01-01"), None);
    }

    #[test]
    fn decimals_follow_their_grammar() {
        for good in ["0", "-12.50", "007", &"9".repeat(38)] {
            assert!(is_decimal(good), "{good}");
        }
        for bad in ["", "-", "1.", ".5", "1e3", "+1", "1.2.3", "١", &"9".repeat(39)] {
            assert!(!is_decimal(bad), "{bad}");
        }
    }
}
