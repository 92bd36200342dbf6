//! What all parts may read of a replica.

use super::realms::Realms;
use super::{Identity, Now};
use crate::ids::{Author, SiteKey, SpaceId};
use crate::store::tables::logs::{self, EntryRow};
use crate::store::tables::row;
use crate::store::{Store, StoreError};

/// What all parts may read of a replica: they judge by it and answer from it, and change nothing of it.
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
