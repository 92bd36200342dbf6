//! A create of which nobody knows what became.

use serde_json::Value as Json;

use super::{Outcome, PushJob, Pusher, Stop};
use crate::jobs::fault::{Class, Done, Fault};
use crate::sink::group::delivered::{Delivered, Pending};
use crate::sink::item::{RemoteId, Stored};
use crate::sink::trial::SinkMistake;

impl Pusher {
    /// Finds out what became of a create; the object's id if it is there. What is known is durable then. `now`: the
    /// representation that there is by now, to look for where the one that was sent is not known.
    pub(super) async fn settle(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        now: &Json,
    ) -> Result<Option<RemoteId>, Stop> {
        let Some(pending) = known.pending.clone() else { return Ok(None) };
        let abilities = self.abilities();
        let sent = pending.representation();
        let mut key = pending.key.clone();
        if self.trial.makes(SinkMistake::OtherKey) {
            key.insert(0, 'x');
        }
        if abilities.lookup {
            let item = self.item(job, sent.unwrap_or_else(|| now.clone()), key);
            let found = self.sink.lookup(&item).await?;
            self.trial.step().await;
            return self.found(job, known, &pending, found.map(Stored::from)).await;
        }
        if job.due.forced > 1 && !abilities.repeat && !pending.is_fresh() {
            // A person has looked, and wants it sent.
            return self.found(job, known, &pending, None).await;
        }
        let Some(sent) = sent.filter(|_| abilities.repeat || pending.is_fresh()) else {
            return Err(Fault {
                class: Class::Permanent,
                message: format!(
                    "nobody knows whether the object that was sent at {} was created: see whether the service has it; \
                     `branchline sink requeue {} {}` sends it again",
                    pending.sent_at, self.name, job.due.id
                ),
                status: None,
                retry_after: None,
                done: Done::Unknown,
            }
            .into());
        };
        let created = self.sink.create(&self.item(job, sent, key)).await;
        self.trial.step().await;
        match created {
            Ok(stored) => self.found(job, known, &pending, Some(stored)).await,
            Err(fault) => {
                if fault.done == Done::No && fault.class == Class::Permanent {
                    known.pending = None;
                    self.write(job, known).await?;
                }
                Err(fault.into())
            }
        }
    }

    async fn found(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        pending: &Pending,
        found: Option<Stored>,
    ) -> Result<Option<RemoteId>, Stop> {
        match &found {
            Some(Stored { id: RemoteId(id), etag }) => {
                known.remote_id = Some(id.clone());
                known.confirm(pending.digest.clone(), pending.watched.clone(), &self.expression);
                known.etag.clone_from(etag);
            }
            None => known.pending = None,
        }
        let written = self.write(job, known).await;
        written.map_err(|error| Stop::from(Outcome::Unwritten(error)))?;
        self.trial.step().await;
        Ok(found.map(|stored| stored.id))
    }
}
