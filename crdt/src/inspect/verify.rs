//! Checking what is stored: every entry against its signature and chain; of the tables the records, the totals of their
//! collections and the indexes, each against what it follows from. The other rows (where entries are, logs, marks of conflicts)
//! are not looked at: a rebuild makes them again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::format::digest::{Digest, record_hash};
use crate::ids::{Author, EntryHash, SpaceId};
use crate::log::entry::{Entry, Header};
use crate::record::Field;
use crate::record::{RecordSummary, View};
use crate::store::frame::Frame;
use crate::store::read;
use crate::store::tables::indexes::{self, IndexRow, IndexState};
use crate::store::tables::records::{self, CollectionRow, RecordKey, RecordRow};
use crate::store::tables::{ReadTables, decode_row, walk};
use crate::store::{Store, StoreError};

/// Journal bytes read at a time.
const SCAN_BYTES: usize = 4 * 1024 * 1024;
/// Faults described one by one; the rest are only counted.
const FAULTS_TOLD_MAX: usize = 100;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Entries whose signature and chain hold.
    pub entries: u64,
    /// Records whose view follows from their document.
    pub records: u64,
    /// Number of faults.
    pub fault_count: u64,
    /// The first faults, each with what was found and where.
    pub faults: Vec<String>,
}

impl VerifyReport {
    /// Whether all is as it should be.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    /// Adds a fault.
    pub fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_TOLD_MAX {
            self.faults.push(fault);
        }
    }
}

/// Checks journal and tables of the given spaces. Takes as long as reading all of it.
///
/// # Errors
/// [`StoreError`] where the disk fails. What is damaged is no error: the report lists it.
pub fn verify(store: &impl Store, spaces: &[SpaceId]) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    verify_journal(store, &mut report)?;
    for space in spaces {
        verify_records(store, *space, &mut report)?;
        verify_indexes(store, *space, &mut report)?;
    }
    Ok(report)
}

fn verify_journal(store: &impl Store, report: &mut VerifyReport) -> Result<(), StoreError> {
    for position in store.damaged() {
        report.fault(format!("journal frame {} is damaged", position.0));
    }
    let mut known: BTreeSet<(SpaceId, Author, u64, EntryHash)> = BTreeSet::new();
    let mut after = None;
    loop {
        let frames = store.scan_journal(after, SCAN_BYTES)?;
        let Some((last, _)) = frames.last() else { return Ok(()) };
        after = Some(*last);
        for (position, frame) in &frames {
            let content = match Frame::read(frame) {
                Ok(Frame::Entry(content)) => content,
                Ok(Frame::Genesis(_) | Frame::Fork(_) | Frame::Space(_)) => continue,
                Err(unknown) => {
                    report.fault(unknown.at(*position).to_string());
                    continue;
                }
            };
            match Entry::decode(content) {
                Ok(entry) if !entry.is_signed() => {
                    report.fault(format!("the entry at {} has a wrong signature", position.0));
                }
                Ok(entry) => {
                    let Header { space, author, seq, previous, .. } = entry.header;
                    // Where a log forks there are several.
                    let before = (space, author, seq.wrapping_sub(1), EntryHash::NONE);
                    let last = (before.0, before.1, before.2, EntryHash([u8::MAX; 32]));
                    let chained = known.range(before..=last).next().is_none()
                        || known.remove(&(before.0, before.1, before.2, previous));
                    known.insert((space, author, seq, entry.hash));
                    if chained {
                        report.entries += 1
                    } else {
                        report.fault(format!("the entry at {} breaks its chain", position.0))
                    }
                }
                Err(error) => report.fault(format!("the entry at {}: {error}", position.0)),
            }
        }
    }
}

fn verify_records(
    store: &impl ReadTables,
    space: SpaceId,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let mut totals: BTreeMap<String, CollectionRow> = BTreeMap::new();
    walk(store, &records::records_of_space(space), None, |key, value| {
        let Some(key) = records::record_of_key(key) else {
            report.fault("the key of a record is broken".to_owned());
            return Ok(true);
        };
        let name = format!("{}/{}", key.collection, key.id);
        let row = RecordRow::decode(value);
        match row.and_then(|row| summary_of(&row)) {
            Ok(Some(summary)) => {
                report.records += 1;
                let total = totals.entry(key.collection.clone()).or_default();
                *(if summary.deleted { &mut total.deleted } else { &mut total.live }) += 1;
                total.digest.add(&record_hash(&key.collection, &key.id, &summary.digest));
            }
            Ok(None) => report.fault(format!("the record {name} has no changes")),
            Err(error) => report.fault(format!("the record {name}: {error}")),
        }
        Ok(true)
    })?;
    walk(store, &records::unreadable_of_space(space), None, |key, value| {
        let reason: String = decode_row("unreadable row", value)?;
        let name = records::record_of_key(key).map(|key| format!("{}/{}", key.collection, key.id));
        report.fault(format!("{} cannot be read: {reason}", name.unwrap_or_default()));
        Ok(true)
    })?;
    let empty =
        |row: &CollectionRow| row.live == 0 && row.deleted == 0 && row.digest == Digest::default();
    for (name, stored) in read::collections(store, space)? {
        let found = totals.remove(&name).unwrap_or_default();
        if found != stored {
            report.fault(format!("the totals of collection {name} are wrong"));
        }
    }
    for (name, _) in totals.iter().filter(|(_, row)| !empty(row)) {
        report.fault(format!("collection {name} has records but no totals"));
    }
    Ok(())
}

/// A record in short, by all its changes; deleted or not as it is shown.
fn summary_of(row: &RecordRow<'_>) -> Result<Option<RecordSummary>, StoreError> {
    let Some(whole) = row.document()?.summary() else { return Ok(None) };
    let deleted = if row.first.is_some() { row.view()?.deleted } else { whole.deleted };
    Ok(Some(RecordSummary { deleted, ..whole }))
}

/// Every row of an index must follow from its record; so a whole index has as many rows as there are records.
fn verify_indexes(
    store: &impl ReadTables,
    space: SpaceId,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    walk(store, indexes::ALL, None, |key, value| {
        let row: IndexRow = decode_row("index row", value)?;
        let Some((of, collection, path)) = indexes::index_of_key(key) else {
            report.fault("the key of an index is broken".to_owned());
            return Ok(true);
        };
        if of != space || row.state == IndexState::Dropping {
            return Ok(true);
        }
        let field = Field { path, kind: row.kind() };
        let prefix = indexes::entries(space, &collection, &field.path);
        let mut count = 0;
        walk(store, &prefix, None, |key, _| {
            count += 1;
            let entry = key.get(prefix.len()..).and_then(indexes::split_entry);
            let id = entry.map_or("", |(_, id)| id);
            let record = RecordKey { space, collection: collection.clone(), id: id.to_owned() };
            let view = read::record(store, &record)?;
            let fields = view.as_ref().and_then(View::live_fields);
            let entry = |fields| indexes::entry(space, &collection, &field, id, fields);
            if fields.map(entry).as_deref() != Some(key) {
                let path = &field.path;
                report.fault(format!(
                    "the index of {collection} by {path} has a wrong row of {id:?}"
                ));
            }
            Ok(true)
        })?;
        let live = read::collection(store, space, &collection)?.live;
        if row.state == IndexState::Ready && count != live {
            let path = &field.path;
            report.fault(format!(
                "the index of {collection} by {path} has {count} rows, there are {live} records"
            ));
        }
        Ok(true)
    })
}
