//! What the sink says of itself: for `sink status`, findings and metrics.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{SinkFailure, SinkWorker, now_ms};
use crate::jobs::fault::Faults;
use crate::jobs::store::StoreError;
use crate::sink::said::Said;
use crate::sink::state::{Counted, SinkPhase};

/// How a sink is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SinkReport {
    /// `starting`, `listing`, `waiting`, `running`, `backing off`, `paused`, `superseded` or `failed`.
    pub state: String,
    /// Why, and what to do.
    pub reason: Option<String>,
    /// Since when it is so, in ms since 1970.
    pub since_ms: i64,
    /// When it tries again, in ms since 1970, where it is backing off.
    pub until_ms: Option<i64>,
    /// How often the sink was taken over, from 1.
    pub term: u64,
    /// Groups that are known.
    pub groups: u64,
    /// Groups that wait to be sent, those that are set aside included.
    pub dirty: u64,
    /// Groups that were refused.
    pub quarantined: u64,
    /// Since when the group that has waited longest waits, in ms since 1970.
    pub waiting_since_ms: Option<i64>,
    /// Records that were listed, while that goes on.
    pub listed: u64,
    /// What came of groups since the sink started.
    pub counted: Counted,
    /// What failed since then.
    pub faults: Faults,
}

/// What a sink counts.
#[derive(Debug, Default)]
pub(super) struct SinkCounts {
    pub(super) counted: Counted,
    pub(super) faults: Faults,
    pub(super) listed: u64,
    pub(super) term: u64,
    said: Said,
}

impl SinkWorker {
    /// Says how the sink is, and why it does not work. What cannot be counted is said with the next report.
    pub(super) async fn say(&mut self, failure: Option<&SinkFailure>) {
        let begun = Instant::now();
        let (state, reason) = self.state_now(failure);
        if !self.counts.said.is_due(state, begun) {
            return;
        }
        if let Some(reason) = self.progress.paused.clone()
            && let Err(error) = self.pause_job(&reason).await
        {
            tracing::warn!(sink = %self.config.name, %error, "that the job waits was not kept");
        }
        self.counts.said.enter(state, now_ms());
        match self.counted(state, reason).await {
            Ok(report) => {
                self.report.send_replace(report);
            }
            Err(error) => {
                tracing::warn!(sink = %self.config.name, %error, "the sink's state cannot be counted");
            }
        }
        self.counts.said.end(begun, Instant::now());
    }

    fn state_now(&self, failure: Option<&SinkFailure>) -> (&'static str, Option<String>) {
        match (&self.progress.paused, failure) {
            (Some(reason), _) => ("paused", Some(reason.clone())),
            (None, Some(SinkFailure::Superseded(what))) => ("superseded", Some(what.clone())),
            (None, Some(failure)) => ("failed", Some(failure.to_string())),
            (None, None) if self.back_off.failures > 0 => {
                ("backing-off", Some(self.back_off.reason.clone()))
            }
            (None, None) if self.progress.phase == SinkPhase::Counting => (
                "listing",
                Some(
                    "its configuration has changed: what it would push is being counted".to_owned(),
                ),
            ),
            (None, None) if self.progress.phase != SinkPhase::Running => ("listing", None),
            (None, None) if self.run.is_some() => ("running", None),
            (None, None) => ("waiting", None),
        }
    }

    async fn counted(
        &mut self,
        state: &str,
        reason: Option<String>,
    ) -> Result<SinkReport, StoreError> {
        let (dirty, quarantined, groups) = self.state.counts().await?;
        Ok(SinkReport {
            state: state.to_owned(),
            reason,
            since_ms: self.counts.said.since_ms,
            until_ms: (state == "backing-off").then_some(self.back_off.until_ms),
            term: self.counts.term,
            groups,
            dirty,
            quarantined,
            waiting_since_ms: self.state.waiting_since().await?,
            listed: if state == "listing" { self.counts.listed } else { 0 },
            counted: self.counts.counted,
            faults: self.counts.faults,
        })
    }
}
