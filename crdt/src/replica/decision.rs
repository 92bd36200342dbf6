//! What a site can decide as a member, and why it cannot.

use std::collections::BTreeMap;

use crate::ids::{RealmId, Signature, SiteId};
use crate::membership::{BadSiteName, BadSpaceName, NOTE_BYTES_MAX, OpenTicket, PLACES_MAX, Role};

/// A decision of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is no member any more, for ever.
    Revoke {
        /// The member.
        site: SiteId,
    },
    /// It may do more or less. A site that is disputed is a member by that.
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
    /// This site goes on under another key, once its node starts with that one. See
    /// [`Realms::rotation_to`](super::Realms::rotation_to).
    Rotate {
        /// The new key's site.
        to: SiteId,
        /// The new key's [`Rotation::consent`](crate::membership::Rotation::consent), for the network and each private
        /// space that the site is in.
        consents: BTreeMap<RealmId, Signature>,
    },
    /// There is a ticket, which this site has signed. It is made known before anybody gets it.
    Invite {
        /// The ticket.
        ticket: Box<OpenTicket>,
    },
    /// A ticket admits nobody any more.
    Withdraw {
        /// Its id.
        ticket: SiteId,
    },
    /// There is a private space, of which only this site knows and is an admin.
    CreateSpace {
        /// Its name.
        name: String,
        /// Fresh random bytes.
        nonce: [u8; 16],
    },
    /// About a private space.
    InSpace {
        /// Its realm.
        realm: RealmId,
        /// What is decided.
        decision: SpaceDecision,
    },
}

/// A decision about a private space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpaceDecision {
    /// A member of the network is in it, with this role from now on.
    Grant {
        /// The member.
        site: SiteId,
        /// What it may do in the space.
        role: Role,
    },
    /// A site is in it no more, for ever.
    Revoke {
        /// The site.
        site: SiteId,
    },
    /// This site is in it no more, for ever. What it holds stays.
    Leave,
}

/// Why a decision was not made. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum DecisionError {
    /// The site has no say.
    #[error("this site is not a member of a network")]
    NoMember,
    /// The site was revoked: nobody would take its word.
    #[error(
        "this site was revoked by {by}: it can decide nothing any more; to come back, it has to join again with a new ticket and another data folder"
    )]
    Revoked {
        /// The name of the admin who revoked it.
        by: String,
    },
    /// The site left the space, or was shut out of it.
    #[error("this site {}: it can decide nothing there any more", match left {
        true => "left the space".to_owned(),
        false => format!("was shut out of the space by {by}"),
    })]
    OutOfSpace {
        /// Whether by its own decision.
        left: bool,
        /// The name of the site that decided.
        by: String,
    },
    /// Admins decide.
    #[error("deciding about members takes the role admin; this site is {role}")]
    Role {
        /// The site's role.
        role: Role,
    },
    /// There is no such space here.
    #[error("this site holds no such space")]
    UnknownSpace,
    /// The name cannot be one.
    #[error(transparent)]
    SpaceName(#[from] BadSpaceName),
    /// A space is called so.
    #[error("this site already holds a space called {name}")]
    SpaceNameTaken {
        /// The name.
        name: String,
    },
    /// Each space takes memory.
    #[error("this site holds as many spaces as it can")]
    TooManySpaces,
    /// The site is not in the space.
    #[error("{name} is not in that space")]
    NotInSpace {
        /// Its name.
        name: String,
    },
    /// What is here alone would be lost to the space.
    #[error(
        "no other site of the space has confirmed {entries} entries that this site wrote there: wait until one has"
    )]
    OnlyHere {
        /// How many.
        entries: u64,
    },
    /// No such member.
    #[error("{site} is not a member of this network")]
    UnknownSite {
        /// What was given.
        site: SiteId,
    },
    /// It is shut out already.
    #[error("{name} was revoked before, or left: it can come back only under another key")]
    AlreadyRevoked {
        /// Its name.
        name: String,
    },
    /// Nobody could take up such a ticket, or read its note.
    #[error(
        "a ticket is of this site and network, admits 1 to {PLACES_MAX} sites, and its note has at most {NOTE_BYTES_MAX} bytes without control characters"
    )]
    Ticket,
    /// No such ticket is open.
    #[error("there is no open ticket {ticket} in this network")]
    NoTicket {
        /// What was given.
        ticket: SiteId,
    },
    /// Nobody shuts itself out.
    #[error("a site cannot decide about its own membership or role: another admin can")]
    Oneself,
    /// A network without an admin could never let anyone in or out again.
    #[error("this site is the only admin: make another one first")]
    LastAdmin,
    /// Admins decide of their juniors.
    #[error(
        "{name} is senior to this site: only an admin who joined before it can decide about it"
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
