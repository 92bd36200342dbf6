//! Receipts: a site's signed word of what it holds durably.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::format::codec;
use crate::ids::{Author, RealmId, Signature, SiteId, SiteKey, SpaceId};

/// Most logs that one receipt lists: it then fits one gossip message, and a thousand of them fit in memory.
pub const RECEIPT_LOGS_MAX: usize = 64;

/// A log as receipts name it: the beginning of its author's actor. Anyone who knows the log knows the tag, and two logs of
/// one space have the same by accident once in a million networks of ten thousand logs; a status is then wrong, and
/// nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LogTag([u8; 6]);

impl LogTag {
    /// Of an author's log.
    pub fn of(author: &Author) -> Self {
        let actor = author.actor();
        let mut tag = [0; 6];
        tag.copy_from_slice(&actor[..6]);
        Self(tag)
    }
}

/// What a site holds durably.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// [`crate::log::frontier::Frontier::digest`] of all of it; zeros where some of it is damaged.
    pub frontier: [u8; 16],
    /// How many logs the frontier lists.
    pub log_count: u64,
    /// The last entry held, by log: all of the frontier, or the [`RECEIPT_LOGS_MAX`] logs that went on last.
    pub logs: BTreeMap<LogTag, u64>,
}

impl Held {
    /// Whether all logs are listed.
    pub fn is_whole(&self) -> bool {
        self.logs.len() as u64 == self.log_count
    }

    /// Whether the site says that some of what it held is damaged.
    pub fn is_damaged(&self) -> bool {
        self.frontier == [0; 16]
    }
}

/// A site's signed word of what it holds. Only the latest of each site is kept; it is relayed by everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The network.
    pub realm: RealmId,
    /// The space.
    pub space: SpaceId,
    /// Who holds.
    pub site: SiteId,
    /// Grows with each receipt of the site; the greater one counts.
    pub number: u64,
    /// What it holds.
    pub held: Held,
    /// The site's wall clock in ms since 1970. For display only.
    pub time_ms: i64,
    /// The site's signature over all of the above.
    pub signature: Signature,
}

impl Receipt {
    /// Signs a receipt.
    pub fn sign(
        realm: RealmId,
        space: SpaceId,
        number: u64,
        held: Held,
        time_ms: i64,
        key: &SiteKey,
    ) -> Self {
        let site = key.site();
        let signature = key.sign(&digest(realm, space, site, number, &held, time_ms));
        Self { realm, space, site, number, held, time_ms, signature }
    }

    /// Whether the site signed it.
    pub fn is_signed(&self) -> bool {
        let Self { realm, space, site, number, held, time_ms, signature } = self;
        held.logs.len() <= RECEIPT_LOGS_MAX
            && site.verify(&digest(*realm, *space, *site, *number, held, *time_ms), &signature.0)
    }
}

fn digest(
    realm: RealmId,
    space: SpaceId,
    site: SiteId,
    number: u64,
    held: &Held,
    time_ms: i64,
) -> [u8; 32] {
    let bytes = codec::encode(&(realm, space, site, number, held, time_ms));
    blake3::derive_key("branchline 1 receipt", &bytes)
}
