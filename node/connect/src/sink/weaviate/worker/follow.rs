//! What is there, and what changes: which records are dirty.

use std::collections::BTreeSet;

use branchline_node::feed::{FeedError, FeedPage, Since};
use branchline_node::records::Item;
use data_encoding::HEXLOWER;

use super::{SinkFailure, WeaviateWorker, now_ms};
use crate::jobs::digest::digest;
use crate::jobs::tenure::CONNECTORS;
use crate::sink::group::fresh;
use crate::sink::weaviate::plan::look;

impl WeaviateWorker {
    /// Begins where the sink was before; with everything where it has other settings, and as with a new one where it has
    /// another server.
    pub(super) async fn begin(&mut self) -> Result<(), SinkFailure> {
        self.state.break_runs_off(now_ms()).await?;
        self.run = None;
        let settings = self.settings();
        if self.progress.settings != settings {
            let server = |settings: &str| settings.split(' ').next().map(str::to_owned);
            let is_known = server(&self.progress.settings) == server(&settings);
            if !is_known && !self.progress.settings.is_empty() {
                self.state.forget_remote().await?;
            }
            self.state.keep_edges(&self.config.edges).await?;
            self.progress.asks = is_known;
            self.progress.settings = settings;
            // What was deleted here may be there, by what another site has sent, or an earlier file of this one; but not in
            // classes that were made just now.
            let is_forced = !is_known && !self.classes.are_new();
            return self.list_again(None, is_forced || self.progress.is_forced).await;
        }
        if self.progress.listing.is_some() || self.progress.cursor.is_none() {
            return self.list_again(None, self.progress.is_forced).await;
        }
        let since = self.progress.cursor.as_deref().map(str::parse::<Since>);
        let Some(Ok(since)) = since else { return self.list_again(None, false).await };
        match self.node.follow(since, None).await {
            Ok(consumer) => {
                self.feed = Some(consumer);
                Ok(())
            }
            // The node was restored, or its history rebuilt: everything is looked at again.
            Err(FeedError::Cursor(_)) => self.list_again(None, false).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Where the configuration was another before: what it would send now. Above a number a person is asked.
    pub(super) async fn ask_first(&mut self) -> Result<(), SinkFailure> {
        if !self.progress.asks {
            return Ok(());
        }
        if self.progress.agreed != self.progress.settings {
            let looked = look(&self.config, &self.filters, &self.node, &mut self.state, 0).await?;
            let (sends, objects) = (looked.0.pushes(), looked.0.groups);
            if sends > self.ask_over {
                let name = &self.name;
                return Err(SinkFailure::Rest(format!(
                    "its configuration has changed, and would send {sends} of {objects} objects: `branchline sink plan {name}` \
                     shows them, `branchline sink run {name} --yes` sends them"
                )));
            }
        }
        self.progress.asks = false;
        Ok(self.state.keep(&self.progress).await?)
    }

    /// Which server, and what is sent to it.
    pub(super) fn settings(&self) -> String {
        let hash =
            |value: serde_json::Value| HEXLOWER.encode(digest(&value).get(..8).unwrap_or_default());
        let what = serde_json::to_value((&self.config.objects, &self.config.edges));
        format!("{} {}", hash(self.config.url.clone().into()), hash(what.unwrap_or_default()))
    }

    /// Everything is looked at again, or one collection; `is_forced`: and sent, whatever the server has.
    pub(super) async fn list_again(
        &mut self,
        one: Option<usize>,
        is_forced: bool,
    ) -> Result<(), SinkFailure> {
        // What changes from here on the feed says.
        if self.feed.is_none() || self.progress.listing.is_none() {
            let consumer = self.node.follow(Since::Now, None).await?;
            // A place that was followed to stays behind: what is reported twice is looked at twice.
            if one.is_none() || self.progress.cursor.is_none() {
                self.progress.cursor = Some(consumer.cursor().to_string());
                self.feed = Some(consumer);
            }
        }
        self.progress.listing = Some(one.unwrap_or(0));
        self.progress.listed_to = None;
        self.progress.is_forced = is_forced && one.is_none();
        self.counts.listing_end = one.map_or(self.config.objects.len(), |index| index + 1);
        self.counts.is_forced = is_forced;
        self.counts.listed = 0;
        self.state.begin().await?;
        let first = one.unwrap_or(0);
        for index in first..self.counts.listing_end {
            let collection = self.config.objects.get(index).map(|object| object.collection.clone());
            let Some(collection) = collection else { continue };
            self.state.touch_known(&collection, is_forced, now_ms()).await?;
        }
        self.state.keep(&self.progress).await?;
        Ok(self.state.end().await?)
    }

    /// One page of what is there; returns whether there is more to do at once.
    pub(super) async fn list(&mut self) -> Result<bool, SinkFailure> {
        let Some(index) = self.progress.listing else { return Ok(false) };
        let object = self.config.objects.get(index).filter(|_| index < self.counts.listing_end);
        let Some(collection) = object.map(|object| object.collection.clone()) else {
            self.progress.listing = None;
            self.progress.is_forced = false;
            self.state.keep(&self.progress).await?;
            return Ok(true);
        };
        let page = fresh::ids(&self.node, &collection, self.progress.listed_to.clone()).await?;
        self.state.begin().await?;
        for id in &page {
            self.state.touch(&collection, id, self.counts.is_forced, now_ms()).await?;
        }
        match page.last() {
            Some(last) => self.progress.listed_to = Some(last.clone()),
            None => {
                self.progress.listing = Some(index + 1);
                self.progress.listed_to = None;
            }
        }
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        self.counts.listed += page.len() as u64;
        Ok(true)
    }

    /// Makes dirty what a page says, together with the place behind it.
    pub(super) async fn hear(&mut self, page: FeedPage) -> Result<(), SinkFailure> {
        let mut changed: BTreeSet<(String, String)> = BTreeSet::new();
        let (mut is_forked, mut may_be_superseded) = (false, false);
        for item in &page.items {
            match &item.reported.item {
                Item::Change(change) => {
                    let key = &change.key;
                    if self.config.object(&key.collection).is_some() {
                        changed.insert((key.collection.clone(), key.id.clone()));
                    }
                    may_be_superseded |= key.collection == CONNECTORS && key.id == self.connector();
                }
                Item::Fork { .. } => is_forked = true,
            }
        }
        self.progress.cursor = Some(page.cursor.to_string());
        if may_be_superseded {
            self.check_tenure().await?;
        }
        if is_forked {
            // What was said before may not hold any more.
            return self.list_again(None, false).await;
        }
        if changed.is_empty() {
            // Nothing is lost if a crash comes first: the same is read again.
            return Ok(());
        }
        self.state.begin().await?;
        for (collection, id) in &changed {
            self.state.touch(collection, id, false, now_ms()).await?;
        }
        self.state.keep(&self.progress).await?;
        Ok(self.state.end().await?)
    }
}
