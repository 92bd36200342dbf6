//! Events as they are read: by the feed, by the id of their aggregate, or by their own.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::version::EventsVersion;
use crate::feed::{BadCursor, Change, Cursor, FeedId, FeedPosition};
use crate::ids::SpaceId;
use crate::log::entry::EntryId;
use crate::record::{AGGREGATE_ID, ConflictValue, DATA, Fields, Kind, METADATA, TYPE, Value, View};
use crate::record::{Field, KEY_STRING_BYTES, Scalar};
use crate::store::changes::{self, read_entry};
use crate::store::read;
use crate::store::tables::records::{ChangeAt, RecordKey, RecordRow};
use crate::store::tables::{ReadTables, indexes, logs, walk_by};
use crate::store::{Position, ReadStore, StoreError};

/// Most events of one aggregate that are put in order for a page: some 250 ms. One with more is read by the feed.
pub const AGGREGATE_EVENTS_MAX: usize = 50_000;
/// Index rows read at a time.
const STEP_ROWS: usize = 128;

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventContent {
    /// What happened.
    pub kind: String,
    /// To what.
    pub aggregate_id: String,
    /// The event's data.
    pub data: Json,
    /// What is to be known beside it; null if nothing is.
    pub metadata: Json,
}

/// An event as a site reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, one of its collection.
    pub id: String,
    /// What it says.
    pub content: EventContent,
    /// What others said under the same id, who had not seen it: a conflict, which stays. As a rule nothing.
    pub others: Vec<EventContent>,
    /// The place behind it, at the site that reads it.
    pub version: EventsVersion,
    /// The entry that it came in, which names its author.
    pub entry: EntryId,
    /// When it was stored, in ms since 1970 by its author's clock.
    pub time_ms: i64,
}

/// Some of the events of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aggregate {
    /// The events, in the order in which this site took them in.
    pub events: Vec<Event>,
    /// Whether there are more behind the last.
    pub has_more: bool,
}

/// How much is read of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBounds {
    /// Events.
    pub events: usize,
    /// Bytes of their fields, about; one event may have more.
    pub bytes: usize,
    /// Events that the aggregate may have at the most, for they are put in order for it: [`AGGREGATE_EVENTS_MAX`].
    pub ordered: usize,
}

/// Why events cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum NotLoaded {
    /// The collection is not one of events.
    #[error("{collection} is not a collection of events: its schema does not say so")]
    NoEvents {
        /// The collection.
        collection: String,
    },
    /// The index by aggregate has not all events yet.
    #[error("the index of {collection} by aggregate_id is being built")]
    Building {
        /// The collection.
        collection: String,
    },
    /// The version is none of this site and space, or the journal does not hold its place.
    #[error(transparent)]
    Version(#[from] BadCursor),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EventContent {
    fn of(fields: &Fields) -> Self {
        let text = |field| match fields.get(field) {
            Some(Value::Str(text)) => text.clone(),
            Some(_) | None => String::new(),
        };
        // What a program that knows no events wrote may be no text.
        let json = |field| match fields.get(field) {
            Some(Value::Str(text)) => {
                serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into())
            }
            Some(value) => value.to_json(),
            None => Json::Null,
        };
        let (kind, aggregate_id) = (text(TYPE), text(AGGREGATE_ID));
        Self { kind, aggregate_id, data: json(DATA), metadata: json(METADATA) }
    }

    /// What is shown, and what others wrote under the same id.
    fn all_of(view: &View) -> (Self, Vec<Self>) {
        let shown = Self::of(&view.fields);
        let mut by_actor: BTreeMap<[u8; 16], Fields> = BTreeMap::new();
        for conflict in &view.conflicts {
            for ConflictValue { value, actor, .. } in &conflict.values {
                let fields = by_actor.entry(*actor).or_insert_with(|| view.fields.clone());
                fields.insert(conflict.path.clone(), value.clone());
            }
        }
        let mut others: Vec<Self> = Vec::new();
        for other in by_actor.values().map(Self::of) {
            if other != shown && !others.contains(&other) {
                others.push(other);
            }
        }
        (shown, others)
    }
}

impl Event {
    /// What a change of a collection of events tells: an event, or one more that others wrote under its id. `None`: it
    /// tells nothing that is shown.
    #[must_use]
    pub fn of_change(change: &Change, cursor: Cursor) -> Option<Self> {
        let values = change.values.as_ref().ok()?;
        let (content, others) = EventContent::all_of(&values.after);
        let is_news = match &values.before {
            None => true,
            Some(before) => *before != values.after && !others.is_empty(),
        };
        (is_news && !values.after.deleted).then(|| Self {
            id: change.key.id.clone(),
            content,
            others,
            version: cursor.into(),
            entry: change.entry,
            time_ms: change.time_ms,
        })
    }
}

/// Whether a collection is one of events.
///
/// # Errors
/// [`NotLoaded::NoEvents`] if not.
pub fn require_events(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
) -> Result<(), NotLoaded> {
    let schema = read::schema(tables, space, collection)?;
    if schema.is_some_and(|schema| schema.is_of_events()) {
        Ok(())
    } else {
        Err(NotLoaded::NoEvents { collection: collection.to_owned() })
    }
}

/// The events of an aggregate behind a version, in the order in which this site took them in; `None`: it has more than are
/// put in order at once, and is read by the feed.
///
/// # Errors
/// [`NotLoaded`].
pub fn of_aggregate(
    store: &impl ReadStore,
    (feed, space): (FeedId, SpaceId),
    collection: &str,
    aggregate_id: &str,
    since: Option<&Cursor>,
    bounds: EventBounds,
) -> Result<Option<Aggregate>, NotLoaded> {
    require_events(store, space, collection)?;
    if let Some(since) = since {
        since.check(feed, store)??;
    }
    let field = Field { path: AGGREGATE_ID.to_owned(), kind: Some(Kind::String) };
    if !indexes::is_ready(store, space, collection, &field)? {
        return Err(NotLoaded::Building { collection: collection.to_owned() });
    }
    let after = since.and_then(Cursor::place);
    let mut found: Vec<(FeedPosition, String)> = Vec::new();
    let Some(ids) = ids(store, space, collection, &field, (aggregate_id, bounds.ordered))? else {
        return Ok(None);
    };
    for id in ids {
        let key = RecordKey { space, collection: collection.to_owned(), id };
        let Some(row) = store.get(&key.record())? else { continue };
        let Some(at) = first_place(store, &key, &RecordRow::decode(&row)?)? else { continue };
        let place = FeedPosition { position: Position(at.position), index: at.index };
        if after < Some(place) {
            found.push((place, key.id));
        }
    }
    found.sort_unstable();
    let count = found.len();
    let (mut events, mut bytes) = (Vec::new(), 0);
    for (_, id) in found.into_iter().take(bounds.events) {
        if bytes > bounds.bytes {
            break;
        }
        let key = RecordKey { space, collection: collection.to_owned(), id };
        if let Some((event, size)) = read_event(store, feed, &key)? {
            bytes += size;
            events.push(event);
        }
    }
    let has_more = count > events.len();
    Ok(Some(Aggregate { events, has_more }))
}

/// The events of these ids that are here, in the order of the ids.
///
/// # Errors
/// [`StoreError`].
pub fn by_id(
    store: &impl ReadStore,
    (feed, space): (FeedId, SpaceId),
    collection: &str,
    ids: &[String],
) -> Result<Vec<Event>, StoreError> {
    let mut events = Vec::with_capacity(ids.len());
    for id in ids {
        let key = RecordKey { space, collection: collection.to_owned(), id: id.clone() };
        events.extend(read_event(store, feed, &key)?.map(|(event, _)| event));
    }
    Ok(events)
}

/// The ids of an aggregate's events, by the index; `None`: there are more than `most`.
fn ids(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    field: &Field,
    (aggregate_id, most): (&str, usize),
) -> Result<Option<Vec<String>>, StoreError> {
    let prefix = indexes::entries(space, collection, &field.path);
    let mut value = Vec::new();
    Scalar::Str(aggregate_id).encode(KEY_STRING_BYTES, &mut value);
    let mut ids = Vec::new();
    walk_by(tables, STEP_ROWS, &[&prefix, value.as_slice()].concat(), None, |key, _| {
        let entry = key.get(prefix.len()..).and_then(indexes::split_entry);
        // The rows of a text are followed by those of texts that go on with a zero byte.
        let id = entry.filter(|(found, _)| *found == value).map(|(_, id)| id.to_owned());
        let goes_on = id.is_some() && ids.len() <= most;
        ids.extend(id);
        Ok(goes_on)
    })?;
    Ok((ids.len() <= most).then_some(ids))
}

/// Where an event's first change is.
fn first_place(
    tables: &impl ReadTables,
    key: &RecordKey,
    row: &RecordRow<'_>,
) -> Result<Option<ChangeAt>, StoreError> {
    Ok(changes::places(tables, key, &row.changes)?.first().copied())
}

/// An event, and about how many bytes its fields take; `None`: it is not there.
fn read_event(
    store: &impl ReadStore,
    feed: FeedId,
    key: &RecordKey,
) -> Result<Option<(Event, usize)>, StoreError> {
    let Some(row) = store.get(&key.record())? else { return Ok(None) };
    let row = RecordRow::decode(&row)?;
    let (view, at) = (row.view()?, first_place(store, key, &row)?);
    let Some(at) = at.filter(|_| !view.deleted) else { return Ok(None) };
    let entry = read_entry(store, Position(at.position))?;
    let log = logs::log_of(store, &entry.header, &entry.hash)?;
    let header = entry.header;
    let (content, others) = EventContent::all_of(&view);
    let event = Event {
        id: key.id.clone(),
        content,
        others,
        version: Cursor::behind_change(feed, store, at)?.into(),
        entry: EntryId { author: log, seq: header.seq },
        time_ms: header.time_ms,
    };
    Ok(Some((event, view.json_bytes())))
}
