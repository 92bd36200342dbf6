//! What the driver notes for those who watch the node: the replica knows no clock.

use std::collections::BTreeMap;
use std::time::Instant;

use branchline_crdt::ids::SiteId;
use branchline_crdt::protocol::RequestKind;
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

/// Pulls that wait for an answer, with when each was sent. Other requests are not measured: who is only notified of
/// something answers at once.
#[derive(Default)]
pub(super) struct PullsInFlight(BTreeMap<u64, Instant>);

impl PullsInFlight {
    /// Takes note of a request that is sent, if it is a pull.
    pub(super) fn begin(&mut self, id: u64, body: &[u8]) {
        if matches!(RequestKind::of(body), Ok(RequestKind::Pull)) {
            keep(&mut self.0, id, Instant::now(), PULLS_MAX);
        }
    }

    /// A request has its answer, or failed. Returns when it was sent; `None`: it was no pull.
    fn end(&mut self, id: u64) -> Option<Instant> {
        self.0.remove(&id)
    }
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

    pub(super) fn note_answer(&mut self, id: u64) {
        if let Some(sent) = self.pulls.end(id) {
            self.metrics.pull_duration.record_time(sent.elapsed());
        }
    }

    pub(super) fn note_failed_request(&mut self, id: u64) {
        if self.pulls.end(id).is_some() {
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

#[cfg(test)]
mod tests {
    use branchline_crdt::format::codec;
    use branchline_crdt::ids::SpaceId;
    use branchline_crdt::protocol::{Gossip, Have, PULL_BYTES, Pull, Request};

    use super::*;

    #[test]
    fn of_all_requests_pulls_alone_are_measured() {
        let space = SpaceId([1; 16]);
        let pull = Pull {
            space,
            have: Have::Digest([0; 16]),
            receipts: [0; 8],
            shared: [0; 8],
            bytes_max: PULL_BYTES,
        };
        let mut pulls = PullsInFlight::default();
        pulls.begin(1, &codec::encode(&Request::Notify(Gossip::Hint(space))));
        pulls.begin(2, &codec::encode(&Request::Pull(pull)));
        assert_eq!(pulls.end(1), None);
        assert!(pulls.end(2).is_some_and(|sent| sent <= Instant::now()));
        assert_eq!(pulls.end(2), None, "it has ended");
    }

    #[test]
    fn pulls_that_are_never_answered_are_bounded() {
        let mut pulls = PullsInFlight::default();
        for id in 0..=PULLS_MAX as u64 {
            // The first byte says that it is a pull.
            pulls.begin(id, &[0]);
        }
        assert_eq!(pulls.0.len(), PULLS_MAX);
        assert_eq!(pulls.end(0), None, "the oldest is given up");
    }
}
