//! What was there before: rows page by page, then rows that are gone, then records. Triggers are in place before, so what
//! changes meanwhile is noted, and each page is compared like any other rows: going on after a crash doubles nothing.

use branchline_crdt::store::read;

use super::compare::LookedUpRow;
use super::rows::{cells_of, was_deleted};
use super::{BridgeFailure, BridgeWorker};
use crate::sql::cell::{Cell, Key};
use crate::sql::config::BridgeOnLeave;
use crate::sql::database::{DbError, DbErrorClass, Read};
use crate::sql::mapping::Mapping;
use crate::sql::shape::Bound;
use crate::sql::state::{Phase, Steps, View, ViewChange};

/// Rows or records that are dealt with at a time.
pub(super) const PAGE: usize = 2_000;
/// Rows of a table whose size is not known yet.
const FIRST_PAGE: usize = 100;
/// Bytes of rows that are dealt with at a time, about.
pub(super) const PAGE_BYTES: usize = 16 * 1024 * 1024;
/// The same of a database whose writers wait meanwhile.
const PAGE_HINDERING: usize = 500;

impl BridgeWorker {
    /// One page of each table that is not loaded yet; returns whether there are more.
    pub(super) async fn load(&mut self) -> Result<bool, BridgeFailure> {
        let mut is_busy = false;
        let numbers: Vec<u32> = self.tables.keys().copied().collect();
        for number in numbers {
            let (Some(mapping), Some(table)) =
                (self.mappings.get(&number).cloned(), self.tables.get(&number))
            else {
                continue;
            };
            if table.stopped.is_some() {
                continue;
            }
            is_busy |= match table.phase {
                Phase::Loading | Phase::Comparing => self.load_rows(&mapping).await?,
                Phase::Sweeping | Phase::Pruning => self.sweep(&mapping).await?,
                Phase::FromDatabase => self.rows_hold(&mapping).await?,
                Phase::FromCollection => self.records_hold(&mapping).await?,
                Phase::Clearing => self.clear_rows(&mapping).await?,
                Phase::Listing => self.list(&mapping).await?,
                Phase::Running => false,
            };
        }
        Ok(is_busy)
    }

    fn page_max(&self) -> usize {
        if self.database.reads_hinder_writers() { PAGE_HINDERING } else { PAGE }
    }

    /// How many rows of a table are read at a time: few at first, then as many as fit some MB.
    pub(super) fn rows_at_a_time(&self, number: u32) -> usize {
        self.page_rows.get(&number).copied().unwrap_or(FIRST_PAGE).min(self.page_max())
    }

    /// Takes note of how large a table's rows are; returns how many bytes these take.
    pub(super) fn note_size(&mut self, number: u32, rows: &[Read]) -> usize {
        let bytes: usize = rows.iter().flat_map(|read| &read.row).map(Cell::bytes).sum();
        if !rows.is_empty() {
            let each = (bytes / rows.len()).max(1);
            self.page_rows.insert(number, (PAGE_BYTES / each).clamp(1, PAGE));
        }
        bytes
    }

    async fn load_rows(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let bound = &mapping.bound;
        let Some(after) = self.tables.get(&bound.number).map(|table| table.loaded_key()) else {
            return Ok(false);
        };
        // Before anything of it goes anywhere: rows that are gone, and rows that are marked as deleted.
        let is_first = self.is_loading(bound.number);
        if !is_first && after.is_none() {
            match self.has_lost_most(mapping).await {
                Ok(false) => {}
                Ok(true) => return Ok(true),
                Err(BridgeFailure::Database(error)) if error.class == DbErrorClass::Schema => {
                    self.judge(bound.number, error).await?;
                    return Ok(true);
                }
                Err(failure) => return Err(failure),
            }
        }
        let rows = match self.page(bound, after.as_ref()).await {
            Ok(rows) => rows,
            Err(error) if error.class == DbErrorClass::Schema => {
                self.judge(bound.number, error).await?;
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        };
        let Some(last) = rows.last().map(|read| read.key.to_text()) else {
            // At the first time every row that is known was just read.
            let next = if is_first { Phase::Listing } else { Phase::Sweeping };
            self.enter(bound.number, next).await?;
            return Ok(true);
        };
        let count = rows.len() as u64;
        if mapping.mode.captures() {
            self.counts.of(bound.number).rows_in += count;
            let keys = rows.iter().map(|read| read.key.clone()).collect();
            let planned = self.compare(bound.number, LookedUpRow::of(keys, rows), is_first).await?;
            self.write_loaded(planned, (bound.number, &last, count)).await?;
        } else {
            let views = self.views_of_rows(mapping, rows).await?;
            let loaded = Some((bound.number, last.as_str(), count));
            self.state.keep(Steps { views: &views, loaded, ..Steps::default() }).await?;
        }
        self.reread_tables().await?;
        Ok(true)
    }

    pub(super) async fn page(
        &mut self,
        bound: &Bound,
        after: Option<&Key>,
    ) -> Result<Vec<Read>, DbError> {
        let limit = self.rows_at_a_time(bound.number);
        self.database.begin_read(std::slice::from_ref(bound)).await?;
        let rows = self.database.page(bound, after, limit).await?;
        self.database.end_read().await?;
        self.note_size(bound.number, &rows);
        Ok(rows)
    }

    /// The rows of a table that is only written: what is there is known, and records are written over it.
    pub(super) async fn views_of_rows(
        &mut self,
        mapping: &Mapping,
        rows: Vec<Read>,
    ) -> Result<Vec<ViewChange>, BridgeFailure> {
        let number = mapping.bound.number;
        let keys: Vec<Key> = rows.iter().map(|read| read.key.clone()).collect();
        let known = self.state.views(number, &keys).await?;
        let view = |read: Read| {
            // A row whose key no record can have is nobody's.
            let id = mapping.record_id(&read.key).ok()?;
            let version = known.get(&read.key).and_then(|view| view.version.clone());
            let cells = cells_of(mapping, read.row);
            Some(ViewChange::Set(number, View { key: read.key, id, version, cells }))
        };
        Ok(rows.into_iter().filter_map(view).collect())
    }

    /// Rows that the node knows and the table does not have any more.
    async fn sweep(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let bound = &mapping.bound;
        let after = self.tables.get(&bound.number).and_then(|table| table.loaded_key());
        let limit = self.page_max();
        let views =
            self.state.views_behind(bound.number, bound.key.len(), after.as_ref(), limit).await?;
        let Some(last) = views.last().map(|view| view.key.to_text()) else {
            self.enter(bound.number, Phase::Listing).await?;
            return Ok(true);
        };
        let keys: Vec<Key> = views.into_iter().map(|view| view.key).collect();
        let found = self.read_rows(bound, keys).await?;
        let gone: Vec<LookedUpRow> =
            found.into_iter().filter(|found| found.row.is_none()).collect();
        let loaded = (bound.number, last.as_str(), 0);
        if mapping.mode.captures() {
            let planned = self.compare(bound.number, gone, false).await?;
            self.write_loaded(planned, loaded).await?;
        } else {
            let dropped = gone.into_iter().map(|gone| ViewChange::Drop(bound.number, gone.key));
            let views: Vec<_> = dropped.collect();
            let loaded = Some(loaded);
            self.state.keep(Steps { views: &views, loaded, ..Steps::default() }).await?;
        }
        self.reread_tables().await?;
        Ok(true)
    }

    /// Whether so many rows are gone that a person has to look; the table stops then.
    async fn has_lost_most(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let bound = &mapping.bound;
        let (mut all, mut gone) = (0, 0);
        let mut after: Option<Key> = None;
        loop {
            let limit = self.page_max();
            let columns = bound.key.len();
            let views =
                self.state.views_behind(bound.number, columns, after.as_ref(), limit).await?;
            let Some(last) = views.last() else { break };
            after = Some(last.key.clone());
            all += views.len() as u64;
            let there = views.into_iter().filter(|view| !was_deleted(mapping, &view.cells));
            let keys: Vec<Key> = there.map(|view| view.key).collect();
            let found = self.read_rows(bound, keys).await?;
            gone +=
                found.iter().filter(|found| is_gone(mapping, found.row.as_ref())).count() as u64;
            self.renew_lease().await?;
        }
        self.stop_if_mass_change(mapping, gone, all).await
    }

    /// The records that the table is to have.
    async fn list(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let number = mapping.bound.number;
        if !mapping.mode.applies() {
            self.enter(number, Phase::Running).await?;
            return Ok(true);
        }
        let after = self.tables.get(&number).and_then(|table| table.loaded_to.clone());
        let collection = mapping.collection.clone();
        let ids = self.node.read(move |tables, space| {
            let mut ids = Vec::new();
            read::each_row(tables, space, &collection, after.as_deref(), |id, _| {
                ids.push(id.to_owned());
                Ok(ids.len() < PAGE)
            })?;
            Ok(ids)
        });
        let ids: Vec<String> = ids.await?;
        let Some(last) = ids.last().cloned() else {
            self.enter(number, Phase::Running).await?;
            return Ok(true);
        };
        let waiting: Vec<(u32, String)> = ids.into_iter().map(|id| (number, id)).collect();
        let loaded = Some((number, last.as_str(), 0));
        self.state.keep(Steps { waiting: &waiting, loaded, ..Steps::default() }).await?;
        self.reread_tables().await?;
        Ok(true)
    }
}

/// Whether a row asks for its record to be deleted.
pub(super) fn is_gone(mapping: &Mapping, row: Option<&Read>) -> bool {
    match row {
        None => true,
        Some(read) if !read.is_captured => mapping.on_leave == BridgeOnLeave::Delete,
        Some(read) => mapping.is_deleted(&read.row).unwrap_or(false),
    }
}
