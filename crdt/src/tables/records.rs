//! Rows of records: documents, views, collections, conflicts, origins.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::entry::Origin;
use crate::ids::SpaceId;

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

impl RecordKey {
    /// Key of the document row.
    pub fn document(&self) -> Vec<u8> {
        self.key(b'd')
    }

    /// Key of the view row.
    pub fn view(&self) -> Vec<u8> {
        self.key(b'v')
    }

    /// Key of the row that marks conflicts.
    pub fn conflict(&self) -> Vec<u8> {
        self.key(b'x')
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

/// What the views of a collection begin with.
pub fn views(space: SpaceId, collection: &str) -> Vec<u8> {
    collection_prefix(b'v', space, collection)
}

/// What the views of a space begin with.
pub fn views_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'v', space)
}

/// What the documents of a space begin with.
pub fn documents_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'd', space)
}

/// What the conflict marks of a space begin with.
pub fn conflicts_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'x', space)
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

/// The record in the key of a document, view, conflict or unreadable row.
pub fn record_of_key(key: &[u8]) -> Option<RecordKey> {
    let space = SpaceId(key.get(1..17)?.try_into().ok()?);
    let rest = key.get(17..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let collection = String::from_utf8(rest[..end].to_vec()).ok()?;
    let id = String::from_utf8(rest[end + 1..].to_vec()).ok()?;
    Some(RecordKey { space, collection, id })
}

/// Key of the row that tells which entry an origin is in.
pub fn origin(space: SpaceId, origin: &Origin) -> Vec<u8> {
    let mut key = space_prefix(b'o', space);
    key.extend_from_slice(&origin.number.to_be_bytes());
    key.extend_from_slice(origin.source.as_bytes());
    key
}

fn space_prefix(kind: u8, space: SpaceId) -> Vec<u8> {
    let mut key = vec![kind];
    key.extend_from_slice(&space.0);
    key
}

fn collection_prefix(kind: u8, space: SpaceId, collection: &str) -> Vec<u8> {
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
        for bytes in [key.document(), key.view(), key.conflict(), key.unreadable()] {
            assert_eq!(record_of_key(&bytes), Some(key.clone()));
        }
        assert!(key.view().starts_with(&views(key.space, "products")));
        assert!(!key.view().starts_with(&views(key.space, "product")));
        assert_eq!(record_of_key(b"v"), None);
        let row = super::collection(key.space, "products");
        assert_eq!(collection_of_key(&row).as_deref(), Some("products"));
    }
}
