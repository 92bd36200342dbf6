//! Membership entries that a site shows, taken in by rounds: each admits the authors of entries that the next one can
//! take in.

use crate::ids::RealmId;
use crate::log::entry::Entry;
use crate::protocol::prepare::PreparedEntry;
use crate::replica::batch::accept::Acceptance;
use crate::replica::batch::arrival::{Arrival, Waiting};
use crate::replica::task::Task;

/// One round through the entries.
pub(in crate::replica) struct Round {
    realm: RealmId,
    entries: Vec<Entry>,
    /// The entry that is looked at next.
    next: usize,
    /// Whether one was taken in that was not held.
    has_progress: bool,
}

impl Round {
    /// The first round through entries of a realm.
    pub(in crate::replica) fn new(realm: RealmId, entries: Vec<Entry>) -> Self {
        Self { realm, entries, next: 0, has_progress: false }
    }

    /// Takes note of how the entry was judged that was looked at last.
    pub(in crate::replica) fn note(&mut self, acceptance: &Acceptance) {
        self.has_progress |= *acceptance == Acceptance::Staged;
    }

    /// The next entry, or another round behind the end of the group.
    pub(in crate::replica) fn go_on(mut self) -> Vec<Task> {
        let space = self.realm.membership_space();
        while let Some(entry) = self.entries.get(self.next) {
            self.next += 1;
            if entry.header.space == space {
                let entry = PreparedEntry::unread(entry.clone());
                return vec![Task::Judge(Arrival::new(entry, Waiting::Members(self)))];
            }
        }
        match self.has_progress {
            true => vec![Task::Commit, Task::NextRound(self)],
            false => Vec::new(),
        }
    }

    /// Begins again, if what the last round took in could be written.
    pub(in crate::replica) fn again(self, is_durable: bool) -> Vec<Task> {
        match is_durable {
            true => vec![Task::Members(Self { next: 0, has_progress: false, ..self })],
            false => Vec::new(),
        }
    }
}
