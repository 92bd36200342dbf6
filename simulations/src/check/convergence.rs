//! Invariant 2: after the faults every connected set of sites converges within a bounded number of sync rounds.
//!
//! A round is [`ROUND_MS`]: in it every site pulls from some peer at least once, by the product's timer (10 s and up to
//! half of that). The bound, unless a scenario sets its own, adds up what may have to happen one after the other:
//!
//! - a dead link is noticed and made again: at most 55 s, 4 rounds;
//! - a request that was lost with the link is given up after 60 s, 4 rounds; by chance on a lossy line another one
//!   after it, 4 more;
//! - over each hop from one end of the network to the other: one round for the entries, one more where the members
//!   must be known first, and 4 for a request lost by chance;
//! - what has to be carried over the slowest line, twice, for both ends may begin to fetch it.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::Scenario;
use crate::world::{SiteIndex, World};

/// One sync round in ms.
pub const ROUND_MS: u64 = 15_000;

/// The bound on the rounds after the faults.
pub fn rounds_max(scenario: &Scenario, world: &World) -> u32 {
    if let Some(rounds) = scenario.converge_within_rounds {
        return rounds;
    }
    let hops = longest_way(scenario.offices.len(), &scenario.links) as u64;
    let bytes = (0..world.office_count())
        .filter_map(|office| Some(world.replica(office)?.store().journal_bytes()));
    let bytes = bytes.max().unwrap_or(0);
    let carrying_ms =
        scenario.quality.bytes_per_second.map_or(0, |rate| 2_000 * bytes * hops / rate.max(1));
    u32::try_from(12 + 6 * hops + carrying_ms.div_ceil(ROUND_MS)).unwrap_or(u32::MAX)
}

/// The offices that can reach each other, by links that are there when nothing is wrong.
pub fn groups(offices: &[SiteIndex], links: &[(SiteIndex, SiteIndex)]) -> Vec<Vec<SiteIndex>> {
    let neighbours = neighbours(links);
    let mut left: BTreeSet<_> = offices.iter().copied().collect();
    let mut groups = Vec::new();
    while let Some(first) = left.pop_first() {
        let mut group = vec![first];
        let mut next = 0;
        while let Some(office) = group.get(next).copied() {
            next += 1;
            let found = neighbours.get(&office).into_iter().flatten();
            group.extend(found.filter(|other| left.remove(other)));
        }
        groups.push(group);
    }
    groups
}

/// Links from one end to the other: the greatest number of links on a shortest way.
fn longest_way(offices: usize, links: &[(SiteIndex, SiteIndex)]) -> usize {
    let neighbours = neighbours(links);
    let mut longest = 0;
    for start in 0..offices {
        let mut hops = BTreeMap::from([(start, 0)]);
        let mut queue = vec![start];
        let mut next = 0;
        while let Some(office) = queue.get(next).copied() {
            next += 1;
            let so_far = hops.get(&office).copied().unwrap_or(0);
            for other in neighbours.get(&office).into_iter().flatten() {
                if !hops.contains_key(other) {
                    hops.insert(*other, so_far + 1);
                    queue.push(*other);
                    longest = longest.max(so_far + 1);
                }
            }
        }
    }
    longest
}

fn neighbours(links: &[(SiteIndex, SiteIndex)]) -> BTreeMap<SiteIndex, Vec<SiteIndex>> {
    let mut neighbours: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (a, b) in links {
        neighbours.entry(*a).or_default().push(*b);
        neighbours.entry(*b).or_default().push(*a);
    }
    neighbours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_group_and_as_long_as_its_links() {
        let links = [(0, 1), (1, 2), (2, 3), (4, 5)];
        assert_eq!(groups(&[0, 1, 2, 3, 4, 5], &links), [vec![0, 1, 2, 3], vec![4, 5]]);
        assert_eq!(longest_way(6, &links), 3);
    }
}
