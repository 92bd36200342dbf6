//! One side holds, because a person has said so: after a restore, a copy, or a mass change.
//!
//! *From the database*: every row is written over its record, and records whose row is gone are deleted (`load`). *From the
//! collection*: the rows are taken as they are, and every record is written over its row; rows without a record go.
//! Counters are set to what the side that holds has, so nothing of them is lost or counted twice.

use std::collections::BTreeSet;

use branchline_crdt::record::{Version, View as RecordView};

use super::compare::{by_value, set_aside};
use super::load::PAGE;
use super::load::is_gone;
use super::rows::cells_of;
use super::write::{Change, PlannedWrite};
use super::{BridgeFailure, BridgeWorker};
use crate::sql::cell::{Key, Row};
use crate::sql::codec::Misfit;
use crate::sql::database::Read;
use crate::sql::mapping::Mapping;
use crate::sql::state::{Direction, Phase, Steps, View, ViewChange};

impl BridgeWorker {
    /// One page of rows, which are written over their records.
    pub(super) async fn rows_hold(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let number = mapping.bound.number;
        let Some(rows) = self.next_page(mapping, Phase::Pruning).await? else { return Ok(true) };
        let Some(last) = rows.last().map(|read| read.key.to_text()) else { return Ok(true) };
        let count = rows.len() as u64;
        let ids = rows.iter().filter_map(|read| mapping.record_id(&read.key).ok()).collect();
        let records = self.records(&mapping.collection, ids).await?;
        let (mut planned, mut aside) = (Vec::new(), Vec::new());
        for read in rows.into_iter().filter(|read| read.is_captured) {
            let Read { key, row, .. } = read;
            let judged = mapping.record_id(&key).map_err(|misfit| vec![misfit]).and_then(|id| {
                let record = records.get(&id).filter(|record| !record.heads.is_empty());
                row_holds(mapping, &key, id, &row, record)
            });
            match judged {
                Ok(plan) => planned.extend(plan),
                Err(misfits) => aside.extend(
                    misfits
                        .first()
                        .map(|misfit| set_aside(number, Direction::Capture, key.to_text(), misfit)),
                ),
            }
        }
        self.set_aside(&aside).await?;
        self.write_loaded(planned, (number, &last, count)).await?;
        self.reread_tables().await?;
        Ok(true)
    }

    /// One page of rows, which are taken as they are: records are written over them.
    pub(super) async fn records_hold(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let number = mapping.bound.number;
        let Some(rows) = self.next_page(mapping, Phase::Clearing).await? else { return Ok(true) };
        let Some(last) = rows.last().map(|read| read.key.to_text()) else { return Ok(true) };
        let count = rows.len() as u64;
        // Rows that no record stands for, because they are not captured or no record can keep them, are not the bridge's.
        let keys: Vec<String> = rows.iter().map(|read| read.key.to_text()).collect();
        let aside = self.state.set_aside_of(number, Direction::Capture, &keys).await?;
        // Those that are deleted while their record is not are to come back.
        let missed = rows.iter().filter(|read| is_gone(mapping, Some(read)));
        let ids = missed.filter_map(|read| mapping.record_id(&read.key).ok()).collect();
        let records = self.records(&mapping.collection, ids).await?;
        let is_there = |read: &Read| {
            let record = mapping.record_id(&read.key).ok().and_then(|id| records.get(&id));
            record.is_some_and(|record| !record.deleted && !record.heads.is_empty())
        };
        let is_ours = |read: &Read| {
            !aside.contains(&read.key.to_text())
                && if is_gone(mapping, Some(read)) {
                    is_there(read)
                } else {
                    read.is_captured && mapping.is_deleted(&read.row).is_ok()
                }
        };
        let rows = rows.into_iter().filter(is_ours).collect();
        let views = self.views_of_rows(mapping, rows).await?;
        let loaded = Some((number, last.as_str(), count));
        self.state.keep(Steps { views: &views, loaded, ..Steps::default() }).await?;
        self.reread_tables().await?;
        Ok(true)
    }

    /// One page of rows that are known: those without a record are to go.
    pub(super) async fn clear_rows(&mut self, mapping: &Mapping) -> Result<bool, BridgeFailure> {
        let number = mapping.bound.number;
        let columns = mapping.bound.key.len();
        let after = self.tables.get(&number).and_then(|table| table.loaded_key());
        let views = self.state.views_behind(number, columns, after.as_ref(), PAGE).await?;
        let Some(last) = views.last().map(|view| view.key.to_text()) else {
            self.enter(number, Phase::Listing).await?;
            return Ok(true);
        };
        let ids: BTreeSet<String> = views.iter().map(|view| view.id.clone()).collect();
        let records = self.records(&mapping.collection, ids.clone()).await?;
        let is_gone = |id: &String| records.get(id).is_none_or(|r| r.deleted || r.heads.is_empty());
        let waiting: Vec<(u32, String)> =
            ids.into_iter().filter(is_gone).map(|id| (number, id)).collect();
        let loaded = Some((number, last.as_str(), 0));
        self.state.keep(Steps { waiting: &waiting, loaded, ..Steps::default() }).await?;
        self.reread_tables().await?;
        Ok(true)
    }

    /// The next rows of a table that is being read; where there are none, it enters the next phase.
    async fn next_page(
        &mut self,
        mapping: &Mapping,
        then: Phase,
    ) -> Result<Option<Vec<Read>>, BridgeFailure> {
        let number = mapping.bound.number;
        let after: Option<Key> = self.tables.get(&number).and_then(|table| table.loaded_key());
        let rows = self.page(&mapping.bound, after.as_ref()).await?;
        if rows.is_empty() {
            self.enter(number, then).await?;
            return Ok(None);
        }
        Ok(Some(rows))
    }
}

/// What makes a record as its row is.
fn row_holds(
    mapping: &Mapping,
    key: &Key,
    id: String,
    row: &Row,
    record: Option<&RecordView>,
) -> Result<Option<PlannedWrite>, Vec<Misfit>> {
    let number = mapping.bound.number;
    let is_deleted = mapping.is_deleted(row).map_err(|misfit| vec![misfit])?;
    let version = record.map(Version::of);
    let fields = mapping.fields_of(row)?;
    let changes = match record {
        None if is_deleted => return Ok(None),
        None => vec![Change::Import(by_value(fields))],
        Some(record) if record.deleted && is_deleted => Vec::new(),
        Some(record) if record.deleted => vec![Change::Revive(by_value(fields))],
        Some(_) if is_deleted => vec![Change::Delete],
        // Counters by value: the record's is changed by the difference.
        Some(_) => vec![Change::Import(by_value(fields))],
    };
    let view = View {
        key: key.clone(),
        id: id.clone(),
        version: version.clone(),
        cells: cells_of(mapping, row.clone()),
    };
    let then = ViewChange::Set(number, view);
    let (table, key, builds_on) = (number, key.clone(), version);
    Ok(Some(PlannedWrite { table, key, id, changes, builds_on, then, is_behind: false }))
}
