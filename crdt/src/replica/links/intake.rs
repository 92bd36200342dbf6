//! Taking in the entries of answers, in steps: between two of them others get their turn, however many records an entry
//! changes.

use std::collections::{BTreeMap, VecDeque};

use super::Links;
use super::peer::{Judged, Next};
use crate::ids::{Author, SiteId, SpaceId};
use crate::log::entry::Tip;
use crate::protocol::prepare::{Prepared, PreparedEntry};
use crate::replica::Notice;
use crate::replica::batch::accept::Acceptance;
use crate::replica::batch::stage::After;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::Store;

/// What one step may take, in microseconds, about: writers wait for it.
pub(in crate::replica) const STEP_COST: usize = 5_000;
/// What it takes to take in a change of which it is known what it comes to, in microseconds, about.
pub(in crate::replica) const CHANGE_COST: usize = 3;

/// An answer whose entries are being taken in.
pub(in crate::replica) struct Taking {
    from: SiteId,
    id: u64,
    entries: VecDeque<PreparedEntry>,
    judged: Judged,
    /// How far logs were sent again.
    repeated: BTreeMap<Author, u64>,
}

impl Links {
    /// Remembers how far logs that were sent again are the same on both sides, so that the next answer begins there
    /// and comes to the fork. Says whether that is further than before.
    fn note_checked(
        &mut self,
        from: SiteId,
        space: SpaceId,
        repeated: BTreeMap<Author, u64>,
    ) -> bool {
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return false };
        let mut further = false;
        for (author, seq) in repeated {
            let checked = state.checked.entry(author).or_insert(0);
            further |= seq > *checked;
            *checked = seq.max(*checked);
        }
        further
    }
}

impl Links {
    /// Begins to take in the entries of an answer, if it is still awaited.
    pub(in crate::replica) fn begin_taking(&mut self, out: &mut Outbox, prepared: Prepared) {
        let Prepared { from, id, entries } = prepared;
        if !self.peers.get(&from).is_some_and(|peer| peer.awaits(id)) {
            return;
        }
        let mut judged = Judged::default();
        let entries = entries.unwrap_or_else(|error| {
            judged.refused = true;
            out.notice(Notice::Refused { from, reason: error.to_string() });
            Vec::new()
        });
        let (entries, repeated) = (entries.into(), BTreeMap::new());
        self.taking.push_back(Taking { from, id, entries, judged, repeated });
    }

    /// Whether the entries of answers are yet to be taken in.
    pub(in crate::replica) fn is_taking(&self) -> bool {
        !self.taking.is_empty()
    }

    /// The next entry that is to be taken in, and who sent it; `None` at the end of an answer.
    pub(in crate::replica) fn next_entry(&mut self) -> Option<(SiteId, PreparedEntry)> {
        let taking = self.taking.front_mut()?;
        Some((taking.from, taking.entries.pop_front()?))
    }

    /// Puts an entry back: it is not all found out what it comes to.
    pub(in crate::replica) fn put_back(&mut self, entry: PreparedEntry) {
        if let Some(taking) = self.taking.front_mut() {
            taking.entries.push_front(entry);
        }
    }

    /// An entry of the answer that is being taken in was judged.
    pub(in crate::replica) fn judged_entry(&mut self, tip: &Tip, acceptance: &Acceptance) {
        let Some(Taking { from, entries, judged, repeated, .. }) = self.taking.front_mut() else {
            return;
        };
        match acceptance {
            Acceptance::Staged => {
                judged.progress = true;
                let from = *from;
                self.exchange(from, |exchange| exchange.pulled += 1);
            }
            Acceptance::NotReady => judged.not_ready = true,
            Acceptance::Repeat => {
                repeated.insert(tip.author, tip.seq);
            }
            Acceptance::NoRoom => {
                judged.not_ready = true;
                entries.clear();
            }
            Acceptance::Fork => judged.refused = true,
            // What follows is of the same hand.
            Acceptance::Refused(_) => {
                judged.refused = true;
                entries.clear();
            }
        }
    }

    /// An answer is taken in, and pulling goes on. Returns what is to be done once the group is durable.
    pub(in crate::replica) fn end_taking<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
    ) -> Option<After> {
        let Taking { from, id, mut judged, mut repeated, .. } = self.taking.pop_front()?;
        let answered = self.peers.get_mut(&from).and_then(|peer| peer.prepared(id));
        let (space, answer) = answered?;
        // What came from elsewhere meanwhile says nothing of the peer.
        repeated.retain(|author, seq| {
            answer.request.held.get(author).is_some_and(|held| *seq <= *held)
        });
        judged.progress |= self.note_checked(from, space, repeated);
        let state = self.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space))?;
        match state.taken(&answer, judged) {
            Next::Wait => {
                self.pull_ahead(cx, out, from, space);
                None
            }
            Next::More => Some(After::PullMore { from, space }),
            Next::Retry => {
                self.retry_pull(cx, from, space);
                None
            }
            Next::Done => {
                self.exchange(from, |exchange| {
                    *exchange.pulls_ended.entry(space).or_insert(0) += 1
                });
                self.pull_again_if_asked(from, space)
            }
        }
    }
}
