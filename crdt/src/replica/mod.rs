//! The state machine of one site, without IO.
//!
//! The caller feeds [`Input`]s to [`Replica::handle`], ends a group of them with [`Replica::commit`], and then acts
//! on every [`Output`] before the next input. Contracts:
//!
//! - Nothing is acknowledged, answered or sent that is not durable: outputs about new entries appear after the
//!   `commit` in which [`Store::append`] returned, behind all others, and a change of members before all others.
//! - One `commit` is one append with one sync, whatever the number of inputs before it.
//! - A failed append leaves the replica as it was before the group; the writers get an error.
//! - An error of `handle` or `commit` ([`StoreError::Tables`], mostly) means that the tables can no longer be
//!   trusted: drop the replica, rebuild the tables, open a new one.
//!
//! A replica conducts parts. A part owns its data, reads the rest by a `context`, and never ends a group or calls another
//! part: what others have to do it returns. Files are by subject, so one file may extend several parts.
//!
//! - `realms`: the network and the private spaces that the site holds, who is in them, and what a decision of its own
//!   comes to. `admission`, `introduction`, `rounds`, `former_keys` and `spaces` change them.
//! - `batch`: what a group of inputs changes. `write`, `foreign`, `events` and `decide` make it of what this site wants,
//!   `arrival` and `accept` of entries of others, `foresight` finds out beforehand what these make of records. `seal` signs
//!   it, and `rows` is what the tables then show.
//! - `links`: what is under way between the site and connected members. `sync` asks, `serve` answers, `intake` takes the
//!   answers in, `gossip` and `receipts` spread news, `repair` recovers lost entries, `forks` proves double signing,
//!   `room` leaves out what others wrote while the disk has too little, `timers` says when each is due.
//! - `indexes`: what schemas declare.
//! - `outbox`: what is to be done about all that, in order.
//!
//! What goes in is in `input`, what comes out in `output`. `task` lists the steps that an input can take, `flow` does
//! them. `group` makes a group durable and visible, and makes groups of the journal when a replica opens or rebuilds.
//! `merge` takes bundles in, `status` says what is known.

mod batch;
mod context;
mod decision;
mod flow;
mod group;
mod indexes;
mod input;
mod links;
mod merge;
mod outbox;
mod output;
pub mod pace;
mod realms;
mod status;
mod task;

use std::collections::BTreeMap;

use crate::bundle::{Begin, MergePiece};
use crate::ids::{Author, Incarnation, RealmId, SiteId, SiteKey};
use crate::log::entry::PAYLOAD_FORMAT;
use crate::membership::{Genesis, Role, Ticket};
use crate::protocol::prepare::Prepared;
use crate::store::tables::logs::{self, Versions};
use crate::store::tables::row;
use crate::store::{Store, StoreError};

pub use batch::accept::Refusal;
pub use batch::foreign::DocumentMerge;
pub use batch::write::{WriteError, Written};
pub use decision::{Decision, DecisionError, SpaceDecision};
pub use group::Progress;
pub use input::{Input, LocalTransaction, RecordEdit};
pub use links::peer::Exchange;
pub use links::receipts::HeardReceipt;
pub use links::room::{RoomLeft, Taken};
pub use merge::{MergeError, Merged, MissingEntries};
pub use output::{Notice, Output, Validation};
pub use realms::admission::{InviteError, JoinError};
pub use realms::{HeldSpace, Realms};
pub use status::{Footprint, IndexStatus, RevokedSite, SiteStatus, SpaceStatus, Status};

use batch::Batch;
use context::Context;
use links::Links;
use links::intake::STEP_COST;
use merge::Merging;
use outbox::Outbox;
use task::{Task, Tasks};

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

/// How a replica is opened.
pub struct Opening<'a, S: Store> {
    /// The ticket that the site is to join with, if it has one.
    pub ticket: Option<Ticket>,
    /// The newest payload format that it applies, and the one that it writes: of a program of another time, in simulations
    /// of networks whose sites run different versions.
    pub payload_format: u8,
    /// Another replica of this process, which may know the same members: they are then shared instead of read and verified
    /// once more, in simulations of thousands of sites.
    pub beside: Option<&'a Replica<S>>,
}

impl<S: Store> Opening<'_, S> {
    /// By this program.
    pub fn with(ticket: Option<Ticket>) -> Self {
        Self { ticket, payload_format: PAYLOAD_FORMAT, beside: None }
    }
}

/// What came of each site in a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteNotes {
    /// The sites of which receipts were taken in.
    pub receipts: BTreeMap<SiteId, HeardReceipt>,
    /// The sites whose entries came to be held, this site among them.
    pub taken: BTreeMap<SiteId, Taken>,
}

/// One site's state machine.
pub struct Replica<S: Store> {
    store: S,
    identity: Identity,
    author: Author,
    /// The newest payload format that it applies, and the one that it writes.
    payload_format: u8,
    realms: Realms,
    batch: Batch,
    links: Links,
    outbox: Outbox,
    tasks: Tasks,
    /// The piece of a bundle that is being taken in.
    merging: Option<Merging>,
    now: Now,
}

impl<S: Store> Replica<S> {
    /// Opens the replica on what `store` holds and lets the tables catch up with the journal. Damaged journal frames are
    /// left out; see [`ReadJournal::damaged`](crate::store::ReadJournal::damaged).
    ///
    /// # Errors
    /// [`StoreError`] where the journal cannot be read or the tables cannot be written.
    pub fn open(
        store: S,
        identity: Identity,
        opening: Opening<'_, S>,
        now: Now,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, StoreError> {
        let Opening { ticket, payload_format, beside } = opening;
        let author = Author { site: identity.key.site(), incarnation: identity.incarnation };
        let mut replica = Self {
            store,
            author,
            payload_format,
            realms: Realms::new(author.site),
            batch: Batch::new(),
            links: Links::new(identity.seed),
            outbox: Outbox::default(),
            tasks: Tasks::default(),
            merging: None,
            now,
            identity,
        };
        let made_by: Option<Versions> = row(&replica.store, "versions row", logs::VERSIONS)?;
        if made_by.is_some_and(|versions| versions != group::versions(payload_format)) {
            replica.store.clear_tables()?;
        }
        replica.load(ticket, beside)?;
        replica.replay(progress)?;
        if replica.context().is_any_misnamed(&replica.batch)? {
            replica.rebuild(&mut |_| ())?;
        }
        let Self { links, store, realms, outbox, .. } = &mut replica;
        links.find_losses(store, realms, outbox)?;
        Ok(replica)
    }

    /// Takes in one input. Its durable consequences wait for [`Replica::commit`], which a large group calls itself.
    ///
    /// # Errors
    /// [`StoreError`] where the tables or the journal cannot be trusted any more.
    pub fn handle(&mut self, input: Input, now: Now) -> Result<(), StoreError> {
        self.now = now;
        let tasks = self.take(input)?;
        self.settle(tasks)
    }

    /// Whether what was taken in since the last commit is enough for one: more would let others wait too long.
    pub fn is_group_full(&self) -> bool {
        self.batch.stage.is_enough()
    }

    /// Begins to take in the entries of an answer, as [`Input::Prepared`] does at once. For a caller who has others to
    /// serve meanwhile: [`Replica::go_on_taking`] then does it in steps.
    pub fn begin_taking(&mut self, prepared: Prepared) {
        self.links.begin_taking(&mut self.outbox, prepared);
    }

    /// Whether the entries of answers are yet to be taken in.
    pub fn is_taking(&self) -> bool {
        self.links.is_taking()
    }

    /// Takes one step, of a few milliseconds. What it accepts waits for [`Replica::commit`], as inputs do.
    ///
    /// # Errors
    /// [`StoreError`] where the tables or the journal cannot be trusted any more.
    pub fn go_on_taking(&mut self, now: Now) -> Result<(), StoreError> {
        self.now = now;
        self.take_entries()
    }

    /// The next thing to do; `None` when all is done.
    pub fn output(&mut self) -> Option<Output> {
        let (links, cx, _, out) = self.parts();
        links.send_broadcasts(cx, out);
        self.outbox.pop()
    }

    /// Begins a network with this document. The caller commits.
    pub fn found(&mut self, genesis: Genesis) {
        self.batch.found(genesis);
    }

    /// A ticket for one new site. `secret` is a fresh random key pair, `expires_ms` in ms since 1970.
    ///
    /// # Errors
    /// [`InviteError`] where this site may not let others in.
    pub fn invite(
        &self,
        role: Role,
        expires_ms: i64,
        secret: SiteKey,
        addresses: Vec<String>,
    ) -> Result<Ticket, InviteError> {
        self.realms.invite(&self.identity.key, role, expires_ms, secret, addresses)
    }

    /// Whether this site could join with a ticket.
    ///
    /// # Errors
    /// [`JoinError`] says why not.
    pub fn may_join(&self, ticket: &Ticket, wall_ms: i64) -> Result<(), JoinError> {
        self.realms.may_join(ticket, wall_ms)
    }

    /// Takes one piece of a bundle in, and makes durable what it brings. `maker`: who made the bundle, by its own word.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Replica::handle`]; within, why the bundle cannot be merged.
    pub fn merge(
        &mut self,
        maker: SiteId,
        piece: MergePiece,
        now: Now,
    ) -> Result<Result<Merged, MergeError>, StoreError> {
        self.now = now;
        let is_end = matches!(piece, MergePiece::End(_));
        let (_, cx, batch, _) = self.parts();
        let (merging, tasks) = batch.begin_merging(cx, maker, piece);
        self.merging = Some(merging);
        self.settle(tasks)?;
        let mut merged = self.merging.take().map_or_else(|| Ok(Merged::default()), Merging::end);
        if merged.is_ok() {
            self.settle(vec![Task::Commit])?;
            if !self.tasks.is_durable() || self.links.is_unwritable() {
                merged = Err(MergeError::Unwritable);
            }
        }
        self.batch.forget_foresight();
        self.realms.joined_by_bundle(&mut self.outbox, maker);
        if is_end {
            self.issue_receipts_now(now)?;
        }
        Ok(merged)
    }

    /// Finds out what the first entry of a piece makes of its records, in one step. True: there is no more to find out,
    /// and [`Replica::merge`] is quick then, if the piece has no other.
    ///
    /// # Errors
    /// [`StoreError`] where the tables or the journal cannot be trusted any more.
    pub fn foresee_merge(&mut self, piece: &mut MergePiece, now: Now) -> Result<bool, StoreError> {
        self.now = now;
        let MergePiece::Entries(Prepared { entries: Ok(entries), .. }) = piece else {
            return Ok(true);
        };
        let Some(entry) = entries.first_mut() else { return Ok(true) };
        let mut budget = STEP_COST;
        self.foresee(entry, &mut budget)
    }

    /// What a bundle made here begins with; nothing where there is no network. It holds the private space with `realm`,
    /// and those that its receiver is in.
    pub fn begin_bundle(
        &self,
        receiver: Option<SiteId>,
        realm: Option<RealmId>,
        wall_ms: i64,
    ) -> Option<Begin> {
        self.context().begin_bundle(receiver, realm, wall_ms)
    }

    /// Pulls from a member now, if it is connected; what it lacks it then asks for itself. The caller commits.
    pub fn pull_now(&mut self, site: SiteId, now: Now) {
        self.now = now;
        let (links, cx, _, out) = self.parts();
        links.pull_all(cx, out, site);
    }

    /// Issues this site's receipt now, where what it holds has changed.
    ///
    /// # Errors
    /// [`StoreError`] where the tables cannot be written.
    pub fn issue_receipts_now(&mut self, now: Now) -> Result<(), StoreError> {
        self.now = now;
        self.links.timers.issue_receipts_at(now);
        self.issue_receipts()
    }

    /// When [`Input::Tick`] next has something to do, on the monotonic clock; an earlier one does nothing.
    pub fn due_ms(&self) -> u64 {
        if self.links.has_new_damage(&self.store) || self.is_building_indexes() {
            return 0;
        }
        let has_ticket = self.realms.has_ticket_to_present();
        let introduction = has_ticket.then_some(self.links.timers.introduce_ms);
        introduction.into_iter().fold(self.links.due_ms(), u64::min)
    }

    /// When [`Input::Tick`] is wanted to the millisecond, because something is to be said; `None`: when it comes.
    pub fn news_due_ms(&self) -> Option<u64> {
        self.links.news.due_ms()
    }

    /// Whether [`Input::Tick`] has more to do for indexes at once.
    pub fn is_building_indexes(&self) -> bool {
        self.batch.indexes.is_building(&self.store)
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

    /// The network and the private spaces that this site holds, and who is in them.
    pub fn realms(&self) -> &Realms {
        &self.realms
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        Status::of(self.context(), &self.batch, &self.links)
    }

    /// The private spaces that are held here, by name.
    pub fn spaces(&self) -> Vec<SpaceStatus> {
        self.realms.space_statuses(&|site| self.links.is_up(site))
    }

    /// What is held in memory now.
    pub fn footprint(&self) -> Footprint {
        Footprint::of(&self.batch, &self.links, &self.outbox)
    }

    /// What has passed between this site and each connected member.
    pub fn exchanges(&self) -> BTreeMap<SiteId, Exchange> {
        self.links.exchanges(self.context())
    }

    /// How many receipts were taken in since the start: one who waits for one asks again when this has grown.
    pub fn receipt_count(&self) -> u64 {
        self.links.heard.count
    }

    /// What came of other sites since this was last asked. The caller has the clocks to say since when a site is silent, and
    /// what came in a day.
    pub fn take_notes(&mut self) -> SiteNotes {
        SiteNotes { receipts: self.links.heard.take(), taken: self.links.take_taken() }
    }

    /// The links, what all parts may read, the batch, and where outputs go.
    fn parts(&mut self) -> (&mut Links, Context<'_, S>, &mut Batch, &mut Outbox) {
        let Self { store, realms, identity, author, payload_format, now, .. } = self;
        let cx = Context::new(store, realms, identity, *author, *payload_format, *now);
        (&mut self.links, cx, &mut self.batch, &mut self.outbox)
    }

    /// What all parts may read.
    fn context(&self) -> Context<'_, S> {
        let (store, realms, identity) = (&self.store, &self.realms, &self.identity);
        Context::new(store, realms, identity, self.author, self.payload_format, self.now)
    }
}
