//! What sites are called for people, also those that are members no more and those that took another key.

use std::collections::BTreeMap;

use super::Members;
use crate::ids::SiteId;

impl Members {
    /// The keys that were replaced, each with the one by which its site goes on, or went on until it was revoked.
    pub fn former(&self) -> BTreeMap<SiteId, SiteId> {
        let newest = |site: SiteId| {
            std::iter::successors(Some(site), |key| self.successor(key)).last().unwrap_or(site)
        };
        let keys = self.seniority().iter().copied();
        keys.filter(|key| self.successor(key).is_some()).map(|key| (key, newest(key))).collect()
    }

    /// The name of a site that is or was a member, or may become one, whichever of its keys is given.
    pub fn name_of(&self, site: &SiteId) -> Option<&str> {
        let newest = std::iter::successors(Some(*site), |key| self.successor(key)).last()?;
        let member = self.get(&newest).map(|member| &member.name);
        let revoked = || self.revoked().get(&newest).map(|revoked| &revoked.name);
        let disputed = || self.disputed().get(&newest).map(|disputed| &disputed.name);
        member.or_else(revoked).or_else(disputed).map(String::as_str)
    }
}
