//! Taking in the entries of answers, in steps: between two of them others get their turn, however many records an entry
//! changes.

use std::collections::{BTreeMap, VecDeque};

use super::Links;
use super::peer::{Answered, Judged, Next};
use crate::ids::{Author, SiteId, SpaceId};
use crate::log::entry::Tip;
use crate::protocol::prepare::{Prepared, PreparedEntry};
use crate::replica::batch::accept::Acceptance;
use crate::replica::batch::stage::After;
use crate::replica::merge::MergePiece;
use crate::replica::{Notice, Now, Replica};
use crate::store::{Store, StoreError};

/// What one step may take, in microseconds, about: writers wait for it.
const STEP_COST: usize = 5_000;
/// What it takes to take in a change of which it is known what it comes to, in microseconds, about.
const CHANGE_COST: usize = 3;

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

impl<S: Store> Replica<S> {
    /// Takes in the entries of an answer at once.
    pub(in crate::replica) fn take_prepared(
        &mut self,
        prepared: Prepared,
    ) -> Result<(), StoreError> {
        self.begin_taking(prepared);
        while self.is_taking() {
            self.go_on_taking(self.now)?;
        }
        Ok(())
    }

    /// Begins to take in the entries of an answer, as [`Input::Prepared`](crate::replica::Input::Prepared) does at once. For a
    /// caller who has others to serve meanwhile: [`Replica::go_on_taking`] then does it in steps.
    pub fn begin_taking(&mut self, prepared: Prepared) {
        let Prepared { from, id, entries } = prepared;
        if !self.links.peers.get(&from).is_some_and(|peer| peer.awaits(id)) {
            return;
        }
        let mut judged = Judged::default();
        let entries = entries.unwrap_or_else(|error| {
            judged.refused = true;
            self.outbox.notice(Notice::Refused { from, reason: error.to_string() });
            Vec::new()
        });
        let (entries, repeated) = (entries.into(), BTreeMap::new());
        self.taking.push_back(Taking { from, id, entries, judged, repeated });
    }

    /// Whether the entries of answers are yet to be taken in.
    pub fn is_taking(&self) -> bool {
        !self.taking.is_empty()
    }

    /// Takes one step, of a few milliseconds. What it accepts waits for [`Replica::commit`], as inputs do.
    pub fn go_on_taking(&mut self, now: Now) -> Result<(), StoreError> {
        self.now = now;
        let mut room = STEP_COST;
        while room > 0
            && let Some(mut taking) = self.taking.pop_front()
        {
            let Some(mut entry) = taking.entries.pop_front() else {
                self.end_taking(taking)?;
                continue;
            };
            if self.foresee(&mut entry, &mut room)? {
                room = room.saturating_sub(CHANGE_COST * (1 + entry.changes().len()));
                self.take_next(&mut taking, entry)?;
                self.batch.foresight = None;
            } else {
                taking.entries.push_front(entry);
            }
            self.taking.push_front(taking);
            self.commit_if_large()?;
        }
        Ok(())
    }

    /// Forgets the entries that were read for their changes, unless they are wanted again soon.
    pub(in crate::replica) fn forget_recent(&mut self) {
        if !self.is_taking() {
            self.batch.recent.clear();
        }
    }

    /// Finds out what the first entry of a piece makes of its records, in one step. True: there is no more to find out,
    /// and [`Replica::merge`] is quick then, if the piece has no other.
    pub fn foresee_merge(&mut self, piece: &mut MergePiece, now: Now) -> Result<bool, StoreError> {
        self.now = now;
        let MergePiece::Entries(Prepared { entries: Ok(entries), .. }) = piece else {
            return Ok(true);
        };
        let Some(entry) = entries.first_mut() else { return Ok(true) };
        let mut room = STEP_COST;
        self.foresee(entry, &mut room)
    }

    fn take_next(&mut self, taking: &mut Taking, entry: PreparedEntry) -> Result<(), StoreError> {
        let Taking { from, judged, repeated, .. } = taking;
        let Tip { author, seq, .. } = entry.entry.tip();
        match self.take_entry(*from, entry, false)? {
            Acceptance::Staged => {
                judged.progress = true;
                self.links.exchange(*from, |exchange| exchange.pulled += 1);
            }
            Acceptance::NotReady => judged.not_ready = true,
            Acceptance::Repeat => {
                repeated.insert(author, seq);
            }
            Acceptance::Fork { .. } => judged.refused = true,
            // What follows is of the same hand.
            Acceptance::Refused(_) => {
                judged.refused = true;
                taking.entries.clear();
            }
        }
        Ok(())
    }

    fn end_taking(&mut self, taking: Taking) -> Result<(), StoreError> {
        let Taking { from, id, mut judged, mut repeated, .. } = taking;
        let answered = self.links.peers.get_mut(&from).and_then(|peer| peer.prepared(id));
        let Some((space, Answered { request, is_cut })) = answered else { return Ok(()) };
        // What came from elsewhere meanwhile says nothing of the peer.
        repeated.retain(|author, seq| request.held.get(author).is_some_and(|held| *seq <= *held));
        judged.progress |= self.links.note_checked(from, space, repeated);
        let state = self.links.peers.get_mut(&from).and_then(|peer| peer.pulls.get_mut(&space));
        let Some(state) = state else { return Ok(()) };
        match state.taken(is_cut, judged) {
            Next::Wait => {
                let (links, cx, _, out) = self.sync();
                links.pull_ahead(cx, out, from, space);
            }
            Next::More => self.batch.stage.after.push(After::PullMore { from, space }),
            Next::Retry => {
                let (links, cx, ..) = self.sync();
                links.retry_pull(cx, from, space);
            }
            Next::Done => {
                self.links.exchange(from, |exchange| {
                    *exchange.pulls_ended.entry(space).or_insert(0) += 1
                });
                self.pull_again_if_asked(from, space);
            }
        }
        Ok(())
    }
}
