//! A record's whole history, read back from the journal: for changes that build on what is no longer live.

use super::Batch;
use super::stage::NotTaken;
use crate::record::Document;
use crate::replica::context::Context;
use crate::store::changes::{self, RecentEntries};
use crate::store::tables::ReadTables;
use crate::store::tables::records::{ChangeAt, Changes, RecordKey};
use crate::store::{ReadStore, Store, StoreError};

/// What it takes to read one change of a history and to apply it, in microseconds, about.
const CHANGE_COST: usize = 10;

/// A record that is being put together from all its changes, in as many steps as there are turns for it.
pub(in crate::replica) struct Recall {
    places: Vec<ChangeAt>,
    next: usize,
    document: Document,
}

impl Recall {
    /// Begins with the places that a record's row names.
    pub(in crate::replica) fn new(
        tables: &impl ReadTables,
        key: &RecordKey,
        changes: &Changes,
    ) -> Result<Self, StoreError> {
        let places = changes::places(tables, key, changes)?;
        Ok(Self { places, next: 0, document: Document::empty() })
    }

    /// Goes on until all is read, which it then returns, or the `budget` is used up. The inner error: the record cannot
    /// be read here.
    pub(in crate::replica) fn go_on(
        &mut self,
        journal: &impl ReadStore,
        entries: &mut RecentEntries,
        budget: &mut usize,
    ) -> Result<Option<Result<Document, String>>, StoreError> {
        while let Some(place) = self.places.get(self.next) {
            if *budget == 0 {
                return Ok(None);
            }
            let (actor, change, decoded) = entries.at(journal, *place)?;
            *budget = budget.saturating_sub(CHANGE_COST + decoded);
            if let Err(error) = self.document.extend(actor, change) {
                return Ok(Some(Err(error.to_string())));
            }
            self.next += 1;
        }
        Ok(Some(Ok(std::mem::replace(&mut self.document, Document::empty()))))
    }
}

impl Batch {
    /// Puts the whole history of a staged record in the place of what is live of it.
    pub(in crate::replica) fn load_history<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
    ) -> Result<(), NotTaken> {
        let Some(record) = self.stage.records.get_mut(key) else { return Ok(()) };
        if record.document.as_ref().is_ok_and(Document::is_whole) {
            return Ok(());
        }
        let mut recall = Recall::new(cx.store, key, &record.places)?;
        let mut budget = usize::MAX;
        let read = recall.go_on(cx.store, &mut self.recent, &mut budget);
        let read = read.map_err(|error| match error {
            StoreError::Damaged { .. } => NotTaken::Damaged,
            error @ (StoreError::Unwritable { .. }
            | StoreError::Newer { .. }
            | StoreError::Unreadable { .. }
            | StoreError::Tables { .. }) => NotTaken::Store(error),
        })?;
        let Some(mut whole) = read else { return Ok(()) };
        for staged in &record.changes {
            whole = whole.and_then(|mut document| {
                let extended = document.extend(staged.actor, &staged.change);
                extended.map(|()| document).map_err(|error| error.to_string())
            });
        }
        record.document = whole;
        Ok(())
    }
}
