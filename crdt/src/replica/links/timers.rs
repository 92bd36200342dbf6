//! What is due when: regular pulls, repeated ones, receipts, and a ticket to present.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Links;
use super::peer::PullState;
use crate::ids::{Author, Incarnation, SiteId, SpaceId};
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::{Now, Realms};
use crate::store::Store;

/// A random peer is pulled from this often; jitter adds up to half of it. Gossip makes most of these find nothing.
pub(in crate::replica) const PULL_INTERVAL_MS: u64 = 10_000;

/// When the next regular things are due, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::replica) struct Timers {
    /// A pull from a random peer.
    pull_ms: u64,
    /// A new receipt of this site.
    pub(in crate::replica) receipt_ms: Option<u64>,
    /// Another attempt to present this site.
    pub(in crate::replica) introduce_ms: u64,
}

impl Timers {
    /// A receipt of this site is due now.
    pub(in crate::replica) fn issue_receipts_at(&mut self, now: Now) {
        self.receipt_ms = Some(now.monotonic_ms);
    }

    /// This site is to be presented at once.
    pub(in crate::replica) fn introduce_at_once(&mut self) {
        self.introduce_ms = 0;
    }
}

/// The replica's randomness.
#[derive(Debug)]
pub(in crate::replica) struct Random(SmallRng);

impl Random {
    pub(in crate::replica) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Eight bytes.
    pub(in crate::replica) fn bytes(&mut self) -> [u8; 8] {
        self.0.random()
    }

    /// A number in `0..end`; 0 where the range is empty.
    pub(in crate::replica) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }
}

impl Links {
    /// Another incarnation to write under. Two sites that were started of one image with its memory draw the same bytes;
    /// what they hold is different, or they would not have noticed.
    pub(in crate::replica) fn another_life(
        &mut self,
        author: Author,
        realms: &Realms,
    ) -> Incarnation {
        let mut hasher = blake3::Hasher::new_derive_key("branchline 1 another life of a site");
        hasher.update(&self.random.bytes());
        hasher.update(&author.to_bytes());
        for (_, logs) in realms.all_logs() {
            hasher.update(&logs.digest());
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Incarnation::from_random(bytes)
    }

    /// When the next pull, retry or receipt is due, a message has waited long enough, or news are to be
    /// said. `Replica::due_ms` adds tickets, damage and indexes.
    pub(in crate::replica) fn due_ms(&self) -> u64 {
        let pulls = self.peers.values().flat_map(|peer| peer.pulls.values());
        let retries = pulls.filter(|state| !state.is_busy()).filter_map(|state| state.retry_ms);
        retries
            .chain(self.timers.receipt_ms)
            .chain(self.early.due_ms())
            .chain(self.news.due_ms())
            .fold(self.timers.pull_ms, u64::min)
    }

    /// The pulls that are to be repeated by now.
    pub(in crate::replica) fn due_retries(&self, now_ms: u64) -> Vec<(SiteId, SpaceId)> {
        let is_due =
            |state: &PullState| !state.is_busy() && state.retry_ms.is_some_and(|at| at <= now_ms);
        let pulls = self.peers.iter().flat_map(|(site, peer)| {
            peer.pulls.iter().map(|(space, state)| (*site, *space, state))
        });
        pulls.filter(|(.., state)| is_due(state)).map(|(site, space, _)| (site, space)).collect()
    }

    /// Whether the regular pull is due, and from whom; the next one then has its time.
    pub(in crate::replica) fn due_pull(&mut self, now_ms: u64) -> Option<Option<SiteId>> {
        if self.timers.pull_ms > now_ms {
            return None;
        }
        let jitter_ms = self.random.below(PULL_INTERVAL_MS / 2);
        self.timers.pull_ms = now_ms + PULL_INTERVAL_MS + jitter_ms;
        let chosen = self.random.below(self.peers.len() as u64) as usize;
        Some(self.peers.keys().nth(chosen).copied())
    }

    /// Makes the pulls again that are due.
    pub(in crate::replica) fn pull_again<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
    ) {
        for (site, space) in self.due_retries(cx.now.monotonic_ms) {
            self.pull(cx, out, site, space);
        }
    }

    /// Makes the regular pull, if it is due. Says whether it was.
    pub(in crate::replica) fn pull_regularly<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
    ) -> bool {
        let Some(from) = self.due_pull(cx.now.monotonic_ms) else { return false };
        if let Some(site) = from {
            self.pull_all(cx, out, site);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::{Asked, Peer, SentPull};
    use super::*;

    fn site(number: u8) -> SiteId {
        SiteId([number; 32])
    }

    const SPACE: SpaceId = SpaceId([1; 16]);

    #[test]
    fn the_regular_pull_is_from_a_connected_peer_and_has_its_next_time_with_jitter() {
        let mut links = Links::new(7);
        assert_eq!(links.due_pull(0), Some(None), "nobody is connected");
        for number in 1..=5 {
            links.peers.insert(site(number), Peer::default());
        }
        let mut now_ms = links.timers.pull_ms;
        let mut chosen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            assert_eq!(links.due_pull(now_ms - 1), None);
            chosen.extend(links.due_pull(now_ms).expect("it is due"));
            let pause_ms = links.timers.pull_ms - now_ms;
            assert!((PULL_INTERVAL_MS..PULL_INTERVAL_MS * 3 / 2).contains(&pause_ms));
            now_ms = links.timers.pull_ms;
        }
        assert_eq!(chosen.len(), 5, "each comes up");
    }

    #[test]
    fn pulls_are_repeated_at_their_time_unless_one_is_under_way() {
        let mut links = Links::new(7);
        links.timers.pull_ms = 9_000;
        links.peers.insert(site(1), Peer::default());
        let state = links.peers.get_mut(&site(1)).unwrap().pulls.entry(SPACE).or_default();
        state.retry_ms = Some(500);
        assert_eq!(links.due_ms(), 500);
        assert!(links.due_retries(499).is_empty());
        assert_eq!(links.due_retries(500), [(site(1), SPACE)]);
        let state = links.peers.get_mut(&site(1)).unwrap().pulls.entry(SPACE).or_default();
        let held = std::collections::BTreeMap::new();
        let (is_whole, after) = (true, None);
        state.in_flight = Some(SentPull { id: 1, asked: Asked::Probe, held, is_whole, after });
        assert!(links.due_retries(500).is_empty());
        assert_eq!(links.due_ms(), 9_000);
        links.timers.receipt_ms = Some(700);
        assert_eq!(links.due_ms(), 700);
    }
}
