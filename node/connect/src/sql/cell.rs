//! Values and rows as databases hand them out.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// One value of a row. Servers give every value but blobs as text, so that none passes through a float or a driver's
/// idea of a type; SQLite, where each value has a class of its own, gives that class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// NULL.
    Null,
    /// SQLite's INTEGER.
    Integer(i64),
    /// SQLite's REAL.
    Real(f64),
    /// Text, or a server's text form of any other type.
    Text(String),
    /// A blob, or text of SQLite that is not UTF-8.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
}

impl Cell {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 8,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

/// A row: the cells of a [`Bound`](super::shape::Bound) table's columns, in their order.
pub type Row = Vec<Cell>;

/// The values of a row's key columns, in the key's order, each in the text form that the database itself gives it
/// (`CAST(… AS text)`, `CAST(… AS CHAR)`); of blobs the hex digits, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key(pub Vec<String>);

impl Key {
    /// The key as one text, as notes and the bridge's state hold it: of one column its text, of several a JSON array.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.0[..] {
            [one] => one.clone(),
            several => serde_json::to_string(several).unwrap_or_default(),
        }
    }

    /// Reads [`Key::to_text`] back. `columns`: how many the key has. `None`: it is no such text. Numbers of an array are
    /// taken by their digits.
    #[must_use]
    pub fn from_text(text: &str, columns: usize) -> Option<Self> {
        if columns == 1 {
            return Some(Self(vec![text.to_owned()]));
        }
        let values: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
        let value = |value| match value {
            serde_json::Value::String(text) => Some(text),
            serde_json::Value::Number(number) => Some(number.to_string()),
            serde_json::Value::Bool(_)
            | serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        };
        let values: Vec<String> = values.into_iter().map(value).collect::<Option<_>>()?;
        (values.len() == columns).then_some(Self(values))
    }
}

/// The hex digits of a blob, as [`Key`] has them.
#[must_use]
pub fn hex_of(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_from_their_text() {
        for key in [vec!["42"], vec!["a-b"], vec!["north", "7"], vec!["[\"", "\\"]] {
            let key = Key(key.into_iter().map(str::to_owned).collect());
            assert_eq!(Key::from_text(&key.to_text(), key.0.len()), Some(key));
        }
        assert_eq!(Key::from_text("[\"a\", 7]", 2), Some(Key(vec!["a".into(), "7".into()])));
        assert_eq!(Key::from_text("[\"a\"]", 2), None);
        assert_eq!(Key::from_text("[\"a\", null]", 2), None);
    }
}
