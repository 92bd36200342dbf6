//! Records as of a place in the journal.

use std::num::NonZeroUsize;

use super::Values;
use crate::record::{ChangeActor, Document, RecordChange};
use crate::store::cache::{Documents, Kept};
use crate::store::changes::{self, RecentEntries};
use crate::store::tables::records::{ChangeAt, Changes, RecordKey, RecordRow};
use crate::store::{Position, ReadStore, StoreError};

/// Records kept by one reader, of which a node has a dozen.
const RECORDS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Values and changes that they have together; some 25 MB at the very most.
const ITEMS_MAX: usize = 1 << 16;
/// Bytes of changes kept by one reader for the records that it comes by next: those of some 20,000 changes of a field or
/// two.
const ENTRIES_BYTES_MAX: usize = 4 << 20;

/// Why the values of a change cannot be given.
pub(super) struct NoValues {
    pub(super) reason: String,
    /// The damaged frame without which they cannot: they can once it is mended.
    pub(super) damaged: Option<Position>,
}

impl From<String> for NoValues {
    fn from(reason: String) -> Self {
        Self { reason, damaged: None }
    }
}

/// The records that a reader has come by lately, as of its place: reading on, a record that changes again costs
/// nothing but its changes.
pub(super) struct Records {
    documents: Documents,
    /// The entries that these were made from: one serves all the records that it changed.
    entries: RecentEntries,
}

impl Records {
    pub(super) fn new() -> Self {
        let documents = Documents::bounded(RECORDS_MAX, ITEMS_MAX);
        Self { documents, entries: RecentEntries::bounded(ENTRIES_BYTES_MAX) }
    }

    /// Forgets all: the reader moved, or history was rebuilt.
    pub(super) fn clear(&mut self) {
        self.documents.clear();
        self.entries.clear();
    }

    /// The record before and after a change, or why that cannot be given.
    pub(super) fn values(
        &mut self,
        store: &impl ReadStore,
        key: &RecordKey,
        actor: ChangeActor,
        change: &RecordChange,
        at: ChangeAt,
    ) -> Result<Result<Values, NoValues>, StoreError> {
        let kept = match self.documents.pop(key) {
            Some(kept) => Ok(kept),
            None => load(store, &mut self.entries, key, at)?,
        };
        let Kept { mut document, mut changes } = match kept {
            Ok(kept) => kept,
            Err(reason) => return Ok(Err(reason)),
        };
        let before = (!document.is_empty()).then(|| document.view());
        if let Err(reason) = apply(&mut document, actor, change) {
            return Ok(Err(reason.into()));
        }
        let after = document.view();
        changes.push(at, |_, _| ());
        // Most records are written once and never again. One with a single change is as quickly made once more; kept, it
        // would drive out those that change all the time, whose changes are many.
        if before.is_some() {
            self.documents.put(key.clone(), Kept { document, changes });
        }
        Ok(Ok(Values { before, after }))
    }
}

fn apply(document: &mut Document, actor: ChangeActor, change: &RecordChange) -> Result<(), String> {
    let checked = document.check(actor, change).map_err(|verdict| verdict.to_string())?;
    document.apply(checked).map(drop).map_err(|error| error.to_string())
}

/// The record as of right before a change of it, or why that cannot be given.
fn load(
    store: &impl ReadStore,
    entries: &mut RecentEntries,
    key: &RecordKey,
    at: ChangeAt,
) -> Result<Result<Kept, NoValues>, StoreError> {
    let stored = store.get(&key.record())?;
    let all = match &stored {
        Some(value) => changes::places(store, key, &RecordRow::decode(value)?.changes)?,
        None => Vec::new(),
    };
    let is_before = |place: &ChangeAt| (place.position, place.index) < (at.position, at.index);
    let (mut history, mut places) = (Vec::new(), Changes::default());
    for place in all.into_iter().filter(is_before) {
        match entries.at(store, place) {
            Ok((actor, change, _)) => history.push((actor, change.clone())),
            Err(error @ StoreError::Damaged { position, .. }) => {
                let reason = error.to_string();
                return Ok(Err(NoValues { reason, damaged: Some(position) }));
            }
            Err(error) => return Err(error),
        }
        places.push(place, |_, _| ());
    }
    let whole = Document::of_changes(history.iter().map(|(actor, change)| (*actor, change)));
    let kept = whole.map(|document| Kept { document, changes: places });
    Ok(kept.map_err(|error| error.to_string().into()))
}
