//! Reading what a replica shows, from its tables, without the replica.

use std::collections::BTreeMap;

use crate::format::digest::Digest;
use crate::ids::{Author, SpaceId};
use crate::record::{Conflict, FieldNames, SCHEMA_COLLECTION, Schema, View};
use crate::store::StoreError;
use crate::store::tables::logs::{self, ActorRow};
use crate::store::tables::records::{self, CollectionRow, RecordKey, RecordRow, ShownRow};
use crate::store::tables::{ReadTables, decode_row, row, walk, walk_by};

/// A record's view, deleted or not. `None`: nobody has written it.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn record(
    tables: &(impl ReadTables + ?Sized),
    key: &RecordKey,
) -> Result<Option<View>, StoreError> {
    tables.get(&key.record())?.map(|value| view(&value)).transpose()
}

fn view(row: &[u8]) -> Result<View, StoreError> {
    ShownRow::read(row)?.view()
}

/// A collection's schema. One that another program wrote wrongly, or that is deleted, restricts nothing.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn schema(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
) -> Result<Option<Schema>, StoreError> {
    let id = collection.to_owned();
    let key = RecordKey { space, collection: SCHEMA_COLLECTION.to_owned(), id };
    Ok(record(tables, &key)?.as_ref().and_then(Schema::of))
}

/// Why a record cannot be read at this site, if it cannot.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn unreadable(
    tables: &(impl ReadTables + ?Sized),
    key: &RecordKey,
) -> Result<Option<String>, StoreError> {
    row(tables, "unreadable row", &key.unreadable())
}

/// Records of a collection that are not deleted, by id, behind id `after`, at most `limit`.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn list(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, View)>, StoreError> {
    let mut found = Vec::new();
    if limit == 0 {
        return Ok(found);
    }
    each_of(tables, space, collection, after, |id, view| {
        if !view.deleted {
            found.push((id, view));
        }
        Ok(found.len() < limit)
    })?;
    Ok(found)
}

/// Some of the deleted records of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeletedPage {
    /// Their ids, in order.
    pub ids: Vec<String>,
    /// Behind which id to go on; `None`: there are no more.
    pub next: Option<String>,
    /// Records that were looked at, deleted or not.
    pub scanned: usize,
}

/// Deleted records of a collection by id, behind id `after`: at most `limit`, among at most `scanned_max` records.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn deleted(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    (limit, scanned_max): (usize, usize),
) -> Result<DeletedPage, StoreError> {
    let mut page = DeletedPage::default();
    let no_fields: FieldNames<'_> = std::iter::empty().collect();
    let mut last = String::new();
    each_shown(tables, space, collection, after, |id, row| {
        if page.ids.len() == limit || page.scanned == scanned_max {
            page.next = Some(std::mem::take(&mut last));
            return Ok(false);
        }
        page.scanned += 1;
        id.clone_into(&mut last);
        if row.fields(&no_fields)?.is_none() {
            page.ids.push(id.to_owned());
        }
        Ok(true)
    })?;
    Ok(page)
}

/// Shows `visit` the records of a collection, deleted or not, by id, behind id `after`, until it returns false.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read, or as `visit` returns it.
pub fn each_of(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    mut visit: impl FnMut(String, View) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    each_shown(tables, space, collection, after, |id, row| visit(id.to_owned(), row.view()?))
}

/// As [`each_of`], with the records as they are stored: for those who need little of each.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read, or as `visit` returns it.
pub fn each_shown(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    mut visit: impl FnMut(&str, ShownRow<'_>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    each_stored(tables, space, collection, after, |id, value| visit(id, ShownRow::read(value)?))
}

/// As [`each_shown`], with the whole rows.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read, or as `visit` returns it.
pub fn each_row(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    mut visit: impl FnMut(&str, RecordRow<'_>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    each_stored(tables, space, collection, after, |id, value| visit(id, RecordRow::decode(value)?))
}

/// Records read at a time. Writing waits meanwhile, some tenth of a millisecond.
const STEP_RECORDS: usize = 256;

fn each_stored(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<&str>,
    mut visit: impl FnMut(&str, &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let prefix = records::records(space, collection);
    let after = after.map(|id| [&prefix, id.as_bytes()].concat());
    walk_by(tables, STEP_RECORDS, &prefix, after.as_deref(), |key, value| {
        let id = key.get(prefix.len()..).and_then(|id| str::from_utf8(id).ok());
        visit(id.ok_or_else(broken_key)?, value)
    })
}

/// Shows `visit` every record of a space, deleted or not.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn each_record(
    tables: &impl ReadTables,
    space: SpaceId,
    mut visit: impl FnMut(RecordKey, View),
) -> Result<(), StoreError> {
    walk(tables, &records::records_of_space(space), None, |key, value| {
        visit(record_of(key)?, view(value)?);
        Ok(true)
    })
}

/// What each collection holds, by name; `_schema` is one of them.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn collections(
    tables: &impl ReadTables,
    space: SpaceId,
) -> Result<BTreeMap<String, CollectionRow>, StoreError> {
    let mut found = BTreeMap::new();
    walk(tables, &records::collections(space), None, |key, value| {
        let name = records::collection_of_key(key).ok_or_else(broken_key)?;
        found.insert(name, decode_row("collection row", value)?);
        Ok(true)
    })?;
    Ok(found)
}

/// What one collection holds; nothing where it is unknown.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn collection(
    tables: &impl ReadTables,
    space: SpaceId,
    name: &str,
) -> Result<CollectionRow, StoreError> {
    Ok(row(tables, "collection row", &records::collection(space, name))?.unwrap_or_default())
}

/// Digest of all collections of a space: equal wherever the same entries are applied.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn digest(tables: &impl ReadTables, space: SpaceId) -> Result<Digest, StoreError> {
    let mut sum = Digest::default();
    for row in collections(tables, space)?.values() {
        sum.merge(&row.digest);
    }
    Ok(sum)
}

/// Which records a list of conflicts is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtOdds {
    /// Those that are not deleted, and have fields with several values.
    Conflicted,
    /// Those that are deleted, and hide edits of sites that did not know of it.
    Hidden,
}

/// Records whose edits are at odds, behind `after`, at most `limit`; of one collection or of all.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn at_odds(
    tables: &impl ReadTables,
    space: SpaceId,
    which: AtOdds,
    collection: Option<&str>,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<RecordKey>, StoreError> {
    let (mut prefix, after) = match which {
        AtOdds::Conflicted => (records::conflicts_of_space(space), after.map(RecordKey::conflict)),
        AtOdds::Hidden => (records::hidden_of_space(space), after.map(RecordKey::hidden)),
    };
    if let Some(collection) = collection {
        prefix.extend_from_slice(collection.as_bytes());
        prefix.push(0);
    }
    let rows = tables.scan(&prefix, after.as_deref(), limit)?;
    rows.iter().map(|(key, _)| record_of(key)).collect()
}

/// Records with conflicts, behind `after`, at most `limit`; of one collection or of all.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn conflicted(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: Option<&str>,
    after: Option<&RecordKey>,
    limit: usize,
) -> Result<Vec<RecordKey>, StoreError> {
    at_odds(tables, space, AtOdds::Conflicted, collection, after, limit)
}

/// The edits that the deletion of a record hides: see [`crate::record::Document::hidden_edits`].
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn hidden_edits(
    tables: &impl ReadTables,
    key: &RecordKey,
) -> Result<Vec<Conflict>, StoreError> {
    let Some(row) = tables.get(&key.record())? else { return Ok(Vec::new()) };
    Ok(RecordRow::decode(&row)?.document()?.hidden_edits())
}

/// Whose Automerge actor an actor is; `None` for the shared beginnings of counters, texts, lists and maps.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read: rebuild them from the journal.
pub fn author_of(tables: &impl ReadTables, actor: &[u8; 16]) -> Result<Option<Author>, StoreError> {
    let found: Option<ActorRow> = row(tables, "actor row", &logs::actor(actor))?;
    Ok(found.map(|row| row.author))
}

fn record_of(key: &[u8]) -> Result<RecordKey, StoreError> {
    records::record_of_key(key).ok_or_else(broken_key)
}

fn broken_key() -> StoreError {
    StoreError::Tables { reason: "the key of a row is broken".to_owned() }
}
