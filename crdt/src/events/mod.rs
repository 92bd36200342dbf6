//! Events: records that are never changed, in collections whose schema says so ([`crate::record::Schema::is_of_events`]).
//!
//! Immutability binds writers: a replica refuses to change an event ([`crate::replica::WriteError::Event`]). It does not
//! bind what comes from others, for a verdict on an entry never depends on a schema: a change of an event is taken in and
//! forwarded like any other, and not shown. What is shown of an event is what its *first* changes make, those that build
//! on no other. There is one, or several where sites wrote one id apart from each other; those are in conflict, unless
//! they say the same. The changes behind them are reported by [`altered`].

mod load;
mod version;

use crate::ids::SpaceId;
use crate::log::entry::EntryId;
use crate::record::{ChangeActor, Document, RecordChange, RecordSummary, View};
use crate::store::changes::{self, ChangeReader};
use crate::store::tables::records::{self, AlteredRow, ChangeAt, RecordKey, RecordRow};
use crate::store::tables::{ReadTables, decode_row, row};
use crate::store::{ReadStore, StoreError};

pub use load::{
    AGGREGATE_EVENTS_MAX, Aggregate, Event, EventBounds, EventContent, NotLoaded, by_id,
    of_aggregate, require_events,
};
pub use version::{EventsVersion, NoOrder};

/// An event that a site changed although events are never changed. The change is not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// The event.
    pub key: RecordKey,
    /// How many changes there are behind its first.
    pub count: u64,
    /// The entry of the first of them, and when it was made by its author's clock, in ms since 1970. `None`: the journal
    /// cannot be read there.
    pub first: Option<(EntryId, i64)>,
}

/// Events that were changed after they were written, behind `after`, at most `limit`; of one collection or of all.
///
/// # Errors
/// [`StoreError`].
pub fn altered(
    store: &impl ReadStore,
    space: SpaceId,
    collection: Option<&str>,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<Altered>, StoreError> {
    let prefix = prefix(space, collection);
    let rows = store.scan(&prefix, after.map(RecordKey::altered).as_deref(), limit)?;
    let mut reader = ChangeReader::new(store);
    let mut found = Vec::with_capacity(rows.len());
    for (key, value) in rows {
        let key = records::record_of_key(&key).ok_or_else(broken_key)?;
        let AlteredRow { count, first } = decode_row("altered row", &value)?;
        let first = match reader.at(first) {
            Ok((made_in, _)) => Some((made_in.id(), made_in.header.time_ms)),
            Err(StoreError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        found.push(Altered { key, count, first });
    }
    Ok(found)
}

/// The same without who changed them, which costs less; of all collections, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub fn altered_keys(
    tables: &impl ReadTables,
    space: SpaceId,
    limit: usize,
) -> Result<Vec<RecordKey>, StoreError> {
    let rows = tables.scan(&prefix(space, None), None, limit)?;
    rows.iter().map(|(key, _)| records::record_of_key(key).ok_or_else(broken_key)).collect()
}

fn broken_key() -> StoreError {
    StoreError::Tables { reason: "the key of a row is broken".to_owned() }
}

fn prefix(space: SpaceId, collection: Option<&str>) -> Vec<u8> {
    match collection {
        Some(collection) => records::altered(space, collection),
        None => records::altered_of_space(space),
    }
}

/// An event by its first changes, and what there is behind them.
pub(crate) struct Firsts {
    document: Document,
    count: usize,
    altered: Option<AlteredRow>,
}

impl Firsts {
    /// Of an event as the tables have it; `None`: missing. `stored` is its row.
    pub(crate) fn stored(
        store: &impl ReadStore,
        key: &RecordKey,
        stored: Option<&RecordRow<'_>>,
    ) -> Result<Self, StoreError> {
        let none = Self { document: Document::empty(), count: 0, altered: None };
        let Some(stored) = stored else { return Ok(none) };
        let load = |saved: &[u8]| {
            let broken =
                |error: crate::record::Unreadable| StoreError::Tables { reason: error.to_string() };
            Document::load(saved).map_err(broken)
        };
        let count = stored.changes.count();
        match stored.first {
            Some(first) => {
                let altered = row(store, "altered row", &key.altered())?;
                Ok(Self { document: load(first)?, count, altered })
            }
            None if count == 1 => Ok(Self { document: load(stored.live)?, count, altered: None }),
            // It was written before its collection was one of events.
            None => {
                let mut firsts = none;
                let mut reader = ChangeReader::new(store);
                for place in changes::places(store, key, &stored.changes)? {
                    let (made_in, change) = reader.at(place)?;
                    firsts.add(made_in.actor(), change, place);
                }
                Ok(firsts)
            }
        }
    }

    /// Adds a change that was accepted.
    pub(crate) fn add(&mut self, actor: ChangeActor, change: &RecordChange, at: ChangeAt) {
        self.count += 1;
        let is_first = change.parse(actor).is_ok_and(|parsed| parsed.is_first());
        // What does not fit is reported as a change, and not shown.
        if !is_first || self.document.extend(actor, change).is_err() {
            let altered = self.altered.get_or_insert(AlteredRow { count: 0, first: at });
            altered.count += 1;
        }
    }

    /// What [`RecordRow::first`] is: nothing where the event has one change.
    pub(crate) fn saved(&self) -> Option<Vec<u8>> {
        (self.count > 1).then(|| self.document.save())
    }

    /// The event as it is read.
    pub(crate) fn view(&self) -> View {
        self.document.view()
    }

    /// The same in short; `None`: missing.
    pub(crate) fn summary(&self) -> Option<RecordSummary> {
        self.document.summary()
    }

    /// Whether there are changes behind the first, and which.
    pub(crate) fn altered(&self) -> Option<AlteredRow> {
        self.altered
    }
}
