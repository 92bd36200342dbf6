//! A change in the making: operations that may refer to each other before they have ids.

use std::collections::BTreeSet;

use smol_str::SmolStr;

use super::error::EditError;
use super::finish::{Base, finish};
use crate::record::change::genesis::{GenesisKind, InitialChange};
use crate::record::change::operation::{Action, ActorBytes, Key, ObjectId, OpId, RecordOperation};
use crate::record::change::{ParsedChange, RecordChange};
use crate::record::history::History;
use crate::record::limits::{DELETED_FIELD, OPERATIONS_MAX};
use crate::record::value::Value;

/// An object that is there, or that an operation of the draft makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EditTarget {
    Known(ObjectId),
    New(usize),
}

/// Where in its object an operation of the draft acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EditPlace {
    Field(SmolStr),
    /// On this element.
    At(OpId),
    /// A new element at the beginning.
    First,
    /// A new element after this one.
    After(OpId),
    /// A new element after the one that an operation of the draft inserts.
    AfterNew(usize),
}

#[derive(Debug)]
struct DraftOperation {
    target: EditTarget,
    place: EditPlace,
    action: Action,
    preds: Vec<OpId>,
}

/// A change in the making.
#[derive(Debug)]
pub(super) struct EditDraft<'a> {
    pub(super) history: &'a History,
    operations: Vec<DraftOperation>,
    /// The genesis that the record lacks.
    genesis: BTreeSet<InitialChange>,
}

impl<'a> EditDraft<'a> {
    pub(super) fn new(history: &'a History) -> Self {
        EditDraft { history, operations: Vec::new(), genesis: BTreeSet::new() }
    }

    /// Sees that it has an operation if something relies on it: a record exists, and a genesis is relied on, by a change,
    /// so there must be something in that.
    pub(super) fn fill(&mut self) {
        let is_relied_on = self.history.is_empty() || !self.genesis.is_empty();
        if self.operations.is_empty() && is_relied_on {
            self.put_deleted(false);
        }
    }

    pub(super) fn put_deleted(&mut self, is_deleted: bool) {
        let live = self.history.live(ObjectId::Root, DELETED_FIELD).iter().collect();
        self.add(
            EditTarget::Known(ObjectId::Root),
            EditPlace::Field(DELETED_FIELD.into()),
            Action::Put(Value::Bool(is_deleted)),
            live,
        );
    }

    /// Adds an operation and returns its index.
    pub(super) fn add(
        &mut self,
        target: EditTarget,
        place: EditPlace,
        action: Action,
        preds: Vec<OpId>,
    ) -> usize {
        self.operations.push(DraftOperation { target, place, action, preds });
        self.operations.len() - 1
    }

    /// What the genesis of a field makes, unless it was removed for good.
    pub(super) fn genesis(&mut self, path: &[String], kind: GenesisKind) -> Option<OpId> {
        let genesis = InitialChange::new(path, kind);
        let id = genesis.op_id();
        if !self.history.is_of_genesis(id) {
            self.genesis.insert(genesis);
            return Some(id);
        }
        self.history.value(id).is_some_and(|stored| stored.removed_by.is_empty()).then_some(id)
    }

    /// Whether an object is the record or made by a genesis, so that what is in it can be too.
    pub(super) fn is_shared(&self, target: EditTarget) -> bool {
        match target {
            EditTarget::Known(ObjectId::Root) => true,
            EditTarget::Known(ObjectId::Made(id)) => {
                // What the record does not have can only be a genesis of this draft.
                self.history.is_of_genesis(id) || self.history.value(id).is_none()
            }
            EditTarget::New(_) => false,
        }
    }

    /// Gives the operations their ids and builds the change. `None` if there are none.
    pub(super) fn finish(
        self,
        actor: ActorBytes,
        time_ms: i64,
    ) -> Result<Option<(RecordChange, ParsedChange)>, EditError> {
        let base = Base {
            deps: self.history.heads().copied().collect(),
            max_op: self.history.max_op(),
            seq: self.history.tip(actor).map_or(0, |tip| tip.seq),
        };
        self.build(base, actor, time_ms)
    }

    /// As [`EditDraft::finish`], where the draft is of the record as it was, and `whole` is what became of it. The change
    /// builds on what the draft saw, and on the actor's own last change, which the format asks for. What that removed
    /// meanwhile cannot be named: who writes such a field again leaves both values there, in conflict.
    pub(super) fn finish_in(
        mut self,
        whole: &History,
        actor: ActorBytes,
        time_ms: i64,
    ) -> Result<Option<(RecordChange, ParsedChange)>, EditError> {
        let own = whole.tip_hash(actor);
        let hashes = self.history.heads().copied().chain(own).collect();
        let (deps, clock) = whole.base(&hashes);
        let is_removed = |id| whole.is_removed(id, &clock);
        self.let_go(is_removed);
        // Nothing may be left but a genesis that it relies on; what is put then names values as well.
        self.fill();
        self.let_go(is_removed);
        let base = Base {
            deps: deps.into_iter().collect(),
            max_op: clock.values().copied().max().unwrap_or(0),
            seq: whole.tip(actor).map_or(0, |tip| tip.seq),
        };
        self.build(base, actor, time_ms)
    }

    /// Names removed values no longer, and drops the operations that then act on nothing.
    fn let_go(&mut self, is_removed: impl Fn(OpId) -> bool) {
        let mut kept = Vec::with_capacity(self.operations.len());
        // Where each operation comes to stand; nothing refers to one that is dropped, for it makes nothing.
        let mut moved = Vec::with_capacity(self.operations.len());
        for mut operation in std::mem::take(&mut self.operations) {
            moved.push(kept.len());
            operation.preds.retain(|id| !is_removed(*id));
            let makes = match operation.action {
                Action::Put(_) | Action::Make(_) => true,
                Action::Delete | Action::Increment(_) => false,
            };
            if makes || !operation.preds.is_empty() {
                kept.push(operation);
            }
        }
        let to = |index: &mut usize| *index = moved.get(*index).copied().unwrap_or(*index);
        for DraftOperation { target, place, .. } in &mut kept {
            match target {
                EditTarget::New(index) => to(index),
                EditTarget::Known(_) => {}
            }
            match place {
                EditPlace::AfterNew(index) => to(index),
                EditPlace::Field(_) | EditPlace::At(_) | EditPlace::First | EditPlace::After(_) => {
                }
            }
        }
        self.operations = kept;
    }

    fn build(
        self,
        base: Base,
        actor: ActorBytes,
        time_ms: i64,
    ) -> Result<Option<(RecordChange, ParsedChange)>, EditError> {
        if self.operations.is_empty() {
            return Ok(None);
        }
        let found = self.operations.len();
        if found > OPERATIONS_MAX {
            return Err(EditError::TooManyOperations { found });
        }
        let Self { operations, genesis, .. } = self;
        let ids = |start_op| resolve(operations, actor, start_op);
        finish(base, &genesis, actor, time_ms, ids).map(Some)
    }
}

fn resolve(
    operations: Vec<DraftOperation>,
    actor: ActorBytes,
    start_op: u64,
) -> Vec<RecordOperation> {
    let id = |index: usize| OpId { counter: start_op + index as u64, actor };
    let resolved = operations.into_iter().enumerate().map(|(index, draft)| {
        let (key, insert) = match draft.place {
            EditPlace::Field(name) => (Key::Field(name), false),
            EditPlace::At(element) => (Key::Element(element), false),
            EditPlace::First => (Key::Head, true),
            EditPlace::After(element) => (Key::Element(element), true),
            EditPlace::AfterNew(index) => (Key::Element(id(index)), true),
        };
        RecordOperation {
            id: id(index),
            object: match draft.target {
                EditTarget::Known(object) => object,
                EditTarget::New(index) => ObjectId::Made(id(index)),
            },
            key,
            insert,
            action: draft.action,
            preds: draft.preds,
        }
    });
    resolved.collect()
}
