//! Reads groups that are due, and has them pushed: one thing at a time for each group, several groups at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Flight, SinkFailure, SinkWorker, now_ms};
use crate::sink::group::look::{LookError, look};
use crate::sink::push::PushJob;
use crate::sink::state::DueGroup;

/// Groups that are looked at or pushed at the same time, at most: each holds its records and its representation.
const FLIGHTS_MAX: usize = 64;
/// The same for each request that may be under way: enough that none of them waits for a group that has nothing to send.
const FLIGHTS_EACH: usize = 8;

impl SinkWorker {
    /// How many groups can be looked at beside those that are.
    pub(super) fn free_hands(&self) -> usize {
        if !self.back_off.is_over() {
            return 0;
        }
        let hands = match self.back_off.failures {
            0 => (self.concurrency() * FLIGHTS_EACH).min(FLIGHTS_MAX),
            // One tries whether the remote is there again.
            _ => 1,
        };
        hands.saturating_sub(self.flights.len())
    }

    pub(super) fn concurrency(&self) -> usize {
        self.config.concurrency.unwrap_or(crate::jobs::rate::CONCURRENCY_DEFAULT)
    }

    /// Has groups looked at that are due; returns whether there may be more at once.
    pub(super) async fn fill(&mut self) -> Result<bool, SinkFailure> {
        let free = self.free_hands();
        let now = now_ms();
        if free == 0 || self.due_at_ms.is_none_or(|due| due > now) {
            return Ok(false);
        }
        let due = self.state.due(now, free + self.flights.len()).await?;
        let is_all = due.len() < free + self.flights.len();
        let mut due: Vec<DueGroup> =
            due.into_iter().filter(|due| !self.flights.contains_key(&due.id)).collect();
        due.truncate(free);
        if due.is_empty() {
            self.due_at_ms = if is_all {
                self.state.next_due().await?.filter(|due| *due > now)
            } else {
                Some(now)
            };
            return Ok(false);
        }
        self.begin_run().await?;
        let Some(pusher) = self.pusher.clone() else { return Ok(false) };
        let mut groups = Vec::with_capacity(due.len());
        for due in &due {
            groups.push((due.id.clone(), self.state.members(&self.shape, &due.id).await?));
        }
        let looked = look(&self.node, Arc::clone(&self.shape), &pusher.collection, groups).await;
        let looked = match looked {
            Ok(looked) => looked,
            Err(LookError::Read(error)) => return Err(error.into()),
            Err(error @ LookError::Filter(_)) => return Err(SinkFailure::Rest(error.to_string())),
        };
        // Before the feed is heard again: from here on a change of any of these makes the group dirty.
        self.state.begin().await?;
        for (due, looked) in due.iter().zip(&looked) {
            self.state.keep_used(&due.id, &looked.gathered.used).await?;
        }
        self.state.end().await?;
        for (due, looked) in due.into_iter().zip(looked) {
            let stale = Arc::new(AtomicBool::new(false));
            let (id, of_task) = (due.id.clone(), Arc::clone(&pusher));
            let job = PushJob {
                due: due.clone(),
                gathered: looked.gathered,
                known: looked.known,
                stale: Arc::clone(&stale),
            };
            let of_group = id.clone();
            let push = self.pushes.spawn(async move { (of_group, of_task.push(job).await) });
            self.flights.insert(id, Flight { due, stale, task: push.id() });
        }
        Ok(self.free_hands() > 0)
    }
}
