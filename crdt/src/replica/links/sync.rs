//! Pulling: "here is what I hold, send what I lack", the asking side; `serve` is the other.

use std::collections::{BTreeMap, BTreeSet};

use super::Links;
use super::peer::{Asked, Peer, PullState, SentPull, Until};
use super::timers::PULL_INTERVAL_MS;
use crate::format::codec;
use crate::ids::{Author, RealmId, SiteId, SpaceId};
use crate::log::frontier::{Known, PartDigests, Parts, fitting};
use crate::protocol::prepare::Job;
use crate::protocol::{Have, Outcome, PULL_BYTES, Pull, Request};
use crate::replica::batch::Batch;
use crate::replica::batch::stage::After;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::realms::SharedDigest;
use crate::replica::{Exchange, Output};
use crate::store::{Store, StoreError};

/// Bytes of entries asked for while nothing can be written: one entry shows whether that has changed.
const TRIAL_BYTES: u32 = 1;
/// A pull that brought nothing although something was announced is repeated after this long.
const RETRY_MS: u64 = 1_000;

/// What a member has answered to a request.
pub(in crate::replica) struct PullAnswer {
    pub(in crate::replica) from: SiteId,
    pub(in crate::replica) space: SpaceId,
    pub(in crate::replica) request: SentPull,
    pub(in crate::replica) outcome: Outcome,
}

/// What a member has sent for a request.
struct Entries {
    from: SiteId,
    space: SpaceId,
    request: SentPull,
    packed: Vec<u8>,
    until: Until,
}

impl Links {
    /// What has passed between this site and each connected member.
    pub(in crate::replica) fn exchanges<S: Store>(
        &self,
        cx: Context<'_, S>,
    ) -> BTreeMap<SiteId, Exchange> {
        let roots = cx.realms.open().into_iter();
        let held: Vec<_> =
            roots.flat_map(|realm| [realm.membership_space(), realm.main_space()]).collect();
        let exchange = |(site, peer): (&SiteId, &Peer)| {
            let spaces =
                held.iter().copied().filter(|space| cx.realms.shares(*site, *space)).collect();
            (*site, Exchange { spaces, ..peer.exchange.clone() })
        };
        self.peers.iter().map(exchange).collect()
    }

    pub(in crate::replica) fn exchange(
        &mut self,
        with: SiteId,
        change: impl FnOnce(&mut Exchange),
    ) {
        if let Some(peer) = self.peers.get_mut(&with) {
            change(&mut peer.exchange);
        }
    }

    /// Notes that a member was sent entries, and whether they were the last.
    pub(in crate::replica) fn note_pushed(
        &mut self,
        to: SiteId,
        space: SpaceId,
        entries: u64,
        is_last: bool,
    ) {
        self.exchange(to, |exchange| {
            exchange.pushed += entries;
            *exchange.pushes_ended.entry(space).or_insert(0) += u64::from(is_last);
        });
    }

    pub(in crate::replica) fn pull_all<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
    ) {
        for realm in cx.realms.joined() {
            self.pull_realm(cx, out, from, realm);
        }
    }

    /// Pulls the members of a realm, and its records.
    pub(in crate::replica) fn pull_realm<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        realm: RealmId,
    ) {
        self.pull(cx, out, from, realm.membership_space());
        self.pull(cx, out, from, realm.main_space());
    }

    /// Pulls a space from a connected member that shares it, now or after the pull under way.
    pub(in crate::replica) fn pull<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
    ) {
        if !cx.realms.shares(from, space) {
            return;
        }
        let Some(logs) = cx.realms.logs(space) else { return };
        let digest = Have::Digest(logs.digest());
        let lost = self.losses.of_space(space);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.is_full() {
            peer.waiting.insert(space);
            return;
        }
        let state = peer.pulls.entry(space).or_default();
        let due = state.lost_ms.is_none_or(|at| at + PULL_INTERVAL_MS <= cx.now.monotonic_ms);
        if !lost.is_empty() && due && !state.is_busy() {
            state.lost_ms = Some(cx.now.monotonic_ms);
            self.send_pull(cx, out, from, space, Have::Lost(lost));
        } else {
            self.send_pull(cx, out, from, space, digest);
        }
    }

    /// Goes on pulling what a digest has shown, or an answer has left.
    pub(in crate::replica) fn pull_more<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
    ) -> Result<(), StoreError> {
        let state = self.peers.get(&from).and_then(|peer| peer.pulls.get(&space));
        let parts = state.and_then(|state| state.parts.clone());
        let checked = state.map(|state| state.checked.clone()).unwrap_or_default();
        let after = state.and_then(PullState::reached);
        let Some(logs) = cx.realms.logs(space) else { return Ok(()) };
        let mut known = logs.known(parts.as_ref());
        let held = known.iter().map(|item| (item.author, item.seq)).collect();
        // The logs of which the peer holds another branch are few, and come first.
        known.sort_by_key(|item| !checked.contains_key(&item.author));
        for item in &mut known {
            if let Some(seq) = checked.get(&item.author)
                && let Some(hash) = batch.held_hash(cx, space, item.author, *seq)?
            {
                *item = Known { seq: *seq, check: hash.short(), ..item.clone() };
            }
        }
        self.send_pull_of(cx, out, from, space, Have::Frontier { parts, known, after }, held);
        Ok(())
    }

    /// Pulls what comes behind the answers under way, if there is room for one more.
    pub(in crate::replica) fn pull_ahead<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
    ) {
        let Some(logs) = cx.realms.logs(space) else { return };
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return };
        let Some((assumed, after)) = state.go_on() else { return };
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
        self.ask(cx, out, from, space, Have::Frontier { parts, known, after }, held);
    }

    /// Pulls the parts of the frontier in which the answerer's digests differ; without any, all of it.
    fn pull_parts<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
        digests: &PartDigests,
    ) -> Result<(), StoreError> {
        let logs = cx.realms.logs(space);
        let parts = logs.and_then(|logs| Parts::differing(&logs.frontier(), digests));
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        if let Some(state) = state {
            state.begin(parts);
            state.checked.clear();
        }
        self.pull_more(cx, batch, out, from, space)
    }

    fn send_pull<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
        have: Have,
    ) {
        self.send_pull_of(cx, out, from, space, have, BTreeMap::new());
    }

    /// Asks now, or later if anything is under way.
    fn send_pull_of<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
        have: Have,
        held: BTreeMap<Author, u64>,
    ) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        if peer.pulls.entry(space).or_default().is_busy() {
            peer.again.insert(space);
        } else {
            peer.again.remove(&space);
            self.ask(cx, out, from, space, have, held);
        }
    }

    fn ask<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
        have: Have,
        held: BTreeMap<Author, u64>,
    ) {
        if !cx.realms.shares(from, space) {
            return;
        }
        if !matches!(have, Have::Lost(_)) && !self.has_room_for(cx, space) {
            // Once there is room, everybody is asked.
            if let Some(state) = self.peers.get_mut(&from).and_then(|it| it.pulls.get_mut(&space)) {
                state.retry_ms = None;
            }
            return;
        }
        let receipts = cx.receipts_digest(space);
        let is_of_members =
            cx.realms.network().is_some_and(|network| network.membership_space() == space);
        let shared =
            if is_of_members { cx.realms.shared_digest(from) } else { SharedDigest::default() };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let state = peer.pulls.entry(space).or_default();
        self.request_count += 1;
        let id = self.request_count;
        let (mut held, mut is_whole) = (held, true);
        let (asked, after, have) = match have {
            Have::Digest(_) => (Asked::Probe, None, have),
            Have::Frontier { parts, known: heads, after } => {
                let known;
                (known, is_whole) = fitting(heads);
                if !is_whole {
                    let listed: BTreeSet<Author> = known.iter().map(|item| item.author).collect();
                    held.retain(|author, _| listed.contains(author));
                }
                (Asked::Entries, after, Have::Frontier { parts, known, after })
            }
            Have::Lost(_) => (Asked::Lost, None, have),
        };
        state.in_flight = Some(SentPull { id, asked, held, is_whole, after });
        state.sent_ms = cx.now.monotonic_ms;
        state.retry_ms = None;
        let bytes_max = if self.is_unwritable { TRIAL_BYTES } else { PULL_BYTES };
        let pull = Request::Pull(Pull { space, have, receipts, shared, bytes_max });
        out.push(Output::Request { to: from, id, body: codec::encode(&pull) });
    }

    /// Pulls what another site has shown to hold; at once, unless a pull has only just failed to bring it.
    pub(in crate::replica) fn pull_back<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        from: SiteId,
        space: SpaceId,
        parts: Option<&Parts>,
    ) -> Result<(), StoreError> {
        let Some(peer) = self.peers.get_mut(&from) else { return Ok(()) };
        let state = peer.pulls.entry(space).or_default();
        let is_recent = state.sent_ms != 0 && state.sent_ms + RETRY_MS > cx.now.monotonic_ms;
        if is_recent {
            self.retry_pull(cx, from, space);
            return Ok(());
        }
        if !state.is_busy() {
            if self.is_put_off(cx, from, space) {
                return Ok(());
            }
            if let Some(state) = self.peers.get_mut(&from).and_then(|it| it.pulls.get_mut(&space)) {
                state.begin(parts.cloned());
            }
        }
        self.pull_more(cx, batch, out, from, space)
    }

    /// Has the entries of an answer prepared, and asks for what comes behind them meanwhile.
    fn decode_off_thread<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        answer: Entries,
    ) {
        let Entries { from, space, request, packed, until } = answer;
        let held = |author: &Author| batch.log(cx, space, *author).map_or(0, |row| row.seq);
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return };
        let id = request.id;
        state.answered(request, until, held);
        if self.is_unwritable {
            state.halt();
        }
        self.pull_ahead(cx, out, from, space);
        out.push(Output::Prepare(Job { from, id, packed }));
    }

    /// Pulls again in a while, where something is known to be missing.
    pub(in crate::replica) fn retry_pull<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        from: SiteId,
        space: SpaceId,
    ) {
        let at = cx.now.monotonic_ms + RETRY_MS + self.random.below(RETRY_MS / 2);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.pulls.entry(space).or_default().retry_ms = Some(at);
        }
    }

    /// The request that has ended, and its space.
    pub(in crate::replica) fn end_pull(
        &mut self,
        from: SiteId,
        id: u64,
    ) -> Option<(SpaceId, SentPull)> {
        let peer = self.peers.get_mut(&from)?;
        peer.pulls.iter_mut().find_map(|(space, state)| {
            let request = state.in_flight.take_if(|request| request.id == id)?;
            Some((*space, request))
        })
    }

    /// Sends a member the requests that wait for the end of others.
    pub(in crate::replica) fn resume_requests<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        with: SiteId,
    ) {
        while let Some(peer) = self.peers.get_mut(&with).filter(|peer| !peer.is_full()) {
            let mut queues = peer.notifications.iter_mut();
            let next = queues.find_map(|(space, queue)| match queue.in_flight {
                None => Some((*space, queue.next.take()?)),
                Some(_) => None,
            });
            if let Some((space, gossip)) = next {
                self.notify_site(out, with, space, gossip);
            } else if let Some(space) = peer.waiting.pop_first() {
                self.pull(cx, out, with, space);
            } else {
                return;
            }
        }
    }
}

impl Links {
    /// A member is connected: pull the members first, for without them entries of new sites are refused.
    pub(in crate::replica) fn peer_up<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        site: SiteId,
    ) {
        self.peers.insert(site, Peer::default());
        self.pull_all(cx, out, site);
    }

    /// Acts on the outcome of a pull, but for entries that are put back and revocations of this site. Returns what is to be
    /// done once the group is durable.
    pub(in crate::replica) fn take_outcome<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        answer: PullAnswer,
    ) -> Result<Option<After>, StoreError> {
        let PullAnswer { from, space, request, outcome } = answer;
        match outcome {
            Outcome::Entries { packed, until, at } => {
                let until = Until { logs: until, at };
                self.decode_off_thread(
                    cx,
                    batch,
                    out,
                    Entries { from, space, request, packed, until },
                );
            }
            Outcome::SendFrontier(parts)
                if request.asked == Asked::Probe && !self.is_put_off(cx, from, space) =>
            {
                self.pull_parts(cx, batch, out, from, space, &parts)?;
            }
            Outcome::SendFrontier(_) | Outcome::Revoked(_) => {}
            Outcome::UpToDate | Outcome::UnknownSpace => {
                self.exchange(from, |exchange| {
                    *exchange.in_step.entry(space).or_insert(0) += 1;
                });
                return Ok(self.pull_again_if_asked(from, space));
            }
        }
        Ok(None)
    }

    /// A member's last connection is gone, or it is no member any more.
    pub(in crate::replica) fn peer_down(&mut self, site: &SiteId) {
        self.peers.remove(site);
    }

    /// Pulls a space from all connected members.
    pub(in crate::replica) fn pull_from_all<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        space: SpaceId,
    ) {
        let peers: Vec<SiteId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.pull(cx, out, peer, space);
        }
    }

    /// A request was not answered: it is made again later, or this site presents itself if it is not known there.
    pub(in crate::replica) fn request_failed<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        to: SiteId,
        id: u64,
        unsupported: bool,
    ) -> Result<(), StoreError> {
        if !self.end_notification(to, id)
            && let Some((space, _)) = self.end_pull(to, id)
        {
            self.retry_pull(cx, to, space);
        }
        self.resume_requests(cx, out, to);
        if unsupported { self.introduce_to(cx, out, to) } else { Ok(()) }
    }

    /// Pulls again, once the group is durable, where something was heard of meanwhile.
    pub(in crate::replica) fn pull_again_if_asked(
        &mut self,
        from: SiteId,
        space: SpaceId,
    ) -> Option<After> {
        let is_asked = self.peers.get_mut(&from)?.again.remove(&space);
        is_asked.then_some(After::Pull { from, space })
    }
}
