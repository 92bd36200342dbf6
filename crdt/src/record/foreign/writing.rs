//! The operations of a change that is translated: what values they name, and where they stand.

use std::collections::BTreeMap;

use super::super::change::genesis::GenesisKind;
use super::super::change::operation::{Action, Key, ObjectId, OpId, RecordOperation};
use super::super::history::{History, HistoryContent, Object, Slot};
use super::super::value::Value;
use super::fault::{DocumentRefused, MisfitReason};
use super::known::{unsettled, unsettled_index};
use super::read::{ForeignId, ForeignKey};
use super::translation::{Making, New, Translation, TranslationTarget};

impl Translation<'_, '_> {
    /// The values that an operation names and that are there, by where they lie: elements that were removed here and
    /// written there have become several.
    pub(super) fn groups(
        &mut self,
        target: &TranslationTarget<'_>,
    ) -> Result<Vec<(Key, Vec<OpId>)>, DocumentRefused> {
        let preds = self.preds(&target.operation.preds)?;
        if let Key::Field(_) = target.key {
            let some = Some(preds).filter(|preds| !preds.is_empty());
            return Ok(some.map(|preds| (target.key.clone(), preds)).into_iter().collect());
        }
        let mut groups: BTreeMap<OpId, Vec<OpId>> = BTreeMap::new();
        for id in preds {
            let element = self.element_of(id);
            let element = element
                .ok_or_else(|| self.broken("it replaces something that is not an element"))?;
            groups.entry(element).or_default().push(id);
        }
        Ok(groups.into_iter().map(|(element, ids)| (Key::Element(element), ids)).collect())
    }

    pub(super) fn element_of(&self, id: OpId) -> Option<OpId> {
        match (&self.making, unsettled_index(id)) {
            (Making::New(new), Some(index)) => {
                let operation = new.operations.get(index)?;
                match operation.key {
                    Key::Element(element) if !operation.insert => Some(element),
                    Key::Element(_) | Key::Head => Some(id),
                    Key::Field(_) => None,
                }
            }
            (Making::New(_), None) => match self.history.value(id)?.slot {
                Slot::Element(element) => Some(element),
                Slot::Field(_) => None,
            },
            (Making::Again(_), _) => None,
        }
    }

    /// The operation of `target` as one that writes a value, and what it became.
    pub(super) fn value(
        &mut self,
        target: &TranslationTarget<'_>,
        action: Action,
    ) -> Result<OpId, DocumentRefused> {
        let operation = target.operation;
        let is_element = matches!(target.key, Key::Element(_)) && !operation.insert;
        let made = match (&self.making, is_element) {
            (Making::New(_), true) => self.write_element(target, action)?,
            (Making::New(_), false) => {
                let preds = self.preds(&operation.preds)?;
                self.guard(target, &preds, MisfitReason::CounterReplaced);
                let key = target.key.clone();
                self.push_value(target.object, key, operation.insert, action, preds)?
            }
            (Making::Again(_), _) => {
                let (key, preds) = (target.key.clone(), Vec::new());
                let brought_back = self.next_again().is_some_and(|next| next.insert && is_element);
                let made = self.push_value(target.object, key, operation.insert, action, preds)?;
                if let (true, ForeignKey::Element(element)) = (brought_back, &operation.key) {
                    self.scene.known.note_element(*element, made);
                }
                made
            }
        };
        if self.scene.known.note(target.id, made) {
            Ok(made)
        } else {
            Err(self.broken("one of its operations has the id of another"))
        }
    }

    /// Writes a value over an element's. One that was removed here meanwhile comes back behind where it was.
    pub(super) fn write_element(
        &mut self,
        target: &TranslationTarget<'_>,
        action: Action,
    ) -> Result<OpId, DocumentRefused> {
        let mut groups = self.groups(target)?.into_iter();
        let Some((key, preds)) = groups.next() else {
            let (key, preds) = (target.key.clone(), Vec::new());
            let made = self.push_value(target.object, key, true, action, preds)?;
            if let ForeignKey::Element(element) = &target.operation.key {
                self.scene.known.note_element(*element, made);
            }
            return Ok(made);
        };
        let made = self.push_value(target.object, key, false, action, preds)?;
        for (key, preds) in groups {
            self.push(target.object, key, Action::Delete, preds);
        }
        Ok(made)
    }

    pub(super) fn push_value(
        &mut self,
        object: ObjectId,
        key: Key,
        insert: bool,
        action: Action,
        preds: Vec<OpId>,
    ) -> Result<OpId, DocumentRefused> {
        match &mut self.making {
            Making::New(new) => {
                let preds = present(self.history, new, preds);
                let id = unsettled(new.operations.len(), self.scene.actor);
                new.removed.extend(&preds);
                new.operations.push(RecordOperation { id, object, key, insert, action, preds });
                Ok(id)
            }
            Making::Again(left) => {
                let next = left.pop().filter(|next| next.object == object);
                next.map(|next| next.id).ok_or_else(|| self.forgotten())
            }
        }
    }

    /// Adds an operation that writes no value.
    pub(super) fn push(&mut self, object: ObjectId, key: Key, action: Action, preds: Vec<OpId>) {
        let counters: Vec<bool> = preds.iter().map(|id| self.is_counter(*id)).collect();
        let Making::New(new) = &mut self.making else { return };
        let is_increment = matches!(action, Action::Increment(_));
        let removed = preds.iter().zip(counters).filter(|(_, counts)| !(is_increment && *counts));
        new.removed.extend(removed.map(|(id, _)| id));
        let id = unsettled(new.operations.len(), self.scene.actor);
        new.operations.push(RecordOperation { id, object, key, insert: false, action, preds });
    }

    pub(super) fn next_again(&self) -> Option<&RecordOperation> {
        match &self.making {
            Making::Again(left) => left.last(),
            Making::New(_) => None,
        }
    }

    /// What the values that an operation names are here, as far as they are still there.
    pub(super) fn preds(&mut self, preds: &[ForeignId]) -> Result<Vec<OpId>, DocumentRefused> {
        let mut own = Vec::with_capacity(preds.len());
        for pred in preds {
            if self.scene.known.texts.contains_key(pred) {
                let seen = self.seen();
                own.extend(
                    self.scene.known.texts.get(pred).into_iter().flat_map(|it| it.puts(&seen)),
                );
            } else {
                own.push(self.own(*pred)?);
            }
        }
        own.iter().for_each(|id| self.bring_genesis(*id));
        let Making::New(new) = &self.making else { return Ok(Vec::new()) };
        Ok(present(self.history, new, own))
    }

    pub(super) fn own(&self, id: ForeignId) -> Result<OpId, DocumentRefused> {
        let own = self.scene.known.own(self.scene.foreign, id);
        own.ok_or_else(|| self.broken("it names an operation that is nowhere"))
    }

    /// Refuses what loses increments that others make: to put something over a counter of the record, or to remove one.
    pub(super) fn guard(
        &mut self,
        target: &TranslationTarget<'_>,
        preds: &[OpId],
        reason: MisfitReason,
    ) {
        if !target.is_field() {
            return;
        }
        if preds.iter().any(|id| self.is_counter(*id) && self.is_of_record(*id)) {
            self.misfit(&target.path(), reason);
        } else if preds.iter().any(|id| self.is_of_record(*id) && holds_counter(self.history, *id))
        {
            self.misfit(&target.path(), MisfitReason::CounterRemoved);
        }
    }

    /// Whether a value was there before the document was taken in, or is one that all sites share.
    pub(super) fn is_of_record(&self, id: OpId) -> bool {
        let is_own = id.actor == self.scene.actor && id.counter > self.scene.end_op_before;
        unsettled_index(id).is_none() && !is_own
    }

    pub(super) fn is_counter(&self, id: OpId) -> bool {
        match (&self.making, unsettled_index(id)) {
            (Making::New(new), Some(index)) => {
                let action = new.operations.get(index).map(|operation| &operation.action);
                matches!(action, Some(Action::Put(Value::Counter(_))))
            }
            (Making::New(_) | Making::Again(_), _) => match self.history.value(id) {
                Some(stored) => matches!(stored.content, HistoryContent::Counter(_)),
                None => {
                    let genesis = self.scene.known.genesis.get(&id);
                    genesis.is_some_and(|genesis| genesis.kind == GenesisKind::Counter)
                }
            },
        }
    }
}

/// The values that are still there, ascending.
fn present(history: &History, new: &New, mut preds: Vec<OpId>) -> Vec<OpId> {
    preds.sort_unstable();
    preds.dedup();
    preds.retain(|id| !new.removed.contains(id) && !history.is_removed(*id, &new.clock));
    preds
}

fn holds_counter(history: &History, map: OpId) -> bool {
    let Some(Object::Map(fields)) = history.object(ObjectId::Made(map)) else { return false };
    fields.values().flat_map(|live| live.iter()).any(|id| {
        let content = history.value(id).map(|stored| &stored.content);
        matches!(content, Some(HistoryContent::Counter(_))) || holds_counter(history, id)
    })
}
