//! Counters: incrementing them, and setting those to 0 that a record comes back without.

use serde_json::{Map, Value as Json};

use super::draft::EditTarget;
use super::error::EditError;
use super::fields::{EditedField, FieldWriter, MapAt};
use crate::record::change::genesis::GenesisKind;
use crate::record::change::operation::{Action, ObjectId, OpId, Shape};
use crate::record::history::HistoryContent;
use crate::record::limits::INCREMENT_MAX;
use crate::record::schema::kind::Kind;
use crate::record::value::Value;
use crate::record::view::clamp;

/// Returns the amount of an increment, if it may be so large.
fn within_bounds(field: &EditedField<'_>, by: i128) -> Result<i64, EditError> {
    i64::try_from(by)
        .ok()
        .filter(|by| by.unsigned_abs() <= INCREMENT_MAX.unsigned_abs())
        .ok_or_else(|| EditError::IncrementRange { path: field.dotted(), found: by })
}

impl FieldWriter<'_> {
    pub(super) fn increment(&mut self, field: &EditedField<'_>, by: i64) -> Result<(), EditError> {
        let found = match (field.declared, self.shown(field)) {
            (Some(Kind::Counter), _) | (None, None | Some(HistoryContent::Counter(_))) => {
                return self.add_to_counter(field, i128::from(by));
            }
            (Some(kind), _) => kind.as_str(),
            (None, Some(shown)) => shown.kind_name(),
        };
        Err(EditError::NotCounter { path: field.dotted(), found })
    }

    pub(super) fn add_to_counter(
        &mut self,
        field: &EditedField<'_>,
        by: i128,
    ) -> Result<(), EditError> {
        let amount = within_bounds(field, by)?;
        let is_counter = |id: &OpId| matches!(self.content(*id), Some(HistoryContent::Counter(_)));
        let counters: Vec<OpId> = field.live.iter().copied().filter(is_counter).collect();
        if let Some(shown) = counters.last().copied() {
            if amount != 0 {
                self.draft.add(field.target, field.place(), Action::Increment(amount), counters);
            }
            self.settle(field, shown);
            return Ok(());
        }
        match self.shared_object(field, GenesisKind::Counter) {
            Some(id) => {
                // An increment by 0 too: the counter shall be there.
                self.draft.add(field.target, field.place(), Action::Increment(amount), vec![id]);
                self.settle(field, id);
            }
            None => {
                let preds = self.removable(field, None);
                let action = Action::Put(Value::Counter(amount));
                self.draft.add(field.target, field.place(), action, preds);
            }
        }
        Ok(())
    }

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
