//! Records kept in memory: by the replica between groups, and by readers of the feed.

use std::num::NonZeroUsize;

use lru::LruCache;

use crate::record::Document;
use crate::store::tables::records::{Changes, RecordKey};

/// Records kept; some 5 KB each if they have ten fields.
const RECORDS_MAX: NonZeroUsize = NonZeroUsize::new(512).unwrap();
/// Values and changes that they have together. A change of a hundred bytes can mean 60,000, which then take 20 to 50
/// MB.
const ITEMS_MAX: usize = 1 << 18;

/// A record in memory, and where its changes are.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) document: Document,
    pub(crate) changes: Changes,
}

/// Records kept in memory, the least lately used of which go first.
pub(crate) struct Documents {
    records: LruCache<RecordKey, Kept>,
    item_count: usize,
    items_max: usize,
}

impl Documents {
    /// For one replica.
    pub(crate) fn new() -> Self {
        Self::bounded(RECORDS_MAX, ITEMS_MAX)
    }

    /// For so many records, and so many values and changes that they have together.
    pub(crate) fn bounded(records_max: NonZeroUsize, items_max: usize) -> Self {
        Self { records: LruCache::new(records_max), item_count: 0, items_max }
    }

    /// Keeps a record.
    pub(crate) fn put(&mut self, key: RecordKey, kept: Kept) {
        self.item_count += kept.document.item_count();
        let replaced = self.records.push(key, kept);
        self.forget(replaced);
        while self.item_count > self.items_max {
            let oldest = self.records.pop_lru();
            self.forget(oldest);
        }
    }

    /// Takes a record out.
    pub(crate) fn pop(&mut self, key: &RecordKey) -> Option<Kept> {
        let kept = self.records.pop(key)?;
        self.item_count -= kept.document.item_count();
        Some(kept)
    }

    /// Whether a record is kept.
    pub(crate) fn contains(&self, key: &RecordKey) -> bool {
        self.records.contains(key)
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn clear(&mut self) {
        self.records.clear();
        self.item_count = 0;
    }

    fn forget(&mut self, gone: Option<(RecordKey, Kept)>) {
        self.item_count -= gone.map_or(0, |(_, kept)| kept.document.item_count());
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

    fn kept(items: usize) -> Kept {
        let mut document = Document::empty();
        let serde_json::Value::Object(fields) = json!({ "a": vec![1; items] }) else {
            panic!("an object");
        };
        document.edit(ActorBytes([1; 16]), 0, &Edit::Put(fields), None).unwrap().unwrap();
        Kept { document, changes: Changes::default() }
    }

    #[test]
    fn records_are_bounded_by_number_and_by_what_they_hold() {
        let mut documents = Documents::new();
        for number in 0..600 {
            documents.put(key(number), kept(1));
        }
        assert_eq!(documents.records.len(), 512);
        let large = kept(60_000);
        for number in 0..20 {
            documents.put(key(number), large.clone());
            assert!(documents.item_count <= ITEMS_MAX);
        }
        assert_eq!(documents.records.len(), 4);
        assert!(documents.pop(&key(19)).is_some() && documents.pop(&key(0)).is_none());
        documents.put(key(18), kept(1));
        let counted = documents.records.iter().map(|(_, kept)| kept.document.item_count());
        assert_eq!(documents.item_count, counted.sum::<usize>());
    }
}
