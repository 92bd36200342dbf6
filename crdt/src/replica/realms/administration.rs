//! Decisions of members: those that this site makes, and what it writes down before it takes another's in.

use super::Decider;
use crate::format::codec;
use crate::ids::{RealmId, SiteId};
use crate::log::entry::{Body, Entry};
use crate::membership::{Cut, Operation, Revocation, Role, SpaceDocument, Vouch, check_space_name};
use crate::replica::batch::stage::After;
use crate::replica::decision::{Decision, DecisionError};
use crate::replica::{Output, Replica};
use crate::store::tables::{logs, row};
use crate::store::{Store, StoreError};

impl<S: Store> Replica<S> {
    /// Makes a decision, on the ground of all that is held by now.
    pub(in crate::replica) fn decide(
        &mut self,
        id: u64,
        decision: Decision,
    ) -> Result<(), StoreError> {
        self.commit()?;
        let result = self.stage_decision(decision);
        self.batch.stage.after.push(After::Say(Output::Decided { id, result }));
        self.commit()?;
        Ok(())
    }

    /// Stages what is to be written of a decision; nothing where all is as decided.
    fn stage_decision(&mut self, decision: Decision) -> Result<(), DecisionError> {
        let network = self.realms.network_to_decide()?;
        let by = self.decider();
        let (realm, operation) = match decision {
            Decision::Revoke { site } => {
                (network, Some(self.realms.decide_revocation(by, network, site)?))
            }
            Decision::ChangeRole { site, role } => {
                (network, self.realms.decide_role(network, site, role)?)
            }
            Decision::Rename { site, name } => (network, self.realms.decide_name(site, name)?),
            Decision::Rotate { to, consents } => {
                let rotated = self.realms.decide_rotations(by, to, &consents)?;
                self.batch.stage.operations.extend(rotated);
                return Ok(());
            }
            Decision::CreateSpace { name, nonce } => return self.stage_space(network, name, nonce),
            Decision::InSpace { realm, decision } => {
                (realm, self.realms.decide_in_space(by, realm, decision)?)
            }
        };
        self.batch.stage.operations.extend(operation.map(|operation| (realm, operation)));
        Ok(())
    }

    /// As whom this site decides.
    pub(in crate::replica) fn decider(&self) -> Decider<'_> {
        Decider { key: &self.identity.key, author: self.author }
    }

    fn stage_space(
        &mut self,
        network: RealmId,
        name: String,
        nonce: [u8; 16],
    ) -> Result<(), DecisionError> {
        self.realms.require_admin(network)?;
        check_space_name(&name)?;
        if self.realms.has_space_named(&name) {
            return Err(DecisionError::SpaceNameTaken { name });
        }
        if !self.has_room_for_space() {
            return Err(DecisionError::TooManySpaces);
        }
        let (creator, time_ms) = (self.site(), self.now.wall_ms);
        self.batch.stage.spaces.push(SpaceDocument { network, name, creator, time_ms, nonce });
        Ok(())
    }

    /// Before an entry that decides of sites or vouches is taken in: writes down what is held beyond what it lets count,
    /// so that nothing that shows here has to be taken back. `false`: that could not be written.
    pub(in crate::replica) fn vouch_before(
        &mut self,
        entry: &Entry,
        decisions: Vec<(SiteId, Option<Role>, Cut)>,
    ) -> Result<bool, StoreError> {
        if !self.commit()? {
            return Ok(false);
        }
        let header = &entry.header;
        let (own, by, realm) = (self.site(), header.author.site, header.realm);
        for (site, role, cut) in decisions {
            // What is decided of a replaced key holds for those that came after it.
            let mut key = Some(site);
            while let (Some(site), Some(members)) = (key, self.realms.members_of(realm)) {
                let may_count = by == site
                    || members.ever(&by) == Some(Role::Admin) && members.is_senior(&by, &site);
                let held = self.realms.held_of(realm, site);
                let is_said = cut.includes(&held) || members.has_vouched(own, site, &held);
                // For itself a site can only vouch while it stays a member.
                let may_vouch = members.ever(&own).is_some() && (site != own || role.is_some());
                key = members.successor(&site);
                if may_count && may_vouch && !is_said {
                    self.batch
                        .stage
                        .operations
                        .push((realm, Operation::Vouch(Vouch { site, held })));
                }
            }
        }
        if !self.commit()? {
            return Ok(false);
        }
        for site in self.realms.losers(entry) {
            let held = self.realms.held_of(realm, site);
            let is_said =
                self.realms.members_of(realm).is_none_or(|m| m.has_vouched(own, site, &held));
            if !is_said {
                self.batch.stage.operations.push((realm, Operation::Vouch(Vouch { site, held })));
            }
        }
        self.commit()
    }

    /// Takes in the word that this site was revoked, shown by a site of that realm who will not have it as one. Says
    /// whether it is one; whether it counts is for that member to know, and is heard anew once this site's own members
    /// change.
    pub(in crate::replica) fn take_revocation(
        &mut self,
        from: SiteId,
        realm: RealmId,
        revocation: &Revocation,
    ) -> Result<bool, StoreError> {
        let is_proof = self.realms.is_own_revocation(realm, from, revocation);
        if is_proof {
            self.set_told_revoked_by(realm, Some(revocation.issuer))?;
        }
        Ok(is_proof)
    }

    /// Remembers, over restarts too, by whom this site was shown to be revoked; `None`: that is to be heard anew.
    pub(in crate::replica) fn set_told_revoked_by(
        &mut self,
        realm: RealmId,
        by: Option<SiteId>,
    ) -> Result<(), StoreError> {
        let Some(held) = self.realms.get_mut(realm) else { return Ok(()) };
        if held.note_revoked_by(by) {
            let row = by.map(|by| codec::encode(&by));
            self.store.apply(vec![(logs::told_revoked_by(realm), row)], None)?;
        }
        Ok(())
    }

    /// Reads what was remembered of that.
    pub(in crate::replica) fn load_told_revoked_by(&mut self) -> Result<(), StoreError> {
        for realm in self.realms.ids() {
            let by = row(&self.store, "row of a revocation", &logs::told_revoked_by(realm))?;
            if let Some(held) = self.realms.get_mut(realm) {
                held.note_revoked_by(by);
            }
        }
        Ok(())
    }
}

/// The sites that an entry decides of: what each may do from now on, and what counts of a higher role. `None`: it changes
/// nothing of what counts. Nothing is read of a payload that is of a later format than `format_max`.
pub(in crate::replica) fn decisions(
    entry: &Entry,
    format_max: u8,
) -> Option<Vec<(SiteId, Option<Role>, Cut)>> {
    let header = &entry.header;
    let is_readable = header.payload.format <= format_max;
    if header.space != header.realm.membership_space() || !is_readable {
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
