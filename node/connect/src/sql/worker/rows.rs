//! Rows as views keep them, and views as rows.

use std::collections::BTreeMap;

use branchline_crdt::record::Fields;
use smol_str::SmolStr;

use crate::sql::cell::{Cell, Row};
use crate::sql::codec::Misfit;
use crate::sql::mapping::{Mapping, RecordFields};
use crate::sql::state::View;

/// A row's cells by column.
pub(super) fn cells_of(mapping: &Mapping, row: Row) -> BTreeMap<SmolStr, Cell> {
    let columns = mapping.bound.columns.iter().map(|column| SmolStr::new(&column.name));
    columns.zip(row).collect()
}

/// Whether a row is as its view says.
pub(super) fn is_as_viewed(mapping: &Mapping, row: &Row, view: &View) -> bool {
    let columns = &mapping.bound.columns;
    view.cells.len() == columns.len().min(row.len())
        && columns.iter().zip(row).all(|(column, cell)| view.cells.get(&*column.name) == Some(cell))
}

/// A view's cells in the order of the table's columns. A column that was not known when the row was last looked at counts
/// as NULL, so that what it holds is a difference.
pub(super) fn row_of(mapping: &Mapping, cells: &BTreeMap<SmolStr, Cell>) -> Row {
    let columns = mapping.bound.columns.iter();
    columns.map(|column| cells.get(&*column.name).cloned().unwrap_or(Cell::Null)).collect()
}

/// Whether a view's cells say that the row is deleted.
pub(super) fn was_deleted(mapping: &Mapping, cells: &BTreeMap<SmolStr, Cell>) -> bool {
    mapping.deleted.is_some() && mapping.is_deleted(&row_of(mapping, cells)).unwrap_or(false)
}

/// The column of a field.
pub(super) fn column_of<'a>(mapping: &'a Mapping, field: &str) -> Option<&'a str> {
    let index = mapping.columns.iter().position(|column| column.field.as_deref() == Some(field))?;
    mapping.bound.columns.get(index).map(|column| column.name.as_str())
}

/// Whether the table has a field to which the changes of all offices add up.
pub(super) fn has_counters(mapping: &Mapping) -> bool {
    mapping.columns.iter().any(|column| column.is_counter())
}

/// Of a row's fields those that a record does not show the same, and the counters that it does not have.
pub(super) fn unlike(
    mapping: &Mapping,
    record: &Fields,
    row: &Row,
    fields: RecordFields,
) -> Result<RecordFields, Misfit> {
    let RecordFields { mut fields, mut counters } = fields;
    counters.retain(|name, _| !record.contains_key(name));
    for (column, cell) in mapping.columns.iter().zip(row) {
        let Some(name) = &column.field else { continue };
        let Some(held) = record.get(name) else { continue };
        if fields.contains_key(name) && column.codec.is_same(held, &column.codec.to_value(cell)?) {
            fields.shift_remove(name);
        }
    }
    for (name, text) in &mapping.constants {
        let is_same = record.get(name).is_some_and(|held| held.to_json() == text.as_str());
        if is_same {
            fields.shift_remove(name);
        }
    }
    Ok(RecordFields { fields, counters })
}
