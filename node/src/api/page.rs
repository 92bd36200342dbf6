//! Pages of records, bounded by number and by bytes.

use branchline_crdt::ids::SpaceId;
use branchline_crdt::read;
use branchline_crdt::record::View;
use branchline_crdt::store::StoreError;
use branchline_crdt::tables::ReadTables;
use serde_json::Map;

/// A page ends after the record with which its fields pass this many bytes, however few records it has.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Records read at a time: some MB where each is as large as it may be.
const STEP_RECORDS: usize = 32;

/// A page: records by id with their fields as JSON, and the last id where there may be more.
pub(crate) struct Page {
    pub(crate) records: Vec<(String, Map<String, serde_json::Value>)>,
    pub(crate) next: Option<String>,
}

/// Reads the records of a collection behind id `after`.
pub(crate) fn page(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    after: Option<String>,
    limit: usize,
) -> Result<Page, StoreError> {
    let mut page = Page { records: Vec::new(), next: None };
    let mut bytes = 0;
    let mut after = after;
    loop {
        // One more than asked for tells whether there is a next page.
        let wanted = (limit + 1 - page.records.len()).min(STEP_RECORDS);
        let step = read::list(tables, space, collection, after.as_deref(), wanted)?;
        let is_last = step.len() < wanted;
        for (id, view) in step {
            if page.records.len() == limit || bytes > PAGE_BYTES {
                page.next = page.records.last().map(|(id, _)| id.clone());
                return Ok(page);
            }
            bytes += view.json_bytes();
            after = Some(id.clone());
            page.records.push((id, fields(&view)));
        }
        if is_last {
            return Ok(page);
        }
    }
}

/// The fields of a record as JSON.
pub(crate) fn fields(view: &View) -> Map<String, serde_json::Value> {
    view.fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect()
}
