//! Two sites that each replaced their key, unknown to the other, know each other again.
//!
//! Neither is a member in the other's eyes, so neither may learn anything of the network. Each shows its former keys,
//! which say nothing to a stranger. Who finds a member among them lets the site in as that member, until the membership
//! entries, which the two then sync like any others, say the same.

use std::collections::BTreeMap;
use std::iter::successors;

use super::{Realms, operations_of};
use crate::format::codec;
use crate::ids::SiteId;
use crate::log::entry::Entry;
use crate::membership::{FORMER_KEYS_MAX, FormerKey};
use crate::protocol::{Introduction, Welcome};
use crate::replica::Output;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
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

impl<S: Store> Context<'_, S> {
    /// A site answers where a member was looked for, and is none: shows it who this site was.
    pub(in crate::replica) fn show_former_keys(&self, out: &mut Outbox, site: SiteId) {
        let is_shut_out = self.realms.revoked_by().is_some();
        let Some(former) = self.own_former_keys().filter(|_| !is_shut_out) else { return };
        let body = codec::encode(&Introduction::FormerKeys(former));
        out.push(Output::Introduce { to: site, addresses: Vec::new(), body });
    }

    /// Answers a site that has shown who it was. `goes_on`: for a member, who may know who this site was.
    pub(in crate::replica) fn answer_former_keys(
        &self,
        out: &mut Outbox,
        from: SiteId,
        token: u64,
        former: &[FormerKey],
        goes_on: bool,
    ) {
        if let Some(own) = self.own_former_keys().filter(|_| goes_on) {
            let body = codec::encode(&Welcome::FormerKeys(own));
            out.push(Output::AnswerIntroduction { token, body });
        } else if !self.show_revocation(out, token, from, former) {
            out.refuse(token, "this site knows of no admission of yours");
        }
    }

    /// Shows a site the word by which it was revoked, also under a former key. Says whether there is one.
    pub(in crate::replica) fn show_revocation(
        &self,
        out: &mut Outbox,
        token: u64,
        site: SiteId,
        former: &[FormerKey],
    ) -> bool {
        let revocation =
            self.realms.members().and_then(|members| members.revocation_of(site, former));
        let Some(revocation) = revocation.cloned() else { return false };
        let body = codec::encode(&Welcome::Revoked(Box::new(revocation)));
        out.push(Output::AnswerIntroduction { token, body });
        true
    }
}

impl Realms {
    /// Lets a site in as the member that it goes on for, by what it shows. Says whether it is one.
    pub(in crate::replica) fn goes_on_for(
        &mut self,
        out: &mut Outbox,
        site: SiteId,
        former: &[FormerKey],
    ) -> bool {
        let Some(is_new) = self.let_go_on(site, former) else { return false };
        if is_new {
            self.show_members(out);
        }
        true
    }
}
