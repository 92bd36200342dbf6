//! Taking a bundle in, piece by piece: judged exactly as what comes over the network.

use super::batch::{Batch, Context};
use super::{Notice, Now, Replica};
use crate::bundle::{Begin, Contents, Header};
use crate::format::codec;
use crate::ids::{Author, RealmId, SiteId, SpaceId};
use crate::log::entry::Header as EntryHeader;
use crate::log::receipt::Receipt;
use crate::membership::{Admission, Admitting, Genesis, Operation};
use crate::protocol::Invitation;
use crate::protocol::prepare::{Prepared, PreparedEntry};
use crate::store::tables::logs::ForkRow;
use crate::store::{Store, StoreError};

use super::batch::accept::Acceptance;

/// A piece of a bundle, its entries prepared.
#[derive(Debug)]
pub enum MergePiece {
    /// See [`crate::bundle::Piece::Header`].
    Header(Header),
    /// See [`crate::bundle::Piece::Genesis`].
    Genesis(Genesis),
    /// See [`crate::bundle::Piece::Admission`].
    Admission(Box<Admission>),
    /// See [`crate::bundle::Piece::Entries`].
    Entries(Prepared),
    /// See [`crate::bundle::Piece::Space`].
    Space(Box<Invitation>),
    /// See [`crate::bundle::Piece::Fork`].
    Fork(SpaceId, Box<ForkRow>),
    /// See [`crate::bundle::Piece::Receipts`].
    Receipts(Vec<Receipt>),
    /// See [`crate::bundle::Piece::End`].
    End(Contents),
}

/// What became of the entries of one piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Entries that are held now and were not.
    pub new: u64,
    /// Entries that were held already.
    pub known: u64,
    /// Entries that build on others which are not here.
    pub waiting: u64,
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
    #[error("this site belongs to no network yet")]
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
    #[error("the bundle begins behind entries that this site lacks")]
    Gap {
        /// Which.
        missing: Vec<MissingEntries>,
    },
    /// This site waits for its admission, and the bundle does not bring it.
    #[error("this site is no member of the network by what the bundle says")]
    NotMember,
    /// The maker's ticket is refused.
    #[error("the site that made the bundle is no member, and its ticket is refused: {reason}")]
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

impl Batch {
    /// Whether the author of an entry may be a member once what is staged is durable.
    fn waits_for_members<S: Store>(&self, cx: Context<'_, S>, header: &EntryHeader) -> bool {
        let members = cx.realms.members_of(header.realm);
        let is_known = members.is_some_and(|m| m.get(&header.author.site).is_some());
        let membership = header.realm.membership_space();
        let is_staged = || self.stage.logs.keys().any(|(space, _)| *space == membership);
        !is_known && is_staged()
    }
}

impl<S: Store> Replica<S> {
    /// Takes one piece of a bundle in, and makes durable what it brings. `maker`: who made the bundle, by its own word.
    pub fn merge(
        &mut self,
        maker: SiteId,
        piece: MergePiece,
        now: Now,
    ) -> Result<Result<Merged, MergeError>, StoreError> {
        self.now = now;
        let is_end = matches!(piece, MergePiece::End(_));
        let merged = match piece {
            MergePiece::Header(header) => self.may_merge(&header),
            MergePiece::Genesis(genesis) => self.merge_genesis(genesis),
            MergePiece::Admission(admission) => self.merge_admission(*admission),
            MergePiece::Entries(prepared) => self.merge_entries(maker, prepared)?,
            MergePiece::Space(invitation) => {
                // The members whose entries came before it are known first.
                self.commit()?;
                self.take_invitations(maker, vec![*invitation])?;
                Ok(Merged::default())
            }
            MergePiece::Fork(space, fork) => {
                self.take_fork(space, *fork).map(|()| Ok(Merged::default()))?
            }
            MergePiece::Receipts(receipts) => {
                self.take_receipts(receipts);
                Ok(Merged::default())
            }
            MergePiece::End(_) => Ok(Merged::default()),
        };
        let merged = match merged {
            Ok(merged) if self.commit()? && !self.links.is_unwritable => Ok(merged),
            Ok(_) => Err(MergeError::Unwritable),
            Err(error) => Err(error),
        };
        self.batch.foresight = None;
        self.has_joined(maker);
        if is_end {
            self.issue_receipts_now(now)?;
        }
        Ok(merged)
    }

    /// What a bundle made here begins with; nothing where there is no network. It holds the private space with `realm`,
    /// and those that its receiver is in.
    pub fn begin_bundle(
        &self,
        receiver: Option<SiteId>,
        realm: Option<RealmId>,
        wall_ms: i64,
    ) -> Option<Begin> {
        let network = self.realms.network()?;
        let private = self.realms.private().filter(|(document, space)| {
            let is_receivers = receiver.is_some_and(|site| self.realms.is_in(space, site));
            realm == Some(document.realm()) || is_receivers
        });
        let private = private.map(|(document, _)| document.clone()).collect();
        let (maker, admission) = (self.site(), self.admission());
        Some(Begin { network, maker, admission, private, time_ms: wall_ms })
    }

    /// How this site takes up its ticket, if it is no member yet.
    fn admission(&self) -> Option<Admission> {
        let ticket = self.realms.ticket()?;
        Some(Admission::sign(ticket, self.site(), &self.identity.name))
    }

    /// Issues this site's receipt now, where what it holds has changed.
    pub fn issue_receipts_now(&mut self, now: Now) -> Result<(), StoreError> {
        self.now = now;
        self.links.timers.receipt_ms = Some(now.monotonic_ms);
        self.issue_receipts()
    }

    fn may_merge(&self, header: &Header) -> Result<Merged, MergeError> {
        let expected = self.realms.network().ok_or(MergeError::NoNetwork)?;
        if header.network != expected {
            return Err(MergeError::OtherNetwork { found: header.network, expected });
        }
        let mut missing = Vec::new();
        for (space, known) in &header.since {
            for item in known {
                let (author, to) = (item.author, item.seq);
                let row = self.batch.log(self.context(), *space, author);
                let from = row.map_or(1, |row| row.seq + 1);
                if from <= to {
                    missing.push(MissingEntries { author, from, to });
                }
            }
        }
        match missing.is_empty() {
            true => Ok(Merged::default()),
            false => Err(MergeError::Gap { missing }),
        }
    }

    fn merge_genesis(&mut self, genesis: Genesis) -> Result<Merged, MergeError> {
        let expected = self.realms.network().ok_or(MergeError::NoNetwork)?;
        let found = genesis.network();
        if found != expected {
            return Err(MergeError::OtherNetwork { found, expected });
        }
        if self.realms.genesis().is_none() {
            self.batch.stage.genesis = Some(genesis);
        }
        Ok(Merged::default())
    }

    fn merge_admission(&mut self, admission: Admission) -> Result<Merged, MergeError> {
        if !self.realms.is_member() {
            // Nobody can let another in without being in.
            return Ok(Merged::default());
        }
        match self.batch.may_take_up(self.context(), &admission) {
            Ok(Admitting::New) => {
                let realm = admission.grant.realm;
                self.batch.stage.operations.push((realm, Operation::Admit(admission)));
            }
            Ok(Admitting::AlreadyMember) => {}
            Err(reason) => return Err(MergeError::TicketRefused { reason }),
        }
        Ok(Merged::default())
    }

    fn merge_entries(
        &mut self,
        maker: SiteId,
        prepared: Prepared,
    ) -> Result<Result<Merged, MergeError>, StoreError> {
        if self.realms.network().is_none() {
            return Ok(Err(MergeError::NoNetwork));
        }
        let entries = match prepared.entries {
            Ok(entries) => entries,
            Err(error) => return Ok(Err(MergeError::Unreadable { reason: error.to_string() })),
        };
        let mut merged = Merged::default();
        for prepared in entries {
            let header = &prepared.entry.header;
            if header.space != header.realm.membership_space()
                && !self.realms.is_member()
                && !self.commits_member()?
            {
                return Ok(Err(MergeError::NotMember));
            }
            if self.batch.waits_for_members(self.context(), &prepared.entry.header) {
                self.commit()?;
            }
            let records = records_of(&prepared);
            match self.take_entry(maker, prepared, false)? {
                Acceptance::Staged => {
                    merged.new += 1;
                    merged.records.extend(records);
                }
                Acceptance::Repeat => merged.known += 1,
                Acceptance::NotReady => merged.waiting += 1,
                Acceptance::Refused(refusal) => {
                    merged.refused += 1;
                    merged.refusal.get_or_insert_with(|| refusal.to_string());
                }
                Acceptance::Fork { .. } => {
                    merged.refused += 1;
                    let reason = || "another entry of its author with the same number stands";
                    merged.refusal.get_or_insert_with(|| reason().to_owned());
                }
            }
            self.commit_if_large()?;
            if self.links.is_unwritable {
                return Ok(Err(MergeError::Unwritable));
            }
        }
        Ok(Ok(merged))
    }

    /// Whether this site is a member once what is staged is durable, and makes it so.
    fn commits_member(&mut self) -> Result<bool, StoreError> {
        Ok(!self.batch.stage.is_empty() && self.commit()? && self.realms.is_member())
    }

    fn has_joined(&mut self, by: SiteId) {
        if !self.realms.is_member() {
            return;
        }
        if let Some(ticket) = self.realms.take_ticket() {
            self.outbox.notice(Notice::Joined { network: ticket.grant.realm, by });
        }
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
