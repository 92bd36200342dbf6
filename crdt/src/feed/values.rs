//! Records as of a place in the journal.

use std::num::NonZeroUsize;

use super::Values;
use crate::cache::{Documents, Kept};
use crate::record::{ChangeActor, Document, RecordChange};
use crate::store::changes::{self, ChangeReader};
use crate::store::tables::records::{ChangeAt, Changes, RecordKey, RecordRow};
use crate::store::{ReadStore, StoreError};

/// Records kept by one reader, of which a node has a dozen.
const RECORDS_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();
/// Values and changes that they have together; some 25 MB at the very most.
const ITEMS_MAX: usize = 1 << 16;

/// The records that a reader has come by lately, as of its place: reading on, a record that changes again costs
/// nothing but its changes.
pub(super) struct Records {
    documents: Documents,
}

impl Records {
    pub(super) fn new() -> Self {
        Self { documents: Documents::bounded(RECORDS_MAX, ITEMS_MAX) }
    }

    /// Forgets all: the reader moved, or history was rebuilt.
    pub(super) fn clear(&mut self) {
        self.documents.clear();
    }

    /// The record before and after a change, or why that cannot be given.
    pub(super) fn values(
        &mut self,
        store: &impl ReadStore,
        key: &RecordKey,
        actor: ChangeActor,
        change: &RecordChange,
        at: ChangeAt,
    ) -> Result<Result<Values, String>, StoreError> {
        let kept = match self.documents.pop(key) {
            Some(kept) => Ok(kept),
            None => load(store, key, at)?,
        };
        let Kept { mut document, mut changes } = match kept {
            Ok(kept) => kept,
            Err(reason) => return Ok(Err(reason)),
        };
        let before = (!document.is_empty()).then(|| document.view());
        if let Err(reason) = apply(&mut document, actor, change) {
            return Ok(Err(reason));
        }
        let after = document.view();
        changes.push(at, |_, _| ());
        self.documents.put(key.clone(), Kept { document, changes });
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
    key: &RecordKey,
    at: ChangeAt,
) -> Result<Result<Kept, String>, StoreError> {
    let stored = store.get(&key.record())?;
    let all = match &stored {
        Some(value) => changes::places(store, key, &RecordRow::decode(value)?.changes)?,
        None => Vec::new(),
    };
    let is_before = |place: &ChangeAt| (place.position, place.index) < (at.position, at.index);
    let mut reader = ChangeReader::new(store);
    let (mut history, mut places) = (Vec::new(), Changes::default());
    for place in all.into_iter().filter(is_before) {
        match reader.at(place) {
            Ok((made_in, change)) => history.push((made_in.actor(), change.clone())),
            Err(error @ StoreError::Damaged { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        }
        places.push(place, |_, _| ());
    }
    let whole = Document::of_changes(history.iter().map(|(actor, change)| (*actor, change)));
    let kept = whole.map(|document| Kept { document, changes: places });
    Ok(kept.map_err(|error| error.to_string()))
}
