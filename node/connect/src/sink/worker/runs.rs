//! What a run is: from the first group that is due until none is. And the jobs that people ask for.

use serde_json::json;

use super::{SinkFailure, SinkWorker, now_ms, verify};
use crate::jobs::board::JobState;
use crate::sink::state::{Counted, SinkPhase};
use crate::sink::task::Task as _;

/// What came of a run is kept so often, beside its end.
const KEEP_EVERY_MS: i64 = 1_000;

/// A run that is under way.
pub(super) struct SinkRun {
    number: i64,
    counted: Counted,
    keep_at_ms: i64,
}

/// A job at work.
pub(super) struct SinkAtWork {
    id: u64,
    is_full: bool,
    /// It is done when nothing waits that has waited since then; `None`: everything is being listed.
    since_ms: Option<i64>,
    counted: Counted,
    total: u64,
    state: JobState,
}

impl SinkWorker {
    /// Something came of a group.
    pub(super) fn count(&mut self, add: impl Fn(&mut Counted)) {
        add(&mut self.counts.counted);
        if let Some(run) = &mut self.run {
            add(&mut run.counted);
        }
        if let Some(job) = &mut self.job {
            add(&mut job.counted);
        }
    }

    /// A run is under way from here on.
    pub(super) async fn begin_run(&mut self) -> Result<(), SinkFailure> {
        if self.run.is_none() {
            let kind = match &self.job {
                Some(job) if job.is_full => "full",
                Some(_) => "asked",
                None => "changes",
            };
            let number = self.state.begin_run(kind, now_ms()).await?;
            self.run = Some(SinkRun { number, counted: Counted::default(), keep_at_ms: 0 });
        }
        Ok(())
    }

    /// Keeps how far run and job are, and ends them where nothing is left to do.
    pub(super) async fn follow_run(&mut self) -> Result<(), SinkFailure> {
        let now = now_ms();
        let is_idle = self.progress.phase == SinkPhase::Running
            && self.flights.is_empty()
            && self.back_off.failures == 0
            && self.due_at_ms.is_none_or(|due| due > now);
        if let Some(run) = &mut self.run {
            if is_idle {
                let ended = Some((now, "completed", None));
                // One that has looked at groups and found nothing to send is none.
                let is_none = run.counted.pushed() + run.counted.refused + run.counted.retried == 0;
                if is_none && self.job.is_none() {
                    self.state.drop_run(run.number).await?
                } else {
                    self.state.keep_run(run.number, &run.counted, ended).await?
                }
                self.run = None;
            } else if run.keep_at_ms <= now {
                self.state.keep_run(run.number, &run.counted, None).await?;
                run.keep_at_ms = now + KEEP_EVERY_MS;
            }
        }
        self.follow_job().await
    }

    async fn follow_job(&mut self) -> Result<(), SinkFailure> {
        let Some(job) = &mut self.job else { return Ok(()) };
        if self.jobs.is_cancelled(job.id) {
            let note = "cancelled; what is dirty is sent all the same: `branchline sink pause` keeps it back";
            self.jobs.end(job.id, JobState::Cancelled, note, &json!(job.counted)).await?;
            self.job = None;
            return Ok(());
        }
        if job.since_ms.is_none() && self.progress.phase == SinkPhase::Running {
            if job.is_full {
                self.state.force_all(now_ms()).await?;
                self.due_at_ms = Some(0);
            }
            job.since_ms = Some(now_ms());
            job.total = self.state.counts().await?.0;
        }
        let state = match self.back_off.failures {
            0 => JobState::Running,
            _ => JobState::BackingOff,
        };
        if job.state != state {
            job.state = state;
            self.jobs.set(job.id, state, &self.back_off.reason).await?;
        }
        let Some(since) = job.since_ms else { return Ok(()) };
        let Counted { unchanged, refused, .. } = job.counted;
        self.jobs.progress(job.id, job.counted.pushed() + unchanged + refused, Some(job.total));
        let waiting = self.state.waiting_since().await?;
        if waiting.is_none_or(|oldest| oldest > since) && self.flights.is_empty() {
            self.jobs.end(job.id, JobState::Completed, "", &json!(job.counted)).await?;
            self.job = None;
        }
        Ok(())
    }

    /// Begins with the job that has waited longest, if none is at work.
    pub(super) async fn take_orders(&mut self) -> Result<(), SinkFailure> {
        if self.job.is_some() {
            return Ok(());
        }
        let Some(job) = self.jobs.next(&self.connector()).await? else { return Ok(()) };
        if verify::is_meant(&job) {
            return self.begin_to_verify(&job).await;
        }
        let is_full = job.order.get("full").and_then(serde_json::Value::as_bool) == Some(true);
        self.jobs.set(job.id, JobState::Running, "").await?;
        self.back_off = super::BackOff::default();
        if is_full {
            self.list_again().await?
        } else {
            // What was written before the run was asked for belongs to it.
            self.catch_up().await?;
            self.state.hurry(now_ms()).await?;
        }
        self.due_at_ms = Some(0);
        let (counted, total) = (Counted::default(), 0);
        let state = JobState::Running;
        self.job = Some(SinkAtWork { id: job.id, is_full, since_ms: None, counted, total, state });
        Ok(())
    }

    /// The job waits for a person.
    pub(super) async fn pause_job(&mut self, reason: &str) -> Result<(), SinkFailure> {
        if let Some(job) = &mut self.job
            && job.state != JobState::Paused
        {
            job.state = JobState::Paused;
            self.jobs.set(job.id, JobState::Paused, reason).await?;
        }
        Ok(())
    }
}
