//! Where the records of a query are looked for: in the whole collection, or where an index leads.

use super::filter::{Comparison, Condition, Filter, Literal, Node, Test};
use crate::ids::SpaceId;
use crate::record::Field;
use crate::record::{KEY_STRING_BYTES, Scalar};
use crate::store::StoreError;
use crate::store::read;
use crate::store::tables::records::{RecordKey, ShownRow};
use crate::store::tables::{self, ReadTables, indexes, walk_by};

/// Most records that are looked for one by one: a filter that lets more through is answered about as soon by reading
/// the collection.
const CANDIDATES_MAX: usize = 50_000;

/// Index rows read at a time: one value of many has few.
const STEP_ROWS: usize = 128;

/// Where records are looked for.
pub(super) enum Source {
    /// In the whole collection.
    All,
    /// Among records of these ids, ascending.
    Ids(Vec<String>),
}

impl Source {
    /// The source with the fewest records in which all are that a filter lets through.
    pub(super) fn of(
        tables: &impl ReadTables,
        space: SpaceId,
        collection: &str,
        filter: Option<&Filter>,
    ) -> Result<Self, StoreError> {
        let Some(filter) = filter else { return Ok(Self::All) };
        let tests = tests(&filter.root);
        if tests.is_empty() {
            return Ok(Self::All);
        }
        let ready = indexes::ready(tables, space, collection)?;
        let mut best: Option<Vec<String>> = None;
        for test in tests.into_iter().filter(|test| ready.contains(&test.field)) {
            let max = best.as_ref().map_or(CANDIDATES_MAX, Vec::len);
            let Some(ranges) = ranges(&test.condition) else { continue };
            let found = ids(tables, space, collection, &test.field, &ranges, max)?;
            // An index that was dropped meanwhile may have led to too few.
            if found.is_some() && indexes::is_ready(tables, space, collection, &test.field)? {
                best = found;
            }
        }
        Ok(best.map_or(Self::All, Source::Ids))
    }

    /// Shows `visit` the records behind an id, by id, until it returns false.
    pub(super) fn each(
        &self,
        tables: &impl ReadTables,
        space: SpaceId,
        collection: &str,
        after: Option<&str>,
        mut visit: impl FnMut(&str, ShownRow<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let ids = match self {
            Self::All => return read::each_shown(tables, space, collection, after, visit),
            Self::Ids(ids) => ids,
        };
        let first = ids.partition_point(|id| after.is_some_and(|after| id.as_str() <= after));
        for id in &ids[first..] {
            let (collection, id) = (collection.to_owned(), id.clone());
            let key = RecordKey { space, collection, id };
            let Some(row) = tables.get(&key.record())? else { continue };
            if !visit(&key.id, ShownRow::read(&row)?)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The tests that every record passes that the filter lets through.
fn tests(node: &Node) -> Vec<&Test> {
    match node {
        Node::All(nodes) => nodes.iter().flat_map(tests).collect(),
        Node::Test(test) => vec![test],
        Node::Any(_) | Node::Not(_) => Vec::new(),
    }
}

/// The part of an index from one key, included, to another, not included.
type Range = (Vec<u8>, Vec<u8>);

/// Where the values lie that pass a test, and perhaps some that do not: strings are cut in keys.
fn ranges(condition: &Condition) -> Option<Vec<Range>> {
    let equal = |literal: &Literal| -> Vec<Range> {
        literal.scalars().map(|scalar| (key(scalar), behind(&key(scalar)))).collect()
    };
    Some(match condition {
        Condition::IsNull => equal(&Literal::Null),
        Condition::In(literals) => literals.iter().flat_map(equal).collect(),
        Condition::Compare(Comparison::Equal, literal) => equal(literal),
        Condition::Compare(comparison, literal) => {
            let range = |scalar| {
                let at = key(scalar);
                // The first byte is that of the values that can be compared with it.
                let all = at[..1].to_vec();
                match comparison {
                    Comparison::Less | Comparison::LessOrEqual => (all, behind(&at)),
                    Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Equal => {
                        (at, behind(&all))
                    }
                }
            };
            literal.scalars().map(range).collect()
        }
        Condition::StartsWith(prefix) => {
            let mut from = key(Scalar::Str(prefix));
            // Without what ends a string.
            from.pop();
            let to = behind(&from);
            vec![(from, to)]
        }
    })
}

fn key(scalar: Scalar<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    scalar.encode(KEY_STRING_BYTES, &mut key);
    key
}

/// Behind all values that begin with these bytes, of which the first is not 255.
fn behind(bytes: &[u8]) -> Vec<u8> {
    tables::behind(bytes).unwrap_or_default()
}

/// The ids of the records whose values lie in the ranges, ascending; `None` if there are more than `max`.
fn ids(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    field: &Field,
    ranges: &[Range],
    max: usize,
) -> Result<Option<Vec<String>>, StoreError> {
    let prefix = indexes::entries(space, collection, &field.path);
    let mut ids = Vec::new();
    for (from, to) in ranges {
        let begin = [&prefix, from.as_slice()].concat();
        // No key is what it begins with: an id follows.
        walk_by(tables, STEP_ROWS, &prefix, Some(&begin), |key, _| {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            if rest >= to.as_slice() || ids.len() > max {
                return Ok(false);
            }
            ids.extend(indexes::split_entry(rest).map(|(_, id)| id.to_owned()));
            Ok(true)
        })?;
        if ids.len() > max {
            return Ok(None);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}
