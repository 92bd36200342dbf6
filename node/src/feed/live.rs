//! The end of the feed, read once for all consumers that wait there.
//!
//! Whoever comes first after something new reads it into the ring; the others find it there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use branchline_crdt::feed::{
    Cursor, FeedId, NotOpened, Page, PageBounds, Place, Reader as FeedReader,
};
use branchline_crdt::ids::SpaceId;
use branchline_crdt::store::{ReadJournal, StoreError};
use tokio::time::Instant;

use super::{Feed, FeedError, FeedItem, FeedPage};
use crate::storage::Reader;

/// Items in the ring, some KB each: enough that nobody who takes what comes falls behind it.
const RING_ITEMS_MAX: usize = 4096;
/// Bytes of values in the ring, about. At least one item is kept.
const RING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much is read into it at a time.
const STEP: PageBounds = PageBounds { items_max: 512, bytes_max: 512 * 1024 };
/// When nobody has come for so long, the ring begins anew where somebody waits next. Who waits comes more often.
const LINGER: Duration = Duration::from_secs(60);

/// The reader at the feed's end, and what it read last.
pub(super) struct Live {
    feed: FeedId,
    space: SpaceId,
    reader: FeedReader,
    /// The ring holds all that follows this place.
    base: Option<Place>,
    ring: VecDeque<(Arc<FeedItem>, usize)>,
    bytes: usize,
    used: Instant,
}

impl Live {
    fn open(storage: &Reader, feed: FeedId, space: SpaceId) -> Result<Self, NotOpened> {
        let cursor = Cursor::now(feed, storage)?;
        let base = cursor.place();
        let reader = FeedReader::open(storage, feed, space, cursor, None)?;
        let ring = VecDeque::new();
        Ok(Self { feed, space, reader, base, ring, bytes: 0, used: Instant::now() })
    }

    /// Whether the ring is for consumers of a space now.
    fn is_of(&self, space: SpaceId) -> bool {
        self.space == space && self.used.elapsed() < LINGER
    }

    /// Whether the ring lacks something that the tables show.
    fn lags(&self, storage: &Reader) -> Result<bool, StoreError> {
        let applied = storage.applied()?;
        Ok(applied.is_some_and(|applied| !self.reader.cursor().is_behind(applied)))
    }

    /// Takes in what the reader has read.
    fn take(&mut self, page: Page) {
        for told in page.told {
            let bytes = told.json_bytes();
            self.bytes += bytes;
            self.ring.push_back((FeedItem::new(told), bytes));
        }
        while self.ring.len() > RING_ITEMS_MAX
            || (self.bytes > RING_BYTES_MAX && self.ring.len() > 1)
        {
            let Some((item, bytes)) = self.ring.pop_front() else { break };
            self.bytes -= bytes;
            self.base = item.told.cursor.place();
        }
    }

    /// What follows a cursor; `None` where the ring does not reach back to it.
    fn page(
        &self,
        cursor: &Cursor,
        collection: Option<&str>,
        bounds: PageBounds,
    ) -> Option<FeedPage> {
        let place = cursor.place();
        if place < self.base {
            return None;
        }
        let first = self.ring.partition_point(|(item, _)| item.told.cursor.place() <= place);
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut last = None;
        let mut is_end = true;
        for (item, item_bytes) in self.ring.range(first..) {
            if items.len() >= bounds.items_max || bytes >= bounds.bytes_max {
                is_end = false;
                break;
            }
            last = Some(&item.told.cursor);
            if item.is_for(collection) {
                bytes += item_bytes;
                items.push(for_consumer(item, cursor));
            }
        }
        // Behind what was read and told nothing, too.
        let end = self.reader.cursor();
        let last = if is_end && end.place() > place { Some(end) } else { last };
        let cursor = last.map_or_else(|| cursor.clone(), |last| cursor.moved_to(last));
        Some(FeedPage { items, cursor, is_end })
    }
}

/// The item as one consumer sees it, who may still be owed what was left out before.
fn for_consumer(item: &Arc<FeedItem>, consumer: &Cursor) -> Arc<FeedItem> {
    if consumer.is_owed_nothing() {
        return Arc::clone(item);
    }
    let mut told = item.told.clone();
    told.cursor = consumer.moved_to(&told.cursor);
    FeedItem::new(told)
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
        let page = live.page(cursor, collection, bounds);
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
    match page.went_back {
        false => live.take(page),
        // What comes again lies before what consumers have seen; those who are owed it read it themselves.
        true => live = Live::open(storage, live.feed, live.space)?,
    }
    Ok(live)
}
