//! Why a value does not cross.

use serde::{Deserialize, Serialize};

use crate::sql::cell::{Cell, hex_of};
use crate::sql::value::Value;

/// How much of a value is shown.
const SHOWN_CHARACTERS: usize = 200;

/// A value that a column or a field cannot keep as it is: the row is set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{column} is {found}, expected {expected}")]
pub struct Misfit {
    /// The column, or `record id`.
    pub column: String,
    /// What was found, at most 200 characters of it.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

/// What a misfit shows.
pub(super) trait Shown {
    fn shown(&self) -> String;
}

impl Shown for &Cell {
    fn shown(&self) -> String {
        match self {
            Cell::Null => "NULL".to_owned(),
            Cell::Integer(number) => number.to_string(),
            Cell::Real(number) => format!("{number:?}"),
            Cell::Text(text) => (&text[..]).shown(),
            Cell::Bytes(bytes) => bytes_shown(bytes),
        }
    }
}

impl Shown for &Value {
    fn shown(&self) -> String {
        match self {
            Value::Null => "NULL".to_owned(),
            Value::Str(text) | Value::Text(text) => (&text[..]).shown(),
            Value::Bytes(bytes) => bytes_shown(bytes),
            Value::Float(number) => format!("{number:?}"),
            other => other.to_json().to_string(),
        }
    }
}

impl Shown for &str {
    fn shown(&self) -> String {
        // The rest of a long text need not be escaped only to be cut off.
        let beginning: String = self.chars().take(SHOWN_CHARACTERS + 1).collect();
        format!("{beginning:?}")
    }
}

fn bytes_shown(bytes: &[u8]) -> String {
    let beginning = bytes.get(..SHOWN_CHARACTERS).unwrap_or(bytes);
    format!("{} bytes (hex {})", bytes.len(), hex_of(beginning))
}

/// At most 200 characters of a text.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
