//! One office's node: inputs in groups, one commit for each, outputs acted upon, as the product's driver does it.

use std::sync::Arc;

use branchline_crdt::log::entry::Entry;
use branchline_crdt::replica::pace::TICK_MS;
use branchline_crdt::replica::{Input, Now, Output, Validation};
use branchline_crdt::store::frame::Frame;
use branchline_crdt::store::{Position, ReadJournal, StoreError};

use super::{Message, Observation, SiteIndex, World, WorldEvent};

/// Journal bytes read at a time.
const SCAN_BYTES: usize = 4 * 1024 * 1024;

impl World {
    /// Sends an input of any kind, as a hostile office might cause.
    pub fn input(&mut self, office: SiteIndex, input: Input) {
        self.inputs(office, vec![input]);
    }

    /// Sends inputs that share one commit.
    pub fn inputs(&mut self, office: SiteIndex, inputs: Vec<Input>) {
        self.inputs_from(office, None, inputs);
    }

    pub(super) fn inputs_from(
        &mut self,
        office: SiteIndex,
        from: Option<SiteIndex>,
        inputs: Vec<Input>,
    ) {
        let now = self.now(office);
        let Some(replica) = &mut self.sites[office].replica else { return };
        let handled = inputs.into_iter().try_for_each(|input| replica.handle(input, now));
        let committed = handled.and_then(|()| replica.commit().map(|_| ()));
        if replica.store().disk().is_killed() {
            // It died over it: whatever it would have said stays unsaid.
            self.die(office);
            return;
        }
        self.observe_stored(office, from);
        self.drain(office);
        if let Err(error) = committed {
            self.recover(office, &error);
        }
        while let Some(job) = self.sites[office].to_prepare.pop_front() {
            self.inputs_from(office, from, vec![Input::Prepared(job.run())]);
        }
        self.plan_tick(office);
    }

    /// Lets an office rebuild its tables while it runs.
    pub fn rebuild(&mut self, office: SiteIndex) {
        let Some(replica) = &mut self.sites[office].replica else { return };
        let rebuilt = replica.rebuild(&mut |_| ());
        self.observed(|| Observation::Rebuilt { office });
        self.drain(office);
        if rebuilt.is_err() {
            self.die(office);
        }
    }

    /// The tables failed: they are rebuilt from the journal, as the product's driver does.
    fn recover(&mut self, office: SiteIndex, error: &StoreError) {
        let reason = error.to_string();
        self.observed(|| Observation::Failed { office, reason });
        self.rebuild(office);
    }

    /// The moment as an office's clocks show it.
    pub(super) fn now(&self, office: SiteIndex) -> Now {
        let monotonic_ms = self.time_ms - self.sites[office].started_ms;
        Now { wall_ms: self.wall_ms(office), monotonic_ms }
    }

    /// Plans the tick at which the replica next has something to do.
    pub(super) fn plan_tick(&mut self, office: SiteIndex) {
        let ticks_always = self.ticks_always;
        let site = &mut self.sites[office];
        let Some(replica) = &site.replica else { return };
        let next_ms = self.time_ms - site.started_ms + 1;
        let due_ms = if ticks_always { next_ms } else { replica.due_ms().max(next_ms) };
        let regular_ms = due_ms.next_multiple_of(TICK_MS);
        let news_ms = replica.news_due_ms().map(|due_ms| due_ms.max(next_ms));
        let at_ms = site.started_ms + news_ms.map_or(regular_ms, |news_ms| news_ms.min(regular_ms));
        if site.tick_ms.is_none_or(|planned| at_ms < planned) {
            site.tick_ms = Some(at_ms);
            self.events.plan(at_ms, WorldEvent::Tick { office });
        }
    }

    /// Tells what the journal has gained.
    pub(super) fn observe_stored(&mut self, office: SiteIndex, from: Option<SiteIndex>) {
        let Some(replica) = &self.sites[office].replica else { return };
        let appended = replica.store().frames_appended();
        let seen = std::mem::replace(&mut self.sites[office].frames_seen, appended);
        if appended > seen && self.observations.is_some() {
            let after = self.sites[office].observed_to;
            let entries = self.entries_after(office, after);
            self.observed(|| Observation::Stored { office, from, entries });
        }
    }

    /// The entries in an office's journal behind a place; and remembers the last one.
    pub(super) fn entries_after(
        &mut self,
        office: SiteIndex,
        mut after: Option<Position>,
    ) -> Vec<(Position, Arc<Entry>)> {
        let mut entries = Vec::new();
        let Some(replica) = &self.sites[office].replica else { return entries };
        while let Ok(frames) = replica.store().scan_journal(after, SCAN_BYTES)
            && let Some((last, _)) = frames.last()
        {
            after = Some(*last);
            for (position, frame) in &frames {
                entries.extend(Frame::entry_in(frame).map(|entry| (*position, Arc::new(entry))));
            }
        }
        self.sites[office].observed_to = after;
        entries
    }

    /// Tells what the journal holds as the node starts.
    pub(super) fn observe_start(&mut self, office: SiteIndex) {
        let appended = self.replica(office).map_or(0, |replica| replica.store().frames_appended());
        self.sites[office].frames_seen = appended;
        if self.observations.is_some() {
            let entries = self.entries_after(office, None);
            self.observed(|| Observation::Started { office, entries });
        }
    }

    /// Acts on all outputs.
    pub(super) fn drain(&mut self, office: SiteIndex) {
        while let Some(output) =
            self.sites[office].replica.as_mut().and_then(|replica| replica.output())
        {
            self.act(office, output);
        }
    }

    fn act(&mut self, office: SiteIndex, output: Output) {
        match output {
            Output::Written { id, results } => {
                self.sites[office].results.insert(id, results);
            }
            Output::Decided { id, result } => {
                self.sites[office].decisions.insert(id, result);
            }
            Output::Request { to, id, body } => self.request(office, &to, id, body),
            Output::Prepare(job) => self.sites[office].to_prepare.push_back(job),
            Output::Respond { token, body } => {
                // A site that is out is cut off first, whatever it had asked for before.
                if let Some((to, id)) = self.sites[office].requests.take(token)
                    && self.sites[office].connected_member(&self.site_id(to)).is_some()
                {
                    self.send(office, to, Message::Response { id, body });
                }
            }
            Output::Introduce { to, addresses: _, body } => {
                if let Some(to) = self.linked_office_of(office, &to) {
                    self.send(office, to, Message::Introduction { body });
                }
            }
            Output::AnswerIntroduction { token, body } => {
                if let Some((to, _)) = self.sites[office].requests.take(token) {
                    self.send(office, to, Message::IntroductionAnswer { body });
                }
            }
            Output::Subscribe(topic) => {
                self.sites[office].topics.insert(topic);
            }
            Output::Publish { topic, data } => {
                let now_ms = self.time_ms;
                self.sites[office].seen.insert(&data, now_ms);
                self.spread(office, None, &topic, &data);
            }
            Output::Validate { token, verdict } => {
                let message = self.sites[office].gossip.take(token);
                if let (Some((from, topic, data)), Validation::Accept) = (message, verdict) {
                    self.spread(office, Some(from), &topic, &data);
                }
            }
            Output::Members(members) => {
                self.sites[office].members = members;
                self.refresh_office(office);
            }
            // Programs that address spaces by name want to know.
            Output::Spaces(_) => {}
            Output::Notice(notice) => {
                self.observed(|| Observation::Notice { office, notice: notice.clone() });
                self.sites[office].keep_notice(notice);
            }
        }
    }
}
