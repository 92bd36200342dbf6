//! Which processes speak for a peer. A restart replaces one for good; two that take turns are two copies of one site.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

/// Processes of one peer that are remembered.
const REMEMBERED_MAX: usize = 8;
/// Two copies take turns within minutes: both dial again whenever the other one has taken the link.
const TURN: Duration = Duration::from_secs(600);

/// The processes that were seen at the other ends. No larger than the member set.
#[derive(Default)]
pub(super) struct Processes {
    peers: BTreeMap<PeerId, VecDeque<Process>>,
}

struct Process {
    number: u64,
    address: Multiaddr,
    /// When it was seen again after another one.
    returned: Option<Instant>,
}

impl Processes {
    /// A process is seen for a peer. Returns where two are that take turns, if there are.
    ///
    /// Each of them must have returned: the word of one that has ended may still arrive after its successor's, once.
    pub(super) fn seen(
        &mut self,
        peer: PeerId,
        number: u64,
        address: Multiaddr,
        now: Instant,
    ) -> Option<[Multiaddr; 2]> {
        let seen = self.peers.entry(peer).or_default();
        let place = seen.iter().position(|process| process.number == number);
        let known = place.and_then(|place| Some((place, seen.remove(place)?)));
        let (is_again, returned) = match known {
            Some((place, known)) if place < seen.len() => (true, Some(now).or(known.returned)),
            Some((_, known)) => (false, known.returned),
            None => (false, None),
        };
        seen.push_back(Process { number, address, returned });
        if seen.len() > REMEMBERED_MAX {
            seen.pop_front();
        }
        let has_returned =
            |process: &&Process| process.returned.is_some_and(|at| now.duration_since(at) < TURN);
        let mut turning = seen.iter().rev().filter(has_returned);
        let (last, other) = (turning.next()?, turning.next()?);
        is_again.then(|| [other.address.clone(), last.address.clone()])
    }

    /// The peer is no member any more.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn address(number: u64) -> Multiaddr {
        format!("/ip4/10.0.0.{number}/tcp/4001").parse().unwrap()
    }

    #[test]
    fn restarts_are_no_copies_however_often_and_in_whatever_order_they_are_told() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let mut processes = Processes::default();
        for number in 1..=20 {
            assert_eq!(processes.seen(peer, number, address(number), now), None);
            assert_eq!(processes.seen(peer, number, address(number), now), None, "again");
        }
        // The word of a dead one came late.
        for number in [22, 21, 22, 22, 23, 24] {
            assert_eq!(processes.seen(peer, number, address(number), now), None, "{number}");
        }
    }

    #[test]
    fn two_that_take_turns_are_copies_until_one_has_stopped() {
        let (peer, now) = (PeerId::random(), Instant::now());
        let mut processes = Processes::default();
        let mut seen = |number, now| processes.seen(peer, number, address(number), now);
        for number in [1, 2, 2, 1] {
            assert_eq!(seen(number, now), None, "{number}");
        }
        assert_eq!(seen(2, now), Some([address(1), address(2)]));
        assert_eq!(seen(2, now), None, "it stays");
        assert_eq!(seen(1, now), Some([address(2), address(1)]));
        assert_eq!(seen(2, now + TURN * 2), None, "that was long ago");
        assert_eq!(seen(1, now + TURN * 2), Some([address(2), address(1)]));
        assert_eq!(processes.seen(PeerId::random(), 2, address(2), now), None, "of another");
    }
}
