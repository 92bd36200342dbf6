//! Entries from others: from bytes to a staged entry, or a reason why not.
//!
//! In this order: layout (by [`Entry::decode`]), network and space, the author's membership, repeats, signature,
//! chain, past, payload, and the verdict on each change. Only the last step merges anything. What needs no state was
//! mostly found out before, by [`crate::protocol::prepare`]; it counts at its place in this order.

use super::Batch;
use super::stage::{ChangePlace, NotTaken, StagedChange, StagedEntry};
use super::succession::Succession;
use crate::ids::{Author, EntryHash};
use crate::log::entry::{
    self, Body, Entry, EntryId, Header, MalformedBody, RecordWrite, Tip, limits,
};
use crate::membership::{Members, Role};
use crate::protocol::prepare::{Content, PreparedEntry, ReadChange};
use crate::record::{SCHEMA_COLLECTION, Verdict, check_collection, check_record_id};
use crate::replica::Notice;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::tables::logs::{self, EntryStatus, LogRow};
use crate::store::tables::records::RecordKey;
use crate::store::{Store, StoreError};

/// Characters kept of why an entry is void, which may name what its author wrote.
const VOID_REASON_CHARS_MAX: usize = 300;

/// What became of an entry that was offered.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::replica) enum Acceptance {
    /// It is part of the group now.
    Staged,
    /// It is held already.
    Repeat,
    /// Something that it builds on is missing here: drop it and pull.
    NotReady,
    /// It was not looked at, as there is no room for what other sites wrote.
    NoRoom,
    /// It must not be here. The fault is the sender's.
    Refused(Refusal),
    /// Another entry of the same author follows the same one, and that the log forks here is not known yet.
    Fork,
}

/// Why an entry must not be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another network, or to a private space that is not held here.
    #[error("an entry of another network, or of a space that this site does not hold")]
    Network,
    /// Its space is another one's.
    #[error("an entry of a space that is not its network's")]
    Space,
    /// The author may read only.
    #[error("an entry of a site that may not write")]
    Role,
    /// The signature is not the author's.
    #[error("an entry whose signature is not its author's")]
    Signature,
}

/// How far an entry is believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::replica) enum EntrySource {
    /// From a peer: everything is checked.
    Peer { by_gossip: bool },
    /// From this replica's own journal, where only checked entries are.
    Journal,
}

impl Batch {
    /// What an entry's header says against it; `None`: it is the next of its log.
    pub(in crate::replica) fn judge_header<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        prepared: &mut PreparedEntry,
        source: EntrySource,
    ) -> Result<Option<Acceptance>, StoreError> {
        let succession = self.succession(cx, &prepared.entry)?;
        if let Succession::NextOf(log) = succession {
            prepared.put_in(log);
        }
        if let EntrySource::Peer { .. } = source
            && let Some(acceptance) = self.judge_author(cx, &prepared.entry)?
        {
            return Ok(Some(acceptance));
        }
        let is_signed = || source == EntrySource::Journal || prepared.is_signed();
        Ok(match succession {
            Succession::Held => Some(Acceptance::Repeat),
            Succession::Taken if is_signed() => Some(Acceptance::Fork),
            Succession::Taken => Some(Acceptance::Refused(Refusal::Signature)),
            Succession::NextOf(_) | Succession::Behind if !is_signed() => {
                Some(Acceptance::Refused(Refusal::Signature))
            }
            Succession::NextOf(_) => None,
            Succession::Behind => Some(Acceptance::NotReady),
        })
    }

    /// Judges an entry by its past and its content, and stages it.
    pub(in crate::replica) fn judge_past<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        prepared: PreparedEntry,
        source: EntrySource,
    ) -> Result<Acceptance, StoreError> {
        let header = &prepared.entry.header;
        if !self.holds_past(cx, header)? {
            return Ok(Acceptance::NotReady);
        }
        let tip = self.log(cx, header.space, prepared.entry.log);
        let (entry, judged) = if self.is_blocked(cx, header, tip) {
            (prepared.entry, Some((EntryStatus::Held, Vec::new())))
        } else {
            let (entry, content) = prepared.read();
            let judged = self.apply(cx, out, &entry, content)?;
            (entry, judged)
        };
        Ok(match judged {
            Some((status, origins)) => {
                let by_gossip = source == EntrySource::Peer { by_gossip: true };
                self.stage_entry(cx, StagedEntry { entry, status, origins, by_gossip });
                Acceptance::Staged
            }
            None => Acceptance::NotReady,
        })
    }

    /// Adds an entry to the group, behind all before it.
    pub(in crate::replica) fn stage_entry<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        staged: StagedEntry,
    ) {
        let StagedEntry { entry, status, .. } = &staged;
        let (header, status) = (&entry.header, *status);
        let before = self.log(cx, header.space, entry.log);
        let (applied, applied_hash) = match status {
            EntryStatus::Applied | EntryStatus::Void => (header.seq, entry.hash),
            EntryStatus::Held => {
                before.map_or((0, EntryHash::NONE), |row| (row.applied, row.applied_hash))
            }
        };
        let former = |tip: &&Tip| tip.author.site == header.author.site;
        let predecessor = match before {
            Some(row) => row.predecessor,
            // What a branch has before it is a log of its own.
            None if entry.log != header.author => None,
            None => header.past.iter().filter(former).max_by_key(|tip| tip.seq).copied(),
        };
        let row = LogRow { seq: header.seq, hash: entry.hash, applied, applied_hash, predecessor };
        self.stage.logs.insert((header.space, entry.log), row);
        if status != EntryStatus::Held {
            for (of, tip) in header.tips() {
                // Which branch is meant depends on what its author knew; such a log is named once more.
                let logs = cx.realms.logs(of);
                if logs.is_none_or(|logs| !logs.forks.concerns(tip.author)) {
                    let covered = self.stage.covered.entry((header.space, of, tip.author));
                    let covered = covered.or_insert(0);
                    *covered = tip.seq.max(*covered);
                }
            }
        }
        self.stage.bytes += entry.bytes().len();
        self.stage.entries.push(staged);
    }

    /// What speaks against any entry of this author in this space.
    fn judge_author<S: Store>(
        &self,
        cx: Context<'_, S>,
        entry: &Entry,
    ) -> Result<Option<Acceptance>, StoreError> {
        let header = &entry.header;
        let realm = header.realm;
        let Some(members) = cx.realms.members_of(realm) else {
            return Ok(Some(Acceptance::Refused(Refusal::Network)));
        };
        if cx.realms.realm_of(header.space) != Some(realm) {
            return Ok(Some(Acceptance::Refused(Refusal::Space)));
        }
        let ever = members.ever(&header.author.site);
        if header.space == realm.membership_space() {
            // Whether it counts is for the fold to say.
            return Ok(ever.is_none().then_some(Acceptance::NotReady));
        }
        let allowed = allowed(members, header, entry.log);
        let is_out = cx.realms.revoked_by().is_some() || cx.realms.revoked_from(realm).is_some();
        if allowed >= Some(Role::Writer) && !is_out {
            return Ok(None);
        }
        // What lets it count may be on its way: an admission, a vouch, another role.
        let mut is_final = ever == Some(Role::Reader);
        for tip in &header.membership_past {
            is_final &= self.holds(cx, realm.membership_space(), tip)?;
        }
        Ok(Some(if is_final { Acceptance::Refused(Refusal::Role) } else { Acceptance::NotReady }))
    }

    /// Whether the entry, or anything in its past, is of a payload format that this program does not know.
    fn is_blocked<S: Store>(
        &self,
        cx: Context<'_, S>,
        header: &Header,
        tip: Option<LogRow>,
    ) -> bool {
        let is_known = header.payload.format <= cx.payload_format;
        if !is_known || tip.is_some_and(|row| row.applied < row.seq) {
            return true;
        }
        let membership = header.realm.membership_space();
        let beyond = |space, tip: &Tip| {
            self.log(cx, space, tip.author).is_some_and(|row| row.applied < tip.seq.min(row.seq))
        };
        header.past.iter().any(|tip| beyond(header.space, tip))
            || header.membership_past.iter().any(|tip| beyond(membership, tip))
    }

    /// Merges an entry's content into the group: `Applied` or `Void`, with the origins of its transactions, or `None`
    /// where something that it builds on is missing.
    fn apply<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        entry: &Entry,
        content: Result<Content, MalformedBody>,
    ) -> Result<Option<(EntryStatus, Vec<entry::Origin>)>, StoreError> {
        let header = &entry.header;
        let membership = header.space == header.realm.membership_space();
        let status = match content {
            Ok(Content::Records { origins, changes }) if !membership => {
                self.stage.foreseen = self.foresight.take_if(|it| it.is_of(entry));
                let status = self.apply_changes(cx, out, entry, changes);
                self.stage.foreseen = None;
                let status = status?;
                if status == Some(EntryStatus::Void) {
                    self.remember_void(entry);
                }
                return Ok(status.map(|status| (status, origins)));
            }
            // Members change when the entry is durable.
            Ok(Content::Membership) if membership => EntryStatus::Applied,
            Ok(Content::Records { .. } | Content::Membership) => {
                self.void(out, entry, "its payload is of a kind that its space does not take")
            }
            Err(error) => self.void(out, entry, &error.to_string()),
        };
        Ok(Some((status, Vec::new())))
    }

    fn apply_changes<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        entry: &Entry,
        changes: Vec<ReadChange>,
    ) -> Result<Option<EntryStatus>, StoreError> {
        let header = &entry.header;
        let addresses = changes.iter().map(ReadChange::address);
        self.find_vacancy(cx, header.space, addresses)?;
        let mut mark = self.stage.mark();
        let (actor, number) = (entry.actor(), self.stage.entries.len());
        let mut operations = 0;
        for (read, change_number) in changes.into_iter().zip(0..) {
            let (RecordWrite { collection, id, change }, reading) = read.read();
            let key = RecordKey { space: header.space, collection, id };
            if let Err(reason) = check_address(&key) {
                self.roll_back(cx, mark)?;
                return Ok(Some(self.void(out, entry, &reason)));
            }
            if !self.may_write(cx, entry, &key) {
                self.roll_back(cx, mark)?;
                return Ok(None);
            }
            let place = ChangePlace::Entry { entry: number, change: change_number };
            if actor.is_of_branch {
                self.stage.branch_actors.insert(actor.counted(&change.hash()), entry.log);
            }
            let staged = StagedChange { actor, change, place };
            match self.take_change(cx, &key, staged, reading, &mut mark) {
                Ok(count) => operations += count,
                Err(NotTaken::Store(error)) => return Err(error),
                // Once a peer has given the entries back that it builds on, it can be judged.
                Err(NotTaken::Damaged | NotTaken::Verdict(Verdict::NeedsHistory)) => {
                    self.roll_back(cx, mark)?;
                    return Ok(None);
                }
                Err(NotTaken::Verdict(Verdict::Fault(fault))) => {
                    self.roll_back(cx, mark)?;
                    let reason = format!("record {}/{}: {fault}", key.collection, key.id);
                    return Ok(Some(self.void(out, entry, &reason)));
                }
                Err(NotTaken::Verdict(Verdict::Missing(missing))) => {
                    self.roll_back(cx, mark)?;
                    // What is built on a change that never shows can never be ready.
                    let void = self.is_any_void(cx, &missing)?;
                    let reason = "it builds on an entry that is void";
                    return Ok(void.then(|| self.void(out, entry, reason)));
                }
            }
            if operations > limits::OPERATIONS_MAX {
                self.roll_back(cx, mark)?;
                return Ok(Some(self.void(out, entry, "it has too many operations")));
            }
        }
        self.stage.operation_count += operations;
        Ok(Some(EntryStatus::Applied))
    }

    /// Whether an author may write a record. Schemas are written by admins; a role that is not known yet may be on its
    /// way, so that nothing is void for want of one.
    fn may_write<S: Store>(&self, cx: Context<'_, S>, entry: &Entry, key: &RecordKey) -> bool {
        let header = &entry.header;
        let role = || cx.realms.members().and_then(|it| allowed(it, header, entry.log));
        key.collection != SCHEMA_COLLECTION
            || header.author.site == cx.author.site
            || role() == Some(Role::Admin)
    }

    /// Remembers the changes of an entry that never show, so that what is built on them is not awaited.
    fn remember_void(&mut self, entry: &Entry) {
        if let Ok(Body::Transactions(transactions)) = entry.body() {
            let changes = transactions.iter().flat_map(|transaction| &transaction.changes);
            self.stage.void_changes.extend(changes.map(|write| write.change.hash()));
        }
    }

    fn is_any_void<S: Store>(
        &self,
        cx: Context<'_, S>,
        changes: &[[u8; 32]],
    ) -> Result<bool, StoreError> {
        for hash in changes {
            if self.stage.void_changes.contains(hash)
                || cx.store.get(&logs::void_change(hash))?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn void(&mut self, out: &mut Outbox, entry: &Entry, reason: &str) -> EntryStatus {
        let reason: String = reason.chars().take(VOID_REASON_CHARS_MAX).collect();
        let EntryId { author, seq } = entry.id();
        self.stage.void_reasons.insert((entry.header.space, author, seq), reason.clone());
        out.notice(Notice::Void { author, seq, reason });
        EntryStatus::Void
    }
}

/// What a site may do in an entry. A decision about it may name a branch as the deciding site knew it: as the
/// author's own log.
fn allowed(members: &Members, header: &Header, log: Author) -> Option<Role> {
    let as_known = |log| members.allowed(header.space, log, header.seq);
    as_known(header.author).max(as_known(log))
}

fn check_address(key: &RecordKey) -> Result<(), String> {
    check_collection(&key.collection).map_err(|error| error.to_string())?;
    check_record_id(&key.id).map_err(|error| error.to_string())
}
