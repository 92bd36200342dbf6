//! What sites say to each other.
//!
//! | protocol | who | messages |
//! |---|---|---|
//! | `/branchline/sync/3` | members | [`Request`] → [`Answer`] |
//! | `/branchline/join/1` | anyone | [`Introduction`] → [`Welcome`] |
//! | gossip topic, see [`topic`] | members of the network | [`Gossip`] of its own spaces |
//!
//! All in [`crate::format::codec`] layout. A request of another layout gets no answer, and its sender waits until the time for one
//! is over. So the version of the layout is the protocol's name, and for gossip the number in [`topic`].

mod entries;
pub mod prepare;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::format::codec::{self, DecodeError};
use crate::ids::{Author, RealmId, SpaceId};
use crate::log::entry::limits::ENTRY_BYTES_MAX;
use crate::log::entry::{Entry, Tip};
use crate::log::fork::ForkProof;
pub(crate) use crate::log::frontier::count_fitting;
use crate::log::frontier::{Known, PartDigests, Parts};
use crate::log::receipt::Receipt;
use crate::membership::{Admission, FormerKey, Genesis, Revocation, SpaceDocument};
use crate::store::Position;

use entries::unpack_entries_within;
pub use entries::{UnpackEntriesError, pack_entries, unpack_entries};

/// Bytes of entries that a puller asks for at a time: few enough that a backlog of some thousand records comes in
/// several answers, of which one is on its way while another is taken in, and that one takes seconds of the slowest
/// line; enough that what each costs by itself hardly counts.
pub const PULL_BYTES: u32 = 256 * 1024;
/// Most bytes of entries that one answer holds, whatever was asked: room for one entry of the greatest size.
pub const ANSWER_BYTES_MAX: usize = ENTRY_BYTES_MAX + 1024 * 1024;
/// Largest gossip message in bytes; larger entries are announced and pulled. gossipsub becomes unreliable near its
/// own limit, so this stays far below it.
pub const GOSSIP_BYTES_MAX: usize = 4096;
/// Most bytes that the packed entries of a gossip message mean: far more than honest ones do.
const GOSSIP_UNPACKED_BYTES_MAX: usize = 16 * GOSSIP_BYTES_MAX;
/// Most bytes of membership entries in the invitations of one answer: those of some 3,000 sites of spaces.
pub const INVITATIONS_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of membership entries in an introduction: what a stranger may make a member read.
pub const INTRODUCTION_BYTES_MAX: usize = 200 * 1024;
/// Most bytes of membership entries in a welcome, which only a new member gets: those of some 15,000 members.
pub const WELCOME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a member asks of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// To be sent what it lacks.
    Pull(Pull),
    /// Nothing: it says what is new in a space that is not gossiped. It is answered with [`Outcome::UpToDate`], which means
    /// nothing here.
    Notify(Gossip),
}

/// Which [`Request`] some bytes are, read without the rest of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RequestKind {
    /// [`Request::Pull`].
    Pull,
    /// [`Request::Notify`].
    Notify,
}

impl RequestKind {
    /// The kind of an encoded request.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes begin no request. What follows their beginning is not looked at.
    pub fn of(body: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_start("request", body).map(|(kind, _)| kind)
    }
}

/// "Here is what I hold, send what I lack." While a backlog is pulled the frontier also names what the answerer has just
/// sent, whether or not it is durable yet; receipts alone say what is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// Of which space.
    pub space: SpaceId,
    /// What the puller holds.
    pub have: Have,
    /// Digest of the receipts that the puller holds.
    pub receipts: [u8; 8],
    /// Digest of the roots of the private spaces that the two share, as far as the puller knows. Zeros where there are
    /// none, and in every pull but of the network's members.
    pub shared: [u8; 8],
    /// Bytes of entries wanted at the most.
    pub bytes_max: u32,
}

/// What a puller holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Have {
    /// Digest of its frontier: nothing more is needed if the other side has the same.
    Digest([u8; 16]),
    /// Its frontier.
    Frontier {
        /// The parts of it that are reported, and that entries are asked of; `None`: the whole.
        parts: Option<Parts>,
        /// The logs in them, as many as fit, see [`fitting`](crate::log::frontier::fitting).
        known: Vec<Known>,
        /// Where in the answerer's journal the last answer ended: only what comes behind it is asked for.
        after: Option<Position>,
    },
    /// Everything but these entries, whose bytes are damaged here: they alone are asked for.
    Lost(Vec<(Author, u64)>),
}

/// What a pull is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The entries, or why there are none.
    pub outcome: Outcome,
    /// The receipts that the answerer holds, where they are not the puller's.
    pub receipts: Vec<Receipt>,
    /// Proofs of forks that the puller may lack.
    pub forks: Vec<ForkProof>,
    /// Private spaces that the puller is in and may not know of.
    pub invitations: Vec<Invitation>,
}

impl Answer {
    /// Nothing but this.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, receipts: Vec::new(), forks: Vec::new(), invitations: Vec::new() }
    }
}

/// A private space, shown to a site that is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Invitation {
    /// The document whose hash is the space's root.
    pub document: SpaceDocument,
    /// Membership entries of the space, from the first on, see [`pack_entries`]: the proof that the site is in it.
    #[serde(with = "serde_bytes")]
    pub entries: Vec<u8>,
}

/// The entries, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// Both hold the same.
    UpToDate,
    /// The digest differs: send the frontier, or the parts of it whose digests are not these.
    SendFrontier(PartDigests),
    /// Entries in the answerer's journal order, which is causal.
    Entries {
        /// See [`pack_entries`].
        #[serde(with = "serde_bytes")]
        packed: Vec<u8>,
        /// The budget ended before the entries did: where the logs end that some are of, so that the next pull can
        /// go on from there before these entries are checked. Empty: there are no more.
        until: Vec<Known>,
        /// The same as a place in the answerer's journal.
        at: Option<Position>,
    },
    /// The answerer does not hold that space, or does not share it with the puller.
    UnknownSpace,
    /// The puller was in that private space, and here is the word by which it no longer is.
    Revoked(Box<Revocation>),
}

/// What is reported to all at once. A hint: losing every one of them costs only time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Gossip {
    /// A small new entry.
    Entry(#[serde(with = "serde_bytes")] Vec<u8>),
    /// Small new entries that follow each other, see [`pack_entries`].
    Entries(#[serde(with = "serde_bytes")] Vec<u8>),
    /// There is a new entry, to be pulled.
    Announce {
        /// Its space.
        space: SpaceId,
        /// Its name.
        tip: Tip,
    },
    /// What a site holds by now.
    Receipt(Receipt),
    /// There may be something new in this space, to be pulled.
    Hint(SpaceId),
}

impl Gossip {
    /// The entries that it holds.
    ///
    /// # Errors
    /// [`UnpackEntriesError`] where its bytes are no entries, or mean more than gossip may.
    pub fn entries(&self) -> Result<Vec<Entry>, UnpackEntriesError> {
        match self {
            Self::Entry(bytes) => Ok(vec![Entry::decode(bytes)?]),
            Self::Entries(packed) => unpack_entries_within(packed, GOSSIP_UNPACKED_BYTES_MAX),
            Self::Announce { .. } | Self::Receipt(_) | Self::Hint(_) => Ok(Vec::new()),
        }
    }
}

/// What a site presents that the other side does not know as a member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Introduction {
    /// It takes up a ticket's grant.
    Ticket(Box<Admission>),
    /// It was admitted elsewhere.
    Entries {
        /// The network that it means.
        network: RealmId,
        /// The membership entries that say so, see [`pack_entries`].
        #[serde(with = "serde_bytes")]
        packed: Vec<u8>,
    },
    /// It was a member under these keys, the newest first, or is one. This may be shown to strangers.
    FormerKeys(Vec<FormerKey>),
}

/// The answer to an introduction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Welcome {
    /// The site is a member.
    Member {
        /// The document whose hash is the network's id.
        genesis: Genesis,
        /// Membership entries from the beginning on, as many as fit.
        #[serde(with = "serde_bytes")]
        entries: Vec<u8>,
    },
    /// It is not, for this reason (text for a person; strangers get no more than they presented).
    Refused(String),
    /// It was one, and here is the word by which it no longer is.
    Revoked(Box<Revocation>),
    /// Its former keys are a member's. The answerer had these, the newest first.
    FormerKeys(Vec<FormerKey>),
}

/// The gossip topic of one of the network's own spaces: opaque to the one who does not know the network.
pub fn topic(network: RealmId, space: SpaceId) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("branchline 2 gossip topic");
    hasher.update(&network.0);
    hasher.update(&space.0);
    HEXLOWER.encode(&hasher.finalize().as_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_request_is_read_from_its_first_byte() {
        let space = SpaceId([7; 16]);
        let pull = Pull {
            space,
            have: Have::Digest([1; 16]),
            receipts: [2; 8],
            shared: [3; 8],
            bytes_max: PULL_BYTES,
        };
        for request in [Request::Pull(pull), Request::Notify(Gossip::Hint(space))] {
            let kind = match request {
                Request::Pull(_) => RequestKind::Pull,
                Request::Notify(_) => RequestKind::Notify,
            };
            let body = codec::encode(&request);
            assert_eq!(RequestKind::of(&body).unwrap(), kind);
            assert_eq!(RequestKind::of(&body[..1]).unwrap(), kind);
        }
        assert!(RequestKind::of(&[]).is_err() && RequestKind::of(&[2]).is_err());
    }
}
