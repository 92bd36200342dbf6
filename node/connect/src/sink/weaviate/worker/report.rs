//! What the sink says of itself, and what it counts.

use serde::Serialize;
use tokio::time::Instant;

use super::{SinkFailure, WeaviateWorker, now_ms};
use crate::jobs::store::StoreError;
use crate::sink::said::Said;
use crate::sink::state::Counted;
use crate::sink::worker::{Faults, SinkReport};

/// As many batches of a job are listed one by one: the last.
const BATCHES_MAX: usize = 100;

/// What became of items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    pub(super) items: u64,
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    /// Sent, and nobody knows: sent again.
    pub(super) unknown: u64,
    pub(super) requests: u64,
}

impl Part {
    fn add(&mut self, other: Self) {
        self.items += other.items;
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.requests += other.requests;
    }
}

/// One batch.
#[derive(Clone, Debug, Serialize)]
pub(super) struct BatchReport {
    what: &'static str,
    of: String,
    #[serde(flatten)]
    part: Part,
}

/// What came of a job, by batch and in all.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) objects: Part,
    pub(super) edges: Part,
    pub(super) counted: Counted,
    pub(super) batches: u64,
    pub(super) last_batches: Vec<BatchReport>,
}

/// What a sink counts.
#[derive(Debug, Default)]
pub(super) struct WeaviateCounts {
    pub(super) counted: Counted,
    pub(super) faults: Faults,
    pub(super) listed: u64,
    pub(super) listing_end: usize,
    pub(super) is_forced: bool,
    said: Said,
}

impl WeaviateWorker {
    /// Something came of an object.
    pub(super) fn count(&mut self, add: impl Fn(&mut Counted)) {
        add(&mut self.counts.counted);
        if let Some(run) = &mut self.run {
            add(&mut run.totals.counted);
        }
        if let Some(job) = &mut self.job {
            add(&mut job.totals.counted);
        }
    }

    /// A batch is done.
    pub(super) fn note(&mut self, what: &'static str, of: &str, part: Part) {
        let Part { items, confirmed, refused, unknown, requests } = part;
        tracing::info!(sink = %self.name, what, of, items, confirmed, refused, unknown, requests, "a batch is done");
        let both = [
            self.run.as_mut().map(|run| &mut run.totals),
            self.job.as_mut().map(|job| &mut job.totals),
        ];
        for totals in both.into_iter().flatten() {
            match what {
                "edges" => totals.edges.add(part),
                _ => totals.objects.add(part),
            }
            totals.batches += 1;
            if totals.last_batches.len() == BATCHES_MAX {
                totals.last_batches.remove(0);
            }
            totals.last_batches.push(BatchReport { what, of: of.to_owned(), part });
        }
    }

    /// Says how the sink is, and why it does not work.
    pub(super) async fn say(&mut self, failure: Option<&SinkFailure>) {
        let begun = Instant::now();
        let (state, reason) = self.state_now(failure);
        if !self.counts.said.is_due(state, begun) {
            return;
        }
        self.counts.said.enter(state, now_ms());
        match self.counted(state, reason).await {
            Ok(report) => {
                self.report.send_replace(report);
            }
            Err(error) => {
                tracing::warn!(sink = %self.name, %error, "the sink's state cannot be counted");
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
            (None, None) if self.progress.listing.is_some() => ("listing", None),
            (None, None) if self.run.is_some() => ("running", None),
            (None, None) => ("waiting", None),
        }
    }

    async fn counted(
        &mut self,
        state: &str,
        reason: Option<String>,
    ) -> Result<SinkReport, StoreError> {
        let counts = self.state.counts().await?;
        Ok(SinkReport {
            state: state.to_owned(),
            reason,
            since_ms: self.counts.said.since_ms,
            until_ms: (state == "backing-off").then_some(self.back_off.until_ms),
            term: self.term,
            groups: counts.objects,
            dirty: counts.dirty + counts.edges,
            quarantined: counts.aside + counts.edges_aside,
            waiting_since_ms: counts.since_ms,
            listed: if state == "listing" { self.counts.listed } else { 0 },
            counted: self.counts.counted,
            faults: self.counts.faults,
        })
    }
}
