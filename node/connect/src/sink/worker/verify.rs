//! The job that reads back what the remote has: beside the pushes, and one at a time.

use serde_json::json;
use tokio::task::JoinError;

use super::{SinkFailure, SinkWorker, now_ms};
use crate::jobs::board::{Job, JobState};
use crate::sink::group::delivered::Delivered;
use crate::sink::state::{SinkPhase, SinkState};
use crate::sink::verify::{NotVerified, RemoteReader, SinkDifference, Verified, Verifier};

/// How a job's order says that it is one.
const VERIFY: &str = "verify";
/// How it says that what differs is sent once more.
const REPAIR: &str = "repair";
/// Differences that a job's result has: the others are counted.
const SHOWN: usize = 100;

/// The order of such a job.
#[must_use]
pub fn order(repair: bool) -> serde_json::Value {
    json!({ VERIFY: true, REPAIR: repair })
}

/// The job at work.
#[derive(Clone, Copy)]
pub(super) struct Verifying {
    job: u64,
    is_repair: bool,
}

pub(super) type Ended = Result<Verified, NotVerified>;

fn says(job: &Job, what: &str) -> bool {
    job.order.get(what).and_then(serde_json::Value::as_bool) == Some(true)
}

pub(super) fn is_meant(job: &Job) -> bool {
    says(job, VERIFY)
}

impl SinkWorker {
    /// Begins with a job, unless another is at work or not all groups are known yet: then it waits.
    pub(super) async fn begin_to_verify(&mut self, job: &Job) -> Result<(), SinkFailure> {
        let Some(pusher) = self.pusher.clone() else { return Ok(()) };
        if self.verifying.is_some() || self.progress.phase != SinkPhase::Running {
            return Ok(());
        }
        let verifier = Verifier {
            reader: RemoteReader {
                shape: self.shape.clone(),
                node: self.node.clone(),
                pusher,
                jobs: self.jobs.clone(),
                job: job.id,
                retry: self.config.retry.clone(),
            },
            state: SinkState::open(self.state.path()).await?,
            concurrency: self.concurrency(),
        };
        self.jobs.set(job.id, JobState::Running, "").await?;
        self.verifying = Some(Verifying { job: job.id, is_repair: says(job, REPAIR) });
        self.verifiers.spawn(verifier.run());
        Ok(())
    }

    /// Takes up what was found.
    pub(super) async fn take_verified(
        &mut self,
        ended: Result<Ended, JoinError>,
    ) -> Result<(), SinkFailure> {
        let Some(Verifying { job, is_repair }) = self.verifying.take() else { return Ok(()) };
        let mut verified = match ended {
            Ok(Ok(verified)) => verified,
            Ok(Err(NotVerified::Cancelled)) => {
                return Ok(self.jobs.end(job, JobState::Cancelled, "", &json!(null)).await?);
            }
            Ok(Err(error)) => {
                let why = error.to_string();
                return Ok(self.jobs.end(job, JobState::Failed, &why, &json!(null)).await?);
            }
            Err(error) => {
                tracing::error!(sink = %self.config.name, %error, "reading back has ended badly");
                let why = "it has ended badly: the log says why";
                return Ok(self.jobs.end(job, JobState::Failed, why, &json!(null)).await?);
            }
        };
        if is_repair {
            for difference in std::mem::take(&mut verified.differences) {
                verified.repaired += u64::from(self.repair(&difference).await?);
                verified.differences.push(difference);
            }
        }
        verified.differences.truncate(SHOWN);
        Ok(self.jobs.end(job, JobState::Completed, "", &json!(verified)).await?)
    }

    /// Sends an object once more, unless that has been done meanwhile; returns whether it is going to be.
    async fn repair(&mut self, difference: &SinkDifference) -> Result<bool, SinkFailure> {
        let SinkDifference { id, is_gone, is_read, sequence, .. } = difference;
        if !is_read || self.flights.contains_key(id) {
            return Ok(false);
        }
        let collection = crate::sink::group::delivered::collection(&self.config.name);
        let view = self.node.get(&collection, id).await?;
        let known = view.as_ref().and_then(Delivered::of);
        let Some(mut known) = known.filter(|known| known.sequence == *sequence) else {
            return Ok(false);
        };
        known.doubt(*is_gone);
        known.write(&self.node, &collection, id).await?;
        self.progress.touch += 1;
        self.state.begin().await?;
        self.state.touch(id, self.progress.touch, now_ms()).await?;
        self.state.force(id).await?;
        self.state.keep(&self.progress).await?;
        self.state.end().await?;
        self.due_at_ms = Some(0);
        Ok(true)
    }

    /// The sink pauses: the job is taken up once more when it goes on.
    pub(super) async fn break_verifying_off(&mut self) {
        self.verifiers.shutdown().await;
        let Some(Verifying { job, .. }) = self.verifying.take() else { return };
        let why = "the sink paused while it was at work";
        if let Err(error) = self.jobs.set(job, JobState::Waiting, why).await {
            tracing::warn!(sink = %self.config.name, %error, "that the job waits was not kept");
        }
    }
}
