//! The batch under way, with all that is kept in memory to judge it quickly: what a replica's records are made of.
//!
//! A batch is what a group of inputs changes, made durable and visible at once by
//! [`Replica::commit`](super::Replica::commit). Nothing here writes to the store; what it says goes to the outbox.

pub(in crate::replica) mod accept;
pub(in crate::replica) mod arrival;
pub(in crate::replica) mod decide;
pub(in crate::replica) mod events;
pub(in crate::replica) mod foreign;
pub(in crate::replica) mod foresight;
pub(in crate::replica) mod made;
pub(in crate::replica) mod recall;
pub(in crate::replica) mod rows;
pub(in crate::replica) mod seal;
pub(in crate::replica) mod stage;
mod succession;
pub(in crate::replica) mod vacancy;
pub(in crate::replica) mod versions;
pub(in crate::replica) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::foresight::Foresight;
use self::stage::Stage;
use super::indexes::Indexes;
use crate::ids::SpaceId;
use crate::log::entry::Entry;
use crate::membership::{Genesis, SpaceDocument};
use crate::record::Schema;
use crate::store::StoreError;
use crate::store::cache::Documents;
use crate::store::changes::RecentEntries;
use crate::store::tables::logs::EntryStatus;
use crate::store::tables::records::{self, RecordKey};
use crate::store::tables::{ReadTables, decode_row, walk};

/// The batch under way, and what is kept of records between batches.
pub(in crate::replica) struct Batch {
    pub(in crate::replica) stage: Stage,
    /// Frames of what realms began with, which the journal has once. The next group has them once more: nothing that a
    /// drive spoils in one place takes both, and without them no entry of the realm can be judged.
    founding: Vec<Vec<u8>>,
    /// What is found out beforehand of the entry that is taken in next.
    pub(in crate::replica) foresight: Option<Foresight>,
    pub(in crate::replica) documents: Documents,
    pub(in crate::replica) recent: RecentEntries,
    /// Records that cannot be read here, with the reason; none, as a rule.
    pub(in crate::replica) unreadable: BTreeMap<RecordKey, String>,
    /// Those that were asked for since a schema was last written.
    pub(in crate::replica) schemas: BTreeMap<SpaceId, BTreeMap<String, Option<Arc<Schema>>>>,
    pub(in crate::replica) indexes: Indexes,
}

impl Batch {
    /// Nothing under way, nothing kept.
    pub(in crate::replica) fn new() -> Self {
        Self {
            stage: Stage::default(),
            founding: Vec::new(),
            foresight: None,
            documents: Documents::new(),
            recent: RecentEntries::new(),
            unreadable: BTreeMap::new(),
            schemas: BTreeMap::new(),
            indexes: Indexes::default(),
        }
    }

    /// Forgets the group under way, and what is kept of records: the tables are about to be rebuilt.
    pub(in crate::replica) fn forget(&mut self) {
        self.drop_stage();
        self.foresight = None;
        self.documents.clear();
        self.recent.clear();
        self.unreadable.clear();
    }

    /// The group begins a network with this document.
    pub(in crate::replica) fn found(&mut self, genesis: Genesis) {
        self.stage.genesis = Some(genesis);
    }

    /// The group brings the document of a private space.
    pub(in crate::replica) fn bring_space(&mut self, document: SpaceDocument) {
        self.stage.spaces.push(document);
    }

    /// Takes the documents out that the group, which is durable now, brings: of the network, and of private spaces.
    pub(in crate::replica) fn take_documents(&mut self) -> (Option<Genesis>, Vec<SpaceDocument>) {
        self.founding = self.stage.founding_frames();
        (self.stage.genesis.take(), std::mem::take(&mut self.stage.spaces))
    }

    /// The group's entries about members, of those whose effects show.
    pub(in crate::replica) fn membership_entries(&self) -> Vec<Entry> {
        let applied = self.stage.entries.iter().filter(|it| it.status == EntryStatus::Applied);
        let of_members = applied.map(|staged| &staged.entry).filter(|entry| {
            let header = &entry.header;
            header.space == header.realm.membership_space()
        });
        of_members.cloned().collect()
    }

    /// The group shows: schemas are read again.
    pub(in crate::replica) fn forget_schemas(&mut self) {
        self.schemas.clear();
    }

    /// What was found out beforehand is used up: its entry is taken in.
    pub(in crate::replica) fn forget_foresight(&mut self) {
        self.foresight = None;
    }

    /// Nothing is being taken in: forgets the entries that were read meanwhile.
    pub(in crate::replica) fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// Reads the indexes.
    pub(in crate::replica) fn load_indexes(
        &mut self,
        tables: &impl ReadTables,
    ) -> Result<(), StoreError> {
        self.indexes = Indexes::load(tables)?;
        Ok(())
    }

    /// Reads which records of these spaces cannot be read here.
    pub(in crate::replica) fn load_unreadable(
        &mut self,
        tables: &impl ReadTables,
        spaces: &[SpaceId],
    ) -> Result<(), StoreError> {
        self.unreadable.clear();
        for space in spaces {
            walk(tables, &records::unreadable_of_space(*space), None, |key, value| {
                if let Some(key) = records::record_of_key(key) {
                    self.unreadable.insert(key, decode_row("unreadable row", value)?);
                }
                Ok(true)
            })?;
        }
        Ok(())
    }
}
