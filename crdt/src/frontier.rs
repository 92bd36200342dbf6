//! Frontiers: exactly what a replica holds of one space.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::entry::Tip;
use crate::ids::{Author, EntryHash, Incarnation};

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
    pub predecessors: Vec<(Incarnation, u64)>,
}

/// Restarts between two exchanges that are told; after more of them a log may be sent again in vain.
pub const PREDECESSORS_TOLD_MAX: usize = 4;

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

    /// 16 bytes that two replicas have in common if they hold the same.
    pub fn digest(&self) -> [u8; 16] {
        let all: Vec<_> = self.tips.iter().collect();
        let hash = blake3::derive_key("branchline 1 frontier", &codec::encode(&all));
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash[..16]);
        digest
    }
}
