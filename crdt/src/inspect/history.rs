//! What became of a record, change by change, as this site took the changes in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use data_encoding::HEXLOWER;

use crate::format::codec;
use crate::ids::Author;
use crate::log::entry::EntryId;
use crate::log::entry::text::EntryText;
use crate::record::{
    DELETED_FIELD, Document, Fault, ParsedChange, RecordChange, Unreadable, Value, Verdict, View,
};
use crate::store::changes::{self, ChangeReader};
use crate::store::tables::records::{RecordKey, RecordRow};
use crate::store::{ReadStore, StoreError};

/// Bytes of values that are reported at once; older steps are left out then.
const STEPS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one change did to a record.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryStep {
    /// The change's hash.
    pub hash: [u8; 32],
    /// Who made it.
    pub author: Author,
    /// The number of its entry.
    pub seq: u64,
    /// When, in ms since 1970 by the author's clock.
    pub time_ms: i64,
    /// The fields that show something else since.
    pub fields: Vec<FieldChange>,
    /// Values that it wrote and that do not show, since another one does that was written at the same time.
    pub other_values: Vec<(String, Value)>,
}

/// What became of one field. `None`: the record does not have it.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// Its path: `price`, `address.city`.
    pub path: String,
    /// What it was.
    pub before: Option<Value>,
    /// What it is.
    pub after: Option<Value>,
}

/// A record's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// How many changes the record has.
    pub change_count: u64,
    /// The last of them, newest last.
    pub last: Vec<HistoryStep>,
}

/// A change of the record.
struct HistoryState {
    link: Link,
    parsed: ParsedChange,
}

/// What names a change of a record, and what it builds on.
pub(crate) struct Link {
    pub(crate) author: Author,
    pub(crate) seq: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) deps: Vec<[u8; 32]>,
}

impl Link {
    /// Of a change that lies in an entry.
    pub(crate) fn new(entry: EntryId, change: &RecordChange, parsed: &ParsedChange) -> Self {
        let EntryId { author, seq } = entry;
        Self { author, seq, hash: change.hash(), deps: parsed.deps().to_vec() }
    }
}

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The storage failed, or a journal frame with one of the changes is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The changes do not fit together: a fault of this program or of its disk.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The change that was named is not there, or is not one.
    #[error(transparent)]
    Named(#[from] NotNamed),
}

/// Why a text names no change of a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNamed {
    /// No change begins with what was given.
    #[error("the record has no change or entry {found:?}")]
    NoChange {
        /// What was given.
        found: String,
    },
    /// More than one change begins with it.
    #[error("{count} changes of the record begin with {found:?}: give more characters")]
    Ambiguous {
        /// What was given.
        found: String,
        /// How many.
        count: usize,
    },
}

impl From<Fault> for HistoryError {
    fn from(fault: Fault) -> Self {
        Self::Unreadable(Unreadable::Refused(Verdict::Fault(fault)))
    }
}

/// What the last `limit` changes of a record did; `None`: nobody has written it.
///
/// # Errors
/// [`HistoryError`] where the store cannot be read, or the changes do not fit together.
pub fn history(
    journal: &impl ReadStore,
    key: &RecordKey,
    limit: usize,
) -> Result<Option<Steps>, HistoryError> {
    let Some(changes) = changes_of(journal, key)? else { return Ok(None) };
    let skipped = changes.len().saturating_sub(limit);
    let mut document = Document::empty();
    let mut before = document.view();
    let (mut last, mut bytes) = (VecDeque::new(), VecDeque::new());
    for (number, known) in changes.iter().enumerate() {
        apply(&mut document, known)?;
        if number + 1 < skipped {
            continue;
        }
        let after = document.view();
        if number >= skipped {
            let step = step(known, &before, &after);
            bytes.push_back(size(&step));
            last.push_back(step);
        }
        before = after;
        while last.len() > 1 && bytes.iter().sum::<usize>() > STEPS_BYTES_MAX {
            last.pop_front();
            bytes.pop_front();
        }
    }
    Ok(Some(Steps { change_count: changes.len() as u64, last: last.into() }))
}

/// What is different between two states of a record: those that the changes named by the beginnings of their hashes
/// made, or by their entries, each with all that it builds on. `to` not given: the record as it is. Neither given: what the last change
/// did. `None`: nobody has written the record.
///
/// # Errors
/// [`HistoryError`] where `from` or `to` names no change of the record, the store cannot be read, or the changes do
/// not fit together.
pub fn diff(
    journal: &impl ReadStore,
    key: &RecordKey,
    from: Option<&str>,
    to: Option<&str>,
) -> Result<Option<Vec<FieldChange>>, HistoryError> {
    let Some(changes) = changes_of(journal, key)? else { return Ok(None) };
    let all: BTreeSet<_> = changes.iter().map(|known| known.link.hash).collect();
    let links = || changes.iter().map(|known| &known.link);
    let before = match from {
        Some(from) => ancestors(links(), [named(links(), from)?]),
        None => {
            let last = changes.last().map(|known| known.link.hash);
            all.iter().filter(|hash| Some(**hash) != last).copied().collect()
        }
    };
    let after = match to {
        Some(to) => ancestors(links(), [named(links(), to)?]),
        None => all,
    };
    let view = |of: BTreeSet<[u8; 32]>| -> Result<View, HistoryError> {
        let mut document = Document::empty();
        for known in changes.iter().filter(|known| of.contains(&known.link.hash)) {
            apply(&mut document, known)?;
        }
        Ok(document.view())
    };
    Ok(Some(compare(&view(before)?, &view(after)?)))
}

/// The entries of the changes that no other change of the record depends on: anyone who holds them holds all of it.
/// `None`: nobody has written the record.
///
/// # Errors
/// [`StoreError`] where the journal or the tables cannot be read.
pub fn latest_entries(
    journal: &impl ReadStore,
    key: &RecordKey,
) -> Result<Option<Vec<(Author, u64)>>, StoreError> {
    let Some(value) = journal.get(&key.record())? else { return Ok(None) };
    let row = RecordRow::decode(&value)?;
    let mut heads: BTreeSet<_> = row.document()?.view().heads.into_iter().collect();
    let mut reader = ChangeReader::new(journal);
    let mut entries = Vec::new();
    for place in changes::places(journal, key, &row.changes)?.into_iter().rev() {
        if heads.is_empty() {
            break;
        }
        let (made_in, change) = reader.at(place)?;
        if heads.remove(&change.hash()) {
            entries.push((made_in.log, made_in.header.seq));
        }
    }
    Ok(Some(entries))
}

fn changes_of(
    journal: &impl ReadStore,
    key: &RecordKey,
) -> Result<Option<Vec<HistoryState>>, HistoryError> {
    let Some(value) = journal.get(&key.record())? else { return Ok(None) };
    let row = RecordRow::decode(&value)?;
    let mut reader = ChangeReader::new(journal);
    let mut changes = Vec::new();
    for place in changes::places(journal, key, &row.changes)? {
        let (made_in, change) = reader.at(place)?;
        let parsed = change.parse(made_in.actor())?;
        changes.push(HistoryState { link: Link::new(made_in.id(), change, &parsed), parsed });
    }
    Ok(Some(changes))
}

fn apply(document: &mut Document, known: &HistoryState) -> Result<(), HistoryError> {
    let parsed = document.resolve(known.parsed.clone());
    let judged = document.judge(&parsed).map_err(Unreadable::Refused)?;
    Ok(document.apply(judged.with(parsed))?)
}

fn step(known: &HistoryState, before: &View, after: &View) -> HistoryStep {
    let HistoryState { link: Link { author, seq, hash, .. }, parsed } = known;
    let (actor, time_ms) = (parsed.actor().0, parsed.time_ms());
    let is_old = |path: &str, value: &Value| {
        let conflicts = before.conflicts.iter().filter(|conflict| conflict.path == path);
        let mut values = conflicts.flat_map(|conflict| &conflict.values);
        values.any(|old| old.actor == actor && old.value == *value)
    };
    let mut other_values = Vec::new();
    for conflict in &after.conflicts {
        let others = conflict.values.iter().skip(1);
        let own = others.filter(|value| value.actor == actor && value.time_ms == time_ms);
        let new = own.filter(|value| !is_old(&conflict.path, &value.value));
        other_values.extend(new.map(|value| (conflict.path.clone(), value.value.clone())));
    }
    let fields = compare(before, after);
    HistoryStep { hash: *hash, author: *author, seq: *seq, time_ms, fields, other_values }
}

fn size(step: &HistoryStep) -> usize {
    let value = |value: &Value| codec::encode(value).len();
    let field = |field: &FieldChange| {
        field.path.len()
            + [&field.before, &field.after].into_iter().flatten().map(value).sum::<usize>()
    };
    let other_values = step.other_values.iter().map(|(path, hidden)| path.len() + value(hidden));
    step.fields.iter().map(field).chain(other_values).sum()
}

/// The one change whose hash begins so, or the last one of the entry that is named.
pub(crate) fn named<'a>(
    changes: impl Iterator<Item = &'a Link>,
    text: &str,
) -> Result<[u8; 32], NotNamed> {
    let found = || text.to_owned();
    let entry = text.parse::<EntryText>().ok().filter(|entry| !entry.is_of_membership);
    let wanted = text.to_ascii_lowercase();
    let is_meant = |link: &&Link| match &entry {
        Some(entry) => entry.may_be(EntryId { author: link.author, seq: link.seq }),
        None => HEXLOWER.encode(&link.hash).starts_with(&wanted),
    };
    let meant: Vec<_> = changes.filter(is_meant).collect();
    let authors: BTreeSet<_> = meant.iter().map(|link| link.author).collect();
    match meant[..] {
        [.., last] if entry.is_some() && authors.len() == 1 => Ok(last.hash),
        [one] if !text.is_empty() => Ok(one.hash),
        [] | [_] => Err(NotNamed::NoChange { found: found() }),
        [..] => Err(NotNamed::Ambiguous { found: found(), count: meant.len() }),
    }
}

/// Changes and all that they build on.
pub(crate) fn ancestors<'a>(
    changes: impl Iterator<Item = &'a Link>,
    of: impl IntoIterator<Item = [u8; 32]>,
) -> BTreeSet<[u8; 32]> {
    let by_hash: BTreeMap<_, _> = changes.map(|link| (link.hash, link)).collect();
    let (mut found, mut pending) = (BTreeSet::new(), Vec::from_iter(of));
    while let Some(hash) = pending.pop() {
        // What is not among the changes is a genesis.
        let Some(link) = by_hash.get(&hash) else { continue };
        if found.insert(hash) {
            pending.extend(&link.deps);
        }
    }
    found
}

/// What two views of a record show differently, by path.
pub(crate) fn compare(before: &View, after: &View) -> Vec<FieldChange> {
    let mut found = Vec::new();
    if before.deleted != after.deleted {
        let reported = |deleted: bool| Some(Value::Bool(deleted));
        let (before, after) = (reported(before.deleted), reported(after.deleted));
        found.push(FieldChange { path: DELETED_FIELD.to_owned(), before, after });
    }
    compare_maps("", &before.fields, &after.fields, &mut found);
    found
}

fn compare_maps(
    prefix: &str,
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    found: &mut Vec<FieldChange>,
) {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let path = format!("{prefix}{name}");
        match (before.get(name), after.get(name)) {
            (Some(Value::Map(before)), Some(Value::Map(after))) => {
                compare_maps(&format!("{path}."), before, after, found);
            }
            (before, after) if before != after => {
                let (before, after) = (before.cloned(), after.cloned());
                found.push(FieldChange { path, before, after });
            }
            (Some(_), Some(_)) | (None | Some(_), None) | (None, Some(_)) => {}
        }
    }
}
