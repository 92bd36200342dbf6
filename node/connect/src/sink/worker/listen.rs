//! What the feed tells: which groups are dirty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use branchline_node::feed::{FeedError, FeedPage, Since};
use branchline_node::records::{Item, RecordKey, read};

use super::{SinkFailure, SinkWorker, now_ms};
use crate::jobs::tenure::CONNECTORS;
use crate::sink::group::shape::{Shape, at, ids_of};
use crate::sink::state::SinkPhase;

impl SinkWorker {
    /// Follows the feed from where it was followed to.
    pub(super) async fn follow(&mut self) -> Result<(), SinkFailure> {
        let since = match self.progress.cursor.as_deref().map(str::parse::<Since>) {
            Some(Ok(since)) => since,
            Some(Err(_)) | None => Since::Now,
        };
        let begins = matches!(since, Since::Now);
        let consumer = match self.node.follow(since, None).await {
            Err(FeedError::Cursor(_)) => {
                // The node was restored, or its history rebuilt: everything is looked at again.
                self.list_again().await?;
                self.node.follow(Since::Now, None).await?
            }
            consumer => consumer?,
        };
        if begins {
            self.progress.cursor = Some(consumer.cursor().to_string());
            self.state.keep(&self.progress).await?;
        }
        self.feed = Some(consumer);
        Ok(())
    }

    /// Makes dirty what a page tells of, together with the place behind it.
    pub(super) async fn hear(&mut self, page: FeedPage) -> Result<(), SinkFailure> {
        let mut changed: BTreeSet<(String, String)> = BTreeSet::new();
        let mut is_forked = false;
        let mut may_be_superseded = false;
        for item in &page.items {
            match &item.reported.item {
                Item::Change(change) => {
                    let key = &change.key;
                    if self.shape.knows(&key.collection) {
                        changed.insert((key.collection.clone(), key.id.clone()));
                    }
                    may_be_superseded |= key.collection == CONNECTORS && key.id == self.connector();
                }
                Item::Fork { .. } => is_forked = true,
            }
        }
        if is_forked {
            // What was said before may not hold any more.
            self.list_again().await?;
        }
        self.progress.cursor = Some(page.cursor.to_string());
        if may_be_superseded {
            self.check_tenure().await?;
        }
        if changed.is_empty() {
            // Nothing is lost if a crash comes first: the same is read again.
            return Ok(());
        }
        let targets = self.targets(changed.iter().cloned().collect()).await?;
        self.progress.touch += 1;
        let touch = (self.progress.touch, now_ms());
        self.state.begin().await?;
        for (collection, id) in &changed {
            let key = (collection.clone(), id.clone());
            let targets = targets.get(&key).map_or(&[][..], Vec::as_slice);
            self.state.record_changed(&self.shape, (collection, id), targets, touch).await?;
        }
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        self.due_at_ms = Some(0);
        self.mark_stale().await
    }

    /// What records name as their primary records now, by the relation's index.
    pub(super) async fn targets(
        &self,
        keys: Vec<(String, String)>,
    ) -> Result<BTreeMap<(String, String), Vec<(usize, Vec<String>)>>, SinkFailure> {
        let shape = std::sync::Arc::clone(&self.shape);
        let of_relations = move |collection: &str| {
            shape.by().any(|(_, relation, _)| relation.collection == collection)
        };
        let keys: Vec<_> = keys.into_iter().filter(|(of, _)| of_relations(of)).collect();
        if keys.is_empty() {
            return Ok(BTreeMap::new());
        }
        let shape = std::sync::Arc::clone(&self.shape);
        let read = self.node.read(move |tables, space| {
            let mut targets = BTreeMap::new();
            for (collection, id) in keys {
                let key = RecordKey { space, collection: collection.clone(), id: id.clone() };
                let view = read::record(tables, &key)?;
                let fields = view.as_ref().and_then(|view| view.live_fields());
                let of = shape.by().filter(|(_, relation, _)| relation.collection == collection);
                let named = of.map(|(index, _, path)| {
                    let value = fields.and_then(|fields| at(fields, path));
                    (index, value.map(ids_of).unwrap_or_default())
                });
                targets.insert((collection.clone(), id), named.collect());
            }
            Ok(targets)
        });
        Ok(read.await?)
    }

    /// Pushes of groups that have changed meanwhile are not sent, where they were not sent yet.
    async fn mark_stale(&mut self) -> Result<(), SinkFailure> {
        let ids: Vec<String> = self.flights.keys().cloned().collect();
        for id in ids {
            let touch = self.state.touch_of(&id).await?;
            if let Some(flight) = self.flights.get(&id)
                && touch != Some(flight.due.touch)
            {
                flight.stale.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// Everything is looked at again.
    pub(super) async fn list_again(&mut self) -> Result<(), SinkFailure> {
        self.progress.phase = SinkPhase::New;
        self.progress.listed_to = None;
        self.state.keep(&self.progress).await?;
        Ok(())
    }
}

impl Shape {
    /// Whether a change of a record of this collection may be one of a group.
    fn knows(&self, collection: &str) -> bool {
        self.collection == collection
            || self.relations.iter().any(|relation| relation.collection == collection)
    }
}
