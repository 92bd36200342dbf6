//! Where an entry goes: in which log it is the next, by the entries that are held.

use super::Batch;
use crate::ids::{Author, EntryHash, SpaceId};
use crate::log::entry::{Entry, Header, Tip};
use crate::log::fork::{Course, Forks};
use crate::protocol::prepare::PreparedEntry;
use crate::replica::context::Context;
use crate::replica::links::early::Awaited;
use crate::store::{Store, StoreError};

/// Where an entry goes, by the entries of its author that are held.
pub(super) enum Succession {
    /// It is the next of this log.
    NextOf(Author),
    /// It is held.
    Held,
    /// Another one is held in its place, or a branch is known to begin there.
    Taken,
    /// Something before it is missing.
    Behind,
}

impl Batch {
    /// Whether an entry is the next one of this site's life, which it did not write: a copy of it is at work.
    pub(in crate::replica) fn is_of_copy<S: Store>(
        &self,
        cx: Context<'_, S>,
        prepared: &PreparedEntry,
    ) -> Result<bool, StoreError> {
        let entry = &prepared.entry;
        Ok(entry.header.author == cx.author
            && matches!(self.succession(cx, entry)?, Succession::NextOf(log) if log == cx.author)
            && prepared.is_signed())
    }

    /// Where an entry goes.
    pub(super) fn succession<S: Store>(
        &self,
        cx: Context<'_, S>,
        entry: &Entry,
    ) -> Result<Succession, StoreError> {
        let header = &entry.header;
        let (space, author, seq) = (header.space, header.author, header.seq);
        let forks = cx.realms.logs(space).map(|logs| &logs.forks);
        let log = match forks.filter(|forks| forks.has(&author)) {
            None => author,
            Some(forks) => {
                let Some(behind) = self.log_behind(cx, header, forks)? else {
                    return Ok(Succession::Behind);
                };
                match forks.course(author, behind, &header.previous, &entry.hash) {
                    Course::In(log) if log != behind => {
                        // The first of its branch has no other before it.
                        let is_held = self.held_hash(cx, space, log, seq)? == Some(entry.hash);
                        return Ok(if is_held {
                            Succession::Held
                        } else {
                            Succession::NextOf(log)
                        });
                    }
                    Course::In(log) => log,
                    Course::Unknown => return Ok(Succession::Taken),
                }
            }
        };
        let tip = self.log(cx, space, log);
        let (held_seq, held_hash) = tip.map_or((0, EntryHash::NONE), |row| (row.seq, row.hash));
        if seq == held_seq + 1 && header.previous == held_hash {
            return Ok(Succession::NextOf(log));
        }
        match self.held_hash(cx, space, log, seq)? {
            Some(held) if held == entry.hash => Ok(Succession::Held),
            Some(_) if self.is_behind(cx, header, log)? => Ok(Succession::Taken),
            Some(_) | None => Ok(Succession::Behind),
        }
    }

    /// The log of the entry that one follows, if that is held; the author's where it is the first.
    fn log_behind<S: Store>(
        &self,
        cx: Context<'_, S>,
        header: &Header,
        forks: &Forks,
    ) -> Result<Option<Author>, StoreError> {
        for log in forks.names(header.author) {
            if self.is_behind(cx, header, log)? {
                return Ok(Some(log));
            }
        }
        Ok(None)
    }

    /// Whether the entry that one follows is held in a log.
    fn is_behind<S: Store>(
        &self,
        cx: Context<'_, S>,
        header: &Header,
        log: Author,
    ) -> Result<bool, StoreError> {
        let Header { space, author, seq, previous, .. } = header;
        match seq {
            1 => Ok(log == *author),
            _ => Ok(self.held_hash(cx, *space, log, seq - 1)? == Some(*previous)),
        }
    }

    /// The hash of the entry that is held under a number, if one is.
    pub(in crate::replica) fn held_hash<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<Option<EntryHash>, StoreError> {
        match self.log(cx, space, author) {
            None => return Ok(None),
            Some(row) if row.seq < seq => return Ok(None),
            Some(row) if row.seq == seq => return Ok(Some(row.hash)),
            Some(_) => {}
        }
        let staged = self.stage.entries.iter().map(|staged| &staged.entry);
        let mut same = staged.filter(|entry| {
            let header = &entry.header;
            header.space == space && entry.log == author && header.seq == seq
        });
        if let Some(entry) = same.next() {
            return Ok(Some(entry.hash));
        }
        Ok(cx.entry_row(space, author, seq)?.map(|row| row.hash))
    }

    /// The first entry that one builds on and that is not here yet, if its author is a member and signed it: it may wait for
    /// that. Where another entry is held under the number, there is nothing to wait for; where its log forks, the number
    /// does not say which one is meant.
    pub(in crate::replica) fn awaited<S: Store>(
        &self,
        cx: Context<'_, S>,
        prepared: &mut PreparedEntry,
    ) -> Option<Awaited> {
        let header = &prepared.entry.header;
        let members = cx.realms.members_of(header.realm);
        if members.is_none_or(|members| members.get(&header.author.site).is_none()) {
            return None;
        }
        let before = (header.space, header.author, header.seq.saturating_sub(1));
        let past = header.tips().map(|(space, tip)| (space, tip.author, tip.seq));
        let lacking = std::iter::once(before).chain(past).find(|entry| !self.reaches(cx, entry));
        let forks = |space: &SpaceId, author: &Author| {
            cx.realms.logs(*space).is_some_and(|logs| logs.forks.concerns(*author))
        };
        let lacking = lacking.filter(|(space, author, _)| !forks(space, author));
        lacking.filter(|_| prepared.check_signature())
    }

    /// Whether a log is held as far as an entry's number. What waits does so for this, and for nothing else.
    pub(in crate::replica) fn reaches<S: Store>(
        &self,
        cx: Context<'_, S>,
        (space, author, seq): &Awaited,
    ) -> bool {
        self.log(cx, *space, *author).map_or(0, |row| row.seq) >= *seq
    }

    /// Whether all that an entry names as its past is held.
    pub(super) fn holds_past<S: Store>(
        &self,
        cx: Context<'_, S>,
        header: &Header,
    ) -> Result<bool, StoreError> {
        for (space, tip) in header.tips() {
            if !self.holds(cx, space, tip)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the entry is held that a tip names. Its author may not have known of branches, or of other ones: it is the
    /// hash that says which one is meant.
    pub(super) fn holds<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        tip: &Tip,
    ) -> Result<bool, StoreError> {
        if self.held_hash(cx, space, tip.author, tip.seq)? == Some(tip.hash) {
            return Ok(true);
        }
        let Some(logs) = cx.realms.logs(space).filter(|logs| !logs.forks.is_empty()) else {
            return Ok(false);
        };
        for log in logs.forks.names_of(tip.author.site) {
            if self.held_hash(cx, space, log, tip.seq)? == Some(tip.hash) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
