//! What admins decide of members, and what others held when they learnt of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FormerKey, Role};
use crate::format::codec;
use crate::ids::{Author, Incarnation, RealmId, Signature, SiteId, SiteKey, SpaceId};

/// How far a site's logs count: the last number of each. Of a log that is not listed nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut(BTreeMap<(SpaceId, Incarnation), u64>);

impl Cut {
    /// Of these logs of one site.
    pub fn new(logs: impl IntoIterator<Item = ((SpaceId, Incarnation), u64)>) -> Self {
        Self(logs.into_iter().filter(|(_, seq)| *seq > 0).collect())
    }

    /// Whether an entry counts.
    pub fn covers(&self, space: SpaceId, author: Author, seq: u64) -> bool {
        self.0.get(&(space, author.incarnation)).is_some_and(|last| seq <= *last)
    }

    /// Whether everything counts that the other lets count.
    pub fn includes(&self, other: &Self) -> bool {
        let counts = |(log, seq): (&_, &u64)| self.0.get(log).is_some_and(|last| seq <= last);
        other.0.iter().all(counts)
    }

    /// Lets count what the other does too. Says whether that is more than before.
    pub fn raise(&mut self, other: &Self) -> bool {
        let is_more = !self.includes(other);
        for (log, seq) in &other.0 {
            let last = self.0.entry(*log).or_insert(0);
            *last = seq.max(last).to_owned();
        }
        is_more
    }
}

/// An admin's word that a site is no member any more. Signed by itself, so that it can be shown to the site without
/// anything else of what it is no longer to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Of which network.
    pub realm: RealmId,
    /// Who is shut out.
    pub site: SiteId,
    /// What the admin held of it.
    pub held: Cut,
    /// The admin.
    pub issuer: SiteId,
    /// The admin's signature over all of the above.
    pub signature: Signature,
}

impl Revocation {
    /// Revokes.
    pub fn sign(realm: RealmId, site: SiteId, held: Cut, issuer: &SiteKey) -> Self {
        let issuer_site = issuer.site();
        let signature = issuer.sign(&revocation_digest(realm, site, &held, issuer_site));
        Self { realm, site, held, issuer: issuer_site, signature }
    }

    /// Whether the admin signed it for `network`.
    pub fn is_signed(&self, realm: RealmId) -> bool {
        let digest = revocation_digest(self.realm, self.site, &self.held, self.issuer);
        self.realm == realm && self.issuer.verify(&digest, &self.signature.0)
    }
}

fn revocation_digest(realm: RealmId, site: SiteId, held: &Cut, issuer: SiteId) -> [u8; 32] {
    let bytes = codec::encode(&(realm, site, held, issuer));
    blake3::derive_key("branchline 1 revocation", &bytes)
}

/// A site goes on under another key, in the log of the old one: name, role and seniority stay, and the old key counts
/// no further than its log says here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// The old key's site, which writes this.
    pub from: SiteId,
    /// The new key's site.
    pub to: SiteId,
    /// What the old key has written, this entry included.
    pub held: Cut,
    /// The new key's signature over network, old and new site: nobody takes a key over that is not its own.
    pub consent: Signature,
    /// The old key's signature over the same, see [`FormerKey`].
    pub word: Signature,
}

impl Rotation {
    /// The new key's consent.
    pub fn consent(realm: RealmId, from: SiteId, to: &SiteKey) -> Signature {
        to.sign(&rotation_digest(realm, from, to.site()))
    }

    /// Whether the new key consents, and the old one says so by itself.
    pub fn is_signed(&self, realm: RealmId) -> bool {
        let digest = rotation_digest(realm, self.from, self.to);
        self.to.verify(&digest, &self.consent.0) && self.former_key().is_signed(realm, self.to)
    }

    pub(crate) fn former_key(&self) -> FormerKey {
        FormerKey { site: self.from, word: self.word }
    }
}

/// What both keys of a rotation sign.
pub(super) fn rotation_digest(realm: RealmId, from: SiteId, to: SiteId) -> [u8; 32] {
    blake3::derive_key("branchline 1 rotation", &codec::encode(&(realm, from, to)))
}

/// What an admin decides that a member may do from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChange {
    /// The member.
    pub site: SiteId,
    /// What it may do.
    pub role: Role,
    /// What the admin held of it: what a higher role allowed still counts so far.
    pub held: Cut,
}

/// A member writes down what it holds of a site before it takes a decision of that site in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vouch {
    /// The site.
    pub site: SiteId,
    /// What is held of it.
    pub held: Cut,
}
