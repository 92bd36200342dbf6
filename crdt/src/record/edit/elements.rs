//! Writing texts and lists: the least edit from what is there to what is wanted.

use serde_json::Value as Json;

use super::diff::{Hunk, hunks};
use super::draft::{EditPlace, EditTarget};
use super::error::EditError;
use super::fields::{EditedField, FieldWriter, MapAt, Mode};
use super::json;
use super::path::Path;
use crate::record::change::operation::{Action, OpId, Shape};
use crate::record::history::live::Live;
use crate::record::limits::DEPTH_MAX;
use crate::record::value::Value;
use crate::record::view::{elements, piece, value};

impl FieldWriter<'_> {
    pub(super) fn write_text(
        &mut self,
        field: &EditedField<'_>,
        text: &str,
    ) -> Result<(), EditError> {
        let target = self.object_in(field, Shape::Text, field.declared.is_some())?;
        let (old, pieces) = self.pieces(target);
        if pieces.concat() == text {
            return Ok(());
        }
        let characters: Vec<&str> =
            text.char_indices().map(|(start, c)| &text[start..start + c.len_utf8()]).collect();
        for hunk in hunks(&pieces, &characters) {
            let mut place = place_before(&old, &hunk);
            for id in &old[hunk.old.clone()] {
                self.remove_element(target, id);
            }
            for character in &characters[hunk.new] {
                let action = Action::Put(Value::Str((*character).to_owned()));
                place = EditPlace::AfterNew(self.draft.add(target, place, action, Vec::new()));
            }
        }
        Ok(())
    }

    fn pieces(&self, target: EditTarget) -> (Vec<EditElement>, Vec<&str>) {
        let history = self.draft.history;
        let EditTarget::Known(object) = target else {
            return (Vec::new(), Vec::new());
        };
        elements(history, object)
            .map(|(id, live)| (EditElement::new(id, live), piece(history, live)))
            .unzip()
    }

    pub(super) fn write_list(
        &mut self,
        field: &EditedField<'_>,
        items: &[Json],
    ) -> Result<(), EditError> {
        let target = self.object_in(field, Shape::List, field.declared.is_some())?;
        let (old, values) = self.items(target);
        let wanted: Vec<Json> = items.iter().map(json::as_kept).collect();
        let mut kept = 0;
        for hunk in hunks(&values, &wanted) {
            self.settle_elements(target, &old[kept..hunk.old.start]);
            kept = hunk.old.end;
            let mut place = place_before(&old, &hunk);
            for element in &old[hunk.old.clone()] {
                self.remove_element(target, element);
            }
            for index in hunk.new {
                let (above, name) = (&field.path.to_vec()[..], &element_name(index)[..]);
                let path = Path { above, name };
                place = EditPlace::AfterNew(self.insert(target, place, &items[index], path)?);
            }
        }
        self.settle_elements(target, &old[kept..]);
        Ok(())
    }

    fn items(&self, target: EditTarget) -> (Vec<EditElement>, Vec<Json>) {
        let history = self.draft.history;
        let EditTarget::Known(object) = target else {
            return (Vec::new(), Vec::new());
        };
        elements(history, object)
            .map(|(id, live)| {
                let shown = live.shown().map(|id| value(history, id).to_json());
                (EditElement::new(id, live), shown.unwrap_or_default())
            })
            .unzip()
    }

    fn remove_element(&mut self, target: EditTarget, element: &EditElement) {
        let place = EditPlace::At(element.id);
        self.draft.add(target, place, Action::Delete, element.live.clone());
    }

    /// Keeps the shown value of elements in conflict alone: they were written with it.
    fn settle_elements(&mut self, target: EditTarget, kept: &[EditElement]) {
        for element in kept {
            if let Some((_, others)) = element.live.split_last()
                && !others.is_empty()
            {
                let place = EditPlace::At(element.id);
                self.draft.add(target, place, Action::Delete, others.to_vec());
            }
        }
    }

    /// Inserts a JSON value with all that is in it as an element, and returns the index of the
    /// operation.
    fn insert(
        &mut self,
        list: EditTarget,
        place: EditPlace,
        json: &Json,
        path: Path<'_>,
    ) -> Result<usize, EditError> {
        // A counter is a field: in a list, where elements come and go, it could not be kept.
        if json::increment(json, path)?.is_some() {
            return Err(EditError::Increment { path: path.dotted() });
        }
        let make = |shape| match path.len() {
            0..=DEPTH_MAX => Ok(Action::Make(shape)),
            _ => Err(EditError::TooDeep { path: path.dotted() }),
        };
        match json {
            Json::Object(fields) => {
                let made = self.draft.add(list, place, make(Shape::Map)?, Vec::new());
                let map = MapAt { target: EditTarget::New(made), path: path.to_vec() };
                self.write_fields(&map, fields, Mode::Put)?;
                Ok(made)
            }
            Json::Array(items) => {
                let made = self.draft.add(list, place, make(Shape::List)?, Vec::new());
                let mut place = EditPlace::First;
                for (index, item) in items.iter().enumerate() {
                    let (above, name) = (&path.to_vec()[..], &element_name(index)[..]);
                    let path = Path { above, name };
                    place = EditPlace::AfterNew(self.insert(
                        EditTarget::New(made),
                        place,
                        item,
                        path,
                    )?);
                }
                Ok(made)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                let value = json::plain(json, path)?.unwrap_or(Value::Null);
                Ok(self.draft.add(list, place, Action::Put(value), Vec::new()))
            }
        }
    }
}

/// An element that is there.
struct EditElement {
    id: OpId,
    live: Vec<OpId>,
}

impl EditElement {
    fn new(id: OpId, live: &Live) -> Self {
        Self { id, live: live.iter().collect() }
    }
}

fn place_before(old: &[EditElement], hunk: &Hunk) -> EditPlace {
    match hunk.old.start.checked_sub(1).and_then(|index| old.get(index)) {
        Some(element) => EditPlace::After(element.id),
        None => EditPlace::First,
    }
}

fn element_name(index: usize) -> String {
    format!("[{index}]")
}
