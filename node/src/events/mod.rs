//! Events, as programs store, load and follow them: records that are never changed, in collections whose schema says so
//! (`{"events": true}`). `docs/events.md` sets the names of an event-sync kit beside what is here.
//!
//! ```no_run
//! # use branchline_node::{Config, Node, events::NewEvent};
//! # use serde_json::json;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Config::new("data")).await?;
//! let ledger = node.handle().events("ledger");
//! ledger.declare().await?;
//! let paid = NewEvent::new("7-4711", "paid", "order 4711", json!({ "amount": "12.50" }));
//! ledger.store(paid.clone()).await?;
//! // The exact same event again is a success that changes nothing.
//! assert_eq!(ledger.store(paid).await?.known, 1);
//! let seen = ledger.load_aggregate("order 4711", None, 100).await?;
//! let mut subscription = ledger.subscribe(Some(seen.version)).await?;
//! let next = subscription.next().await?;
//! println!("{} of {}", next.content.kind, next.content.aggregate_id);
//! # Ok(())
//! # }
//! ```

mod error;
mod findings;
mod subscription;

use branchline_crdt::events::{self, EventBounds};
use branchline_crdt::feed::{Cursor, FeedId};
use branchline_crdt::ids::SpaceId;
use branchline_crdt::store::StoreError;
use serde_json::{Map, Value as Json};

use crate::feed::{FeedError, Since};
use crate::handle::{Handle, Stopped};
use crate::records::{
    Edit, LocalTransaction, NotWritten, Origin, RecordEdit, RecordKey, SCHEMA_COLLECTION, Schema,
};
use crate::storage::Reader;

pub use branchline_crdt::events::{
    AGGREGATE_EVENTS_MAX, Altered, Event, EventContent, EventsVersion, NoOrder, NotLoaded,
};
pub use branchline_crdt::log::entry::EntryId;
pub use branchline_crdt::record::{EVENT_NAME_BYTES_MAX, EventFault};
pub use error::{NotRead, NotStored};
pub use subscription::Subscription;

/// Most events on a page: each is held in memory.
pub const PAGE_EVENTS_MAX: usize = 1000;
/// Events of a collection among which those of a large aggregate are looked for, for one page: some 250 ms.
pub const SEARCHED_EVENTS_MAX: usize = 20_000;
/// A page ends behind the event with which its fields pass so many bytes, about.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// The events of one collection; see [`Handle::events`]. Cheap to clone.
#[derive(Clone)]
pub struct Events {
    handle: Handle,
    collection: String,
}

/// An event to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its id, one of its collection, chosen by who stores it. Storing the event again under its id changes nothing, so
    /// make it of what makes the event one: a number that a till counts up, or a hash.
    pub id: String,
    /// What happened: 1 to [`EVENT_NAME_BYTES_MAX`] bytes.
    pub kind: String,
    /// To what: 1 to [`EVENT_NAME_BYTES_MAX`] bytes.
    pub aggregate_id: String,
    /// Any JSON, at most 1 MiB as text; every digit of its numbers is kept.
    pub data: Json,
    /// The same, for what is to be known beside it; null if nothing is.
    pub metadata: Json,
}

/// What storing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Events that were stored.
    pub stored: usize,
    /// Events that were there, exactly as they are.
    pub known: usize,
    /// The entry that holds those that were stored; `None`: none was.
    pub entry: Option<EntryId>,
    /// The events as this site reads them, in the order in which they were given.
    pub events: Vec<Event>,
}

/// Some events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsPage {
    /// The events, in the order in which this site took them in.
    pub events: Vec<Event>,
    /// The place behind them, and behind what was not for this page: what the next page begins behind.
    pub version: EventsVersion,
    /// Whether there are more already.
    pub has_more: bool,
}

impl Handle {
    /// The events of a collection.
    pub fn events(&self, collection: &str) -> Events {
        Events { handle: self.clone(), collection: collection.to_owned() }
    }
}

impl NewEvent {
    /// An event without metadata.
    pub fn new(
        id: impl Into<String>,
        kind: impl Into<String>,
        aggregate_id: impl Into<String>,
        data: Json,
    ) -> Self {
        let (id, kind, aggregate_id) = (id.into(), kind.into(), aggregate_id.into());
        Self { id, kind, aggregate_id, data, metadata: Json::Null }
    }

    /// The same with metadata.
    #[must_use]
    pub fn with_metadata(self, metadata: Json) -> Self {
        Self { metadata, ..self }
    }

    /// The edit that stores it.
    pub(crate) fn into_edit(self, collection: &str) -> RecordEdit {
        let Self { id, kind, aggregate_id, data, metadata } = self;
        // As text, so that a text among them is distinguished from JSON that is given as text.
        let metadata = if metadata.is_null() { Json::Null } else { metadata.to_string().into() };
        let fields = Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("aggregate_id".to_owned(), aggregate_id.into()),
            ("data".to_owned(), data.to_string().into()),
            ("metadata".to_owned(), metadata),
        ]);
        RecordEdit::new(collection, id, Edit::Put(fields))
    }
}

impl Events {
    /// Declares the collection as one of events, unless it is. Takes the role admin, and that the collection holds nothing.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn declare(&self) -> Result<(), NotWritten> {
        let schema = Schema::completed(Map::from_iter([("events".to_owned(), Json::Bool(true))]));
        let schema = Json::Object(schema);
        let declare = self.handle.transaction().put(SCHEMA_COLLECTION, &self.collection, schema);
        declare.commit().await.map(drop)
    }

    /// Stores an event. Returns when it is durable. The exact same event again is a success that changes nothing.
    ///
    /// # Errors
    /// [`NotStored`]; [`EventFault::Exists`] in it: another event has the id.
    pub async fn store(&self, event: NewEvent) -> Result<Stored, NotStored> {
        self.store_all(vec![event]).await
    }

    /// Stores several events, which become visible together or not at all.
    ///
    /// # Errors
    /// [`NotStored`]: none of them is stored.
    pub async fn store_all(&self, events: Vec<NewEvent>) -> Result<Stored, NotStored> {
        self.store_of(None, events).await
    }

    /// As [`Events::store_all`], where they come from `origin`: what was stored from there before is not stored again,
    /// whatever it is now.
    ///
    /// # Errors
    /// [`NotStored`]: none of them is stored.
    pub async fn store_of(
        &self,
        origin: Option<Origin>,
        events: Vec<NewEvent>,
    ) -> Result<Stored, NotStored> {
        self.demand().await?;
        let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        let edits = events.into_iter().map(|event| event.into_edit(&self.collection)).collect();
        let results = self.handle.write(vec![LocalTransaction { origin, edits }]).await;
        let results = results.map_err(NotWritten::from)?;
        let Some(written) = results.into_iter().next() else {
            // One transaction has one result.
            return Err(NotWritten::from(Stopped { reason: None }).into());
        };
        let written = written.map_err(NotWritten::from)?;
        let stored = written.records_changed;
        let known = ids.len() - stored;
        let events = self.by_id(ids).await?;
        Ok(Stored { stored, known, entry: written.entry, events })
    }

    /// The event of an id. `None`: there is none.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn load(&self, id: &str) -> Result<Option<Event>, NotRead> {
        self.demand().await?;
        Ok(self.by_id(vec![id.to_owned()]).await?.pop())
    }

    /// The events behind a version, or from the first on: at most `limit`, which is at most [`PAGE_EVENTS_MAX`].
    ///
    /// # Errors
    /// [`NotRead`]; a version of another site is refused, as is one that this site's journal does not hold any more.
    pub async fn load_since(
        &self,
        since: Option<EventsVersion>,
        limit: usize,
    ) -> Result<EventsPage, NotRead> {
        let mut subscription = self.subscribe(since).await?;
        subscription.page(limit).await
    }

    /// The events of an aggregate behind a version, or all: at most `limit`, which is at most [`PAGE_EVENTS_MAX`]. The
    /// index of the collection leads to them.
    ///
    /// An aggregate with more than [`AGGREGATE_EVENTS_MAX`] events is not put in order for each page: its events are looked
    /// for among those of the collection, some [`SEARCHED_EVENTS_MAX`] at a time, so that a page may have few or none of them
    /// with more to come. As in [`Events::load_since`], an event is there again where another site stored something else
    /// under its id.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn load_aggregate(
        &self,
        aggregate_id: &str,
        since: Option<EventsVersion>,
        limit: usize,
    ) -> Result<EventsPage, NotRead> {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        let bounds =
            EventBounds { events: limit, bytes: PAGE_BYTES, ordered: AGGREGATE_EVENTS_MAX };
        let (of, behind) = (aggregate_id.to_owned(), since.clone());
        let page = self.read(move |reader, feed, collection| {
            // Taken first, so that what comes meanwhile is behind it.
            let now = Cursor::now(feed.0, reader)?;
            let since = behind.as_ref().map(EventsVersion::cursor);
            let found = events::of_aggregate(reader, feed, collection, &of, since, bounds)?;
            let page = |found: events::Aggregate| {
                let last = found.events.last().map(|event| event.version.clone());
                let version = match (found.has_more, last) {
                    (true, Some(last)) => last,
                    (_, last) => {
                        let now = EventsVersion::from(now);
                        // What came meanwhile may be among the events.
                        last.filter(|last| last.compare(&now) == Ok(std::cmp::Ordering::Greater))
                            .unwrap_or(now)
                    }
                };
                EventsPage { events: found.events, version, has_more: found.has_more }
            };
            Ok(found.map(page))
        });
        match page.await? {
            Some(page) => Ok(page),
            None => self.search_aggregate(aggregate_id, since, limit).await,
        }
    }

    /// The next events of an aggregate among those of the collection.
    async fn search_aggregate(
        &self,
        aggregate_id: &str,
        since: Option<EventsVersion>,
        limit: usize,
    ) -> Result<EventsPage, NotRead> {
        let mut subscription = self.subscribe(since).await?;
        let mut searched = 0;
        loop {
            let EventsPage { events, mut version, mut has_more } =
                subscription.page(PAGE_EVENTS_MAX).await?;
            searched += events.len();
            let mut found = events.into_iter().filter(|e| e.content.aggregate_id == aggregate_id);
            let events: Vec<Event> = found.by_ref().take(limit).collect();
            if let Some(last) = events.last().filter(|_| found.next().is_some()) {
                (version, has_more) = (last.version.clone(), true);
            }
            if !events.is_empty() || !has_more || searched >= SEARCHED_EVENTS_MAX {
                return Ok(EventsPage { events, version, has_more });
            }
        }
    }

    /// The version behind all that this site shows now.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn latest_version(&self) -> Result<EventsVersion, NotRead> {
        self.read(|reader, of, collection| {
            events::require_events(reader, of.1, collection)?;
            Ok(Cursor::now(of.0, reader)?.into())
        })
        .await
    }

    /// What is stored behind a version, or from the first event on, as it comes.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn subscribe(&self, since: Option<EventsVersion>) -> Result<Subscription, NotRead> {
        self.demand().await?;
        let since = since.map_or(Since::Start, |since| Since::Cursor(since.into()));
        let consumer = self.handle.follow(since, Some(self.collection.clone())).await?;
        Ok(Subscription::new(consumer))
    }

    /// Events that were changed after they were stored, by a site that does not keep to that; the changes are not shown.
    /// By id, behind `after`, at most `limit`.
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn altered(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Altered>, NotRead> {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        self.read(move |reader, (_, space), collection| {
            events::require_events(reader, space, collection)?;
            let key = |id| RecordKey { space, collection: collection.to_owned(), id };
            let after = after.map(key);
            Ok(events::altered(reader, space, Some(collection), after.as_ref(), limit)?)
        })
        .await
    }

    /// Whether the collection is one of events.
    pub(crate) async fn demand(&self) -> Result<(), NotRead> {
        self.read(|reader, (_, space), collection| {
            events::require_events(reader, space, collection)
        })
        .await
    }

    pub(crate) async fn by_id(&self, ids: Vec<String>) -> Result<Vec<Event>, NotRead> {
        self.read(move |reader, of, collection| Ok(events::by_id(reader, of, collection, &ids)?))
            .await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader, (FeedId, SpaceId), &str) -> Result<T, NotLoaded> + Send + 'static,
    ) -> Result<T, NotRead> {
        let (site, collection) = (self.handle.site(), self.collection.clone());
        let read = move |reader: &Reader, space| {
            Ok::<_, StoreError>(read(reader, (FeedId::new(site, space), space), &collection))
        };
        Ok(self.handle.read(read).await.map_err(FeedError::from)??)
    }
}
