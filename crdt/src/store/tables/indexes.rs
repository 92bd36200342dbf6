//! Rows of indexes: the records of a collection by the value of one field.
//!
//! Behind its collection and field, the key of an index row has the value in the form of [`crate::record::Scalar::encode`], which sorts
//! as the values do, and the record id. Every record that is not deleted has one row, also where it lacks the field.

use serde::{Deserialize, Serialize};

use super::records::{RecordKey, collection_prefix, record_of_key};
use super::{ReadTables, decode_row, row, walk};
use crate::ids::SpaceId;
use crate::record::{Field, KEY_STRING_BYTES, encoded_len};
use crate::record::{Fields, Kind, NamedValues};
use crate::store::StoreError;

/// An index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexRow {
    /// The kind by which values are read; its text form.
    kind: Option<String>,
    /// How far it is built.
    pub state: IndexState,
}

/// How far an index is built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IndexState {
    /// It has the rows up to this one, and whatever was written since it was declared.
    Building {
        /// What follows [`entries`] in the row's key; `None`: it has just been declared.
        #[serde(with = "serde_bytes")]
        after: Option<Vec<u8>>,
        /// How many rows that are.
        records: u64,
    },
    /// It has all records.
    Ready,
    /// It is no longer declared, and its rows are being removed.
    Dropping,
}

impl IndexRow {
    /// An index of a field.
    #[must_use]
    pub fn new(field: &Field, state: IndexState) -> Self {
        Self { kind: field.kind.map(|kind| kind.as_str().to_owned()), state }
    }

    /// The kind by which values are read.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        self.kind.as_deref()?.parse().ok()
    }
}

/// The indexes of a collection that have all records, by field.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn ready(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
) -> Result<Vec<Field>, StoreError> {
    let prefix = of_collection(space, collection);
    let mut ready = Vec::new();
    walk(tables, &prefix, None, |key, value| {
        let row: IndexRow = decode_row("index row", value)?;
        if row.state == IndexState::Ready {
            let path = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            ready.push(Field { path, kind: row.kind() });
        }
        Ok(true)
    })?;
    Ok(ready)
}

/// Whether an index has all records.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn is_ready(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    field: &Field,
) -> Result<bool, StoreError> {
    let found: Option<IndexRow> = row(tables, "index row", &index(space, collection, &field.path))?;
    Ok(found.is_some_and(|row| row.state == IndexState::Ready && row.kind() == field.kind))
}

/// Key of an [`IndexRow`].
pub fn index(space: SpaceId, collection: &str, path: &str) -> Vec<u8> {
    let mut key = of_collection(space, collection);
    key.extend_from_slice(path.as_bytes());
    key
}

/// What the index rows of a collection begin with.
fn of_collection(space: SpaceId, collection: &str) -> Vec<u8> {
    collection_prefix(b'j', space, collection)
}

/// What all keys of [`IndexRow`]s begin with.
pub const ALL: &[u8] = b"j";

/// The space, the collection and the field in the key of an [`IndexRow`].
pub fn index_of_key(key: &[u8]) -> Option<(SpaceId, String, String)> {
    // It has the form of a record's key.
    let RecordKey { space, collection, id } = record_of_key(key)?;
    Some((space, collection, id))
}

/// What the keys of an index begin with.
pub fn entries(space: SpaceId, collection: &str, path: &str) -> Vec<u8> {
    let mut key = collection_prefix(b'i', space, collection);
    key.extend_from_slice(path.as_bytes());
    key.push(0);
    key
}

/// Key of a record's row in an index.
pub fn entry(
    space: SpaceId,
    collection: &str,
    field: &Field,
    id: &str,
    fields: &Fields,
) -> Vec<u8> {
    [entries(space, collection, &field.path), entry_rest(field, id, fields)].concat()
}

/// What follows [`entries`] in the key of a record's row.
pub fn entry_rest(field: &Field, id: &str, fields: &impl NamedValues) -> Vec<u8> {
    let mut rest = Vec::new();
    field.scalar(fields).encode(KEY_STRING_BYTES, &mut rest);
    rest.extend_from_slice(id.as_bytes());
    rest
}

/// Splits what follows [`entries`] in a key into the value's part and the record id.
pub fn split_entry(rest: &[u8]) -> Option<(&[u8], &str)> {
    let (value, id) = rest.split_at_checked(encoded_len(rest)?)?;
    Some((value, std::str::from_utf8(id).ok()?))
}
