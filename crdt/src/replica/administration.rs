//! Decisions of members: those that this site makes, and what it writes down before it takes another's in.

use super::stage::After;
use super::{Output, Replica};
use crate::entry::{Body, Entry, Header, PAYLOAD_FORMAT};
use crate::ids::{NetworkId, Signature, SiteId};
use crate::membership::{
    BadSiteName, Cut, Operation, Revocation, Role, RoleChange, Rotation, Vouch, check_site_name,
};
use crate::store::{Store, StoreError};

/// A decision of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is no member any more, for ever.
    Revoke {
        /// The member.
        site: SiteId,
    },
    /// It may do more or less.
    ChangeRole {
        /// The member.
        site: SiteId,
        /// What it may do.
        role: Role,
    },
    /// It bears another name.
    Rename {
        /// The member.
        site: SiteId,
        /// The name.
        name: String,
    },
    /// This site goes on under another key, once its node starts with that one.
    Rotate {
        /// The new key's site.
        to: SiteId,
        /// See [`Rotation::consent`].
        consent: Signature,
    },
}

/// Why a decision was not made. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// The site has no say.
    #[error("this site is no member of a network")]
    NoMember,
    /// Admins decide.
    #[error("deciding of members takes the role admin, this site is {role}")]
    Role {
        /// The site's role.
        role: Role,
    },
    /// No such member.
    #[error("no site {site} is a member of this network")]
    UnknownSite {
        /// What was given.
        site: SiteId,
    },
    /// It is shut out already.
    #[error("{name} was revoked before")]
    AlreadyRevoked {
        /// Its name.
        name: String,
    },
    /// Nobody shuts itself out.
    #[error("a site decides neither of its own membership nor of its own role: another admin can")]
    Oneself,
    /// A network without an admin could never let anyone in or out again.
    #[error("this site is the only admin: make another one first (`branchline role SITE admin`)")]
    LastAdmin,
    /// Admins decide of their juniors.
    #[error(
        "{name} belongs to this network for longer than this site: only an admin who was there before it can decide of it"
    )]
    Senior {
        /// The member's name.
        name: String,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] BadSiteName),
    /// Another site bears it.
    #[error("another site is or was called {name}")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The new key belongs to a site that is known already, or does not consent.
    #[error("the new key is not a fresh one")]
    NotFresh,
    /// The journal could not be written; trying again later is safe.
    #[error("nothing was written: {reason}")]
    Unwritable {
        /// What the storage said.
        reason: String,
    },
}

impl<S: Store> Replica<S> {
    /// Makes a decision, on the ground of all that is held by now.
    pub(super) fn decide(&mut self, id: u64, decision: Decision) -> Result<(), StoreError> {
        self.commit()?;
        let result = match self.operation(decision) {
            Ok(operation) => {
                self.stage.operations.extend(operation);
                Ok(())
            }
            Err(error) => Err(error),
        };
        self.stage.after.push(After::Say(Output::Decided { id, result }));
        self.commit()?;
        Ok(())
    }

    /// What is to be written of a decision; nothing where all is as decided.
    fn operation(&self, decision: Decision) -> Result<Option<Operation>, DecisionError> {
        let network = self.network().ok_or(DecisionError::NoMember)?;
        match decision {
            Decision::Revoke { site } => {
                self.demand_say(site)?;
                let key = &self.identity.key;
                let revocation = Revocation::sign(network, site, self.held_of(network, site), key);
                Ok(Some(Operation::Revoke(revocation)))
            }
            Decision::ChangeRole { site, role } => {
                self.demand_say(site)?;
                let held = self.held_of(network, site);
                let is_new =
                    self.members().and_then(|m| m.get(&site)).map(|m| m.role) != Some(role);
                Ok(is_new.then_some(Operation::ChangeRole(RoleChange { site, role, held })))
            }
            Decision::Rename { site, name } => {
                if site != self.site() {
                    self.demand_say(site)?;
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
            Decision::Rotate { to, consent } => {
                let from = self.site();
                let members = self.members().ok_or(DecisionError::NoMember)?;
                members.get(&from).ok_or(DecisionError::NoMember)?;
                let space = network.membership_space();
                let next = self.log(space, self.author).map_or(1, |row| row.seq + 1);
                let mut held = self.held_of(network, from);
                held.raise(&Cut::new([((space, self.author.incarnation), next)]));
                let rotation = Rotation { from, to, held, signature: consent };
                match members.ever(&to).is_none() && rotation.is_signed(network) {
                    true => Ok(Some(Operation::Rotate(rotation))),
                    false => Err(DecisionError::NotFresh),
                }
            }
        }
    }

    /// Whether this site may decide of a member.
    fn demand_say(&self, site: SiteId) -> Result<(), DecisionError> {
        let own = self.site();
        let members = self.members().ok_or(DecisionError::NoMember)?;
        match members.get(&own).ok_or(DecisionError::NoMember)?.role {
            Role::Admin => {}
            role @ (Role::Reader | Role::Writer) => return Err(DecisionError::Role { role }),
        }
        if let Some(revoked) = members.revoked().get(&site) {
            return Err(DecisionError::AlreadyRevoked { name: revoked.name.clone() });
        }
        let member = members.get(&site).ok_or(DecisionError::UnknownSite { site })?;
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

    /// What is held of a site, in all spaces.
    fn held_of(&self, network: NetworkId, site: SiteId) -> Cut {
        let membership = network.membership_space();
        // An entry that revokes this very site is not what it speaks for.
        let revocations = self.members().map(|members| members.revocations_by(site, self.site()));
        let revocations = revocations.unwrap_or_default();
        let logs = self.spaces.iter().flat_map(|(space, logs)| {
            logs.rows.iter().map(move |(author, row)| (*space, *author, row.seq))
        });
        let of_site = logs.filter(|(_, author, _)| author.site == site);
        Cut::new(of_site.map(|(space, author, seq)| {
            let incarnation = author.incarnation;
            let first = revocations.get(&incarnation).filter(|_| space == membership);
            ((space, incarnation), first.map_or(seq, |first| seq.min(first - 1)))
        }))
    }

    /// Before an entry that decides of sites is taken in: writes down what is held of them beyond what it lets count,
    /// so that nothing that shows here has to be taken back. `false`: that could not be written.
    pub(super) fn vouch_before(
        &mut self,
        header: &Header,
        decisions: Vec<(SiteId, Option<Role>, Cut)>,
    ) -> Result<bool, StoreError> {
        if !self.commit()? {
            return Ok(false);
        }
        let (own, by) = (self.site(), header.author.site);
        for (site, role, cut) in decisions {
            // What is decided of a replaced key holds for those that came after it.
            let mut key = Some(site);
            while let (Some(site), Some(members)) = (key, self.members()) {
                let may_count = by == site
                    || members.ever(&by) == Some(Role::Admin) && members.is_senior(&by, &site);
                let held = self.held_of(header.network, site);
                let is_said = cut.includes(&held) || members.has_vouched(own, site, &held);
                // For itself a site can only vouch while it stays a member.
                let may_vouch = members.ever(&own).is_some() && (site != own || role.is_some());
                key = members.successor(&site);
                if may_count && may_vouch && !is_said {
                    self.stage.operations.push(Operation::Vouch(Vouch { site, held }));
                }
            }
        }
        self.commit()
    }

    /// Who revoked this site, if anyone did.
    pub fn revoked_by(&self) -> Option<SiteId> {
        let revoked = self.members().and_then(|members| members.revoked().get(&self.site()));
        revoked.map(|revoked| revoked.by).or(self.told_revoked_by)
    }

    /// Takes in the word that this site was revoked, shown by a member who will not have it as one. Says whether it is
    /// one; whether it counts is for that member to know, and is heard anew once this site's own members change.
    pub(super) fn take_revocation(&mut self, from: SiteId, revocation: &Revocation) -> bool {
        let own = self.site();
        let is_proof = revocation.site == own
            && self.members().is_some_and(|members| {
                let by = &revocation.issuer;
                revocation.is_signed(members.network())
                    && members.get(&from).is_some()
                    && members.ever(by) == Some(Role::Admin)
                    && members.is_senior(by, &own)
            });
        if is_proof {
            self.told_revoked_by = Some(revocation.issuer);
        }
        is_proof
    }
}

/// The sites that an entry decides of: what each may do from now on, and what counts of a higher role.
pub(super) fn decisions(entry: &Entry) -> Vec<(SiteId, Option<Role>, Cut)> {
    let header = &entry.header;
    let is_readable = header.payload.format == PAYLOAD_FORMAT;
    if header.space != header.network.membership_space() || !is_readable {
        return Vec::new();
    }
    let Ok(Body::Membership(operations)) = entry.body() else { return Vec::new() };
    let decision = |operation| match operation {
        Operation::Revoke(revocation) => Some((revocation.site, None, revocation.held)),
        Operation::ChangeRole(change) => Some((change.site, Some(change.role), change.held)),
        Operation::Rotate(rotation) => Some((rotation.from, None, rotation.held)),
        Operation::Admit(_) | Operation::Rename { .. } | Operation::Vouch(_) => None,
    };
    operations.into_iter().filter_map(decision).collect()
}
