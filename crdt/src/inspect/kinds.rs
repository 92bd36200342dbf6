//! Which kinds of values the fields of a collection's records hold, for collections without a schema.

use std::collections::BTreeMap;

use crate::ids::SpaceId;
use crate::record::{Value, is_plain_decimal};
use crate::store::StoreError;
use crate::store::read;
use crate::store::tables::ReadTables;

/// Fields that are distinguished: more than a schema may declare are of no use.
const FIELDS_MAX: usize = 4_096;

/// The kinds of values that the records of a collection hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldKinds {
    /// In how many records a field of the record itself holds values of a kind, by field and kind. A string that is a
    /// decimal, as a person writes one, counts as `decimal`.
    pub fields: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// Records that were looked at, deleted ones included.
    pub scanned: usize,
    /// Whether there are more records.
    pub has_more: bool,
}

/// Looks at the first records of a collection, by id, at most `scanned`.
///
/// # Errors
/// [`StoreError`].
pub fn held_kinds(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    scanned: usize,
) -> Result<HeldKinds, StoreError> {
    let mut held = HeldKinds::default();
    read::each_of(tables, space, collection, None, |_, view| {
        held.has_more = held.scanned >= scanned;
        if held.has_more {
            return Ok(false);
        }
        held.scanned += 1;
        for (name, value) in view.live_fields().into_iter().flatten() {
            let is_known = held.fields.contains_key(name);
            if is_known || held.fields.len() < FIELDS_MAX {
                let kinds = held.fields.entry(name.clone()).or_default();
                *kinds.entry(kind_of(value)).or_insert(0) += 1;
            }
        }
        Ok(true)
    })?;
    Ok(held)
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Str(text) if is_plain_decimal(text) => "decimal",
        other => other.kind_name(),
    }
}
