//! Texts that stand for values, in the translation of a change.

use super::super::change::operation::{Action, Key, ObjectId};
use super::super::schema::kind::Kind;
use super::super::value::Value;
use super::convert;
use super::fault::{DocumentRefused, Misfit, MisfitReason};
use super::known::unsettled_index;
use super::read::{ForeignAction, ForeignId, ForeignKey, ForeignOperation, ForeignValue};
use super::texts::Text;
use super::translation::{Making, Translation, TranslationTarget};

impl Translation<'_, '_> {
    /// A text that stands for a value: what it is at the end of the change is put.
    pub(super) fn make_value_text(
        &mut self,
        target: &TranslationTarget<'_>,
    ) -> Result<(), DocumentRefused> {
        let Key::Field(name) = &target.key else { return Ok(()) };
        let put = self.value(target, Action::Put(Value::Str(String::new())))?;
        let mut text = Text::new(target.object, name.clone());
        text.note_put(self.number, put);
        self.scene.known.texts.insert(target.id, text);
        self.scene.known.note_text(target.id);
        self.texts.insert(target.id, unsettled_index(put));
        Ok(())
    }

    pub(super) fn text_operation(
        &mut self,
        of: ForeignId,
        id: ForeignId,
        operation: &ForeignOperation,
    ) -> Result<(), DocumentRefused> {
        let Some(text) = self.scene.known.texts.get(&of) else { return Ok(()) };
        let (object, name) = (text.object, text.name.clone());
        if !self.texts.contains_key(&of) {
            let seen = self.seen();
            let Some(text) = self.scene.known.texts.get(&of) else { return Ok(()) };
            let put = if text.is_live(&seen) {
                let preds = text.puts(&seen).collect();
                let key = Key::Field(name.clone());
                let put = self.push_value(object, key, false, Action::Put(Value::Null), preds)?;
                if let Some(text) = self.scene.known.texts.get_mut(&of) {
                    text.note_put(self.number, put);
                }
                self.scene.known.note_text(of);
                unsettled_index(put)
            } else {
                None
            };
            self.texts.insert(of, put);
        }
        let after = match operation.key {
            ForeignKey::Head => None,
            ForeignKey::Element(id) => Some(id),
            ForeignKey::Field(_) => return Err(self.broken("it writes a field of a text")),
        };
        let number = self.number;
        let text = self.scene.known.texts.get_mut(&of);
        match (&operation.action, text) {
            (ForeignAction::Put(ForeignValue::Known(Value::Str(piece))), Some(text))
                if operation.insert =>
            {
                text.insert(number, id, after, piece.into());
            }
            (ForeignAction::Delete, Some(text)) => text.remove(number, operation.preds.clone()),
            (ForeignAction::Mark, _) => self.misfit_at(object, &name, MisfitReason::Mark),
            (
                ForeignAction::Put(_)
                | ForeignAction::Make(_)
                | ForeignAction::Increment(_)
                | ForeignAction::Delete
                | ForeignAction::Table,
                _,
            ) => self.misfit_at(object, &name, MisfitReason::NotText),
        }
        Ok(())
    }

    pub(super) fn misfit_at(&mut self, object: ObjectId, name: &str, reason: MisfitReason) {
        if let Some(place) = self.scene.known.place(self.history, object) {
            self.misfit(&place.path_of(name), reason);
        }
    }

    /// Puts what the texts that stand for values have become.
    pub(super) fn write_texts(&mut self) -> Result<(), DocumentRefused> {
        for (of, put) in std::mem::take(&mut self.texts) {
            let (Making::New(_), Some(put)) = (&self.making, put) else { continue };
            let seen = self.seen();
            let Some(text) = self.scene.known.texts.get(&of) else { continue };
            let read = text.read(&seen);
            let read =
                read.ok_or_else(|| self.broken("a piece of a text has nothing before it"))?;
            let (object, name) = (text.object, text.name.clone());
            let place = self.scene.known.place(self.history, object);
            let path = place.map_or_else(|| vec![name.to_string()], |place| place.path_of(&name));
            let kind = self.scene.kind(&path);
            let (value, misfit) = match kind
                .map_or(Ok(Value::Str(read.clone())), |kind| convert::of_text(kind, &read))
            {
                Ok(value) => (value, None),
                Err(reason) => (Value::Str(read), Some(Misfit { path: path.join("."), reason })),
            };
            if let Some(text) = self.scene.known.texts.get_mut(&of) {
                text.misfit = misfit;
            }
            if let Making::New(new) = &mut self.making
                && let Some(operation) = new.operations.get_mut(put)
            {
                operation.action = Action::Put(value);
            }
        }
        Ok(())
    }

    /// Whether a text is to stand for a value: in a field that the schema declares so, or as it was before.
    pub(super) fn stands_for_value(&self, target: &TranslationTarget<'_>) -> bool {
        match &self.making {
            Making::New(_) => self.declared(target).is_some_and(Kind::is_register),
            Making::Again(left) => left.last().is_some_and(|next| {
                let is_there = next.object == target.object && next.key == target.key;
                is_there && matches!(next.action, Action::Put(_))
            }),
        }
    }
}
