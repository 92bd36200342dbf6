//! A round of building an index: its rows are gathered in memory, and written in their order.
//!
//! Rows that are written all over a table cost many times what they cost one behind the other, so an index is not
//! written in the order of records. A round looks at all records and gathers the first rows, by key, that memory has
//! room for; then it writes them. The next begins behind the last of them, until one has room for all.
//!
//! Whatever changes meanwhile goes to the index at once. Of what is gathered only the row that the record had before
//! is to be taken out again.

use std::collections::BTreeSet;

use crate::ids::SpaceId;
use crate::record::{Field, FieldNames};
use crate::store::StoreError;
use crate::store::read;
use crate::store::tables::{ReadTables, indexes};

/// What gathered rows may take in memory: some 400,000 of them.
const BYTES_MAX: usize = 32 << 20;
/// What a row takes beside its bytes: a vector, what the allocator adds, and its share of a tree's nodes, about.
const ROW_OVERHEAD_BYTES: usize = 56;

/// A round of building an index. Rows are what follows [`indexes::entries`] in their keys.
pub(super) struct Round {
    space: SpaceId,
    collection: String,
    field: Field,
    /// The index has the rows up to this one.
    after: Option<Vec<u8>>,
    /// The first row that is left to the next round.
    end: Option<Vec<u8>>,
    gathered: BTreeSet<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// The last record that was looked at.
    record: Option<String>,
    is_gathered: bool,
    /// Whether the collection is one of events.
    is_of_events: bool,
    /// Events that were changed before their collection became one of events. They are left out.
    changed: Vec<String>,
}

impl Round {
    /// A round behind a row.
    pub(super) fn new(
        space: SpaceId,
        collection: &str,
        field: &Field,
        after: Option<Vec<u8>>,
        is_of_events: bool,
    ) -> Self {
        Self {
            space,
            collection: collection.to_owned(),
            field: field.clone(),
            after,
            end: None,
            gathered: BTreeSet::new(),
            bytes: 0,
            bytes_max: BYTES_MAX,
            record: None,
            is_gathered: false,
            is_of_events,
            changed: Vec::new(),
        }
    }

    /// Whether it is one of that index.
    pub(super) fn is_of(&self, space: SpaceId, collection: &str, field: &Field) -> bool {
        self.space == space && self.collection == collection && self.field == *field
    }

    /// Looks at some more records. True once all have been seen.
    pub(super) fn gather(
        &mut self,
        tables: &impl ReadTables,
        records_max: usize,
    ) -> Result<bool, StoreError> {
        if self.is_gathered {
            return Ok(true);
        }
        let (space, collection, field) = (self.space, self.collection.clone(), self.field.clone());
        let names = FieldNames::from_iter([field.name()]);
        let begin = self.record.clone();
        let mut count = 0;
        read::each_row(tables, space, &collection, begin.as_deref(), |id, row| {
            if self.is_of_events && row.changes.count() > 1 && row.first.is_none() {
                self.changed.push(id.to_owned());
            } else if let Some(fields) = row.fields(&names)? {
                self.add(indexes::entry_rest(&field, id, &fields));
            }
            count += 1;
            let is_last = count == records_max;
            if is_last {
                self.record = Some(id.to_owned());
            }
            Ok(!is_last)
        })?;
        self.is_gathered = count < records_max;
        Ok(self.is_gathered)
    }

    /// Takes out the events that were met which were changed before their collection became one of events.
    pub(super) fn take_changed(&mut self) -> Vec<String> {
        std::mem::take(&mut self.changed)
    }

    fn add(&mut self, row: Vec<u8>) {
        let is_before = self.after.as_ref().is_some_and(|after| row <= *after);
        if is_before || self.end.as_ref().is_some_and(|end| row >= *end) {
            return;
        }
        let bytes = row_bytes(&row);
        if self.gathered.insert(row) {
            self.bytes += bytes;
        }
        // One is left, so that every round gets further.
        while self.bytes > self.bytes_max && self.gathered.len() > 1 {
            self.end = self.gathered.pop_last();
            self.bytes -= self.end.as_deref().map_or(0, row_bytes);
        }
    }

    /// Takes out a row that is no longer.
    pub(super) fn remove(&mut self, row: &[u8]) {
        if self.gathered.remove(row) {
            self.bytes -= row_bytes(row);
        }
    }

    /// Takes the first rows, to be written.
    pub(super) fn take_first(&mut self, rows_max: usize) -> Vec<Vec<u8>> {
        let rows: Vec<_> =
            std::iter::from_fn(|| self.gathered.pop_first()).take(rows_max).collect();
        self.bytes -= rows.iter().map(|row| row_bytes(row)).sum::<usize>();
        if let Some(last) = rows.last() {
            self.after = Some(last.clone());
        }
        rows
    }

    /// The last row that was taken, by this round or one before.
    pub(super) fn after(&self) -> Option<&Vec<u8>> {
        self.after.as_ref()
    }

    /// Whether all that it has gathered is taken.
    pub(super) fn is_over(&self) -> bool {
        self.gathered.is_empty()
    }

    /// Whether no other follows it.
    pub(super) fn is_last(&self) -> bool {
        self.end.is_none()
    }
}

fn row_bytes(row: &[u8]) -> usize {
    row.len() + ROW_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn row(record: usize, value: u8) -> Vec<u8> {
        vec![value, record as u8]
    }

    proptest! {
        /// Records change between any two steps; memory has room for a few rows only.
        #[test]
        fn rounds_leave_the_row_of_every_record_and_no_other(
            mut records in prop::collection::vec(prop::option::of(0_u8..20), 1..60),
            changes in prop::collection::vec(
                prop::collection::vec((0_usize..60, prop::option::of(0_u8..20)), 0..4),
                200,
            ),
            room in 1_usize..12,
        ) {
            let mut changes = changes.into_iter();
            let mut table = BTreeMap::new();
            let mut after = None;
            loop {
                let field = Field { path: "f".to_owned(), kind: None };
                let mut round = Round::new(SpaceId([0; 16]), "c", &field, after, false);
                round.bytes_max = room * row_bytes(&row(0, 0));
                let mut next = 0;
                loop {
                    for (record, value) in changes.next().unwrap_or_default() {
                        let record = record % records.len();
                        if let Some(value) = records[record] {
                            table.remove(&row(record, value));
                            round.remove(&row(record, value));
                        }
                        records[record] = value;
                        if let Some(value) = value {
                            table.insert(row(record, value), record);
                        }
                    }
                    if next < records.len() {
                        for (record, value) in records.iter().enumerate().skip(next).take(7) {
                            if let Some(value) = value {
                                round.add(row(record, *value));
                            }
                        }
                        next += 7;
                        continue;
                    }
                    prop_assert!(round.gathered.len() <= room);
                    for row in round.take_first(3) {
                        let record = usize::from(row[1]);
                        table.insert(row, record);
                    }
                    if round.is_over() {
                        break;
                    }
                }
                if round.is_last() {
                    break;
                }
                after = round.after().cloned();
            }
            let of_records = records.iter().enumerate();
            let expected: BTreeMap<_, _> = of_records
                .filter_map(|(record, value)| Some((row(record, (*value)?), record)))
                .collect();
            prop_assert_eq!(table, expected);
        }
    }
}
