//! The one thread that drives the replica: messages in, groups of them committed together, outputs acted upon.
//!
//! `events`: what the network tells; `actions`: what the replica wants done; `prepare`: what other threads do for it;
//! `intake`: what takes many turns; `room`: whether the disk has any for others; `measure`: what is noted of all this;
//! `others`: and of the other sites; `tickets`: letting a site in.

mod actions;
mod events;
mod intake;
mod measure;
mod others;
pub(crate) mod prepare;
mod room;
mod tickets;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_crdt::Replica;
use branchline_crdt::bundle::{Begin, MergePiece};
use branchline_crdt::ids::{RealmId, SiteId, SpaceId};
use branchline_crdt::inspect::verify::{VerifyReport, verify};
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::membership::{Role, Ticket};
use branchline_crdt::protocol::prepare::{Job, Prepared};
use branchline_crdt::replica::pace::{GROUP_INPUTS_MAX, TICK_MS};
use branchline_crdt::replica::{
    Decision, DecisionError, DocumentMerge, Exchange, Input, LocalTransaction, MergeError, Merged,
    Now, SpaceStatus, Status, WriteError, Written,
};
use branchline_crdt::store::StoreError;
use libp2p::gossipsub::MessageId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tracing::{error, info, warn};

use crate::clock::wall_ms;
use crate::handle::{Known, NoTicket, NotJoined, Stopped};
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;
use crate::network::{Event, IntroductionToken, NetworkHandle, ResponseToken};
use crate::peers::added::Added;
use crate::peers::heard::Heard;
use crate::peers::others::Others;
use crate::site::{ADDED_FILE, HEARD_FILE, SiteFolder};
use crate::storage::Storage;
use crate::storage::reserve::Reserve;

use intake::Intake;
use measure::PullsInFlight;
pub(crate) use measure::{Measured, Passed};
pub(crate) use others::Seen;

/// Messages that wait for the replica. Writers wait for room, the network stops reading from peers.
pub(crate) const QUEUE_MAX: usize = 1024;
/// How often the replica gets to know the time.
pub(crate) const TICK: Duration = Duration::from_millis(TICK_MS);
/// How often the tables are rebuilt without [`REBUILD_RESET_AFTER`] in between; then the fault is not in them.
const REBUILDS_MAX: u32 = 3;
/// After this long without a failure of the tables, the next one counts as the first.
const REBUILD_RESET_AFTER: Duration = Duration::from_secs(600);
/// The answer to a write.
type WriteReply = oneshot::Sender<Result<Vec<Result<Written, WriteError>>, Stopped>>;

/// What the thread is asked.
pub(crate) enum Message {
    Write {
        /// The space of records that they are for; `None`: `main`.
        space: Option<SpaceId>,
        transactions: Vec<LocalTransaction>,
        arrived: Instant,
        reply: WriteReply,
    },
    /// Takes a document in; answered as a write of one transaction.
    MergeDocument {
        /// The space of records that it is for; `None`: `main`.
        space: Option<SpaceId>,
        merge: Box<DocumentMerge>,
        arrived: Instant,
        reply: WriteReply,
    },
    /// Answers, and does nothing else.
    Ping(oneshot::Sender<()>),
    Status(oneshot::Sender<Status>),
    /// To be called with the driver, between two messages: it takes no more than moments.
    Look(Box<dyn FnOnce(&Driver) + Send>),
    /// For those who watch the node.
    Measure(oneshot::Sender<Measured>),
    /// The private spaces that are held.
    Spaces(oneshot::Sender<Vec<SpaceStatus>>),
    /// Which other sites hold an entry durably.
    Holders {
        space: SpaceId,
        entry: EntryId,
        reply: oneshot::Sender<BTreeMap<SiteId, Option<bool>>>,
    },
    Invite {
        role: Role,
        lifetime: Duration,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<Result<Ticket, NoTicket>>,
    },
    Join {
        ticket: Box<Ticket>,
        reply: oneshot::Sender<Result<(), NotJoined>>,
    },
    Decide {
        decision: Decision,
        reply: oneshot::Sender<Result<(), DecisionError>>,
    },
    Verify(oneshot::Sender<Result<VerifyReport, StoreError>>),
    Rebuild(oneshot::Sender<Result<u64, StoreError>>),
    /// Issues this site's receipt, and says what a bundle begins with; nothing where there is no network.
    BeginBundle {
        receiver: Option<SiteId>,
        realm: Option<RealmId>,
        reply: oneshot::Sender<Option<Begin>>,
    },
    /// What has passed between this site and each connected member.
    Exchanges(oneshot::Sender<BTreeMap<SiteId, Exchange>>),
    /// Pulls from a member now, if it is connected.
    PullNow {
        site: SiteId,
        reply: oneshot::Sender<()>,
    },
    Merge {
        maker: SiteId,
        piece: Box<MergePiece>,
        reply: oneshot::Sender<Result<Merged, MergeError>>,
    },
    /// Keeps so much room for own writes, in MiB; `None`: what suits the disk.
    KeepRoom(Option<u64>),
    Network(Event),
    /// With room for another, once it is taken in.
    Prepared(Prepared, Option<OwnedSemaphorePermit>),
    /// Nobody has anything to say: what takes many turns goes on.
    GoOn,
    Tick,
    Stop,
}

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Network(event)
    }
}

/// Everything that the thread owns.
pub(crate) struct Driver {
    replica: Replica<Storage>,
    network: Option<NetworkHandle>,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    intake: Intake,
    folder: SiteFolder,
    known: Arc<watch::Sender<Known>>,
    metrics: Arc<Metrics>,
    /// How many receipts were taken in.
    receipts: watch::Sender<u64>,
    /// When the next tick is wanted, if sooner than it comes.
    tick_wanted: watch::Sender<Option<Instant>>,
    external: Vec<Multiaddr>,
    started: Instant,
    count: u64,
    /// With when they arrived.
    writes: BTreeMap<u64, (Instant, WriteReply)>,
    decisions: BTreeMap<u64, oneshot::Sender<Result<(), DecisionError>>>,
    requests: BTreeMap<u64, ResponseToken>,
    introductions: BTreeMap<u64, IntroductionToken>,
    gossip: BTreeMap<u64, (MessageId, PeerId)>,
    /// The connected members: the way from a key to a peer id is long.
    connected: BTreeMap<SiteId, PeerId>,
    pulls: PullsInFlight,
    /// By member, over all links since the start but for what the one that lasts has counted.
    passed: BTreeMap<SiteId, Passed>,
    others: Others,
    added: Added,
    /// Whether a ticket may lie in the folder: until this site is a member.
    keeps_ticket: bool,
    log_limit: LogLimit,
    reserve: Reserve,
    /// When the disk was last looked at.
    looked: Option<Instant>,
    /// How often the tables were rebuilt, and when last.
    rebuilds: u32,
    rebuilt: Option<Instant>,
}

/// Whether the thread goes on.
enum Flow {
    On,
    Stop,
}

impl Driver {
    pub(crate) fn new(
        replica: Replica<Storage>,
        folder: SiteFolder,
        known: Arc<watch::Sender<Known>>,
        metrics: Arc<Metrics>,
        external: Vec<Multiaddr>,
        reserve: Reserve,
        started: Instant,
    ) -> Self {
        let heard = folder.path().join(HEARD_FILE);
        let others = Others::new(Heard::load(&heard, Self::now(started)));
        let added = Added::load(&folder.path().join(ADDED_FILE), Self::now(started));
        Self {
            replica,
            network: None,
            jobs: None,
            intake: Intake::default(),
            folder,
            known,
            metrics,
            receipts: watch::Sender::new(0),
            tick_wanted: watch::Sender::new(None),
            external,
            started,
            count: 0,
            writes: BTreeMap::new(),
            decisions: BTreeMap::new(),
            requests: BTreeMap::new(),
            introductions: BTreeMap::new(),
            gossip: BTreeMap::new(),
            connected: BTreeMap::new(),
            pulls: PullsInFlight::default(),
            passed: BTreeMap::new(),
            others,
            added,
            keeps_ticket: true,
            log_limit: LogLimit::new(started),
            reserve,
            looked: None,
            rebuilds: 0,
            rebuilt: None,
        }
    }

    /// Changes whenever receipts were taken in.
    pub(crate) fn receipts(&self) -> watch::Receiver<u64> {
        self.receipts.subscribe()
    }

    /// Says when a tick is wanted sooner than it comes.
    pub(crate) fn tick_wanted(&self) -> watch::Receiver<Option<Instant>> {
        self.tick_wanted.subscribe()
    }

    /// The moment, as a replica that was opened at `started` wants it stated.
    pub(crate) fn now(started: Instant) -> Now {
        let monotonic_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { wall_ms: wall_ms(), monotonic_ms }
    }

    /// Runs until it is stopped, or the storage is beyond repair.
    pub(crate) fn run(
        mut self,
        network: Option<(NetworkHandle, mpsc::UnboundedSender<Job>)>,
        mut messages: mpsc::Receiver<Message>,
    ) {
        (self.network, self.jobs) = network.unzip();
        self.act();
        while let Some(message) = self.next(&mut messages) {
            let mut flow = Flow::On;
            if let Err(error) = self.turn(message, &mut messages, &mut flow)
                && let Err(error) = self.recover(&error)
            {
                error!(%error, "the storage is beyond repair, the node stops");
                self.known.send_modify(|known| known.failed = Some(error.to_string()));
                flow = Flow::Stop;
            }
            // Also before the end: what the last group made durable is answered.
            self.act();
            match flow {
                Flow::On => {}
                Flow::Stop => break,
            }
        }
        let heard = self.folder.path().join(HEARD_FILE);
        let members = others::member_sites(&self.replica);
        let now = Self::now(self.started);
        self.others.heard.close(heard, &members, now);
        self.added.close(self.folder.path().join(ADDED_FILE), now);
        if let Err(error) = self.replica.into_store().close() {
            warn!(%error, "the tables were not written out, the next start replays more");
        }
    }

    /// The next message. While nobody has one, the time is for what takes many turns, and for indexes that are being
    /// built, one step at a time.
    fn next(&self, messages: &mut mpsc::Receiver<Message>) -> Option<Message> {
        match messages.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Empty) if self.has_intake() => Some(Message::GoOn),
            Err(TryRecvError::Empty) if self.replica.is_building_indexes() => Some(Message::Tick),
            Err(TryRecvError::Empty) => messages.blocking_recv(),
            Err(TryRecvError::Disconnected) => None,
        }
    }

    /// Takes in a group of messages, and then one step of what takes many: neither waits for the other's end.
    fn turn(
        &mut self,
        first: Message,
        messages: &mut mpsc::Receiver<Message>,
        flow: &mut Flow,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        self.look_at_room()?;
        if !matches!(first, Message::GoOn) {
            self.group(first, messages, flow)?;
            self.act();
        }
        self.note_turn(started);
        if self.has_intake() {
            let started = Instant::now();
            self.go_on(messages)?;
            self.note_turn(started);
        }
        Ok(())
    }

    /// Takes in `first` and what waits behind it up to a stop, and commits once.
    fn group(
        &mut self,
        first: Message,
        messages: &mut mpsc::Receiver<Message>,
        flow: &mut Flow,
    ) -> Result<(), StoreError> {
        *flow = self.take(first)?;
        for _ in 1..GROUP_INPUTS_MAX {
            match flow {
                Flow::On if !self.replica.is_group_full() => {}
                Flow::On | Flow::Stop => break,
            }
            let Ok(message) = messages.try_recv() else { break };
            *flow = self.take(message)?;
        }
        self.replica.commit()?;
        self.note_group();
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<Flow, StoreError> {
        match message {
            Message::Write { space, transactions, arrived, reply } => {
                let id = self.number();
                self.writes.insert(id, (arrived, reply));
                self.feed(Input::Write { id, space, transactions })?;
            }
            Message::MergeDocument { space, merge, arrived, reply } => {
                let id = self.number();
                self.writes.insert(id, (arrived, reply));
                self.feed(Input::MergeDocument { id, space, merge })?;
            }
            Message::Status(reply) => {
                // Nobody may be waiting any more; that is no fault. The same holds for all replies.
                let _ = reply.send(self.replica.status());
            }
            Message::Ping(reply) => {
                let _ = reply.send(());
            }
            Message::Look(look) => look(self),
            Message::Measure(reply) => {
                let _ = reply.send(self.measure());
            }
            Message::Spaces(reply) => {
                let _ = reply.send(self.replica.spaces());
            }
            Message::Holders { space, entry, reply } => {
                let _ = reply.send(self.replica.realms().holders(space, entry));
            }
            Message::Invite { role, lifetime, addresses, reply } => {
                let _ = reply.send(self.invite(role, lifetime, addresses));
            }
            Message::Join { ticket, reply } => {
                let joined = self.join(&ticket);
                let is_kept = joined.is_ok();
                let _ = reply.send(joined);
                if is_kept {
                    self.keeps_ticket = true;
                    self.others.joining_ends();
                    self.feed(Input::Join(ticket))?;
                }
            }
            Message::Decide { decision, reply } => {
                let id = self.number();
                self.decisions.insert(id, reply);
                self.feed(Input::Decide { id, decision })?;
            }
            Message::Verify(reply) => {
                self.replica.commit()?;
                let report = verify(self.replica.store(), &self.replica.realms().spaces());
                let _ = reply.send(report);
            }
            Message::Rebuild(reply) => {
                self.replica.commit()?;
                let entries = self.rebuild()?;
                let _ = reply.send(Ok(entries));
            }
            Message::BeginBundle { receiver, realm, reply } => {
                self.replica.commit()?;
                self.replica.issue_receipts_now(Self::now(self.started))?;
                let _ = reply.send(self.replica.begin_bundle(receiver, realm, wall_ms()));
            }
            Message::Exchanges(reply) => {
                let _ = reply.send(self.replica.exchanges());
            }
            Message::PullNow { site, reply } => {
                self.replica.pull_now(site, Self::now(self.started));
                let _ = reply.send(());
            }
            Message::Merge { maker, piece, reply } => self.intake.add_piece(maker, piece, reply),
            Message::KeepRoom(wanted_mib) => self.keep_room(wanted_mib)?,
            Message::Network(event) => self.take_event(event)?,
            Message::Prepared(prepared, room) => self.intake.add_answer(prepared, room),
            Message::GoOn => {}
            Message::Tick => {
                for (about, lines) in self.log_limit.left_out(Instant::now()) {
                    warn!(%about, lines, "further lines were left out");
                }
                self.feed(Input::Tick)?;
                self.tick_others();
            }
            Message::Stop => return Ok(Flow::Stop),
        }
        Ok(Flow::On)
    }

    fn feed(&mut self, input: Input) -> Result<(), StoreError> {
        self.replica.handle(input, Self::now(self.started))
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Rebuilds the tables; says from how many entries.
    fn rebuild(&mut self) -> Result<u64, StoreError> {
        let mut entries = 0;
        self.replica.rebuild(&mut |progress| entries = progress.entries)?;
        let author = self.replica.author();
        self.known.send_modify(|known| known.author = Some(author));
        self.metrics.tables_rebuilt.inc();
        Ok(entries)
    }

    /// The tables failed: rebuilds them from the journal.
    fn recover(&mut self, error: &StoreError) -> Result<(), StoreError> {
        error!(%error, "the storage failed; rebuilding the tables from the journal");
        // What was made durable before is answered as such.
        self.act();
        for (_, reply) in std::mem::take(&mut self.writes).into_values() {
            let reason = format!(
                "the storage failed during this write ({error}); read whether it was kept before writing it again"
            );
            let _ = reply.send(Err(Stopped { reason: Some(reason) }));
        }
        // Anyone who waits for a decision, or a merge, hears that the node failed.
        self.decisions.clear();
        self.intake.drop_pieces();
        if self.rebuilt.is_none_or(|at| at.elapsed() > REBUILD_RESET_AFTER) {
            self.rebuilds = 0;
        }
        if self.rebuilds == REBUILDS_MAX {
            let reason = format!("rebuilt {REBUILDS_MAX} times, they fail again: {error}");
            return Err(StoreError::Tables { reason });
        }
        let entries = self.rebuild()?;
        self.rebuilds += 1;
        self.rebuilt = Some(Instant::now());
        info!(entries, "the tables are rebuilt");
        Ok(())
    }
}
