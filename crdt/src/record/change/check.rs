//! The one verdict on a change.
//!
//! Every replica must say the same of the same change, so the verdict depends on the change and
//! its ancestors alone, never on concurrent changes that happen to be here. What is wrong with a
//! change by itself is found before what it lacks here ([`RecordChange::parse`](super::RecordChange::parse), which needs no
//! record), and that before what is wrong with it in the light of its ancestors ([`check`]).
//!
//! A history that is not whole gives the same verdict or none: it knows the ancestors of its heads, the actors' last
//! changes, the genesis, and all that is live, and says [`Verdict::NeedsHistory`] wherever a change names anything else.

use std::collections::{BTreeMap, BTreeSet};

use super::ParsedChange;
use super::chunk::Decoded;
use super::fault::{Fault, OperationFault, Verdict};
use super::genesis::GenesisChange;
use super::operation::{Action, Key, ObjectId, OpId, RecordOperation, Shape};
use crate::record::history::{Clock, History, HistoryContent, Object, Presence, Slot, Stored};
use crate::record::limits::{
    DELETED_FIELD, DEPTH_MAX, INCREMENT_MAX, VALUE_BYTES_MAX, check_field,
};
use crate::record::value::Value;

/// Judges a change against a record. Says whether the record has it already.
pub(crate) fn check(history: &History, parsed: &ParsedChange) -> Result<bool, Verdict> {
    let change = &parsed.change;
    match history.presence(&change.hash) {
        Presence::Here | Presence::Genesis => return Ok(true),
        // A change that is here has no greater number than its actor's last.
        Presence::Unknown if history.tip(change.actor).is_some_and(|tip| change.seq <= tip.seq) => {
            return Err(Verdict::NeedsHistory);
        }
        Presence::Absent | Presence::Unknown => {}
    }
    let known = known_deps(history, parsed)?;
    let mut scope = Scope::new(history, &known, &parsed.genesis);
    scope.check_place(change)?;
    for (index, operation) in change.operations.iter().enumerate() {
        scope.check_operation(operation).map_err(|stop| match stop {
            CheckStop::Fault(source) => Verdict::Fault(Fault::Operation { index, source }),
            CheckStop::NeedsHistory => Verdict::NeedsHistory,
        })?;
    }
    Ok(false)
}

/// The dependencies other than genesis: all of them are here. A genesis that is here but not named counts as missing:
/// another replica that lacks it could not know what it is.
fn known_deps(history: &History, parsed: &ParsedChange) -> Result<Vec<[u8; 32]>, Verdict> {
    let genesis: BTreeSet<[u8; 32]> = parsed.genesis.iter().map(|made| made.hash).collect();
    let (mut known, mut missing) = (Vec::new(), Vec::new());
    for dep in parsed.change.deps.iter().filter(|dep| !genesis.contains(*dep)) {
        match history.presence(dep) {
            Presence::Here => known.push(*dep),
            Presence::Genesis | Presence::Absent => missing.push(*dep),
            Presence::Unknown => return Err(Verdict::NeedsHistory),
        }
    }
    if missing.is_empty() { Ok(known) } else { Err(Verdict::Missing(missing)) }
}

/// Which operations are ancestors of a change.
enum Ancestors {
    /// All that the record has.
    All,
    UpTo(Clock),
}

impl Ancestors {
    fn of(history: &History, known: &[[u8; 32]]) -> Self {
        if history.has_heads(known) { Self::All } else { Self::UpTo(history.clock(known)) }
    }

    fn contains(&self, id: OpId) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(clock) => clock.get(&id.actor).is_some_and(|max| id.counter <= *max),
        }
    }

    fn include(&mut self, id: OpId) {
        match self {
            Self::All => {}
            Self::UpTo(clock) => {
                clock.insert(id.actor, id.counter);
            }
        }
    }

    fn max_op(&self, history: &History) -> u64 {
        match self {
            Self::All => history.max_op(),
            Self::UpTo(clock) => clock.values().copied().max().unwrap_or(0),
        }
    }
}

/// Why an operation is not let through.
enum CheckStop {
    Fault(OperationFault),
    NeedsHistory,
}

impl From<OperationFault> for CheckStop {
    fn from(fault: OperationFault) -> Self {
        Self::Fault(fault)
    }
}

/// The record as the next operation of the change finds it.
struct Scope<'a> {
    history: &'a History,
    ancestors: Ancestors,
    /// The greatest counter before the change.
    max_op: u64,
    /// The values that the change itself and genesis new to the record write, by the operations that do.
    own: BTreeMap<OpId, &'a RecordOperation>,
    /// What the change removed.
    removed: BTreeSet<OpId>,
}

impl<'a> Scope<'a> {
    fn new(history: &'a History, known: &[[u8; 32]], genesis: &'a [GenesisChange]) -> Self {
        let ancestors = Ancestors::of(history, known);
        let mut scope = Scope {
            max_op: ancestors.max_op(history),
            history,
            ancestors,
            own: BTreeMap::new(),
            removed: BTreeSet::new(),
        };
        for made in genesis {
            scope.max_op = scope.max_op.max(made.operation.id.counter);
            if history.is_of_genesis(made.operation.id) {
                // The maps around a genesis are ancestors without being dependencies.
                scope.ancestors.include(made.operation.id);
            } else {
                scope.add(&made.operation);
            }
        }
        scope
    }

    /// Checks the place of the change among its ancestors.
    fn check_place(&self, change: &Decoded) -> Result<(), Fault> {
        let previous = self.history.tip(change.actor);
        let expected = previous.map_or(0, |tip| tip.seq) + 1;
        if change.seq != expected {
            return Err(Fault::Seq { found: change.seq, expected });
        }
        if let Some(tip) = previous {
            let last = OpId { counter: tip.end_op, actor: change.actor };
            if !self.ancestors.contains(last) {
                return Err(Fault::PreviousNotAncestor);
            }
        }
        if change.start_op != self.max_op + 1 {
            return Err(Fault::StartOp { found: change.start_op, expected: self.max_op + 1 });
        }
        Ok(())
    }

    /// A value among the ancestors.
    fn stored(&self, id: OpId) -> Result<Option<&'a Stored>, CheckStop> {
        if !self.ancestors.contains(id) {
            return Ok(None);
        }
        match self.history.value(id) {
            None if !self.history.is_whole() => Err(CheckStop::NeedsHistory),
            found => Ok(found),
        }
    }

    fn shape(&self, object: ObjectId) -> Result<Shape, CheckStop> {
        let ObjectId::Made(id) = object else {
            return Ok(Shape::Map);
        };
        let shape = match self.own.get(&id) {
            Some(own) => own.action.shape(),
            None => self.stored(id)?.and_then(|stored| stored.content.shape()),
        };
        shape.ok_or(OperationFault::NoObject.into())
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
            return own.object == object && lies_at(own, &Key::Element(id));
        }
        match self.history.object(object) {
            Some(Object::Sequence(elements)) => {
                elements.contains(id) && self.ancestors.contains(id)
            }
            Some(Object::Map(_)) | None => false,
        }
    }

    fn check_operation(&mut self, operation: &'a RecordOperation) -> Result<(), CheckStop> {
        let shape = self.shape(operation.object)?;
        self.check_key(shape, operation)?;
        self.check_value(shape, operation)?;
        self.check_preds(operation)?;
        self.add(operation);
        Ok(())
    }

    fn check_key(&self, shape: Shape, operation: &RecordOperation) -> Result<(), OperationFault> {
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

    fn check_value(&self, shape: Shape, operation: &RecordOperation) -> Result<(), OperationFault> {
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

    fn check_preds(&mut self, operation: &RecordOperation) -> Result<(), CheckStop> {
        let must_have = match (&operation.key, &operation.action) {
            (_, Action::Delete | Action::Increment(_)) => true,
            // A put on an element replaces what is there: it never brings back a removed one.
            (Key::Element(_), Action::Put(_) | Action::Make(_)) => !operation.insert,
            (Key::Field(_) | Key::Head, Action::Put(_) | Action::Make(_)) => false,
        };
        if must_have && operation.preds.is_empty() {
            return Err(OperationFault::NoPred.into());
        }
        if !operation.preds.is_sorted_by(|a, b| a < b) {
            return Err(OperationFault::NotLive.into());
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
            return Err(OperationFault::NoCounter.into());
        }
        Ok(())
    }

    /// Whether the pred, which must be live and in the same place, is a counter.
    fn check_pred(&self, operation: &RecordOperation, pred: OpId) -> Result<bool, CheckStop> {
        let (is_same_place, is_counter) = if let Some(own) = self.own.get(&pred) {
            let is_same_place = own.object == operation.object && lies_at(own, &operation.key);
            (is_same_place, matches!(own.action, Action::Put(Value::Counter(_))))
        } else {
            let stored = self.stored(pred)?.ok_or(OperationFault::NotLive)?;
            if stored.removed_by.iter().any(|id| self.ancestors.contains(*id)) {
                return Err(OperationFault::NotLive.into());
            }
            let is_same_place = stored.object == operation.object
                && match (&stored.slot, &operation.key) {
                    (Slot::Field(a), Key::Field(b)) => a == b,
                    (Slot::Element(a), Key::Element(b)) => a == b,
                    (Slot::Field(_), Key::Head | Key::Element(_))
                    | (Slot::Element(_), Key::Head | Key::Field(_)) => false,
                };
            (is_same_place, matches!(stored.content, HistoryContent::Counter(_)))
        };
        if !is_same_place || self.removed.contains(&pred) {
            return Err(OperationFault::NotLive.into());
        }
        Ok(is_counter)
    }

    /// Adds an operation if it writes a value.
    fn add(&mut self, operation: &'a RecordOperation) {
        match &operation.action {
            Action::Increment(_) | Action::Delete => {}
            Action::Put(_) | Action::Make(_) => {
                self.own.insert(operation.id, operation);
            }
        }
    }
}

/// Whether the value that an operation writes lies where a key points.
fn lies_at(own: &RecordOperation, key: &Key) -> bool {
    match (&own.key, key) {
        (Key::Field(a), Key::Field(b)) => a == b,
        (Key::Element(a), Key::Element(b)) if !own.insert => a == b,
        (Key::Head | Key::Element(_), Key::Element(b)) => own.id == *b,
        (Key::Field(_), Key::Head | Key::Element(_))
        | (Key::Head | Key::Element(_), Key::Head | Key::Field(_)) => false,
    }
}

fn check_amount(found: i64) -> Result<(), OperationFault> {
    if found.unsigned_abs() <= INCREMENT_MAX.unsigned_abs() {
        Ok(())
    } else {
        Err(OperationFault::Amount { found })
    }
}

pub(in crate::record) fn check_put(value: &Value) -> Result<(), OperationFault> {
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
