//! Writing to collections of events: what is stored stays as it is.

use super::Batch;
use super::stage::Mark;
use super::write::{Stop, WriteError};
use crate::events::Firsts;
use crate::record::{
    Edit, EventFault, Expected, Schema, SchemaError, View, event_fields, is_event,
};
use crate::replica::context::Context;
use crate::store::read;
use crate::store::tables::records::{ChangeAt, RecordKey, RecordRow};
use crate::store::{Store, StoreError};

impl Batch {
    /// The edit that stores an event, of one that somebody asks for; `None`: the event is stored already.
    pub(in crate::replica) fn edit_of_event<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        edit: Edit,
        expected: Option<&Expected>,
        mark: &mut Mark,
    ) -> Result<Option<Edit>, Stop> {
        let shown = if self.is_new(cx, key)? { None } else { self.event(cx, key, mark)? };
        let Some(shown) = shown else {
            return Ok(Some(match edit {
                Edit::Put(fields)
                | Edit::Import(fields)
                | Edit::Revive(fields)
                | Edit::Merge { patch: fields, create: true } => {
                    let fields = event_fields(&key.id, &fields);
                    Edit::Put(fields.map_err(|fault| refused(key, fault))?)
                }
                // There is nothing to edit, which is said as of any record.
                edit @ (Edit::Merge { create: false, .. } | Edit::Delete | Edit::Undelete) => edit,
            }));
        };
        if expected.is_some_and(|expected| !expected.is_met(&shown)) {
            let RecordKey { collection, id, .. } = key.clone();
            return Err(WriteError::Unexpected { collection, id, found: Box::new(shown) }.into());
        }
        let fields = match edit {
            Edit::Put(fields)
            | Edit::Import(fields)
            | Edit::Revive(fields)
            | Edit::Merge { patch: fields, create: true } => fields,
            Edit::Merge { create: false, .. } => return Err(refused(key, EventFault::Edited)),
            Edit::Delete | Edit::Undelete => return Err(refused(key, EventFault::Deleted)),
        };
        let fields = event_fields(&key.id, &fields).map_err(|fault| refused(key, fault))?;
        if is_event(&shown, &fields) { Ok(None) } else { Err(refused(key, EventFault::Exists)) }
    }

    /// The event as it is shown, with what the group has of it; `None`: nobody has written it.
    fn event<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        mark: &mut Mark,
    ) -> Result<Option<View>, Stop> {
        let record = self.staged_with(cx, key, mark)?;
        let document = record.document.as_ref().map_err(|reason| {
            let (RecordKey { collection, id, .. }, reason) = (key.clone(), reason.clone());
            WriteError::Unreadable { collection, id, reason }
        })?;
        if document.is_empty() {
            return Ok(None);
        }
        if record.places.count() + record.changes.len() == 1 {
            return Ok(Some(document.view()));
        }
        let staged: Vec<_> =
            record.changes.iter().map(|staged| (staged.actor, staged.change.clone())).collect();
        let stored = cx.store.get(&key.record())?;
        let stored = stored.as_deref().map(RecordRow::decode).transpose()?;
        let mut event = match Firsts::stored(cx.store, key, stored.as_ref()) {
            Ok(event) => event,
            Err(StoreError::Damaged { reason, .. }) => {
                let RecordKey { collection, id, .. } = key.clone();
                return Err(WriteError::Unreadable { collection, id, reason }.into());
            }
            Err(error) => return Err(error.into()),
        };
        for (actor, change) in &staged {
            // Where they will be does not matter to what is shown.
            event.add(*actor, change, ChangeAt { position: 0, index: 0 });
        }
        Ok(Some(event.view()))
    }

    /// Whether a collection becomes one of events, or ceases to be one, only while it holds nothing.
    pub(in crate::replica) fn check_events_fixed<S: Store>(
        &self,
        cx: Context<'_, S>,
        key: &RecordKey,
        before: Option<&View>,
        after: &View,
    ) -> Result<(), Stop> {
        let are_events = |view: &View| Schema::of(view).is_some_and(|schema| schema.is_of_events());
        let events = are_events(after);
        if before.is_some_and(are_events) == events {
            return Ok(());
        }
        let (space, collection) = (key.space, &key.id);
        let held = read::collection(cx.store, space, collection)?;
        let is_of = |key: &&RecordKey| key.space == space && key.collection == *collection;
        let made = self.stage.made.keys().find(is_of);
        let staged = self.stage.records.iter().filter(|(_, record)| !record.changes.is_empty());
        let staged = staged.map(|(key, _)| key).find(is_of);
        if held.live + held.deleted == 0 && made.or(staged).is_none() {
            return Ok(());
        }
        Err(SchemaError::EventsFixed { collection: collection.clone(), events }.into())
    }
}

pub(in crate::replica) fn refused(key: &RecordKey, fault: EventFault) -> Stop {
    let RecordKey { collection, id, .. } = key.clone();
    WriteError::Event { collection, id, fault }.into()
}
