//! Receipts: a site's signed word of what it holds durably.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::ids::{Author, NetworkId, Signature, SiteId, SiteKey, SpaceId};

/// Most logs that one receipt lists: it then still fits one answer to a pull many times over.
pub const RECEIPT_LOGS_MAX: usize = 16_384;

/// A site's signed frontier. Only the latest of each site is kept; it is relayed by everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The network.
    pub network: NetworkId,
    /// The space.
    pub space: SpaceId,
    /// Who holds.
    pub site: SiteId,
    /// Grows with each receipt of the site; the greater one counts.
    pub number: u64,
    /// The last entry held durably, by log, as in [`crate::frontier::Frontier`].
    pub logs: BTreeMap<Author, u64>,
    /// The site's wall clock in ms since 1970. For display only.
    pub time_ms: i64,
    /// The site's signature over all of the above.
    pub signature: Signature,
}

impl Receipt {
    /// Signs a receipt.
    pub fn sign(
        network: NetworkId,
        space: SpaceId,
        number: u64,
        logs: BTreeMap<Author, u64>,
        time_ms: i64,
        key: &SiteKey,
    ) -> Self {
        let site = key.site();
        let signature = key.sign(&digest(network, space, site, number, &logs, time_ms));
        Self { network, space, site, number, logs, time_ms, signature }
    }

    /// Whether the site signed it.
    pub fn is_signed(&self) -> bool {
        let Self { network, space, site, number, logs, time_ms, signature } = self;
        logs.len() <= RECEIPT_LOGS_MAX
            && site.verify(&digest(*network, *space, *site, *number, logs, *time_ms), &signature.0)
    }
}

fn digest(
    network: NetworkId,
    space: SpaceId,
    site: SiteId,
    number: u64,
    logs: &BTreeMap<Author, u64>,
    time_ms: i64,
) -> [u8; 32] {
    let bytes = codec::encode(&(network, space, site, number, logs, time_ms));
    blake3::derive_key("branchline 1 receipt", &bytes)
}
