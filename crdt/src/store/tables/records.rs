//! Rows of records: what is live of them and where their changes are, collections, conflicts, origins.

use serde::{Deserialize, Serialize};

use crate::format::codec;
use crate::format::digest::Digest;
use crate::format::skim::Skim;
use crate::ids::{SiteId, SpaceId};
use crate::log::entry::Origin;
use crate::record::{Document, FieldNames, SomeFields, View};
use crate::store::StoreError;

/// The address of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// Its space.
    pub space: SpaceId,
    /// Its collection.
    pub collection: String,
    /// Its id within the collection.
    pub id: String,
}

/// What a collection holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionRow {
    /// Records that are not deleted.
    pub live: u64,
    /// Deleted records.
    pub deleted: u64,
    /// Sum over the records.
    pub digest: Digest,
}

impl CollectionRow {
    /// Counts a record as one that is deleted, or not, that was counted otherwise perhaps.
    pub(crate) fn move_one(&mut self, was_deleted: bool, is_deleted: bool) {
        let before = if was_deleted { &mut self.deleted } else { &mut self.live };
        *before = before.saturating_sub(1);
        *(if is_deleted { &mut self.deleted } else { &mut self.live }) += 1;
    }
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordRow<'a> {
    /// Where its changes are.
    pub changes: Changes,
    /// What is live of it: [`crate::record::Document::save`].
    #[serde(borrow, with = "serde_bytes")]
    pub live: &'a [u8],
    /// Of an event with more than one change: what is live of it without those that build on others, which are not
    /// shown.
    #[serde(borrow, with = "serde_bytes")]
    pub first: Option<&'a [u8]>,
}

/// An event that somebody changed after it was written; the changes are kept and not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlteredRow {
    /// How many such changes it has.
    pub count: u64,
    /// Where the first of them is, as this site took them in.
    pub first: ChangeAt,
}

impl<'a> RecordRow<'a> {
    /// Reads a row. One that does not decode means broken tables.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn decode(value: &'a [u8]) -> Result<Self, StoreError> {
        codec::decode("record row", value).map_err(broken)
    }

    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_sized(
            self,
            CHANGES_BYTES + self.live.len() + self.first.map_or(0, <[u8]>::len),
        )
    }

    /// What is live of the record, by all its changes.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn document(&self) -> Result<Document, StoreError> {
        Document::load(self.live).map_err(broken)
    }

    /// The record as it is read.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn view(&self) -> Result<View, StoreError> {
        self.shown().view()
    }

    /// The record by all its changes, also where an event is shown without some.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn whole_view(&self) -> Result<View, StoreError> {
        View::of_saved(self.live).map_err(broken)
    }

    /// See [`ShownRow::fields`].
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn fields(&self, names: &'a FieldNames<'a>) -> Result<Option<SomeFields<'a>>, StoreError> {
        self.shown().fields(names)
    }

    fn shown(&self) -> ShownRow<'a> {
        ShownRow { shown: self.first.unwrap_or(self.live) }
    }
}

/// What a record's row shows, for those who do not ask where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct ShownRow<'a> {
    shown: &'a [u8],
}

impl<'a> ShownRow<'a> {
    /// Reads a [`RecordRow`]. One that does not decode means broken tables.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn read(value: &'a [u8]) -> Result<Self, StoreError> {
        match Self::skim(value) {
            Some(row) => Ok(row),
            // Which says what is wrong.
            None => RecordRow::decode(value).map(|row| row.shown()),
        }
    }

    /// Passes over what is in [`Changes`].
    fn skim(value: &'a [u8]) -> Option<Self> {
        let mut skim = Skim::new(value);
        let _rows = skim.u32()?;
        skim.each(|skim| {
            let (_position, _index) = (skim.u64()?, skim.u32()?);
            Some(())
        })?;
        let live = skim.bytes()?;
        let first = if skim.bool()? { Some(skim.bytes()?) } else { None };
        skim.end()?;
        Some(Self { shown: first.unwrap_or(live) })
    }

    /// The record as it is read.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn view(&self) -> Result<View, StoreError> {
        View::of_saved(self.shown).map_err(broken)
    }

    /// The fields of those names alone, where they lie; `None` if the record is deleted.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where the row is damaged: rebuild the tables.
    pub fn fields(&self, names: &'a FieldNames<'a>) -> Result<Option<SomeFields<'a>>, StoreError> {
        View::some_of_saved(self.shown, names).map_err(broken)
    }
}

/// Room for where most records' changes are, and for lengths.
const CHANGES_BYTES: usize = 32;

fn broken(error: impl ToString) -> StoreError {
    StoreError::Tables { reason: error.to_string() }
}

/// Where a record's changes are, in the order in which they were applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The number of rows of [`CHANGES_IN_ROW`] changes each ([`RecordKey::changes`]) that come first.
    pub rows: u32,
    /// The rest.
    pub last: Vec<ChangeAt>,
}

/// The changes that one row names: a record's own row, which is written with each of its changes, names fewer.
pub const CHANGES_IN_ROW: usize = 32;

/// Where a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeAt {
    /// The journal frame of its entry.
    pub position: u64,
    /// Its place among the entry's changes, from 0.
    pub index: u32,
}

impl Changes {
    /// How many there are.
    pub fn count(&self) -> usize {
        CHANGES_IN_ROW * self.rows as usize + self.last.len()
    }

    /// Adds a change. The rows that are full by now are for `full`, with their numbers.
    pub fn push(&mut self, at: ChangeAt, mut full: impl FnMut(u32, &[ChangeAt])) {
        self.last.push(at);
        if self.last.len() >= CHANGES_IN_ROW {
            full(self.rows, &self.last);
            self.rows += 1;
            self.last.clear();
        }
    }
}

impl RecordKey {
    /// Key of the [`RecordRow`].
    pub fn record(&self) -> Vec<u8> {
        self.key(b'd')
    }

    /// Key of a row of places of changes.
    pub fn changes(&self, number: u32) -> Vec<u8> {
        let mut key = self.key(b'h');
        key.extend_from_slice(&number.to_be_bytes());
        key
    }

    /// Key of the row that marks conflicts.
    pub fn conflict(&self) -> Vec<u8> {
        self.key(b'x')
    }

    /// Key of the row that marks edits that a deletion hides.
    pub fn hidden(&self) -> Vec<u8> {
        self.key(b'y')
    }

    /// Key of the [`AlteredRow`].
    pub fn altered(&self) -> Vec<u8> {
        self.key(b'k')
    }

    /// Key of the row that tells why a record cannot be read.
    pub fn unreadable(&self) -> Vec<u8> {
        self.key(b'u')
    }

    fn key(&self, kind: u8) -> Vec<u8> {
        let mut key = collection_prefix(kind, self.space, &self.collection);
        key.extend_from_slice(self.id.as_bytes());
        key
    }
}

/// What the record rows of all spaces begin with.
pub const ALL: &[u8] = b"d";
/// What the rows of the collections of all spaces begin with.
pub const ALL_COLLECTIONS: &[u8] = b"c";

/// What the record rows of a collection begin with.
pub fn records(space: SpaceId, collection: &str) -> Vec<u8> {
    collection_prefix(b'd', space, collection)
}

/// What the record rows of a space begin with.
pub fn records_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'd', space)
}

/// What the conflict marks of a space begin with.
pub fn conflicts_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'x', space)
}

/// What the marks of hidden edits of a space begin with.
pub fn hidden_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'y', space)
}

/// What the rows of the altered events of a space begin with.
pub fn altered_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'k', space)
}

/// What the rows of the altered events of a collection begin with.
pub fn altered(space: SpaceId, collection: &str) -> Vec<u8> {
    collection_prefix(b'k', space, collection)
}

/// What the marks of unreadable records of a space begin with.
pub fn unreadable_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'u', space)
}

/// Key of a [`CollectionRow`].
pub fn collection(space: SpaceId, name: &str) -> Vec<u8> {
    let mut key = space_prefix(b'c', space);
    key.extend_from_slice(name.as_bytes());
    key
}

/// What the rows of a space's collections begin with.
pub fn collections(space: SpaceId) -> Vec<u8> {
    space_prefix(b'c', space)
}

/// The name in a collection row's key.
pub fn collection_of_key(key: &[u8]) -> Option<String> {
    String::from_utf8(key.get(17..)?.to_vec()).ok()
}

/// The space in a row's key.
pub fn space_of_key(key: &[u8]) -> Option<SpaceId> {
    Some(SpaceId(key.get(1..17)?.try_into().ok()?))
}

/// The record in the key of a record, altered, conflict, hidden or unreadable row.
pub fn record_of_key(key: &[u8]) -> Option<RecordKey> {
    let space = space_of_key(key)?;
    let rest = key.get(17..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let collection = String::from_utf8(rest[..end].to_vec()).ok()?;
    let id = String::from_utf8(rest[end + 1..].to_vec()).ok()?;
    Some(RecordKey { space, collection, id })
}

/// Key of the row that tells in which entry of a site an origin is. Each site has its own: what another one writes under
/// an origin, by chance or on purpose, is no repeat of what this one writes. But what became of a document that another
/// program edited ([`Origin::is_of_document`]) holds for all sites.
pub fn origin(space: SpaceId, site: SiteId, origin: &Origin) -> Vec<u8> {
    let mut key = if origin.is_of_document() {
        space_prefix(b'm', space)
    } else {
        let mut key = space_prefix(b'o', space);
        key.extend_from_slice(&site.0);
        key
    };
    key.extend_from_slice(&origin.number.to_be_bytes());
    key.extend_from_slice(origin.source.as_bytes());
    key
}

/// Room for most keys, so that they are not moved while they are put together.
const KEY_BYTES: usize = 64;

pub(super) fn space_prefix(kind: u8, space: SpaceId) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    key.push(kind);
    key.extend_from_slice(&space.0);
    key
}

pub(super) fn collection_prefix(kind: u8, space: SpaceId, collection: &str) -> Vec<u8> {
    let mut key = space_prefix(kind, space);
    key.extend_from_slice(collection.as_bytes());
    key.push(0);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_from_its_keys() {
        let (collection, id) = ("products".to_owned(), "tea/0 ü".to_owned());
        let key = RecordKey { space: SpaceId([4; 16]), collection, id };
        for bytes in [key.record(), key.altered(), key.conflict(), key.hidden(), key.unreadable()] {
            assert_eq!(record_of_key(&bytes), Some(key.clone()));
        }
        assert!(key.record().starts_with(&records(key.space, "products")));
        assert!(!key.record().starts_with(&records(key.space, "product")));
        assert_eq!(record_of_key(b"d"), None);
        let row = super::collection(key.space, "products");
        assert_eq!(collection_of_key(&row).as_deref(), Some("products"));
    }
}
