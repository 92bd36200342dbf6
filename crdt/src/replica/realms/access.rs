//! Who is in a realm, and what this site may do in one.

use super::{Realm, Realms};
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::membership::{Members, Revocation, Role};
use crate::replica::batch::write::WriteError;

/// Which private spaces two sites share, as one of them knows it.
pub(in crate::replica) type SharedDigest = [u8; 8];

impl Realms {
    /// Whether this site is a member of the network.
    pub(in crate::replica) fn is_member(&self) -> bool {
        self.is_member_of_network(self.own)
    }

    /// Whether a site is a member of the network.
    pub(in crate::replica) fn is_member_of_network(&self, site: SiteId) -> bool {
        self.members().is_some_and(|members| members.get(&site).is_some())
    }

    /// What this site may do: by its membership, or else by the ticket that it holds.
    pub fn role(&self) -> Option<Role> {
        let member = self.members()?.get(&self.own).map(|member| member.role);
        member.or_else(|| self.network.as_ref()?.ticket.as_ref().map(|ticket| ticket.grant.role))
    }

    /// What this site may do in a realm.
    pub(in crate::replica) fn role_in(&self, realm: RealmId) -> Option<Role> {
        if self.is_network(realm) {
            return self.role();
        }
        self.members_of(realm)?.get(&self.own).map(|member| member.role)
    }

    /// Who revoked this site, if anyone did.
    pub fn revoked_by(&self) -> Option<SiteId> {
        self.shut_out_by(self.get(self.network()?)?)
    }

    /// Who shut this site out of a private space; itself if it left.
    pub(in crate::replica) fn revoked_from(&self, realm: RealmId) -> Option<SiteId> {
        self.shut_out_by(self.get(realm).filter(|realm| realm.document.is_some())?)
    }

    fn shut_out_by(&self, realm: &Realm) -> Option<SiteId> {
        let revoked = realm.members.revoked().get(&self.own).map(|revoked| revoked.by);
        let disputed = || realm.members.disputed().get(&self.own).map(|disputed| disputed.by);
        revoked.or_else(disputed).or(realm.revocation_notice)
    }

    /// The network, and each private space that this site is in.
    pub fn joined(&self) -> Vec<RealmId> {
        let is_in = |realm: &&Realm| realm.document.is_some() && realm.has(self.own);
        let private = self.all().filter(is_in).map(|realm| realm.id);
        self.network().into_iter().chain(private).collect()
    }

    /// Of them, those that nobody has shown this site to be shut out of.
    pub(in crate::replica) fn open(&self) -> Vec<RealmId> {
        let mut open = self.joined();
        open.retain(|realm| self.revoked_from(*realm).is_none());
        open
    }

    /// Whether a site may be sent anything of a space, or asked for it. Of the network's own spaces this is true of every site:
    /// that it is a member the caller has to know.
    pub(in crate::replica) fn shares(&self, site: SiteId, space: SpaceId) -> bool {
        let realm = self.realm_of(space).and_then(|realm| self.get(realm));
        realm.is_some_and(|realm| realm.document.is_none() || self.is_in(realm, site))
    }

    /// Whether a member of the network is in a private space: by its key, or by a former one that it has replaced, for
    /// it brings the word of that itself.
    pub(in crate::replica) fn is_in(&self, space: &Realm, site: SiteId) -> bool {
        let members = self.members().filter(|members| members.get(&site).is_some());
        members.is_some_and(|members| members.keys_of(site).any(|key| space.has(key)))
    }

    /// The private spaces that this site and another are in, as far as this one knows.
    pub(in crate::replica) fn shared_with(&self, site: SiteId) -> Vec<RealmId> {
        let both = |realm: &&Realm| {
            realm.document.is_some() && realm.has(self.own) && self.is_in(realm, site)
        };
        self.all().filter(both).map(|realm| realm.id).collect()
    }

    /// Which private spaces this site and another share. Says nothing to whom it does not concern.
    pub(in crate::replica) fn shared_digest(&self, with: SiteId) -> SharedDigest {
        digest_of(&self.shared_with(with))
    }

    /// The word by which a site is in a private space no more, for that site.
    pub(in crate::replica) fn revocation_from(
        &self,
        space: SpaceId,
        site: SiteId,
    ) -> Option<Revocation> {
        let realm = self.realm_of(space).filter(|realm| !self.is_network(*realm))?;
        let (network, members) = (self.members()?, self.members_of(realm)?);
        // A key that was replaced after its site was shut out is known in the network alone.
        let mut revoked = members.revoked().keys();
        let key = revoked.find(|former| network.is_succeeded_by(former, &site))?;
        members.revocation(key).cloned()
    }

    /// The realm whose records this site may write; `None`: the network's.
    pub(in crate::replica) fn writable(
        &self,
        space: Option<SpaceId>,
    ) -> Result<RealmId, WriteError> {
        let network = self.network().ok_or(WriteError::NoNetwork)?;
        let realm = match space {
            Some(space) => self.realm_of(space).ok_or(WriteError::UnknownSpace)?,
            None => network,
        };
        self.require_role(realm, Role::Writer, "records")?;
        Ok(realm)
    }

    /// Refuses where this site may not write `what`.
    pub(in crate::replica) fn require_role(
        &self,
        realm: RealmId,
        needed: Role,
        what: &'static str,
    ) -> Result<(), WriteError> {
        if let Some(by) = self.revoked_by() {
            return Err(WriteError::Revoked { by: self.name_of(by) });
        }
        if let Some(by) = self.revoked_from(realm) {
            let left = by == self.own;
            return Err(WriteError::OutOfSpace { left, by: self.name_of(by) });
        }
        match self.role_in(realm) {
            Some(role) if role >= needed => Ok(()),
            Some(role) => Err(WriteError::Role { what, needed, role }),
            None => Err(WriteError::NoNetwork),
        }
    }

    /// Whether a word that a site of a realm shows says that this one was shut out of it. Whether it counts is for that
    /// site to know.
    pub(in crate::replica) fn is_own_revocation(
        &self,
        realm: RealmId,
        shown_by: SiteId,
        revocation: &Revocation,
    ) -> bool {
        let is_proof = |members: &Members| {
            let by = &revocation.issuer;
            members.is_succeeded_by(&revocation.site, &self.own)
                && revocation.is_signed(members.realm())
                && members.get(&shown_by).is_some()
                && members.ever(by) == Some(Role::Admin)
                && members.is_senior(by, &self.own)
        };
        self.members_of(realm).is_some_and(is_proof)
    }
}

impl Realm {
    fn has(&self, site: SiteId) -> bool {
        self.members.get(&site).is_some()
    }
}

/// The same of a list of private spaces.
pub(in crate::replica) fn digest_of(realms: &[RealmId]) -> SharedDigest {
    let mut digest = SharedDigest::default();
    if !realms.is_empty() {
        let hash = blake3::derive_key("branchline 1 shared spaces", &codec::encode(&realms));
        digest.copy_from_slice(&hash[..8]);
    }
    digest
}
