//! What the driver notes for those who watch the node: the replica knows no clock.

use std::collections::BTreeMap;
use std::time::Instant;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{WriteError, Written};
use libp2p::PeerId;

use super::events::keep;
use super::{Driver, Seen};
use crate::peers::added::AddedSeen;

/// Pulls that wait for an answer, over all members; each ends in an answer or a failure.
const PULLS_MAX: usize = 4096;

/// What the replica's thread knows.
pub(crate) struct Measured {
    pub(crate) seen: Seen,
    /// By member.
    pub(crate) passed: BTreeMap<SiteId, Passed>,
    /// How much each site has added.
    pub(crate) added: AddedSeen,
}

/// What passed between this site and a member since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Entries that came from it by pulls and were not held here.
    pub(crate) pulled: u64,
    /// Entries that it asked for and was sent.
    pub(crate) pushed: u64,
}

impl Driver {
    pub(super) fn measure(&self) -> Measured {
        let mut passed = self.passed.clone();
        for (site, exchange) in self.replica.exchanges() {
            let passed = passed.entry(site).or_default();
            passed.pulled += exchange.pulled;
            passed.pushed += exchange.pushed;
        }
        Measured { seen: self.seen(), passed, added: self.added() }
    }

    /// A member's last link ends, and with it what the replica has counted of it.
    pub(super) fn note_link_down(&mut self, peer: &PeerId) {
        let Some(site) = SiteId::from_peer_id(peer) else { return };
        let Some(exchange) = self.replica.exchanges().remove(&site) else { return };
        let passed = self.passed.entry(site).or_default();
        passed.pulled += exchange.pulled;
        passed.pushed += exchange.pushed;
    }

    pub(super) fn note_pull(&mut self, id: u64) {
        keep(&mut self.pulls, id, Instant::now(), PULLS_MAX);
    }

    pub(super) fn note_answer(&mut self, id: u64) {
        if let Some(sent) = self.pulls.remove(&id) {
            self.metrics.pull_duration.record_time(sent.elapsed());
        }
    }

    pub(super) fn note_failed_pull(&mut self, id: u64) {
        if self.pulls.remove(&id).is_some() {
            self.metrics.pulls_failed.inc();
        }
    }

    /// A group is committed; the writes in it are not answered yet.
    pub(super) fn note_group(&self) {
        if !self.writes.is_empty() {
            self.metrics.commit_writes.record(self.writes.len() as u64);
        }
    }

    /// A turn that began at `started` is over. The thread is the only one that notes them.
    pub(super) fn note_turn(&self, started: Instant) {
        let took = started.elapsed();
        self.metrics.turn_duration.record_time(took);
        if took.as_secs_f64() > self.metrics.turn_longest.get() {
            self.metrics.turn_longest.set(took.as_secs_f64());
        }
    }

    /// A write is durable, or refused.
    pub(super) fn note_written(&self, arrived: Instant, results: &[Result<Written, WriteError>]) {
        self.metrics.write_duration.record_time(arrived.elapsed());
        let counts = &self.metrics.transactions;
        for result in results {
            let count = match result {
                Ok(written) if written.records_changed > 0 => &counts.written,
                Ok(_) => &counts.unchanged,
                Err(_) => &counts.refused,
            };
            count.inc();
        }
    }
}
