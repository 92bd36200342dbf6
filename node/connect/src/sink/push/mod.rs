//! One group's way: representation, digest, request, confirmation.
//!
//! A create is preceded by a durable note of what is sent. Where its outcome stays unknown (a crash, a connection that was
//! cut), the object is looked for before anything is created again; a remote that cannot be asked gets the same request
//! under the same key. What is neither confirmed nor refused is said to be unknown.

mod settle;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use branchline_node::Handle;
use branchline_node::records::NotWritten;
use serde_json::Value as Json;
use tokio::sync::Semaphore;

use super::group::delivered::{Delivered, hex};
use super::group::gather::{Gathered, GroupStand, Input};
use super::item::{Abilities, Item, RemoteId, Sink, Stored};
use super::state::DueGroup;
use super::trial::{SinkMistake, SinkTrial};
use crate::jobs::fault::{Class, Done, Fault};
use crate::jobs::jq::Filter;
use crate::jobs::tenure::{Tenure, TenureError};

/// The status of an answer to an update of an object that has another version by now.
pub(super) const PRECONDITION_FAILED: u16 = 412;

/// What pushes need of the sink.
pub(crate) struct Pusher {
    /// The sink's name.
    pub(super) name: String,
    /// The node, in the space of the sink's collections.
    pub(super) node: Handle,
    /// The collection of what is known of the groups.
    pub(super) collection: String,
    /// Who runs the sink.
    pub(super) connector: String,
    /// The third party.
    pub(super) sink: Arc<dyn Sink>,
    pub(super) translate: Filter,
    pub(super) expression: String,
    /// Refusals after which an item waits for a change or a person.
    pub(super) attempts_max: u32,
    /// The pushes under way.
    pub(super) permits: Semaphore,
    /// How often the sink was taken over.
    pub(super) term: u64,
    pub(super) trial: SinkTrial,
}

/// One look at a group.
pub(super) struct PushJob {
    pub(super) due: DueGroup,
    pub(super) gathered: Gathered,
    pub(super) known: Option<Delivered>,
    /// Set when something touches the group while it waits.
    pub(super) stale: Arc<AtomicBool>,
}

/// What came of a look at a group.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The remote has it.
    Created,
    /// The same.
    Updated,
    /// The remote does not have it any more.
    Deleted,
    /// There is nothing to send, and nothing to know of it.
    Nothing,
    /// There is nothing to send.
    Unchanged,
    /// It has changed meanwhile, and nothing was sent.
    Stale,
    /// It was refused, so often by now.
    Refused(u32),
    /// It was refused, and is not sent again by itself.
    Aside,
    /// The remote, or the way to it, is out of order.
    Transient(Fault),
    /// The remote does not accept this office.
    Authentication(Fault),
    /// Another site runs the sink.
    Superseded,
    /// The node does not take what is known of the remote.
    Unwritten(NotWritten),
    /// It cannot be read who runs the sink.
    Unread(TenureError),
}

/// Why a push ends early.
pub(super) enum Stop {
    Fault(Fault),
    Outcome(Box<Outcome>),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Outcome(Box::new(outcome))
    }
}

impl From<NotWritten> for Stop {
    fn from(error: NotWritten) -> Self {
        Outcome::Unwritten(error).into()
    }
}

/// What is asked of the remote for a group.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum WantedItem {
    /// Nothing, and nothing is known of it.
    Nothing,
    /// Nothing.
    Unchanged,
    /// It was refused as it is.
    Aside,
    /// It is too large, or `translate` fails.
    Impossible(String),
    Create(MadeItem),
    Update(RemoteId, MadeItem),
    Delete,
}

/// A representation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MadeItem {
    pub(super) representation: Json,
    pub(super) digest: String,
    pub(super) watched: Option<String>,
}

impl Pusher {
    /// Looks at a group, and sends what there is to send.
    pub(super) async fn push(&self, job: PushJob) -> Outcome {
        let mut known = job.known.clone().unwrap_or_default();
        let wanted = self.wanted(&job, &known).await;
        let digest = match &wanted {
            WantedItem::Create(made) | WantedItem::Update(_, made) => Some(made.digest.clone()),
            WantedItem::Nothing
            | WantedItem::Unchanged
            | WantedItem::Aside
            | WantedItem::Impossible(_)
            | WantedItem::Delete => None,
        };
        let done = match wanted {
            WantedItem::Nothing => return Outcome::Nothing,
            WantedItem::Aside => return Outcome::Aside,
            WantedItem::Unchanged if known.error.is_some() => self.forgive(&job, &mut known).await,
            WantedItem::Unchanged => return Outcome::Unchanged,
            WantedItem::Impossible(what) => {
                let refused = self.refuse(&job, &mut known, None, &what).await;
                return refused.map_or_else(Outcome::Unwritten, |_| Outcome::Aside);
            }
            WantedItem::Create(made) => self.create(&job, &mut known, made).await,
            WantedItem::Update(id, made) => self.update(&job, &mut known, &id, made).await,
            WantedItem::Delete => self.delete(&job, &mut known).await,
        };
        match done {
            Ok(outcome) => outcome,
            Err(Stop::Outcome(outcome)) => *outcome,
            Err(Stop::Fault(fault)) => {
                self.failed(&job, &mut known, digest.as_deref(), fault).await
            }
        }
    }

    /// What is asked of the remote for a group. Sends nothing.
    pub(super) async fn wanted(&self, job: &PushJob, known: &Delivered) -> WantedItem {
        let abilities = self.sink.abilities();
        let is_there = known.remote_id.is_some() || known.pending.is_some();
        let input = match &job.gathered.stand {
            GroupStand::Kept if is_there => return WantedItem::Unchanged,
            GroupStand::Gone | GroupStand::Left | GroupStand::Kept if !is_there => {
                return WantedItem::Nothing;
            }
            GroupStand::Gone | GroupStand::Left | GroupStand::Kept if !abilities.delete => {
                return WantedItem::Unchanged;
            }
            GroupStand::Gone | GroupStand::Left | GroupStand::Kept => return WantedItem::Delete,
            GroupStand::TooLarge(what) => return WantedItem::Impossible(what.clone()),
            GroupStand::In(input) => input,
        };
        let made = match self.made(input, known).await {
            Ok(made) => made,
            Err(what) => return WantedItem::Impossible(what),
        };
        let is_asked = job.due.forced > 0;
        let was_refused = known.refused.as_ref() == Some(&made.digest);
        if !is_asked && was_refused && known.attempts >= self.attempts_max {
            return WantedItem::Aside;
        }
        let Some(id) = known.remote_id.clone() else { return WantedItem::Create(made) };
        let is_watched = is_asked
            || made.watched.is_none()
            || made.watched != known.watched
            || known.error.is_some();
        if known.digest.as_ref() == Some(&made.digest) || !abilities.update || !is_watched {
            WantedItem::Unchanged
        } else {
            WantedItem::Update(RemoteId(id), made)
        }
    }

    /// Makes the representation.
    pub(super) async fn made(&self, input: &Input, known: &Delivered) -> Result<MadeItem, String> {
        let mut values = input.values.clone();
        if self.sink.abilities().initial {
            let initial = known.initial.as_deref().and_then(|text| serde_json::from_str(text).ok());
            values.insert("initial".to_owned(), initial.unwrap_or(Json::Null));
        }
        let made = self.translate.run_one(Json::Object(values)).await;
        let representation = made.map_err(|error| error.to_string())?;
        let digest = hex(&representation);
        Ok(MadeItem { representation, digest, watched: input.watched.as_ref().map(hex) })
    }

    async fn create(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        made: MadeItem,
    ) -> Result<Outcome, Stop> {
        let _permit = self.permit(job).await?;
        if known.pending.is_some() {
            match self.settle(job, known, &made.representation).await? {
                Some(id) if known.digest.as_ref() != Some(&made.digest) => {
                    return self.send_update(job, known, &id, made).await;
                }
                Some(_) => return Ok(Outcome::Created),
                None => {}
            }
        }
        let made = self.initialised(job, known, made).await?;
        let key = known.key(&self.name, &job.due.id, &made.digest);
        known.will_create(key.clone(), &made.digest, made.watched.clone(), &made.representation);
        if !self.trial.makes(SinkMistake::NothingPending) {
            self.write(job, known).await?;
        }
        self.trial.step().await;
        let created = self.sink.create(&self.item(job, made.representation, key)).await;
        self.trial.step().await;
        match created {
            Ok(Stored { id: RemoteId(id), etag }) => {
                known.remote_id = Some(id);
                known.confirm(made.digest, made.watched, &self.expression);
                known.etag = etag;
                self.write(job, known).await?;
                self.trial.step().await;
                Ok(Outcome::Created)
            }
            Err(fault) => {
                if fault.done == Done::No {
                    known.pending = None;
                    self.write(job, known).await?;
                }
                Err(fault.into())
            }
        }
    }

    /// The representation with what is read before an object is created.
    async fn initialised(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        made: MadeItem,
    ) -> Result<MadeItem, Stop> {
        let GroupStand::In(input) = &job.gathered.stand else { return Ok(made) };
        if !self.sink.abilities().initial || known.initial.is_some() {
            return Ok(made);
        }
        let initial = self.sink.initial(&input.values).await?;
        known.initial = Some(initial.unwrap_or(Json::Null).to_string());
        let made = self.made(input, known).await;
        made.map_err(|what| Fault::unsent(Class::Permanent, what).into())
    }

    async fn update(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        id: &RemoteId,
        made: MadeItem,
    ) -> Result<Outcome, Stop> {
        let _permit = self.permit(job).await?;
        self.send_update(job, known, id, made).await
    }

    async fn send_update(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        id: &RemoteId,
        made: MadeItem,
    ) -> Result<Outcome, Stop> {
        if !self.sink.abilities().update {
            return Ok(Outcome::Created);
        }
        let key = known.key(&self.name, &job.due.id, &made.digest);
        // Who requeues a group wants it sent, whatever others have made of the object.
        let etag = known.etag.clone().filter(|_| job.due.forced < 2);
        let item = Item { etag, ..self.item(job, made.representation, key) };
        let stored = self.sink.update(id, &item).await?;
        self.trial.step().await;
        known.confirm(made.digest, made.watched, &self.expression);
        known.etag = stored.etag;
        self.write(job, known).await?;
        self.trial.step().await;
        Ok(Outcome::Updated)
    }

    async fn delete(&self, job: &PushJob, known: &mut Delivered) -> Result<Outcome, Stop> {
        let _permit = self.permit(job).await?;
        let id = match known.remote_id.clone() {
            Some(id) => Some(RemoteId(id)),
            None => self.settle(job, known, &Json::Null).await?,
        };
        if let Some(id) = id {
            let key = known.key(&self.name, &job.due.id, "");
            self.sink.delete(&id, &self.item(job, Json::Null, key)).await?;
            self.trial.step().await;
        }
        known.confirm_deleted(&self.expression);
        self.write(job, known).await?;
        self.trial.step().await;
        Ok(Outcome::Deleted)
    }

    /// Waits for its turn, and sees whether the push is still what is wanted then.
    async fn permit(&self, job: &PushJob) -> Result<tokio::sync::SemaphorePermit<'_>, Stop> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.map_err(|_| Stop::from(Outcome::Stale))?;
        if job.stale.load(Ordering::Acquire) {
            return Err(Outcome::Stale.into());
        }
        match Tenure::look(&self.node, &self.connector).await {
            Ok(Some(tenure)) if tenure.is_of(&self.node) && tenure.term == self.term => Ok(permit),
            Ok(_) => Err(Outcome::Superseded.into()),
            Err(error) => Err(Outcome::Unread(error).into()),
        }
    }

    fn item(&self, job: &PushJob, representation: Json, key: String) -> Item {
        let group = job.due.id.clone();
        Item { group, representation, key, fence: self.term, etag: None }
    }

    async fn write(&self, job: &PushJob, known: &Delivered) -> Result<(), NotWritten> {
        known.write(&self.node, &self.collection, &job.due.id).await
    }

    /// What was refused is as the remote has it by now.
    async fn forgive(&self, job: &PushJob, known: &mut Delivered) -> Result<Outcome, Stop> {
        known.forgive();
        self.write(job, known).await?;
        Ok(Outcome::Unchanged)
    }

    async fn refuse(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        digest: Option<&str>,
        what: &str,
    ) -> Result<u32, NotWritten> {
        known.refuse(digest, what, job.due.forced > 0);
        self.write(job, known).await?;
        Ok(known.attempts)
    }

    async fn failed(
        &self,
        job: &PushJob,
        known: &mut Delivered,
        digest: Option<&str>,
        fault: Fault,
    ) -> Outcome {
        match fault.class {
            Class::Transient => Outcome::Transient(fault),
            Class::Authentication => Outcome::Authentication(fault),
            Class::Permanent => {
                let abilities = self.sink.abilities();
                // Without a way to find out, sending it once more may double it: a person decides.
                let is_unknown = known.pending.is_some() && !abilities.lookup && !abilities.repeat;
                // Nor is what others have changed written over by trying again.
                let is_edited = fault.status == Some(PRECONDITION_FAILED);
                let refused = self.refuse(job, known, digest, &fault.message).await;
                match refused {
                    Ok(attempts) if attempts < self.attempts_max && !is_unknown && !is_edited => {
                        Outcome::Refused(attempts)
                    }
                    Ok(_) => Outcome::Aside,
                    Err(error) => Outcome::Unwritten(error),
                }
            }
        }
    }

    fn abilities(&self) -> Abilities {
        self.sink.abilities()
    }
}
