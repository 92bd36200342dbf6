//! A stretch of the feed in memory, read once for all consumers that come by.

use std::collections::VecDeque;
use std::sync::Arc;

use branchline_crdt::feed::{Cursor, FeedPosition, FeedRead, PageBounds};

use super::{FeedItem, FeedPage};

/// A stretch of the feed without gaps.
pub(super) struct Stretch {
    /// It holds all that follows this place.
    base: Option<FeedPosition>,
    /// With the bytes of their values.
    items: VecDeque<(Arc<FeedItem>, usize)>,
    bytes: usize,
    /// Behind all of it, and behind what was read after it and reported nothing.
    end: Cursor,
}

impl Stretch {
    /// An empty one.
    pub(super) fn behind(cursor: Cursor) -> Self {
        Self { base: cursor.place(), items: VecDeque::new(), bytes: 0, end: cursor }
    }

    /// Appends what follows its end.
    pub(super) fn push(&mut self, page: FeedRead) {
        for reported in page.reported {
            let bytes = reported.json_bytes();
            self.bytes += bytes;
            self.items.push_back((FeedItem::new(reported), bytes));
        }
        self.end = page.cursor;
    }

    /// Drops what is too much from its beginning. One item is kept.
    pub(super) fn trim(&mut self, items_max: usize, bytes_max: usize) {
        while self.items.len() > items_max || (self.bytes > bytes_max && self.items.len() > 1) {
            let Some((item, bytes)) = self.items.pop_front() else { break };
            self.bytes -= bytes;
            self.base = item.reported.cursor.place();
        }
    }

    /// Bytes of its values, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The place behind all of it.
    pub(super) fn end(&self) -> &Cursor {
        &self.end
    }

    /// Whether all that follows a place up to the end is in it.
    pub(super) fn follows(&self, place: Option<FeedPosition>) -> bool {
        self.base <= place
    }

    /// What follows a cursor; `is_end`: to the end of the stretch.
    pub(super) fn page(
        &self,
        cursor: &Cursor,
        collection: Option<&str>,
        bounds: PageBounds,
    ) -> FeedPage {
        let place = cursor.place();
        let first = self.items.partition_point(|(item, _)| item.reported.cursor.place() <= place);
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut last = None;
        let mut is_end = true;
        for (item, item_bytes) in self.items.range(first..) {
            if items.len() >= bounds.items_max || bytes >= bounds.bytes_max {
                is_end = false;
                break;
            }
            last = Some(&item.reported.cursor);
            if item.is_for(collection) {
                bytes += item_bytes;
                items.push(for_consumer(item, cursor));
            }
        }
        // Behind what was read and reported nothing, too.
        let last = if is_end && self.end.place() > place { Some(&self.end) } else { last };
        let cursor = last.map_or_else(|| cursor.clone(), |last| cursor.moved_to(last));
        FeedPage { items, cursor, is_end }
    }
}

/// The item as one consumer sees it, who may still be owed what was left out before.
fn for_consumer(item: &Arc<FeedItem>, consumer: &Cursor) -> Arc<FeedItem> {
    if consumer.is_owed_nothing() {
        return Arc::clone(item);
    }
    let mut reported = item.reported.clone();
    reported.cursor = consumer.moved_to(&reported.cursor);
    FeedItem::new(reported)
}
