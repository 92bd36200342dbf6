//! Two sites that each replaced their key, unknown to the other, know each other again.
//!
//! Neither is a member in the other's eyes, so neither may be told anything of the network. Each shows its former keys,
//! which say nothing to a stranger. Who finds a member among them lets the site in as that member, until the membership
//! entries, which the two then sync like any others, say the same.

use std::collections::BTreeMap;
use std::iter::successors;

use super::operations_of;
use crate::format::codec;
use crate::ids::SiteId;
use crate::log::entry::Entry;
use crate::membership::{FORMER_KEYS_MAX, FormerKey};
use crate::protocol::{Introduction, Welcome};
use crate::replica::batch::Context;
use crate::replica::{Output, Replica};
use crate::store::Store;

/// The former keys of a site, as membership entries that it shows have them.
pub(in crate::replica) fn former_keys_in(entries: &[Entry], site: SiteId) -> Vec<FormerKey> {
    let operations =
        entries.iter().filter_map(operations_of).flat_map(|(_, operations)| operations);
    let former = operations.filter_map(|operation| {
        operation.rotation().map(|rotation| (rotation.to, rotation.former_key()))
    });
    let former: BTreeMap<SiteId, FormerKey> = former.collect();
    let keys = successors(former.get(&site), |key| former.get(&key.site));
    keys.take(FORMER_KEYS_MAX).cloned().collect()
}

impl<S: Store> Context<'_, S> {
    /// The keys that this site had, if it is a member.
    fn own_former_keys(&self) -> Option<Vec<FormerKey>> {
        let (own, members) = (self.author.site, self.realms.members()?);
        members.get(&own).map(|_| members.former_keys(own))
    }
}

impl<S: Store> Replica<S> {
    /// A site answers where a member was looked for, and is none: shows it who this site was.
    pub(in crate::replica) fn found_stranger(&mut self, site: SiteId) {
        let is_shut_out = self.realms.revoked_by().is_some();
        let Some(former) = self.context().own_former_keys().filter(|_| !is_shut_out) else {
            return;
        };
        let body = codec::encode(&Introduction::FormerKeys(former));
        self.outbox.push(Output::Introduce { to: site, addresses: Vec::new(), body });
    }

    /// A site shows who it was, and is told who this one was if it was a member.
    pub(in crate::replica) fn shown_former_keys(
        &mut self,
        from: SiteId,
        token: u64,
        former: &[FormerKey],
    ) {
        let own = self.context().own_former_keys().filter(|_| self.goes_on_for(from, former));
        let Some(own) = own else {
            if !self.show_revocation(token, from, former) {
                self.refuse(token, "this site knows of no admission of yours");
            }
            return;
        };
        let body = codec::encode(&Welcome::FormerKeys(own));
        self.outbox.push(Output::AnswerIntroduction { token, body });
    }

    /// Shows a site the word by which it was revoked, also under a former key. Says whether there is one.
    pub(in crate::replica) fn show_revocation(
        &mut self,
        token: u64,
        site: SiteId,
        former: &[FormerKey],
    ) -> bool {
        let revocation =
            self.realms.members().and_then(|members| members.revocation_of(site, former));
        let Some(revocation) = revocation.cloned() else { return false };
        let body = codec::encode(&Welcome::Revoked(Box::new(revocation)));
        self.outbox.push(Output::AnswerIntroduction { token, body });
        true
    }

    /// Lets a site in as the member that it goes on for, by what it shows. Says whether it is one.
    pub(in crate::replica) fn goes_on_for(&mut self, site: SiteId, former: &[FormerKey]) -> bool {
        let Some(is_new) = self.realms.let_go_on(site, former) else { return false };
        if is_new {
            self.tell_members();
        }
        true
    }
}
