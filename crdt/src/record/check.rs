//! The one verdict on a change.
//!
//! Every replica must say the same of the same change, so the verdict depends on the change and
//! its ancestors alone, never on concurrent changes that happen to be here. What is wrong with a
//! change by itself is found before what it lacks here, and that before what is wrong with it in
//! the light of its ancestors.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::chunk::{self, Decoded};
use super::fault::{Fault, OperationFault, Verdict};
use super::genesis::{Genesis, GenesisChange};
use super::history::{Clock, Content, History, Object, Slot, Stored};
use super::limits::{
    COUNTER_MAX, DELETED_FIELD, DEPTH_MAX, GENESIS_MAX, INCREMENT_MAX, OPERATIONS_MAX,
    VALUE_BYTES_MAX, check_field,
};
use super::operation::{Action, ActorBytes, Key, ObjectId, OpId, Operation, Shape};
use super::value::Value;

/// One change to one record as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    /// The genesis among its dependencies, sorted and each once. The maps around them are implied.
    pub genesis: Vec<Genesis>,
    /// The Automerge change chunk without its first 8 bytes (magic and checksum), which follow
    /// from the rest.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl RecordChange {
    /// The hash under which other changes name this one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        Sha256::digest(&self.body).into()
    }
}

/// A change that was checked against a state of a record, for [`super::Document::apply`].
#[derive(Debug, Clone)]
pub struct CheckedChange {
    /// The genesis that the record lacks, outer ones first.
    pub(crate) genesis: Vec<GenesisChange>,
    pub(crate) change: Decoded,
    /// Whether the record has the change already.
    pub(crate) is_known: bool,
}

impl CheckedChange {
    /// The hash of the change.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.change.hash
    }

    /// The hashes of the changes it depends on, genesis included.
    #[must_use]
    pub fn deps(&self) -> &[[u8; 32]] {
        &self.change.deps
    }

    /// Its time in milliseconds since 1970, as its author's clock said.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.change.time_ms
    }

    /// The number of its operations.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.change.operations.len()
    }
}

/// Judges a change against a record.
pub(crate) fn check(
    history: &History,
    author: ActorBytes,
    record_change: &RecordChange,
) -> Result<CheckedChange, Verdict> {
    let change = chunk::read(&record_change.body).map_err(Fault::Chunk)?;
    check_alone(author, &change)?;
    let listed = derive_genesis(author, record_change, &change)?;
    if history.change(&change.hash).is_some() {
        return Ok(CheckedChange { genesis: Vec::new(), change, is_known: true });
    }
    let missing = missing_deps(history, &change, &listed);
    if !missing.is_empty() {
        return Err(Verdict::Missing(missing));
    }
    let mut scope = Scope::new(history, &change, &listed);
    scope.check_place(&change)?;
    for (index, operation) in change.operations.iter().enumerate() {
        scope.check_operation(operation).map_err(|source| Fault::Operation { index, source })?;
    }
    let genesis = listed
        .into_values()
        .filter(|made| history.change(&made.hash).is_none())
        .collect::<Vec<_>>();
    Ok(CheckedChange { genesis: outer_first(genesis), change, is_known: false })
}

fn outer_first(mut genesis: Vec<GenesisChange>) -> Vec<GenesisChange> {
    genesis.sort_by_key(|made| made.operation.id);
    genesis
}

/// What is wrong with a change whatever the record.
fn check_alone(author: ActorBytes, change: &Decoded) -> Result<(), Fault> {
    if change.actor != author {
        return Err(Fault::Actor { found: change.actor, expected: author });
    }
    if change.operations.len() > OPERATIONS_MAX {
        return Err(Fault::TooManyOperations { found: change.operations.len() });
    }
    let end_op = change.operations.last().map_or(0, |op| op.id.counter);
    if end_op > COUNTER_MAX {
        return Err(Fault::Counter { found: end_op });
    }
    if !change.deps.is_sorted_by(|a, b| a < b) {
        return Err(Fault::DepsOrder);
    }
    Ok(())
}

/// Derives the genesis that a change names and the maps around them, by hash.
fn derive_genesis(
    author: ActorBytes,
    record_change: &RecordChange,
    change: &Decoded,
) -> Result<BTreeMap<[u8; 32], GenesisChange>, Fault> {
    let found = record_change.genesis.len();
    if found > GENESIS_MAX {
        return Err(Fault::TooManyGenesis { found });
    }
    if !record_change.genesis.is_sorted_by(|a, b| a < b) {
        return Err(Fault::GenesisOrder);
    }
    let mut derived = BTreeMap::new();
    for genesis in &record_change.genesis {
        genesis.check().map_err(Fault::Genesis)?;
        let changes = genesis.changes();
        let is_dep = changes.last().is_some_and(|own| change.deps.binary_search(&own.hash).is_ok());
        if !is_dep {
            return Err(Fault::GenesisUnused { path: genesis.path.clone() });
        }
        for made in changes {
            // No site can have such an actor but by breaking the hash.
            if made.operation.id.actor == author {
                return Err(Fault::GenesisActor);
            }
            derived.insert(made.hash, made);
        }
    }
    Ok(derived)
}

/// The dependencies that are neither here nor named as genesis. A genesis that is here but not
/// named counts as missing: another replica that lacks it could not tell what it is.
fn missing_deps(
    history: &History,
    change: &Decoded,
    listed: &BTreeMap<[u8; 32], GenesisChange>,
) -> Vec<[u8; 32]> {
    let is_here = |dep: &[u8; 32]| {
        listed.contains_key(dep) || history.change(dep).is_some_and(|meta| !meta.is_genesis)
    };
    change.deps.iter().filter(|dep| !is_here(dep)).copied().collect()
}

/// Which operations are ancestors of a change.
enum Ancestors {
    /// All that the record has.
    All,
    UpTo(Clock),
}

impl Ancestors {
    fn of(history: &History, deps: &[[u8; 32]]) -> Ancestors {
        let known = deps.iter().filter(|dep| history.change(dep).is_some());
        let known: Vec<[u8; 32]> = known.copied().collect();
        if history.has_heads(&known) {
            Ancestors::All
        } else {
            Ancestors::UpTo(history.clock(&known))
        }
    }

    fn contains(&self, id: OpId) -> bool {
        match self {
            Ancestors::All => true,
            Ancestors::UpTo(clock) => clock.get(&id.actor).is_some_and(|max| id.counter <= *max),
        }
    }

    fn include(&mut self, id: OpId) {
        match self {
            Ancestors::All => {}
            Ancestors::UpTo(clock) => {
                clock.insert(id.actor, id.counter);
            }
        }
    }

    fn max_op(&self, history: &History) -> u64 {
        match self {
            Ancestors::All => history.max_op(),
            Ancestors::UpTo(clock) => clock.values().copied().max().unwrap_or(0),
        }
    }
}

/// A value that the change itself or a genesis new to the record writes.
struct Own {
    object: ObjectId,
    slot: Slot,
    content: Content,
}

/// The record as the next operation of the change finds it.
struct Scope<'a> {
    history: &'a History,
    ancestors: Ancestors,
    /// The greatest counter before the change.
    max_op: u64,
    own: BTreeMap<OpId, Own>,
    /// What the change removed.
    removed: BTreeSet<OpId>,
}

impl<'a> Scope<'a> {
    fn new(
        history: &'a History,
        change: &Decoded,
        listed: &BTreeMap<[u8; 32], GenesisChange>,
    ) -> Scope<'a> {
        let ancestors = Ancestors::of(history, &change.deps);
        let mut scope = Scope {
            max_op: ancestors.max_op(history),
            history,
            ancestors,
            own: BTreeMap::new(),
            removed: BTreeSet::new(),
        };
        for made in listed.values() {
            scope.max_op = scope.max_op.max(made.operation.id.counter);
            if history.change(&made.hash).is_none() {
                scope.add(&made.operation);
            } else {
                // The maps around a genesis are ancestors without being dependencies.
                scope.ancestors.include(made.operation.id);
            }
        }
        scope
    }

    /// Checks the place of the change among its ancestors.
    fn check_place(&self, change: &Decoded) -> Result<(), Fault> {
        let previous = self.history.last_change(change.actor);
        let expected = previous.map_or(0, |meta| meta.seq) + 1;
        if change.seq != expected {
            return Err(Fault::Seq { found: change.seq, expected });
        }
        if let Some(meta) = previous {
            let last = OpId { counter: meta.end_op, actor: change.actor };
            if !self.ancestors.contains(last) {
                return Err(Fault::PreviousNotAncestor);
            }
        }
        if change.start_op != self.max_op + 1 {
            return Err(Fault::StartOp { found: change.start_op, expected: self.max_op + 1 });
        }
        Ok(())
    }

    fn stored(&self, id: OpId) -> Option<&'a Stored> {
        self.history.value(id).filter(|_| self.ancestors.contains(id))
    }

    fn shape(&self, object: ObjectId) -> Option<Shape> {
        let ObjectId::Made(id) = object else {
            return Some(Shape::Map);
        };
        let content = match self.own.get(&id) {
            Some(own) => &own.content,
            None => &self.stored(id)?.content,
        };
        match content {
            Content::Object(shape) => Some(*shape),
            Content::Register(_) | Content::Counter(_) => None,
        }
    }

    /// How deep an object of this change or of the ancestors lies.
    fn depth(&self, object: ObjectId) -> usize {
        let mut depth = 0;
        let mut at = object;
        while let ObjectId::Made(id) = at {
            match self.own.get(&id) {
                Some(own) => at = own.object,
                None => return depth + self.history.depth(at),
            }
            depth += 1;
        }
        depth
    }

    fn has_element(&self, object: ObjectId, id: OpId) -> bool {
        if let Some(own) = self.own.get(&id) {
            return own.object == object && own.slot == Slot::Element(id);
        }
        match self.history.object(object) {
            Some(Object::Sequence(elements)) => {
                elements.contains(id) && self.ancestors.contains(id)
            }
            Some(Object::Map(_)) | None => false,
        }
    }

    fn check_operation(&mut self, operation: &Operation) -> Result<(), OperationFault> {
        let shape = self.shape(operation.object).ok_or(OperationFault::NoObject)?;
        self.check_key(shape, operation)?;
        self.check_value(shape, operation)?;
        self.check_preds(operation)?;
        self.add(operation);
        Ok(())
    }

    fn check_key(&self, shape: Shape, operation: &Operation) -> Result<(), OperationFault> {
        let is_sequence = match shape {
            Shape::Map => false,
            Shape::List | Shape::Text => true,
        };
        match &operation.key {
            Key::Field(name) if !is_sequence && !operation.insert => {
                check_field(name)?;
                Ok(())
            }
            Key::Head if is_sequence && operation.insert => Ok(()),
            Key::Element(id) if is_sequence => {
                if self.has_element(operation.object, *id) {
                    Ok(())
                } else {
                    Err(OperationFault::NoElement)
                }
            }
            Key::Field(_) | Key::Head | Key::Element(_) => Err(OperationFault::KeyShape),
        }
    }

    fn check_value(&self, shape: Shape, operation: &Operation) -> Result<(), OperationFault> {
        let is_value = match &operation.action {
            Action::Put(value) => {
                check_put(value)?;
                true
            }
            Action::Make(_) => {
                if self.depth(operation.object) >= DEPTH_MAX {
                    return Err(OperationFault::Depth);
                }
                true
            }
            Action::Increment(by) => {
                check_amount(*by)?;
                false
            }
            Action::Delete => false,
        };
        if operation.insert && (!is_value || !operation.preds.is_empty()) {
            return Err(OperationFault::Insert);
        }
        let is_deleted_field = operation.object == ObjectId::Root
            && matches!(&operation.key, Key::Field(name) if name == DELETED_FIELD);
        match (shape, &operation.action) {
            (Shape::Text, Action::Put(Value::Str(s))) if operation.insert && !s.is_empty() => {
                Ok(())
            }
            (Shape::Text, Action::Put(_) | Action::Make(_)) => Err(OperationFault::NotText),
            (_, Action::Put(Value::Bool(_)) | Action::Delete) if is_deleted_field => Ok(()),
            (_, _) if is_deleted_field => Err(OperationFault::Deleted),
            (Shape::Map | Shape::List | Shape::Text, _) => Ok(()),
        }
    }

    fn check_preds(&mut self, operation: &Operation) -> Result<(), OperationFault> {
        let must_have = match (&operation.key, &operation.action) {
            (_, Action::Delete | Action::Increment(_)) => true,
            // A put on an element replaces what is there: it never brings back a removed one.
            (Key::Element(_), Action::Put(_) | Action::Make(_)) => !operation.insert,
            (Key::Field(_) | Key::Head, Action::Put(_) | Action::Make(_)) => false,
        };
        if must_have && operation.preds.is_empty() {
            return Err(OperationFault::NoPred);
        }
        if !operation.preds.is_sorted_by(|a, b| a < b) {
            return Err(OperationFault::NotLive);
        }
        let is_increment = matches!(operation.action, Action::Increment(_));
        let mut has_counter = false;
        for pred in &operation.preds {
            let is_counter = self.check_pred(operation, *pred)?;
            has_counter |= is_counter;
            if !(is_increment && is_counter) {
                self.removed.insert(*pred);
            }
        }
        if is_increment && !has_counter {
            return Err(OperationFault::NoCounter);
        }
        Ok(())
    }

    /// Whether the pred, which must be live and in the same place, is a counter.
    fn check_pred(&self, operation: &Operation, pred: OpId) -> Result<bool, OperationFault> {
        let (object, slot, content) = if let Some(own) = self.own.get(&pred) {
            (own.object, &own.slot, &own.content)
        } else {
            let stored = self.stored(pred).ok_or(OperationFault::NotLive)?;
            if stored.removed_by.iter().any(|id| self.ancestors.contains(*id)) {
                return Err(OperationFault::NotLive);
            }
            (stored.object, &stored.slot, &stored.content)
        };
        let is_same_place = object == operation.object
            && match (slot, &operation.key) {
                (Slot::Field(a), Key::Field(b)) => a == b,
                (Slot::Element(a), Key::Element(b)) => a == b,
                (Slot::Field(_), Key::Head | Key::Element(_))
                | (Slot::Element(_), Key::Head | Key::Field(_)) => false,
            };
        if !is_same_place || self.removed.contains(&pred) {
            return Err(OperationFault::NotLive);
        }
        Ok(matches!(content, Content::Counter(_)))
    }

    /// Adds what an operation writes.
    fn add(&mut self, operation: &Operation) {
        let content = match &operation.action {
            Action::Increment(_) | Action::Delete => return,
            Action::Put(Value::Counter(_)) => Content::Counter(0),
            // The value itself plays no part in a verdict on what follows.
            Action::Put(_) => Content::Register(Value::Null),
            Action::Make(shape) => Content::Object(*shape),
        };
        let slot = match &operation.key {
            Key::Field(name) => Slot::Field(name.clone()),
            Key::Element(id) if !operation.insert => Slot::Element(*id),
            Key::Head | Key::Element(_) => Slot::Element(operation.id),
        };
        self.own.insert(operation.id, Own { object: operation.object, slot, content });
    }
}

fn check_amount(found: i64) -> Result<(), OperationFault> {
    if found.unsigned_abs() <= INCREMENT_MAX.unsigned_abs() {
        Ok(())
    } else {
        Err(OperationFault::Amount { found })
    }
}

fn check_put(value: &Value) -> Result<(), OperationFault> {
    let found = match value {
        Value::Counter(start) => return check_amount(*start),
        Value::Str(s) | Value::Text(s) => s.len(),
        Value::Bytes(b) => b.len(),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Timestamp(_)
        | Value::List(_)
        | Value::Map(_) => 0,
    };
    if found > VALUE_BYTES_MAX {
        return Err(OperationFault::ValueSize { found });
    }
    Ok(())
}
