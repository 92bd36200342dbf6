//! Decisions of members: those that this site makes, and what it writes down before it takes another's in.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{Decision, DecisionError, SpaceDecision};
use super::stage::After;
use super::{Output, Replica};
use crate::codec;
use crate::entry::{Body, Entry};
use crate::ids::{NetworkId, Signature, SiteId, SiteKey, SpaceId};
use crate::membership::{
    Cut, FormerKey, Members, Operation, Revocation, Role, RoleChange, Rotation, SpaceDocument,
    Vouch, admission_to_space, check_site_name, check_space_name,
};
use crate::store::{Store, StoreError};
use crate::tables::{logs, row};

impl<S: Store> Replica<S> {
    /// Makes a decision, on the ground of all that is held by now.
    pub(super) fn decide(&mut self, id: u64, decision: Decision) -> Result<(), StoreError> {
        self.commit()?;
        let result = self.stage_decision(decision);
        self.stage.after.push(After::Say(Output::Decided { id, result }));
        self.commit()?;
        Ok(())
    }

    /// Stages what is to be written of a decision; nothing where all is as decided.
    fn stage_decision(&mut self, decision: Decision) -> Result<(), DecisionError> {
        let network = self.network().ok_or(DecisionError::NoMember)?;
        if let Some(by) = self.revoked_by() {
            return Err(DecisionError::Revoked { by: self.name_of(by) });
        }
        let (root, operation) = match decision {
            Decision::Revoke { site } => {
                self.demand_say(network, site)?;
                (network, Some(self.revocation_of(network, site)))
            }
            Decision::ChangeRole { site, role } => {
                self.demand_say(network, site)?;
                (network, self.role_change(network, site, role))
            }
            Decision::Rename { site, name } => (network, self.rename(network, site, name)?),
            Decision::Rotate { to, consents } => return self.stage_rotations(to, &consents),
            Decision::CreateSpace { name, nonce } => return self.stage_space(network, name, nonce),
            Decision::InSpace { root, decision } => {
                (root, self.operation_in_space(root, decision)?)
            }
        };
        self.stage.operations.extend(operation.map(|operation| (root, operation)));
        Ok(())
    }

    fn rename(
        &self,
        network: NetworkId,
        site: SiteId,
        name: String,
    ) -> Result<Option<Operation>, DecisionError> {
        if site != self.site() {
            self.demand_say(network, site)?;
        }
        check_site_name(&name)?;
        let members = self.members().ok_or(DecisionError::NoMember)?;
        let member = members.get(&site).ok_or(DecisionError::UnknownSite { site })?;
        if member.name == name {
            return Ok(None);
        }
        if members.has_name(&name) {
            return Err(DecisionError::NameTaken { name });
        }
        Ok(Some(Operation::Rename { site, name }))
    }

    /// The decision by which this site goes on under the key of `next`.
    pub fn rotation_to(&self, next: &SiteKey) -> Decision {
        let consent = |root| (root, Rotation::consent(root, self.site(), next));
        let consents = self.open_roots().into_iter().map(consent).collect();
        Decision::Rotate { to: next.site(), consents }
    }

    fn stage_rotations(
        &mut self,
        to: SiteId,
        consents: &BTreeMap<NetworkId, Signature>,
    ) -> Result<(), DecisionError> {
        let members = self.members().ok_or(DecisionError::NoMember)?;
        members.get(&self.site()).ok_or(DecisionError::NoMember)?;
        let rotated = self.open_roots().into_iter();
        let rotated = rotated.map(|root| Ok((root, self.rotation(root, to, consents)?)));
        let rotated = rotated.collect::<Result<Vec<_>, DecisionError>>()?;
        self.stage.operations.extend(rotated);
        Ok(())
    }

    fn stage_space(
        &mut self,
        network: NetworkId,
        name: String,
        nonce: [u8; 16],
    ) -> Result<(), DecisionError> {
        self.demand_admin(network)?;
        check_space_name(&name)?;
        if self.has_space_named(&name) {
            return Err(DecisionError::SpaceNameTaken { name });
        }
        if !self.has_room_for_space() {
            return Err(DecisionError::TooManySpaces);
        }
        let (creator, time_ms) = (self.site(), self.now.wall_ms);
        self.stage.spaces.push(SpaceDocument { network, name, creator, time_ms, nonce });
        Ok(())
    }

    fn operation_in_space(
        &self,
        root: NetworkId,
        decision: SpaceDecision,
    ) -> Result<Option<Operation>, DecisionError> {
        let members = self.private.get(&root).map(|space| &space.members);
        let members = members.ok_or(DecisionError::UnknownSpace)?;
        if let Some(by) = self.revoked_from(root) {
            let left = by == self.site();
            return Err(DecisionError::OutOfSpace { left, by: self.name_of(by) });
        }
        match decision {
            SpaceDecision::Grant { site, role } if members.get(&site).is_some() => {
                self.demand_say(root, site)?;
                Ok(self.role_change(root, site, role))
            }
            SpaceDecision::Grant { site, role } => {
                self.demand_admin(root)?;
                let of_network = self.members().and_then(|members| members.get(&site));
                let name = of_network.map(|member| member.name.clone());
                let name = name.ok_or(DecisionError::UnknownSite { site })?;
                if members.ever(&site).is_some() {
                    return Err(DecisionError::AlreadyRevoked { name });
                }
                let key = &self.identity.key;
                let admission = admission_to_space(root, site, &name, role, key);
                Ok(Some(Operation::Admit(admission)))
            }
            SpaceDecision::Revoke { site } => {
                self.demand_say(root, site)?;
                Ok(Some(self.revocation_of(root, site)))
            }
            SpaceDecision::Leave => {
                let own = self.site();
                let role = members.get(&own).ok_or(DecisionError::NoMember)?.role;
                let admins = members.all().values().filter(|member| member.role == Role::Admin);
                if role == Role::Admin && admins.count() == 1 {
                    return Err(DecisionError::LastAdmin);
                }
                match self.only_here(root) {
                    0 => Ok(Some(self.revocation_of(root, own))),
                    entries => Err(DecisionError::OnlyHere { entries }),
                }
            }
        }
    }

    /// The word that a site is in the spaces of a root no more. Of itself, a site lets count all that it wrote, this
    /// included.
    pub(super) fn revocation_of(&self, root: NetworkId, site: SiteId) -> Operation {
        let held = match site == self.site() {
            true => self.written_with_next(root),
            false => self.held_of(root, site),
        };
        Operation::Revoke(Revocation::sign(root, site, held, &self.identity.key))
    }

    fn role_change(&self, root: NetworkId, site: SiteId, role: Role) -> Option<Operation> {
        let members = self.members_of(root)?;
        let is_new = members.get(&site).map(|member| member.role) != Some(role);
        let held = self.held_of(root, site);
        is_new.then_some(Operation::ChangeRole(RoleChange { site, role, held }))
    }

    fn rotation(
        &self,
        root: NetworkId,
        to: SiteId,
        consents: &BTreeMap<NetworkId, Signature>,
    ) -> Result<Operation, DecisionError> {
        let from = self.site();
        let members = self.members_of(root).ok_or(DecisionError::NoMember)?;
        let consent = *consents.get(&root).ok_or(DecisionError::NotFresh)?;
        let FormerKey { word, .. } = FormerKey::sign(root, &self.identity.key, to);
        let rotation = Rotation { from, to, held: self.written_with_next(root), consent, word };
        match members.ever(&to).is_none() && rotation.is_signed(root) {
            true => Ok(Operation::Rotate(rotation)),
            false => Err(DecisionError::NotFresh),
        }
    }

    /// What this site has written under a root, with the membership entry that is next.
    fn written_with_next(&self, root: NetworkId) -> Cut {
        let space = root.membership_space();
        let next = self.log(space, self.author).map_or(1, |row| row.seq + 1);
        let mut held = self.held_of(root, self.site());
        held.raise(&Cut::new([((space, self.author.incarnation), next)]));
        held
    }

    fn demand_admin(&self, root: NetworkId) -> Result<(), DecisionError> {
        let members = self.members_of(root).ok_or(DecisionError::UnknownSpace)?;
        match members.get(&self.site()).ok_or(DecisionError::NoMember)?.role {
            Role::Admin => Ok(()),
            role @ (Role::Reader | Role::Writer) => Err(DecisionError::Role { role }),
        }
    }

    /// Whether this site may decide of a site of the spaces of a root.
    fn demand_say(&self, root: NetworkId, site: SiteId) -> Result<(), DecisionError> {
        self.demand_admin(root)?;
        let own = self.site();
        let members = self.members_of(root).ok_or(DecisionError::UnknownSpace)?;
        if let Some(revoked) = members.revoked().get(&site) {
            return Err(DecisionError::AlreadyRevoked { name: revoked.name.clone() });
        }
        let Some(member) = members.get(&site) else {
            let of_network = self.members().and_then(|members| members.get(&site));
            return Err(match of_network {
                Some(member) => DecisionError::NotInSpace { name: member.name.clone() },
                None => DecisionError::UnknownSite { site },
            });
        };
        if site == own {
            let admins = members.all().values().filter(|member| member.role == Role::Admin);
            return Err(match admins.count() {
                1 => DecisionError::LastAdmin,
                _ => DecisionError::Oneself,
            });
        }
        match members.is_senior(&own, &site) {
            true => Ok(()),
            false => Err(DecisionError::Senior { name: member.name.clone() }),
        }
    }

    /// What is held of a site in the spaces of a root.
    fn held_of(&self, root: NetworkId, site: SiteId) -> Cut {
        let membership = root.membership_space();
        // An entry that revokes this very site is not what it speaks for.
        let revocations =
            self.members_of(root).map(|members| members.revocations_by(site, self.site()));
        let revocations = revocations.unwrap_or_default();
        let spaces: [SpaceId; 2] = [membership, root.main_space()];
        let logs = spaces.into_iter().flat_map(|space| {
            let rows = self.spaces.get(&space).into_iter().flat_map(|logs| &logs.rows);
            rows.map(move |(author, row)| (space, *author, row.seq))
        });
        let of_site = logs.filter(|(_, author, _)| author.site == site);
        Cut::new(of_site.map(|(space, author, seq)| {
            let incarnation = author.incarnation;
            let first = revocations.get(&incarnation).filter(|_| space == membership);
            ((space, incarnation), first.map_or(seq, |first| seq.min(first - 1)))
        }))
    }

    /// Before an entry that decides of sites or vouches is taken in: writes down what is held beyond what it lets count,
    /// so that nothing that shows here has to be taken back. `false`: that could not be written.
    pub(super) fn vouch_before(
        &mut self,
        entry: &Entry,
        decisions: Vec<(SiteId, Option<Role>, Cut)>,
    ) -> Result<bool, StoreError> {
        if !self.commit()? {
            return Ok(false);
        }
        let header = &entry.header;
        let (own, by, root) = (self.site(), header.author.site, header.network);
        for (site, role, cut) in decisions {
            // What is decided of a replaced key holds for those that came after it.
            let mut key = Some(site);
            while let (Some(site), Some(members)) = (key, self.members_of(root)) {
                let may_count = by == site
                    || members.ever(&by) == Some(Role::Admin) && members.is_senior(&by, &site);
                let held = self.held_of(root, site);
                let is_said = cut.includes(&held) || members.has_vouched(own, site, &held);
                // For itself a site can only vouch while it stays a member.
                let may_vouch = members.ever(&own).is_some() && (site != own || role.is_some());
                key = members.successor(&site);
                if may_count && may_vouch && !is_said {
                    self.stage.operations.push((root, Operation::Vouch(Vouch { site, held })));
                }
            }
        }
        if !self.commit()? {
            return Ok(false);
        }
        for site in self.losers(entry) {
            let held = self.held_of(root, site);
            let is_said = self.members_of(root).is_none_or(|m| m.has_vouched(own, site, &held));
            if !is_said {
                self.stage.operations.push((root, Operation::Vouch(Vouch { site, held })));
            }
        }
        self.commit()
    }

    /// The sites of which something is held that would count no more with a membership entry: it may let a decision
    /// count that did not when it came.
    fn losers(&self, entry: &Entry) -> BTreeSet<SiteId> {
        let root = entry.header.network;
        let Some(members) = self.members_of(root).filter(|m| m.ever(&self.site()).is_some()) else {
            return BTreeSet::new();
        };
        let Ok(Body::Membership(operations)) = entry.body() else { return BTreeSet::new() };
        let mut after = members.clone();
        after.extend([(entry, operations)]);
        let mut losers = BTreeSet::new();
        for space in [root.membership_space(), root.main_space()] {
            for (author, row) in self.spaces.get(&space).into_iter().flat_map(|logs| &logs.rows) {
                let allowed = |members: &Members| members.allowed(space, *author, row.seq);
                if allowed(&after) < allowed(members) {
                    losers.insert(author.site);
                }
            }
        }
        // For itself a site can only vouch while it stays a member.
        losers.retain(|site| *site != self.site() || after.get(site).is_some());
        losers
    }

    /// Who revoked this site, if anyone did.
    pub fn revoked_by(&self) -> Option<SiteId> {
        let revoked = self.members().and_then(|members| members.revoked().get(&self.site()));
        revoked.map(|revoked| revoked.by).or(self.told_revoked_by)
    }

    /// The word by which a site is in a space no more, for that site.
    pub(super) fn revocation_from(&self, space: SpaceId, site: SiteId) -> Option<Revocation> {
        let root = self.root_of(space).filter(|root| self.network() != Some(*root))?;
        let (network, members) = (self.members()?, self.members_of(root)?);
        // That a key was replaced after its site was shut out, the network alone has been told.
        let mut revoked = members.revoked().keys();
        let key = revoked.find(|former| network.goes_on_as(former, &site))?;
        members.revocation(key).cloned()
    }

    /// Takes in the word that this site was revoked, shown by a site of that root who will not have it as one. Says
    /// whether it is one; whether it counts is for that member to know, and is heard anew once this site's own members
    /// change.
    pub(super) fn take_revocation(
        &mut self,
        from: SiteId,
        root: NetworkId,
        revocation: &Revocation,
    ) -> Result<bool, StoreError> {
        let own = self.site();
        let is_proof = self.members_of(root).is_some_and(|members| {
            let by = &revocation.issuer;
            members.goes_on_as(&revocation.site, &own)
                && revocation.is_signed(members.network())
                && members.get(&from).is_some()
                && members.ever(by) == Some(Role::Admin)
                && members.is_senior(by, &own)
        });
        if is_proof {
            self.set_told_revoked_by(root, Some(revocation.issuer))?;
        }
        Ok(is_proof)
    }

    /// Remembers, over restarts too, by whom this site was shown to be revoked; `None`: that is to be heard anew.
    pub(super) fn set_told_revoked_by(
        &mut self,
        root: NetworkId,
        by: Option<SiteId>,
    ) -> Result<(), StoreError> {
        let told = self.told_revoked_by_in(root);
        if *told != by {
            *told = by;
            let row = by.map(|by| codec::encode(&by));
            self.store.apply(vec![(logs::told_revoked_by(root), row)], None)?;
        }
        Ok(())
    }

    /// Reads what was remembered of that.
    pub(super) fn load_told_revoked_by(&mut self) -> Result<(), StoreError> {
        for root in self.roots.values().copied().collect::<BTreeSet<_>>() {
            let told = row(&self.store, "row of a revocation", &logs::told_revoked_by(root))?;
            *self.told_revoked_by_in(root) = told;
        }
        Ok(())
    }

    fn told_revoked_by_in(&mut self, root: NetworkId) -> &mut Option<SiteId> {
        match self.private.get_mut(&root) {
            Some(space) => &mut space.told_revoked_by,
            None => &mut self.told_revoked_by,
        }
    }
}

/// The sites that an entry decides of: what each may do from now on, and what counts of a higher role. `None`: it changes
/// nothing of what counts. Nothing is read of a payload that is of a later format than `format_max`.
pub(super) fn decisions(entry: &Entry, format_max: u8) -> Option<Vec<(SiteId, Option<Role>, Cut)>> {
    let header = &entry.header;
    let is_readable = header.payload.format <= format_max;
    if header.space != header.network.membership_space() || !is_readable {
        return None;
    }
    let Ok(Body::Membership(operations)) = entry.body() else { return None };
    if !operations.iter().any(Operation::is_of_standing) {
        return None;
    }
    let decision = |operation| match operation {
        Operation::Revoke(revocation) => Some((revocation.site, None, revocation.held)),
        Operation::ChangeRole(change) => Some((change.site, Some(change.role), change.held)),
        Operation::Rotate(rotation) => Some((rotation.from, None, rotation.held)),
        Operation::Admit(_) | Operation::Rename { .. } | Operation::Vouch(_) => None,
    };
    Some(operations.into_iter().filter_map(decision).collect())
}
