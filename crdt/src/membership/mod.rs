//! Who belongs to the network: a deterministic fold over the signed operations of the membership space.
//!
//! Trust begins with the [`Genesis`] document, whose hash is the network's id. An admin's [`Grant`] lets the
//! holder of a ticket become a member; any member may write the resulting [`Admission`] into its log. The fold
//! judges entries by what they are and what they follow alone, so equal sets of entries give equal members.
//!
//! # Seniority
//! Founders are senior to all, in the order of the document; anyone who was admitted earlier is senior to the one who was
//! later. An admin decides (revokes, changes roles) of its juniors only. So of two admins who revoke each other the
//! senior stays, the first founder can never be shut out, and each site can be judged by what its seniors decided.
//!
//! # Revocation
//! A revocation carries what the admin held of the site, and nothing beyond that counts, with one exception: nothing that
//! shows at a member is taken back. So every member, before it takes a revocation in, writes a [`Vouch`] for what else it
//! holds of the site. An entry beyond the cut counts if a vouch covers it whose author did not know of the revocation, or
//! knew that the one who revoked was no admin any more. (A revocation may come to count only later; members vouch before
//! that, too.) A revoked site never comes back under its key.
//!
//! A lowered role is cut in the same way, but there the site itself may vouch: its word is taken for what it wrote before it
//! knew. (A site that is not trusted with that is to be revoked.)
//!
//! A site that goes on under another key writes so with the old one, which from then on is as if it had revoked itself.
//! What others decide about the old key without knowing holds for the new one. A site that has not heard of it yet knows
//! the other by its [`FormerKey`]s, as long as nothing was decided about the last one that is known.
//!
//! # Tickets
//! A ticket admits as many sites as it says, most often one, until it is withdrawn: by an admin's word ([`Operation::Withdraw`]),
//! or with its issuer, who is an admin no more. Whose admission comes too much or too late, and was written without knowing
//! that, is [`Disputed`]: no member, but nothing is taken back that members of a writer's role hold of it.
//!
//! In the membership space entries are held whether or not they count, so that everyone judges by the same ones. What is
//! asked at the door alone, and not judged here: whether a ticket has expired ([`Members::examine`]). That binds all once the
//! issuer's node has withdrawn it.

mod admitting;
mod bearers;
mod change;
mod fold;
mod former_keys;
mod history;
mod learn;
mod names;
mod past;
mod site_name;
mod space;
mod standing;
mod ticket;
mod tickets;

use serde::{Deserialize, Serialize};

pub use admitting::{Admitting, NotAdmitted};
pub(crate) use change::in_pieces;
pub use change::{Cut, Revocation, RoleChange, Rotation, Vouch};
pub use fold::{Disputed, Member, Members, Revoked};
pub use former_keys::{FORMER_KEYS_MAX, FormerKey};
pub use history::{MembershipEvent, MembershipStep, history};
pub use site_name::{BadSiteName, check_new_site_name};
pub(crate) use site_name::{check_site_name, looks_like};
pub(crate) use space::admission_by;
pub use space::{BadSpaceName, MAIN_SPACE, SPACE_NAME_BYTES_MAX, SpaceDocument, check_space_name};
pub use ticket::{Ticket, TicketError};
pub use tickets::{NOTE_BYTES_MAX, OpenTicket, PLACES_MAX, TicketStanding};

use crate::format::codec;
use crate::ids::{RealmId, Signature, SiteId, SiteKey};

/// Longest name of a site, in bytes.
pub const SITE_NAME_BYTES_MAX: usize = 64;

/// The document that a network begins with. Its hash is the network's id, so nothing in it ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// The first admins, with their names.
    pub founders: Vec<(SiteId, String)>,
    /// When, in ms since 1970. For display only.
    pub time_ms: i64,
    /// Makes every network's id its own.
    pub nonce: [u8; 16],
}

impl Genesis {
    /// The network that trusts this document.
    pub fn network(&self) -> RealmId {
        RealmId(blake3::derive_key("branchline 1 genesis", &codec::encode(self)))
    }
}

/// What a member may do: in `main` by its role in the network, in a private space by its role there. The order of variants is
/// part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and writes records.
    Writer,
    /// Reads and writes records and schemas, and lets others in.
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Admin => "admin",
        })
    }
}

/// No role of that name.
#[derive(Debug, thiserror::Error)]
#[error("role {found:?} is unknown, expected reader, writer or admin")]
pub struct UnknownRole {
    /// What was given.
    pub found: String,
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        match text {
            "reader" => Ok(Self::Reader),
            "writer" => Ok(Self::Writer),
            "admin" => Ok(Self::Admin),
            found => Err(UnknownRole { found: found.to_owned() }),
        }
    }
}

/// An admin's word that anyone who holds a ticket's secret may become a member: as often as its [`OpenTicket`] says, once where
/// none is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The network that it opens.
    pub realm: RealmId,
    /// The public half of the ticket's secret; also the ticket's id.
    pub ticket: SiteId,
    /// What the new member may do.
    pub role: Role,
    /// After this moment (ms since 1970, by the admitting site's clock) nobody admits with it.
    pub expires_ms: i64,
    /// The admin.
    pub issuer: SiteId,
    /// The admin's signature over all of the above.
    pub signature: Signature,
}

impl Grant {
    /// Signs a grant for the ticket whose public half is `ticket`.
    pub fn sign(
        realm: RealmId,
        ticket: SiteId,
        role: Role,
        expires_ms: i64,
        issuer: &SiteKey,
    ) -> Self {
        let issuer_site = issuer.site();
        let digest = grant_digest(realm, ticket, role, expires_ms, issuer_site);
        let signature = issuer.sign(&digest);
        Self { realm, ticket, role, expires_ms, issuer: issuer_site, signature }
    }

    fn is_signed(&self) -> bool {
        let digest = grant_digest(self.realm, self.ticket, self.role, self.expires_ms, self.issuer);
        self.issuer.verify(&digest, &self.signature.0)
    }
}

fn grant_digest(
    realm: RealmId,
    ticket: SiteId,
    role: Role,
    expires_ms: i64,
    issuer: SiteId,
) -> [u8; 32] {
    let bytes = codec::encode(&(realm, ticket, role, expires_ms, issuer));
    blake3::derive_key("branchline 1 grant", &bytes)
}

/// A site takes up a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The grant that it takes up.
    pub grant: Grant,
    /// The new member.
    pub site: SiteId,
    /// The name that it wishes to bear.
    pub name: String,
    /// Signature over site and name with the ticket's secret: only its holder can take the grant up.
    pub signature: Signature,
}

impl Admission {
    /// Takes up the grant of `ticket` for `site`.
    pub fn sign(ticket: &Ticket, site: SiteId, name: &str) -> Self {
        let digest = admission_digest(&ticket.grant, site, name);
        Self {
            grant: ticket.grant.clone(),
            site,
            name: name.to_owned(),
            signature: ticket.secret.sign(&digest),
        }
    }

    /// Whether grant and admission bear the right signatures for `network`.
    pub fn is_signed(&self, realm: RealmId) -> bool {
        let digest = admission_digest(&self.grant, self.site, &self.name);
        self.grant.realm == realm
            && self.grant.is_signed()
            && self.grant.ticket.verify(&digest, &self.signature.0)
    }
}

fn admission_digest(grant: &Grant, site: SiteId, name: &str) -> [u8; 32] {
    blake3::derive_key("branchline 1 admission", &codec::encode(&(grant, site, name)))
}

/// One change to membership. The order of variants is part of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A site becomes a member.
    Admit(Admission),
    /// A site is a member no more.
    Revoke(Revocation),
    /// A member may do more or less than before.
    ChangeRole(RoleChange),
    /// A member bears another name: by its own word or an admin's.
    Rename {
        /// The member.
        site: SiteId,
        /// The name that it is to bear.
        name: String,
    },
    /// What was held of a site before a decision of it was known.
    Vouch(Vouch),
    /// A site goes on under another key.
    Rotate(Rotation),
    /// There is a ticket, of the admin who writes this.
    Invite(OpenTicket),
    /// A ticket admits nobody any more but those whose admissions this follows: by the word of any admin, about the juniors of
    /// that one.
    Withdraw {
        /// The ticket's id.
        ticket: SiteId,
    },
}

impl Operation {
    /// Whether the signatures that it bears of itself are right.
    pub(crate) fn is_signed(&self, realm: RealmId) -> bool {
        match self {
            Self::Admit(admission) => admission.is_signed(realm),
            Self::Revoke(revocation) => revocation.is_signed(realm),
            Self::Rotate(rotation) => rotation.is_signed(realm),
            Self::Invite(ticket) => ticket.grant.realm == realm && ticket.grant.is_signed(),
            Self::ChangeRole(_) | Self::Rename { .. } | Self::Vouch(_) | Self::Withdraw { .. } => {
                true
            }
        }
    }

    /// The replacement of a key that it is.
    pub(crate) fn rotation(&self) -> Option<&Rotation> {
        let Self::Rotate(rotation) = self else { return None };
        Some(rotation)
    }

    /// The site that it decides about, what that may do from now on (`None`: it is out, or goes on under another key), and how
    /// far what it could do before counts.
    pub(crate) fn decision(&self) -> Option<(SiteId, Option<Role>, &Cut)> {
        match self {
            Self::Revoke(revocation) => Some((revocation.site, None, &revocation.held)),
            Self::ChangeRole(change) => Some((change.site, Some(change.role), &change.held)),
            Self::Rotate(rotation) => Some((rotation.from, None, &rotation.held)),
            Self::Admit(_)
            | Self::Rename { .. }
            | Self::Vouch(_)
            | Self::Invite(_)
            | Self::Withdraw { .. } => None,
        }
    }

    /// Whether it decides of what a site may do, or vouches for what it did.
    pub(crate) fn is_of_standing(&self) -> bool {
        match self {
            Self::Revoke(_) | Self::ChangeRole(_) | Self::Rotate(_) | Self::Vouch(_) => true,
            Self::Admit(_) | Self::Rename { .. } | Self::Invite(_) | Self::Withdraw { .. } => false,
        }
    }

    /// Whether the standing of a site may hang on who knew of it.
    fn is_to_be_known(&self) -> bool {
        self.is_of_standing() || matches!(self, Self::Admit(_) | Self::Withdraw { .. })
    }
}
