//! A batch of objects: read, made, sent, and settled one by one.

use std::collections::BTreeMap;

use super::{SinkFailure, WeaviateWorker, later_ms, now_ms};
use crate::jobs::fault::{Class, Fault};
use crate::sink::weaviate::batch;
use crate::sink::weaviate::config::{EdgeConfig, ObjectConfig};
use crate::sink::weaviate::names::Uuid;
use crate::sink::weaviate::prepare::{ObjectStand, PreparedObject, prepare};
use crate::sink::weaviate::remote::{Fate, RemoteObject};
use crate::sink::weaviate::state::{DueObject, EdgeWay};

/// An object that is sent.
struct Sending {
    due: DueObject,
    made: PreparedObject,
    object: RemoteObject,
}

impl WeaviateWorker {
    /// Sends what is due: objects first, then what is between them. Returns whether there is more to do at once.
    pub(super) async fn deliver(&mut self) -> Result<bool, SinkFailure> {
        if self.back_off.left().is_some() || self.next_at > tokio::time::Instant::now() {
            return Ok(false);
        }
        for index in 0..self.config.objects.len() {
            let Some(object) = self.config.objects.get(index).cloned() else { continue };
            let due = self.state.due(&object.collection, now_ms(), self.config.batch).await?;
            if !due.is_empty() {
                self.begin_run().await?;
                self.objects(object, due).await?;
                self.edges_due = true;
                return Ok(true);
            }
        }
        self.deliver_edges().await
    }

    /// The next request waits as long as is configured.
    pub(super) fn pace(&mut self) {
        self.next_at = tokio::time::Instant::now() + self.config.delay;
    }

    async fn objects(
        &mut self,
        object: ObjectConfig,
        due: Vec<DueObject>,
    ) -> Result<(), SinkFailure> {
        let ObjectConfig { collection, class, .. } = object.clone();
        let Some(filter) = self.filters.get(&collection).cloned() else { return Ok(()) };
        let edges: Vec<EdgeConfig> = self.config.edges_from(&collection).cloned().collect();
        let ids = due.iter().map(|due| due.id.clone()).collect();
        let stands = prepare(&self.node, &self.config, &object, &filter, ids).await?;
        let Some(names) = self.names else { return Err(SinkFailure::NoNetwork) };
        let mut sending = Vec::new();
        let mut gone = Vec::new();
        self.state.begin().await?;
        for (due, stand) in due.into_iter().zip(stands) {
            match stand {
                // One that is forced may be there by what another site has sent, or an earlier file of this one.
                ObjectStand::Gone if due.is_confirmed || due.is_sent || due.is_forced => {
                    let id = names.object(&class, &due.id);
                    gone.push((due, id));
                }
                ObjectStand::Gone => self.state.forget(&collection, &due.id).await?,
                ObjectStand::Impossible(what) => {
                    self.state.refuse(&collection, &due.id, &what, None, now_ms()).await?;
                    self.count(|counted| counted.refused += 1);
                }
                ObjectStand::Made(made) => {
                    for (edge, targets) in edges.iter().zip(&made.targets) {
                        let name = edge.name();
                        let way = EdgeWay { edge: &name, from: &collection, to: &edge.to };
                        self.state.want(way, &due.id, targets).await?;
                    }
                    let is_there = due.is_confirmed && due.digest.as_ref() == Some(&made.digest);
                    if is_there && !due.is_forced {
                        self.state.settle(&collection, &due.id).await?;
                        self.count(|counted| counted.unchanged += 1);
                        continue;
                    }
                    if !due.is_sent {
                        self.state.goes_out(&collection, &due.id).await?;
                    }
                    let id = names.object(&class, &due.id);
                    let properties = made.properties.clone();
                    let class = class.clone();
                    sending.push(Sending {
                        due,
                        made,
                        object: RemoteObject { class, id, properties },
                    });
                }
            }
        }
        self.state.end().await?;
        self.delete(&collection, &class, gone).await?;
        if self.back_off.left().is_some() || sending.is_empty() {
            return Ok(());
        }
        let sending = self.fitting(&collection, &class, sending).await?;
        if self.back_off.left().is_none() && !sending.is_empty() {
            self.send(&collection, &edges, sending).await?;
        }
        Ok(())
    }

    /// Objects whose properties the class has: those that it lacks are added, and what cannot be is set aside.
    async fn fitting(
        &mut self,
        collection: &str,
        class: &str,
        sending: Vec<Sending>,
    ) -> Result<Vec<Sending>, SinkFailure> {
        let mut missing = BTreeMap::new();
        let mut fitting = Vec::new();
        let mut refused: Vec<(DueObject, String)> = Vec::new();
        for one in sending {
            match self.classes.missing(class, &one.object.properties) {
                Ok(lacks) => {
                    // The first that has it says what it is.
                    for (name, kind) in lacks {
                        missing.entry(name).or_insert(kind);
                    }
                    fitting.push(one);
                }
                Err(what) => refused.push((one.due, what)),
            }
        }
        if !missing.is_empty() {
            match self.classes.add(&self.remote, class, missing).await {
                Ok(not_made) => {
                    let mut kept = Vec::new();
                    for one in fitting {
                        let lacks =
                            one.object.properties.keys().find_map(|name| not_made.get(name));
                        match lacks.cloned() {
                            Some(what) => refused.push((one.due, what)),
                            None => kept.push(one),
                        }
                    }
                    fitting = kept;
                }
                Err(fault) => {
                    self.failed(fault)?;
                    return Ok(Vec::new());
                }
            }
        }
        self.state.begin().await?;
        for (due, what) in refused {
            self.refuse(collection, &due, &what).await?;
        }
        self.state.end().await?;
        Ok(fitting)
    }

    async fn send(
        &mut self,
        collection: &str,
        edges: &[EdgeConfig],
        sending: Vec<Sending>,
    ) -> Result<(), SinkFailure> {
        let objects: Vec<RemoteObject> = sending.iter().map(|one| one.object.clone()).collect();
        let remote = &self.remote;
        let post = |part: Vec<RemoteObject>| async move { remote.put_objects(&part).await };
        let sent = batch::send(&objects, post).await;
        self.pace();
        let mut totals = super::report::Part { requests: sent.requests, ..Default::default() };
        self.state.begin().await?;
        for (one, fate) in sending.iter().zip(&sent.fates) {
            let Sending { due, made, .. } = one;
            match fate {
                Fate::Confirmed => {
                    totals.confirmed += 1;
                    self.state.confirm(collection, &due.id, &made.digest, now_ms()).await?;
                    for edge in edges {
                        self.state.clear(&edge.name(), &due.id).await?;
                    }
                    if due.is_confirmed {
                        self.count(|counted| counted.updated += 1)
                    } else {
                        self.count(|counted| counted.created += 1)
                    }
                }
                Fate::Refused(what) => {
                    totals.refused += 1;
                    self.refuse(collection, due, what).await?;
                }
                Fate::Unknown => {
                    totals.unknown += 1;
                    let pause = self.retry.pause(due.tries.saturating_add(1), None);
                    self.state.put_off(collection, &due.id, later_ms(pause)).await?;
                    self.count(|counted| counted.retried += 1);
                }
            }
        }
        self.state.end().await?;
        totals.items =
            (totals.confirmed + totals.refused + totals.unknown).max(sent.fates.len() as u64);
        self.note("objects", collection, totals);
        match sent.fault {
            // Others were taken: the server is there, and the ones that it fails are put off.
            Some(fault) if totals.confirmed > 0 && fault.status == Some(500) => Ok(()),
            Some(fault) => self.failed(fault),
            None => {
                self.back_off = super::BackOff::default();
                Ok(())
            }
        }
    }

    /// Deletes objects whose records are gone, with the edges at both of their ends.
    async fn delete(
        &mut self,
        collection: &str,
        class: &str,
        gone: Vec<(DueObject, Uuid)>,
    ) -> Result<(), SinkFailure> {
        let mut edges = Vec::new();
        for edge in &self.config.edges {
            edges.push((edge.name(), edge.collection.clone(), edge.to.clone()));
        }
        for (due, id) in gone {
            let was_there = match self.remote.delete(class, id).await {
                Ok(was_there) => was_there,
                Err(fault) if fault.class == Class::Permanent => {
                    self.refuse(collection, &due, &fault.message).await?;
                    continue;
                }
                Err(fault) => return self.failed(fault),
            };
            self.state.begin().await?;
            for (name, from, to) in &edges {
                if from == collection {
                    self.state.cut_from(name, &due.id).await?;
                }
                if to == collection {
                    self.state.cut_to(EdgeWay { edge: name, from, to }, &due.id).await?;
                }
            }
            self.state.forget(collection, &due.id).await?;
            self.state.end().await?;
            if was_there {
                self.count(|counted| counted.deleted += 1);
            }
            self.pace();
        }
        Ok(())
    }

    /// An item was refused: tried again some times, and then set aside.
    async fn refuse(
        &mut self,
        collection: &str,
        due: &DueObject,
        what: &str,
    ) -> Result<(), SinkFailure> {
        let attempts = self.state.attempts(collection, &due.id).await?.saturating_add(1);
        let due_ms =
            (attempts < self.retry.attempts).then(|| later_ms(self.retry.pause(attempts, None)));
        self.state.refuse(collection, &due.id, what, due_ms, now_ms()).await?;
        self.count(|counted| counted.refused += 1);
        self.counts.faults.permanent += 1;
        Ok(())
    }

    /// The server has failed, whatever the item: it is left alone for a while. One that does not accept this office is said to
    /// a person.
    pub(super) fn failed(&mut self, fault: Fault) -> Result<(), SinkFailure> {
        match fault.class {
            Class::Transient | Class::Permanent => {
                self.counts.faults.transient += 1;
                self.back_off.fail(&self.retry, &fault.message, fault.retry_after);
                tracing::warn!(sink = %self.name, error = %fault, "the sink backs off");
                Ok(())
            }
            Class::Authentication => {
                self.counts.faults.authentication += 1;
                Err(SinkFailure::Remote(fault))
            }
        }
    }
}
