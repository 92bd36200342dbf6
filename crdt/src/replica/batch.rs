//! The batch under way, with all that is kept in memory to judge it quickly: what a replica's records are made of.
//!
//! A batch is what a group of inputs changes, made durable and visible at once by
//! [`Replica::commit`](super::Replica::commit). Nothing here writes to the store or says anything to anybody but notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Now;
use super::documents::Documents;
use super::foresight::Foresight;
use super::indexes::Indexes;
use super::realms::Realms;
use super::stage::Stage;
use crate::changes::RecentEntries;
use crate::ids::{Author, SiteKey, SpaceId};
use crate::record::Schema;
use crate::store::{Store, StoreError};
use crate::tables::logs::{self, EntryRow};
use crate::tables::records::RecordKey;
use crate::tables::row;

/// The batch under way, and what is kept of records between batches.
pub(super) struct Batch {
    pub(super) stage: Stage,
    /// What is found out beforehand of the entry that is taken in next.
    pub(super) foresight: Option<Foresight>,
    pub(super) documents: Documents,
    pub(super) recent: RecentEntries,
    /// Records that cannot be read here, with the reason; none, as a rule.
    pub(super) unreadable: BTreeMap<RecordKey, String>,
    /// Those that were asked for since a schema was last written.
    pub(super) schemas: BTreeMap<SpaceId, BTreeMap<String, Option<Arc<Schema>>>>,
    pub(super) indexes: Indexes,
}

/// What a batch is judged by.
pub(super) struct Context<'a, S> {
    pub(super) store: &'a S,
    pub(super) realms: &'a Realms,
    pub(super) key: &'a SiteKey,
    /// The site's own name, as it wishes to be known.
    pub(super) name: &'a str,
    /// As whom this site writes.
    pub(super) author: Author,
    /// The newest payload format that is applied, and the one that is written.
    pub(super) payload_format: u8,
    pub(super) now: Now,
}

impl<S> Clone for Context<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Context<'_, S> {}

impl<S: Store> Context<'_, S> {
    /// Where a durable entry is.
    pub(super) fn entry_row(
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
    pub(super) fn new(indexes: Indexes) -> Self {
        Self {
            stage: Stage::default(),
            foresight: None,
            documents: Documents::new(),
            recent: RecentEntries::new(),
            unreadable: BTreeMap::new(),
            schemas: BTreeMap::new(),
            indexes,
        }
    }
}
