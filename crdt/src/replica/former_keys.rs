//! Two sites that each replaced their key, unknown to the other, know each other again.
//!
//! Neither is a member in the other's eyes, so neither may be told anything of the network. Each shows its former keys,
//! which say nothing to a stranger. Who finds a member among them lets the site in as that member, until the membership
//! entries, which the two then sync like any others, say the same.

use super::{Network, Output, Replica};
use crate::codec;
use crate::ids::SiteId;
use crate::membership::FormerKey;
use crate::protocol::{Introduction, Welcome};
use crate::store::Store;

impl<S: Store> Replica<S> {
    /// A site answers where a member was looked for, and is none: shows it who this site was.
    pub(super) fn found_stranger(&mut self, site: SiteId) {
        let is_shut_out = self.revoked_by().is_some();
        let Some(former) = self.own_former_keys().filter(|_| !is_shut_out) else { return };
        let body = codec::encode(&Introduction::FormerKeys(former));
        self.outputs.push_back(Output::Introduce { to: site, addresses: Vec::new(), body });
    }

    /// A site shows who it was, and is told who this one was if it was a member.
    pub(super) fn shown_former_keys(&mut self, from: SiteId, token: u64, former: &[FormerKey]) {
        let own = self.own_former_keys().filter(|_| self.goes_on_for(from, former));
        let Some(own) = own else {
            self.refuse(token, "this site knows of no admission of yours");
            return;
        };
        let body = codec::encode(&Welcome::FormerKeys(own));
        self.outputs.push_back(Output::AnswerIntroduction { token, body });
    }

    /// Lets a site in as the member that it goes on for, by what it shows. Says whether it is one.
    pub(super) fn goes_on_for(&mut self, site: SiteId, former: &[FormerKey]) -> bool {
        let Some(Network { members, gone_on, .. }) = &mut self.network else { return false };
        let Some(member) = members.goes_on_for(site, former) else { return false };
        // Of several that show the word of one member the last counts: there are no more than members.
        if member != site && gone_on.insert(member, site) != Some(site) {
            self.tell_members();
        }
        true
    }

    /// The keys that this site had, if it is a member.
    fn own_former_keys(&self) -> Option<Vec<FormerKey>> {
        let (own, members) = (self.site(), self.members()?);
        members.get(&own).map(|_| members.former_keys(own))
    }
}
