//! A record's whole history, read back from the journal: for changes that build on what is no longer live.

use super::Replica;
use super::stage::NotTaken;
use crate::changes::{self, ChangeReader};
use crate::record::{ActorBytes, Document};
use crate::store::{Store, StoreError};
use crate::tables::records::RecordKey;

impl<S: Store> Replica<S> {
    /// Puts the whole history of a staged record in the place of what is live of it.
    pub(super) fn load_history(&mut self, key: &RecordKey) -> Result<(), NotTaken> {
        let Some(record) = self.stage.records.get(key) else { return Ok(()) };
        let mut reader = ChangeReader::new(&self.store);
        let mut changes = Vec::new();
        for place in changes::places(&self.store, key, &record.places)? {
            let (header, change) = reader.at(place).map_err(|error| match error {
                StoreError::Damaged { .. } => NotTaken::Damaged,
                error @ (StoreError::Unwritable { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Tables { .. }) => NotTaken::Store(error),
            })?;
            changes.push((ActorBytes(header.author.actor()), change.clone()));
        }
        let before = changes.iter().map(|(actor, change)| (*actor, change));
        let staged = record.changes.iter().map(|staged| (staged.actor, &staged.change));
        let whole = Document::of_changes(before.chain(staged)).map_err(|error| error.to_string());
        if let Some(record) = self.stage.records.get_mut(key) {
            record.document = whole;
        }
        Ok(())
    }
}
