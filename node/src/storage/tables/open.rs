//! Rows as they are: what is in memory over what is in sled.

use std::ops::Bound;
use std::sync::Arc;

use super::manifest::Manifest;
use super::memtable::Memtable;
use super::read::Blocks;
use super::run::Run;
use super::walk;
use branchline_crdt::store::tables::{PageLimits, RowPage, scan_back_from, scan_from};
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
    pub(super) memory: Memtable,
}

impl Open {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.memory.get(key) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => self.blocks.find(&self.runs, key),
        }
    }

    /// As many rows as there are, or as the limits allow.
    pub(super) fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError> {
        page.clear();
        let mut from = scan_from(prefix, after).map(<[u8]>::to_vec);
        while !page.is_full(limits) {
            let start = from.as_ref().map(Vec::as_slice);
            let mut kept = std::mem::take(page);
            // Nearly always nothing is kept yet, and nothing is over what is stored: then this is the page.
            let mut stored =
                if kept.is_empty() { std::mem::take(&mut kept) } else { RowPage::default() };
            walk::scan(&self.blocks, &self.runs, prefix, start, limits, &mut stored)?;
            let last = stored.last_key().filter(|_| stored.is_full(limits)).map(<[u8]>::to_vec);
            let end = last.as_deref().map_or(Bound::Unbounded, Bound::Included);
            *page = if kept.is_empty() && !self.memory.has_any(prefix, start, end) {
                stored
            } else {
                let rows = self.memory.over(start, end, stored.iter());
                for (key, value) in rows.take_while(|(key, _)| key.starts_with(prefix)) {
                    if let Some(value) = value {
                        kept.push(key, value);
                    }
                    if kept.is_full(limits) {
                        break;
                    }
                }
                kept
            };
            let Some(last) = last else { break };
            from = Bound::Excluded(last);
        }
        Ok(())
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
            let stored = walk::scan_back(&self.blocks, &self.runs, prefix, start, wanted)?;
            let last = last_key(&stored, wanted);
            let end = Bound::Included(last.as_deref().unwrap_or(prefix));
            let rows = self.memory.over_back(start, end, row_refs(&stored));
            let rows = rows.filter_map(|(key, value)| Some((key.to_vec(), value?.to_vec())));
            page.extend(rows.take(wanted));
            let Some(last) = last else { break };
            from = Bound::Excluded(last);
        }
        Ok(page)
    }
}

fn row_refs(rows: &[Row]) -> impl Iterator<Item = (&[u8], &[u8])> {
    rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
}

/// The key of the last of these rows, if sled may have more.
fn last_key(stored: &[Row], wanted: usize) -> Option<Vec<u8>> {
    stored.last().filter(|_| stored.len() == wanted).map(|(key, _)| key.clone())
}
