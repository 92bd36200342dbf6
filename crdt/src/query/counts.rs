//! Counts of records by the values of one field, from its index.

use super::page::Bounds;
use super::summary::{
    self, GROUP_BYTES_MAX, GROUPS_MAX, Group, Summary, SummaryError, SummaryQuery,
};
use crate::ids::SpaceId;
use crate::record::{Field, FieldNames, KEY_STRING_BYTES, Value, ValueRef};
use crate::store::StoreError;
use crate::store::tables::records::{RecordKey, ShownRow};
use crate::store::tables::{ReadTables, indexes, walk};

/// What stands around a string in a key: its kind, and its end.
const AROUND_STRING_BYTES: usize = 2;

/// Sums up the records of a collection. Of `bounds`, [`Bounds::sorted`] counts.
///
/// How many records there are of each value of one indexed field is counted in the index, where neither a filter nor
/// anything else is asked for: then one record of each group is looked at.
///
/// # Errors
/// [`SummaryError`].
pub fn summary(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &SummaryQuery,
    bounds: Bounds,
) -> Result<Summary, SummaryError> {
    match by_index(tables, space, collection, query, bounds)? {
        Some(found) => Ok(found),
        None => summary::by_reading(tables, space, collection, query, bounds),
    }
}

/// The summary of a query that asks for counts by one field alone; `None` where it asks for more, there is no such index,
/// or its values are longer than keys have of them.
fn by_index(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &SummaryQuery,
    bounds: Bounds,
) -> Result<Option<Summary>, SummaryError> {
    let SummaryQuery { filter: None, by, measures } = query else { return Ok(None) };
    let ([field @ Field { kind: Some(_), .. }], []) = (by.as_slice(), measures.as_slice()) else {
        return Ok(None);
    };
    let is_ready = || indexes::is_ready(tables, space, collection, field);
    if !is_ready()? {
        return Ok(None);
    }
    let prefix = indexes::entries(space, collection, &field.path);
    let mut counts = Counts { groups: Vec::new(), bytes: 0, is_exact: true };
    let (mut rows, mut is_too_many) = (0, false);
    walk(tables, &prefix, None, |key, _| {
        is_too_many = rows >= bounds.sorted;
        rows += 1;
        let rest = key.get(prefix.len()..).unwrap_or_default();
        counts.add(rest);
        Ok(!is_too_many && counts.is_exact && !counts.are_too_many())
    })?;
    if counts.are_too_many() {
        return Err(SummaryError::TooManyGroups { max: GROUPS_MAX });
    }
    if is_too_many {
        return Err(SummaryError::TooMany { max: bounds.sorted });
    }
    if !counts.is_exact {
        return Ok(None);
    }
    let mut groups = Vec::with_capacity(counts.groups.len());
    for IndexGroup { value, first, count } in counts.groups {
        let collection = collection.to_owned();
        let key = RecordKey { space, collection, id: first };
        let Some(shown) = shown(tables, &key, field, &value)? else { return Ok(None) };
        counts.bytes += shown.json_bytes();
        groups.push(Group { by: vec![shown], count, measures: Vec::new() });
    }
    if counts.bytes > GROUP_BYTES_MAX {
        return Err(SummaryError::TooManyGroups { max: GROUPS_MAX });
    }
    // One that was dropped meanwhile may have lacked some.
    if !is_ready()? {
        return Ok(None);
    }
    let scanned = groups.len();
    Ok(Some(Summary { groups, scanned, unknown_fields: Vec::new(), unlike: Vec::new() }))
}

/// What a record shows of a value that the index has; `None` if it has another one by now.
fn shown(
    tables: &impl ReadTables,
    key: &RecordKey,
    field: &Field,
    value: &[u8],
) -> Result<Option<Value>, StoreError> {
    let names = FieldNames::from_iter([field.name()]);
    let Some(row) = tables.get(&key.record())? else { return Ok(None) };
    let Some(fields) = ShownRow::read(&row)?.fields(&names)? else { return Ok(None) };
    let mut found = Vec::with_capacity(value.len());
    field.scalar(&fields).encode(usize::MAX, &mut found);
    let shown = field.find(&fields).map_or(Value::Null, ValueRef::to_value);
    Ok((found == value).then_some(shown))
}

/// The groups that were met, by the order of their values.
struct Counts {
    groups: Vec<IndexGroup>,
    /// What the values take.
    bytes: usize,
    /// Whether every value is all of it: of long strings keys have the beginning.
    is_exact: bool,
}

struct IndexGroup {
    /// As it is in keys.
    value: Vec<u8>,
    /// The first of its records by id, whose value is shown.
    first: String,
    count: u64,
}

impl Counts {
    /// Takes in what a row's key has behind that of its index. Rows of one value follow each other.
    fn add(&mut self, rest: &[u8]) {
        let Some((value, id)) = indexes::split_entry(rest) else { return };
        match self.groups.last_mut().filter(|group| group.value == value) {
            Some(group) => group.count += 1,
            None => {
                self.is_exact &= value.len() < AROUND_STRING_BYTES + KEY_STRING_BYTES;
                self.bytes += value.len();
                let (value, first) = (value.to_vec(), id.to_owned());
                self.groups.push(IndexGroup { value, first, count: 1 });
            }
        }
    }

    fn are_too_many(&self) -> bool {
        self.groups.len() > GROUPS_MAX || self.bytes > GROUP_BYTES_MAX
    }
}
