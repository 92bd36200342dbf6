//! Pulling: "here is what I hold, send what I lack", both sides of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::accept::{Acceptance, Origin};
use super::repair::Withheld;
use super::stage::After;
use super::{Notice, Output, Replica};
use crate::codec;
use crate::entry::Entry;
use crate::frontier::Known;
use crate::ids::{Author, SiteId, SpaceId};
use crate::protocol::{
    ANSWER_BYTES_MAX, Answer, Have, Outcome, PULL_BYTES, Pull, pack_entries, unpack_entries,
};
use crate::store::{Position, Store, StoreError};

/// A random peer is pulled from this often; jitter adds up to half of it. Gossip makes most of these find nothing.
const PULL_INTERVAL_MS: u64 = 10_000;
/// A pull that brought nothing although something was announced is repeated after this long.
const RETRY_MS: u64 = 1_000;

/// One connected member.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pulls: BTreeMap<SpaceId, PullState>,
}

/// The pull of one space from one peer.
#[derive(Debug, Default)]
struct PullState {
    /// The request under way; one at a time.
    in_flight: Option<u64>,
    /// What it asked.
    asked: Asked,
    /// When it was sent.
    sent_ms: u64,
    /// Something new was heard of meanwhile: pull again.
    again: bool,
    /// Pull again at this time.
    retry_ms: Option<u64>,
    /// When lost entries were last asked of this peer.
    lost_ms: Option<u64>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asked {
    /// Whether there is anything to send.
    #[default]
    News,
    /// What the told frontier lacks.
    Entries,
    /// Entries whose bytes are damaged here.
    Lost,
}

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

    fn pull_all(&mut self, from: SiteId) {
        if let Some(network) = self.network() {
            self.pull(from, network.membership_space());
            self.pull(from, network.main_space());
        }
    }

    /// Pulls a space from a connected member, now or after the pull under way.
    pub(super) fn pull(&mut self, from: SiteId, space: SpaceId) {
        let Some(logs) = self.spaces.get(&space) else { return };
        let digest = Have::Digest(logs.digest());
        let lost = self.losses.of_space(space);
        let state = self.peers.get_mut(&from).map(|peer| peer.pulls.entry(space).or_default());
        let Some(state) = state else { return };
        let due = state.lost_ms.is_none_or(|at| at + PULL_INTERVAL_MS <= self.now.monotonic_ms);
        if !lost.is_empty() && due && state.in_flight.is_none() {
            state.lost_ms = Some(self.now.monotonic_ms);
            self.send_pull(from, space, Have::Lost(lost));
        } else {
            self.send_pull(from, space, digest);
        }
    }

    /// Goes on pulling what a digest has shown, or an answer has left.
    pub(super) fn pull_more(&mut self, from: SiteId, space: SpaceId) {
        let Some(logs) = self.spaces.get(&space) else { return };
        self.send_pull(from, space, Have::Frontier(logs.known()));
    }

    fn send_pull(&mut self, from: SiteId, space: SpaceId, have: Have) {
        let receipts = self.receipts_digest(space);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let state = peer.pulls.entry(space).or_default();
        if state.in_flight.is_some() {
            state.again = true;
            return;
        }
        self.request_count += 1;
        let id = self.request_count;
        state.in_flight = Some(id);
        state.asked = match have {
            Have::Digest(_) => Asked::News,
            Have::Frontier(_) => Asked::Entries,
            Have::Lost(_) => Asked::Lost,
        };
        state.sent_ms = self.now.monotonic_ms;
        state.again = false;
        state.retry_ms = None;
        let pull = Pull { space, have, receipts, bytes_max: PULL_BYTES };
        self.outputs.push_back(Output::Request { to: from, id, body: codec::encode(&pull) });
    }

    /// Answers another site's pull, from what is durable.
    pub(super) fn answer(
        &mut self,
        from: SiteId,
        token: u64,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let pull: Pull = match codec::decode("pull", body) {
            Ok(pull) => pull,
            Err(error) => {
                self.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(());
            }
        };
        let answer = self.answer_to(&pull)?;
        self.outputs.push_back(Output::Respond { token, body: codec::encode(&answer) });
        if let Have::Frontier(known) = &pull.have
            && known.iter().any(|item| !self.holds(pull.space, item))
        {
            self.pull_back(from, pull.space);
        }
        Ok(())
    }

    /// Pulls what another site has shown to hold; at once, unless a pull has only just failed to bring it.
    fn pull_back(&mut self, from: SiteId, space: SpaceId) {
        let state = self.peers.get(&from).and_then(|peer| peer.pulls.get(&space));
        let last_ms = state.map_or(0, |state| state.sent_ms);
        if last_ms == 0 || last_ms + RETRY_MS <= self.now.monotonic_ms {
            self.pull_more(from, space);
        } else {
            self.retry_pull(from, space);
        }
    }

    fn answer_to(&self, pull: &Pull) -> Result<Answer, StoreError> {
        let none = |outcome| Answer { outcome, receipts: Vec::new(), forks: Vec::new() };
        let Some(logs) = self.spaces.get(&pull.space) else {
            return Ok(none(Outcome::UnknownSpace));
        };
        let receipts = self.receipts_unless(pull.space, &pull.receipts);
        let (outcome, forks) = match &pull.have {
            Have::Digest(digest) if *digest == logs.digest() => (Outcome::InStep, Vec::new()),
            Have::Digest(_) => (Outcome::TellFrontier, Vec::new()),
            Have::Frontier(known) => {
                let forks = self.some_forks(logs);
                (self.entries_for(pull, known)?, forks)
            }
            Have::Lost(lost) => (self.lost_entries(pull, lost)?, Vec::new()),
        };
        Ok(Answer { outcome, receipts, forks })
    }

    /// The entries that a site with this frontier lacks, in journal order, within the budget.
    fn entries_for(&self, pull: &Pull, known: &[Known]) -> Result<Outcome, StoreError> {
        let Some(logs) = self.spaces.get(&pull.space) else { return Ok(Outcome::UnknownSpace) };
        let mut lacking = logs.lacking(known);
        for author in self.diverged(pull.space, known)? {
            // The other side holds another branch of this log: from its first entry on it will find the fork.
            lacking.insert(author, 1);
        }
        let budget = ANSWER_BYTES_MAX.min(pull.bytes_max as usize);
        let mut next: BinaryHeap<Reverse<(Position, Author, u64)>> = BinaryHeap::new();
        for (author, seq) in lacking {
            next.extend(self.place_of(pull.space, author, seq)?.map(Reverse));
        }
        let mut withheld = Withheld::new(&self.losses, pull.space);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((position, author, seq))) = next.pop() {
            let Some(entry) = self.read_entry(position)? else {
                withheld.add(author, seq);
                continue;
            };
            if withheld.builds_on(author, seq, &entry) {
                continue;
            }
            if !entries.is_empty() && bytes + entry.len() > budget {
                let packed = pack_entries(&entries);
                return Ok(Outcome::Entries { packed, more: true });
            }
            bytes += entry.len();
            entries.push(entry);
            next.extend(self.place_of(pull.space, author, seq + 1)?.map(Reverse));
        }
        Ok(Outcome::Entries { packed: pack_entries(&entries), more: false })
    }

    fn place_of(
        &self,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<Option<(Position, Author, u64)>, StoreError> {
        let row = self.entry_row(space, author, seq)?;
        Ok(row.map(|row| (row.position(), author, seq)))
    }

    /// Whether this replica holds a log as far as another does.
    fn holds(&self, space: SpaceId, item: &Known) -> bool {
        self.log(space, item.author).is_some_and(|row| row.seq >= item.seq)
    }

    /// The logs of which the other side holds another entry under a number that is held here too.
    fn diverged(&self, space: SpaceId, known: &[Known]) -> Result<Vec<Author>, StoreError> {
        let mut diverged = Vec::new();
        for item in known {
            let held = self.held_hash(space, item.author, item.seq)?;
            if held.is_some_and(|hash| !item.names(&hash)) {
                diverged.push(item.author);
            }
        }
        Ok(diverged)
    }

    /// Takes in the answer to a pull.
    pub(super) fn take_answer(
        &mut self,
        from: SiteId,
        id: u64,
        body: &[u8],
    ) -> Result<(), StoreError> {
        let Some((space, asked)) = self.end_pull(from, id) else { return Ok(()) };
        let answer: Answer = match codec::decode("answer to a pull", body) {
            Ok(answer) => answer,
            Err(error) => {
                self.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(());
            }
        };
        self.take_receipts(answer.receipts);
        for fork in answer.forks {
            self.take_fork(space, fork)?;
        }
        match answer.outcome {
            Outcome::Entries { packed, .. } if asked == Asked::Lost => {
                self.take_lost(from, &packed)?;
                self.pull(from, space);
            }
            Outcome::Entries { packed, more } => self.take_entries(from, space, &packed, more)?,
            Outcome::TellFrontier if asked == Asked::News => self.pull_more(from, space),
            Outcome::TellFrontier => {}
            Outcome::InStep | Outcome::UnknownSpace => self.pull_again_if_asked(from, space),
        }
        Ok(())
    }

    fn take_entries(
        &mut self,
        from: SiteId,
        space: SpaceId,
        packed: &[u8],
        more: bool,
    ) -> Result<(), StoreError> {
        let (mut progress, mut not_ready) = (false, false);
        match unpack_entries(packed) {
            Ok(entries) => {
                for bytes in entries {
                    match self.take_entry(from, &bytes, false)? {
                        Some(Acceptance::Staged) => progress = true,
                        Some(Acceptance::NotReady) => not_ready = true,
                        Some(Acceptance::Repeat | Acceptance::Fork { .. }) => {}
                        // What follows is of the same hand.
                        Some(Acceptance::Refused(_)) | None => break,
                    }
                    self.commit_if_large()?;
                }
            }
            Err(error) => self.notice(Notice::Refused { from, reason: error.to_string() }),
        }
        if more && progress {
            self.stage.after.push(After::Pull { from, space });
        } else if not_ready {
            self.retry_pull(from, space);
        } else {
            self.pull_again_if_asked(from, space);
        }
        Ok(())
    }

    /// Takes in one entry that a peer sent, and says how it was judged; `None` where it is no entry.
    pub(super) fn take_entry(
        &mut self,
        from: SiteId,
        bytes: &[u8],
        by_gossip: bool,
    ) -> Result<Option<Acceptance>, StoreError> {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(None);
            }
        };
        let mut acceptance = self.accept(entry.clone(), Origin::Peer { by_gossip })?;
        if let Acceptance::Fork { .. } = acceptance {
            self.found_fork(&entry)?;
            // It may be the one that stands.
            acceptance = self.accept(entry, Origin::Peer { by_gossip })?;
        }
        if let Acceptance::Refused(refusal) = &acceptance {
            self.notice(Notice::Refused { from, reason: refusal.to_string() });
        }
        Ok(Some(acceptance))
    }

    /// A request was not answered: try again later, or present this site if it is not known there.
    pub(super) fn pull_failed(
        &mut self,
        to: SiteId,
        id: u64,
        unsupported: bool,
    ) -> Result<(), StoreError> {
        if let Some((space, _)) = self.end_pull(to, id) {
            self.retry_pull(to, space);
        }
        if unsupported { self.introduce_to(to) } else { Ok(()) }
    }

    /// Pulls again in a while, where something is known to be missing.
    pub(super) fn retry_pull(&mut self, from: SiteId, space: SpaceId) {
        let at = self.now.monotonic_ms + RETRY_MS + self.random.below(RETRY_MS / 2);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.pulls.entry(space).or_default().retry_ms = Some(at);
        }
    }

    /// The space of the request that has ended, and what it asked.
    fn end_pull(&mut self, from: SiteId, id: u64) -> Option<(SpaceId, Asked)> {
        let peer = self.peers.get_mut(&from)?;
        let (space, state) =
            peer.pulls.iter_mut().find(|(_, state)| state.in_flight == Some(id))?;
        state.in_flight = None;
        Some((*space, state.asked))
    }

    fn pull_again_if_asked(&mut self, from: SiteId, space: SpaceId) {
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        if let Some(state) = state.filter(|state| state.again) {
            state.again = false;
            self.stage.after.push(After::Pull { from, space });
        }
    }

    /// When [`Input::Tick`](super::Input::Tick) next has something to do, on the monotonic clock; an earlier one does
    /// nothing. Everything in `tick` has its time here.
    pub fn due_ms(&self) -> u64 {
        let pulls = self.peers.values().flat_map(|peer| peer.pulls.values());
        let retries =
            pulls.filter(|state| state.in_flight.is_none()).filter_map(|state| state.retry_ms);
        let introduction = self.has_ticket_to_present().then_some(self.timers.introduce_ms);
        let others = retries.chain(self.timers.receipt_ms).chain(introduction);
        others.fold(self.timers.pull_ms, u64::min)
    }

    /// What is due by now.
    pub(super) fn tick(&mut self) -> Result<(), StoreError> {
        let now = self.now.monotonic_ms;
        let due = |state: &PullState| {
            state.in_flight.is_none() && state.retry_ms.is_some_and(|at| at <= now)
        };
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
        }
        self.find_losses()?;
        self.issue_receipts()?;
        self.present_ticket()
    }
}
