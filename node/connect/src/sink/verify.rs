//! Reads back what the remote has, and compares it with what was delivered: what others have changed there is found. The
//! digest alone says nothing of that.

use std::sync::Arc;

use branchline_node::Handle;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::group::delivered::Delivered;
use super::group::gather::{GroupStand, Members};
use super::group::look::{Looked, look};
use super::group::shape::Shape;
use super::item::{Item, RemoteId};
use super::push::{MadeItem, Pusher};
use super::state::{SinkState, Which};
use super::survey::SurveyError;
use crate::jobs::board::Jobs;
use crate::jobs::digest::digest;
use crate::jobs::fault::{Class, Fault, excerpt};
use crate::jobs::retry::RetryConfig;

/// Groups that are looked at together.
const PAGE: usize = 100;
/// Objects that are said to differ; more are counted, and are left to the next time.
const DIFFERENCES_MAX: usize = 10_000;

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verified {
    /// Objects that were read.
    pub read: u64,
    /// Those that are something else than what was delivered.
    pub differ: u64,
    /// Those that are not there any more.
    pub gone: u64,
    /// Those that cannot be read.
    pub unreadable: u64,
    /// Groups that are on their way, and were left out.
    pub on_the_way: u64,
    /// Those that are sent once more.
    pub repaired: u64,
    /// The first of what was found.
    pub differences: Vec<SinkDifference>,
}

/// An object that is not what was delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SinkDifference {
    /// The primary record's id.
    pub id: String,
    /// What the object is called at the remote.
    pub remote_id: String,
    /// What is wrong with it.
    pub what: String,
    /// Whether it is gone.
    pub is_gone: bool,
    /// Whether it could be read, so that sending it once more makes it right.
    pub is_read: bool,
    /// How often something was confirmed of it by then.
    pub sequence: u64,
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotVerified {
    /// The records, or the sink's own file.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The remote.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// A person has ended it.
    #[error("cancelled")]
    Cancelled,
    /// It has no way to read.
    #[error("its objects cannot be read back: say how in [sink.read]")]
    Blind,
}

/// Compares all objects of a sink with what was delivered. Changes nothing.
pub(crate) struct Verifier {
    pub(super) reader: RemoteReader,
    pub(super) state: SinkState,
    /// Objects that are read at the same time.
    pub(super) concurrency: usize,
}

/// Compares one object.
pub(crate) struct RemoteReader {
    pub(super) shape: Arc<Shape>,
    pub(super) node: Handle,
    pub(super) pusher: Arc<Pusher>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) job: u64,
    pub(super) retry: RetryConfig,
}

/// What is known of one object.
enum Finding {
    /// It is as it was delivered.
    Same,
    /// Nothing can be said: it is on its way, or not meant to be there.
    Open,
    Other(SinkDifference),
}

impl Verifier {
    /// Looks at all there are.
    pub(crate) async fn run(self) -> Result<Verified, NotVerified> {
        let Self { reader, mut state, concurrency } = self;
        let verified = reader.verify(&mut state, concurrency).await;
        state.close().await;
        verified
    }
}

impl RemoteReader {
    async fn verify(
        &self,
        state: &mut SinkState,
        concurrency: usize,
    ) -> Result<Verified, NotVerified> {
        if !self.pusher.sink.abilities().read {
            return Err(NotVerified::Blind);
        }
        let mut verified = Verified::default();
        let total = state.counts().await.map_err(SurveyError::from)?.2;
        let (mut after, mut seen) = (None::<String>, 0_u64);
        loop {
            let page = state.groups(Which::All, after.as_deref(), PAGE).await;
            let rows = page.map_err(SurveyError::from)?;
            let Some(last) = rows.last() else { return Ok(verified) };
            after = Some(last.id.clone());
            seen += rows.len() as u64;
            let mut groups = Vec::with_capacity(rows.len());
            for row in &rows {
                let members = state.members(&self.shape, &row.id).await;
                groups.push((row.id.clone(), members.map_err(SurveyError::from)?));
            }
            let looked = self.look(groups.clone()).await?;
            let rows = rows.into_iter().zip(groups).zip(looked);
            let found = rows.map(|((row, (id, members)), looked)| async move {
                if row.is_dirty { Ok(Finding::Open) } else { self.find(id, members, looked).await }
            });
            let mut found = stream::iter(found).buffered(concurrency);
            while let Some(found) = found.next().await {
                verified.add(found?);
            }
            self.jobs.progress(self.job, seen, Some(total.max(seen)));
            if self.jobs.is_cancelled(self.job) {
                return Err(NotVerified::Cancelled);
            }
        }
    }

    async fn look(&self, groups: Vec<(String, Members)>) -> Result<Vec<Looked>, NotVerified> {
        let shape = Arc::clone(&self.shape);
        let looked = look(&self.node, shape, &self.pusher.collection, groups).await;
        Ok(looked.map_err(SurveyError::from)?)
    }

    async fn find(
        &self,
        id: String,
        members: Members,
        looked: Looked,
    ) -> Result<Finding, NotVerified> {
        let Some((known, remote_id, made)) = self.delivered(&looked).await else {
            return Ok(Finding::Open);
        };
        let item = Item {
            group: id.clone(),
            representation: made.representation.clone(),
            key: String::new(),
            fence: self.pusher.term,
            etag: None,
        };
        let difference = |what: String, is_gone, is_read| SinkDifference {
            id: id.clone(),
            remote_id: remote_id.0.clone(),
            what,
            is_gone,
            is_read,
            sequence: known.sequence,
        };
        let found = match self.read(&remote_id, &item).await {
            Ok(Some(found)) => match differs(&made.representation, &found, "") {
                None => return Ok(Finding::Same),
                Some(what) => difference(what, false, true),
            },
            Ok(None) => difference("it is not there any more".to_owned(), true, true),
            Err(fault) if fault.class == Class::Permanent => {
                difference(fault.message, false, false)
            }
            Err(fault) => return Err(fault.into()),
        };
        // It may have been sent meanwhile.
        let now = self.look(vec![(id.clone(), members)]).await?.pop();
        let is_as_before = now.and_then(|now| now.known).as_ref() == Some(&known);
        Ok(if is_as_before { Finding::Other(found) } else { Finding::Open })
    }

    /// What was delivered of a group, where that is what it is now.
    async fn delivered(&self, looked: &Looked) -> Option<(Delivered, RemoteId, MadeItem)> {
        let known = looked.known.clone().filter(|known| known.pending.is_none())?;
        let GroupStand::In(input) = &looked.gathered.stand else { return None };
        let id = RemoteId(known.remote_id.clone()?);
        let made = self.pusher.made(input, &known).await.ok()?;
        (known.digest.as_ref() == Some(&made.digest)).then_some((known, id, made))
    }

    async fn read(&self, id: &RemoteId, item: &Item) -> Result<Option<Json>, Fault> {
        let mut tries = 0;
        loop {
            let fault = match self.pusher.sink.read(id, item).await {
                Err(fault) if fault.class == Class::Transient => fault,
                read => return read,
            };
            tries += 1;
            if tries >= self.retry.attempts || self.jobs.is_cancelled(self.job) {
                return Err(fault);
            }
            tokio::time::sleep(self.retry.pause(tries, fault.retry_after)).await;
        }
    }
}

impl Verified {
    fn add(&mut self, finding: Finding) {
        let found = match finding {
            Finding::Same => {
                self.read += 1;
                return;
            }
            Finding::Open => {
                self.on_the_way += 1;
                return;
            }
            Finding::Other(found) => found,
        };
        let count = match (found.is_read, found.is_gone) {
            (false, _) => &mut self.unreadable,
            (true, true) => &mut self.gone,
            (true, false) => &mut self.differ,
        };
        *count += 1;
        self.read += u64::from(found.is_read);
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(found);
        }
    }
}

/// Where an object is not what was delivered; what a service has besides is its own. `None`: it is the same.
fn differs(sent: &Json, found: &Json, place: &str) -> Option<String> {
    let other = || {
        let name = if place.is_empty() { "it" } else { place };
        let (sent, found) = (excerpt(&sent.to_string()), excerpt(&found.to_string()));
        Some(format!("{name} is {found}, delivered was {sent}"))
    };
    match (sent, found) {
        (Json::Object(sent), Json::Object(found)) => {
            sent.iter().find_map(|(name, sent)| differs_in(name, sent, found, place))
        }
        (Json::Array(sent), Json::Array(found)) if sent.len() == found.len() => {
            let pairs = sent.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(index, (sent, found))| {
                differs(sent, found, &format!("{place}[{index}]"))
            })
        }
        _ if digest(sent) == digest(found) => None,
        _ => other(),
    }
}

fn differs_in(name: &str, sent: &Json, found: &Map<String, Json>, place: &str) -> Option<String> {
    let place = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    differs(sent, found.get(name).unwrap_or(&Json::Null), &place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_service_has_besides_is_no_difference_and_what_it_has_otherwise_is_said_by_its_place()
    {
        let sent = json!({ "ref": "A", "total": 12.50, "note": null, "lines": [{ "sku": "tea" }] });
        let of = |found: Json| differs(&sent, &found, "");
        let lines = json!([{ "sku": "tea", "id": 3 }]);
        assert_eq!(of(json!({ "id": 7, "ref": "A", "total": 12.5, "lines": lines })), None);
        for (found, what) in [
            (
                json!({ "ref": "B", "total": 12.5, "lines": lines }),
                "ref is \"B\", delivered was \"A\"",
            ),
            (json!({ "ref": "A", "total": "12.5", "lines": lines }), "total is \"12.5\""),
            (json!({ "ref": "A", "total": 12.5, "lines": [] }), "lines is []"),
            (json!({ "ref": "A", "total": 12.5, "lines": [{}] }), "lines[0].sku is null"),
            (json!([]), "it is []"),
        ] {
            assert!(of(found).is_some_and(|found| found.starts_with(what)), "{what}");
        }
    }
}
