//! One consumer of the feed.

use std::sync::Arc;

use branchline_crdt::feed::{Cursor, FeedId, FeedRead, FeedReader};
use branchline_crdt::ids::SpaceId;
use branchline_crdt::store::ReadJournal;
use tokio::time::{Instant, timeout_at};

use super::seats::Seat;
use super::stretch::Stretch;
use super::stretches::{Of, STEP};
use super::{Feed, FeedError, FeedItem, FeedPage, PageBounds};
use crate::handle::Stopped;
use crate::storage::Reader;

/// Reads the feed from its place on. Dropping it costs nothing: its [`Consumer::cursor`] is all that has to be kept.
pub struct Consumer {
    feed: Feed,
    space: SpaceId,
    /// `None`: all.
    collection: Option<String>,
    cursor: Cursor,
    seat: Seat,
}

impl Consumer {
    pub(super) fn new(
        feed: Feed,
        space: SpaceId,
        collection: Option<String>,
        cursor: Cursor,
    ) -> Self {
        let seat = feed.shared.seats.take(cursor.place());
        Self { feed, space, collection, cursor, seat }
    }

    /// The place behind all that was read.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// What comes next, as much as there is within bounds.
    ///
    /// # Errors
    /// The place stays, and the same may succeed later.
    pub async fn page(&mut self, bounds: PageBounds) -> Result<FeedPage, FeedError> {
        let live = if self.is_due().await? {
            None
        } else {
            let collection = self.collection.as_deref();
            self.feed.live_page(self.space, &self.cursor, collection, bounds).await?
        };
        let page = match live {
            Some(page) => page,
            None => self.journal_page(bounds).await?,
        };
        self.cursor = page.cursor.clone();
        self.seat.move_to(self.cursor.place());
        Ok(page)
    }

    /// The same; where there is nothing, what comes until `deadline`.
    ///
    /// # Errors
    /// As [`Consumer::page`]; [`ReadError::Stopped`](crate::handle::ReadError::Stopped) as soon as the node stops.
    pub async fn next_page(
        &mut self,
        bounds: PageBounds,
        deadline: Instant,
    ) -> Result<FeedPage, FeedError> {
        let mut grown = self.feed.shared.storage.grown();
        let mut stopping = self.feed.shared.is_stopping.subscribe();
        loop {
            grown.mark_unchanged();
            let page = self.page(bounds).await?;
            let is_late = Instant::now() >= deadline;
            if !page.items.is_empty() || (page.is_end && is_late) {
                return Ok(page);
            }
            if !page.is_end {
                continue;
            }
            self.feed.go_live(self.space).await?;
            tokio::select! {
                _ = stopping.wait_for(|is_stopping| *is_stopping) => {
                    return Err(Stopped { reason: None }.into());
                }
                grown = timeout_at(deadline, grown.changed()) => match grown {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Err(Stopped { reason: None }.into()),
                    Err(_) => return Ok(page),
                },
            }
        }
    }

    /// Whether something that was left out before can be given now.
    async fn is_due(&self) -> Result<bool, FeedError> {
        if self.cursor.is_owed_nothing() {
            return Ok(false);
        }
        let cursor = self.cursor.clone();
        Ok(self.feed.blocking(move |storage| cursor.is_due(storage)).await??)
    }

    /// What comes next, as the journal has it.
    async fn journal_page(&self, bounds: PageBounds) -> Result<FeedPage, FeedError> {
        if !self.cursor.is_owed_nothing() {
            return self.own_page(bounds).await;
        }
        if let Some(page) = self.kept_page(bounds)? {
            return Ok(page);
        }
        // The semaphore is never closed.
        let _permit = self.feed.shared.at_work.acquire().await;
        // Anyone who had the turn before may have read it.
        if let Some(page) = self.kept_page(bounds)? {
            return Ok(page);
        }
        let read = self.read(STEP).await?;
        let is_end = read.is_end;
        let mut run = Stretch::behind(self.cursor.clone());
        run.push(read);
        let page = run.page(&self.cursor, None, bounds);
        self.feed.stretches().keep(self.of(), Arc::new(run));
        Ok(FeedPage { is_end: page.is_end && is_end, ..page })
    }

    /// What comes next for a consumer that is owed something: it may lie before its place, and is reported to it alone.
    async fn own_page(&self, bounds: PageBounds) -> Result<FeedPage, FeedError> {
        let _permit = self.feed.shared.at_work.acquire().await;
        let FeedRead { reported, cursor, is_end, went_back: _ } = self.read(bounds).await?;
        Ok(FeedPage { items: reported.into_iter().map(FeedItem::new).collect(), cursor, is_end })
    }

    /// What comes next, if another consumer has read it lately.
    fn kept_page(&self, bounds: PageBounds) -> Result<Option<FeedPage>, FeedError> {
        let found = self.feed.stretches().find(&self.of(), self.cursor.place());
        let Some(run) = found else { return Ok(None) };
        let page = run.page(&self.cursor, None, bounds);
        let applied = self.feed.shared.storage.applied()?;
        let is_end = page.is_end && applied.is_none_or(|applied| page.cursor.is_behind(applied));
        Ok(Some(FeedPage { is_end, ..page }))
    }

    fn of(&self) -> Of {
        Of { space: self.space, collection: self.collection.clone() }
    }

    /// Reads what comes next from the journal.
    async fn read(&self, bounds: PageBounds) -> Result<FeedRead, FeedError> {
        let rested = self.feed.resting().pop(&(self.cursor.to_string(), self.collection.clone()));
        let (space, cursor) = (self.space, self.cursor.clone());
        let collection = self.collection.clone();
        let feed = FeedId::new(self.feed.shared.site, space);
        let read = move |storage: &Reader| -> Result<_, FeedError> {
            let mut reader = match rested {
                Some(reader) => reader,
                None => FeedReader::open(storage, feed, space, cursor, collection)?,
            };
            let page = reader.read(storage, bounds)?;
            Ok((page, reader))
        };
        let (page, reader) = self.feed.blocking(read).await??;
        let key = (page.cursor.to_string(), self.collection.clone());
        self.feed.resting().put(key, reader);
        Ok(page)
    }
}
