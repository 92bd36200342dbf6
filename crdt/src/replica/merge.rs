//! Taking a bundle in, piece by piece: judged exactly as what comes over the network.

use std::collections::VecDeque;

use super::batch::Batch;
use super::batch::accept::Acceptance;
use super::batch::arrival::{Arrival, Waiting};
use super::context::Context;
use super::realms::spaces::Invitations;
use super::task::Task;
use crate::bundle::{Begin, BundleHeader, MergePiece};
use crate::format::codec;
use crate::ids::{Author, RealmId, SiteId};
use crate::log::entry::Header as EntryHeader;
use crate::membership::{Admission, Admitting, Genesis};
use crate::protocol::prepare::{Prepared, PreparedEntry};
use crate::store::Store;

/// What became of the entries of one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Entries that are held now and were not.
    pub new: u64,
    /// Entries that were held already.
    pub known: u64,
    /// Entries that build on others which are not here.
    pub waiting: u64,
    /// Entries that were left out, as there is no room for what other sites wrote.
    pub without_room: u64,
    /// Entries that must not be here.
    pub refused: u64,
    /// Why the first of these was refused.
    pub refusal: Option<String>,
    /// Which records the new ones change: the beginning of a hash for each change.
    pub records: Vec<[u8; 8]>,
}

/// Entries of one log that are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingEntries {
    /// Whose log.
    pub author: Author,
    /// The number of the first.
    pub from: u64,
    /// The number of the last that is known of.
    pub to: u64,
}

/// Why a bundle cannot be merged at this site. What came before in it stays merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The site has no network.
    #[error("this site does not belong to a network yet")]
    NoNetwork,
    /// The bundle is another network's.
    #[error("the bundle is of network {found}, this site belongs to {expected}")]
    OtherNetwork {
        /// The bundle's network.
        found: RealmId,
        /// The site's.
        expected: RealmId,
    },
    /// The bundle begins behind entries that are not here; nothing was merged.
    #[error("the bundle begins after entries that this site does not have")]
    Gap {
        /// Which.
        missing: Vec<MissingEntries>,
    },
    /// This site waits for its admission, and the bundle does not bring it.
    #[error("according to the bundle, this site is not a member of the network")]
    NotMember,
    /// The maker's ticket is refused.
    #[error("the site that made the bundle is not a member, and its ticket is refused: {reason}")]
    TicketRefused {
        /// Why.
        reason: String,
    },
    /// The entries cannot be read.
    #[error("entries of the bundle cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// The journal could not be written; trying again later is safe.
    #[error("the journal cannot be written")]
    Unwritable,
}

/// The piece of a bundle that is being taken in.
pub(super) struct Merging {
    maker: SiteId,
    left: VecDeque<PreparedEntry>,
    has_begun: bool,
    merged: Result<Merged, MergeError>,
}

impl Merging {
    /// A piece of a bundle of `maker`, whose entries are yet to be taken in.
    fn new(maker: SiteId) -> Self {
        let merged = Ok(Merged::default());
        Self { maker, left: VecDeque::new(), has_begun: false, merged }
    }

    /// The entries that are left are not taken in.
    fn fail(&mut self, error: MergeError) {
        self.left.clear();
        self.merged = Err(error);
    }

    /// How an entry was judged that changes these records.
    pub(super) fn judged(&mut self, records: Vec<[u8; 8]>, acceptance: &Acceptance) {
        let Ok(merged) = &mut self.merged else { return };
        match acceptance {
            Acceptance::Staged => {
                merged.new += 1;
                merged.records.extend(records);
            }
            Acceptance::Repeat => merged.known += 1,
            Acceptance::NotReady => merged.waiting += 1,
            Acceptance::NoRoom => merged.without_room += 1,
            Acceptance::Refused(refusal) => {
                merged.refused += 1;
                merged.refusal.get_or_insert_with(|| refusal.to_string());
            }
            Acceptance::Fork => {
                merged.refused += 1;
                let reason = || "its author has signed another entry with the same number, which cannot be read here";
                merged.refusal.get_or_insert_with(|| reason().to_owned());
            }
        }
    }

    /// What became of the piece.
    pub(super) fn end(self) -> Result<Merged, MergeError> {
        self.merged
    }
}

impl Batch {
    /// Begins to take a piece of a bundle in. Returns what it takes.
    pub(super) fn begin_merging<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        maker: SiteId,
        piece: MergePiece,
    ) -> (Merging, Vec<Task>) {
        let mut merging = Merging::new(maker);
        let tasks = match piece {
            MergePiece::Header(header) => {
                merging.merged = self.may_merge(cx, &header);
                Vec::new()
            }
            MergePiece::Genesis(genesis) => {
                merging.merged = self.merge_genesis(cx, genesis);
                Vec::new()
            }
            MergePiece::Admission(admission) => {
                merging.merged = self.merge_admission(cx, *admission);
                Vec::new()
            }
            MergePiece::Entries(Prepared { entries, .. }) => {
                match entries {
                    _ if cx.realms.network().is_none() => merging.fail(MergeError::NoNetwork),
                    Ok(entries) => merging.left = entries.into(),
                    Err(error) => {
                        merging.fail(MergeError::Unreadable { reason: error.to_string() });
                    }
                }
                vec![Task::Bundle { is_settled: false }]
            }
            MergePiece::Space(invitation) => {
                // The members whose entries came before it are known first.
                let invitations = Invitations::new(maker, vec![*invitation]);
                vec![Task::Commit, Task::Invitations(invitations)]
            }
            MergePiece::Fork(space, fork) => vec![Task::Fork { space, fork }, Task::NameBranches],
            MergePiece::Receipts(receipts) => vec![Task::Receipts(receipts)],
            MergePiece::End(_) => Vec::new(),
        };
        (merging, tasks)
    }

    fn may_merge<S: Store>(
        &self,
        cx: Context<'_, S>,
        header: &BundleHeader,
    ) -> Result<Merged, MergeError> {
        let expected = cx.realms.network().ok_or(MergeError::NoNetwork)?;
        if header.network != expected {
            return Err(MergeError::OtherNetwork { found: header.network, expected });
        }
        let mut missing = Vec::new();
        for (space, known) in &header.since {
            for item in known {
                let (author, to) = (item.author, item.seq);
                let from = self.log(cx, *space, author).map_or(1, |row| row.seq + 1);
                if from <= to {
                    missing.push(MissingEntries { author, from, to });
                }
            }
        }
        if missing.is_empty() { Ok(Merged::default()) } else { Err(MergeError::Gap { missing }) }
    }

    fn merge_genesis<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        genesis: Genesis,
    ) -> Result<Merged, MergeError> {
        let expected = cx.realms.network().ok_or(MergeError::NoNetwork)?;
        let found = genesis.network();
        if found != expected {
            return Err(MergeError::OtherNetwork { found, expected });
        }
        if cx.realms.genesis().is_none() {
            self.stage.genesis = Some(genesis);
        }
        Ok(Merged::default())
    }

    fn merge_admission<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        admission: Admission,
    ) -> Result<Merged, MergeError> {
        if !cx.realms.is_member() {
            // Nobody can let another in without being in.
            return Ok(Merged::default());
        }
        match self.may_take_up(cx, &admission) {
            Ok(Admitting::New) => self.admit(cx, admission),
            Ok(Admitting::AlreadyMember) => {}
            Err(reason) => return Err(MergeError::TicketRefused { reason }),
        }
        Ok(Merged::default())
    }

    /// Takes the next entry of a piece in; behind the end of the group, where it takes what the group holds to be durable.
    /// `is_settled`: the group has just ended. `is_unwritable`: it could not be written.
    pub(super) fn merge_next<S: Store>(
        &self,
        cx: Context<'_, S>,
        merging: &mut Merging,
        is_settled: bool,
        is_unwritable: bool,
    ) -> Vec<Task> {
        if !is_settled && self.stage.is_large() {
            return vec![Task::Commit, Task::Bundle { is_settled: true }];
        }
        if is_unwritable && merging.has_begun {
            merging.fail(MergeError::Unwritable);
        }
        let Some(next) = merging.left.front() else { return Vec::new() };
        let header = &next.entry.header;
        let is_shut_out = header.space != header.realm.membership_space() && !cx.realms.is_member();
        let waits = is_shut_out && !self.stage.is_empty() || self.waits_for_members(cx, header);
        if waits && !is_settled {
            return vec![Task::Commit, Task::Bundle { is_settled: true }];
        }
        if is_shut_out {
            merging.fail(MergeError::NotMember);
            return Vec::new();
        }
        let Some(entry) = merging.left.pop_front() else { return Vec::new() };
        merging.has_begun = true;
        let waiting = Waiting::Bundle { maker: merging.maker, records: records_of(&entry) };
        let arrival = Arrival::new(entry, waiting);
        vec![Task::Judge(arrival), Task::Bundle { is_settled: false }]
    }

    /// Whether the author of an entry may be a member once what is staged is durable.
    fn waits_for_members<S: Store>(&self, cx: Context<'_, S>, header: &EntryHeader) -> bool {
        let members = cx.realms.members_of(header.realm);
        let is_known = members.is_some_and(|m| m.get(&header.author.site).is_some());
        let membership = header.realm.membership_space();
        let is_staged = || self.stage.logs.keys().any(|(space, _)| *space == membership);
        !is_known && is_staged()
    }
}

impl<S: Store> Context<'_, S> {
    /// What a bundle made here begins with; nothing where there is no network. It holds the private space with `realm`,
    /// and those that its receiver is in.
    pub(super) fn begin_bundle(
        &self,
        receiver: Option<SiteId>,
        realm: Option<RealmId>,
        time_ms: i64,
    ) -> Option<Begin> {
        let network = self.realms.network()?;
        let private = self.realms.private().filter(|(document, space)| {
            let is_receivers = receiver.is_some_and(|site| self.realms.is_in(space, site));
            realm == Some(document.realm()) || is_receivers
        });
        let private = private.map(|(document, _)| document.clone()).collect();
        let (maker, admission) = (self.author.site, self.admission());
        Some(Begin { network, maker, admission, private, time_ms })
    }

    /// How this site takes up its ticket, if it is no member yet.
    fn admission(&self) -> Option<Admission> {
        let ticket = self.realms.ticket()?;
        Some(Admission::sign(ticket, self.author.site, self.name))
    }
}

fn records_of(prepared: &PreparedEntry) -> Vec<[u8; 8]> {
    let hash = |(collection, id): (&str, &str)| {
        let hash = blake3::hash(&codec::encode(&(collection, id)));
        let mut short = [0; 8];
        short.copy_from_slice(&hash.as_bytes()[..8]);
        short
    };
    prepared.records().map(hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::Refusal;

    fn merging() -> Merging {
        Merging::new(SiteId([1; 32]))
    }

    #[test]
    fn what_became_of_entries_is_counted() {
        let mut merging = merging();
        let record = [9; 8];
        merging.judged(vec![record], &Acceptance::Staged);
        merging.judged(vec![record], &Acceptance::Repeat);
        merging.judged(vec![record], &Acceptance::Repeat);
        merging.judged(vec![record], &Acceptance::NotReady);
        merging.judged(vec![record], &Acceptance::NoRoom);
        let merged = merging.end().unwrap();
        assert_eq!((merged.new, merged.known, merged.waiting, merged.refused), (1, 2, 1, 0));
        assert_eq!(merged.without_room, 1);
        assert_eq!(merged.records, [record], "of new entries alone");
    }

    #[test]
    fn the_first_reason_why_an_entry_is_refused_is_kept() {
        let mut merging = merging();
        merging.judged(Vec::new(), &Acceptance::Fork);
        merging.judged(Vec::new(), &Acceptance::Refused(Refusal::Signature));
        let merged = merging.end().unwrap();
        assert_eq!(merged.refused, 2);
        assert!(merged.refusal.unwrap().contains("same number"));
    }

    #[test]
    fn an_error_stands_whatever_comes_behind_it() {
        let mut merging = merging();
        merging.fail(MergeError::NotMember);
        merging.judged(Vec::new(), &Acceptance::Staged);
        assert!(matches!(merging.end(), Err(MergeError::NotMember)));
    }
}
