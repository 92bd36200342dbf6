//! The order of a list, and places in it.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::error::{QueryError, QueryFault, QueryPart};
use super::parser::{self, Listed};
use super::unseen::Unseen;
use crate::format::codec;
use crate::record::Field;
use crate::record::KEY_STRING_BYTES;
use crate::record::{Kind, NamedValues, Schema};

/// By what a list is ordered: fields, then the record id. Without fields it is ordered by id alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Order {
    pub(super) fields: Vec<OrderField>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct OrderField {
    pub(super) field: Field,
    /// Where its name stands in the text.
    pub(super) offset: usize,
    pub(super) is_descending: bool,
}

impl Order {
    /// Reads fields separated by commas; a minus before one turns it around.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong, and where.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, QueryError> {
        let fields = parser::fields(QueryPart::Order, text, schema)?;
        for Listed { field, offset, .. } in &fields {
            if let Some(kind @ (Kind::List | Kind::Map)) = field.kind {
                let of = format!("{:?}, which is declared as {kind}", field.path);
                let fault = QueryFault::Test { test: "an order", of };
                return Err(QueryError { part: QueryPart::Order, offset: *offset, fault });
            }
        }
        let of = |Listed { field, offset, has_minus }| OrderField {
            field,
            offset,
            is_descending: has_minus,
        };
        Ok(Self { fields: fields.into_iter().map(of).collect() })
    }

    /// Demands fields that somebody knows: in the order of unknown ones nothing could be found.
    pub(super) fn require_known(&self, unseen: &Unseen<'_>) -> Result<(), QueryError> {
        let unseen = unseen.paths();
        match self.fields.iter().find(|field| unseen.contains(field.field.path.as_str())) {
            Some(OrderField { field, offset, .. }) => {
                let fault = QueryFault::UnknownField { path: field.path.clone() };
                Err(QueryError { part: QueryPart::Order, offset: *offset, fault })
            }
            None => Ok(()),
        }
    }

    /// Makes `key` bytes that sort as the order says.
    pub(super) fn key(&self, fields: &impl NamedValues, key: &mut Vec<u8>) {
        key.clear();
        for OrderField { field, is_descending, .. } in &self.fields {
            let begin = key.len();
            field.scalar(fields).encode(KEY_STRING_BYTES, key);
            if *is_descending {
                turn(begin, key);
            }
        }
    }
}

/// Turns the order of the encoded value around that begins there.
pub(super) fn turn(begin: usize, key: &mut Vec<u8>) {
    key[begin..].iter_mut().for_each(|byte| *byte = !*byte);
    // A string is less than one that goes on with a zero byte: turned around, it has to be greater.
    key.push(u8::MAX);
}

/// The encoded value that was turned around.
pub(super) fn turned_back(key: &[u8]) -> Vec<u8> {
    let value = key.strip_suffix(&[u8::MAX]).unwrap_or(key);
    value.iter().map(|byte| !byte).collect()
}

/// A place in the list that a query gives: behind a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryCursor {
    /// Tells queries apart: see [`super::Query`].
    pub(super) query: [u8; 8],
    /// The record's sort key.
    #[serde(with = "serde_bytes")]
    pub(super) key: Vec<u8>,
    /// Its id.
    pub(super) id: String,
}

/// A text that is no place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongCursor {
    /// It is no cursor at all.
    #[error("this is not a cursor: use the one that the previous page ended with, unchanged")]
    Malformed,
    /// It is one of another query.
    #[error(
        "the cursor belongs to another query: collection, filter and order must be those of the page that it came with"
    )]
    OfAnotherQuery,
}

impl QueryCursor {
    /// Behind the record of that id, in a list by id.
    #[must_use]
    pub fn behind(id: String) -> Self {
        Self { query: [0; 8], key: Vec::new(), id }
    }

    /// The record's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The cursor as text for [`QueryCursor::from_text`].
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&codec::encode(self))
    }

    /// Reads a cursor.
    ///
    /// # Errors
    /// [`WrongCursor::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, WrongCursor> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| WrongCursor::Malformed)?;
        codec::decode("cursor", &bytes).map_err(|_| WrongCursor::Malformed)
    }
}
