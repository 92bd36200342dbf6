//! Fields that a foreign change creates and that all sites would create alike: there they merge, where two objects would be in
//! conflict.

use super::super::change::genesis::{GenesisKind, InitialChange};
use super::super::change::operation::{Action, Key, ObjectId, OpId, RecordOperation, Shape};
use super::super::schema::kind::Kind;
use super::super::value::Value;
use super::fault::DocumentRefused;
use super::known::{DocumentPlace, unsettled};
use super::translation::{Making, Shared, Translation, TranslationTarget};

impl Translation<'_, '_> {
    /// What a new field becomes that all sites share: one of the declared kind, where there was none.
    pub(super) fn shared(
        &self,
        target: &TranslationTarget<'_>,
        kind: GenesisKind,
    ) -> Option<InitialChange> {
        let Key::Field(name) = &target.key else { return None };
        if !target.operation.preds.is_empty() || !target.place.is_shared {
            return None;
        }
        let genesis = InitialChange::new(&target.place.path_of(name), kind);
        genesis.check().ok()?;
        let is_shared = match &self.making {
            Making::New(_) => {
                let stored = self.history.value(genesis.op_id());
                let declared = match kind {
                    GenesisKind::Counter => Kind::Counter,
                    GenesisKind::Text => Kind::Text,
                    GenesisKind::List => Kind::List,
                    GenesisKind::Map => Kind::Map,
                };
                self.declared(target) == Some(declared)
                    && stored.is_none_or(|stored| stored.removed_by.is_empty())
            }
            Making::Again(_) => !self.next_again().is_some_and(|next| {
                let is_plain = match (&next.action, kind) {
                    (Action::Put(Value::Counter(_)), GenesisKind::Counter)
                    | (Action::Make(Shape::Text), GenesisKind::Text)
                    | (Action::Make(Shape::List), GenesisKind::List)
                    | (Action::Make(Shape::Map), GenesisKind::Map) => true,
                    (
                        Action::Put(_) | Action::Make(_) | Action::Increment(_) | Action::Delete,
                        _,
                    ) => false,
                };
                let is_there = next.object == target.object && next.key == target.key;
                is_plain && is_there && next.preds.is_empty()
            }),
        };
        is_shared.then_some(genesis)
    }

    pub(super) fn note_shared(
        &mut self,
        target: &TranslationTarget<'_>,
        genesis: InitialChange,
    ) -> Result<OpId, DocumentRefused> {
        let id = genesis.op_id();
        self.scene.known.genesis.insert(id, genesis);
        self.bring_genesis(id);
        if self.scene.known.note(target.id, id) {
            Ok(id)
        } else {
            Err(self.broken("one of its operations has the id of another"))
        }
    }

    /// Lets the change bring a genesis that it relies on, if it does not build on it.
    pub(super) fn bring_genesis(&mut self, id: OpId) {
        if let (Making::New(new), Some(genesis)) =
            (&mut self.making, self.scene.known.genesis.get(&id))
            && !new.contains(id)
        {
            new.genesis.insert(genesis.clone());
        }
    }

    /// A change that only makes what all sites share would have no operation: then it makes its own.
    pub(super) fn fill(&mut self) {
        let actor = self.scene.actor;
        let Making::New(new) = &mut self.making else { return };
        if !new.operations.is_empty() {
            return;
        }
        let shared = std::mem::take(&mut new.shared);
        let is_around = |id: OpId| shared.iter().any(|it| it.object == ObjectId::Made(id));
        for Shared { foreign, id, object, name, shape } in &shared {
            if is_around(*id) {
                continue;
            }
            if let Some(genesis) = self.scene.known.genesis.get(id) {
                new.genesis.remove(genesis);
            }
            let made = unsettled(new.operations.len(), actor);
            let (key, preds) = (Key::Field(name.clone()), Vec::new());
            let (object, insert, action) = (*object, false, Action::Make(*shape));
            new.operations.push(RecordOperation { id: made, object, key, insert, action, preds });
            self.scene.known.note_instead(*foreign, made);
            if let Some(around) = self.scene.known.place(self.history, object) {
                let (path, is_field) = (around.path_of(name), true);
                let place = DocumentPlace { shape: *shape, path, is_field, is_shared: false };
                self.scene.known.note_place(made, place);
            }
        }
    }
}
