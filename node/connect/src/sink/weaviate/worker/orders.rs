//! The jobs that people ask for, and what a run is: from the first thing that is due until nothing is.

use serde_json::{Value as Json, json};

use super::report::Totals;
use super::{BackOff, SinkFailure, WeaviateWorker, now_ms};
use crate::jobs::board::JobState;
use crate::sink::task::Task as _;

/// A run that is under way.
pub(super) struct WeaviateRun {
    number: i64,
    pub(super) totals: Totals,
}

/// A job at work.
pub(super) struct WeaviateAtWork {
    id: u64,
    kind: &'static str,
    pub(super) totals: Totals,
    total: u64,
    state: JobState,
}

impl WeaviateWorker {
    /// A run is under way from here on.
    pub(super) async fn begin_run(&mut self) -> Result<(), SinkFailure> {
        if self.run.is_none() {
            let kind = self.job.as_ref().map_or("changes", |job| job.kind);
            let number = self.state.begin_run(kind, now_ms()).await?;
            self.run = Some(WeaviateRun { number, totals: Totals::default() });
        }
        Ok(())
    }

    /// Begins with the job that has waited longest, if none is at work.
    pub(super) async fn take_orders(&mut self) -> Result<(), SinkFailure> {
        if self.job.is_some() {
            return Ok(());
        }
        let Some(job) = self.jobs.next(&self.connector()).await? else { return Ok(()) };
        let order = &job.order;
        let flag = |name: &str| order.get(name).and_then(Json::as_bool) == Some(true);
        let number = |name: &str| order.get(name).and_then(Json::as_u64);
        self.jobs.set(job.id, JobState::Running, "").await?;
        self.back_off = BackOff::default();
        let mut kind = "asked";
        if let Some(entity) = order.get("entity").and_then(Json::as_str) {
            let index = self.config.objects.iter().position(|object| object.collection == entity);
            let Some(index) = index else {
                let note = format!("there is no [[sink.object]] of {entity:?}");
                return Ok(self.jobs.end(job.id, JobState::Failed, &note, &json!({})).await?);
            };
            kind = "entity";
            self.list_again(Some(index), true).await?;
        } else if flag("edges") {
            kind = "edges";
            self.catch_up().await?;
            self.state.want_again(number("limit"), number("offset").unwrap_or(0)).await?;
        } else if flag("full") {
            kind = "full";
            self.list_again(None, true).await?;
        } else {
            // What was written before the run was asked for belongs to it.
            self.catch_up().await?;
            self.state.hurry(now_ms()).await?;
        }
        self.edges_due = true;
        let (totals, state) = (Totals::default(), JobState::Running);
        self.job = Some(WeaviateAtWork { id: job.id, kind, totals, total: 0, state });
        Ok(())
    }

    /// Keeps how far run and job are, and ends them where nothing is left to do.
    pub(super) async fn follow_orders(&mut self, is_busy: bool) -> Result<(), SinkFailure> {
        if self.run.is_none() && self.job.is_none() {
            return Ok(());
        }
        if let Some(job) = &self.job
            && self.jobs.is_cancelled(job.id)
        {
            let note = "cancelled; what is dirty is sent all the same: `branchline sink pause` keeps it back";
            self.jobs.end(job.id, JobState::Cancelled, note, &json!(job.totals)).await?;
            self.job = None;
        }
        if self.progress.listing.is_some() {
            return Ok(());
        }
        let is_idle = !is_busy && self.back_off.failures == 0 && self.is_done().await?;
        if is_idle && let Some(run) = self.run.take() {
            self.state.end_run(run.number, &json!(run.totals).to_string(), now_ms()).await?;
        }
        let Some(job) = &mut self.job else { return Ok(()) };
        if is_idle {
            let failed = job.totals.objects.refused + job.totals.edges.refused;
            let note = if failed > 0 { format!("{failed} refused") } else { String::new() };
            self.jobs.end(job.id, JobState::Completed, &note, &json!(job.totals)).await?;
            self.job = None;
            return Ok(());
        }
        let state =
            if self.back_off.failures > 0 { JobState::BackingOff } else { JobState::Running };
        if job.state != state {
            job.state = state;
            self.jobs.set(job.id, state, &self.back_off.reason).await?;
        }
        let done = job.totals.objects.items + job.totals.edges.items + job.totals.counted.unchanged;
        if job.total == 0 {
            let counts = self.state.counts().await?;
            job.total = counts.dirty + counts.edges;
        }
        self.jobs.progress(job.id, done, Some(job.total.max(done)));
        Ok(())
    }

    /// Whether nothing waits but what was refused, or what has no other end yet.
    async fn is_done(&mut self) -> Result<bool, SinkFailure> {
        let object = self.state.counts().await?.since_ms.is_some();
        let edge = self.state.next_edge_due().await?.is_some();
        let between = self.next_at > tokio::time::Instant::now();
        Ok(!object && !edge && !self.edges_due && !between)
    }
}
