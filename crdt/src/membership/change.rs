//! What admins decide of members, and what others held when they learnt of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FormerKey, Operation, Role};
use crate::format::codec;
use crate::ids::{Author, Incarnation, RealmId, Signature, SiteId, SiteKey, SpaceId};

/// Most logs that an operation of this program's lists: some 450 KB. A site that starts every day has as many in twenty years.
const CUT_LOGS_MAX: usize = 16_384;

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

    /// What counts by this and not by the other.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let is_beyond = |(log, seq): &(&_, &u64)| other.0.get(*log).is_none_or(|last| *seq > last);
        Self(self.0.iter().filter(is_beyond).map(|(log, seq)| (*log, *seq)).collect())
    }

    /// The same without the logs of one space.
    #[must_use]
    pub(super) fn without(&self, space: SpaceId) -> Self {
        Self(
            self.0
                .iter()
                .filter(|((of, _), _)| *of != space)
                .map(|(log, seq)| (*log, *seq))
                .collect(),
        )
    }

    /// Whether it lets nothing count.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same in pieces that an operation takes: the last, and those before it.
    fn split(self) -> (Self, Vec<Self>) {
        let logs: Vec<_> = self.0.into_iter().collect();
        let pieces = logs.chunks(CUT_LOGS_MAX);
        let mut pieces: Vec<_> = pieces.map(|logs| Self(logs.iter().copied().collect())).collect();
        (pieces.pop().unwrap_or_default(), pieces)
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

/// An operation of this site's as it is written: what it says that a site's logs count goes into vouches before it, where
/// these are too many for one.
pub(crate) fn in_pieces(realm: RealmId, operation: Operation, key: &SiteKey) -> Vec<Operation> {
    let vouch = |site, held| Operation::Vouch(Vouch { site, held });
    let (site, before, last) = match operation {
        Operation::Vouch(Vouch { site, held }) => {
            let (held, before) = held.split();
            (site, before, vouch(site, held))
        }
        Operation::ChangeRole(RoleChange { site, role, held }) => {
            let (held, before) = held.split();
            (site, before, Operation::ChangeRole(RoleChange { site, role, held }))
        }
        // What a site says of itself when it leaves is its own.
        Operation::Revoke(Revocation { site, held, .. }) if site != key.site() => {
            let (held, before) = held.split();
            (site, before, Operation::Revoke(Revocation::sign(realm, site, held, key)))
        }
        operation @ (Operation::Revoke(_)
        | Operation::Admit(_)
        | Operation::Rename { .. }
        | Operation::Rotate(_)
        | Operation::Invite(_)
        | Operation::Withdraw { .. }) => return vec![operation],
    };
    before.into_iter().map(|held| vouch(site, held)).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(logs: std::ops::Range<u64>, seq: u64) -> Cut {
        let space = RealmId([1; 32]).main_space();
        Cut::new(logs.map(|log| ((space, Incarnation(log.to_be_bytes())), seq)))
    }

    #[test]
    fn what_is_beyond_a_cut_makes_it_whole() {
        let (mut said, held) = (cut(0..10, 5), cut(5..15, 6));
        let beyond = held.beyond(&said);
        assert_eq!(beyond, held);
        assert_eq!(cut(0..10, 5).beyond(&held), cut(0..5, 5));
        assert!(cut(0..10, 5).beyond(&said).is_empty());
        said.raise(&beyond);
        assert!(said.includes(&held));
    }

    #[test]
    fn a_site_of_any_number_of_logs_can_be_revoked() {
        let (realm, key) = (RealmId([1; 32]), SiteKey::from_seed([1; 32]));
        let site = SiteKey::from_seed([2; 32]).site();
        let held = cut(0..100_000, 1);
        let revocation = Revocation::sign(realm, site, held.clone(), &key);
        let pieces = in_pieces(realm, Operation::Revoke(revocation), &key);
        assert!(pieces.iter().all(|operation| codec::encode(operation).len() < 1024 * 1024));
        let mut said = Cut::default();
        for operation in &pieces[..pieces.len() - 1] {
            let Operation::Vouch(vouch) = operation else { panic!("{operation:?}") };
            said.raise(&vouch.held);
        }
        let Some(Operation::Revoke(revocation)) = pieces.last() else { panic!("no revocation") };
        assert!(revocation.is_signed(realm));
        said.raise(&revocation.held);
        assert_eq!(said, held);
        // Most fit one.
        let few = Operation::Vouch(Vouch { site, held: cut(0..3, 1) });
        assert_eq!(in_pieces(realm, few.clone(), &key), [few]);
    }
}
