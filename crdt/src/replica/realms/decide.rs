//! What a decision of this site comes to, by all that is held.

use std::collections::{BTreeMap, BTreeSet};

use super::Realms;
use crate::ids::{Author, RealmId, Signature, SiteId, SiteKey};
use crate::log::entry::{Body, Entry};
use crate::membership::{
    Cut, FormerKey, Members, Operation, Revocation, Role, RoleChange, Rotation, admission_by,
    check_new_site_name,
};
use crate::replica::decision::{Decision, DecisionError, SpaceDecision};
use crate::store::logs::Logs;

/// The site that decides, as which it writes.
#[derive(Clone, Copy)]
pub(in crate::replica) struct Decider<'a> {
    pub(in crate::replica) key: &'a SiteKey,
    pub(in crate::replica) author: Author,
}

impl Realms {
    /// The network, where this site may decide of anything.
    pub(in crate::replica) fn network_to_decide(&self) -> Result<RealmId, DecisionError> {
        let network = self.network().ok_or(DecisionError::NoMember)?;
        match self.revoked_by() {
            None => Ok(network),
            Some(by) => Err(DecisionError::Revoked { by: self.name_of(by) }),
        }
    }

    /// Of another site of the network: it is no member any more.
    pub(in crate::replica) fn decide_revocation(
        &self,
        by: Decider<'_>,
        realm: RealmId,
        site: SiteId,
    ) -> Result<Operation, DecisionError> {
        self.require_say(realm, site)?;
        Ok(self.revocation_of(by, realm, site))
    }

    /// Of another site: it may do more or less. `None`: it may do just that.
    pub(in crate::replica) fn decide_role(
        &self,
        by: Decider<'_>,
        realm: RealmId,
        site: SiteId,
        role: Role,
    ) -> Result<Option<Operation>, DecisionError> {
        if let Some(acceptance) = self.acceptance(by, realm, site, role) {
            self.require_admin(realm)?;
            return Ok(Some(acceptance));
        }
        self.require_say(realm, site)?;
        let member = self.members_of(realm).and_then(|members| members.get(&site));
        let is_new = member.map(|member| member.role) != Some(role);
        let held = self.held_of(realm, site);
        Ok(is_new.then_some(Operation::ChangeRole(RoleChange { site, role, held })))
    }

    /// Of this or another site of the network: it is called so. `None`: it is.
    pub(in crate::replica) fn decide_name(
        &self,
        site: SiteId,
        name: String,
    ) -> Result<Option<Operation>, DecisionError> {
        if site != self.own {
            self.require_say(self.network().ok_or(DecisionError::NoMember)?, site)?;
        }
        check_new_site_name(&name)?;
        let members = self.members().ok_or(DecisionError::NoMember)?;
        let member = members.get(&site).ok_or(DecisionError::UnknownSite { site })?;
        if member.name == name {
            return Ok(None);
        }
        if members.has_name_like(&name, site) {
            return Err(DecisionError::NameTaken { name });
        }
        Ok(Some(Operation::Rename { site, name }))
    }

    /// The decision by which this site goes on under the key of `next`.
    pub fn rotation_to(&self, next: &SiteKey) -> Decision {
        let consent = |realm| (realm, Rotation::consent(realm, self.own, next));
        let consents = self.open().into_iter().map(consent).collect();
        Decision::Rotate { to: next.site(), consents }
    }

    /// Of this site: it goes on under another key, in all its realms.
    pub(in crate::replica) fn decide_rotations(
        &self,
        by: Decider<'_>,
        to: SiteId,
        consents: &BTreeMap<RealmId, Signature>,
    ) -> Result<Vec<(RealmId, Operation)>, DecisionError> {
        if !self.is_member() {
            return Err(DecisionError::NoMember);
        }
        let open = self.open().into_iter();
        open.map(|realm| Ok((realm, self.rotation(by, realm, to, consents)?))).collect()
    }

    /// Of a private space.
    pub(in crate::replica) fn decide_in_space(
        &self,
        by: Decider<'_>,
        realm: RealmId,
        decision: SpaceDecision,
    ) -> Result<Option<Operation>, DecisionError> {
        let space = self.get(realm).filter(|realm| realm.document.is_some());
        let members = space.ok_or(DecisionError::UnknownSpace)?.members();
        if let Some(shut_out_by) = self.revoked_from(realm) {
            let left = shut_out_by == self.own;
            return Err(DecisionError::OutOfSpace { left, by: self.name_of(shut_out_by) });
        }
        match decision {
            SpaceDecision::Grant { site, role } if members.get(&site).is_some() => {
                self.decide_role(by, realm, site, role)
            }
            SpaceDecision::Grant { site, role } => {
                self.require_admin(realm)?;
                let of_network = self.members().and_then(|members| members.get(&site));
                let name = of_network.map(|member| member.name.clone());
                let name = name.ok_or(DecisionError::UnknownSite { site })?;
                if members.ever(&site).is_some() {
                    return Err(DecisionError::AlreadyRevoked { name });
                }
                Ok(Some(Operation::Admit(admission_by(realm, site, &name, role, by.key))))
            }
            SpaceDecision::Revoke { site } => self.decide_revocation(by, realm, site).map(Some),
            SpaceDecision::Leave => {
                let role = members.get(&self.own).ok_or(DecisionError::NoMember)?.role;
                if role == Role::Admin && admins(members) == 1 {
                    return Err(DecisionError::LastAdmin);
                }
                match self.only_here(realm) {
                    0 => Ok(Some(self.revocation_of(by, realm, self.own))),
                    entries => Err(DecisionError::OnlyHere { entries }),
                }
            }
        }
    }

    /// The sites that are in private spaces of which this site is an admin and that are no members of the network any
    /// more: they are shut out of those.
    pub(in crate::replica) fn revocations_to_follow(
        &self,
        by: Decider<'_>,
    ) -> Vec<(RealmId, Operation)> {
        let Some(network) = self.members() else { return Vec::new() };
        let mut revoked = Vec::new();
        for realm in self.all().filter(|realm| realm.document.is_some()) {
            let members = realm.members();
            let gone = network.revoked().keys().filter(|site| members.get(site).is_some());
            for site in gone {
                if members.has_role(&self.own, Role::Admin) && members.is_senior(&self.own, site) {
                    revoked.push((realm.id, self.revocation_of(by, realm.id, *site)));
                }
            }
        }
        revoked
    }

    /// The word that a site is in a realm no more. Of itself, a site lets count all that it wrote, this included.
    fn revocation_of(&self, by: Decider<'_>, realm: RealmId, site: SiteId) -> Operation {
        let held = if site == self.own {
            self.written_with_next(by.author, realm)
        } else {
            self.held_of(realm, site)
        };
        Operation::Revoke(Revocation::sign(realm, site, held, by.key))
    }

    fn rotation(
        &self,
        by: Decider<'_>,
        realm: RealmId,
        to: SiteId,
        consents: &BTreeMap<RealmId, Signature>,
    ) -> Result<Operation, DecisionError> {
        let from = self.own;
        let members = self.members_of(realm).ok_or(DecisionError::NoMember)?;
        let consent = *consents.get(&realm).ok_or(DecisionError::NotFresh)?;
        let FormerKey { word, .. } = FormerKey::sign(realm, by.key, to);
        let held = self.written_with_next(by.author, realm);
        let rotation = Rotation { from, to, held, consent, word };
        if members.ever(&to).is_none() && rotation.is_signed(realm) {
            Ok(Operation::Rotate(rotation))
        } else {
            Err(DecisionError::NotFresh)
        }
    }

    /// What this site has written in a realm, with the membership entry that is next.
    fn written_with_next(&self, author: Author, realm: RealmId) -> Cut {
        let space = realm.membership_space();
        let row = self.logs(space).and_then(|logs| logs.rows().get(&author));
        let next = row.map_or(1, |row| row.seq + 1);
        let mut held = self.held_of(realm, self.own);
        held.raise(&Cut::new([((space, author.incarnation), next)]));
        held
    }

    /// What is held of a site in a realm.
    pub(in crate::replica) fn held_of(&self, realm: RealmId, site: SiteId) -> Cut {
        let membership = realm.membership_space();
        // An entry that revokes this very site is not what it speaks for.
        let members = self.members_of(realm);
        let revocations = members.map(|members| members.revocations_by(site, self.own));
        let revocations = revocations.unwrap_or_default();
        let logs = realm.spaces().into_iter().flat_map(|space| {
            let rows = self.logs(space).into_iter().flat_map(Logs::rows);
            rows.map(move |(author, row)| (space, *author, row.seq))
        });
        let of_site = logs.filter(|(_, author, _)| author.site == site);
        Cut::new(of_site.map(|(space, author, seq)| {
            let incarnation = author.incarnation;
            let first = revocations.get(&incarnation).filter(|_| space == membership);
            ((space, incarnation), first.map_or(seq, |first| seq.min(first - 1)))
        }))
    }

    /// The sites of which something is held that would count no more with a membership entry: it may make a decision
    /// count that did not when it came.
    pub(in crate::replica) fn sites_losing_entries(&self, entry: &Entry) -> BTreeSet<SiteId> {
        let realm = entry.header.realm;
        let Some(members) = self.members_of(realm).filter(|m| m.ever(&self.own).is_some()) else {
            return BTreeSet::new();
        };
        let Ok(Body::Membership(operations)) = entry.body() else { return BTreeSet::new() };
        if members.are_plain(entry, &operations) {
            return BTreeSet::new();
        }
        let after = members.with(entry, operations);
        let unlike = after.unlike(members);
        let mut losing = BTreeSet::new();
        for space in realm.spaces().into_iter().filter(|_| !unlike.is_empty()) {
            let rows = self.logs(space).into_iter().flat_map(Logs::rows);
            for (author, row) in rows.filter(|(author, _)| unlike.contains(&author.site)) {
                let allowed = |members: &Members| members.allowed(space, *author, row.seq);
                if allowed(&after) < allowed(members) {
                    losing.insert(author.site);
                }
            }
        }
        // For itself a site can only vouch while it stays a member.
        losing.retain(|site| *site != self.own || after.get(site).is_some());
        losing
    }

    /// Refuses where this site is no admin of a realm.
    pub(in crate::replica) fn require_admin(&self, realm: RealmId) -> Result<(), DecisionError> {
        let members = self.members_of(realm).ok_or(DecisionError::UnknownSpace)?;
        match members.get(&self.own).ok_or(DecisionError::NoMember)?.role {
            Role::Admin => Ok(()),
            role @ (Role::Reader | Role::Writer) => Err(DecisionError::Role { role }),
        }
    }

    /// Refuses where this site may not decide of another one of a realm.
    fn require_say(&self, realm: RealmId, site: SiteId) -> Result<(), DecisionError> {
        self.require_admin(realm)?;
        let members = self.members_of(realm).ok_or(DecisionError::UnknownSpace)?;
        if let Some(revoked) = members.revoked().get(&site) {
            return Err(DecisionError::AlreadyRevoked { name: revoked.name.clone() });
        }
        if members.disputed().contains_key(&site) {
            return Ok(());
        }
        let Some(member) = members.get(&site) else {
            let of_network = self.members().and_then(|members| members.get(&site));
            return Err(match of_network {
                Some(member) => DecisionError::NotInSpace { name: member.name.clone() },
                None => DecisionError::UnknownSite { site },
            });
        };
        if site == self.own {
            return Err(match admins(members) {
                1 => DecisionError::LastAdmin,
                _ => DecisionError::Oneself,
            });
        }
        if members.is_senior(&self.own, &site) {
            Ok(())
        } else {
            Err(DecisionError::Senior { name: member.name.clone() })
        }
    }
}

fn admins(members: &Members) -> usize {
    members.all().values().filter(|member| member.role == Role::Admin).count()
}
