//! The end of the feed, read once for all consumers that wait there.
//!
//! Anyone who comes first after something new reads it into the ring; the others find it there.

use std::time::Duration;

use branchline_crdt::feed::{Cursor, FeedId, FeedReader, NotOpened, PageBounds};
use branchline_crdt::ids::SpaceId;
use branchline_crdt::store::{ReadJournal, StoreError};
use tokio::time::Instant;

use super::stretch::Stretch;
use super::{Feed, FeedError, FeedPage};
use crate::storage::Reader;

/// Items in the ring, some KB each: enough that nobody who takes what comes falls behind it.
const RING_ITEMS_MAX: usize = 4096;
/// Bytes of values in the ring, about. At least one item is kept.
const RING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much is read into it at a time.
const STEP: PageBounds = PageBounds { items_max: 512, bytes_max: 512 * 1024 };
/// When nobody has come for so long, the ring starts over where somebody waits next. Who waits comes more often.
const LINGER: Duration = Duration::from_secs(60);

/// The reader at the feed's end, and what it read last.
pub(super) struct Live {
    feed: FeedId,
    space: SpaceId,
    reader: FeedReader,
    ring: Stretch,
    used: Instant,
}

impl Live {
    fn open(storage: &Reader, feed: FeedId, space: SpaceId) -> Result<Self, NotOpened> {
        let cursor = Cursor::now(feed, storage)?;
        let ring = Stretch::behind(cursor.clone());
        let reader = FeedReader::open(storage, feed, space, cursor, None)?;
        Ok(Self { feed, space, reader, ring, used: Instant::now() })
    }

    /// Whether the ring is for consumers of a space now.
    fn is_of(&self, space: SpaceId) -> bool {
        self.space == space && self.used.elapsed() < LINGER
    }

    /// Whether the ring lacks something that the tables show.
    fn lags(&self, storage: &Reader) -> Result<bool, StoreError> {
        let applied = storage.applied()?;
        Ok(applied.is_some_and(|applied| !self.ring.end().is_behind(applied)))
    }
}

impl Feed {
    /// What follows a cursor, from the ring; `None` where it is not there.
    pub(super) async fn live_page(
        &self,
        space: SpaceId,
        cursor: &Cursor,
        collection: Option<&str>,
        bounds: PageBounds,
    ) -> Result<Option<FeedPage>, FeedError> {
        let mut slot = self.shared.live.lock().await;
        let Some(mut live) = slot.take_if(|live| live.is_of(space)) else { return Ok(None) };
        live.used = Instant::now();
        // After an error there is no ring, until somebody waits again.
        if live.lags(&self.shared.storage)? {
            live = self.blocking(move |storage| advance(storage, live)).await??;
        }
        let lags = live.lags(&self.shared.storage)?;
        let reaches = live.ring.follows(cursor.place());
        let page = reaches.then(|| live.ring.page(cursor, collection, bounds));
        *slot = Some(live);
        Ok(page.map(|page| FeedPage { is_end: page.is_end && !lags, ..page }))
    }

    /// Begins the ring at the feed's end, unless there is one.
    pub(super) async fn go_live(&self, space: SpaceId) -> Result<(), FeedError> {
        let mut slot = self.shared.live.lock().await;
        if slot.as_ref().is_some_and(|live| live.is_of(space)) {
            return Ok(());
        }
        let feed = FeedId::new(self.shared.site, space);
        *slot = Some(self.blocking(move |storage| Live::open(storage, feed, space)).await??);
        Ok(())
    }
}

/// Reads one step into the ring.
fn advance(storage: &Reader, mut live: Live) -> Result<Live, NotOpened> {
    let page = live.reader.read(storage, STEP)?;
    if page.went_back {
        // What comes again lies before what consumers have seen; those who are owed it read it themselves.
        live = Live::open(storage, live.feed, live.space)?;
    } else {
        live.ring.push(page);
        live.ring.trim(RING_ITEMS_MAX, RING_BYTES_MAX);
    }
    Ok(live)
}
