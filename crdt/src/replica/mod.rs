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
//! A replica conducts parts that own what they work with, and work on nothing else:
//!
//! - `realms`: the network and the private spaces that the site holds, who is in them, and what a decision of its own
//!   comes to; `admission`, `administration`, `introduction`, `former_keys` and `spaces` change them.
//! - `batch`: what a group of inputs changes. `write`, `foreign` and `events` make it of local edits, `accept` of entries
//!   of others, `foresight` what these make of records, beforehand; `rows` is what the tables then show.
//! - `links`: what is under way between the site and connected members. `sync` asks, `serve` answers, `intake` takes the
//!   answers in, `gossip` and `receipts` spread what is new, `repair` and `forks` what went wrong, `timers` when.
//! - `indexes`: what schemas declare.
//! - `outbox`: what is to be done about all that, in order.
//!
//! What goes in is in `input`, what comes out in `output`. [`Replica::commit`] ends a group, `replay` opens a replica,
//! `merge` takes bundles in, `status` says what is known.

mod batch;
mod commit;
mod decision;
mod indexes;
mod input;
mod links;
mod merge;
mod outbox;
mod output;
pub mod pace;
mod realms;
mod replay;
mod status;

use std::collections::{BTreeMap, VecDeque};

use crate::ids::{Author, Incarnation, SiteId, SiteKey, SpaceId};
use crate::store::{Store, StoreError};

pub use batch::accept::Refusal;
pub use batch::foreign::DocumentMerge;
pub use batch::write::{WriteError, Written};
pub use decision::{Decision, DecisionError, SpaceDecision};
pub use input::{Input, LocalTransaction, RecordEdit};
pub use links::peer::Exchange;
pub use links::receipts::HeardReceipt;
pub use merge::{MergeError, MergePiece, Merged, MissingEntries};
pub use output::{Notice, Output, Validation};
pub use realms::admission::{InviteError, JoinError};
pub use realms::{HeldSpace, Realms};
pub use replay::Progress;
pub use status::{Footprint, IndexStatus, RevokedSite, SiteStatus, SpaceStatus, Status};

use batch::{Batch, Context};
use links::Links;
use links::intake::Taking;
use outbox::Outbox;

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

/// One site's state machine.
pub struct Replica<S: Store> {
    store: S,
    identity: Identity,
    author: Author,
    /// The newest payload format that it applies, and the one that it writes.
    payload_format: u8,
    realms: Realms,
    batch: Batch,
    /// Answers whose entries are being taken in.
    taking: VecDeque<Taking>,
    links: Links,
    receipt_count: u64,
    /// See [`Replica::heard_receipts`].
    heard_receipts: BTreeMap<SiteId, HeardReceipt>,
    outbox: Outbox,
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
        if self.batch.stage.is_large() {
            self.commit()?;
        }
        Ok(())
    }

    /// Whether what was taken in since the last commit is enough for one: more would let others wait too long.
    pub fn is_group_full(&self) -> bool {
        self.batch.stage.is_enough()
    }

    fn take(&mut self, input: Input) -> Result<(), StoreError> {
        match input {
            Input::Write { id, space, transactions } => {
                let (batch, cx, _) = self.parts();
                batch.write(cx, id, space, transactions)
            }
            Input::MergeDocument { id, space, merge } => {
                let (batch, cx, _) = self.parts();
                batch.merge_document(cx, id, space, *merge)
            }
            Input::PeerUp(site) => self.peer_up(site),
            Input::PeerDown(site) => {
                self.links.peers.remove(&site);
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
        let (links, cx, _, out) = self.sync();
        links.tell_news(cx, out);
        self.outbox.pop()
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

    /// How many receipts were taken in since the start: whoever waits for one asks again when this has grown.
    pub fn receipt_count(&self) -> u64 {
        self.receipt_count
    }

    /// The sites of which receipts were taken in since this was last asked. The caller has the clocks to say since when a
    /// site is silent.
    pub fn heard_receipts(&mut self) -> BTreeMap<SiteId, HeardReceipt> {
        std::mem::take(&mut self.heard_receipts)
    }

    /// The batch, with what it is judged by and where it says what the operator should read.
    fn parts(&mut self) -> (&mut Batch, Context<'_, S>, &mut Outbox) {
        let (_, cx, batch, outbox) = self.sync();
        (batch, cx, outbox)
    }

    /// The links, with what they are served from and where it goes.
    fn sync(&mut self) -> (&mut Links, Context<'_, S>, &mut Batch, &mut Outbox) {
        let Self { store, realms, identity, author, payload_format, now, .. } = self;
        let cx = Context::new(store, realms, identity, *author, *payload_format, *now);
        (&mut self.links, cx, &mut self.batch, &mut self.outbox)
    }

    /// Pulls a space from a connected member that shares it, now or after the pull under way.
    fn pull(&mut self, from: SiteId, space: SpaceId) {
        let (links, cx, _, out) = self.sync();
        links.pull(cx, out, from, space);
    }

    /// Asks and tells a member what waits for the end of other requests.
    fn go_on_with(&mut self, with: SiteId) {
        let (links, cx, _, out) = self.sync();
        links.go_on_with(cx, out, with);
    }

    /// Presents the ticket, if this site still needs to.
    fn present_ticket(&mut self) -> Result<(), StoreError> {
        let (links, cx, _, out) = self.sync();
        links.present_ticket(cx, out)
    }

    /// What a batch is judged by.
    fn context(&self) -> Context<'_, S> {
        let (store, realms, identity) = (&self.store, &self.realms, &self.identity);
        Context::new(store, realms, identity, self.author, self.payload_format, self.now)
    }
}
