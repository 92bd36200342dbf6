//! What a record's changes say: which values are live, and whatever else later changes are judged by.
//!
//! The rules are Automerge's: a put, a make and a delete remove the values they name, an
//! increment adds to the counters it names and removes the other values, and of several live
//! values the one with the greatest id is shown.
//!
//! A history is whole, with every change and every value ever written, or it knows of what is gone only that it is
//! gone. The latter is enough to read and to edit a record, and to judge changes that build on what is live; of
//! others it knows that the whole is needed ([`super::change::check`]).

pub(super) mod hidden;
pub(super) mod live;
pub(super) mod sequence;

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::change::chunk::Decoded;
use super::change::genesis::{GenesisChange, InitialChange};
use super::change::operation::{Action, ActorBytes, Key, ObjectId, OpId, RecordOperation, Shape};
use super::value::Value;
use live::Live;
use sequence::Sequence;

/// Changes that do not fit together, although each was checked: the record was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the changes of the record do not fit together: {0}")]
pub struct Inconsistent(pub(crate) &'static str);

/// One applied change.
#[derive(Debug, Clone)]
struct ChangeMeta {
    last: OpId,
    deps: Vec<[u8; 32]>,
    is_genesis: bool,
}

/// An actor's last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ActorTip {
    pub(crate) seq: u64,
    /// The counter of its last operation.
    pub(crate) end_op: u64,
}

/// Whether the record has a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Here,
    /// A genesis, which is here.
    Genesis,
    Absent,
    /// The history is not whole: it does not know.
    Unknown,
}

/// One value that was ever written.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) object: ObjectId,
    pub(crate) slot: Slot,
    pub(crate) content: HistoryContent,
    /// The operations that removed it, in the order of arrival.
    pub(crate) removed_by: Vec<OpId>,
}

/// The place of a value in its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    Field(SmolStr),
    /// An element, named by the operation that inserted it.
    Element(OpId),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum HistoryContent {
    /// A value that is replaced as a whole.
    Register(Value),
    /// The sum of a counter's start and its increments. 128 bits hold the sum of more increments
    /// than there are operation counters.
    Counter(i128),
    Object(Shape),
}

impl HistoryContent {
    /// What a person calls its kind.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::Register(value) => value.kind_name(),
            Self::Counter(_) => "counter",
            Self::Object(Shape::Map) => "map",
            Self::Object(Shape::List) => "list",
            Self::Object(Shape::Text) => "text",
        }
    }
}

impl HistoryContent {
    /// The kind of the object that it is.
    pub(crate) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Object(shape) => Some(*shape),
            Self::Register(_) | Self::Counter(_) => None,
        }
    }
}

/// What an object holds.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// The live values of each field.
    Map(BTreeMap<SmolStr, Live>),
    Sequence(Sequence),
}

impl Object {
    pub(super) fn empty(shape: Shape) -> Self {
        match shape {
            Shape::Map => Self::Map(BTreeMap::new()),
            Shape::List | Shape::Text => Self::Sequence(Sequence::default()),
        }
    }
}

/// A record's changes, or what is live of them.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// All changes; `None`: the history is not whole.
    changes: Option<BTreeMap<[u8; 32], ChangeMeta>>,
    /// The changes that no other depends on, each with its ancestors and itself.
    pub(super) heads: BTreeMap<[u8; 32], Clock>,
    pub(super) actors: BTreeMap<ActorBytes, ActorTip>,
    /// When each change was made, by its actor and its first operation's counter.
    pub(super) times_ms: BTreeMap<(ActorBytes, u64), i64>,
    pub(super) genesis: BTreeMap<ActorBytes, InitialChange>,
    pub(super) max_op: u64,
    /// By the actor that signed them, the actors that changes in branches count as; known to a whole history.
    pub(crate) branches: BTreeMap<ActorBytes, BTreeSet<ActorBytes>>,
    pub(super) values: BTreeMap<OpId, Stored>,
    pub(super) objects: BTreeMap<ObjectId, Object>,
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

impl History {
    /// The whole history of a record without changes.
    pub(crate) fn new() -> Self {
        Self { changes: Some(BTreeMap::new()), ..Self::without_changes() }
    }

    /// A history that is not whole, without anything.
    pub(super) fn without_changes() -> Self {
        Self {
            changes: None,
            heads: BTreeMap::new(),
            actors: BTreeMap::new(),
            times_ms: BTreeMap::new(),
            genesis: BTreeMap::new(),
            max_op: 0,
            branches: BTreeMap::new(),
            values: BTreeMap::new(),
            objects: BTreeMap::from([(ObjectId::Root, Object::Map(BTreeMap::new()))]),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.changes.is_some()
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
            } else if let Some(meta) = self.changes.as_ref().and_then(|all| all.get(&hash))
                && seen.insert(hash)
            {
                merge_clock(&mut clock, &Clock::from([(meta.last.actor, meta.last.counter)]));
                pending.extend(&meta.deps);
            }
        }
        clock
    }

    /// The change whose hash begins so; `None`: the history, which must be whole, has none.
    pub(super) fn beginning_with(&self, beginning: &[u8; 16]) -> Option<[u8; 32]> {
        let mut least = [0; 32];
        least[..beginning.len()].copy_from_slice(beginning);
        let (hash, meta) = self.changes.as_ref()?.range(least..).next()?;
        (hash.starts_with(beginning) && !meta.is_genesis).then_some(*hash)
    }

    /// The hash of the actor's last change, which only a whole history knows.
    pub(super) fn tip_hash(&self, actor: ActorBytes) -> Option<[u8; 32]> {
        let last = OpId { counter: self.tip(actor)?.end_op, actor };
        let mut changes = self.changes.as_ref()?.iter();
        changes.find(|(_, meta)| meta.last == last).map(|(hash, _)| *hash)
    }

    /// Those of the changes, ascending, that no other of them builds on; the history must be whole.
    pub(super) fn latest_of(&self, hashes: &BTreeSet<[u8; 32]>) -> Vec<[u8; 32]> {
        let mut seen = BTreeSet::new();
        let mut pending: Vec<[u8; 32]> =
            hashes.iter().flat_map(|hash| self.deps(hash)).copied().collect();
        while let Some(hash) = pending.pop() {
            if seen.insert(hash) {
                pending.extend(self.deps(&hash));
            }
        }
        hashes.difference(&seen).copied().collect()
    }

    fn deps(&self, hash: &[u8; 32]) -> &[[u8; 32]] {
        let meta = self.changes.as_ref().and_then(|changes| changes.get(hash));
        meta.map_or(&[], |meta| &meta.deps)
    }

    /// What a change that builds on these, which are here, names as its dependencies: those of them that no other builds on.
    /// And they with all their ancestors. The history must be whole.
    pub(super) fn base(&self, hashes: &BTreeSet<[u8; 32]>) -> (Vec<[u8; 32]>, Clock) {
        // Mostly all the others are behind the newest one.
        let all_within = |clock: &Clock| hashes.iter().all(|hash| self.is_within(hash, clock));
        for hash in hashes {
            if let Some(clock) = self.heads.get(hash).filter(|clock| all_within(clock)) {
                return (vec![*hash], clock.clone());
            }
        }
        let deps = self.latest_of(hashes);
        let clock = self.clock(&deps);
        (deps, clock)
    }

    fn is_within(&self, hash: &[u8; 32], clock: &Clock) -> bool {
        let meta = self.changes.as_ref().and_then(|changes| changes.get(hash));
        meta.is_some_and(|meta| {
            clock.get(&meta.last.actor).is_some_and(|max| meta.last.counter <= *max)
        })
    }

    /// The genesis that a change is, if it is one.
    pub(super) fn genesis_of(&self, hash: &[u8; 32]) -> Option<&InitialChange> {
        let meta = self.changes.as_ref()?.get(hash)?;
        self.genesis.get(&meta.last.actor).filter(|_| meta.is_genesis)
    }

    /// Whether operations among `of` removed a value.
    pub(super) fn is_removed(&self, id: OpId, of: &Clock) -> bool {
        let removed_by = self.values.get(&id).map(|stored| &stored.removed_by[..]);
        let is_among = |id: &OpId| of.get(&id.actor).is_some_and(|max| id.counter <= *max);
        removed_by.is_some_and(|ids| ids.iter().any(is_among))
    }

    /// Whether the record has the change of this hash.
    pub(crate) fn presence(&self, hash: &[u8; 32]) -> Presence {
        if self.heads.contains_key(hash) {
            return Presence::Here;
        }
        match &self.changes {
            Some(changes) => match changes.get(hash) {
                Some(meta) if meta.is_genesis => Presence::Genesis,
                Some(_) => Presence::Here,
                None => Presence::Absent,
            },
            None if self.heads.is_empty() => Presence::Absent,
            None => Presence::Unknown,
        }
    }

    /// The greatest counter of an operation, 0 if there is none.
    pub(crate) fn max_op(&self) -> u64 {
        self.max_op
    }

    /// The number of values and changes that are here.
    pub(crate) fn item_count(&self) -> usize {
        self.values.len() + self.changes.as_ref().map_or(0, BTreeMap::len)
    }

    /// The actor's last change.
    pub(crate) fn tip(&self, actor: ActorBytes) -> Option<ActorTip> {
        self.actors.get(&actor).copied()
    }

    /// The first operation's counter and the time of the change that an operation belongs to; `None` for a genesis.
    pub(super) fn start_of(&self, id: OpId) -> Option<(u64, i64)> {
        let range = (id.actor, 0)..=(id.actor, id.counter);
        let ((_, start_op), time_ms) = self.times_ms.range(range).next_back()?;
        Some((*start_op, *time_ms))
    }

    /// When the change that an operation belongs to was made; 0 for a genesis.
    pub(crate) fn time_ms(&self, id: OpId) -> i64 {
        self.start_of(id).map_or(0, |(_, time_ms)| time_ms)
    }

    /// A value; a removed one is here only if the history is whole.
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

    /// Whether the value was made by a genesis that is here.
    pub(crate) fn is_of_genesis(&self, id: OpId) -> bool {
        self.genesis.contains_key(&id.actor)
    }

    /// Whether an actor is that of a genesis that is here.
    pub(super) fn is_of_genesis_actor(&self, actor: ActorBytes) -> bool {
        self.genesis.contains_key(&actor)
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

    /// Adds a genesis whose parents are here. A change that depends on it must follow.
    pub(crate) fn insert_genesis(&mut self, made: &GenesisChange) -> Result<(), Inconsistent> {
        let id = made.operation.id;
        self.perform(made.operation.clone())?;
        self.max_op = self.max_op.max(id.counter);
        self.genesis.insert(id.actor, made.genesis.clone());
        if let Some(changes) = &mut self.changes {
            let meta = ChangeMeta { last: id, deps: made.deps.clone(), is_genesis: true };
            changes.insert(made.hash, meta);
        }
        Ok(())
    }

    /// Adds a change whose dependencies are here. `genesis`: all that are among them, with the maps around them. After
    /// an error the history is unusable.
    pub(crate) fn insert(
        &mut self,
        change: Decoded,
        genesis: impl Iterator<Item = OpId>,
    ) -> Result<(), Inconsistent> {
        let end_op = change.end_op();
        for operation in change.operations {
            self.perform(operation)?;
        }
        let mut clock = self.clock(&change.deps);
        clock.extend(genesis.map(|id| (id.actor, id.counter)));
        clock.insert(change.actor, end_op);
        for dep in &change.deps {
            self.heads.remove(dep);
        }
        self.heads.insert(change.hash, clock);
        self.max_op = self.max_op.max(end_op);
        self.actors.insert(change.actor, ActorTip { seq: change.seq, end_op });
        self.times_ms.insert((change.actor, change.start_op), change.time_ms);
        if let Some(changes) = &mut self.changes {
            let last = OpId { counter: end_op, actor: change.actor };
            let meta = ChangeMeta { last, deps: change.deps, is_genesis: false };
            changes.insert(change.hash, meta);
        }
        Ok(())
    }

    fn perform(&mut self, operation: RecordOperation) -> Result<(), Inconsistent> {
        for pred in &operation.preds {
            self.affect(*pred, &operation)?;
        }
        let slot = match &operation.action {
            Action::Increment(_) | Action::Delete => return Ok(()),
            Action::Put(_) | Action::Make(_) => self.place(&operation)?,
        };
        let content = match operation.action {
            Action::Increment(_) | Action::Delete => return Ok(()),
            Action::Put(Value::Counter(start)) => HistoryContent::Counter(i128::from(start)),
            Action::Put(value) => HistoryContent::Register(value),
            Action::Make(shape) => {
                let object = Object::empty(shape);
                self.objects.insert(ObjectId::Made(operation.id), object);
                HistoryContent::Object(shape)
            }
        };
        let stored = Stored { object: operation.object, slot, content, removed_by: Vec::new() };
        self.values.insert(operation.id, stored);
        Ok(())
    }

    /// Removes or increments a value.
    fn affect(&mut self, pred: OpId, operation: &RecordOperation) -> Result<(), Inconsistent> {
        let stored = self
            .values
            .get_mut(&pred)
            .ok_or(Inconsistent("an operation acts on a value that is not there"))?;
        if let (Action::Increment(by), HistoryContent::Counter(sum)) =
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
    fn place(&mut self, operation: &RecordOperation) -> Result<Slot, Inconsistent> {
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
