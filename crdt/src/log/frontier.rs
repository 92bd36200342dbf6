//! Frontiers: exactly what a replica holds of one space.
#![doc = include_str!("../../docs/logs.md")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::codec;
use crate::ids::{Author, EntryHash, Incarnation};
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
    /// The beginning of that entry's hash; zeros where it is not given.
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

/// Most bytes of logs that one pull reports: half of what a request may have. It holds those of some 4,000 sites; where
/// more differ, an answer sends again what goes unreported, and the pull goes on behind it.
pub const KNOWN_BYTES_MAX: usize = 512 * 1024;

/// Bytes of a log that is reported, and of each predecessor in it, at the most.
const KNOWN_BYTES: usize = 40 + 9 + 8 + 1;
const PREDECESSOR_BYTES: usize = 8 + 9 + 8;

/// As many logs as one pull may report, and whether that is all of them. Those are left out that have the fewest entries:
/// they are what an answer sends again.
pub fn fitting(mut known: Vec<Known>) -> (Vec<Known>, bool) {
    let bytes = |item: &Known| KNOWN_BYTES + PREDECESSOR_BYTES * item.predecessors.len();
    if known.iter().map(bytes).sum::<usize>() <= KNOWN_BYTES_MAX {
        return (known, true);
    }
    known.sort_by_key(|item| std::cmp::Reverse(item.seq));
    let count = count_fitting(known.iter().map(bytes), KNOWN_BYTES_MAX);
    known.truncate(count);
    (known, false)
}

/// How many of the first of some pieces, given their sizes in bytes, fit together into `bytes_max`.
pub(crate) fn count_fitting(sizes: impl IntoIterator<Item = usize>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let fits = |size: &usize| {
        bytes += size;
        bytes <= bytes_max
    };
    sizes.into_iter().take_while(fits).count()
}

/// Spreads logs over parts. Drawn for each exchange: nobody can begin logs that all fall into one part.
pub type Salt = [u8; 8];

/// Some parts of a frontier. Where many logs are written, two frontiers differ in few of them, and only those are reported:
/// it takes some KB where the whole would take hundreds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// How many parts the logs are spread over, by a hash of the salt and the author.
    of: u16,
    salt: Salt,
    /// The parts meant.
    which: BTreeSet<u16>,
}

/// A digest for each part of a frontier; none where it is so small that it is reported whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartDigests {
    /// What the parts are made by.
    pub salt: Salt,
    /// By part.
    pub digests: Vec<[u8; 8]>,
}

/// A part has about as many logs as this; its digest is 8 bytes, a log that is reported some 60.
const PART_LOGS: usize = 16;
/// With fewer parts than this, telling the whole takes one exchange and hardly more bytes.
const PARTS_MIN: u16 = 4;
/// The most parts: their digests then take 8 KiB.
const PARTS_MAX: usize = 1024;

impl Parts {
    /// The parts in which a frontier differs from one with these digests; `None`: it has no parts.
    pub fn differing(frontier: &Frontier, theirs: &PartDigests) -> Option<Self> {
        let PartDigests { salt, digests } = theirs;
        let of = u16::try_from(digests.len()).ok().filter(|of| usize::from(*of) <= PARTS_MAX)?;
        if of == 0 {
            return None;
        }
        let own = frontier.digests_of(of, *salt);
        let pairs = own.iter().zip(digests).zip(0..of);
        let which = pairs.filter(|((own, other), _)| own != other).map(|(_, part)| part).collect();
        Some(Self { of, salt: *salt, which })
    }

    /// Whether a log is in one of these parts.
    pub fn have(&self, author: &Author) -> bool {
        self.which.contains(&part(author, self.of, self.salt))
    }
}

fn part(author: &Author, of: u16, salt: Salt) -> u16 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt);
    hasher.update(&author.to_bytes());
    let hash = hasher.finalize();
    u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]) % of.max(1)
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

    /// A digest for each part of it.
    pub fn part_digests(&self, salt: Salt) -> PartDigests {
        let of = (self.tips.len() / PART_LOGS).next_power_of_two().min(PARTS_MAX);
        let digests = match u16::try_from(of) {
            Ok(of) if of >= PARTS_MIN => self.digests_of(of, salt),
            Ok(_) | Err(_) => Vec::new(),
        };
        PartDigests { salt, digests }
    }

    fn digests_of(&self, of: u16, salt: Salt) -> Vec<[u8; 8]> {
        let mut parts = vec![Vec::new(); usize::from(of)];
        for item in &self.tips {
            parts[usize::from(part(item.0, of, salt))].push(item);
        }
        let digest = |tips: &Vec<_>| {
            let hash = blake3::derive_key("branchline 1 part of a frontier", &codec::encode(tips));
            EntryHash(hash).short()
        };
        parts.iter().map(digest).collect()
    }

    /// 16 bytes that two replicas have in common if they hold the same.
    pub fn digest(&self) -> [u8; 16] {
        digest_of(self.tips.len(), self.tips())
    }
}

/// Bytes of a tip, at the most.
const TIP_BYTES: usize = 40 + 9 + 32;

/// The digest of the frontier with these tips, of which there are `count`, by author. One who has a member that begins logs
/// without number makes it often of thousands, so they are put together without a frontier, and in the layout of a list
/// without describing each to serde.
pub(crate) fn digest_of(count: usize, tips: impl Iterator<Item = Tip>) -> [u8; 16] {
    let mut bytes = codec::encode(&(count as u64));
    bytes.reserve(count * TIP_BYTES);
    for Tip { author, seq, hash } in tips {
        bytes.extend_from_slice(&author.to_bytes());
        bytes.extend_from_slice(&codec::encode(&seq));
        bytes.extend_from_slice(&hash.0);
    }
    let hash = blake3::derive_key("branchline 1 frontier", &bytes);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash[..16]);
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SiteId;

    const SALT: Salt = [3; 8];

    fn tip(site: u16, seq: u64) -> Tip {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&site.to_be_bytes());
        let author = Author { site: SiteId(key), incarnation: Incarnation([1; 8]) };
        Tip { author, seq, hash: EntryHash([seq as u8; 32]) }
    }

    #[test]
    fn a_digest_is_made_of_the_tips_as_they_would_be_encoded() {
        let frontier = Frontier::new((0..300).map(|site| tip(site, u64::from(site) * 1000 + 1)));
        let all: Vec<_> = frontier.tips.iter().collect();
        let hash = blake3::derive_key("branchline 1 frontier", &codec::encode(&all));
        assert_eq!(frontier.digest(), hash[..16]);
    }

    #[test]
    fn only_the_parts_that_differ_are_told() {
        let one = Frontier::new((0..1000).map(|site| tip(site, 1)));
        let other = Frontier::new((0..1000).map(|site| tip(site, if site == 77 { 2 } else { 1 })));
        let digests = one.part_digests(SALT);
        assert_eq!(digests.digests.len(), 64);
        let parts = Parts::differing(&other, &digests).unwrap();
        let reported = other.tips().filter(|tip| parts.have(&tip.author)).count();
        assert!((1..=3 * PART_LOGS).contains(&reported), "{reported}");
        assert!(parts.have(&tip(77, 1).author));
        assert_eq!(Parts::differing(&one, &digests).unwrap().which.len(), 0);
    }

    #[test]
    fn a_small_frontier_is_told_whole_and_nonsense_has_no_parts() {
        let small = Frontier::new((0..30).map(|site| tip(site, 1)));
        assert!(small.part_digests(SALT).digests.is_empty());
        assert_eq!(Parts::differing(&small, &PartDigests::default()), None);
        let digests = vec![[0; 8]; PARTS_MAX + 1];
        assert_eq!(Parts::differing(&small, &PartDigests { salt: SALT, digests }), None);
        let none = Parts { of: 0, salt: SALT, which: BTreeSet::from([1]) };
        assert!(!none.have(&tip(5, 1).author));
    }

    #[test]
    fn the_logs_of_one_site_are_spread_over_the_parts() {
        let life = |number: u16| {
            let mut of_site = tip(1, 1);
            of_site.author.incarnation.0[..2].copy_from_slice(&number.to_be_bytes());
            of_site
        };
        let all: Vec<Tip> = (0..20_000).map(life).collect();
        let one = Frontier::new(all.iter().copied());
        let other = Frontier::new(all.iter().copied().skip(1));
        let digests = one.part_digests(SALT);
        assert_eq!(digests.digests.len(), PARTS_MAX);
        let parts = Parts::differing(&other, &digests).unwrap();
        let reported = other.tips().filter(|tip| parts.have(&tip.author)).count();
        assert!(reported <= 5 * 20_000 / PARTS_MAX, "{reported}");
    }

    #[test]
    fn as_many_logs_are_reported_as_one_pull_takes_and_the_longest_first() {
        let all: Vec<Known> =
            (0..20_000_u16).map(|site| Known::of(tip(site, u64::from(site) + 1))).collect();
        let (few, is_all) = fitting(all[..1_000].to_vec());
        assert_eq!((few.len(), is_all), (1_000, true));
        let (some, is_all) = fitting(all);
        assert!(!is_all && codec::encode(&some).len() <= KNOWN_BYTES_MAX);
        assert!(
            some.len() > 5_000 && some.iter().all(|item| item.seq > 20_000 - some.len() as u64)
        );
    }
}
