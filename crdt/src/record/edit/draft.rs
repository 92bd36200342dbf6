//! A change in the making: operations that may refer to each other before they have ids.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::error::EditError;
use crate::record::check::{ParsedChange, RecordChange};
use crate::record::chunk::{self, Decoded};
use crate::record::genesis::{Genesis, GenesisKind};
use crate::record::history::History;
use crate::record::limits::{CHANGE_BYTES_MAX, GENESIS_MAX, OPERATIONS_MAX};
use crate::record::operation::{Action, ActorBytes, Key, ObjectId, OpId, Operation};

/// An object that is there, or that an operation of the draft makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Known(ObjectId),
    New(usize),
}

/// Where in its object an operation of the draft acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
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
    target: Target,
    place: Place,
    action: Action,
    preds: Vec<OpId>,
}

/// A change in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) history: &'a History,
    operations: Vec<DraftOperation>,
    /// The genesis that the record lacks.
    genesis: BTreeSet<Genesis>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(history: &'a History) -> Draft<'a> {
        Draft { history, operations: Vec::new(), genesis: BTreeSet::new() }
    }

    /// Whether it has no operations, although something relies on it.
    pub(super) fn is_hollow(&self) -> bool {
        self.operations.is_empty() && (self.history.is_empty() || !self.genesis.is_empty())
    }

    /// Adds an operation and returns its index.
    pub(super) fn add(
        &mut self,
        target: Target,
        place: Place,
        action: Action,
        preds: Vec<OpId>,
    ) -> usize {
        self.operations.push(DraftOperation { target, place, action, preds });
        self.operations.len() - 1
    }

    /// What the genesis of a field makes, unless it was removed for good.
    pub(super) fn genesis(&mut self, path: &[String], kind: GenesisKind) -> Option<OpId> {
        let genesis = Genesis::new(path, kind);
        let id = genesis.op_id();
        if !self.history.is_of_genesis(id) {
            self.genesis.insert(genesis);
            return Some(id);
        }
        self.history.value(id).is_some_and(|stored| stored.removed_by.is_empty()).then_some(id)
    }

    /// Whether an object is the record or made by a genesis, so that what is in it can be too.
    pub(super) fn is_shared(&self, target: Target) -> bool {
        match target {
            Target::Known(ObjectId::Root) => true,
            Target::Known(ObjectId::Made(id)) => {
                // What the record does not have can only be a genesis of this draft.
                self.history.is_of_genesis(id) || self.history.value(id).is_none()
            }
            Target::New(_) => false,
        }
    }

    /// Gives the operations their ids and builds the change. `None` if there are none.
    pub(super) fn finish(
        self,
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
        let around: BTreeSet<Genesis> = self.genesis.iter().filter_map(Genesis::parent).collect();
        let genesis: Vec<Genesis> = self.genesis.difference(&around).cloned().collect();
        if genesis.len() > GENESIS_MAX {
            return Err(EditError::TooManyGenesis { found: genesis.len() });
        }
        let mut deps: BTreeSet<[u8; 32]> = self.history.heads().copied().collect();
        let mut max_op = self.history.max_op();
        let mut made = BTreeMap::new();
        for genesis in &genesis {
            max_op = max_op.max(genesis.op_id().counter);
            let changes = genesis.changes();
            deps.extend(changes.last().map(|own| own.hash));
            made.extend(changes.into_iter().map(|made| (made.operation.id, made)));
        }
        let deps: Vec<[u8; 32]> = deps.into_iter().collect();
        let seq = self.history.tip(actor).map_or(0, |tip| tip.seq) + 1;
        let start_op = max_op.saturating_add(1);
        let operations = resolve(self.operations, actor, start_op);
        let body = chunk::build(actor, seq, start_op, time_ms, &deps, &operations);
        if body.len() > CHANGE_BYTES_MAX {
            return Err(EditError::TooLarge { found: body.len() });
        }
        let hash = chunk::hash(&body);
        let change = Decoded { hash, actor, seq, start_op, time_ms, deps, operations };
        let parsed = ParsedChange { change, genesis: made.into_values().collect() };
        Ok(Some((RecordChange { genesis, body }, parsed)))
    }
}

fn resolve(operations: Vec<DraftOperation>, actor: ActorBytes, start_op: u64) -> Vec<Operation> {
    let id = |index: usize| OpId { counter: start_op + index as u64, actor };
    let resolved = operations.into_iter().enumerate().map(|(index, draft)| {
        let (key, insert) = match draft.place {
            Place::Field(name) => (Key::Field(name), false),
            Place::At(element) => (Key::Element(element), false),
            Place::First => (Key::Head, true),
            Place::After(element) => (Key::Element(element), true),
            Place::AfterNew(index) => (Key::Element(id(index)), true),
        };
        Operation {
            id: id(index),
            object: match draft.target {
                Target::Known(object) => object,
                Target::New(index) => ObjectId::Made(id(index)),
            },
            key,
            insert,
            action: draft.action,
            preds: draft.preds,
        }
    });
    resolved.collect()
}
