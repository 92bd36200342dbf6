//! Records that do not fit the schema of their collection: written before it, or apart from it. They stay readable, and
//! fit once their fields are written again.

use crate::ids::SpaceId;
use crate::query::Bounds;
use crate::record::{FieldNames, Kind, Schema, SchemaMismatch, Value};
use crate::store::StoreError;
use crate::store::read;
use crate::store::tables::ReadTables;

/// A record that does not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaMisfit {
    /// Its id.
    pub id: String,
    /// Its fields that do not.
    pub fields: Vec<MisfitField>,
}

/// A field that does not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct MisfitField {
    /// Its dotted path.
    pub path: String,
    /// The declared kind.
    pub declared: Kind,
    /// What it holds; `None` or null: it is required and missing.
    pub found: Option<Value>,
}

/// Some of the records of a collection that do not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaMisfits {
    /// The records, by id.
    pub records: Vec<SchemaMisfit>,
    /// Records that were looked at and are not deleted.
    pub scanned: usize,
    /// Records that were looked at, deleted ones too.
    pub read: usize,
    /// The id behind which the next page begins; `None`: this is the last.
    pub next: Option<String>,
}

impl MisfitField {
    fn of(mismatch: SchemaMismatch<'_>) -> Self {
        let SchemaMismatch { path, expected, found } = mismatch;
        Self { path: path.to_owned(), declared: expected, found: found.cloned() }
    }
}

/// The records behind an id that do not fit a schema, bounded by their number and by how many are looked at.
///
/// # Errors
/// [`StoreError`].
pub fn misfits(
    tables: &impl ReadTables,
    (space, collection): (SpaceId, &str),
    schema: &Schema,
    after: Option<&str>,
    bounds: Bounds,
) -> Result<SchemaMisfits, StoreError> {
    let mut found = SchemaMisfits { records: Vec::new(), scanned: 0, read: 0, next: None };
    let paths = schema.fields().keys();
    let names: FieldNames<'_> = paths.filter_map(|path| path.split('.').next()).collect();
    if schema.fields().is_empty() {
        return Ok(found);
    }
    let mut last = None;
    read::each_shown(tables, space, collection, after, |id, row| {
        if found.read >= bounds.scanned || found.records.len() >= bounds.records {
            found.next = last.take();
            return Ok(false);
        }
        found.read += 1;
        last = Some(id.to_owned());
        let Some(record) = row.fields(&names)? else { return Ok(true) };
        let record = record.to_fields();
        found.scanned += 1;
        let fields: Vec<_> = schema.mismatches(&record).map(MisfitField::of).collect();
        if !fields.is_empty() {
            found.records.push(SchemaMisfit { id: id.to_owned(), fields });
        }
        Ok(true)
    })?;
    Ok(found)
}
