//! What a record's changes say: the changes themselves, every value they ever wrote, and which
//! of the values are live.
//!
//! The rules are Automerge's: a put, a make and a delete remove the values they name, an
//! increment adds to the counters it names and removes the other values, and of several live
//! values the one with the greatest id is shown.

use std::collections::{BTreeMap, BTreeSet};

use super::chunk::Decoded;
use super::genesis::{Genesis, GenesisChange, GenesisKind};
use super::live::Live;
use super::operation::{Action, ActorBytes, Key, ObjectId, OpId, Operation, Shape};
use super::sequence::Sequence;
use super::value::Value;

/// Changes that do not fit together, although each was checked: the record was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the changes of the record do not fit together: {0}")]
pub struct Inconsistent(pub(crate) &'static str);

/// One applied change.
#[derive(Debug, Clone)]
pub(crate) struct ChangeMeta {
    pub(crate) actor: ActorBytes,
    pub(crate) seq: u64,
    pub(crate) end_op: u64,
    pub(crate) time_ms: i64,
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) is_genesis: bool,
}

/// One value that was ever written.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) object: ObjectId,
    pub(crate) slot: Slot,
    pub(crate) content: Content,
    /// The operations that removed it, in the order of arrival.
    pub(crate) removed_by: Vec<OpId>,
}

/// The place of a value in its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    Field(String),
    /// An element, named by the operation that inserted it.
    Element(OpId),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A value that is replaced as a whole.
    Register(Value),
    /// The sum of a counter's start and its increments. 128 bits hold the sum of more increments
    /// than there are operation counters.
    Counter(i128),
    Object(Shape),
}

/// What an object holds.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// The live values of each field.
    Map(BTreeMap<String, Live>),
    Sequence(Sequence),
}

/// All of a record's changes.
#[derive(Debug, Clone)]
pub(crate) struct History {
    changes: BTreeMap<[u8; 32], ChangeMeta>,
    /// The changes that no other depends on, each with its ancestors and itself.
    heads: BTreeMap<[u8; 32], Clock>,
    /// The hashes of each actor's changes by their first operation's counter.
    actors: BTreeMap<ActorBytes, BTreeMap<u64, [u8; 32]>>,
    genesis: BTreeMap<ActorBytes, Genesis>,
    max_op: u64,
    operation_count: usize,
    values: BTreeMap<OpId, Stored>,
    objects: BTreeMap<ObjectId, Object>,
}

/// A set of changes with all their ancestors: of each actor, whose changes are a chain, the counter
/// of the last operation.
pub(crate) type Clock = BTreeMap<ActorBytes, u64>;

fn merge_clock(clock: &mut Clock, other: &Clock) {
    for (actor, counter) in other {
        let max = clock.entry(*actor).or_insert(0);
        *max = counter.max(max).to_owned();
    }
}

/// A change to insert.
#[derive(Debug)]
struct Incoming<'a> {
    hash: [u8; 32],
    actor: ActorBytes,
    seq: u64,
    start_op: u64,
    time_ms: i64,
    deps: &'a [[u8; 32]],
    operations: &'a [Operation],
}

impl History {
    pub(crate) fn new() -> History {
        History {
            changes: BTreeMap::new(),
            heads: BTreeMap::new(),
            actors: BTreeMap::new(),
            genesis: BTreeMap::new(),
            max_op: 0,
            operation_count: 0,
            values: BTreeMap::new(),
            objects: BTreeMap::from([(ObjectId::Root, Object::Map(BTreeMap::new()))]),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The hashes of the changes that no other depends on, ascending.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.heads.keys()
    }

    /// Whether these changes, ascending, are the heads.
    pub(crate) fn has_heads(&self, hashes: &[[u8; 32]]) -> bool {
        self.heads.keys().eq(hashes)
    }

    /// The given changes, as far as they are here, and their ancestors.
    pub(crate) fn clock(&self, hashes: &[[u8; 32]]) -> Clock {
        let mut clock = Clock::new();
        let mut seen = BTreeSet::new();
        let mut pending: Vec<[u8; 32]> = hashes.to_vec();
        while let Some(hash) = pending.pop() {
            if let Some(ancestors) = self.heads.get(&hash) {
                merge_clock(&mut clock, ancestors);
            } else if let Some(meta) = self.changes.get(&hash)
                && seen.insert(hash)
            {
                merge_clock(&mut clock, &Clock::from([(meta.actor, meta.end_op)]));
                pending.extend(&meta.deps);
            }
        }
        clock
    }

    pub(crate) fn change(&self, hash: &[u8; 32]) -> Option<&ChangeMeta> {
        self.changes.get(hash)
    }

    /// The greatest counter of an operation, 0 if there is none.
    pub(crate) fn max_op(&self) -> u64 {
        self.max_op
    }

    /// The number of all operations.
    pub(crate) fn operation_count(&self) -> usize {
        self.operation_count
    }

    /// The actor's last change.
    pub(crate) fn last_change(&self, actor: ActorBytes) -> Option<&ChangeMeta> {
        let (_, hash) = self.actors.get(&actor)?.last_key_value()?;
        self.changes.get(hash)
    }

    /// The change that an operation belongs to.
    pub(crate) fn change_of(&self, id: OpId) -> Option<&ChangeMeta> {
        let (_, hash) = self.actors.get(&id.actor)?.range(..=id.counter).next_back()?;
        self.changes.get(hash)
    }

    pub(crate) fn value(&self, id: OpId) -> Option<&Stored> {
        self.values.get(&id)
    }

    pub(crate) fn object(&self, object: ObjectId) -> Option<&Object> {
        self.objects.get(&object)
    }

    /// The live values of a field.
    pub(crate) fn live(&self, object: ObjectId, field: &str) -> &Live {
        match self.objects.get(&object) {
            Some(Object::Map(fields)) => fields.get(field).unwrap_or(&Live::None),
            Some(Object::Sequence(_)) | None => &Live::None,
        }
    }

    /// Whether the value was made by a genesis.
    pub(crate) fn is_of_genesis(&self, id: OpId) -> bool {
        self.genesis.contains_key(&id.actor)
    }

    /// How deep the object lies below the record, which is 0.
    pub(crate) fn depth(&self, object: ObjectId) -> usize {
        let mut depth = 0;
        let mut at = object;
        while let ObjectId::Made(id) = at {
            depth += 1;
            match self.values.get(&id) {
                Some(stored) => at = stored.object,
                None => break,
            }
        }
        depth
    }

    pub(crate) fn insert_genesis(&mut self, made: &GenesisChange) -> Result<(), Inconsistent> {
        self.insert_change(&Incoming {
            hash: made.hash,
            actor: made.operation.id.actor,
            seq: 1,
            start_op: made.operation.id.counter,
            time_ms: 0,
            deps: &made.deps,
            operations: std::slice::from_ref(&made.operation),
        })
    }

    pub(crate) fn insert(&mut self, change: &Decoded) -> Result<(), Inconsistent> {
        self.insert_change(&Incoming {
            hash: change.hash,
            actor: change.actor,
            seq: change.seq,
            start_op: change.start_op,
            time_ms: change.time_ms,
            deps: &change.deps,
            operations: &change.operations,
        })
    }

    /// Adds a change whose dependencies are here. After an error the history is unusable.
    fn insert_change(&mut self, change: &Incoming<'_>) -> Result<(), Inconsistent> {
        if change.deps.iter().any(|dep| !self.changes.contains_key(dep)) {
            return Err(Inconsistent("a change comes before one that it depends on"));
        }
        let genesis = self.recognise_genesis(change);
        let end_op = change.operations.last().map_or(0, |op| op.id.counter);
        for operation in change.operations {
            self.perform(operation)?;
        }
        let mut clock = self.clock(change.deps);
        clock.insert(change.actor, end_op);
        for dep in change.deps {
            self.heads.remove(dep);
        }
        self.heads.insert(change.hash, clock);
        self.max_op = self.max_op.max(end_op);
        self.operation_count += change.operations.len();
        self.actors.entry(change.actor).or_default().insert(change.start_op, change.hash);
        self.changes.insert(
            change.hash,
            ChangeMeta {
                actor: change.actor,
                seq: change.seq,
                end_op,
                time_ms: change.time_ms,
                deps: change.deps.to_vec(),
                is_genesis: genesis.is_some(),
            },
        );
        if let Some(genesis) = genesis {
            self.genesis.insert(change.actor, genesis);
        }
        Ok(())
    }

    /// A document does not say which of its changes are genesis; their actors do.
    fn recognise_genesis(&self, change: &Incoming<'_>) -> Option<Genesis> {
        let [operation] = change.operations else {
            return None;
        };
        let (1, 0, Key::Field(name)) = (change.seq, change.time_ms, &operation.key) else {
            return None;
        };
        let mut path = match operation.object {
            ObjectId::Root => Vec::new(),
            ObjectId::Made(id) => self.genesis.get(&id.actor)?.path.clone(),
        };
        path.push(name.clone());
        let kind = GenesisKind::of_action(&operation.action)?;
        let genesis = Genesis { path, kind };
        (genesis.actor() == change.actor).then_some(genesis)
    }

    fn perform(&mut self, operation: &Operation) -> Result<(), Inconsistent> {
        for pred in &operation.preds {
            self.affect(*pred, operation)?;
        }
        let content = match &operation.action {
            Action::Increment(_) | Action::Delete => return Ok(()),
            Action::Put(Value::Counter(start)) => Content::Counter(i128::from(*start)),
            Action::Put(value) => Content::Register(value.clone()),
            Action::Make(shape) => {
                let object = match shape {
                    Shape::Map => Object::Map(BTreeMap::new()),
                    Shape::List | Shape::Text => Object::Sequence(Sequence::default()),
                };
                self.objects.insert(ObjectId::Made(operation.id), object);
                Content::Object(*shape)
            }
        };
        let slot = self.place(operation)?;
        self.values.insert(
            operation.id,
            Stored { object: operation.object, slot, content, removed_by: Vec::new() },
        );
        Ok(())
    }

    /// Removes or increments a value.
    fn affect(&mut self, pred: OpId, operation: &Operation) -> Result<(), Inconsistent> {
        let stored = self
            .values
            .get_mut(&pred)
            .ok_or(Inconsistent("an operation acts on a value that is not there"))?;
        if let (Action::Increment(by), Content::Counter(sum)) =
            (&operation.action, &mut stored.content)
        {
            *sum += i128::from(*by);
            return Ok(());
        }
        stored.removed_by.push(operation.id);
        let live = match (self.objects.get_mut(&stored.object), &stored.slot) {
            (Some(Object::Map(fields)), Slot::Field(name)) => fields.get_mut(name),
            (Some(Object::Sequence(elements)), Slot::Element(id)) => elements.live_mut(*id),
            (Some(Object::Map(_)), Slot::Element(_))
            | (Some(Object::Sequence(_)), Slot::Field(_))
            | (None, _) => None,
        };
        live.ok_or(Inconsistent("a value lies where it cannot be"))?.remove(pred);
        Ok(())
    }

    /// Adds the operation's value to the live ones of its place.
    fn place(&mut self, operation: &Operation) -> Result<Slot, Inconsistent> {
        let object = self
            .objects
            .get_mut(&operation.object)
            .ok_or(Inconsistent("an operation acts on an object that is not there"))?;
        let misfit = Inconsistent("an operation acts on an object of another kind");
        let (live, slot) = match (object, &operation.key) {
            (Object::Map(fields), Key::Field(name)) => {
                let live = match fields.get_mut(name) {
                    Some(live) => live,
                    None => fields.entry(name.clone()).or_default(),
                };
                (live, Slot::Field(name.clone()))
            }
            (Object::Sequence(elements), Key::Head | Key::Element(_)) if operation.insert => {
                let after = match operation.key {
                    Key::Element(after) => Some(after),
                    Key::Head | Key::Field(_) => None,
                };
                let live = elements.insert(operation.id, after).ok_or(misfit)?;
                (live, Slot::Element(operation.id))
            }
            (Object::Sequence(elements), Key::Element(id)) => {
                (elements.live_mut(*id).ok_or(misfit)?, Slot::Element(*id))
            }
            (Object::Sequence(_), Key::Field(_) | Key::Head)
            | (Object::Map(_), Key::Head | Key::Element(_)) => return Err(misfit),
        };
        live.insert(operation.id);
        Ok(slot)
    }
}
