//! A record's whole history, read back from the journal: for changes that build on what is no longer live.

use super::Replica;
use super::stage::NotTaken;
use crate::entry::Body;
use crate::record::{ActorBytes, Document, RecordChange};
use crate::store::{Position, Store, StoreError};
use crate::tables::records::{ChangeAt, RecordKey};
use crate::tables::row;

/// The last entry that was read: changes of one record often lie in one.
#[derive(Default)]
struct LastRead {
    position: Option<u64>,
    changes: Vec<(ActorBytes, RecordChange)>,
}

impl<S: Store> Replica<S> {
    /// Puts the whole history of a staged record in the place of what is live of it.
    pub(super) fn load_history(&mut self, key: &RecordKey) -> Result<(), NotTaken> {
        let Some(record) = self.stage.records.get(key) else { return Ok(()) };
        let mut changes = Vec::new();
        let mut last = LastRead::default();
        for number in 0..record.places.rows {
            let places: Option<Vec<ChangeAt>> =
                row(&self.store, "places of changes", &key.changes(number))?;
            for place in places.unwrap_or_default() {
                changes.push(self.change_at(place, &mut last)?);
            }
        }
        for place in &record.places.last {
            changes.push(self.change_at(*place, &mut last)?);
        }
        let before = changes.iter().map(|(actor, change)| (*actor, change));
        let staged = record.changes.iter().map(|staged| (staged.actor, &staged.change));
        let whole = Document::of_changes(before.chain(staged)).map_err(|error| error.to_string());
        if let Some(record) = self.stage.records.get_mut(key) {
            record.document = whole;
        }
        Ok(())
    }

    fn change_at(
        &self,
        place: ChangeAt,
        last: &mut LastRead,
    ) -> Result<(ActorBytes, RecordChange), NotTaken> {
        if last.position != Some(place.position) {
            let entry = self.read_entry(Position(place.position))?.ok_or(NotTaken::Damaged)?;
            let actor = ActorBytes(entry.header.author.actor());
            let Ok(Body::Transactions(transactions)) = entry.body() else {
                return Err(NotTaken::Damaged);
            };
            let writes = transactions.into_iter().flat_map(|transaction| transaction.changes);
            last.changes = writes.map(|write| (actor, write.change)).collect();
            last.position = Some(place.position);
        }
        let change = last.changes.get(place.index as usize).cloned();
        let reason = || "a row names a change that its entry does not hold".to_owned();
        change.ok_or_else(|| NotTaken::Store(StoreError::Tables { reason: reason() }))
    }
}
