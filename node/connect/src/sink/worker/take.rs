//! What came of the pushes.

use tokio::task::JoinError;

use super::{SinkFailure, SinkWorker, now_ms};
use crate::jobs::fault::Fault;
use crate::sink::push::Outcome;

/// What came of the pushes that ended together, at most so many: one step of the state's file.
const TAKEN_MAX: usize = 64;

impl SinkWorker {
    /// Takes up what came of a push, and of those that have ended beside it.
    pub(super) async fn take_all(
        &mut self,
        first: Result<(String, Outcome), JoinError>,
    ) -> Result<(), SinkFailure> {
        let mut done = Vec::new();
        let mut next = Some(first);
        while let Some(ended) = next {
            match ended {
                Ok(ended) => done.push(ended),
                Err(error) => self.lost(&error).await?,
            }
            next = if done.len() < TAKEN_MAX { self.pushes.try_join_next() } else { None };
        }
        self.take(done).await
    }

    /// A push that panicked: its group is looked at again later, and the others go on.
    async fn lost(&mut self, error: &JoinError) -> Result<(), SinkFailure> {
        tracing::error!(sink = %self.config.name, %error, "a push has ended badly");
        let of_task = self.flights.iter().find(|(_, flight)| flight.task == error.id());
        let Some(id) = of_task.map(|(id, _)| id.clone()) else { return Ok(()) };
        let Some(flight) = self.flights.remove(&id) else { return Ok(()) };
        let tries = flight.due.tries.saturating_add(1);
        let due = now_ms().saturating_add(self.pause_ms(tries, Some(super::RETRY_MAX)));
        Ok(self.state.put_off(&id, tries, due).await?)
    }

    /// Takes up what came of pushes.
    pub(super) async fn take(&mut self, done: Vec<(String, Outcome)>) -> Result<(), SinkFailure> {
        let mut failure = None;
        self.state.begin().await?;
        for (id, outcome) in done {
            let Some(flight) = self.flights.remove(&id) else { continue };
            let (touch, tries) = (flight.due.touch, flight.due.tries.saturating_add(1));
            match outcome {
                Outcome::Created | Outcome::Updated => {
                    self.count(|counted| match outcome {
                        Outcome::Created => counted.created += 1,
                        _ => counted.updated += 1,
                    });
                    self.well();
                    self.state.settle(&id, touch).await?;
                }
                Outcome::Deleted => {
                    self.count(|counted| counted.deleted += 1);
                    self.well();
                    self.state.forget(&id, touch).await?;
                }
                Outcome::Nothing => self.state.forget(&id, touch).await?,
                Outcome::Unchanged => {
                    self.count(|counted| counted.unchanged += 1);
                    self.state.settle(&id, touch).await?;
                }
                Outcome::Stale => {}
                Outcome::Refused(attempts) => {
                    self.count(|counted| counted.refused += 1);
                    self.counts.faults.permanent += 1;
                    self.well();
                    let due = now_ms().saturating_add(self.pause_ms(attempts, None));
                    self.state.set_aside(&id, touch, Some(due)).await?;
                }
                Outcome::Aside => {
                    self.count(|counted| counted.refused += 1);
                    self.counts.faults.permanent += 1;
                    self.state.set_aside(&id, touch, None).await?;
                }
                Outcome::Transient(fault) => {
                    self.count(|counted| counted.retried += 1);
                    self.counts.faults.transient += 1;
                    let due = now_ms().saturating_add(self.pause_ms(tries, fault.retry_after));
                    self.back_off.fail(&self.config.retry, &fault.message, fault.retry_after);
                    self.state.put_off(&id, tries, due).await?;
                }
                Outcome::Authentication(fault) => {
                    self.counts.faults.authentication += 1;
                    failure = Some(self.not_accepted(&fault));
                }
                Outcome::Superseded => {
                    failure = failure.or(Some(SinkFailure::Superseded(String::new())))
                }
                Outcome::Unwritten(error) => failure = Some(error.into()),
                Outcome::Unread(error) => failure = Some(error.into()),
            }
        }
        self.state.end().await?;
        self.due_at_ms = Some(0);
        match failure {
            Some(SinkFailure::Superseded(_)) => self.check_tenure().await,
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// The remote works.
    fn well(&mut self) {
        self.back_off = super::BackOff::default();
    }

    fn pause_ms(&self, failures: u32, asked: Option<std::time::Duration>) -> i64 {
        let pause = self.config.retry.pause(failures, asked);
        i64::try_from(pause.as_millis()).unwrap_or(i64::MAX)
    }

    fn not_accepted(&self, fault: &Fault) -> SinkFailure {
        let name = &self.config.name;
        SinkFailure::Rest(format!(
            "the service does not accept this office: {}; see to the credential, then `branchline sink resume {name}`",
            fault.message
        ))
    }
}
