//! Reading whole tables is a job that people see: it is there while a table is loaded or compared, or while one side is
//! written over the other.

use std::sync::Arc;

use serde_json::json;

use super::{BridgeFailure, BridgeWorker};
use crate::jobs::board::{JobError, JobState, Jobs};
use crate::sql::state::{Phase, TableState};

/// The job of the tables that are read as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TableJob {
    /// It was not looked yet whether a crash has left one.
    #[default]
    Unknown,
    /// There is none.
    None,
    /// It is at work, or waits.
    AtWork(u64, JobState),
    /// A person has ended it, and the tables are read all the same.
    Dismissed,
}

impl BridgeWorker {
    /// Begins, follows or ends the job of the tables that are read as a whole.
    pub(super) async fn follow_job(&mut self) {
        let Some(jobs) = self.jobs.clone() else { return };
        match self.next_job(&jobs).await {
            Ok(job) => self.job = job,
            Err(error) => self.job_failed(&error),
        }
    }

    async fn next_job(&mut self, jobs: &Arc<Jobs>) -> Result<TableJob, JobError> {
        let connector = format!("bridge {}", self.name);
        let job = match self.job {
            TableJob::Unknown => jobs
                .next(&connector)
                .await?
                .map_or(TableJob::None, |job| TableJob::AtWork(job.id, job.state)),
            known => known,
        };
        let mapped = self.mappings.keys().filter_map(|number| self.tables.get(number));
        let read: Vec<&TableState> = mapped.filter(|table| table.phase != Phase::Running).collect();
        let rows: u64 = read.iter().map(|table| table.loaded_rows).sum();
        let stopped = read.iter().find_map(|table| table.stopped.as_ref());
        match (job, read.is_empty()) {
            (TableJob::None | TableJob::Unknown, false) => {
                let tables: Vec<_> = read.iter().map(|of| of.bound.table.to_string()).collect();
                let id = jobs.ask(&connector, &json!({ "tables": tables })).await?;
                jobs.set(id, JobState::Running, "").await?;
                Ok(TableJob::AtWork(id, JobState::Running))
            }
            (TableJob::AtWork(id, _), false) if jobs.is_cancelled(id) => {
                let note = format!(
                    "its tables are read all the same: `branchline bridge pause {}` holds it",
                    self.name
                );
                jobs.end(id, JobState::Cancelled, &note, &json!({ "rows": rows })).await?;
                Ok(TableJob::Dismissed)
            }
            (TableJob::AtWork(id, state), false) => {
                let (now, note) = match stopped {
                    Some((reason, _)) if read.iter().all(|table| table.stopped.is_some()) => {
                        (JobState::Paused, reason.as_str())
                    }
                    Some(_) | None => (JobState::Running, ""),
                };
                if state != now {
                    jobs.set(id, now, note).await?;
                }
                jobs.progress(id, rows, None);
                Ok(TableJob::AtWork(id, now))
            }
            (TableJob::AtWork(id, _), true) => {
                let loaded: u64 = self.tables.values().map(|table| table.loaded_rows).sum();
                jobs.end(id, JobState::Completed, "", &json!({ "rows": loaded })).await?;
                Ok(TableJob::None)
            }
            (TableJob::None | TableJob::Unknown | TableJob::Dismissed, true) => Ok(TableJob::None),
            (TableJob::Dismissed, false) => Ok(TableJob::Dismissed),
        }
    }

    /// The job waits for what keeps the bridge from working.
    pub(super) async fn hold_job(&mut self, failure: &BridgeFailure) {
        let (Some(jobs), TableJob::AtWork(id, state)) = (self.jobs.clone(), self.job) else {
            return;
        };
        let now = match failure {
            BridgeFailure::Rest(_) => JobState::Paused,
            _ => JobState::BackingOff,
        };
        if state == now {
            return;
        }
        match jobs.set(id, now, &failure.to_string()).await {
            Ok(()) => self.job = TableJob::AtWork(id, now),
            Err(error) => self.job_failed(&error),
        }
    }

    fn job_failed(&self, error: &JobError) {
        tracing::warn!(bridge = %self.name, %error, "the job of the bridge was not kept");
    }
}
