//! Messages that come before what their entries build on. They take different ways: where ten sites write at once, every
//! other one comes some milliseconds before another that its author knew. They wait here for it; only what does not come
//! is pulled.

use std::collections::BTreeMap;

use super::Links;
use super::gossip::{HeardMessage, Reply};
use crate::ids::{Author, SpaceId};
use crate::replica::batch::Batch;
use crate::replica::batch::arrival::{Arrival, Waiting};
use crate::replica::batch::stage::After;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::task::Task;
use crate::replica::{Output, Validation};
use crate::store::Store;

/// Messages that wait: 1 MiB of them at the most.
const WAITING_MAX: usize = 256;
/// How long one waits: several ways across a continent, and less than a person notices. Then what it builds on is pulled.
const WAIT_MS: u64 = 250;

/// An entry, by its log and number there.
pub(in crate::replica) type Awaited = (SpaceId, Author, u64);

/// The messages that wait, by the first entry that each lacks and the order in which they came.
#[derive(Default)]
pub(in crate::replica) struct Early {
    waiting: BTreeMap<(Awaited, u64), HeardMessage>,
    came: u64,
}

impl Early {
    /// How many wait.
    pub(in crate::replica) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// Lets one wait. Returns the one that has no room any more.
    fn wait(&mut self, awaited: Awaited, heard: HeardMessage) -> Option<HeardMessage> {
        self.came += 1;
        self.waiting.insert((awaited, self.came), heard);
        if self.waiting.len() <= WAITING_MAX {
            return None;
        }
        let oldest = self.waiting.keys().min_by_key(|(_, came)| *came).copied()?;
        self.waiting.remove(&oldest)
    }

    /// Takes one out that waits for what is held by now.
    fn take_ready(&mut self, is_held: impl Fn(&Awaited) -> bool) -> Option<HeardMessage> {
        let ready = self.waiting.keys().find(|(awaited, _)| is_held(awaited)).copied()?;
        self.waiting.remove(&ready)
    }

    /// Takes one out whose time is over.
    fn take_late(&mut self, now_ms: u64) -> Option<HeardMessage> {
        let is_late =
            |heard: &HeardMessage| heard.waits_until_ms.is_some_and(|until| until <= now_ms);
        let late = self.waiting.iter().find(|(_, heard)| is_late(heard)).map(|(key, _)| *key)?;
        self.waiting.remove(&late)
    }

    /// When the time of the first of them is over.
    pub(in crate::replica) fn due_ms(&self) -> Option<u64> {
        self.waiting.values().filter_map(|heard| heard.waits_until_ms).min()
    }
}

impl Links {
    /// Goes on with the next entry of a message, which waits where it came before what it builds on.
    pub(in crate::replica) fn hear_next<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &mut Batch,
        out: &mut Outbox,
        mut heard: HeardMessage,
    ) -> Vec<Task> {
        let Some(mut entry) = heard.next() else { return Vec::new() };
        let now_ms = cx.now.monotonic_ms;
        if self.room.takes(&entry.entry.header)
            && heard.may_wait(now_ms)
            && let Some(awaited) = batch.awaited(cx, &mut entry)
        {
            heard.put_back(entry);
            if let Some(heard) = self.let_wait(awaited, heard, now_ms) {
                self.wait_in_vain(cx, batch, out, heard);
            }
            return Vec::new();
        }
        vec![Task::Judge(Arrival::new(entry, Waiting::Message(heard)))]
    }

    /// Lets a message wait for an entry. Returns the one that has no room any more.
    fn let_wait(
        &mut self,
        awaited: Awaited,
        mut heard: HeardMessage,
        now_ms: u64,
    ) -> Option<HeardMessage> {
        heard.waits_until_ms.get_or_insert(now_ms + WAIT_MS);
        self.early.wait(awaited, heard)
    }

    /// The next message that waits for what is held by now.
    pub(in crate::replica) fn next_early<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
    ) -> Option<HeardMessage> {
        self.early.take_ready(|awaited| batch.reaches(cx, awaited))
    }

    /// What messages build on whose time is over is pulled.
    pub(in crate::replica) fn end_waiting<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &mut Batch,
        out: &mut Outbox,
    ) {
        while let Some(heard) = self.early.take_late(cx.now.monotonic_ms) {
            self.wait_in_vain(cx, batch, out, heard);
        }
    }

    /// What a message builds on is pulled from the site that handed it on, and the message ignored.
    fn wait_in_vain<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &mut Batch,
        out: &mut Outbox,
        heard: HeardMessage,
    ) {
        self.pull_realm(cx, out, heard.from, heard.realm);
        if let Reply::Validate(token) = heard.reply {
            let verdict = Validation::Ignore;
            batch.then(After::Say(Output::Validate { token, verdict }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, RealmId, SiteId};

    fn awaited(site: u8, seq: u64) -> Awaited {
        let author = Author { site: SiteId([site; 32]), incarnation: Incarnation([0; 8]) };
        (SpaceId([1; 16]), author, seq)
    }

    fn heard(token: u64) -> HeardMessage {
        HeardMessage::new(SiteId([9; 32]), Reply::Validate(token), RealmId([1; 32]), Vec::new())
    }

    fn token(heard: Option<HeardMessage>) -> Option<u64> {
        heard.map(|heard| match heard.reply {
            Reply::Validate(token) | Reply::Respond(token) => token,
        })
    }

    #[test]
    fn messages_wait_until_what_they_lack_is_held() {
        let mut links = Links::new(1);
        assert!(links.let_wait(awaited(1, 5), heard(10), 0).is_none());
        assert!(links.let_wait(awaited(2, 1), heard(11), 0).is_none());
        assert!(links.let_wait(awaited(1, 5), heard(12), 0).is_none());
        let held = |to: u64| {
            move |(_, author, seq): &Awaited| author.site == SiteId([1; 32]) && *seq <= to
        };
        assert_eq!(token(links.early.take_ready(held(4))), None);
        assert_eq!(
            token(links.early.take_ready(held(5))),
            Some(10),
            "in the order in which they came"
        );
        assert_eq!(token(links.early.take_ready(held(5))), Some(12));
        assert_eq!(token(links.early.take_ready(held(5))), None);
        assert_eq!(links.early.count(), 1);
    }

    #[test]
    fn a_message_waits_no_longer_than_once_its_time_however_much_it_lacks() {
        let mut links = Links::new(1);
        links.let_wait(awaited(1, 5), heard(10), 1_000);
        assert_eq!(links.early.due_ms(), Some(1_000 + WAIT_MS));
        let again = links.early.take_ready(|_| true).unwrap();
        links.let_wait(awaited(1, 6), again, 1_100);
        assert_eq!(links.early.due_ms(), Some(1_000 + WAIT_MS));
        assert_eq!(token(links.early.take_late(999 + WAIT_MS)), None);
        assert_eq!(token(links.early.take_late(1_000 + WAIT_MS)), Some(10));
        assert_eq!(links.early.due_ms(), None);
    }

    #[test]
    fn beyond_the_bound_the_oldest_waits_no_longer() {
        let mut links = Links::new(1);
        for number in 0..WAITING_MAX as u64 {
            // What comes later stands before it in the order of what is awaited.
            assert!(links.let_wait(awaited(1, 1_000 - number), heard(number), 0).is_none());
        }
        assert_eq!(token(links.let_wait(awaited(1, 1), heard(9_000), 0)), Some(0));
        assert_eq!(links.early.count(), WAITING_MAX);
    }
}
