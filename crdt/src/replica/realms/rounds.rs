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
        if self.has_progress { vec![Task::Commit, Task::NextRound(self)] } else { Vec::new() }
    }

    /// Begins again, if what the last round took in could be written.
    pub(in crate::replica) fn again(self, is_durable: bool) -> Vec<Task> {
        if is_durable {
            vec![Task::Members(Self { next: 0, has_progress: false, ..self })]
        } else {
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Author, EntryHash, Incarnation, SiteKey, SpaceId};
    use crate::log::entry::{Body, Draft};

    const REALM: RealmId = RealmId([7; 32]);

    fn entry(space: SpaceId, seq: u64) -> Entry {
        let key = SiteKey::from_seed([1; 32]);
        let draft = Draft {
            realm: REALM,
            space,
            author: Author { site: key.site(), incarnation: Incarnation([1; 8]) },
            seq,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms: 0,
        };
        draft.sign(&Body::Membership(Vec::new()), &key)
    }

    fn of_members(seq: u64) -> Entry {
        entry(REALM.membership_space(), seq)
    }

    /// Goes through a round, where each entry is judged like this. Returns how many were, and what comes then.
    fn go_through(round: Round, acceptance: &Acceptance) -> (usize, Vec<Task>) {
        let (mut round, mut judged) = (round, 0);
        loop {
            let mut tasks = round.go_on();
            match tasks.pop() {
                Some(Task::Judge(arrival)) => {
                    judged += 1;
                    let Waiting::Members(next) = arrival.into_waiting() else {
                        panic!("the round waits")
                    };
                    round = next;
                    round.note(acceptance);
                }
                last => {
                    tasks.extend(last);
                    return (judged, tasks);
                }
            }
        }
    }

    #[test]
    fn a_round_that_takes_something_in_is_followed_by_another_behind_the_end_of_the_group() {
        let round = Round::new(REALM, vec![of_members(1), of_members(2)]);
        let (judged, tasks) = go_through(round, &Acceptance::Staged);
        assert_eq!(judged, 2);
        let [Task::Commit, Task::NextRound(_)] = &tasks[..] else { panic!("another round") };
    }

    #[test]
    fn a_round_that_takes_nothing_in_is_the_last() {
        for acceptance in [Acceptance::Repeat, Acceptance::NotReady] {
            let round = Round::new(REALM, vec![of_members(1), of_members(2)]);
            let (judged, tasks) = go_through(round, &acceptance);
            assert_eq!((judged, tasks.len()), (2, 0));
        }
    }

    #[test]
    fn entries_that_are_not_of_members_are_left_out() {
        let entries = vec![entry(REALM.main_space(), 1), of_members(1)];
        let (judged, _) = go_through(Round::new(REALM, entries), &Acceptance::Repeat);
        assert_eq!(judged, 1);
    }

    #[test]
    fn the_next_round_begins_at_the_first_entry_and_has_its_own_progress() {
        let round = Round::new(REALM, vec![of_members(1)]);
        let (_, mut tasks) = go_through(round, &Acceptance::Staged);
        let Some(Task::NextRound(round)) = tasks.pop() else { panic!("another round") };
        let Some(Task::Members(round)) = round.again(true).pop() else { panic!("it begins") };
        let (judged, tasks) = go_through(round, &Acceptance::Repeat);
        assert_eq!((judged, tasks.len()), (1, 0));
    }

    #[test]
    fn there_is_no_next_round_where_the_last_could_not_be_written() {
        let round = Round::new(REALM, vec![of_members(1)]);
        assert!(round.again(false).is_empty());
    }

    #[test]
    fn no_entries_are_no_round() {
        assert!(Round::new(REALM, Vec::new()).go_on().is_empty());
    }
}
