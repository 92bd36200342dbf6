//! One state of the tables, for who reads several rows of it.

use std::sync::RwLockReadGuard;

use super::TablesState;
use branchline_crdt::store::tables::{PageLimits, ReadTables, RowPage};
use branchline_crdt::store::{Row, StoreError};

/// One state of the tables. Anyone who writes waits until it is dropped.
pub struct TablesSnapshot<'t> {
    pub(super) state: RwLockReadGuard<'t, TablesState>,
}

impl ReadTables for TablesSnapshot<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.state.open_ref()?.get(key)
    }

    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        self.state.open_ref()?.scan_page(prefix, after, limits, page)
    }

    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.state.open_ref()?.scan_back(prefix, before, limit)
    }
}
