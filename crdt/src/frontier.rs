//! Frontiers: exactly what a replica holds of one space.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::Tip;
use crate::ids::{Author, EntryHash};

/// The tips of the logs of one space. A log whose tip the same site's next incarnation names as its predecessor
/// is implied and not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    tips: BTreeMap<Author, (u64, EntryHash)>,
}

/// One log of a frontier as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whose log.
    pub author: Author,
    /// Number of the last entry held.
    pub seq: u64,
    /// The beginning of its hash: enough to notice that two sites hold different entries under one number.
    pub check: [u8; 8],
}

impl Known {
    /// Whether this names the entry with `hash`.
    pub fn names(&self, hash: &EntryHash) -> bool {
        hash.0[..8] == self.check
    }
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

    /// As it travels.
    pub fn known(&self) -> Vec<Known> {
        let known = |(author, (seq, hash)): (&Author, &(u64, EntryHash))| {
            let mut check = [0; 8];
            check.copy_from_slice(&hash.0[..8]);
            Known { author: *author, seq: *seq, check }
        };
        self.tips.iter().map(known).collect()
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
