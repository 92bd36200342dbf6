//! What a person should know of events: which somebody changed.

use std::collections::BTreeMap;

use branchline_crdt::events;

use crate::extension::{Finding, Severity};
use crate::handle::{Handle, ReadError};

/// Events of a space that are counted, and looked at, no further than this: the list has all.
const COUNTED_MAX: usize = 1000;
/// Events that are named one by one.
const NAMED_MAX: usize = 10;

impl Handle {
    /// The events of all spaces that were changed after they were stored, by collection.
    pub(crate) async fn altered_events(&self) -> Result<Vec<Finding>, ReadError> {
        let mut found = Vec::new();
        if self.realm().is_err() {
            return Ok(found);
        }
        found.extend(self.altered_in("").await?);
        for space in self.space_names() {
            // One of several with one name is looked at by none.
            if let Ok(handle) = self.in_space(&space) {
                found.extend(handle.altered_in(&format!(" --space {space}")).await?);
            }
        }
        Ok(found)
    }

    /// Those of the space that this addresses; `said`: how a command names it.
    async fn altered_in(&self, said: &str) -> Result<Vec<Finding>, ReadError> {
        let read = self.read(|reader, space| events::altered_keys(reader, space, COUNTED_MAX));
        let mut by_collection: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in read.await? {
            by_collection.entry(key.collection).or_default().push(key.id);
        }
        let finding = |(collection, ids): (String, Vec<String>)| {
            let count = ids.len();
            let mut named = ids.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
            if count > NAMED_MAX {
                let at_least = if count == COUNTED_MAX { "at least " } else { "" };
                named = format!("{named} and {at_least}{} more", count - NAMED_MAX);
            }
            let what = format!(
                "changed after they were stored, by a site that does not keep to that; they are shown as they were: {named}"
            );
            let about = format!("events {collection}");
            let hint =
                format!("`branchline{said} events altered {collection}` lists them and who did it");
            Finding { hint: Some(hint), ..Finding::new(Severity::Warning, about, what) }
        };
        Ok(by_collection.into_iter().map(finding).collect())
    }
}
