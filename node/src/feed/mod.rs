//! The feed of changes, for consumers of a running or opened node.
//!
//! Anyone who waits at its end is served by the ring of `live`: what is new is read from the journal once, for all.
//! Anyone who is further behind reads the journal at a pace of its own, a few at a time, and leaves what it read to others
//! for a while (`stretches`). A consumer that takes nothing costs nothing but its connection.

mod consumer;
mod live;
mod seats;
mod stretch;
mod stretches;

use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use branchline_crdt::feed::{
    BadCursor, Cursor, FeedEvent, FeedId, FeedPosition, FeedReader, Item, NotOpened,
};
use branchline_crdt::ids::{SiteId, SpaceId};
use branchline_crdt::store::StoreError;
use lru::LruCache;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::handle::{ReadError, Stopped};
use crate::storage::Reader;
use live::Live;
use seats::Seats;
use stretches::Stretches;

pub use branchline_crdt::feed::PageBounds;
pub use consumer::Consumer;

/// How long a consumer may wait for something new at a time.
pub const WAIT_MAX: Duration = Duration::from_secs(50);
/// Consumers that read the journal at the same time, each with a thread; others wait. Two keep the disk busy.
const READERS_MAX: usize = 2;
/// Readers kept between two pages of a consumer with the records that they have come by. Without its reader a consumer
/// goes on all the same, and slower where records changed often.
const READERS_RESTING: NonZeroUsize = NonZeroUsize::new(8).unwrap();

/// The feed of one site. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed {
    shared: Arc<FeedShared>,
}

struct FeedShared {
    storage: Reader,
    site: SiteId,
    live: Mutex<Option<Live>>,
    at_work: Semaphore,
    resting: std::sync::Mutex<Resting>,
    stretches: std::sync::Mutex<Stretches>,
    is_stopping: watch::Sender<bool>,
    seats: Seats,
}

/// What is known of the consumers there are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeedMeasured {
    /// How many.
    pub(crate) consumers: usize,
    /// Bytes of the journal that the slowest has not come to; 0 where there is none. `None`: it is not known.
    pub(crate) lag_bytes: Option<u64>,
}

/// Readers by the cursor that a consumer goes on from, and its collection.
type Resting = LruCache<(String, Option<String>), FeedReader>;

/// Where a consumer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Before the first change.
    Start,
    /// Behind what shows now.
    Now,
    /// Where a consumer was before.
    Cursor(Cursor),
}

impl FromStr for Since {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        match text {
            "start" => Ok(Self::Start),
            "now" => Ok(Self::Now),
            cursor => cursor.parse().map(Self::Cursor),
        }
    }
}

/// A part of the feed, for one consumer.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// What is reported, in order.
    pub items: Vec<Arc<FeedItem>>,
    /// The consumer's place behind all of it.
    pub cursor: Cursor,
    /// Whether there is nothing more for now.
    pub is_end: bool,
}

/// One thing that the feed tells. Consumers share it.
#[derive(Debug)]
pub struct FeedItem {
    /// What is reported, and the cursor behind it.
    pub reported: FeedEvent,
    text: OnceLock<String>,
    cursor_text: OnceLock<String>,
}

impl FeedItem {
    fn new(reported: FeedEvent) -> Arc<Self> {
        Arc::new(Self { reported, text: OnceLock::new(), cursor_text: OnceLock::new() })
    }

    /// The item as text, made once for all who want it.
    pub(crate) fn text(&self, render: impl FnOnce(&FeedEvent) -> String) -> &str {
        self.text.get_or_init(|| render(&self.reported))
    }

    /// The cursor behind the item as text, made once too.
    pub(crate) fn cursor_text(&self) -> &str {
        self.cursor_text.get_or_init(|| self.reported.cursor.to_string())
    }

    /// Whether it is for a consumer of this collection (`None`: of all).
    fn is_for(&self, collection: Option<&str>) -> bool {
        match &self.reported.item {
            Item::Change(change) => collection.is_none_or(|wanted| wanted == change.key.collection),
            Item::Fork { .. } => true,
        }
    }
}

/// Why the feed cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The cursor is none of this feed.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// It cannot be read now. While the tables are rebuilt the storage fails; a consumer that tries again later misses
    /// nothing.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl From<NotOpened> for FeedError {
    fn from(error: NotOpened) -> Self {
        match error {
            NotOpened::Cursor(error) => Self::Cursor(error),
            NotOpened::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for FeedError {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

impl From<Stopped> for FeedError {
    fn from(error: Stopped) -> Self {
        Self::Read(error.into())
    }
}

impl Feed {
    pub(crate) fn new(storage: Reader, site: SiteId) -> Self {
        let shared = FeedShared {
            storage,
            site,
            live: Mutex::new(None),
            at_work: Semaphore::new(READERS_MAX),
            resting: std::sync::Mutex::new(LruCache::new(READERS_RESTING)),
            stretches: std::sync::Mutex::default(),
            is_stopping: watch::Sender::new(false),
            seats: Seats::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn site(&self) -> SiteId {
        self.shared.site
    }

    /// What is known of the consumers there are now.
    pub(crate) fn measure(&self) -> FeedMeasured {
        let (consumers, slowest) = self.shared.seats.look();
        let behind = |place: Option<FeedPosition>| {
            self.shared.storage.bytes_behind(place.map(|place| place.position))
        };
        FeedMeasured { consumers, lag_bytes: slowest.map_or(Some(0), |place| behind(place).ok()) }
    }

    /// Ends the waiting of all consumers.
    pub(crate) fn stop(&self) {
        self.shared.is_stopping.send_replace(true);
    }

    /// Turns true when the node stops: who waits for something else stops waiting as well.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.shared.is_stopping.subscribe()
    }

    /// A consumer of the feed of a space.
    pub(crate) async fn open(
        &self,
        space: SpaceId,
        since: Since,
        collection: Option<String>,
    ) -> Result<Consumer, FeedError> {
        let feed = FeedId::new(self.shared.site, space);
        let cursor = match since {
            Since::Start => Cursor::start(feed),
            Since::Now => self.blocking(move |storage| Cursor::now(feed, storage)).await??,
            Since::Cursor(cursor) => self.checked(space, cursor, collection.clone()).await?,
        };
        Ok(Consumer::new(self.clone(), space, collection, cursor))
    }

    /// A cursor that this journal holds. What a resting reader waits for was given out by this process.
    async fn checked(
        &self,
        space: SpaceId,
        cursor: Cursor,
        collection: Option<String>,
    ) -> Result<Cursor, FeedError> {
        let key = (cursor.to_string(), collection);
        if !self.resting().contains(&key) {
            let (feed, checked) = (FeedId::new(self.shared.site, space), cursor.clone());
            let of = key.1.clone();
            let open = move |storage: &Reader| FeedReader::open(storage, feed, space, checked, of);
            let reader = self.blocking(open).await??;
            self.resting().put(key, reader);
        }
        Ok(cursor)
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        // A thread that panicked while holding the lock left the cache whole.
        self.shared.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stretches(&self) -> MutexGuard<'_, Stretches> {
        // A thread that panicked while holding the lock left the stretches whole.
        self.shared.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let storage = self.shared.storage.clone();
        let done = tokio::task::spawn_blocking(move || read(&storage)).await;
        done.map_err(|error| Stopped { reason: Some(error.to_string()) })
    }
}
