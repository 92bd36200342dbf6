//! When to dial which member again: jittered exponential pauses, from half a second to a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use libp2p::{Multiaddr, PeerId};

/// Addresses tried in one dial: configured, remembered, and seen nearby.
pub(super) const DIAL_ADDRESSES_MAX: usize = 16;

/// First pause; jitter adds up to as much again.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause before jitter, which makes it a minute at most.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The members that are not connected, and when each is dialled next. No larger than the member
/// set.
#[derive(Default)]
pub(super) struct Redial {
    peers: BTreeMap<PeerId, Attempts>,
    due: BTreeSet<(Instant, PeerId)>,
}

struct Attempts {
    pauses: ExponentialBackoff,
    failures: u32,
    error: Option<String>,
    due: Option<Instant>,
    /// Who else was found at which of the peer's addresses, no more than are dialled.
    found: BTreeMap<Multiaddr, PeerId>,
}

impl Attempts {
    fn new() -> Self {
        Self { pauses: pauses(), failures: 0, error: None, due: None, found: BTreeMap::new() }
    }
}

fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

impl Redial {
    /// Dials soon, unless a dial is planned already.
    pub(super) fn soon(&mut self, peer: PeerId, now: Instant) {
        let attempts = self.peers.entry(peer).or_insert_with(Attempts::new);
        if attempts.due.is_none() {
            attempts.due = Some(now);
            self.due.insert((now, peer));
        }
    }

    /// There is fresh news of the peer: dials at once and starts over with short pauses.
    pub(super) fn at_once(&mut self, peer: PeerId, now: Instant) {
        self.pause_dials(&peer);
        if let Some(attempts) = self.peers.get_mut(&peer) {
            attempts.pauses = pauses();
        }
        self.soon(peer, now);
    }

    /// A dial failed, or a connection ended: dials again after a pause.
    pub(super) fn later(&mut self, peer: PeerId, now: Instant) {
        self.pause_dials(&peer);
        let attempts = self.peers.entry(peer).or_insert_with(Attempts::new);
        let at = now + attempts.pauses.next().unwrap_or(PAUSE_MAX);
        attempts.due = Some(at);
        self.due.insert((at, peer));
    }

    /// Counts a dial that failed.
    pub(super) fn failed(&mut self, peer: PeerId, error: String, now: Instant) {
        self.later(peer, now);
        if let Some(attempts) = self.peers.get_mut(&peer) {
            attempts.failures = attempts.failures.saturating_add(1);
            attempts.error = Some(error);
        }
    }

    /// A dial has failed, for somebody else answers at that address.
    pub(super) fn found(&mut self, peer: PeerId, address: Multiaddr, other: PeerId, now: Instant) {
        self.failed(peer, format!("{address}: {other} answers there"), now);
        if let Some(attempts) = self.peers.get_mut(&peer) {
            attempts.found.insert(address, other);
            if attempts.found.len() > DIAL_ADDRESSES_MAX {
                attempts.found.pop_first();
            }
        }
    }

    /// Who was last found at an address of the peer, if it was somebody else.
    pub(super) fn found_at(&self, peer: &PeerId, address: &Multiaddr) -> Option<PeerId> {
        self.peers.get(peer)?.found.get(address).copied()
    }

    /// Plans no dial while the peer is connected. Its failures stay until it has proved itself.
    pub(super) fn pause_dials(&mut self, peer: &PeerId) {
        if let Some(attempts) = self.peers.get_mut(peer)
            && let Some(at) = attempts.due.take()
        {
            self.due.remove(&(at, *peer));
        }
    }

    /// The peer treats us as a member: the failures are history. A connection alone proves nothing,
    /// for a site that does not know us lets us in for seconds only, again and again.
    pub(super) fn proved(&mut self, peer: &PeerId) {
        self.pause_dials(peer);
        self.peers.remove(peer);
    }

    /// The peer is no member any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.proved(peer);
    }

    /// When [`take_due`](Self::take_due) has something next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// A peer whose time has come. Its next dial is planned by what becomes of this one.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<PeerId> {
        let (at, peer) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.pause_dials(&peer);
        Some(peer)
    }

    /// Failed dials and the last one's error.
    pub(super) fn failures(&self, peer: &PeerId) -> (u32, Option<String>) {
        self.peers
            .get(peer)
            .map_or((0, None), |attempts| (attempts.failures, attempts.error.clone()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_half_a_second_to_a_minute() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut redial = Redial::default();
        redial.soon(peer, start);
        assert_eq!(redial.take_due(start), Some(peer));
        assert_eq!(redial.take_due(start), None);
        let mut pauses = Vec::new();
        for _ in 0..20 {
            redial.failed(peer, "refused".into(), start);
            let at = redial.next_due().unwrap();
            assert_eq!(redial.take_due(at), Some(peer));
            pauses.push(at - start);
        }
        assert!(pauses[0] >= PAUSE_MIN && pauses[0] <= 2 * PAUSE_MIN);
        assert!(pauses.iter().all(|pause| *pause <= 2 * PAUSE_MAX));
        assert!(pauses[19] >= PAUSE_MAX);
        assert_eq!(redial.failures(&peer), (20, Some("refused".into())));
    }

    #[test]
    fn news_of_a_peer_make_it_due_at_once() {
        let (peer, start) = (PeerId::random(), Instant::now());
        let mut redial = Redial::default();
        for _ in 0..10 {
            redial.failed(peer, "refused".into(), start);
        }
        redial.at_once(peer, start);
        assert_eq!(redial.take_due(start), Some(peer));
        redial.later(peer, start);
        assert!(redial.next_due().unwrap() - start <= 2 * PAUSE_MIN);
    }

    #[test]
    fn a_connected_or_forgotten_peer_is_not_dialled() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let mut redial = Redial::default();
        redial.soon(peer, now);
        redial.pause_dials(&peer);
        assert_eq!(redial.next_due(), None);
        redial.failed(peer, "refused".into(), now);
        redial.forget(&peer);
        assert_eq!(redial.next_due(), None);
        assert_eq!(redial.failures(&peer), (0, None));
    }
}
