//! What entries of the membership space have behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Operation;
use crate::ids::{Author, EntryHash, SpaceId};
use crate::log::entry::Entry;

/// What orders entries: one more than the greatest depth in an entry's past, so that a follower always comes later;
/// then the entry's hash.
pub(in crate::membership) type FoldOrder = (u64, EntryHash);

/// Which entries that admit sites, decide of them or vouch for them something follows: of each log the last. A log is a chain, so who
/// follows one entry of it follows all before that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::membership) struct Followed {
    others: Arc<BTreeMap<Author, u64>>,
    /// The same of one log: the entries of that one share the rest, however many they are.
    own: Option<(Author, u64)>,
}

impl Followed {
    /// Whether an entry that admits, decides or vouches is among them.
    pub(in crate::membership) fn contains(&self, log: Author, seq: u64) -> bool {
        self.last(log) >= Some(seq)
    }

    fn last(&self, author: Author) -> Option<u64> {
        let own = self.own.filter(|(log, _)| *log == author).map(|(_, seq)| seq);
        own.max(self.others.get(&author).copied())
    }

    fn add(&mut self, author: Author, seq: u64) {
        if self.last(author) < Some(seq) {
            Arc::make_mut(&mut self.others).insert(author, seq);
        }
    }

    fn add_all(&mut self, other: &Self) {
        if !Arc::ptr_eq(&self.others, &other.others) {
            other.others.iter().for_each(|(author, seq)| self.add(*author, *seq));
        }
        if let Some((author, seq)) = other.own {
            self.add(author, seq);
        }
    }

    /// The same, as seen from a log.
    fn seen_by(mut self, log: Author) -> Self {
        if let Some((other, seq)) = self.own.take_if(|(other, _)| *other != log) {
            self.add(other, seq);
        }
        self
    }
}

/// An entry of the membership space as the fold sees it.
#[derive(Clone, Debug)]
pub(in crate::membership) struct Recorded {
    pub(in crate::membership) order: FoldOrder,
    pub(in crate::membership) space: SpaceId,
    pub(in crate::membership) author: Author,
    /// Its author's log, or a branch of that.
    pub(in crate::membership) log: Author,
    pub(in crate::membership) seq: u64,
    pub(in crate::membership) follows: Followed,
}

/// What an entry, with itself, has behind it.
#[derive(Clone, Debug)]
struct KnownPast {
    depth: u64,
    decisions: Followed,
}

/// The pasts of all entries that were heard of.
#[derive(Clone, Debug, Default)]
pub(in crate::membership) struct Pasts(Arc<BTreeMap<EntryHash, KnownPast>>);

impl Pasts {
    /// An entry by what is known of its past, and what is to be known of its own, see [`Pasts::note`].
    pub(in crate::membership) fn record<'a>(
        &self,
        entry: &Entry,
        mut operations: impl Iterator<Item = &'a Operation>,
    ) -> (Recorded, NewPast) {
        let header = &entry.header;
        let (space, author, log, seq) = (header.space, header.author, entry.log, header.seq);
        let named: Vec<_> = header.past.iter().filter_map(|tip| self.0.get(&tip.hash)).collect();
        let previous = self.0.get(&header.previous);
        let depths = named.iter().copied().chain(previous).map(|past| past.depth);
        let depth = 1 + depths.max().unwrap_or(0);
        let greatest = || named.iter().copied().max_by_key(|past| past.decisions.others.len());
        let base = previous.or_else(greatest).map(|past| past.decisions.clone());
        let mut follows = base.unwrap_or_default().seen_by(log);
        named.iter().for_each(|past| follows.add_all(&past.decisions));
        let mut decisions = follows.clone();
        if operations.any(Operation::is_to_be_known) {
            decisions.own = Some((log, seq));
        }
        let order = (depth, entry.hash);
        let recorded = Recorded { order, space, author, log, seq, follows };
        (recorded, NewPast(entry.hash, KnownPast { depth, decisions }))
    }

    /// Takes note of the past of an entry.
    pub(in crate::membership) fn note(&mut self, NewPast(entry, past): NewPast) {
        Arc::make_mut(&mut self.0).insert(entry, past);
    }
}

/// What is to be known of an entry's past.
pub(in crate::membership) struct NewPast(EntryHash, KnownPast);
