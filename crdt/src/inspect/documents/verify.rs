//! Whether Automerge reads of each record what this site shows of it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{DocumentError, HeldDocument};
use crate::inspect::history::compare;
use crate::record::view_of_automerge;
use crate::record::{Unreadable, Value, View, automerge_of, load_automerge, save_automerge};
use crate::store::changes::RecentEntries;
use crate::store::tables::records::{self, CollectionRow, RecordKey, RecordRow};
use crate::store::tables::{ReadTables, decode_row, walk, walk_by};
use crate::store::{ReadStore, StoreError};

/// Records of a page: a second's work, or little more. Entries that changed several of them are decoded once for all.
const PAGE_RECORDS: u64 = 4_000;
/// Changes of the records of a page, after which it ends as well.
const PAGE_CHANGES: u64 = 40_000;
/// Records that are named one by one; the rest are only counted.
const NAMED_MAX: usize = 100;
/// Rows that are read at a time.
const STEP_ROWS: usize = 128;
/// Longest value that a fault tells, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// What was found in records that were held to Automerge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DocumentsReport {
    /// Records that were compared, deleted ones too.
    pub records: u64,
    /// How many of them Automerge does not read as this site does, or not at all.
    pub fault_count: u64,
    /// The first of those, each with what differs.
    pub faults: Vec<String>,
    /// Records that were not compared, since their histories are larger than a document is made of.
    pub skipped_count: u64,
    /// The first of those, each with its reason.
    pub skipped: Vec<String>,
}

/// A part of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentsPage {
    /// What was found in it.
    pub report: DocumentsReport,
    /// All records that there are, to show how far it is.
    pub records_total: u64,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<Vec<u8>>,
}

impl DocumentsReport {
    /// Whether Automerge reads all that was compared as this site does.
    pub fn is_sound(&self) -> bool {
        self.fault_count == 0
    }

    /// Adds what was found on another page.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.fault_count += other.fault_count;
        self.skipped_count += other.skipped_count;
        self.faults.extend(other.faults);
        self.faults.truncate(NAMED_MAX);
        self.skipped.extend(other.skipped);
        self.skipped.truncate(NAMED_MAX);
    }

    fn fault(&mut self, fault: String) {
        self.fault_count += 1;
        if self.faults.len() < NAMED_MAX {
            self.faults.push(fault);
        }
    }

    fn leave_out(&mut self, reason: String) {
        self.skipped_count += 1;
        if self.skipped.len() < NAMED_MAX {
            self.skipped.push(reason);
        }
    }
}

/// Has Automerge put together, save and load a page of the records of all spaces, and compares what it reads with what is
/// shown: fields, deletion, conflicts and heads. `after`: the `next` of the page before; `None`: from the first record.
///
/// # Errors
/// [`StoreError`] if the storage failed as a whole; what is wrong with one record is in the report.
pub fn verify_documents(
    journal: &impl ReadStore,
    after: Option<&[u8]>,
) -> Result<DocumentsPage, StoreError> {
    let mut report = DocumentsReport::default();
    let (mut changes, mut next) = (0, None);
    let mut entries = RecentEntries::new();
    walk_by(journal, STEP_ROWS, records::ALL, after, |at, row| {
        match records::record_of_key(at) {
            Some(key) => changes += verify(journal, &mut entries, &key, row, &mut report)?,
            None => report.fault("the key of a record is broken".to_owned()),
        }
        let is_full = report.records >= PAGE_RECORDS || changes >= PAGE_CHANGES;
        next = is_full.then(|| at.to_vec());
        Ok(!is_full)
    })?;
    Ok(DocumentsPage { report, records_total: records_total(journal)?, next })
}

/// Compares one record. How many changes it has.
fn verify(
    journal: &impl ReadStore,
    entries: &mut RecentEntries,
    key: &RecordKey,
    row: &[u8],
    report: &mut DocumentsReport,
) -> Result<u64, StoreError> {
    let mut found = difference(journal, entries, key, row);
    // The tables may have been rebuilt meanwhile.
    if let Err(_) | Ok((_, Some(_))) = found
        && let now = journal.get(&key.record())?
        && now.as_deref() != Some(row)
    {
        let Some(now) = now else { return Ok(0) };
        found = difference(journal, entries, key, &now);
    }
    let RecordKey { collection, id, .. } = key;
    match found {
        Ok((changes, difference)) => {
            report.records += 1;
            if let Some(difference) = difference {
                report.fault(format!("record {collection}/{id}: {difference}"));
            }
            Ok(changes)
        }
        Err(DocumentError::Store(error)) => Err(error),
        Err(error @ DocumentError::TooLarge { .. }) => {
            report.leave_out(error.to_string());
            Ok(PAGE_CHANGES)
        }
        Err(error @ DocumentError::Forked { .. }) => {
            report.leave_out(error.to_string());
            Ok(0)
        }
        Err(error) => {
            report.records += 1;
            report.fault(error.to_string());
            Ok(0)
        }
    }
}

/// What Automerge reads otherwise in a record, if anything, and how many changes the record has.
fn difference(
    journal: &impl ReadStore,
    entries: &mut RecentEntries,
    key: &RecordKey,
    row: &[u8],
) -> Result<(u64, Option<String>), DocumentError> {
    let failed = |error| super::failed(key, error);
    let unreadable = |error: Unreadable| super::unreadable(key, error);
    let row = RecordRow::decode(row).map_err(failed)?;
    let held = HeldDocument::of_row(journal, entries, key, &row)?;
    held.require_one_branch(key)?;
    let made = automerge_of(held.changes.iter().map(|held| &held.change)).map_err(unreadable)?;
    // What goes out is what is saved.
    let saved = save_automerge(&made).map_err(unreadable)?;
    let loaded = load_automerge(&saved).map_err(unreadable)?;
    let read = view_of_automerge(&loaded).map_err(unreadable)?;
    let shown = row.whole_view().map_err(failed)?;
    Ok((held.changes.len() as u64, first_difference(&shown, &read)))
}

/// The first thing that two views of a record do not have in common, in words.
fn first_difference(shown: &View, read: &View) -> Option<String> {
    if shown == read {
        return None;
    }
    let fields = compare(shown, read);
    if let Some(field) = fields.first() {
        let (here, there) = (text(field.before.as_ref()), text(field.after.as_ref()));
        return Some(format!("{} is {here} here, Automerge reads {there}", field.path));
    }
    if shown.heads != read.heads {
        let (here, there) = (shown.version(), read.version());
        return Some(format!("it is of version {here} here, Automerge has {there}"));
    }
    let of = |view: &View| -> BTreeMap<String, Vec<Value>> {
        let values = |values: &[crate::record::ConflictValue]| {
            values.iter().map(|value| value.value.clone()).collect()
        };
        view.conflicts.iter().map(|it| (it.path.clone(), values(&it.values))).collect()
    };
    let (here, there) = (of(shown), of(read));
    let mut paths = here.keys().chain(there.keys());
    Some(match paths.find(|path| here.get(*path) != there.get(*path)) {
        Some(path) => format!("the values of {path} that are in conflict are others in Automerge"),
        None => "the conflicts are of others, or of another time, in Automerge".to_owned(),
    })
}

fn text(value: Option<&Value>) -> String {
    let Some(value) = value else { return "missing".to_owned() };
    let json = value.to_json().to_string();
    let mut text: String = json.chars().take(VALUE_CHARS_MAX).collect();
    if json.chars().nth(VALUE_CHARS_MAX).is_some() {
        text.push('…');
    }
    format!("{} {text}", value.kind_name())
}

/// Records of all spaces, deleted ones too.
fn records_total(tables: &impl ReadTables) -> Result<u64, StoreError> {
    let mut total = 0;
    walk(tables, records::ALL_COLLECTIONS, None, |_, value| {
        let row: CollectionRow = decode_row("collection row", value)?;
        total += row.live + row.deleted;
        Ok(true)
    })?;
    Ok(total)
}
