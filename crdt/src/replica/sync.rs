//! Pulling: "here is what I hold, send what I lack", the asking side; `serve` is the other.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::accept::{Acceptance, Origin};
use super::peer::{Asked, Peer, PullState, Request as Sent};
use super::realms::SharedDigest;
use super::stage::After;
use super::{Exchange, Notice, Now, Output, Replica};
use crate::codec;
use crate::frontier::{Known, Parts};
use crate::ids::{Author, SiteId, SpaceId};
use crate::prepare::{Job, PreparedEntry};
use crate::protocol::{Answer, Have, Outcome, PULL_BYTES, Pull, Request};
use crate::store::{Store, StoreError};

/// A random peer is pulled from this often; jitter adds up to half of it. Gossip makes most of these find nothing.
const PULL_INTERVAL_MS: u64 = 10_000;
/// Bytes of entries asked for while nothing can be written: one entry shows whether that has changed.
const TRIAL_BYTES: u32 = 1;
/// A pull that brought nothing although something was announced is repeated after this long.
const RETRY_MS: u64 = 1_000;

/// When the next regular things are due, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timers {
    /// A pull from a random peer.
    pull_ms: u64,
    /// A new receipt of this site.
    pub(super) receipt_ms: Option<u64>,
    /// Another attempt to present this site.
    pub(super) introduce_ms: u64,
}

/// The replica's randomness.
#[derive(Debug)]
pub(super) struct Random(SmallRng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    /// Eight bytes.
    pub(super) fn bytes(&mut self) -> [u8; 8] {
        self.0.random()
    }

    /// A number in `0..end`; 0 where the range is empty.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.random_range(0..end) }
    }
}

impl<S: Store> Replica<S> {
    /// A member is connected: pull the members first, for without them entries of new sites are refused.
    pub(super) fn peer_up(&mut self, site: SiteId) -> Result<(), StoreError> {
        self.peers.insert(site, Peer::default());
        self.pull_all(site);
        Ok(())
    }

    /// Pulls from a member now, if it is connected; whatever it lacks it then asks for itself. The caller commits.
    pub fn pull_now(&mut self, site: SiteId, now: Now) {
        self.now = now;
        self.pull_all(site);
    }

    /// What has passed between this site and each connected member.
    pub fn exchanges(&self) -> BTreeMap<SiteId, Exchange> {
        let roots = self.realms.open().into_iter();
        let held: Vec<_> =
            roots.flat_map(|realm| [realm.membership_space(), realm.main_space()]).collect();
        let exchange = |(site, peer): (&SiteId, &Peer)| {
            let spaces =
                held.iter().copied().filter(|space| self.realms.shares(*site, *space)).collect();
            (*site, Exchange { spaces, ..peer.exchange.clone() })
        };
        self.peers.iter().map(exchange).collect()
    }

    pub(super) fn exchange(&mut self, with: SiteId, change: impl FnOnce(&mut Exchange)) {
        if let Some(peer) = self.peers.get_mut(&with) {
            change(&mut peer.exchange);
        }
    }

    /// Notes that a member was sent entries, and whether they were the last.
    pub(super) fn note_pushed(&mut self, to: SiteId, space: SpaceId, entries: u64, is_last: bool) {
        self.exchange(to, |exchange| {
            exchange.pushed += entries;
            *exchange.pushes_ended.entry(space).or_insert(0) += u64::from(is_last);
        });
    }

    fn pull_all(&mut self, from: SiteId) {
        for realm in self.realms.joined() {
            self.pull(from, realm.membership_space());
            self.pull(from, realm.main_space());
        }
    }

    /// Pulls a space from a connected member that shares it, now or after the pull under way.
    pub(super) fn pull(&mut self, from: SiteId, space: SpaceId) {
        if !self.realms.shares(from, space) {
            return;
        }
        let Some(logs) = self.realms.logs(space) else { return };
        let digest = Have::Digest(logs.digest());
        let lost = self.losses.of_space(space);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.is_full() {
            peer.waiting.insert(space);
            return;
        }
        let state = peer.pulls.entry(space).or_default();
        let due = state.lost_ms.is_none_or(|at| at + PULL_INTERVAL_MS <= self.now.monotonic_ms);
        if !lost.is_empty() && due && !state.is_busy() {
            state.lost_ms = Some(self.now.monotonic_ms);
            self.send_pull(from, space, Have::Lost(lost));
        } else {
            self.send_pull(from, space, digest);
        }
    }

    /// Goes on pulling what a digest has shown, or an answer has left.
    pub(super) fn pull_more(&mut self, from: SiteId, space: SpaceId) -> Result<(), StoreError> {
        let state = self.peers.get(&from).and_then(|peer| peer.pulls.get(&space));
        let parts = state.and_then(|state| state.parts.clone());
        let checked = state.map(|state| state.checked.clone()).unwrap_or_default();
        let Some(logs) = self.realms.logs(space) else { return Ok(()) };
        let mut known = logs.known(parts.as_ref());
        let held = known.iter().map(|item| (item.author, item.seq)).collect();
        for item in &mut known {
            if let Some(seq) = checked.get(&item.author)
                && let Some(hash) =
                    self.batch.held_hash(self.context(), space, item.author, *seq)?
            {
                *item = Known { seq: *seq, check: hash.short(), ..item.clone() };
            }
        }
        self.send_pull_of(from, space, Have::Frontier { parts, known }, held);
        Ok(())
    }

    /// Pulls what comes behind the answers under way, if there is room for one more.
    pub(super) fn pull_ahead(&mut self, from: SiteId, space: SpaceId) {
        let Some(logs) = self.realms.logs(space) else { return };
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return };
        let Some(assumed) = state.go_on() else { return };
        let parts = state.parts.clone();
        let held = logs.known(parts.as_ref()).into_iter().map(|known| (known.author, known));
        let mut known: BTreeMap<Author, Known> = held.collect();
        for (author, item) in assumed {
            let behind = known.get(&author).is_none_or(|known| known.seq < item.seq);
            if behind {
                known.insert(author, item);
            }
        }
        let held = known.values().map(|item| (item.author, item.seq)).collect();
        let known = known.into_values().collect();
        self.ask(from, space, Have::Frontier { parts, known }, held);
    }

    /// Pulls the parts of the frontier in which the answerer's digests differ; without any, all of it.
    fn pull_parts(
        &mut self,
        from: SiteId,
        space: SpaceId,
        digests: &[[u8; 8]],
    ) -> Result<(), StoreError> {
        let logs = self.realms.logs(space);
        let parts = logs.and_then(|logs| Parts::differing(&logs.frontier(), digests));
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        if let Some(state) = state {
            state.parts = parts;
            state.checked.clear();
        }
        self.pull_more(from, space)
    }

    fn send_pull(&mut self, from: SiteId, space: SpaceId, have: Have) {
        self.send_pull_of(from, space, have, BTreeMap::new());
    }

    /// Asks now, or later if anything is under way.
    fn send_pull_of(
        &mut self,
        from: SiteId,
        space: SpaceId,
        have: Have,
        held: BTreeMap<Author, u64>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let state = peer.pulls.entry(space).or_default();
        if state.is_busy() {
            state.again = true;
        } else {
            state.again = false;
            self.ask(from, space, have, held);
        }
    }

    fn ask(&mut self, from: SiteId, space: SpaceId, have: Have, held: BTreeMap<Author, u64>) {
        if !self.realms.shares(from, space) {
            return;
        }
        let receipts = self.receipts_digest(space);
        let is_of_members =
            self.realms.network().is_some_and(|network| network.membership_space() == space);
        let shared =
            if is_of_members { self.realms.shared_digest(from) } else { SharedDigest::default() };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let state = peer.pulls.entry(space).or_default();
        self.request_count += 1;
        let id = self.request_count;
        let asked = match have {
            Have::Digest(_) => Asked::News,
            Have::Frontier { .. } => Asked::Entries,
            Have::Lost(_) => Asked::Lost,
        };
        state.in_flight = Some(Sent { id, asked, held });
        state.sent_ms = self.now.monotonic_ms;
        state.retry_ms = None;
        let bytes_max = if self.is_unwritable { TRIAL_BYTES } else { PULL_BYTES };
        let pull = Request::Pull(Pull { space, have, receipts, shared, bytes_max });
        self.outbox.push(Output::Request { to: from, id, body: codec::encode(&pull) });
    }

    /// Pulls what another site has shown to hold; at once, unless a pull has only just failed to bring it.
    pub(super) fn pull_back(
        &mut self,
        from: SiteId,
        space: SpaceId,
        parts: Option<&Parts>,
    ) -> Result<(), StoreError> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let state = peer.pulls.entry(space).or_default();
        let is_recent = state.sent_ms != 0 && state.sent_ms + RETRY_MS > self.now.monotonic_ms;
        if is_recent {
            self.retry_pull(from, space);
            return Ok(());
        }
        if !state.is_busy() {
            state.parts = parts.cloned();
        }
        self.pull_more(from, space)
    }

    /// Takes in the answer to a pull.
    pub(super) fn take_answer(
        &mut self,
        from: SiteId,
        id: u64,
        body: &[u8],
    ) -> Result<(), StoreError> {
        if self.told(from, id) {
            self.go_on_with(from);
            return Ok(());
        }
        let Some((space, request)) = self.end_pull(from, id) else { return Ok(()) };
        self.batch.stage.after.push(After::GoOn { with: from });
        let asked = request.asked;
        let answer: Answer = match codec::decode("answer to a pull", body) {
            Ok(answer) => answer,
            Err(error) => {
                self.outbox.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(());
            }
        };
        self.take_receipts(answer.receipts);
        for fork in answer.forks {
            self.take_fork(space, fork)?;
        }
        self.take_invitations(from, answer.invitations)?;
        match answer.outcome {
            Outcome::Entries { packed, .. } if asked == Asked::Lost => {
                self.take_lost(from, &packed)?;
                self.pull(from, space);
            }
            Outcome::Entries { packed, until } => {
                self.let_prepare(from, space, request, packed, until);
            }
            Outcome::TellFrontier(parts) if asked == Asked::News => {
                self.pull_parts(from, space, &parts)?;
            }
            Outcome::TellFrontier(_) => {}
            Outcome::Revoked(revocation) => {
                if let Some(realm) = self.realms.realm_of(space) {
                    self.take_revocation(from, realm, &revocation)?;
                }
            }
            Outcome::InStep | Outcome::UnknownSpace => {
                self.exchange(from, |exchange| *exchange.in_step.entry(space).or_insert(0) += 1);
                self.pull_again_if_asked(from, space);
            }
        }
        Ok(())
    }

    /// Has the entries of an answer prepared, and asks for what comes behind them meanwhile.
    fn let_prepare(
        &mut self,
        from: SiteId,
        space: SpaceId,
        request: Sent,
        packed: Vec<u8>,
        until: Vec<Known>,
    ) {
        let logs = self.realms.logs(space);
        let staged = &self.batch.stage.logs;
        let held = |author: &Author| {
            let row = staged.get(&(space, *author));
            let row = row.or_else(|| logs.and_then(|logs| logs.rows.get(author)));
            row.map_or(0, |row| row.seq)
        };
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return };
        let id = request.id;
        state.answered(request, until, held);
        if self.is_unwritable {
            state.halt();
        }
        self.pull_ahead(from, space);
        self.outbox.push(Output::Prepare(Job { from, id, packed }));
    }

    /// Takes in one entry that a peer sent, and says how it was judged.
    pub(super) fn take_entry(
        &mut self,
        from: SiteId,
        prepared: PreparedEntry,
        by_gossip: bool,
    ) -> Result<Acceptance, StoreError> {
        let origin = Origin::Peer { by_gossip };
        let (batch, cx, _) = self.parts();
        let mut against = batch.judge_header(cx, &prepared, origin)?;
        if let Some(Acceptance::Fork { .. }) = against {
            self.found_fork(&prepared.entry)?;
            // It may be the one that stands.
            let (batch, cx, _) = self.parts();
            against = batch.judge_header(cx, &prepared, origin)?;
        }
        let acceptance = match against {
            Some(acceptance) => acceptance,
            None => self.judge_content(prepared, origin)?,
        };
        if let Acceptance::Refused(refusal) = &acceptance {
            self.outbox.notice(Notice::Refused { from, reason: refusal.to_string() });
        }
        Ok(acceptance)
    }

    /// A request was not answered: try again later, or present this site if it is not known there.
    pub(super) fn pull_failed(
        &mut self,
        to: SiteId,
        id: u64,
        unsupported: bool,
    ) -> Result<(), StoreError> {
        if !self.told(to, id)
            && let Some((space, _)) = self.end_pull(to, id)
        {
            self.retry_pull(to, space);
        }
        self.go_on_with(to);
        if unsupported { self.introduce_to(to) } else { Ok(()) }
    }

    /// Pulls again in a while, where something is known to be missing.
    pub(super) fn retry_pull(&mut self, from: SiteId, space: SpaceId) {
        let at = self.now.monotonic_ms + RETRY_MS + self.random.below(RETRY_MS / 2);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.pulls.entry(space).or_default().retry_ms = Some(at);
        }
    }

    /// The request that has ended, and its space.
    fn end_pull(&mut self, from: SiteId, id: u64) -> Option<(SpaceId, Sent)> {
        let peer = self.peers.get_mut(&from)?;
        peer.pulls.iter_mut().find_map(|(space, state)| {
            let request = state.in_flight.take_if(|request| request.id == id)?;
            Some((*space, request))
        })
    }

    /// Asks and tells a member what waits for the end of other requests.
    pub(super) fn go_on_with(&mut self, with: SiteId) {
        while let Some(peer) = self.peers.get_mut(&with).filter(|peer| !peer.is_full()) {
            let mut told = peer.told.iter_mut();
            let next = told.find_map(|(space, told)| match told.in_flight {
                None => Some((*space, told.next.take()?)),
                Some(_) => None,
            });
            if let Some((space, gossip)) = next {
                self.inform_site(with, space, gossip);
            } else if let Some(space) = peer.waiting.pop_first() {
                self.pull(with, space);
            } else {
                return;
            }
        }
    }

    pub(super) fn pull_again_if_asked(&mut self, from: SiteId, space: SpaceId) {
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        if let Some(state) = state.filter(|state| state.again) {
            state.again = false;
            self.batch.stage.after.push(After::Pull { from, space });
        }
    }

    /// When [`Input::Tick`](super::Input::Tick) next has something to do, on the monotonic clock; an earlier one does
    /// nothing. Everything in `tick` has its time here.
    pub fn due_ms(&self) -> u64 {
        if self.has_new_damage() || self.is_building_indexes() {
            return 0;
        }
        let pulls = self.peers.values().flat_map(|peer| peer.pulls.values());
        let retries = pulls.filter(|state| !state.is_busy()).filter_map(|state| state.retry_ms);
        let introduction = self.realms.has_ticket_to_present().then_some(self.timers.introduce_ms);
        let others = retries.chain(self.timers.receipt_ms).chain(introduction);
        others.fold(self.timers.pull_ms, u64::min)
    }

    /// What is due by now.
    pub(super) fn tick(&mut self) -> Result<(), StoreError> {
        self.forget_recent();
        let now = self.now.monotonic_ms;
        let due =
            |state: &PullState| !state.is_busy() && state.retry_ms.is_some_and(|at| at <= now);
        let retries: Vec<_> = self
            .peers
            .iter()
            .flat_map(|(site, peer)| peer.pulls.iter().map(|(space, state)| (*site, *space, state)))
            .filter(|(_, _, state)| due(state))
            .map(|(site, space, _)| (site, space))
            .collect();
        for (site, space) in retries {
            self.pull(site, space);
        }
        if self.timers.pull_ms <= now {
            self.timers.pull_ms = now + PULL_INTERVAL_MS + self.random.below(PULL_INTERVAL_MS / 2);
            let chosen = self.random.below(self.peers.len() as u64) as usize;
            if let Some(site) = self.peers.keys().nth(chosen).copied() {
                self.pull_all(site);
            }
            self.follow_revocations();
        }
        self.find_losses()?;
        self.issue_receipts()?;
        self.build_indexes()?;
        self.present_ticket()
    }
}
