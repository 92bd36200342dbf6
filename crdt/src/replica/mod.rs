//! The state machine of one site, without IO.
//!
//! The caller feeds [`Input`]s to [`Replica::handle`], ends a group of them with [`Replica::commit`], and then acts
//! on every [`Output`] before the next input. Contracts:
//!
//! - Nothing is acknowledged, answered or sent that is not durable: outputs that tell of new entries appear after the
//!   `commit` in which [`Store::append`] returned, behind all others, and a change of members before all others.
//! - One `commit` is one append with one sync, whatever the number of inputs before it.
//! - A failed append leaves the replica as it was before the group; the writers are told.
//! - An error of `handle` or `commit` ([`StoreError::Tables`], mostly) means that the tables can no longer be
//!   trusted: drop the replica, rebuild the tables, open a new one.
//!
//! One file per step: `write` (local edits), `intake` (answers with entries from others), `foresight` (what these make
//! of records, found out beforehand), `accept` (one such entry), `stage` and `made` (what a group has changed so far),
//! `history` (of a record, from the journal), `commit` (seal, append), `rows` (what the tables then show), `sync`,
//! `peer`, `serve` and `gossip` (what is sent), `spaces` (and to whom), `merge` (bundles), `admission`, `former_keys`,
//! `decision` (what a member may decide), `administration` (how it does), `receipts`, `forks`, `copies`, `repair`,
//! `replay`.

mod accept;
mod administration;
mod admission;
mod commit;
mod copies;
mod decision;
pub(crate) mod documents;
mod foresight;
mod forks;
mod former_keys;
mod gossip;
mod history;
mod indexes;
mod intake;
pub(crate) mod logs;
mod made;
mod merge;
mod peer;
mod receipts;
mod repair;
mod replay;
mod rows;
mod serve;
mod spaces;
mod stage;
mod status;
mod sync;
mod vacancy;
mod versions;
mod write;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::changes::RecentEntries;
use crate::entry::Origin;
use crate::frontier::Frontier;
use crate::ids::{Author, Incarnation, NetworkId, SiteId, SiteKey, SpaceId};
use crate::membership::{Genesis, Members, Role, Ticket};
use crate::prepare::{Job, Prepared};
use crate::protocol::Gossip;
use crate::record::{Drafted, Edit, Expected, Schema, Version};
use crate::store::{Store, StoreError};
use crate::tables::records::RecordKey;

pub use accept::Refusal;
pub use admission::{InviteError, JoinError};
pub(crate) use commit::{FRAME_ENTRY, FRAME_FORK};
pub use decision::{Decision, DecisionError, SpaceDecision};
pub use merge::{MergeError, MergePiece, Merged, MissingEntries};
pub use peer::Exchange;
pub use receipts::HeardReceipt;
pub use replay::Progress;
pub use spaces::HeldSpace;
pub use status::{Footprint, IndexStatus, RevokedSite, SiteStatus, SpaceStatus, Status};
pub use write::{WriteError, Written};

use copies::Lives;
use documents::Documents;
use foresight::Foresight;
use indexes::Indexes;
use intake::Taking;
use logs::Logs;
use peer::Peer;
use receipts::Receipts;
use repair::Losses;
use spaces::PrivateSpace;
use stage::Stage;

/// The moment of an input, as the caller's clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall clock in ms since 1970. For display, and for the expiry of tickets.
    pub wall_ms: i64,
    /// A clock that never goes back, in ms: all timers.
    pub monotonic_ms: u64,
}

/// Who a replica is and what makes its randomness.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The site's key pair.
    pub key: SiteKey,
    /// The site's own name, as it wishes to be known.
    pub name: String,
    /// Eight random bytes, new for each start.
    pub incarnation: Incarnation,
    /// Seed of the replica's randomness (which peer is asked, jitter).
    pub seed: u64,
}

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
        /// Comes back in [`Output::Written`].
        id: u64,
        /// The space of records that they are for; `None`: `main`.
        space: Option<SpaceId>,
        /// The transactions.
        transactions: Vec<LocalTransaction>,
    },
    /// A member is connected.
    PeerUp(SiteId),
    /// A member's last connection is gone.
    PeerDown(SiteId),
    /// A gossip message.
    Gossip {
        /// The member that handed it on.
        from: SiteId,
        /// Comes back in [`Output::Validate`].
        token: u64,
        /// A [`crate::protocol::Gossip`].
        data: Vec<u8>,
    },
    /// A member asks.
    Request {
        /// The member.
        from: SiteId,
        /// Comes back in [`Output::Respond`].
        token: u64,
        /// A [`crate::protocol::Request`].
        body: Vec<u8>,
    },
    /// A member answered [`Output::Request`].
    Response {
        /// The member.
        from: SiteId,
        /// The request's id.
        id: u64,
        /// A [`crate::protocol::Answer`].
        body: Vec<u8>,
    },
    /// [`Output::Prepare`] is done. Always fed, or handed to [`Replica::begin_taking`] instead, and for one member in the
    /// order of the outputs.
    Prepared(Prepared),
    /// [`Output::Request`] was not answered.
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
        /// Comes back in [`Output::AnswerIntroduction`].
        token: u64,
        /// A [`crate::protocol::Introduction`].
        body: Vec<u8>,
    },
    /// The answer to [`Output::Introduce`].
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
        /// Comes back in [`Output::Decided`].
        id: u64,
        /// The decision.
        decision: Decision,
    },
    /// Time passed. Due every few 100 ms.
    Tick,
}

/// What a replica wants done. In order.
#[derive(Debug)]
pub enum Output {
    /// The answer to [`Input::Write`]; what it says is durable.
    Written {
        /// The write's id.
        id: u64,
        /// One result per transaction, in order.
        results: Vec<Result<Written, WriteError>>,
    },
    /// The answer to [`Input::Decide`]; what it says is durable.
    Decided {
        /// The decision's id.
        id: u64,
        /// Whether it was made.
        result: Result<(), DecisionError>,
    },
    /// Ask a member; the answer comes as [`Input::Response`] or [`Input::RequestFailed`].
    Request {
        /// The member.
        to: SiteId,
        /// Names the request.
        id: u64,
        /// The message.
        body: Vec<u8>,
    },
    /// Do this, on any thread, and feed what it comes to as [`Input::Prepared`]. At most two for each connected member
    /// and space are not done.
    Prepare(Job),
    /// Answer a request.
    Respond {
        /// Of [`Input::Request`].
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
        /// Of [`Input::Introduction`].
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
        /// Of [`Input::Gossip`].
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
    /// Do not hand it on; whoever sent it should have known better.
    Reject,
}

/// What the operator should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// This site is a member now.
    Joined {
        /// Of this network.
        network: NetworkId,
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
        /// Its root.
        root: NetworkId,
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
        /// Whether the entry that this site held is the one that stands.
        kept_ours: bool,
    },
    /// Two copies of a site are at work: somebody copied its data folder and runs both.
    Copies {
        /// The site.
        site: SiteId,
    },
    /// The journal's copy of an entry is damaged: it is asked of the peers, and not served until one gives it back.
    /// Told for the first entry of each log.
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

/// What a replica knows of the network that it belongs to, or wants to.
#[derive(Clone, Debug)]
struct Network {
    id: NetworkId,
    /// Shared between replicas of one process where there are thousands; see [`Replica::open_beside`].
    members: Arc<Members>,
    /// The ticket to join with, until this site is a member.
    ticket: Option<Ticket>,
    /// By member, the site that has shown to go on for it, until the entries say so.
    gone_on: BTreeMap<SiteId, SiteId>,
}

/// One site's state machine.
pub struct Replica<S: Store> {
    store: S,
    identity: Identity,
    author: Author,
    /// The newest payload format that it applies, and the one that it writes.
    payload_format: u8,
    network: Option<Network>,
    spaces: BTreeMap<SpaceId, Logs>,
    /// What stands for the network's id in each of them.
    roots: BTreeMap<SpaceId, NetworkId>,
    /// By root.
    private: BTreeMap<NetworkId, PrivateSpace>,
    stage: Stage,
    /// What is found out beforehand of the entry that is taken in next.
    foresight: Option<Foresight>,
    /// Answers whose entries are being taken in.
    taking: VecDeque<Taking>,
    documents: Documents,
    recent: RecentEntries,
    /// Records that cannot be read here, with the reason; none, as a rule.
    unreadable: BTreeMap<RecordKey, String>,
    /// Those that were asked for since a schema was last written.
    schemas: BTreeMap<SpaceId, BTreeMap<String, Option<Arc<Schema>>>>,
    indexes: Indexes,
    peers: BTreeMap<SiteId, Peer>,
    receipts: BTreeMap<SpaceId, Receipts>,
    receipt_count: u64,
    /// See [`Replica::heard_receipts`].
    heard_receipts: BTreeMap<SiteId, HeardReceipt>,
    lives: Lives,
    losses: Losses,
    /// A member has shown that this site was revoked, by this admin.
    told_revoked_by: Option<SiteId>,
    /// The last append failed: what is pulled meanwhile is only a trial, and thrown away.
    is_unwritable: bool,
    announced: gossip::Announced,
    timers: sync::Timers,
    random: sync::Random,
    request_count: u64,
    outputs: VecDeque<Output>,
    /// What is told of new entries behind the outputs; see [`Replica::output`].
    news: Vec<(SpaceId, Gossip)>,
    now: Now,
}

impl<S: Store> Replica<S> {
    /// Takes in one input. Its durable consequences wait for [`Replica::commit`], which a large group calls itself.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), StoreError> {
        self.now = now;
        self.take(input)?;
        self.commit_if_large()
    }

    /// Ends the group early where it holds too much in memory.
    fn commit_if_large(&mut self) -> Result<(), StoreError> {
        if self.stage.is_large() {
            self.commit()?;
        }
        Ok(())
    }

    /// Whether what was taken in since the last commit is enough for one: more would let others wait too long.
    pub fn is_group_full(&self) -> bool {
        self.stage.is_enough()
    }

    fn take(&mut self, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Write { id, space, transactions } => self.write(id, space, transactions),
            Input::PeerUp(site) => self.peer_up(site),
            Input::PeerDown(site) => {
                self.peers.remove(&site);
                Ok(())
            }
            Input::Gossip { from, token, data } => self.gossip(from, token, &data),
            Input::Request { from, token, body } => self.answer(from, token, &body),
            Input::Response { from, id, body } => self.take_answer(from, id, &body),
            Input::Prepared(prepared) => self.take_prepared(prepared),
            Input::RequestFailed { to, id, unsupported } => self.pull_failed(to, id, unsupported),
            Input::Introduction { from, token, body } => self.introduced(from, token, &body),
            Input::IntroductionAnswer { from, body } => self.welcomed(from, &body),
            Input::Stranger(site) => {
                self.found_stranger(site);
                Ok(())
            }
            Input::Join(ticket) => self.join(*ticket),
            Input::Decide { id, decision } => self.decide(id, decision),
            Input::Tick => self.tick(),
        }
    }

    /// The next thing to do; `None` when all is done.
    pub fn output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.tell_news();
        }
        self.outputs.pop_front()
    }

    /// The storage.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The storage, for a simulation that makes it fail.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Ends the replica and hands the storage back.
    pub fn into_store(self) -> S {
        self.store
    }

    /// As whom this site writes; another after a rebuild.
    pub fn author(&self) -> Author {
        self.author
    }

    /// This site.
    pub fn site(&self) -> SiteId {
        self.author.site
    }

    /// The network, once it is known (a ticket or the genesis document names it).
    pub fn network(&self) -> Option<NetworkId> {
        self.network.as_ref().map(|network| network.id)
    }

    /// The members, once the network is known.
    pub fn members(&self) -> Option<&Members> {
        self.network.as_ref().map(|network| &*network.members)
    }

    /// What this site may do: by its membership, or else by the ticket that it holds.
    pub fn role(&self) -> Option<Role> {
        let network = self.network.as_ref()?;
        let member = network.members.get(&self.author.site).map(|member| member.role);
        member.or_else(|| network.ticket.as_ref().map(|ticket| ticket.grant.role))
    }

    /// How many receipts were taken in since the start: whoever waits for one asks again when this has grown.
    pub fn receipt_count(&self) -> u64 {
        self.receipt_count
    }

    /// The sites of which receipts were taken in since this was last asked. The caller has the clocks to say since when a
    /// site is silent.
    pub fn heard_receipts(&mut self) -> BTreeMap<SiteId, HeardReceipt> {
        std::mem::take(&mut self.heard_receipts)
    }

    /// What is held of a space; `None` where the space is not held.
    pub fn frontier(&self, space: SpaceId) -> Option<Frontier> {
        self.spaces.get(&space).map(Logs::frontier)
    }

    fn genesis(&self) -> Option<&Genesis> {
        self.members()?.genesis()
    }

    fn notice(&mut self, notice: Notice) {
        self.outputs.push_back(Output::Notice(notice));
    }
}
