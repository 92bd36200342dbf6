//! What is yet to be done of what came in, as steps.
//!
//! Most inputs are done at once. Where the group must end between two steps, because the second judges by what is durable
//! then, each step is a [`Task`], with [`Task::Commit`] between them: a decision is made on the ground of all that is held,
//! an entry that decides about members is taken in behind what this site wrote down before it. A part does a task and
//! returns those that come of it. `Replica::settle` does them in order; it alone ends a group early.
//!
//! ```text
//! an entry     Judge -+-> Conclude                                    most of them
//!                     +-> Commit, BeginLife, Judge                    a copy of this site wrote it in this one's name
//!                     +-> Commit, Prove, (Fork, NameBranches,) Judge  its number is taken by another one
//!                     +-> Commit, Vouch, Commit, VouchLosers, Commit, TakeIn, Commit, Conclude   it decides of members
//! a message    Hear -> Judge, Hear ... -> Conclude                    one that waits for another begins with Hear again
//! proofs       Fork ---> Commit, KeepFork ... -> NameBranches
//! a decision   Commit, Decide, Commit
//! invitations  Invitations -> Commit, Entered, Members, PullRealm, Invitations ...   one after the other
//! members      Members -> Judge ... -> Commit, NextRound              until a round admits nobody
//! a bundle     Bundle -> (Commit,) Judge, Bundle ...
//! ```

use std::collections::VecDeque;

use super::batch::accept::Acceptance;
use super::batch::arrival::{Arrival, Waiting};
use super::decision::Decision;
use super::links::gossip::HeardMessage;
use super::links::sync::PullAnswer;
use super::realms::introduction::{Shown, Welcomed};
use super::realms::rounds::Round;
use super::realms::spaces::{Entered, Invitations};
use crate::ids::{RealmId, SiteId, SpaceId};
use crate::log::fork::ForkProof;
use crate::log::receipt::Receipt;
use crate::membership::{Cut, Role};

/// One step.
pub(super) enum Task {
    /// The group ends. What stands behind it can ask whether that was written.
    Commit,
    /// A decision of this site is made.
    Decide { id: u64, decision: Decision },
    /// The next entry of a message is looked at.
    Hear(HeardMessage),
    /// An entry is judged.
    Judge(Arrival),
    /// This site writes under another incarnation from now on: a copy of it writes under the one that it had.
    BeginLife,
    /// The proof is looked for that an entry's author signed two under its number.
    Prove(Arrival),
    /// Before an entry is taken in that decides of sites: what is held of them is written down.
    Vouch(Arrival, Vec<Decided>),
    /// The same of all those who would lose something by it.
    VouchLosers(Arrival),
    /// An entry that decides of sites is taken in.
    TakeIn(Arrival),
    /// The one who waits for an entry hears how it was judged; `if_durable`: once the group is written.
    Conclude { waiting: Waiting, acceptance: Acceptance, if_durable: bool },
    /// The proof of a fork came.
    Fork { space: SpaceId, fork: Box<ForkProof> },
    /// A proof that is news goes to the journal.
    KeepFork { space: SpaceId, fork: Box<ForkProof> },
    /// The logs that fork go by the right names.
    NameBranches,
    /// The next invitation to a private space is looked at.
    Invitations(Invitations),
    /// The space of an invitation is known.
    Entered(Entered),
    /// The next of some membership entries is taken in.
    Members(Round),
    /// They are gone through again, by those who are members now.
    NextRound(Round),
    /// The next membership entry is looked at that a site shows which is no member.
    Shown(Shown),
    /// This site was let in.
    Welcomed(Welcomed),
    /// The members and records of a realm are pulled.
    PullRealm { from: SiteId, realm: RealmId },
    /// What an answer comes to.
    PullAnswer(Box<PullAnswer>),
    /// Receipts come with a bundle.
    Receipts(Vec<Receipt>),
    /// The next entry of a bundle's piece is taken in.
    Bundle { is_settled: bool },
}

/// A site that an entry decides of: what it may do from now on, and what counts of a higher role.
pub(super) type Decided = (SiteId, Option<Role>, Cut);

/// The tasks that wait, in order.
#[derive(Default)]
pub(super) struct Tasks {
    tasks: VecDeque<Task>,
    /// Whether the last group that ended could be written.
    is_durable: bool,
}

impl Tasks {
    /// Whether the last group that ended could be written.
    pub(super) fn is_durable(&self) -> bool {
        self.is_durable
    }

    /// A group has ended.
    pub(super) fn note_end(&mut self, is_durable: bool) {
        self.is_durable = is_durable;
    }

    /// The next task.
    pub(super) fn next(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    /// Puts tasks before all others, in their order.
    pub(super) fn put(&mut self, tasks: Vec<Task>) {
        for task in tasks.into_iter().rev() {
            self.tasks.push_front(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::EntryHash;

    fn pull(number: u8) -> Task {
        Task::PullRealm { from: SiteId([number; 32]), realm: RealmId([number; 32]) }
    }

    fn numbers(flow: &mut Tasks) -> Vec<u8> {
        let number = |task| match task {
            Task::PullRealm { from, .. } => from.0[0],
            _ => 0,
        };
        std::iter::from_fn(|| flow.next()).map(number).collect()
    }

    #[test]
    fn what_a_task_brings_comes_before_what_waited_already() {
        let mut flow = Tasks::default();
        flow.put(vec![pull(1), pull(4)]);
        assert!(matches!(flow.next(), Some(Task::PullRealm { .. })));
        flow.put(vec![pull(2), pull(3)]);
        assert_eq!(numbers(&mut flow), [2, 3, 4]);
    }

    #[test]
    fn how_the_last_group_ended_is_known_until_the_next_one_ends() {
        let mut flow = Tasks::default();
        assert!(!flow.is_durable(), "none has ended yet");
        flow.note_end(true);
        flow.put(vec![pull(1)]);
        assert!(flow.is_durable());
        flow.note_end(false);
        assert!(!flow.is_durable());
    }

    #[test]
    fn a_task_is_small_enough_to_be_moved_around() {
        // Whole entries pass through the queue by value.
        assert!(size_of::<Task>() <= 1024, "{}", size_of::<Task>());
        assert_eq!(size_of::<EntryHash>(), 32);
    }
}
