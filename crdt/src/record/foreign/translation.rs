//! The translation of one change.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use smol_str::SmolStr;

use super::super::change::genesis::{GenesisKind, InitialChange};
use super::super::change::operation::{Action, Key, ObjectId, OpId, RecordOperation, Shape};
use super::super::history::{Clock, History};
use super::super::limits::{DELETED_FIELD, DEPTH_MAX, INCREMENT_MAX, check_user_field};
use super::super::schema::kind::Kind;
use super::super::value::Value;
use super::convert;
use super::fault::{DocumentRefused, Misfit, MisfitReason};
use super::known::{DocumentPlace, unsettled_index};
use super::merge::Scene;
use super::read::{
    ForeignAction, ForeignChange, ForeignId, ForeignKey, ForeignObject, ForeignOperation,
    ForeignValue,
};

/// What is made of a foreign change: a new one, or it is found again what was made of it.
pub(super) enum Making {
    New(New),
    /// The operations of what was made of it that write a value, the next one last.
    Again(Vec<RecordOperation>),
}

/// A change in the making.
pub(super) struct New {
    /// What it builds on.
    pub(super) clock: Clock,
    pub(super) operations: Vec<RecordOperation>,
    /// The values that its operations replaced.
    pub(super) removed: BTreeSet<OpId>,
    /// The genesis that it brings.
    pub(super) genesis: BTreeSet<InitialChange>,
    /// Foreign objects that became what all sites share.
    pub(super) shared: Vec<Shared>,
}

/// A foreign object that became what all sites share.
pub(super) struct Shared {
    pub(super) foreign: ForeignId,
    pub(super) id: OpId,
    pub(super) object: ObjectId,
    pub(super) name: SmolStr,
    pub(super) shape: Shape,
}

impl New {
    pub(super) fn on(clock: Clock) -> Self {
        let (operations, shared) = (Vec::new(), Vec::new());
        Self { clock, operations, removed: BTreeSet::new(), genesis: BTreeSet::new(), shared }
    }

    pub(super) fn contains(&self, id: OpId) -> bool {
        self.clock.get(&id.actor).is_some_and(|max| id.counter <= *max)
    }
}

/// Where an operation acts.
pub(super) struct TranslationTarget<'a> {
    pub(super) id: ForeignId,
    pub(super) object: ObjectId,
    pub(super) place: Rc<DocumentPlace>,
    pub(super) key: Key,
    pub(super) operation: &'a ForeignOperation,
}

impl TranslationTarget<'_> {
    pub(super) fn path(&self) -> Vec<String> {
        match &self.key {
            Key::Field(name) => self.place.path_of(name),
            Key::Head | Key::Element(_) => self.place.path_of("[]"),
        }
    }

    pub(super) fn is_field(&self) -> bool {
        self.place.is_field && matches!(self.key, Key::Field(_))
    }
}

pub(super) struct Translation<'a, 'm> {
    pub(super) scene: &'a mut Scene<'m>,
    pub(super) history: &'a History,
    pub(super) number: usize,
    pub(super) change: &'a ForeignChange,
    pub(super) making: Making,
    /// Texts that stand for values and that the change writes to, with the operation that puts what they become.
    pub(super) texts: BTreeMap<ForeignId, Option<usize>>,
    /// The changes of the document that this one has seen, and itself.
    seen: Option<Rc<BTreeSet<usize>>>,
}

impl<'a, 'm> Translation<'a, 'm> {
    pub(super) fn new(
        scene: &'a mut Scene<'m>,
        history: &'a History,
        number: usize,
        change: &'a ForeignChange,
        making: Making,
    ) -> Self {
        Translation { scene, history, number, change, making, texts: BTreeMap::new(), seen: None }
    }

    /// Translates all operations.
    pub(super) fn run(mut self) -> Result<Making, DocumentRefused> {
        for (index, operation) in self.change.operations.iter().enumerate() {
            self.operation(self.change.id(index), operation)?;
        }
        self.write_texts()?;
        self.fill();
        match &self.making {
            Making::Again(left) if !left.is_empty() => Err(self.forgotten()),
            Making::New(_) | Making::Again(_) => Ok(self.making),
        }
    }

    pub(super) fn broken(&self, reason: &'static str) -> DocumentRefused {
        DocumentRefused::Broken { hash: self.change.hash, reason }
    }

    pub(super) fn forgotten(&self) -> DocumentRefused {
        DocumentRefused::Forgotten { hash: self.change.hash }
    }

    pub(super) fn misfit(&mut self, path: &[String], reason: impl Into<MisfitReason>) {
        if let Making::New(_) = self.making {
            self.scene.misfits.add(Misfit { path: path.join("."), reason: reason.into() });
        }
    }

    /// As [`Translation::misfit`], unless the document has replaced the value later.
    pub(super) fn misfit_unless_gone(
        &mut self,
        target: &TranslationTarget<'_>,
        reason: MisfitReason,
    ) {
        if !self.scene.is_gone(target.id, target.operation.object) {
            self.misfit(&target.path(), reason);
        }
    }

    fn operation(
        &mut self,
        id: ForeignId,
        operation: &ForeignOperation,
    ) -> Result<(), DocumentRefused> {
        if let ForeignObject::Made(text) = operation.object
            && self.scene.known.texts.contains_key(&text)
        {
            return self.text_operation(text, id, operation);
        }
        let object = match operation.object {
            ForeignObject::Root => ObjectId::Root,
            ForeignObject::Made(id) => ObjectId::Made(self.own(id)?),
        };
        let place = self.scene.known.place(self.history, object);
        let place = place.ok_or_else(|| {
            self.broken("it writes into something that is not a map, list or text")
        })?;
        let is_sequence = place.shape != Shape::Map;
        let key = match &operation.key {
            ForeignKey::Field(name) if !is_sequence && !operation.insert => {
                Key::Field(name.clone())
            }
            ForeignKey::Head if is_sequence && operation.insert => Key::Head,
            ForeignKey::Element(id) if is_sequence => {
                let is_seen = |own| self.is_seen(own);
                let element = self.scene.known.element(self.scene.foreign, *id, is_seen);
                Key::Element(element.ok_or_else(|| self.broken("it acts on no element"))?)
            }
            ForeignKey::Field(_) | ForeignKey::Head | ForeignKey::Element(_) => {
                return Err(self.broken("its key is not one of such an object"));
            }
        };
        if let ObjectId::Made(id) = object {
            self.bring_genesis(id);
        }
        let target = TranslationTarget { id, object, place, key, operation };
        match &operation.action {
            ForeignAction::Put(value) => self.put(&target, value)?,
            ForeignAction::Make(shape) => self.make(&target, *shape)?,
            ForeignAction::Increment(by) => self.increment(&target, *by)?,
            ForeignAction::Delete => self.remove(&target)?,
            ForeignAction::Table => {
                self.misfit_unless_gone(&target, MisfitReason::Table);
                self.make_plain(&target, Shape::Map)?;
            }
            ForeignAction::Mark => {
                self.misfit(&target.place.path.clone(), MisfitReason::Mark);
                self.value(&target, Action::Put(Value::Null))?;
            }
        }
        if !operation.action.is_increment() {
            for pred in &operation.preds {
                if let Some(text) = self.scene.known.texts.get_mut(pred) {
                    text.note_replaced(self.number);
                }
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        target: &TranslationTarget<'_>,
        value: &ForeignValue,
    ) -> Result<(), DocumentRefused> {
        self.check_name(target);
        let value = match value {
            ForeignValue::Known(value) => value.clone(),
            ForeignValue::Unsigned(found) => {
                self.misfit_unless_gone(target, MisfitReason::Unsigned { found: *found });
                Value::Null
            }
            ForeignValue::Unknown(code) => {
                self.misfit_unless_gone(target, MisfitReason::UnknownType { code: *code });
                Value::Null
            }
        };
        if let Value::Counter(start) = value {
            self.check_amount(target, start);
            if let Some(genesis) = self.shared(target, GenesisKind::Counter) {
                let counter = self.note_shared(target, genesis)?;
                self.push(
                    target.object,
                    target.key.clone(),
                    Action::Increment(start),
                    vec![counter],
                );
                return Ok(());
            }
        }
        let value = self.fitting(target, value);
        self.value(target, Action::Put(value)).map(drop)
    }

    /// The value as the schema and the format want it.
    fn fitting(&mut self, target: &TranslationTarget<'_>, value: Value) -> Value {
        if self.is_deletion(target) {
            if !matches!(value, Value::Bool(_)) {
                self.misfit_unless_gone(target, MisfitReason::Deleted);
                return Value::Bool(false);
            }
            return value;
        }
        if target.place.shape == Shape::Text {
            let is_piece = matches!(&value, Value::Str(piece) if !piece.is_empty());
            if !is_piece || !target.operation.insert {
                self.misfit(&target.place.path.clone(), MisfitReason::NotText);
            }
            return value;
        }
        let fitted = match self.declared(target) {
            None => return value,
            Some(kind) if kind.is_register() => convert::register(kind, value.clone()),
            Some(kind) if kind.accepts(&value) => return value,
            Some(expected) => Err(MisfitReason::Kind { expected, found: value.kind_name() }),
        };
        fitted.unwrap_or_else(|reason| {
            self.misfit_unless_gone(target, reason);
            value
        })
    }

    fn make(
        &mut self,
        target: &TranslationTarget<'_>,
        shape: Shape,
    ) -> Result<(), DocumentRefused> {
        self.check_name(target);
        if target.place.path.len() >= DEPTH_MAX {
            self.misfit_unless_gone(target, MisfitReason::TooDeep);
        }
        if target.place.shape == Shape::Text {
            self.misfit(&target.place.path.clone(), MisfitReason::NotText);
        }
        if self.is_deletion(target) {
            self.misfit_unless_gone(target, MisfitReason::Deleted);
        }
        self.scene.known.parents.insert(target.id, target.operation.object);
        if shape == Shape::Text && self.stands_for_value(target) {
            return self.make_value_text(target);
        }
        let (kind, genesis, found) = match shape {
            Shape::Map => (Kind::Map, GenesisKind::Map, "map"),
            Shape::List => (Kind::List, GenesisKind::List, "list"),
            Shape::Text => (Kind::Text, GenesisKind::Text, "text"),
        };
        if let Some(genesis) = self.shared(target, genesis) {
            let path = genesis.path.clone();
            let made = self.note_shared(target, genesis)?;
            let place = DocumentPlace { shape, path, is_field: true, is_shared: true };
            self.scene.known.note_place(made, place);
            if let (Making::New(new), Key::Field(name)) = (&mut self.making, &target.key) {
                let (foreign, name) = (target.id, name.clone());
                new.shared.push(Shared { foreign, id: made, object: target.object, name, shape });
            }
            return Ok(());
        }
        if let Some(expected) = self.declared(target).filter(|declared| *declared != kind) {
            self.misfit_unless_gone(target, MisfitReason::Kind { expected, found });
        }
        self.make_plain(target, shape)
    }

    fn make_plain(
        &mut self,
        target: &TranslationTarget<'_>,
        shape: Shape,
    ) -> Result<(), DocumentRefused> {
        let made = self.value(target, Action::Make(shape))?;
        let (path, is_field) = (target.path(), target.is_field());
        self.scene
            .known
            .note_place(made, DocumentPlace { shape, path, is_field, is_shared: false });
        Ok(())
    }

    fn increment(
        &mut self,
        target: &TranslationTarget<'_>,
        by: i64,
    ) -> Result<(), DocumentRefused> {
        self.check_amount(target, by);
        if let Making::Again(_) = self.making {
            return Ok(());
        }
        for (key, preds) in self.groups(target)? {
            // It adds to counters, and replaces whatever else it names.
            let has_counter = preds.iter().any(|id| self.is_counter(*id));
            let action = if has_counter { Action::Increment(by) } else { Action::Delete };
            self.push(target.object, key, action, preds);
        }
        Ok(())
    }

    fn remove(&mut self, target: &TranslationTarget<'_>) -> Result<(), DocumentRefused> {
        if let Making::Again(_) = self.making {
            return Ok(());
        }
        for (key, preds) in self.groups(target)? {
            self.guard(target, &preds, MisfitReason::CounterRemoved);
            self.push(target.object, key, Action::Delete, preds);
        }
        Ok(())
    }

    pub(super) fn declared(&self, target: &TranslationTarget<'_>) -> Option<Kind> {
        match &target.key {
            Key::Field(name) if target.place.is_field => {
                self.scene.kind(&target.place.path_of(name))
            }
            Key::Field(_) | Key::Head | Key::Element(_) => None,
        }
    }

    fn is_deletion(&self, target: &TranslationTarget<'_>) -> bool {
        let is_field = matches!(&target.key, Key::Field(name) if name == DELETED_FIELD);
        target.object == ObjectId::Root && is_field
    }

    fn check_name(&mut self, target: &TranslationTarget<'_>) {
        if let Key::Field(name) = &target.key
            && !self.is_deletion(target)
            && let Err(error) = check_user_field(name)
        {
            self.misfit_unless_gone(target, error.into());
        }
    }

    fn check_amount(&mut self, target: &TranslationTarget<'_>, found: i64) {
        if found.unsigned_abs() > INCREMENT_MAX.unsigned_abs() {
            self.misfit(&target.path(), MisfitReason::Amount { found });
        }
    }

    /// Whether an operation of the record is one that the change may name: its own, or one of its ancestors'.
    fn is_seen(&self, id: OpId) -> bool {
        match &self.making {
            Making::New(new) => new.contains(id) || unsettled_index(id).is_some(),
            // What it names was found when it was made.
            Making::Again(_) => true,
        }
    }

    /// The changes of the document that this one has seen, and itself.
    pub(super) fn seen(&mut self) -> Rc<BTreeSet<usize>> {
        let (scene, number) = (&self.scene, self.number);
        Rc::clone(self.seen.get_or_insert_with(|| Rc::new(scene.seen_by(number))))
    }
}
