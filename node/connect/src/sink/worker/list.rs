//! What was there before: the sink begins with it, and comes back to it where its configuration has changed, where a person
//! asks for all, or where its place in the feed is gone. First come the records that name their primary one, so that no
//! group is looked at before all of it is known.

use branchline_node::records::read;

use super::{SinkFailure, SinkWorker, now_ms};
use crate::sink::group::delivered::{self, Delivered};
use crate::sink::group::fresh::{self, PAGE};
use crate::sink::state::SinkPhase;
use crate::sink::survey::{Counting, Surveyor};
use crate::sink::task::Task;

impl SinkWorker {
    /// One page of what was there before; returns whether there is more to do at once.
    pub(super) async fn list(&mut self) -> Result<bool, SinkFailure> {
        match self.progress.phase {
            SinkPhase::New => self.list_from_the_beginning().await?,
            SinkPhase::Links(index) => self.list_links(index).await?,
            SinkPhase::Primaries => {
                let collection = self.shape.collection.clone();
                self.list_groups(collection, SinkPhase::Delivered).await?;
            }
            SinkPhase::Delivered => {
                let collection = delivered::collection(&self.config.name);
                self.note_expression(&collection).await?;
                self.list_groups(collection, SinkPhase::Counting).await?;
            }
            SinkPhase::Counting => self.count_what_changed().await?,
            SinkPhase::Running => return Ok(false),
        }
        self.due_at_ms = Some(0);
        Ok(true)
    }

    async fn list_from_the_beginning(&mut self) -> Result<(), SinkFailure> {
        // What changes from here on is reported by the feed.
        let consumer = self.node.follow(branchline_node::feed::Since::Now, None).await?;
        self.progress.cursor = Some(consumer.cursor().to_string());
        self.feed = Some(consumer);
        self.progress.phase = SinkPhase::Links(0);
        self.progress.listed_to = None;
        self.progress.touch += 1;
        self.state.begin().await?;
        self.state.forget_links().await?;
        self.state.touch_all(self.progress.touch, now_ms()).await?;
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        Ok(())
    }

    /// The records of one relation that name their primary one.
    async fn list_links(&mut self, index: usize) -> Result<(), SinkFailure> {
        let Some((index, relation, path)) = self.shape.by().find(|(of, ..)| *of >= index) else {
            return self.enter(SinkPhase::Primaries).await;
        };
        let name = relation.name.clone();
        let after = self.progress.listed_to.clone();
        let page = fresh::links(&self.node, &relation.collection, path, after).await?;
        let Some((last, _)) = page.last() else {
            return self.enter(SinkPhase::Links(index + 1)).await;
        };
        self.progress.listed_to = Some(last.clone());
        self.state.begin().await?;
        for (id, targets) in &page {
            self.state.link(&name, id, targets).await?;
        }
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        self.counts.listed += page.len() as u64;
        Ok(())
    }

    /// The groups that records of a collection stand for, by their ids.
    async fn list_groups(
        &mut self,
        collection: String,
        next: SinkPhase,
    ) -> Result<(), SinkFailure> {
        let after = self.progress.listed_to.clone();
        let page = fresh::ids(&self.node, &collection, after).await?;
        let Some(last) = page.last() else { return self.enter(next).await };
        self.progress.listed_to = Some(last.clone());
        self.state.begin().await?;
        for id in &page {
            self.state.touch(id, self.progress.touch, now_ms()).await?;
        }
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        self.counts.listed += page.len() as u64;
        Ok(())
    }

    /// A site that begins with what another has pushed: if that was made by another expression, the configuration counts as
    /// changed.
    async fn note_expression(&mut self, collection: &str) -> Result<(), SinkFailure> {
        if !self.progress.expression.is_empty() {
            return Ok(());
        }
        let (collection, now) = (collection.to_owned(), self.config.expression());
        let after = self.progress.listed_to.clone();
        let read = self.node.read(move |tables, space| {
            let mut other = None;
            let mut left = PAGE;
            read::each_of(tables, space, &collection, after.as_deref(), |_, view| {
                left -= 1;
                let known = Delivered::of(&view).filter(|known| known.remote_id.is_some());
                other = known.and_then(|known| known.expression).filter(|made_by| *made_by != now);
                Ok(other.is_none() && left > 0)
            })?;
            Ok(other)
        });
        if let Some(other) = read.await? {
            self.progress.expression = other;
        }
        Ok(())
    }

    async fn enter(&mut self, phase: SinkPhase) -> Result<(), SinkFailure> {
        self.progress.phase = phase;
        self.progress.listed_to = None;
        Ok(self.state.keep(&self.progress).await?)
    }

    /// Where the configuration was another before: what it would push now. Above a number a person is asked.
    async fn count_what_changed(&mut self) -> Result<(), SinkFailure> {
        let expression = self.config.expression();
        let before = self.progress.expression.clone();
        let is_new =
            before.is_empty() || before == expression || self.progress.agreed == expression;
        if !is_new {
            let Some(pusher) = self.pusher.clone() else { return Ok(()) };
            let mut counting = Counting::default();
            let mut after: Option<String> = None;
            let mut surveyor =
                Surveyor { shape: self.shape.clone(), node: self.node.clone(), pusher };
            loop {
                let page = surveyor.page(&mut self.state, after.as_deref(), |_| ()).await?;
                let Some(last) = page.last else { break };
                counting.add(&page.counting);
                after = Some(last);
                if let Ok(request) = self.commands.try_recv() {
                    self.obey(request).await;
                    if let Some(reason) = self.progress.paused.clone() {
                        return Err(SinkFailure::Rest(reason));
                    }
                }
            }
            let (pushes, groups) = (counting.pushes(), counting.groups);
            if pushes > self.config.ask_over {
                let name = &self.config.name;
                return Err(SinkFailure::Rest(format!(
                    "its configuration has changed, and would push {pushes} of {groups} items: `branchline sink plan {name}` \
                     shows them, `branchline sink run {name} --yes` sends them"
                )));
            }
        }
        self.progress.expression.clone_from(&expression);
        self.progress.agreed = expression;
        self.enter(SinkPhase::Running).await
    }
}
