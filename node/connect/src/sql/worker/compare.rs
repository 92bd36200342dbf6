//! Comparing: what a row asks of its record is the row minus its view, what the node knows the row to hold.
//!
//! So a note may come twice, late, for nothing, or be the bridge's own: a row that is as its view asks for nothing.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::record::{Version, View as RecordView};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;

use serde_json::{Map, Value as Json, json};
use smol_str::SmolStr;

use super::rows::{cells_of, column_of, has_counters, is_as_viewed, row_of, unlike, was_deleted};
use super::write::{Change, PlannedWrite};
use super::{BridgeFailure, BridgeWorker};
use crate::sql::cell::{Cell, Key, Row};
use crate::sql::codec::Misfit;
use crate::sql::config::BridgeOnLeave;
use crate::sql::database::Read;
use crate::sql::mapping::{Difference, Mapping, RecordFields};
use crate::sql::state::{Direction, Quarantined, View, ViewChange};

/// A key that was looked up, and its row, if there is one.
pub(super) struct LookedUpRow {
    pub(super) key: Key,
    pub(super) row: Option<Read>,
}

impl LookedUpRow {
    /// Keys that were looked up, with the rows that were found.
    pub(super) fn of(keys: Vec<Key>, rows: Vec<Read>) -> Vec<Self> {
        let mut rows: BTreeMap<Key, Read> =
            rows.into_iter().map(|read| (read.key.clone(), read)).collect();
        let found = |key: Key| Self { row: rows.remove(&key), key };
        keys.into_iter().map(found).collect()
    }
}

/// What is known of a row besides itself.
struct KnownRow<'a> {
    view: Option<&'a View>,
    record: Option<&'a RecordView>,
}

impl BridgeWorker {
    /// What rows of a table ask of their records. Rows that no record can keep are set aside.
    pub(super) async fn compare(
        &mut self,
        number: u32,
        found: Vec<LookedUpRow>,
        is_loading: bool,
    ) -> Result<Vec<PlannedWrite>, BridgeFailure> {
        let Some(mapping) = self.mappings.get(&number).cloned() else { return Ok(Vec::new()) };
        let keys: Vec<Key> = found.iter().map(|found| found.key.clone()).collect();
        let views = self.state.views(number, &keys).await?;
        let ids = needed(&mapping, &found, &views);
        let records = self.records(&mapping.collection, ids).await?;
        let judge = Judge { mapping: &mapping, is_loading };
        let (mut planned, mut aside, mut fine) = (Vec::new(), Vec::new(), Vec::new());
        for LookedUpRow { key, row } in found {
            let view = views.get(&key);
            let id = match (view, &row) {
                (Some(view), _) => Ok(view.id.clone()),
                (None, Some(read)) => mapping.record_id(&read.key),
                (None, None) => {
                    fine.push(key.to_text());
                    continue;
                }
            };
            let judged = id.map_err(|misfit| vec![misfit]).and_then(|id| {
                let known = KnownRow { view, record: records.get(&id) };
                judge.planned(&key, &id, row.as_ref(), known)
            });
            match judged {
                Ok(Some(plan)) => planned.push(plan),
                Ok(None) => fine.push(key.to_text()),
                Err(misfits) => aside.extend(
                    misfits
                        .first()
                        .map(|misfit| set_aside(number, Direction::Capture, key.to_text(), misfit)),
                ),
            }
        }
        self.release(number, Direction::Capture, &fine).await?;
        self.set_aside(&aside).await?;
        Ok(planned)
    }

    /// Sets items aside.
    pub(super) async fn set_aside(&mut self, items: &[Quarantined]) -> Result<(), BridgeFailure> {
        if items.is_empty() {
            return Ok(());
        }
        self.aside.extend(items.iter().map(|item| item.table));
        Ok(self.state.set_aside(items).await?)
    }

    /// Items are not set aside any more, if they were.
    pub(super) async fn release(
        &mut self,
        table: u32,
        direction: Direction,
        names: &[String],
    ) -> Result<(), BridgeFailure> {
        if self.aside.contains(&table) {
            Ok(self.state.release(table, direction, names).await?)
        } else {
            Ok(())
        }
    }

    /// What the node shows of these records.
    pub(super) async fn records(
        &mut self,
        collection: &str,
        ids: BTreeSet<String>,
    ) -> Result<BTreeMap<String, RecordView>, BridgeFailure> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let collection = collection.to_owned();
        let read = self.node.read(move |tables, space| {
            let mut records = BTreeMap::new();
            for id in ids {
                let key = RecordKey { space, collection: collection.clone(), id };
                if let Some(view) = read::record(tables, &key)? {
                    records.insert(key.id, view);
                }
            }
            Ok(records)
        });
        Ok(read.await?)
    }
}

/// The records that have to be looked at: of rows that the node does not know, and where counters may have to wait.
fn needed(
    mapping: &Mapping,
    found: &[LookedUpRow],
    views: &BTreeMap<Key, View>,
) -> BTreeSet<String> {
    let id = |found: &LookedUpRow| match (views.get(&found.key), &found.row) {
        (Some(view), _) if view.version.is_none() || waits_for_owner(mapping) => {
            Some(view.id.clone())
        }
        (Some(_), _) | (None, None) => None,
        (None, Some(read)) => mapping.record_id(&read.key).ok(),
    };
    found.iter().filter_map(id).collect()
}

pub(super) fn set_aside(
    table: u32,
    direction: Direction,
    name: String,
    misfit: &Misfit,
) -> Quarantined {
    Quarantined {
        column: Some(misfit.column.clone()),
        value: Some(misfit.found.clone()),
        ..Quarantined::new(table, direction, name, misfit.to_string())
    }
}

/// Whether counters of a table wait for the first value of another office, which owns them.
fn waits_for_owner(mapping: &Mapping) -> bool {
    !mapping.is_owner && has_counters(mapping)
}

struct Judge<'a> {
    mapping: &'a Mapping,
    is_loading: bool,
}

impl Judge<'_> {
    fn planned(
        &self,
        key: &Key,
        id: &str,
        row: Option<&Read>,
        known: KnownRow<'_>,
    ) -> Result<Option<PlannedWrite>, Vec<Misfit>> {
        let mapping = self.mapping;
        let row = match row {
            Some(read) if read.is_captured => Some(&read.row),
            // It has left the filter, or never was in it.
            Some(_) if mapping.on_leave == BridgeOnLeave::Keep => return Ok(None),
            Some(_) | None => None,
        };
        let KnownRow { view, record } = known;
        let plan = |changes, builds_on, then| {
            let key = key.clone();
            PlannedWrite {
                table: mapping.bound.number,
                key,
                id: id.to_owned(),
                is_behind: false,
                changes,
                builds_on,
                then,
            }
        };
        let set = |cells, version| {
            let view = View { key: key.clone(), id: id.to_owned(), version, cells };
            ViewChange::Set(mapping.bound.number, view)
        };
        let drop = || ViewChange::Drop(mapping.bound.number, key.clone());
        match (view, row) {
            (None, None) => Ok(None),
            (Some(view), None) => {
                let is_there = view.version.is_some()
                    || record.is_some_and(|record| !record.deleted && !record.heads.is_empty());
                let was_deleted = was_deleted(mapping, &view.cells);
                let changes =
                    if is_there && !was_deleted { vec![Change::Delete] } else { Vec::new() };
                Ok(Some(plan(changes, view.version.clone(), drop())))
            }
            (None, Some(row)) => {
                let record = record.filter(|record| !record.heads.is_empty());
                let is_deleted = mapping.is_deleted(row).map_err(one)?;
                if is_deleted && record.is_some_and(|record| !record.deleted) {
                    // Others have it: it comes back.
                    return Ok(None);
                }
                let mut fields = mapping.fields_of(row)?;
                let cells = cells_of(mapping, row.clone());
                if is_deleted {
                    if self.is_loading && waits_for_owner(mapping) {
                        fields.counters.clear();
                    }
                    let changes = match record {
                        None => vec![Change::Import(by_value(fields)), Change::Delete],
                        Some(_) => Vec::new(),
                    };
                    return Ok(Some(plan(changes, None, set(cells, record.map(Version::of)))));
                }
                let plan =
                    |changes, builds_on, version| plan(changes, builds_on, set(cells, version));
                self.first_seen(row, fields, record, plan).map(Some).map_err(one)
            }
            (Some(view), Some(row)) => {
                if is_as_viewed(mapping, row, view) {
                    return Ok(None);
                }
                let mut cells = cells_of(mapping, row.clone());
                let mut fields = mapping.difference(&row_of(mapping, &view.cells), row)?;
                if waits_for_owner(mapping) {
                    hold_counters(mapping, &mut fields, &mut cells, view, record);
                }
                let was = was_deleted(mapping, &view.cells);
                let is = mapping.is_deleted(row).map_err(one)?;
                if cells == view.cells {
                    return Ok(None);
                }
                let mut changes = Vec::new();
                match (was, is) {
                    (false, false) => changes.extend(merged(fields)),
                    (false, true) => {
                        changes.extend(merged(fields));
                        changes.push(Change::Delete);
                    }
                    // What changed while the row was deleted is reported with it.
                    (true, false) => {
                        changes.push(Change::Revive(by_value(mapping.fields_of(row)?)));
                    }
                    (true, true) => {}
                }
                let version = view.version.clone();
                Ok(Some(plan(changes, version.clone(), set(cells, version))))
            }
        }
    }

    /// A row that the node has not seen before.
    fn first_seen(
        &self,
        row: &Row,
        mut fields: RecordFields,
        record: Option<&RecordView>,
        plan: impl FnOnce(Vec<Change>, Option<Version>, Option<Version>) -> PlannedWrite,
    ) -> Result<PlannedWrite, Misfit> {
        let waits = waits_for_owner(self.mapping);
        let Some(record) = record else {
            // Where several offices load the same row, the counters of its owner count.
            if self.is_loading && waits {
                fields.counters.clear();
            }
            return Ok(plan(vec![Change::Import(by_value(fields))], None, None));
        };
        let version = Some(Version::of(record));
        if record.deleted {
            return Ok(plan(vec![Change::Revive(by_value(fields))], None, version));
        }
        let mut differing = unlike(self.mapping, &record.fields, row, fields)?;
        if waits {
            differing.counters.clear();
        }
        // Both sides wrote the record without knowing of each other, where they are not of one mind.
        let is_at_odds = differing.fields.keys().any(|name| record.fields.contains_key(name));
        let builds_on = is_at_odds.then(Version::default);
        let is_empty = differing.fields.is_empty() && differing.counters.is_empty();
        let changes = if is_empty { Vec::new() } else { vec![Change::Import(by_value(differing))] };
        Ok(PlannedWrite { is_behind: true, ..plan(changes, builds_on, version) })
    }
}

fn one(misfit: Misfit) -> Vec<Misfit> {
    vec![misfit]
}

/// Fields that a record is to have, counters by value.
pub(super) fn by_value(fields: RecordFields) -> Map<String, Json> {
    let RecordFields { mut fields, counters } = fields;
    fields.extend(counters.into_iter().map(|(name, value)| (name, value.into())));
    fields
}

/// Fields that differ, as a change: counters by amount.
fn merged(fields: Difference) -> Option<Change> {
    let Difference { mut set, add } = fields;
    let add = add.into_iter().filter(|(_, by)| *by != 0);
    set.extend(add.map(|(name, by)| (name, json!({ "$inc": by }))));
    (!set.is_empty()).then_some(Change::Import(set))
}

/// Counters whose owner has not written them yet wait: row and view keep their difference.
fn hold_counters(
    mapping: &Mapping,
    fields: &mut Difference,
    cells: &mut BTreeMap<SmolStr, Cell>,
    view: &View,
    record: Option<&RecordView>,
) {
    let has = |name: &str| record.is_some_and(|record| record.fields.contains_key(name));
    let held: Vec<String> = fields.add.keys().filter(|name| !has(name)).cloned().collect();
    for name in held {
        fields.add.remove(&name);
        if let Some(column) = column_of(mapping, &name)
            && let Some(cell) = view.cells.get(column)
        {
            cells.insert(column.into(), cell.clone());
        }
    }
}
