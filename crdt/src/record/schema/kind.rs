//! The kinds that a schema gives to fields.

use std::fmt;
use std::str::FromStr;

use crate::record::datetime::is_datetime;
use crate::record::value::{Value, is_decimal};

/// The kind of a field. The text forms are stored in schemas and must stay stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A string, replaced as a whole.
    String,
    /// A whole number, replaced as a whole.
    Integer,
    /// A floating-point number.
    Float,
    /// True or false.
    Boolean,
    /// A point in time with milliseconds.
    Timestamp,
    /// Bytes, replaced as a whole.
    Bytes,
    /// An exact decimal number, kept as text.
    Decimal,
    /// A time to the nanosecond, in UTC or without a zone, kept as text ([`crate::record::Datetime`]).
    Datetime,
    /// A number to which concurrent increments add up.
    Counter,
    /// A text in which concurrent edits merge.
    Text,
    /// A list in which concurrent edits merge.
    List,
    /// Named fields that merge one by one.
    Map,
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no kind of field; this version knows string, integer, float, boolean, timestamp, \
     bytes, decimal, datetime, counter, text, list, map"
)]
pub struct UnknownKind {
    /// What stood in a kind's place.
    pub found: String,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::String,
        Self::Integer,
        Self::Float,
        Self::Boolean,
        Self::Timestamp,
        Self::Bytes,
        Self::Decimal,
        Self::Datetime,
        Self::Counter,
        Self::Text,
        Self::List,
        Self::Map,
    ];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Bytes => "bytes",
            Self::Decimal => "decimal",
            Self::Datetime => "datetime",
            Self::Counter => "counter",
            Self::Text => "text",
            Self::List => "list",
            Self::Map => "map",
        }
    }

    /// Whether `value` is of this kind. Null is of every kind that is replaced as a whole.
    #[must_use]
    pub fn accepts(self, value: &Value) -> bool {
        let is_such = match self {
            Self::String => matches!(value, Value::Str(_)),
            Self::Integer => matches!(value, Value::Int(_)),
            Self::Float => matches!(value, Value::Float(_)),
            Self::Boolean => matches!(value, Value::Bool(_)),
            Self::Timestamp => matches!(value, Value::Timestamp(_)),
            Self::Bytes => matches!(value, Value::Bytes(_)),
            Self::Decimal => matches!(value, Value::Str(text) if is_decimal(text)),
            Self::Datetime => matches!(value, Value::Str(text) if is_datetime(text)),
            Self::Counter => matches!(value, Value::Counter(_)),
            Self::Text => matches!(value, Value::Text(_)),
            Self::List => matches!(value, Value::List(_)),
            Self::Map => matches!(value, Value::Map(_)),
        };
        is_such || (*value == Value::Null && self.is_register())
    }

    /// Whether a field of this kind is replaced as a whole (as opposed to one that merges).
    #[must_use]
    pub fn is_register(self) -> bool {
        match self {
            Self::String
            | Self::Integer
            | Self::Float
            | Self::Boolean
            | Self::Timestamp
            | Self::Bytes
            | Self::Decimal
            | Self::Datetime => true,
            Self::Counter | Self::Text | Self::List | Self::Map => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownKind { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_are_read_back() {
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "number".parse::<Kind>().map_err(|e| e.to_string());
        assert!(error.is_err_and(|text| text.contains("\"number\"") && text.contains("decimal")));
    }
}
