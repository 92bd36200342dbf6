//! Places of a list by an index, without looking at a record.

use super::list::{PagePlace, Query};
use super::order::{self, OrderField, QueryCursor};
use crate::ids::SpaceId;
use crate::store::StoreError;
use crate::store::tables::{ReadTables, indexes, walk_by};

/// Index rows read at a time: as many as a page has, about.
const STEP_ROWS: usize = 128;

/// The first places behind a cursor, and whether there are more; `None` where there is no such index, or it is of no
/// use.
pub(super) fn places(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &Query,
    after: Option<&QueryCursor>,
    max: usize,
) -> Result<Option<(Vec<PagePlace>, bool)>, StoreError> {
    let (None, [OrderField { field, is_descending, .. }]) =
        (&query.filter, query.order.fields.as_slice())
    else {
        return Ok(None);
    };
    if !indexes::is_ready(tables, space, collection, field)? {
        return Ok(None);
    }
    let prefix = indexes::entries(space, collection, &field.path);
    let mut walk = IndexWalk { tables, prefix, found: Vec::new(), max };
    match is_descending {
        false => walk.ascend(after.map(|after| (after.key.as_slice(), after.id.as_str())))?,
        true => {
            let after = after.map(|after| (order::turned_back(&after.key), after.id.as_str()));
            walk.descend(after)?;
            walk.found.iter_mut().for_each(|(key, _)| order::turn(0, key));
        }
    }
    let mut found = walk.found;
    let has_more = found.len() > max;
    found.truncate(max);
    // One that was dropped meanwhile may have lacked some.
    Ok(indexes::is_ready(tables, space, collection, field)?.then_some((found, has_more)))
}

struct IndexWalk<'t, T> {
    tables: &'t T,
    /// What the keys of the index begin with.
    prefix: Vec<u8>,
    /// Values, as they are encoded, and ids.
    found: Vec<PagePlace>,
    /// It goes on until it has found more than this.
    max: usize,
}

impl<T: ReadTables> IndexWalk<'_, T> {
    fn ascend(&mut self, after: Option<(&[u8], &str)>) -> Result<(), StoreError> {
        let begin =
            after.map(|(value, id)| [self.prefix.as_slice(), value, id.as_bytes()].concat());
        walk_by(self.tables, STEP_ROWS, &self.prefix, begin.as_deref(), |key, _| {
            self.found.extend(place(&self.prefix, key));
            Ok(self.found.len() <= self.max)
        })
    }

    /// The values descend; the ids of each ascend.
    fn descend(&mut self, after: Option<(Vec<u8>, &str)>) -> Result<(), StoreError> {
        let mut before = None;
        if let Some((value, id)) = after {
            self.of_value(&value, Some(id))?;
            before = Some([&self.prefix, value.as_slice()].concat());
        }
        while self.found.len() <= self.max {
            let rows = self.tables.scan_back(&self.prefix, before.as_deref(), STEP_ROWS)?;
            let places: Vec<PagePlace> =
                rows.iter().filter_map(|(key, _)| place(&self.prefix, key)).collect();
            let mut values: Vec<&[PagePlace]> = places.chunk_by(|(a, _), (b, _)| a == b).collect();
            // Of the least there may be more.
            let Some([(least, _), ..]) = values.pop() else { break };
            for of_value in values {
                self.found.extend(of_value.iter().rev().cloned());
            }
            if self.found.len() <= self.max {
                self.of_value(least, None)?;
            }
            before = Some([&self.prefix, least.as_slice()].concat());
        }
        Ok(())
    }

    /// The places of one value behind an id.
    fn of_value(&mut self, value: &[u8], after: Option<&str>) -> Result<(), StoreError> {
        let of_value = [&self.prefix, value].concat();
        let begin = after.map(|id| [&of_value, id.as_bytes()].concat());
        walk_by(self.tables, STEP_ROWS, &of_value, begin.as_deref(), |key, _| {
            // A string's rows are followed by those of strings that go on with a zero byte.
            let place = place(&self.prefix, key).filter(|(found, _)| found == value);
            let is_over = place.is_none();
            self.found.extend(place);
            Ok(!is_over && self.found.len() <= self.max)
        })
    }
}

fn place(prefix: &[u8], key: &[u8]) -> Option<PagePlace> {
    let (value, id) = indexes::split_entry(key.get(prefix.len()..)?)?;
    Some((value.to_vec(), id.to_owned()))
}
