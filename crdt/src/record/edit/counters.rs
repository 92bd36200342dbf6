//! Counters of a record that comes back without them.

use serde_json::{Map, Value as Json};

use super::draft::EditTarget;
use super::error::EditError;
use super::fields::{EditedField, FieldWriter, MapAt};
use crate::record::change::operation::{Action, ObjectId, Shape};
use crate::record::history::HistoryContent;
use crate::record::limits::INCREMENT_MAX;
use crate::record::view::clamp;

/// Returns the amount of an increment, if it may be so large.
pub(super) fn within_bounds(field: &EditedField<'_>, by: i128) -> Result<i64, EditError> {
    i64::try_from(by)
        .ok()
        .filter(|by| by.unsigned_abs() <= INCREMENT_MAX.unsigned_abs())
        .ok_or_else(|| EditError::IncrementRange { path: field.dotted(), found: by })
}

impl FieldWriter<'_> {
    /// Sets counters to 0 that `fields` does not name, for they cannot be removed.
    pub(super) fn clear_counters(&mut self, fields: &Map<String, Json>) -> Result<(), EditError> {
        let record = MapAt { target: EditTarget::Known(ObjectId::Root), path: Vec::new() };
        self.clear_counters_in(&record, fields)
    }

    fn clear_counters_in(
        &mut self,
        map: &MapAt,
        fields: &Map<String, Json>,
    ) -> Result<(), EditError> {
        for name in self.names_in(map.target) {
            let field = self.field(map, &name);
            for id in field.live.clone() {
                match (self.content(id), fields.get(name.as_str())) {
                    (Some(HistoryContent::Counter(sum)), None) => {
                        let by = -i128::from(clamp(*sum));
                        let amount = within_bounds(&field, by)?;
                        if amount != 0 {
                            let action = Action::Increment(amount);
                            self.draft.add(field.target, field.place(), action, vec![id]);
                        }
                    }
                    (Some(HistoryContent::Object(Shape::Map)), inner) => {
                        let target = EditTarget::Known(ObjectId::Made(id));
                        let map = MapAt { target, path: field.path.to_vec() };
                        let none = Map::new();
                        let inner = inner.and_then(Json::as_object).unwrap_or(&none);
                        self.clear_counters_in(&map, inner)?;
                    }
                    (
                        Some(
                            HistoryContent::Counter(_)
                            | HistoryContent::Register(_)
                            | HistoryContent::Object(_),
                        )
                        | None,
                        _,
                    ) => {}
                }
            }
        }
        Ok(())
    }
}
