//! Answering pulls: what another site lacks, from what is durable here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Links;
use super::forks::some_forks;
use super::repair::Withheld;
use crate::ids::{Author, SiteId, SpaceId};
use crate::log::entry::{Entry, Tip};
use crate::log::frontier::{Known, Parts};
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
    ) -> Result<(Answer, u64), StoreError> {
        let Some(logs) = cx.realms.logs(pull.space) else {
            return Ok((Answer::of(Outcome::UnknownSpace), 0));
        };
        let mut entries = 0;
        let receipts = self.receipts_unless(cx, pull.space, &pull.receipts);
        let (outcome, forks) = match &pull.have {
            Have::Digest(digest) if *digest == logs.digest() => (Outcome::InStep, Vec::new()),
            Have::Digest(_) => (Outcome::TellFrontier(logs.frontier().part_digests()), Vec::new()),
            Have::Frontier { parts, known } => {
                let forks = some_forks(logs);
                let outcome;
                (outcome, entries) = self.entries_for(cx, batch, pull, parts.as_ref(), known)?;
                (outcome, forks)
            }
            Have::Lost(lost) => (cx.lost_entries(pull, lost)?, Vec::new()),
        };
        Ok((Answer { receipts, forks, ..Answer::of(outcome) }, entries))
    }

    /// The entries that a site with this frontier lacks, in journal order, within the budget, and how many they are.
    fn entries_for<S: Store>(
        &self,
        cx: Context<'_, S>,
        batch: &Batch,
        pull: &Pull,
        parts: Option<&Parts>,
        known: &[Known],
    ) -> Result<(Outcome, u64), StoreError> {
        let Some(logs) = cx.realms.logs(pull.space) else {
            return Ok((Outcome::UnknownSpace, 0));
        };
        let mut lacking = logs.lacking(known);
        lacking.retain(|author, _| parts.is_none_or(|parts| parts.have(&author.site)));
        for author in self.diverged(cx, batch, pull.space, known)? {
            // The other side holds another branch of this log: from its first entry on it will find the fork.
            lacking.insert(author, logs.forks.first(&author));
        }
        let budget = ANSWER_BYTES_MAX.min(pull.bytes_max as usize);
        let mut next: BinaryHeap<Reverse<(Position, Author, u64)>> = BinaryHeap::new();
        for (author, seq) in lacking {
            next.extend(cx.place_of(pull.space, author, seq)?.map(Reverse));
        }
        let mut withheld = Withheld::new(&self.losses, pull.space);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while let Some(Reverse((position, author, seq))) = next.pop() {
            let Some(entry) = cx.read_entry(position)?.map(|entry| entry.in_log(author)) else {
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
                return Ok((Outcome::Entries { packed: pack_entries(&entries), until }, count));
            }
            bytes += entry.bytes().len();
            entries.push(entry);
            next.extend(cx.place_of(pull.space, author, seq + 1)?.map(Reverse));
        }
        let count = entries.len() as u64;
        Ok((Outcome::Entries { packed: pack_entries(&entries), until: Vec::new() }, count))
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
        let (mut answer, entries) = self.answer_to(cx, batch, pull)?;
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
            Have::Frontier { parts, known }
                if known.iter().any(|item| !cx.holds(batch, pull.space, item)) =>
            {
                self.pull_back(cx, batch, out, from, pull.space, parts.as_ref())
            }
            Have::Frontier { .. } | Have::Digest(_) | Have::Lost(_) => Ok(()),
        }
    }
}
