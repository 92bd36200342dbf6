//! Documents kept in memory between groups.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::record::Document;
use crate::tables::records::RecordKey;

/// Documents kept; some 15 KB each for records of ten fields.
const DOCUMENTS_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// Operations that they have together. A change of a hundred bytes can mean 60,000, which then take 20 to 50 MB.
const OPERATIONS_MAX: usize = 1 << 18;

/// Documents kept in memory between groups, the least lately used of which go first.
pub(super) struct Documents {
    documents: LruCache<RecordKey, Document>,
    operation_count: usize,
}

impl Documents {
    pub(super) fn new() -> Self {
        Self { documents: LruCache::new(DOCUMENTS_MAX), operation_count: 0 }
    }

    /// Keeps a document.
    pub(super) fn put(&mut self, key: RecordKey, document: Document) {
        self.operation_count += document.operation_count();
        let replaced = self.documents.push(key, document);
        self.forget(replaced);
        while self.operation_count > OPERATIONS_MAX {
            let oldest = self.documents.pop_lru();
            self.forget(oldest);
        }
    }

    /// Takes a document out.
    pub(super) fn pop(&mut self, key: &RecordKey) -> Option<Document> {
        let document = self.documents.pop(key)?;
        self.operation_count -= document.operation_count();
        Some(document)
    }

    /// How many are kept.
    pub(super) fn count(&self) -> usize {
        self.documents.len()
    }

    pub(super) fn clear(&mut self) {
        self.documents.clear();
        self.operation_count = 0;
    }

    fn forget(&mut self, gone: Option<(RecordKey, Document)>) {
        self.operation_count -= gone.map_or(0, |(_, document)| document.operation_count());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::SpaceId;
    use crate::record::{ActorBytes, Edit};

    fn key(number: usize) -> RecordKey {
        let (collection, id) = ("products".to_owned(), number.to_string());
        RecordKey { space: SpaceId([1; 16]), collection, id }
    }

    fn document(items: usize) -> Document {
        let mut document = Document::empty();
        let serde_json::Value::Object(fields) = json!({ "a": vec![1; items] }) else {
            panic!("an object");
        };
        document.edit(ActorBytes([1; 16]), 0, &Edit::Put(fields), None).unwrap().unwrap();
        document
    }

    #[test]
    fn documents_are_bounded_by_number_and_by_operations() {
        let mut documents = Documents::new();
        for number in 0..600 {
            documents.put(key(number), document(1));
        }
        assert_eq!(documents.documents.len(), 512);
        let large = document(60_000);
        for number in 0..20 {
            documents.put(key(number), large.clone());
            assert!(documents.operation_count <= OPERATIONS_MAX);
        }
        assert_eq!(documents.documents.len(), 4);
        assert!(documents.pop(&key(19)).is_some() && documents.pop(&key(0)).is_none());
        documents.put(key(18), document(1));
        let counted = documents.documents.iter().map(|(_, document)| document.operation_count());
        assert_eq!(documents.operation_count, counted.sum::<usize>());
    }
}
