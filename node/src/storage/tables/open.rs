//! Rows as they are: what is in memory over what is in sled.

use std::ops::Bound;
use std::sync::Arc;

use super::manifest::Manifest;
use super::memory::Memory;
use super::read::Blocks;
use super::run::Run;
use super::walk::{self, Way};
use branchline_crdt::store::tables::{scan_back_from, scan_from};
use branchline_crdt::store::{Position, Row, StoreError};

/// Tables that serve.
pub(super) struct Open {
    pub(super) blocks: Blocks,
    /// As it is stored.
    pub(super) manifest: Manifest,
    /// The manifest's runs, the newest first.
    pub(super) runs: Vec<Arc<Run>>,
    /// How far into the journal the tables have come.
    pub(super) applied: Option<Position>,
    pub(super) memory: Memory,
}

impl Open {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.memory.get(key) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => self.blocks.find(&self.runs, key),
        }
    }

    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut page: Vec<Row> = Vec::new();
        let mut from = scan_from(prefix, after).map(<[u8]>::to_vec);
        while page.len() < limit {
            let wanted = limit - page.len();
            let start = from.as_ref().map(Vec::as_slice);
            let stored = walk::scan(&self.blocks, &self.runs, Way::Up, prefix, start, wanted)?;
            let last = last_key(&stored, wanted);
            let end = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
            let rows = self.memory.over(start, end, stored);
            let rows = rows.take_while(|(key, _)| key.starts_with(prefix));
            page.extend(rows.filter_map(|(key, value)| Some((key, value?))).take(wanted));
            let Some(last) = last else { break };
            from = Bound::Excluded(last);
        }
        Ok(page)
    }

    pub(super) fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut page: Vec<Row> = Vec::new();
        let mut from = scan_back_from(prefix, before);
        while page.len() < limit {
            let wanted = limit - page.len();
            let start = from.as_ref().map(Vec::as_slice);
            let stored = walk::scan(&self.blocks, &self.runs, Way::Down, prefix, start, wanted)?;
            let last = last_key(&stored, wanted);
            let end = Bound::Included(last.as_deref().unwrap_or(prefix));
            let rows = self.memory.over_back(start, end, stored);
            page.extend(rows.filter_map(|(key, value)| Some((key, value?))).take(wanted));
            let Some(last) = last else { break };
            from = Bound::Excluded(last);
        }
        Ok(page)
    }
}

/// The key of the last of these rows, if sled may have more.
fn last_key(stored: &[Row], wanted: usize) -> Option<Vec<u8>> {
    stored.last().filter(|_| stored.len() == wanted).map(|(key, _)| key.clone())
}
