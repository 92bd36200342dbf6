//! Live spreading of new entries: a hint, so that nothing waits for the next regular pull.

use std::collections::{BTreeMap, VecDeque};

use super::Links;
use super::news::is_small;
use crate::ids::{Author, RealmId, SiteId, SpaceId};
use crate::log::entry::{Entry, Tip};
use crate::protocol::prepare::PreparedEntry;
use crate::protocol::{Answer, Gossip, Outcome, UnpackEntriesError};
use crate::replica::batch::Batch;
use crate::replica::batch::accept::{Acceptance, Refusal};
use crate::replica::batch::stage::{After, StagedEntry};
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::{Notice, Output, Validation};
use crate::store::{Store, StoreError};

/// Announcements that wait for their entry before they are handed on; gossipsub itself forgets them in seconds.
const WAITING_MAX: usize = 1024;

/// Announcements that wait for their entry: by log, the number and the message's token.
#[derive(Debug, Default)]
pub(in crate::replica) struct Announced {
    waiting: BTreeMap<(SpaceId, Author), (u64, u64)>,
}

impl Announced {
    /// Lets one wait. Returns the message that is not waited for any more.
    fn wait(&mut self, space: SpaceId, tip: &Tip, token: u64) -> Option<u64> {
        let waiting = &mut self.waiting;
        let mut forgotten = waiting.insert((space, tip.author), (tip.seq, token));
        if waiting.len() > WAITING_MAX {
            let oldest = waiting.iter().min_by_key(|(_, (_, token))| *token).map(|(log, _)| *log);
            forgotten = oldest.and_then(|log| waiting.remove(&log));
        }
        forgotten.map(|(_, token)| token)
    }

    /// How many wait.
    pub(in crate::replica) fn count(&self) -> usize {
        self.waiting.len()
    }
}

impl Links {
    /// Prepares what is said of a group's entries: own small ones whole, the newest of each other log by name. Those of the
    /// network wait for their time.
    pub(in crate::replica) fn broadcast_entries<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        entries: &[StagedEntry],
    ) {
        let mut newest: BTreeMap<(SpaceId, Author), Tip> = BTreeMap::new();
        for StagedEntry { entry, by_gossip, .. } in entries {
            let space = entry.header.space;
            let is_own = entry.log == cx.author && is_small(entry);
            if *by_gossip {
                newest.remove(&(space, entry.log));
                self.news.note_writer(entry.log.site, cx.now.monotonic_ms);
            } else if is_own && cx.realms.is_network(entry.header.realm) {
                self.news.add(entry);
            } else if is_own {
                out.broadcast(space, Gossip::Entry(entry.bytes().to_vec()));
            } else {
                newest.insert((space, entry.log), entry.tip());
            }
        }
        for ((space, _), tip) in newest {
            out.broadcast(space, Gossip::Announce { space, tip });
        }
        self.hand_on_announcements(cx, out);
    }

    /// Says what is new once all else is said. One input may commit several times and shut sites out on the way: whom all of it
    /// reaches is decided by what is known after the last.
    pub(in crate::replica) fn send_broadcasts<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
    ) {
        self.say_news(out, cx.now.monotonic_ms);
        for (space, gossip) in out.take_broadcasts() {
            self.notify(cx, out, space, &gossip);
        }
    }

    fn hand_on_announcements<S: Store>(&mut self, cx: Context<'_, S>, out: &mut Outbox) {
        self.announced.waiting.retain(|(space, author), (seq, token)| {
            let row = cx.realms.logs(*space).and_then(|logs| logs.rows().get(author));
            let held = row.is_some_and(|row| row.seq >= *seq);
            if held {
                let verdict = Validation::Accept;
                out.push(Output::Validate { token: *token, verdict });
            }
            !held
        });
    }
}

/// How the sender of a message hears what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Reply {
    /// It was gossip: with a verdict, once there is one.
    Validate(u64),
    /// It was said to this site alone: at once.
    Respond(u64),
}

/// A message whose entries are taken in, one after the other.
pub(in crate::replica) struct HeardMessage {
    /// The member that handed it on.
    pub(in crate::replica) from: SiteId,
    pub(in crate::replica) reply: Reply,
    pub(in crate::replica) realm: RealmId,
    entries: VecDeque<PreparedEntry>,
    /// Until when it waits for what it builds on, or has waited; `None`: it never did.
    pub(in crate::replica) waits_until_ms: Option<u64>,
    /// There was no room for some of it.
    is_partial: bool,
}

impl HeardMessage {
    pub(in crate::replica) fn new(
        from: SiteId,
        reply: Reply,
        realm: RealmId,
        entries: Vec<PreparedEntry>,
    ) -> Self {
        Self {
            from,
            reply,
            realm,
            entries: entries.into(),
            waits_until_ms: None,
            is_partial: false,
        }
    }

    /// The next entry.
    pub(in crate::replica) fn next(&mut self) -> Option<PreparedEntry> {
        self.entries.pop_front()
    }

    /// Puts an entry back: it waits for another.
    pub(in crate::replica) fn put_back(&mut self, entry: PreparedEntry) {
        self.entries.push_front(entry);
    }

    /// Whether it may wait now: what is said to this site alone is answered at once.
    pub(in crate::replica) fn may_wait(&self, now_ms: u64) -> bool {
        let has_time = self.waits_until_ms.is_none_or(|until_ms| now_ms < until_ms);
        matches!(self.reply, Reply::Validate(_)) && has_time
    }
}

impl Reply {
    /// Answers a message; `None`: the entry that it announces is awaited.
    pub(in crate::replica) fn give(
        self,
        batch: &mut Batch,
        out: &mut Outbox,
        verdict: Option<Validation>,
    ) {
        match (self, verdict) {
            (Self::Respond(token), _) => out.respond(token, &Answer::of(Outcome::UpToDate)),
            (Self::Validate(token), Some(verdict)) => {
                batch.then(After::Say(Output::Validate { token, verdict }));
            }
            (Self::Validate(_), None) => {}
        }
    }
}

impl<S: Store> Context<'_, S> {
    /// The entries of a message, or what to say of the message.
    pub(in crate::replica) fn gossiped_entries(
        &self,
        out: &mut Outbox,
        from: SiteId,
        reply: Reply,
        entries: Result<Vec<Entry>, UnpackEntriesError>,
    ) -> Result<HeardMessage, Validation> {
        let mut refuse = |reason: String| {
            out.notice(Notice::Refused { from, reason });
            Validation::Reject
        };
        let entries = entries.map_err(|error| refuse(error.to_string()))?;
        let realm = entries.first().map(|entry| entry.header.realm);
        let is_one = entries.iter().all(|entry| Some(entry.header.realm) == realm);
        let Some(realm) = realm.filter(|_| is_one) else {
            return Err(refuse("a message of entries of no network, or of several".to_owned()));
        };
        if matches!(reply, Reply::Validate(_)) && !self.realms.is_network(realm) {
            // Nothing of a private space is handed on to everybody.
            return Err(refuse(Refusal::Network.to_string()));
        }
        let entries = entries.into_iter().map(PreparedEntry::unread).collect();
        Ok(HeardMessage::new(from, reply, realm, entries))
    }
}

impl Links {
    /// An entry that came by a message was judged. What to say of the message, unless it goes on.
    pub(in crate::replica) fn judged_message<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        heard: &mut HeardMessage,
        acceptance: &Acceptance,
    ) -> Option<Validation> {
        heard.is_partial |= *acceptance == Acceptance::NoRoom;
        match acceptance {
            Acceptance::Staged | Acceptance::Repeat | Acceptance::NoRoom => {
                let is_last = heard.entries.is_empty();
                // What is not held whole is for others to hand on.
                let verdict =
                    if heard.is_partial { Validation::Ignore } else { Validation::Accept };
                is_last.then_some(verdict)
            }
            Acceptance::NotReady => {
                self.pull_realm(cx, out, heard.from, heard.realm);
                Some(Validation::Ignore)
            }
            Acceptance::Fork => Some(Validation::Ignore),
            Acceptance::Refused(_) => Some(Validation::Reject),
        }
    }

    /// An entry is announced. `None` while it is awaited: the announcement is handed on once it is held here, so that
    /// those who hear of it from this site can pull it from this site.
    pub(in crate::replica) fn announced_entry<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        (from, reply): (SiteId, Reply),
        (space, tip): (SpaceId, &Tip),
    ) -> Result<Option<Validation>, StoreError> {
        let is_gossip = matches!(reply, Reply::Validate(_));
        let realm = cx.realms.realm_of(space);
        let realm = realm.filter(|realm| !is_gossip || cx.realms.is_network(*realm));
        let Some(realm) = realm else { return Ok(Some(Validation::Ignore)) };
        if batch.held_hash(cx, space, tip.author, tip.seq)?.is_some() {
            return Ok(Some(Validation::Accept));
        }
        let members = cx.realms.members_of(realm);
        let is_known = members.is_some_and(|members| members.get(&tip.author.site).is_some());
        if !is_known || !self.has_room_for(cx, space) {
            return Ok(Some(Validation::Ignore));
        }
        self.pull(cx, out, from, space);
        let Reply::Validate(token) = reply else { return Ok(None) };
        if let Some(token) = self.announced.wait(space, tip, token) {
            out.push(Output::Validate { token, verdict: Validation::Ignore });
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntryHash, Incarnation};

    fn tip(number: u64, seq: u64) -> Tip {
        let mut site = [0; 32];
        site[..8].copy_from_slice(&number.to_le_bytes());
        let author = Author { site: SiteId(site), incarnation: Incarnation([0; 8]) };
        Tip { author, seq, hash: EntryHash([1; 32]) }
    }

    const SPACE: SpaceId = SpaceId([1; 16]);

    #[test]
    fn of_one_log_the_last_announcement_waits() {
        let mut announced = Announced::default();
        assert_eq!(announced.wait(SPACE, &tip(1, 1), 10), None);
        assert_eq!(announced.wait(SPACE, &tip(1, 2), 11), Some(10));
        assert_eq!(announced.wait(SPACE, &tip(2, 1), 12), None);
        assert_eq!(announced.count(), 2);
    }

    #[test]
    fn beyond_the_bound_the_oldest_announcement_is_given_up() {
        let mut announced = Announced::default();
        for number in 0..WAITING_MAX as u64 {
            // Later logs are announced by earlier messages.
            let token = WAITING_MAX as u64 - number;
            assert_eq!(announced.wait(SPACE, &tip(number, 1), token), None);
        }
        assert_eq!(announced.wait(SPACE, &tip(5_000, 1), 9_000), Some(1));
        assert_eq!(announced.count(), WAITING_MAX);
    }
}
