//! What happens to a replica.

use super::{Decision, DocumentMerge, RoomLeft};
use crate::ids::{SiteId, SpaceId};
use crate::log::entry::Origin;
use crate::membership::Ticket;
use crate::protocol::prepare::Prepared;
use crate::record::{Drafted, Edit, Expected, Version};

/// One record's part of a local transaction.
#[derive(Clone, Debug)]
pub struct RecordEdit {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// What to do.
    pub edit: Edit,
    /// What the record must be for that; `None`: whatever it is.
    pub expected: Option<Expected>,
    /// The version that the edit was made for, by someone who had not seen what changed since: the two merge as edits of
    /// two sites do. Fields that both have written are in conflict, also where it was this site that wrote them since;
    /// counters add up; of a record that was deleted since it is a hidden edit. `None`: the edit is of the record as it is.
    pub builds_on: Option<Version>,
    /// The edit as the record's first, if it was made beforehand.
    pub drafted: Option<Drafted>,
}

impl RecordEdit {
    /// An edit of a record, whatever it is.
    pub fn new(collection: impl Into<String>, id: impl Into<String>, edit: Edit) -> Self {
        let (collection, id) = (collection.into(), id.into());
        Self { collection, id, edit, expected: None, builds_on: None, drafted: None }
    }
}

/// Edits that become visible together or not at all.
#[derive(Clone, Debug)]
pub struct LocalTransaction {
    /// A repeat of an origin changes nothing. What has changed nothing is no repeat later on.
    pub origin: Option<Origin>,
    /// In order.
    pub edits: Vec<RecordEdit>,
}

/// What happens to a replica. Numbers named `id` and `token` are the caller's; they come back in outputs.
#[derive(Debug)]
pub enum Input {
    /// Local transactions, each judged on its own.
    Write {
        /// Comes back in [`Output::Written`](super::Output::Written).
        id: u64,
        /// The space of records that they are for; `None`: `main`.
        space: Option<SpaceId>,
        /// The transactions.
        transactions: Vec<LocalTransaction>,
    },
    /// A document to be taken in, wholly or not at all.
    MergeDocument {
        /// Comes back in [`Output::Written`](super::Output::Written), with one result, whose changes are those that were
        /// new.
        id: u64,
        /// The space of records that it is for; `None`: `main`.
        space: Option<SpaceId>,
        /// The document, and where it belongs.
        merge: Box<DocumentMerge>,
    },
    /// A member is connected.
    PeerUp(SiteId),
    /// A member's last connection is gone.
    PeerDown(SiteId),
    /// A gossip message.
    Gossip {
        /// The member that handed it on.
        from: SiteId,
        /// Comes back in [`Output::Validate`](super::Output::Validate).
        token: u64,
        /// A [`crate::protocol::Gossip`].
        data: Vec<u8>,
    },
    /// A member asks.
    Request {
        /// The member.
        from: SiteId,
        /// Comes back in [`Output::Respond`](super::Output::Respond).
        token: u64,
        /// A [`crate::protocol::Request`].
        body: Vec<u8>,
    },
    /// A member answered [`Output::Request`](super::Output::Request).
    Response {
        /// The member.
        from: SiteId,
        /// The request's id.
        id: u64,
        /// A [`crate::protocol::Answer`].
        body: Vec<u8>,
    },
    /// [`Output::Prepare`](super::Output::Prepare) is done. Always fed, or handed to
    /// [`Replica::begin_taking`](super::Replica::begin_taking) instead, and for one member in the order of the outputs.
    Prepared(Prepared),
    /// [`Output::Request`](super::Output::Request) was not answered.
    RequestFailed {
        /// The member.
        to: SiteId,
        /// The request's id.
        id: u64,
        /// The other side does not speak the sync protocol with this site: it may not know it as a member.
        unsupported: bool,
    },
    /// A site presents itself.
    Introduction {
        /// The site, as the connection proves it.
        from: SiteId,
        /// Comes back in [`Output::AnswerIntroduction`](super::Output::AnswerIntroduction).
        token: u64,
        /// A [`crate::protocol::Introduction`].
        body: Vec<u8>,
    },
    /// The answer to [`Output::Introduce`](super::Output::Introduce).
    IntroductionAnswer {
        /// Who answered.
        from: SiteId,
        /// A [`crate::protocol::Welcome`].
        body: Vec<u8>,
    },
    /// A site that is no member, as far as is known here, is connected where a member was looked for.
    Stranger(SiteId),
    /// A ticket to join with, from the user.
    Join(Box<Ticket>),
    /// A decision of a member, from the user.
    Decide {
        /// Comes back in [`Output::Decided`](super::Output::Decided).
        id: u64,
        /// The decision.
        decision: Decision,
    },
    /// The disk has room for what other sites wrote, or too little from now on.
    Room(RoomLeft),
    /// Time passed. Due when [`Replica::due_ms`](super::Replica::due_ms) says; more often does no harm. The node feeds it every
    /// [`TICK_MS`](super::pace::TICK_MS).
    Tick,
}
