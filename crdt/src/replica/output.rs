//! What a replica wants done.

use std::collections::BTreeSet;

use super::{DecisionError, HeldSpace, WriteError, Written};
use crate::ids::{Author, RealmId, SiteId};
use crate::protocol::prepare::Job;

/// What a replica wants done. In order.
#[derive(Debug)]
pub enum Output {
    /// The answer to [`Input::Write`](super::Input::Write); what it says is durable.
    Written {
        /// The write's id.
        id: u64,
        /// One result per transaction, in order.
        results: Vec<Result<Written, WriteError>>,
    },
    /// The answer to [`Input::Decide`](super::Input::Decide); what it says is durable.
    Decided {
        /// The decision's id.
        id: u64,
        /// Whether it was made.
        result: Result<(), DecisionError>,
    },
    /// Ask a member; the answer comes as [`Input::Response`](super::Input::Response) or
    /// [`Input::RequestFailed`](super::Input::RequestFailed).
    Request {
        /// The member.
        to: SiteId,
        /// Names the request.
        id: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// Do this, on any thread, and feed what it comes to as [`Input::Prepared`](super::Input::Prepared). At most two for
    /// each connected member and space are not done.
    Prepare(Job),
    /// Answer a request.
    Respond {
        /// Of [`Input::Request`](super::Input::Request).
        token: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// Present this site to another, dialling it if need be.
    Introduce {
        /// The other.
        to: SiteId,
        /// Where it may be, as multiaddresses; empty: it is connected.
        addresses: Vec<String>,
        /// The message.
        body: Vec<u8>,
    },
    /// Answer an introduction.
    AnswerIntroduction {
        /// Of [`Input::Introduction`](super::Input::Introduction).
        token: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// Listen to a gossip topic from now on.
    Subscribe(String),
    /// Gossip to everyone who listens to the topic.
    Publish {
        /// The topic.
        topic: String,
        /// The message.
        data: Vec<u8>,
    },
    /// What to do with a gossip message of another's.
    Validate {
        /// Of [`Input::Gossip`](super::Input::Gossip).
        token: u64,
        /// The judgement.
        verdict: Validation,
    },
    /// The members changed: these may use the member protocols.
    Members(BTreeSet<SiteId>),
    /// The private spaces that are held changed.
    Spaces(Vec<HeldSpace>),
    /// Something that the operator should read.
    Notice(Notice),
}

/// What to do with a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// Hand it on: it is good and held here.
    Accept,
    /// Do not hand it on; nobody is at fault.
    Ignore,
    /// Do not hand it on: its sender should have known better.
    Reject,
}

/// What the operator should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This site is a member now.
    Joined {
        /// Of this network.
        network: RealmId,
        /// Let in by this site.
        by: SiteId,
    },
    /// A site refused to let this one in.
    NotAdmitted {
        /// Who refused.
        by: SiteId,
        /// Why, in its words.
        reason: String,
    },
    /// Another site became a member.
    MemberAdmitted {
        /// The new member.
        site: SiteId,
        /// Its name.
        name: String,
    },
    /// A member was revoked.
    MemberRevoked {
        /// The site.
        site: SiteId,
        /// Its name.
        name: String,
        /// The admin who revoked it.
        by: SiteId,
    },
    /// This site was revoked: nobody will sync with it any more. What it holds stays, and can be read.
    Revoked {
        /// The admin who revoked it.
        by: SiteId,
    },
    /// This site was let into a private space.
    SpaceEntered {
        /// Its name.
        name: String,
        /// Its realm.
        realm: RealmId,
    },
    /// An entry is void: its author's software or its author is at fault.
    Void {
        /// The author.
        author: Author,
        /// The entry's number.
        seq: u64,
        /// The fault that the checker found.
        reason: String,
    },
    /// What a peer sent was refused.
    Refused {
        /// The peer.
        from: SiteId,
        /// Why.
        reason: String,
    },
    /// A site signed two entries under one number.
    Fork {
        /// The author.
        author: Author,
        /// The number.
        seq: u64,
        /// Whether what this site held of the log is a branch with a name of its own now, which takes a rebuild.
        is_renamed: bool,
    },
    /// Two copies of a site are at work: somebody copied its data folder and runs both.
    Copies {
        /// The site.
        site: SiteId,
    },
    /// The journal's copy of an entry is damaged: it is asked of the peers, and not served until one gives it back.
    /// Reported for the first entry of each log.
    EntryLost {
        /// The author; this site itself may have the only copy.
        author: Author,
        /// The entry's number.
        seq: u64,
    },
    /// A peer gave a damaged entry back.
    EntryRepaired {
        /// The author.
        author: Author,
        /// The entry's number.
        seq: u64,
        /// The peer.
        from: SiteId,
    },
    /// A record cannot be read at this site; its changes are kept.
    Unreadable {
        /// The record.
        collection: String,
        /// The record.
        id: String,
        /// What happened.
        reason: String,
    },
}
