//! Answering pulls: what another site lacks, from what is durable here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Links;
use super::repair::Withheld;
use crate::ids::{Author, SiteId, SpaceId};
use crate::log::entry::{Entry, Tip};
use crate::log::frontier::{Known, Salt};
use crate::protocol::{ANSWER_BYTES_MAX, Answer, Have, Outcome, Pull, pack_entries};
use crate::replica::batch::Batch;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::{Position, Store, StoreError};

impl<S: Store> Context<'_, S> {
    fn place_of(
        &self,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<Option<(Position, Author, u64)>, StoreError> {
        let row = self.entry_row(space, author, seq)?;
        Ok(row.map(|row| (row.position(), author, seq)))
    }

    /// The first entry of a log from number `seq` on that the journal has behind `after`.
    fn place_behind(
        &self,
        space: SpaceId,
        author: Author,
        (seq, last): (u64, u64),
        after: Option<Position>,
    ) -> Result<Option<(Position, Author, u64)>, StoreError> {
        let (mut first, mut beyond) = (seq, last + 1);
        // A log lies in the journal in its order, so the place is found by halves; for most the first one is it.
        let mut number = seq;
        let mut found = None;
        while first < beyond {
            let place = self.place_of(space, author, number)?;
            match place {
                Some((at, ..)) if Some(at) <= after => first = number + 1,
                Some(_) | None => (found, beyond) = (place, number),
            }
            number = first + (beyond - first) / 2;
        }
        Ok(found)
    }

    /// Whether this replica holds a log as far as another does.
    fn holds(&self, batch: &Batch, space: SpaceId, item: &Known) -> bool {
        let row = batch.log(*self, space, item.author);
        row.is_some_and(|row| row.seq >= item.seq)
    }
}

impl Links {
    /// The answer, and how many new entries are in it.
    fn answer_to<S: Store>(
        &self,
        cx: Context<'_, S>,
        batch: &Batch,
        pull: &Pull,
        salt: Salt,
    ) -> Result<(Answer, u64), StoreError> {
        let Some(logs) = cx.realms.logs(pull.space) else {
            return Ok((Answer::of(Outcome::UnknownSpace), 0));
        };
        let mut entries = 0;
        let receipts = self.receipts_unless(cx, pull.space, &pull.receipts);
        let outcome = match &pull.have {
            Have::Digest(digest) if *digest == logs.digest() => Outcome::UpToDate,
            Have::Digest(_) => Outcome::SendFrontier(logs.frontier().part_digests(salt)),
            Have::Frontier { .. } => {
                let outcome;
                (outcome, entries) = self.entries_for(cx, batch, pull)?;
                outcome
            }
            Have::Lost(lost) => cx.lost_entries(pull, lost)?,
        };
        Ok((Answer { receipts, ..Answer::of(outcome) }, entries))
    }

    /// The entries that a site with this frontier lacks, in journal order, within the budget, and how many they are.
    fn entries_for<S: Store>(
        &self,
        cx: Context<'_, S>,
        batch: &Batch,
        pull: &Pull,
    ) -> Result<(Outcome, u64), StoreError> {
        let (Some(logs), Have::Frontier { parts, known, after }) =
            (cx.realms.logs(pull.space), &pull.have)
        else {
            return Ok((Outcome::UnknownSpace, 0));
        };
        let mut lacking = logs.lacking(known, parts.as_ref());
        for author in self.diverged(cx, batch, pull.space, known)? {
            // The other side holds another branch of this log: from its first entry on it will find the fork.
            lacking.insert(author, logs.forks.first(&author));
        }
        let budget = ANSWER_BYTES_MAX.min(pull.bytes_max as usize);
        let mut next: BinaryHeap<Reverse<(Position, Author, u64)>> = BinaryHeap::new();
        for (author, seq) in lacking {
            let last = logs.rows().get(&author).map_or(seq, |row| row.seq);
            let place = cx.place_behind(pull.space, author, (seq, last), *after)?;
            next.extend(place.map(Reverse));
        }
        let mut reached = *after;
        let mut withheld = Withheld::new(&self.losses, pull.space);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((position, author, seq))) = next.pop() {
            let Some(entry) = cx.sound_entry(position)?.map(|entry| entry.in_log(author)) else {
                withheld.add(author, seq);
                continue;
            };
            if withheld.builds_on(&entry) {
                continue;
            }
            if !entries.is_empty() && bytes + entry.bytes().len() > budget {
                let tips = entries.iter().map(|entry: &Entry| (entry.log, entry.tip()));
                let until: BTreeMap<Author, Tip> = tips.collect();
                let until = until.into_values().map(Known::of).collect();
                let count = entries.len() as u64;
                let packed = pack_entries(&entries);
                return Ok((Outcome::Entries { packed, until, at: reached }, count));
            }
            reached = Some(position);
            bytes += entry.bytes().len();
            entries.push(entry);
            next.extend(cx.place_of(pull.space, author, seq + 1)?.map(Reverse));
        }
        let count = entries.len() as u64;
        let packed = pack_entries(&entries);
        Ok((Outcome::Entries { packed, until: Vec::new(), at: None }, count))
    }

    /// The logs of which the other side holds another entry under a number that is held here too.
    fn diverged<S: Store>(
        &self,
        cx: Context<'_, S>,
        batch: &Batch,
        space: SpaceId,
        known: &[Known],
    ) -> Result<Vec<Author>, StoreError> {
        let mut diverged = Vec::new();
        for item in known {
            let held = batch.held_hash(cx, space, item.author, item.seq)?;
            if held.is_some_and(|hash| !item.names(&hash)) {
                diverged.push(item.author);
            }
            for former in item.predecessors.iter().filter(|former| former.check != [0; 8]) {
                let author = Author { incarnation: former.incarnation, ..item.author };
                let held = batch.held_hash(cx, space, author, former.seq)?;
                if held.is_some_and(|hash| hash.short() != former.check) {
                    diverged.push(author);
                }
            }
        }
        Ok(diverged)
    }
}

impl Links {
    /// Answers another site's pull, from what is durable.
    pub(in crate::replica) fn serve<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        batch: &Batch,
        out: &mut Outbox,
        (from, token): (SiteId, u64),
        pull: &Pull,
    ) -> Result<(), StoreError> {
        let is_revoked = cx.realms.members().is_some_and(|m| m.revoked().contains_key(&from));
        if is_revoked || !cx.realms.shares(from, pull.space) {
            let revocation = cx.realms.revocation_from(pull.space, from);
            let outcome =
                revocation.map_or(Outcome::UnknownSpace, |r| Outcome::Revoked(Box::new(r)));
            out.respond(token, &Answer::of(outcome));
            return Ok(());
        }
        let salt = self.random.bytes();
        let (mut answer, entries) = self.answer_to(cx, batch, pull, salt)?;
        answer.forks = self.forks_for(cx, from, pull, salt);
        if cx.realms.network().is_some_and(|network| network.membership_space() == pull.space) {
            answer.invitations = self.invitations_for(cx, from, pull.shared)?;
        }
        if let (Have::Frontier { .. }, Outcome::Entries { until, .. }) =
            (&pull.have, &answer.outcome)
        {
            self.note_pushed(from, pull.space, entries, until.is_empty());
        }
        out.respond(token, &answer);
        match &pull.have {
            Have::Frontier { parts, known, .. }
                if known.iter().any(|item| !cx.holds(batch, pull.space, item)) =>
            {
                self.pull_back(cx, batch, out, from, pull.space, parts.as_ref())
            }
            Have::Frontier { .. } | Have::Digest(_) | Have::Lost(_) => Ok(()),
        }
    }
}
