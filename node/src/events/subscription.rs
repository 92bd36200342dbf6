//! Events as they come.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use branchline_crdt::events::{Event, EventsVersion};
use tokio::time::Instant;

use super::{EventsPage, NotRead, PAGE_BYTES, PAGE_EVENTS_MAX};
use crate::feed::{Consumer, FeedItem, FeedPage, PageBounds, WAIT_MAX};
use crate::records::Item;

/// Events behind a version, as they come. It may be dropped at any time: the version of the last event that was dealt
/// with is all that has to be kept.
pub struct Subscription {
    consumer: Consumer,
    /// Read and not given out yet: those of one page at the most.
    read: VecDeque<Event>,
}

impl Subscription {
    pub(crate) fn new(consumer: Consumer) -> Self {
        Self { consumer, read: VecDeque::new() }
    }

    /// The next event, whenever it comes. An event is reported again where another site stored something else under its id.
    ///
    /// # Errors
    /// [`NotRead`], as soon as the node stops, too; a later call goes on where this one was.
    pub async fn next(&mut self) -> Result<Event, NotRead> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(event);
            }
            let page = self.consumer.next_page(bounds(PAGE_EVENTS_MAX), Instant::now() + WAIT_MAX);
            self.read.extend(events_of(&page.await?));
        }
    }

    /// What there is, at most `limit` events, which is at most [`PAGE_EVENTS_MAX`].
    ///
    /// # Errors
    /// [`NotRead`].
    pub async fn page(&mut self, limit: usize) -> Result<EventsPage, NotRead> {
        self.page_within(limit, None).await
    }

    /// The same; where there is nothing, what comes within `wait`, which is at most [`WAIT_MAX`].
    ///
    /// # Errors
    /// [`NotRead`], as soon as the node stops, too.
    pub async fn next_page(&mut self, limit: usize, wait: Duration) -> Result<EventsPage, NotRead> {
        self.page_within(limit, Some(Instant::now() + wait.min(WAIT_MAX))).await
    }

    async fn page_within(
        &mut self,
        limit: usize,
        deadline: Option<Instant>,
    ) -> Result<EventsPage, NotRead> {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX);
        let mut events: Vec<Event> = Vec::new();
        events.extend(self.read.drain(..limit.min(self.read.len())));
        let mut has_more = true;
        // A page of the feed may be empty, or have no event where somebody changed one.
        while events.is_empty() && has_more {
            let page = match deadline {
                Some(deadline) => self.consumer.next_page(bounds(limit), deadline).await?,
                None => self.consumer.page(bounds(limit)).await?,
            };
            events.extend(events_of(&page));
            let is_late = deadline.is_none_or(|deadline| Instant::now() >= deadline);
            has_more = !page.is_end || (events.is_empty() && !is_late);
        }
        let version = match (self.read.is_empty(), events.last()) {
            (false, Some(last)) => last.version.clone(),
            (_, _) => EventsVersion::from(self.consumer.cursor().clone()),
        };
        Ok(EventsPage { events, version, has_more })
    }
}

fn bounds(events: usize) -> PageBounds {
    PageBounds { items_max: events, bytes_max: PAGE_BYTES }
}

/// The events that a page of the feed tells. A fork tells none: no event changes by it, and one that was undone is read by
/// nobody any more.
fn events_of(page: &FeedPage) -> Vec<Event> {
    let event = |item: &Arc<FeedItem>| match &item.reported.item {
        Item::Change(change) => Event::of_change(change, item.reported.cursor.clone()),
        Item::Fork { .. } => None,
    };
    page.items.iter().filter_map(event).collect()
}
