//! Who a site was before its key was replaced, for those who have not heard of that.

use serde::{Deserialize, Serialize};

use super::change::rotation_digest;
use super::standing::Said;
use super::{Members, Revocation};
use crate::ids::{RealmId, Signature, SiteId, SiteKey};

/// Former keys that a site shows, the newest: as often it may have replaced its key since another heard of it.
pub const FORMER_KEYS_MAX: usize = 64;

/// A key that a site had, with its word for the one that replaced it. It can be shown to anyone: who knows the network
/// knows the site by it, and nobody else learns anything but the two keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerKey {
    /// The former key's site.
    pub site: SiteId,
    /// The former key's signature over network, its site and that of the next key.
    pub word: Signature,
}

impl FormerKey {
    /// Gives the word of `from` for the key of `to`.
    pub fn sign(realm: RealmId, from: &SiteKey, to: SiteId) -> Self {
        let site = from.site();
        Self { site, word: from.sign(&rotation_digest(realm, site, to)) }
    }

    /// Whether it is the former key's word for the key of `to`.
    pub fn is_signed(&self, realm: RealmId, to: SiteId) -> bool {
        self.site.verify(&rotation_digest(realm, self.site, to), &self.word.0)
    }
}

impl Members {
    /// A site and those that it was before its key was replaced, the newest first.
    pub(crate) fn keys_of(&self, site: SiteId) -> impl Iterator<Item = SiteId> {
        std::iter::successors(Some(site), |key| self.predecessor(key))
    }

    /// A site's former keys, the newest first.
    pub(crate) fn former_keys(&self, site: SiteId) -> Vec<FormerKey> {
        let links = self.keys_of(site).zip(self.keys_of(site).skip(1));
        let former = links.filter_map(|(to, from)| {
            let rotations = self.docket.rotations.of(&to).iter().filter_map(Said::rotation);
            let mut rotations = rotations.map(|(_, rotation)| rotation.former_key());
            rotations.rfind(|key| key.site == from)
        });
        former.take(FORMER_KEYS_MAX).collect()
    }

    /// The member that a site is, or goes on for by the word of its former keys, given the newest first. The first that
    /// is known here must be one: the word of a site that was revoked, or is known by another key, does not count.
    pub(crate) fn goes_on_for(&self, site: SiteId, former: &[FormerKey]) -> Option<SiteId> {
        self.known_key(site, former).filter(|key| self.get(key).is_some())
    }

    /// The word by which a site was revoked, under the first of its former keys that is known here.
    pub(crate) fn revocation_of(&self, site: SiteId, former: &[FormerKey]) -> Option<&Revocation> {
        self.revocation(&self.known_key(site, former)?)
    }

    /// The first key that was ever known here, of a site's and its former ones, each with its word for the one before.
    fn known_key(&self, site: SiteId, former: &[FormerKey]) -> Option<SiteId> {
        let mut key = site;
        for older in former.iter().take(FORMER_KEYS_MAX) {
            if self.ever(&key).is_some() {
                break;
            }
            if !older.is_signed(self.realm(), key) {
                return None;
            }
            key = older.site;
        }
        Some(key)
    }
}
