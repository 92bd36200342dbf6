//! Pieces that many answers have: names, moments, the fields of a record.

use std::collections::BTreeMap;

use branchline_crdt::ids::SiteId;
use branchline_crdt::record::{View, fields_into_json};
use serde_json::Map;

/// A site's name for people; its id where none is known.
pub(crate) fn name_of(site: SiteId, names: &BTreeMap<SiteId, String>) -> String {
    names.get(&site).cloned().unwrap_or_else(|| site.to_string())
}

/// A moment in ms since 1970 as text; `None` where the year has more than four digits.
pub(crate) fn rfc3339(ms: i64) -> Option<String> {
    let moment = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(format!("{moment:.3}"))
}

/// The fields of a record as JSON.
pub(crate) fn fields(view: View) -> Map<String, serde_json::Value> {
    fields_into_json(view.fields)
}
