//! Live spreading of new entries: a hint, so that nothing waits for the next regular pull.

use std::collections::BTreeMap;

use super::Links;
use crate::format::codec;
use crate::ids::{Author, SiteId, SpaceId};
use crate::log::entry::{Entry, Tip};
use crate::protocol::prepare::PreparedEntry;
use crate::protocol::{GOSSIP_BYTES_MAX, Gossip};
use crate::replica::batch::Context;
use crate::replica::batch::accept::{Acceptance, Refusal};
use crate::replica::batch::stage::{After, StagedEntry};
use crate::replica::outbox::Outbox;
use crate::replica::{Notice, Output, Replica, Validation};
use crate::store::{Store, StoreError};

/// Announcements that wait for their entry before they are handed on; gossipsub itself forgets them in seconds.
const WAITING_MAX: usize = 1024;

/// Announcements that wait for their entry: by log, the number and the message's token.
#[derive(Debug, Default)]
pub(in crate::replica) struct Announced {
    waiting: BTreeMap<(SpaceId, Author), (u64, u64)>,
}

impl Announced {
    /// How many wait.
    pub(in crate::replica) fn count(&self) -> usize {
        self.waiting.len()
    }
}

impl Links {
    /// Prepares the news of a group's entries: own small ones whole, the newest of each other log by name.
    pub(in crate::replica) fn spread<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        entries: &[StagedEntry],
    ) {
        let mut newest: BTreeMap<(SpaceId, Author), Tip> = BTreeMap::new();
        for StagedEntry { entry, by_gossip, .. } in entries {
            let space = entry.header.space;
            let small = entry.bytes().len() < GOSSIP_BYTES_MAX - 8;
            if *by_gossip {
                newest.remove(&(space, entry.header.author));
            } else if entry.header.author == cx.author && small {
                out.announce(space, Gossip::Entry(entry.bytes().to_vec()));
            } else {
                newest.insert((space, entry.header.author), entry.tip());
            }
        }
        for ((space, _), tip) in newest {
            out.announce(space, Gossip::Announce { space, tip });
        }
        self.hand_on_announcements(cx, out);
    }

    /// Tells the news when all else is said. One input may commit several times and shut sites out on the way: whom the
    /// news of all of it reaches is judged by what is known after the last.
    pub(in crate::replica) fn tell_news<S: Store>(&mut self, cx: Context<'_, S>, out: &mut Outbox) {
        for (space, gossip) in out.take_news() {
            self.inform(cx, out, space, &gossip);
        }
    }

    fn hand_on_announcements<S: Store>(&mut self, cx: Context<'_, S>, out: &mut Outbox) {
        self.announced.waiting.retain(|(space, author), (seq, token)| {
            let row = cx.realms.logs(*space).and_then(|logs| logs.rows.get(author));
            let held = row.is_some_and(|row| row.seq >= *seq);
            if held {
                let verdict = Validation::Accept;
                out.push(Output::Validate { token: *token, verdict });
            }
            !held
        });
    }
}

impl<S: Store> Replica<S> {
    /// Takes in a gossip message.
    pub(in crate::replica) fn gossip(
        &mut self,
        from: SiteId,
        token: u64,
        data: &[u8],
    ) -> Result<(), StoreError> {
        let verdict = match codec::decode("gossip message", data) {
            Ok(gossip) => self.take_gossip(from, Some(token), gossip)?,
            Err(error) => {
                self.outbox.notice(Notice::Refused { from, reason: error.to_string() });
                Some(Validation::Reject)
            }
        };
        if let Some(verdict) = verdict {
            self.batch.stage.after.push(After::Say(Output::Validate { token, verdict }));
        }
        Ok(())
    }

    /// Takes in what is gossiped, or told to this site alone (without a token). `None`: an entry is awaited.
    pub(in crate::replica) fn take_gossip(
        &mut self,
        from: SiteId,
        token: Option<u64>,
        gossip: Gossip,
    ) -> Result<Option<Validation>, StoreError> {
        match gossip {
            Gossip::Entry(bytes) => self.gossiped_entry(from, token, &bytes).map(Some),
            Gossip::Announce { space, tip } => self.announced_entry(from, token, space, &tip),
            Gossip::Receipt(receipt) => Ok(Some(self.take_receipt(receipt, true))),
            Gossip::News(space) => {
                self.pull(from, space);
                Ok(Some(Validation::Ignore))
            }
        }
    }

    fn gossiped_entry(
        &mut self,
        from: SiteId,
        token: Option<u64>,
        bytes: &[u8],
    ) -> Result<Validation, StoreError> {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                self.outbox.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(Validation::Reject);
            }
        };
        let realm = entry.header.realm;
        if token.is_some() && !self.realms.is_network(realm) {
            // Nothing of a private space is handed on to everybody.
            self.outbox.notice(Notice::Refused { from, reason: Refusal::Network.to_string() });
            return Ok(Validation::Reject);
        }
        let by_gossip = token.is_some();
        Ok(match self.take_entry(from, PreparedEntry::unread(entry), by_gossip)? {
            Acceptance::Staged | Acceptance::Repeat => Validation::Accept,
            Acceptance::NotReady => {
                self.pull(from, realm.membership_space());
                self.pull(from, realm.main_space());
                Validation::Ignore
            }
            Acceptance::Fork { .. } => Validation::Ignore,
            Acceptance::Refused(_) => Validation::Reject,
        })
    }

    /// `None` while the entry is awaited: the announcement is handed on once it is held here, so that whoever hears
    /// of it from this site can pull it from this site.
    fn announced_entry(
        &mut self,
        from: SiteId,
        token: Option<u64>,
        space: SpaceId,
        tip: &Tip,
    ) -> Result<Option<Validation>, StoreError> {
        let realm = self
            .realms
            .realm_of(space)
            .filter(|realm| token.is_none() || self.realms.is_network(*realm));
        let Some(realm) = realm else { return Ok(Some(Validation::Ignore)) };
        if self.batch.held_hash(self.context(), space, tip.author, tip.seq)?.is_some() {
            return Ok(Some(Validation::Accept));
        }
        if self
            .realms
            .members_of(realm)
            .is_none_or(|members| members.get(&tip.author.site).is_none())
        {
            return Ok(Some(Validation::Ignore));
        }
        self.pull(from, space);
        let Some(token) = token else { return Ok(None) };
        let waiting = &mut self.links.announced.waiting;
        let mut forgotten = waiting.insert((space, tip.author), (tip.seq, token));
        if waiting.len() > WAITING_MAX {
            let oldest = waiting.iter().min_by_key(|(_, (_, token))| *token).map(|(log, _)| *log);
            forgotten = oldest.and_then(|log| waiting.remove(&log));
        }
        if let Some((_, token)) = forgotten {
            let verdict = Validation::Ignore;
            self.outbox.push(Output::Validate { token, verdict });
        }
        Ok(None)
    }
}
