//! What a field holds.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use serde::{Deserialize, Serialize};

use super::limits::JSON_RESERVED;
use super::view::Fields;

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
    /// A string that is replaced as a whole. Decimals and datetimes are kept as such strings.
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
    List(Vec<Self>),
    /// Named values.
    Map(BTreeMap<String, Self>),
}

impl Value {
    /// About how many bytes it takes as JSON.
    pub(crate) fn json_bytes(&self) -> usize {
        ValueRef::from(self).json_bytes()
    }

    /// The value as JSON: a counter is an integer, a text a string, bytes are a base64 string, a
    /// timestamp is an RFC 3339 string in UTC with milliseconds (an integer where the year leaves
    /// what RFC 3339 can write), and a float that is not finite is null.
    #[must_use]
    pub fn into_json(self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(b) => b.into(),
            Self::Int(n) | Self::Counter(n) => n.into(),
            Self::Float(n) => n.into(),
            Self::Str(s) | Self::Text(s) => s.into(),
            Self::Bytes(b) => BASE64.encode(&b).into(),
            Self::Timestamp(ms) => timestamp_to_text(ms).map_or(ms.into(), Into::into),
            Self::List(values) => values.into_iter().map(Self::into_json).collect(),
            Self::Map(fields) => serde_json::Value::Object(fields_into_json(fields)),
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
        ValueRef::from(self).kind_name()
    }
}

/// A value that is borrowed: from a [`Value`], or as a plain one from what is stored of a record.
#[derive(Debug, Clone, Copy)]
pub enum ValueRef<'a> {
    /// [`Value::Null`].
    Null,
    /// [`Value::Bool`].
    Bool(bool),
    /// [`Value::Int`].
    Int(i64),
    /// [`Value::Float`].
    Float(f64),
    /// [`Value::Str`].
    Str(&'a str),
    /// [`Value::Bytes`].
    Bytes(&'a [u8]),
    /// [`Value::Timestamp`].
    Timestamp(i64),
    /// [`Value::Counter`].
    Counter(i64),
    /// [`Value::Text`].
    Text(&'a str),
    /// [`Value::List`].
    List(&'a [Value]),
    /// [`Value::Map`].
    Map(&'a BTreeMap<String, Value>),
}

impl<'a> From<&'a Value> for ValueRef<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => ValueRef::Null,
            Value::Bool(b) => ValueRef::Bool(*b),
            Value::Int(n) => ValueRef::Int(*n),
            Value::Float(n) => ValueRef::Float(*n),
            Value::Str(text) => ValueRef::Str(text),
            Value::Bytes(bytes) => ValueRef::Bytes(bytes),
            Value::Timestamp(ms) => ValueRef::Timestamp(*ms),
            Value::Counter(n) => ValueRef::Counter(*n),
            Value::Text(text) => ValueRef::Text(text),
            Value::List(values) => ValueRef::List(values),
            Value::Map(fields) => ValueRef::Map(fields),
        }
    }
}

impl ValueRef<'_> {
    /// The value, for those who keep it.
    #[must_use]
    pub fn to_value(self) -> Value {
        match self {
            ValueRef::Null => Value::Null,
            ValueRef::Bool(b) => Value::Bool(b),
            ValueRef::Int(n) => Value::Int(n),
            ValueRef::Float(n) => Value::Float(n),
            ValueRef::Str(text) => Value::Str(text.to_owned()),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            ValueRef::Timestamp(ms) => Value::Timestamp(ms),
            ValueRef::Counter(n) => Value::Counter(n),
            ValueRef::Text(text) => Value::Text(text.to_owned()),
            ValueRef::List(values) => Value::List(values.to_vec()),
            ValueRef::Map(fields) => Value::Map(fields.clone()),
        }
    }

    /// What the value is, in the words of the kinds of fields.
    #[must_use]
    pub fn kind_name(self) -> &'static str {
        match self {
            ValueRef::Null => "null",
            ValueRef::Bool(_) => "boolean",
            ValueRef::Int(_) => "integer",
            ValueRef::Float(_) => "float",
            ValueRef::Str(_) => "string",
            ValueRef::Bytes(_) => "bytes",
            ValueRef::Timestamp(_) => "timestamp",
            ValueRef::Counter(_) => "counter",
            ValueRef::Text(_) => "text",
            ValueRef::List(_) => "list",
            ValueRef::Map(_) => "map",
        }
    }

    /// About how many bytes it takes as JSON.
    pub(crate) fn json_bytes(self) -> usize {
        match self {
            ValueRef::Null
            | ValueRef::Bool(_)
            | ValueRef::Int(_)
            | ValueRef::Float(_)
            | ValueRef::Timestamp(_)
            | ValueRef::Counter(_) => 8,
            ValueRef::Str(text) | ValueRef::Text(text) => text.len(),
            ValueRef::Bytes(bytes) => bytes.len(),
            ValueRef::List(values) => values.iter().map(Value::json_bytes).sum(),
            ValueRef::Map(fields) => {
                fields.iter().map(|(name, value)| name.len() + value.json_bytes()).sum()
            }
        }
    }
}

/// Named values as JSON.
#[must_use]
pub fn fields_into_json(fields: Fields) -> serde_json::Map<String, serde_json::Value> {
    let field = |(name, value): (String, Value)| {
        // No user can write such a name, but another program may, and a page with it could not be read any more.
        let name = if name.starts_with(JSON_RESERVED) { format!("_{name}") } else { name };
        (name, value.into_json())
    };
    fields.into_iter().map(field).collect()
}

/// Floats are equal if their bits are, so that a record that holds NaN is equal to itself, and 0 is
/// not -0.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Counter(a), Self::Counter(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Str(a), Self::Str(b)) | (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (
                Self::Null
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Float(_)
                | Self::Str(_)
                | Self::Bytes(_)
                | Self::Timestamp(_)
                | Self::Counter(_)
                | Self::Text(_)
                | Self::List(_)
                | Self::Map(_),
                _,
            ) => false,
        }
    }
}

impl Eq for Value {}

/// Where timestamps and datetimes begin to count.
pub(super) const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The RFC 3339 text of ms since 1970, in UTC; `None` outside of the years that it can write.
fn timestamp_to_text(ms: i64) -> Option<String> {
    let moment = EPOCH.checked_add(SignedDuration::from_millis(ms)).ok()?;
    Some(format!("{moment:.3}Z"))
}

/// Reads an RFC 3339 timestamp, with any offset, as milliseconds since 1970; finer digits are cut off.
pub(crate) fn timestamp_from_text(text: &str) -> Option<i64> {
    // A leap second would become the second before it.
    if text.contains(":60") {
        return None;
    }
    // Not as a `jiff::Timestamp`, whose last one is 9999-12-30T22:00:00Z.
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let local = pieces.date().to_datetime(pieces.time()?).duration_since(EPOCH);
    let since = local.checked_sub(SignedDuration::from_secs(offset.seconds().into()))?;
    i64::try_from(since.as_nanos().div_euclid(1_000_000)).ok()
}

/// Whether `text` is a decimal: `-?digits(.digits)?` with at most 38 digits.
pub(crate) fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let (whole, fraction) = match unsigned.iter().position(|byte| *byte == b'.') {
        None => (unsigned, None),
        Some(point) => (&unsigned[..point], Some(&unsigned[point + 1..])),
    };
    let is_digits = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_digits(whole)
        && fraction.is_none_or(is_digits)
        && whole.len() + fraction.map_or(0, <[u8]>::len) <= super::limits::DECIMAL_DIGITS_MAX
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
    fn no_name_of_a_field_makes_a_record_unreadable() {
        let name = "$serde_json::private::Number".to_owned();
        let inner = BTreeMap::from([(name.clone(), Value::Str("x".to_owned()))]);
        let json = Value::Map(BTreeMap::from([(name, Value::Map(inner))])).to_json();
        let read = serde_json::from_str::<serde_json::Value>(&json.to_string());
        assert_eq!(read.ok(), Some(json));
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
        assert_eq!(timestamp_from_text("1969-12-31T23:59:59.9999Z"), Some(-1));
        for text in
            ["1970-01-01", "1970-01-01T00:00:00", "12:00Z", "", "Z", "1970-01-01T00:00:00Zx"]
        {
            assert_eq!(timestamp_from_text(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_and_the_first_years_are_timestamps_with_any_offset() {
        const LAST: i64 = 253_402_300_799_000;
        for (text, expected) in [
            ("9999-12-31T23:59:59Z", LAST),
            ("9999-12-31T23:59:59.999Z", LAST + 999),
            ("9999-12-31T23:59:59+14:00", LAST - 14 * 3_600_000),
            ("9999-12-31T23:59:59-12:00", LAST + 12 * 3_600_000),
            ("9999-12-30T22:00:01Z", LAST - 25 * 3_600_000 - 3_598_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000),
            ("0000-01-01T00:00:00+23:59", -62_167_219_200_000 - 86_340_000),
        ] {
            let ms = timestamp_from_text(text);
            assert_eq!(ms, Some(expected), "{text}");
            // What is shown reads as the same moment.
            let shown = Value::Timestamp(expected).to_json();
            let read = shown.as_str().map_or(shown.as_i64(), timestamp_from_text);
            assert_eq!(read, ms, "{text} is shown as {shown}");
        }
        assert_eq!(Value::Timestamp(LAST).to_json(), json!("9999-12-31T23:59:59.000Z"));
        // No year of RFC 3339.
        assert_eq!(Value::Timestamp(LAST + 1000).to_json(), json!(LAST + 1000));
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
