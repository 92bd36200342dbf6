//! The batch under way, with all that is kept in memory to judge it quickly: what a replica's records are made of.
//!
//! A batch is what a group of inputs changes, made durable and visible at once by
//! [`Replica::commit`](super::Replica::commit). Nothing here writes to the store or says anything to anybody but notices.

pub(in crate::replica) mod accept;
pub(in crate::replica) mod arrival;
pub(in crate::replica) mod decide;
pub(in crate::replica) mod events;
pub(in crate::replica) mod foreign;
pub(in crate::replica) mod foresight;
pub(in crate::replica) mod history;
pub(in crate::replica) mod made;
pub(in crate::replica) mod rows;
pub(in crate::replica) mod seal;
pub(in crate::replica) mod stage;
pub(in crate::replica) mod vacancy;
pub(in crate::replica) mod versions;
pub(in crate::replica) mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::foresight::Foresight;
use self::stage::Stage;
use super::indexes::Indexes;
use super::realms::Realms;
use super::{Identity, Now};
use crate::cache::Documents;
use crate::ids::{Author, SiteKey, SpaceId};
use crate::record::Schema;
use crate::store::changes::RecentEntries;
use crate::store::tables::logs::{self, EntryRow};
use crate::store::tables::records::{self, RecordKey};
use crate::store::tables::{ReadTables, decode_row, row, walk};
use crate::store::{Store, StoreError};

/// The batch under way, and what is kept of records between batches.
pub(in crate::replica) struct Batch {
    pub(in crate::replica) stage: Stage,
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

/// What a batch is judged by.
pub(in crate::replica) struct Context<'a, S> {
    pub(in crate::replica) store: &'a S,
    pub(in crate::replica) realms: &'a Realms,
    pub(in crate::replica) key: &'a SiteKey,
    /// The site's own name, as it wishes to be known.
    pub(in crate::replica) name: &'a str,
    /// As whom this site writes.
    pub(in crate::replica) author: Author,
    /// The newest payload format that is applied, and the one that is written.
    pub(in crate::replica) payload_format: u8,
    pub(in crate::replica) now: Now,
}

impl<S> Clone for Context<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Context<'_, S> {}

impl<'a, S> Context<'a, S> {
    /// Of a site that writes as `author`.
    pub(in crate::replica) fn new(
        store: &'a S,
        realms: &'a Realms,
        identity: &'a Identity,
        author: Author,
        payload_format: u8,
        now: Now,
    ) -> Self {
        let (key, name) = (&identity.key, &identity.name);
        Self { store, realms, key, name, author, payload_format, now }
    }
}

impl<S: Store> Context<'_, S> {
    /// Where a durable entry is.
    pub(in crate::replica) fn entry_row(
        &self,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<Option<EntryRow>, StoreError> {
        row(self.store, "entry row", &logs::entry(space, author, seq))
    }
}

impl Batch {
    /// Nothing under way, nothing kept.
    pub(in crate::replica) fn new() -> Self {
        Self {
            stage: Stage::default(),
            foresight: None,
            documents: Documents::new(),
            recent: RecentEntries::new(),
            unreadable: BTreeMap::new(),
            schemas: BTreeMap::new(),
            indexes: Indexes::default(),
        }
    }

    /// Forgets the group under way, and what is kept of records: the tables are about to be made anew.
    pub(in crate::replica) fn forget(&mut self) {
        self.drop_stage();
        self.foresight = None;
        self.documents.clear();
        self.recent.clear();
        self.unreadable.clear();
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
