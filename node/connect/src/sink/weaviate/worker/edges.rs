//! Edges: sent in batches where the server keeps them apart, and otherwise with all others of their object, so that none is
//! there twice.

use std::collections::BTreeSet;

use super::{SinkFailure, WeaviateWorker, later_ms, now_ms};
use crate::jobs::fault::Class;
use crate::sink::weaviate::batch;
use crate::sink::weaviate::classes::ends;
use crate::sink::weaviate::config::EdgeConfig;
use crate::sink::weaviate::remote::{Edge, Fate};
use crate::sink::weaviate::state::{EdgeRow, EdgeWay};

impl WeaviateWorker {
    /// A batch of edges; returns whether there is more to do at once.
    pub(super) async fn deliver_edges(&mut self) -> Result<bool, SinkFailure> {
        let waits = self.state.next_edge_due().await?.is_some_and(|due| due <= now_ms());
        if !self.edges_due && !waits {
            return Ok(false);
        }
        for index in 0..self.config.edges.len() {
            let Some(edge) = self.config.edges.get(index).cloned() else { continue };
            let name = edge.name();
            let way = EdgeWay { edge: &name, from: &edge.collection, to: &edge.to };
            let back = self.state.replaceable(way, now_ms(), self.config.batch).await?;
            if !back.is_empty() {
                self.begin_run().await?;
                self.replace(&edge, way, back).await?;
                return Ok(true);
            }
            let rows = self.state.sendable(way, now_ms(), self.config.batch).await?;
            if rows.is_empty() {
                continue;
            }
            self.begin_run().await?;
            let (class, _) = ends(&self.config, &edge);
            if self.classes.is_unique(class, &edge.property) {
                self.send_edges(&edge, way, rows).await?
            } else {
                // Each object once, with all that it is to have.
                let mut seen = BTreeSet::new();
                let firsts = rows.into_iter().filter(|row| seen.insert(row.from.clone()));
                let firsts: Vec<EdgeRow> = firsts.collect();
                self.replace(&edge, way, firsts).await?;
            }
            return Ok(true);
        }
        self.edges_due = false;
        Ok(false)
    }

    async fn send_edges(
        &mut self,
        edge: &EdgeConfig,
        way: EdgeWay<'_>,
        rows: Vec<EdgeRow>,
    ) -> Result<(), SinkFailure> {
        let Some(names) = self.names else { return Err(SinkFailure::NoNetwork) };
        let (from, to) = ends(&self.config, edge);
        let (from, to) = (from.to_owned(), to.to_owned());
        let sending = |row: &EdgeRow| Edge {
            from: (from.clone(), names.object(&from, &row.from)),
            property: edge.property.clone(),
            to: (to.clone(), names.object(&to, &row.to)),
        };
        let items: Vec<Edge> = rows.iter().map(sending).collect();
        self.state.edges_go_out(way.edge, &rows).await?;
        let remote = &self.remote;
        let post = |part: Vec<Edge>| async move { remote.add_edges(&part).await };
        let sent = batch::send(&items, post).await;
        self.pace();
        let mut totals = super::report::Part { requests: sent.requests, ..Default::default() };
        self.state.begin().await?;
        for (row, fate) in rows.iter().zip(&sent.fates) {
            match fate {
                Fate::Confirmed => {
                    totals.confirmed += 1;
                    self.state.confirm_edge(way.edge, &row.from, &row.to).await?;
                }
                Fate::Refused(what) => {
                    totals.refused += 1;
                    self.refuse_edge(way, row, what).await?;
                }
                Fate::Unknown => {
                    totals.unknown += 1;
                    let pause = self.retry.pause(row.tries.saturating_add(1), None);
                    self.state.put_off_edge(way.edge, row, later_ms(pause)).await?;
                    self.count(|counted| counted.retried += 1);
                    self.counts.faults.transient += 1;
                }
            }
        }
        self.state.end().await?;
        totals.items = sent.fates.len() as u64;
        self.note("edges", way.edge, totals);
        match sent.fault {
            Some(fault) if totals.confirmed > 0 && fault.status == Some(500) => Ok(()),
            Some(fault) => self.failed(fault),
            None => {
                self.back_off = super::BackOff::default();
                Ok(())
            }
        }
    }

    /// Makes what objects are to have of one edge the only ones that they have.
    async fn replace(
        &mut self,
        edge: &EdgeConfig,
        way: EdgeWay<'_>,
        rows: Vec<EdgeRow>,
    ) -> Result<(), SinkFailure> {
        let Some(names) = self.names else { return Err(SinkFailure::NoNetwork) };
        let (from, to) = ends(&self.config, edge);
        let (from, to) = (from.to_owned(), to.to_owned());
        let mut totals = super::report::Part::default();
        let mut failed = None;
        self.state.objects_edges_go_out(way.edge, &rows).await?;
        for row in rows {
            let targets = self.state.targets(way, &row.from).await?;
            let beacons: Vec<_> =
                targets.iter().map(|id| (to.clone(), names.object(&to, id))).collect();
            let object = (from.as_str(), names.object(&from, &row.from));
            totals.requests += 1;
            match self.remote.replace_edges(object, &edge.property, &beacons).await {
                Ok(()) => {
                    totals.confirmed += targets.len() as u64;
                    totals.items += targets.len() as u64;
                    self.state.begin().await?;
                    self.state.replaced(way.edge, &row.from, &targets).await?;
                    self.state.end().await?;
                }
                Err(fault) if fault.class == Class::Permanent => {
                    totals.refused += 1;
                    self.refuse_edge(way, &row, &fault.message).await?;
                }
                Err(fault) => {
                    failed = Some(fault);
                    break;
                }
            }
        }
        self.pace();
        self.note("edges", way.edge, totals);
        match failed {
            Some(fault) => self.failed(fault),
            None => {
                self.back_off = super::BackOff::default();
                Ok(())
            }
        }
    }

    /// An edge was refused: tried again some times, and then set aside.
    async fn refuse_edge(
        &mut self,
        way: EdgeWay<'_>,
        row: &EdgeRow,
        what: &str,
    ) -> Result<(), SinkFailure> {
        let attempts = row.attempts.saturating_add(1);
        let due_ms =
            (attempts < self.retry.attempts).then(|| later_ms(self.retry.pause(attempts, None)));
        self.state.refuse_edge(way.edge, row, what, due_ms, now_ms()).await?;
        self.count(|counted| counted.refused += 1);
        self.counts.faults.permanent += 1;
        Ok(())
    }
}
