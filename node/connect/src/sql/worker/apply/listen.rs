//! What the feed tells: records that changed wait to be applied.

use std::collections::BTreeSet;
use std::time::Duration;

use branchline_crdt::feed::Item;
use branchline_node::feed::{FeedError, FeedPage, Since};
use tokio::time::Instant;

use crate::jobs::feed::PAGE;
use crate::sql::state::{Direction, Phase, Steps};
use crate::sql::worker::{BridgeFailure, BridgeWorker};

/// Feed pages are read while at most so many records of a table wait, so that reading does not run far ahead.
const WAITING_MAX: u64 = 50_000;
/// They are counted again after so many more, since counting takes longer with each that waits.
const COUNT_EVERY: usize = 10_000;

/// How often it is looked at whether reading can go on.
const CATCH_UP_EVERY: Duration = Duration::from_millis(200);

impl BridgeWorker {
    /// Follows the feed from where it was followed to.
    pub(in crate::sql::worker) async fn listen_from(&mut self) -> Result<(), BridgeFailure> {
        let applies = self.mappings.values().any(|mapping| mapping.mode.applies());
        if !applies {
            self.feed = None;
            return Ok(());
        }
        let cursor = self.progress.cursor.clone();
        let since = match cursor.as_deref().map(str::parse::<Since>) {
            Some(Ok(since)) => since,
            Some(Err(_)) | None => Since::Now,
        };
        let begins = matches!(since, Since::Now);
        let consumer = match self.node.follow(since, None).await {
            Err(FeedError::Cursor(_)) => {
                // The node was restored, or its history rebuilt: what is there now is listed as a whole.
                self.list_again().await?;
                self.node.follow(Since::Now, None).await?
            }
            consumer => consumer?,
        };
        if begins {
            self.progress.cursor = Some(consumer.cursor().to_string());
            self.keep_progress().await?;
        }
        self.feed = Some(consumer);
        Ok(())
    }

    /// Lists the records of all applied tables again.
    async fn list_again(&mut self) -> Result<(), BridgeFailure> {
        let applied: Vec<u32> = self.applied_tables().collect();
        for number in applied {
            let phase = self.tables.get(&number).map(|table| table.phase);
            if matches!(phase, Some(Phase::Running | Phase::Listing)) {
                self.state.enter(number, Phase::Listing).await?;
            }
        }
        self.reread_tables().await
    }

    /// The tables that records are applied to.
    pub(in crate::sql::worker) fn applied_tables(&self) -> impl Iterator<Item = u32> {
        let applied = self.mappings.iter().filter(|(_, mapping)| mapping.mode.applies());
        applied.map(|(number, _)| *number)
    }

    /// Keeps what a page tells as waiting, together with the place behind it.
    pub(in crate::sql::worker) async fn hear(
        &mut self,
        page: FeedPage,
    ) -> Result<(), BridgeFailure> {
        let mut waiting = BTreeSet::new();
        let mut is_forked = false;
        for item in &page.items {
            match &item.reported.item {
                Item::Change(change) => {
                    let tables = self.mappings.iter().filter(|(_, mapping)| {
                        mapping.mode.applies() && mapping.collection == change.key.collection
                    });
                    waiting.extend(tables.map(|(number, _)| (*number, change.key.id.clone())));
                }
                Item::Fork { .. } => is_forked = true,
            }
        }
        if is_forked {
            // What was reported before may not hold any more.
            self.list_again().await?;
        }
        self.progress.cursor = Some(page.cursor.to_string());
        if waiting.is_empty() {
            // Nothing is lost if a crash comes first: the same is read again.
            return Ok(());
        }
        let waiting: Vec<(u32, String)> = waiting.into_iter().collect();
        self.uncounted += waiting.len();
        let progress = self.progress.clone();
        let steps = Steps { progress: Some(&progress), waiting: &waiting, ..Steps::default() };
        self.state.keep(steps).await?;
        // What was refused as it was may be taken as it is now.
        for number in self.applied_tables().collect::<Vec<_>>() {
            let of_table = waiting.iter().filter(|(table, _)| *table == number);
            let names: Vec<String> = of_table.map(|(_, id)| id.clone()).collect();
            self.release(number, Direction::Apply, &names).await?;
        }
        Ok(())
    }

    /// Reads on in the feed while not much waits; returns whether there may be more.
    pub(in crate::sql::worker) async fn catch_up(&mut self) -> Result<bool, BridgeFailure> {
        if Instant::now() < self.catch_up_due {
            return Ok(false);
        }
        if self.uncounted >= COUNT_EVERY {
            for number in self.applied_tables().collect::<Vec<_>>() {
                if self.works(number) && self.state.waits_for_more(number, WAITING_MAX).await? {
                    self.catch_up_due = Instant::now() + CATCH_UP_EVERY;
                    return Ok(false);
                }
            }
            self.uncounted = 0;
        }
        let Some(feed) = &mut self.feed else { return Ok(false) };
        let page = feed.page(PAGE).await?;
        let has_more = !page.is_end;
        self.hear(page).await?;
        Ok(has_more)
    }
}
