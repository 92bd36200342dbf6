//! Frontiers: exactly what a replica holds of one space.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::codec;
use crate::ids::{Author, EntryHash, Incarnation, SiteId};
use crate::log::entry::Tip;

/// The tips of the logs of one space. A log whose tip the same site's next incarnation names as its predecessor
/// is implied and not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    tips: BTreeMap<Author, (u64, EntryHash)>,
}

/// One log of a frontier as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whose log.
    pub author: Author,
    /// Number of the last entry held.
    pub seq: u64,
    /// The beginning of its hash: enough to notice that two sites hold different entries under one number.
    pub check: [u8; 8],
    /// The incarnations before it, newest first, each with its last number: the other side may know none of the
    /// later ones. At most [`PREDECESSORS_TOLD_MAX`].
    pub predecessors: Vec<Predecessor>,
}

/// The end of a former incarnation's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    /// The incarnation.
    pub incarnation: Incarnation,
    /// Number of its last entry.
    pub seq: u64,
    /// The beginning of that entry's hash; zeros where it is not told.
    pub check: [u8; 8],
}

/// Restarts between two exchanges that are reported; after more of them a log may be sent again in vain.
pub const PREDECESSORS_TOLD_MAX: usize = 4;

impl Known {
    /// A log that ends with this entry; nothing is said of what came before its incarnation.
    pub fn of(tip: Tip) -> Self {
        let Tip { author, seq, hash } = tip;
        Self { author, seq, check: hash.short(), predecessors: Vec::new() }
    }

    /// Whether this names the entry with `hash`.
    pub fn names(&self, hash: &EntryHash) -> bool {
        hash.short() == self.check
    }
}

/// Some parts of a frontier. Where many sites write, two frontiers differ in few of them, and only those are reported:
/// it takes some KB where the whole would take hundreds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// How many parts the sites are spread over, by the first bytes of their ids.
    of: u16,
    /// The parts meant.
    which: BTreeSet<u16>,
}

/// A part has about as many logs as this; its digest is 8 bytes, a log that is reported some 60.
const PART_LOGS: usize = 16;
/// With fewer parts than this, telling the whole takes one exchange and hardly more bytes.
const PARTS_MIN: u16 = 4;
/// The most parts: their digests then take 8 KiB.
const PARTS_MAX: usize = 1024;

impl Parts {
    /// The parts in which a frontier differs from one with these digests; `None`: it has no parts.
    pub fn differing(frontier: &Frontier, digests: &[[u8; 8]]) -> Option<Self> {
        let of = u16::try_from(digests.len()).ok().filter(|of| usize::from(*of) <= PARTS_MAX)?;
        if of == 0 {
            return None;
        }
        let own = frontier.digests_of(of);
        let pairs = own.iter().zip(digests).zip(0..of);
        let which = pairs.filter(|((own, other), _)| own != other).map(|(_, part)| part).collect();
        Some(Self { of, which })
    }

    /// Whether the logs of a site are in one of these parts.
    pub fn have(&self, site: &SiteId) -> bool {
        self.which.contains(&part(site, self.of))
    }
}

fn part(site: &SiteId, of: u16) -> u16 {
    u16::from_be_bytes([site.0[0], site.0[1]]) % of.max(1)
}

impl Frontier {
    /// The frontier with these tips.
    pub fn new(tips: impl IntoIterator<Item = Tip>) -> Self {
        Self { tips: tips.into_iter().map(|tip| (tip.author, (tip.seq, tip.hash))).collect() }
    }

    /// The tips, by author.
    pub fn tips(&self) -> impl Iterator<Item = Tip> + '_ {
        self.tips.iter().map(|(author, (seq, hash))| Tip {
            author: *author,
            seq: *seq,
            hash: *hash,
        })
    }

    /// A digest for each part of it; none where it is so small that it is reported whole.
    pub fn part_digests(&self) -> Vec<[u8; 8]> {
        let of = (self.tips.len() / PART_LOGS).next_power_of_two().min(PARTS_MAX);
        match u16::try_from(of) {
            Ok(of) if of >= PARTS_MIN => self.digests_of(of),
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    fn digests_of(&self, of: u16) -> Vec<[u8; 8]> {
        let mut parts = vec![Vec::new(); usize::from(of)];
        for item in &self.tips {
            parts[usize::from(part(&item.0.site, of))].push(item);
        }
        let digest = |tips: &Vec<_>| {
            let hash = blake3::derive_key("branchline 1 part of a frontier", &codec::encode(tips));
            EntryHash(hash).short()
        };
        parts.iter().map(digest).collect()
    }

    /// 16 bytes that two replicas have in common if they hold the same.
    pub fn digest(&self) -> [u8; 16] {
        let all: Vec<_> = self.tips.iter().collect();
        let hash = blake3::derive_key("branchline 1 frontier", &codec::encode(&all));
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip(site: u16, seq: u64) -> Tip {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&site.to_be_bytes());
        let author = Author { site: SiteId(key), incarnation: Incarnation([1; 8]) };
        Tip { author, seq, hash: EntryHash([seq as u8; 32]) }
    }

    #[test]
    fn only_the_parts_that_differ_are_told() {
        let one = Frontier::new((0..1000).map(|site| tip(site, 1)));
        let other = Frontier::new((0..1000).map(|site| tip(site, if site == 77 { 2 } else { 1 })));
        let digests = one.part_digests();
        assert_eq!(digests.len(), 64);
        let parts = Parts::differing(&other, &digests).unwrap();
        let reported = other.tips().filter(|tip| parts.have(&tip.author.site)).count();
        assert!((1..=PART_LOGS).contains(&reported), "{reported}");
        assert!(parts.have(&tip(77, 1).author.site));
        assert_eq!(Parts::differing(&one, &digests).unwrap().which.len(), 0);
    }

    #[test]
    fn a_small_frontier_is_told_whole_and_nonsense_has_no_parts() {
        let small = Frontier::new((0..30).map(|site| tip(site, 1)));
        assert!(small.part_digests().is_empty());
        assert_eq!(Parts::differing(&small, &[]), None);
        assert_eq!(Parts::differing(&small, &vec![[0; 8]; PARTS_MAX + 1]), None);
        assert!(!Parts { of: 0, which: BTreeSet::from([1]) }.have(&tip(5, 1).author.site));
    }
}
