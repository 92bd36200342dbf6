//! What a worker tells of itself: for `bridge status`, findings and metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::state::{Phase, StateError};

/// Reports come no more often.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Counting what waits takes longer where more does: so many times as long passes until the next report.
const TELL_SHARE: u32 = 20;

/// How a bridge is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BridgeReport {
    /// `starting`, `running`, `loading`, `retrying` or `paused`.
    pub state: String,
    /// Why it does not work, and what to do.
    pub reason: Option<String>,
    /// Since when it is so, in ms since 1970.
    pub since_ms: i64,
    /// Notes that wait in the database, counted up to 1,000,000.
    pub notes_waiting: u64,
    /// Since when there have been notes, in ms since 1970, if there are.
    pub notes_since_ms: Option<i64>,
    /// The tables, by number.
    pub tables: Vec<TableReport>,
}

/// How a table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableReport {
    /// The table.
    pub table: String,
    /// The collection.
    pub collection: String,
    /// `capture`, `apply` or `both`.
    pub mode: String,
    /// `loading`, `sweeping`, `listing`, `running` or `stopped`.
    pub state: String,
    /// Why it stopped, and what to do.
    pub reason: Option<String>,
    /// Since when, in ms since 1970.
    pub since_ms: Option<i64>,
    /// Rows that were there before and are loaded.
    pub loaded_rows: u64,
    /// Rows that were looked at since the node started.
    pub rows_in: u64,
    /// Rows that were written since then.
    pub rows_out: u64,
    /// Records that wait to be written.
    pub waiting: u64,
    /// Rows and records that are set aside.
    pub quarantined: u64,
    /// Captured rows that the site which is to confirm them has not confirmed.
    pub unacknowledged: u64,
    /// When the oldest of them was captured, in ms since 1970.
    pub unacknowledged_since_ms: Option<i64>,
    /// The site that is to confirm them.
    pub acked_by: Option<String>,
    /// Since when the bridge could not see changes of the table, in ms since 1970, if it was blind since the start.
    pub blind_since_ms: Option<i64>,
}

/// What a worker counts.
#[derive(Debug, Default)]
pub(super) struct BridgeCounts {
    tables: BTreeMap<u32, Moved>,
    pub(super) blind_since: BTreeMap<u32, i64>,
    notes_since_ms: Option<i64>,
    state: String,
    since_ms: i64,
    tell_due: Option<Instant>,
}

/// Rows that moved since the start.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) rows_in: u64,
    pub(super) rows_out: u64,
}

impl BridgeCounts {
    pub(super) fn of(&mut self, table: u32) -> &mut Moved {
        self.tables.entry(table).or_default()
    }
}

impl BridgeWorker {
    /// Publishes how the bridge is, and why it does not work. What cannot be counted comes with the next one.
    pub(super) async fn publish(&mut self, failure: Option<&BridgeFailure>) {
        let begun = Instant::now();
        let is_early = self.counts.tell_due.is_some_and(|due| begun < due);
        let is_same = failure.is_none() && self.progress.paused.is_none();
        if is_early && is_same {
            return;
        }
        match self.report(failure).await {
            Ok(report) => {
                self.report.send_replace(report);
            }
            Err(error) => {
                tracing::warn!(bridge = %self.name, %error, "the bridge's state cannot be counted");
            }
        }
        self.counts.tell_due = Some(begun + TELL_EVERY.max(begun.elapsed() * TELL_SHARE));
    }

    async fn report(
        &mut self,
        failure: Option<&BridgeFailure>,
    ) -> Result<BridgeReport, StateError> {
        let mapped = self.mappings.keys().filter_map(|number| self.tables.get(number));
        let is_loading = mapped.into_iter().any(|table| table.phase != Phase::Running);
        let (state, reason) = match (&self.progress.paused, failure) {
            (Some(reason), _) => ("paused", Some(reason.clone())),
            (None, Some(failure)) => ("retrying", Some(failure.to_string())),
            (None, None) if self.stamp.is_empty() => ("starting", None),
            (None, None) if is_loading => ("loading", None),
            (None, None) => ("running", None),
        };
        if self.counts.state != state {
            state.clone_into(&mut self.counts.state);
            self.counts.since_ms = now_ms();
        }
        let notes_waiting =
            if failure.is_none() && self.progress.paused.is_none() && !self.stamp.is_empty() {
                self.database.notes_waiting().await.unwrap_or_default()
            } else {
                0
            };
        self.counts.notes_since_ms = match (notes_waiting, self.counts.notes_since_ms) {
            (0, _) => None,
            (_, Some(since)) => Some(since),
            (_, None) => Some(now_ms()),
        };
        let mut tables = Vec::new();
        for (number, mapping) in &self.mappings {
            let known = self.tables.get(number);
            let stopped = known.and_then(|table| table.stopped.clone());
            let phase = known.map_or("new", |table| table.phase.as_str());
            let lagging = self.state.lagging(*number).await?;
            let moved = self.counts.tables.get(number);
            tables.push(TableReport {
                table: mapping.bound.table.to_string(),
                collection: mapping.collection.clone(),
                mode: mapping.mode.as_str().to_owned(),
                state: if stopped.is_some() { "stopped" } else { phase }.to_owned(),
                since_ms: stopped.as_ref().map(|(_, since)| *since),
                reason: match stopped {
                    Some((reason, _)) => Some(reason),
                    None if known.is_none() => Some(format!(
                        "it is not installed yet: `branchline bridge install {}`",
                        self.name
                    )),
                    None => None,
                },
                loaded_rows: known.map_or(0, |table| table.loaded_rows),
                rows_in: moved.map_or(0, |moved| moved.rows_in),
                rows_out: moved.map_or(0, |moved| moved.rows_out),
                waiting: self.state.waiting_count(*number).await?,
                quarantined: self.state.quarantined_count(*number).await?,
                unacknowledged: lagging.rows,
                unacknowledged_since_ms: lagging.oldest_ms,
                acked_by: mapping.acked_by.clone(),
                blind_since_ms: self.counts.blind_since.get(number).copied(),
            });
        }
        for (number, why) in &self.unbound {
            let Some(known) = self.tables.get(number) else { continue };
            tables.push(TableReport {
                table: known.bound.table.to_string(),
                state: "stopped".to_owned(),
                reason: Some(why.clone()),
                since_ms: known.stopped.as_ref().map(|(_, since)| *since),
                ..TableReport::default()
            });
        }
        Ok(BridgeReport {
            state: state.to_owned(),
            reason,
            since_ms: self.counts.since_ms,
            notes_waiting,
            notes_since_ms: self.counts.notes_since_ms,
            tables,
        })
    }
}
