//! What is under way between this site and a connected member.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{Author, SpaceId};
use crate::log::frontier::{Known, Parts};
use crate::protocol::Gossip;
use crate::replica::links::forks::SentForks;
use crate::replica::realms::spaces::Invited;
use crate::store::Position;

/// Answers of one peer whose entries are not taken in yet, with the one that is awaited: while one is being taken in
/// the next is on its way, and no more lie in memory.
const UNDER_WAY_MAX: usize = 2;
/// Requests to one peer under way, however many spaces two sites share; a pull that goes on may add one. Fewer than the network
/// layer takes (`requests_per_peer`, 8).
const REQUESTS_MAX: usize = 6;
/// Logs that a pull may claim on the word of an answer that is not taken in yet. Of more of them it says only how far the
/// answer went.
const ASSUMED_LOGS_MAX: usize = 1024;
/// Answers in a row with nothing new after which a pull ends that could not say all that is held here: 64 MB of entries that
/// are sent again.
const REPEATS_MAX: u32 = 256;

/// One connected member.
#[derive(Debug, Default)]
pub(in crate::replica) struct Peer {
    pub(in crate::replica) pulls: BTreeMap<SpaceId, PullState>,
    /// Spaces to be pulled once fewer requests are under way.
    pub(in crate::replica) waiting: BTreeSet<SpaceId>,
    /// Spaces of which something was heard while they were pulled: they are pulled again behind that.
    pub(in crate::replica) again: BTreeSet<SpaceId>,
    /// What is announced to it of spaces that are not gossiped.
    pub(in crate::replica) notifications: BTreeMap<SpaceId, Notifications>,
    /// The spaces that it was last shown to be in.
    pub(in crate::replica) invited: Option<Invited>,
    /// The proofs of forks that it was last sent, by space.
    pub(in crate::replica) forks_sent: BTreeMap<SpaceId, SentForks>,
    /// How often it was shown that this site is a member, and when that may be again.
    shown: (u32, u64),
    pub(in crate::replica) exchange: Exchange,
}

/// Between two attempts to show a peer that this site is a member, at first: each takes up to 200 KiB.
const SHOW_AGAIN_MS: u64 = 1_000;
/// How often that pause doubles: to an hour.
const SHOW_DOUBLINGS_MAX: u32 = 12;

/// What is announced to a member of a space: one thing at a time.
#[derive(Debug, Default)]
pub(in crate::replica) struct Notifications {
    /// The request that waits for its answer.
    pub(in crate::replica) in_flight: Option<u64>,
    /// What is sent next.
    pub(in crate::replica) next: Option<Gossip>,
}

/// What has passed between this site and a connected member since the link came up. For display, and to see whether
/// they are in step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Entries that came from it by pulls and were not held here.
    pub pulled: u64,
    /// Entries that it asked for and was sent.
    pub pushed: u64,
    /// The spaces that both hold, as this site knows it.
    pub spaces: BTreeSet<SpaceId>,
    /// By space, how often it was found to hold the same as this site, or not to share the space.
    pub in_step: BTreeMap<SpaceId, u64>,
    /// By space, how often a pull from it came to the end of what it holds.
    pub pulls_ended: BTreeMap<SpaceId, u64>,
    /// By space, how often an answer to it came to the end of what is held here.
    pub pushes_ended: BTreeMap<SpaceId, u64>,
}

/// How pulls of one space from one peer go on while anything is under way. An answer is cut where the budget ends before
/// the entries do: the next pull can then go on from there, on the peer's word, before its entries are taken in.
///
/// | phase | an answer, whole | an answer, cut, as assumed | an answer that is not as assumed | a pull goes on | entries taken in as assumed | entries missing | entries refused, or none new |
/// |---|---|---|---|---|---|---|---|
/// | `Steady` | `Steady` | `Cut` | `Draining` | | `Steady` | `Lacking` | `Draining` |
/// | `Cut` | `Steady` | `Cut` | `Draining` | `Steady` | `Cut` | `Lacking` | `Draining` |
/// | `Draining` | `Draining` | `Draining` | `Draining` | | `Draining` | `Lacking` | `Draining` |
/// | `Lacking` | `Lacking` | `Lacking` | `Lacking` | | `Lacking` | `Lacking` | `Lacking` |
///
/// When the last entries are taken in, and nothing is under way any more, it is `Steady` again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Pulls claim what is held, and what the answers under way bring.
    #[default]
    Steady,
    /// The newest answer left entries out, and no pull has gone on from there yet.
    Cut,
    /// Something is not as assumed: what is under way is awaited, and pulls then begin with what is held.
    Draining,
    /// The same, and something that was sent is not ready: an entry before it is missing.
    Lacking,
}

/// The pulls of one space from one peer.
#[derive(Debug, Default)]
pub(in crate::replica) struct PullState {
    /// The request that waits for its answer.
    pub(in crate::replica) in_flight: Option<SentPull>,
    /// Answers whose entries are being prepared, in the order in which they came.
    preparing: VecDeque<Preparing>,
    /// Where these answers end, by log, as the peer says: the next pull goes on from there.
    assumed: BTreeMap<Author, Known>,
    /// The same as a place in the peer's journal.
    reached: Option<Position>,
    /// Answers in a row that only went further in the peer's journal.
    repeats: u32,
    phase: Phase,
    /// The parts of the frontier that differ; `None`: all of it may.
    pub(in crate::replica) parts: Option<Parts>,
    /// Logs of which the peer holds another branch: how far both were found to hold the same.
    pub(in crate::replica) checked: BTreeMap<Author, u64>,
    /// When the last request was sent.
    pub(in crate::replica) sent_ms: u64,
    /// Pull again at this time.
    pub(in crate::replica) retry_ms: Option<u64>,
    /// How often in a row it was put off, because another peer sends the same.
    pub(in crate::replica) put_off: u32,
    /// When lost entries were last asked of this peer.
    pub(in crate::replica) lost_ms: Option<u64>,
}

/// A request.
#[derive(Debug)]
pub(in crate::replica) struct SentPull {
    pub(in crate::replica) id: u64,
    pub(in crate::replica) asked: Asked,
    /// How far each log was held or assumed, of those that it said so of.
    pub(in crate::replica) held: BTreeMap<Author, u64>,
    /// It said so of all logs.
    pub(in crate::replica) is_whole: bool,
    /// Behind which place in the peer's journal it asked.
    pub(in crate::replica) after: Option<Position>,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Asked {
    /// Whether there is anything to send.
    Probe,
    /// What the frontier in it lacks.
    Entries,
    /// Entries whose bytes are damaged here.
    Lost,
}

/// An answer whose entries are being prepared.
#[derive(Debug)]
pub(in crate::replica) struct Preparing {
    pub(in crate::replica) request: SentPull,
    /// The budget ended before the entries did.
    pub(in crate::replica) is_cut: bool,
    /// The request could not say all that is held here, and the answer went further in the peer's journal.
    goes_further: bool,
}

/// Where an answer was cut, if it was.
#[derive(Debug, Default)]
pub(in crate::replica) struct Until {
    /// By log.
    pub(in crate::replica) logs: Vec<Known>,
    /// In the peer's journal.
    pub(in crate::replica) at: Option<Position>,
}

/// How the entries of an answer were judged.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::replica) struct Judged {
    /// Some are part of the group, or show more of what both sides hold.
    pub(in crate::replica) progress: bool,
    /// Some build on what is not here.
    pub(in crate::replica) not_ready: bool,
    /// Some are not what an honest site sends.
    pub(in crate::replica) refused: bool,
}

/// How pulling goes on when the entries of an answer are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Next {
    /// Something else is under way.
    Wait,
    /// With a pull for what the answer left out.
    More,
    /// With a pull in a while: something is missing.
    Retry,
    /// Not at all, unless something was heard of meanwhile.
    Done,
}

impl Peer {
    /// Spaces of which something is known between the two.
    pub(in crate::replica) fn pull_count(&self) -> usize {
        self.pulls.len()
    }

    /// Whether it is to be sent no more requests for now.
    pub(in crate::replica) fn is_full(&self) -> bool {
        let pulls = self.pulls.values().filter(|state| state.in_flight.is_some());
        let announced = self.notifications.values().filter(|queue| queue.in_flight.is_some());
        pulls.count() + announced.count() >= REQUESTS_MAX
    }

    /// Whether it may be shown now that this site is a member, which then counts as done.
    pub(in crate::replica) fn is_to_be_shown(&mut self, now_ms: u64) -> bool {
        let (times, not_before_ms) = self.shown;
        if now_ms < not_before_ms {
            return false;
        }
        let pause_ms = SHOW_AGAIN_MS << times.min(SHOW_DOUBLINGS_MAX);
        self.shown = (times + 1, now_ms + pause_ms);
        true
    }

    /// Whether an answer whose entries were prepared is still awaited.
    pub(in crate::replica) fn awaits(&self, id: u64) -> bool {
        let mut preparing = self.pulls.values().flat_map(|state| &state.preparing);
        preparing.any(|answered| answered.request.id == id)
    }

    /// The pulls that an answer belongs to whose entries were prepared, and that answer.
    pub(in crate::replica) fn prepared(&mut self, id: u64) -> Option<(SpaceId, Preparing)> {
        self.pulls.iter_mut().find_map(|(space, state)| {
            let index = state.preparing.iter().position(|answered| answered.request.id == id)?;
            Some((*space, state.preparing.remove(index)?))
        })
    }
}

impl PullState {
    /// Whether anything is under way: other pulls wait for its end.
    pub(in crate::replica) fn is_busy(&self) -> bool {
        self.in_flight.is_some() || !self.preparing.is_empty()
    }

    /// Whether entries are on their way, or being taken in.
    pub(in crate::replica) fn brings_entries(&self) -> bool {
        let is_asked = |request: &SentPull| request.asked == Asked::Entries;
        self.in_flight.as_ref().is_some_and(is_asked) || !self.preparing.is_empty()
    }

    /// An answer came whose entries are being prepared. `held`: how far this site holds a log.
    pub(in crate::replica) fn answered(
        &mut self,
        request: SentPull,
        until: Until,
        held: impl Fn(&Author) -> u64,
    ) {
        let Until { logs, at } = until;
        // Where the peer sends what the request said is held here, it holds another branch, and the next has to say so.
        let is_news = |known: &Known| match self.assumed.get(&known.author) {
            Some(assumed) => known.seq > assumed.seq.max(held(&known.author)),
            None if request.held.contains_key(&known.author) => known.seq > held(&known.author),
            None => true,
        };
        let is_sound = self.checked.is_empty() && logs.iter().all(is_news);
        let is_cut = !logs.is_empty();
        let goes_further = !request.is_whole && at > request.after;
        self.preparing.push_back(Preparing { request, is_cut, goes_further });
        if !is_sound {
            self.halt();
        }
        self.phase = match self.phase {
            Phase::Steady | Phase::Cut if !is_cut => Phase::Steady,
            Phase::Steady | Phase::Cut => {
                if logs.len() <= ASSUMED_LOGS_MAX {
                    self.assumed.extend(logs.into_iter().map(|known| (known.author, known)));
                }
                self.reached = at;
                Phase::Cut
            }
            halted @ (Phase::Draining | Phase::Lacking) => halted,
        };
    }

    /// No pull claims more than is held, from the next on that begins when nothing is under way.
    pub(in crate::replica) fn halt(&mut self) {
        if self.phase != Phase::Lacking {
            self.phase = Phase::Draining;
        }
    }

    /// What the next pull can claim in addition to what is held, if one may go out now; it is then taken as sent.
    pub(in crate::replica) fn go_on(
        &mut self,
    ) -> Option<(BTreeMap<Author, Known>, Option<Position>)> {
        let has_room = self.in_flight.is_none() && self.preparing.len() < UNDER_WAY_MAX;
        if self.phase != Phase::Cut || !has_room {
            return None;
        }
        self.phase = Phase::Steady;
        Some((self.assumed.clone(), self.reached))
    }

    /// Behind which place in the peer's journal a pull asks that begins when nothing is under way: `None`, from the first on,
    /// unless all that came before it was as assumed.
    pub(in crate::replica) fn reached(&self) -> Option<Position> {
        self.reached
    }

    /// A pull begins from the first place of the peer's journal on.
    pub(in crate::replica) fn begin(&mut self, parts: Option<Parts>) {
        self.parts = parts;
        self.reached = None;
        self.repeats = 0;
    }

    /// The entries of an answer are taken in.
    pub(in crate::replica) fn taken(&mut self, answer: &Preparing, judged: Judged) -> Next {
        let Judged { mut progress, not_ready, refused } = judged;
        let is_cut = answer.is_cut;
        self.repeats = if progress { 0 } else { self.repeats + 1 };
        let is_sound = matches!(self.phase, Phase::Steady | Phase::Cut) && !not_ready && !refused;
        progress |= answer.goes_further && is_sound && self.repeats <= REPEATS_MAX;
        if not_ready {
            self.phase = Phase::Lacking;
        } else if !progress || refused {
            self.halt();
        }
        if self.is_busy() {
            return Next::Wait;
        }
        self.assumed.clear();
        let phase = std::mem::take(&mut self.phase);
        if !is_cut || matches!(phase, Phase::Draining | Phase::Lacking) {
            self.reached = None;
        }
        match phase {
            _ if is_cut && progress => Next::More,
            Phase::Lacking => Next::Retry,
            Phase::Steady | Phase::Cut | Phase::Draining => Next::Done,
        }
    }
}

#[cfg(test)]
mod tests;
