//! Which of the records that are written together nobody has written: found by one look at the store for each collection,
//! where their ids follow each other and nothing lies between.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::Batch;
use crate::ids::SpaceId;
use crate::replica::context::Context;
use crate::store::tables::records::{self, RecordKey};
use crate::store::{Store, StoreError};

/// Fewer records of a collection are looked up one by one, which is about as quick then as a look at what lies between.
const RECORDS_MIN: usize = 16;

/// Stretches of ids under which the store has no record, by collection, in one space.
pub(in crate::replica) struct Vacancy {
    space: SpaceId,
    stretches: BTreeMap<String, RangeInclusive<String>>,
}

impl Vacancy {
    /// Whether it is known that the store has no such record.
    pub(in crate::replica) fn holds(&self, key: &RecordKey) -> bool {
        key.space == self.space && self.has(&key.collection, &key.id)
    }

    /// The same of a record of the space that was looked at.
    pub(in crate::replica) fn has(&self, collection: &str, id: &str) -> bool {
        let stretch = self.stretches.get(collection);
        stretch.is_some_and(|ids| ids.start().as_str() <= id && id <= ids.end().as_str())
    }
}

impl Batch {
    /// Looks whether the store has anything between the least and the greatest of these records, by collection and id;
    /// of other collections than theirs nothing is known then. Counts until the group ends: before it, the store does
    /// not change.
    pub(in crate::replica) fn find_vacancy<'a, S: Store>(
        &mut self,
        cx: Context<'_, S>,
        space: SpaceId,
        written: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), StoreError> {
        let mut spans: BTreeMap<&str, (usize, &str, &str)> = BTreeMap::new();
        for (collection, id) in written {
            let (count, least, greatest) = spans.entry(collection).or_insert((0, id, id));
            *count += 1;
            *least = id.min(least);
            *greatest = id.max(greatest);
        }
        let mut stretches = BTreeMap::new();
        for (collection, (count, least, greatest)) in spans {
            if count >= RECORDS_MIN && self.is_vacant(cx, space, collection, least, greatest)? {
                stretches.insert(collection.to_owned(), least.to_owned()..=greatest.to_owned());
            }
        }
        self.stage.vacancy = (!stretches.is_empty()).then_some(Vacancy { space, stretches });
        Ok(())
    }

    fn is_vacant<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        collection: &str,
        least: &str,
        greatest: &str,
    ) -> Result<bool, StoreError> {
        let prefix = records::records(space, collection);
        // The key that follows the greatest one.
        let behind = [&prefix, greatest.as_bytes(), &[0]].concat();
        let last = cx.store.scan_back(&prefix, Some(&behind), 1)?;
        let least = [&prefix, least.as_bytes()].concat();
        Ok(last.first().is_none_or(|(key, _)| *key < least))
    }
}
