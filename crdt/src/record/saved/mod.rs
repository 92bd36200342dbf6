//! The stored form of a record: what is live of its history, in [`crate::format::codec`] layout.
//!
//! Actors are reported once and named by their places: first those of sites, then those of the genesis, whose actors are
//! derived. Objects stand in the order in which their makers are met, the record itself first, so that none is named.
//! What no one can reach any more, in objects that were removed, is left out.
//!
//! `glance` reads the form a second time, without these types, for queries: who changes one changes the other.

mod glance;
mod values;
mod view;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

#[cfg(test)]
pub(super) use glance::tests::assert_as_decoded;

use super::change::chunk::Decoded;
use super::change::genesis::InitialChange;
use super::change::operation::{ActorBytes, ObjectId, OpId, Shape};
use super::history::live::Live;
use super::history::sequence::Sequence;
use super::history::{
    ActorTip, Clock, History, HistoryContent, Inconsistent, Object, Slot, Stored,
};
use super::limits::DEPTH_MAX;
use super::summary::PlainField;
use super::unreadable::Unreadable;
use super::value::Value;
use crate::format::codec;
use values::SavedValues;

#[derive(Serialize, Deserialize)]
struct Saved<'a> {
    max_op: u64,
    actors: Vec<Actor>,
    genesis: Vec<InitialChange>,
    heads: Vec<Head>,
    times: Vec<Time>,
    #[serde(borrow)]
    objects: Vec<SavedObject<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Actor {
    // As bytes: an array is read one by one.
    #[serde(with = "serde_bytes")]
    actor: [u8; 16],
    seq: u64,
    end_op: u64,
}

#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(with = "serde_bytes")]
    hash: [u8; 32],
    /// How far its ancestors go where that is not as far as the actor's, or the genesis', last.
    behind: Vec<Id>,
}

#[derive(Serialize, Deserialize)]
struct Time {
    actor: u32,
    start_op: u64,
    time_ms: i64,
}

/// An operation: its actor's place, and its counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Id {
    actor: u32,
    counter: u64,
}

#[derive(Serialize, Deserialize)]
enum SavedObject<'a> {
    #[serde(borrow)]
    Map(Vec<(&'a str, SavedValues<'a>)>),
    Sequence(Vec<SavedRun<'a>>),
}

#[derive(Clone, Serialize, Deserialize)]
struct SavedValue<'a> {
    id: Id,
    #[serde(borrow)]
    content: SavedContent<'a>,
}

#[derive(Clone, Serialize, Deserialize)]
enum SavedContent<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    #[serde(borrow)]
    Str(&'a str),
    Bytes(&'a [u8]),
    Timestamp(i64),
    Counter(i128),
    Map,
    List,
    Text,
}

/// Elements that one actor inserted one after the other, each behind the one before.
#[derive(Serialize, Deserialize)]
struct SavedRun<'a> {
    first: Id,
    after: Option<Id>,
    #[serde(borrow)]
    elements: Vec<SavedElement<'a>>,
}

#[derive(Serialize, Deserialize)]
enum SavedElement<'a> {
    Removed,
    /// It has the value that it was inserted with.
    #[serde(borrow)]
    Own(SavedContent<'a>),
    Values(SavedValues<'a>),
}

/// The stored form.
pub(crate) fn save(history: &History) -> Vec<u8> {
    let mut writer = SavedWriter::new(history);
    let mut objects = Vec::new();
    while let Some(object) = writer.pending.pop_front() {
        objects.extend(writer.object(object));
    }
    let saved = Saved {
        max_op: history.max_op,
        actors: history
            .actors
            .iter()
            .map(|(actor, tip)| Actor { actor: actor.0, seq: tip.seq, end_op: tip.end_op })
            .collect(),
        heads: history.heads.iter().map(|(hash, clock)| writer.head(*hash, clock)).collect(),
        times: writer
            .times
            .iter()
            .map(|((actor, start_op), time_ms)| Time {
                actor: *actor,
                start_op: *start_op,
                time_ms: *time_ms,
            })
            .collect(),
        genesis: history.genesis.values().cloned().collect(),
        objects,
    };
    codec::encode(&saved)
}

/// Room for what is stored of a change, and for the place and the value of a field beside its name.
const FIRST_BYTES: usize = 96;
const FIELD_BYTES: usize = 24;

/// The stored form of a record that has this one change, which gives each of these fields its one value.
pub(super) fn save_first(change: &Decoded, fields: &[PlainField<'_>]) -> Vec<u8> {
    let each = fields.iter().map(|(name, id, value)| {
        let id = Id { actor: 0, counter: id.counter };
        (*name, SavedValues::One(SavedValue { id, content: register(value) }))
    });
    let saved = Saved {
        max_op: change.end_op(),
        actors: vec![Actor { actor: change.actor.0, seq: change.seq, end_op: change.end_op() }],
        genesis: Vec::new(),
        heads: vec![Head { hash: change.hash, behind: Vec::new() }],
        times: vec![Time { actor: 0, start_op: change.start_op, time_ms: change.time_ms }],
        objects: vec![SavedObject::Map(each.collect())],
    };
    let fields_bytes: usize = fields.iter().map(|(name, ..)| name.len() + FIELD_BYTES).sum();
    codec::encode_sized(&saved, FIRST_BYTES + fields_bytes)
}

fn register(value: &Value) -> SavedContent<'_> {
    match value {
        Value::Bool(b) => SavedContent::Bool(*b),
        Value::Int(n) | Value::Counter(n) => SavedContent::Int(*n),
        Value::Float(n) => SavedContent::Float(*n),
        Value::Str(s) | Value::Text(s) => SavedContent::Str(s),
        Value::Bytes(b) => SavedContent::Bytes(b),
        Value::Timestamp(ms) => SavedContent::Timestamp(*ms),
        // Objects are never registers.
        Value::Null | Value::List(_) | Value::Map(_) => SavedContent::Null,
    }
}

struct SavedWriter<'h> {
    history: &'h History,
    /// The places of actors.
    places: BTreeMap<ActorBytes, u32>,
    /// When the changes of the values that were written were made, by their actors' places and their first operations.
    times: BTreeMap<(u32, u64), i64>,
    /// Objects that are yet to be written.
    pending: VecDeque<ObjectId>,
}

impl<'h> SavedWriter<'h> {
    fn new(history: &'h History) -> Self {
        let actors = history.actors.keys().chain(history.genesis.keys());
        let places = actors.copied().zip(0..).collect();
        let pending = VecDeque::from([ObjectId::Root]);
        SavedWriter { history, places, times: BTreeMap::new(), pending }
    }

    fn id(&self, id: OpId) -> Id {
        // Every operation is by an actor of the record.
        let actor = self.places.get(&id.actor).copied().unwrap_or(u32::MAX);
        Id { actor, counter: id.counter }
    }

    fn head(&self, hash: [u8; 32], clock: &Clock) -> Head {
        let last = self.history.actors.iter().map(|(actor, tip)| (*actor, tip.end_op));
        let genesis = self.history.genesis.iter();
        let genesis = genesis.map(|(actor, genesis)| (*actor, genesis.path.len() as u64));
        let behind = last.chain(genesis).filter_map(|(actor, last)| {
            let counter = clock.get(&actor).copied().unwrap_or(0);
            (counter != last).then(|| self.id(OpId { counter, actor }))
        });
        Head { hash, behind: behind.collect() }
    }

    fn object(&mut self, object: ObjectId) -> Option<SavedObject<'h>> {
        Some(match self.history.object(object)? {
            Object::Map(fields) => {
                let live = fields.iter().filter(|(_, live)| !live.is_empty());
                let fields = live.map(|(name, live)| (name.as_str(), self.values(live)));
                SavedObject::Map(fields.collect())
            }
            Object::Sequence(elements) => SavedObject::Sequence(self.runs(elements)),
        })
    }

    fn values(&mut self, live: &Live) -> SavedValues<'h> {
        let values = live.iter().filter_map(|id| {
            let content = self.content(id)?;
            Some(SavedValue { id: self.id(id), content })
        });
        SavedValues::Several(values.collect())
    }

    fn content(&mut self, id: OpId) -> Option<SavedContent<'h>> {
        let stored = self.history.value(id)?;
        if let Some((start_op, time_ms)) = self.history.start_of(id) {
            let actor = self.id(id).actor;
            self.times.insert((actor, start_op), time_ms);
        }
        Some(match &stored.content {
            HistoryContent::Register(value) => register(value),
            HistoryContent::Counter(sum) => SavedContent::Counter(*sum),
            HistoryContent::Object(shape) => {
                self.pending.push_back(ObjectId::Made(id));
                match shape {
                    Shape::Map => SavedContent::Map,
                    Shape::List => SavedContent::List,
                    Shape::Text => SavedContent::Text,
                }
            }
        })
    }

    fn runs(&mut self, sequence: &'h Sequence) -> Vec<SavedRun<'h>> {
        let mut elements: Vec<(OpId, Option<OpId>, &Live)> = sequence.elements().collect();
        elements.sort_unstable_by_key(|(id, _, _)| (id.actor, id.counter));
        let mut runs: Vec<SavedRun<'h>> = Vec::new();
        let mut last: Option<OpId> = None;
        for (id, after, live) in elements {
            let element = match live {
                Live::None => SavedElement::Removed,
                Live::One(own) if *own == id => match self.content(id) {
                    Some(content) => SavedElement::Own(content),
                    None => SavedElement::Removed,
                },
                Live::One(_) | Live::Many(_) => SavedElement::Values(self.values(live)),
            };
            let follows = last.is_some_and(|last| {
                after == Some(last) && id.actor == last.actor && id.counter == last.counter + 1
            });
            match runs.last_mut().filter(|_| follows) {
                Some(run) => run.elements.push(element),
                None => {
                    let after = after.map(|after| self.id(after));
                    runs.push(SavedRun { first: self.id(id), after, elements: vec![element] });
                }
            }
            last = Some(id);
        }
        runs
    }
}

/// Reads [`save`].
pub(crate) fn load(bytes: &[u8]) -> Result<History, Unreadable> {
    let Saved { max_op, actors, genesis, heads, times, objects } = codec::decode("record", bytes)?;
    let mut reader = SavedReader::new(max_op, actors, genesis);
    for Head { hash, behind } in heads {
        reader.head(hash, behind)?;
    }
    for Time { actor, start_op, time_ms } in times {
        let id = reader.id(Id { actor, counter: start_op })?;
        reader.history.times_ms.insert((id.actor, start_op), time_ms);
    }
    for saved in objects {
        let object = reader.pending.pop_front().ok_or(Inconsistent("an object has no maker"))?;
        reader.object(object, saved)?;
        // Readers follow the objects down.
        if reader.history.depth(object) > DEPTH_MAX {
            return Err(Inconsistent("an object lies too deep").into());
        }
    }
    if reader.pending.is_empty() {
        Ok(reader.history)
    } else {
        Err(Inconsistent("an object is not there").into())
    }
}

struct SavedReader {
    history: History,
    /// The last operation of each actor, by place.
    last: Vec<OpId>,
    /// Objects that are yet to be read.
    pending: VecDeque<ObjectId>,
}

impl SavedReader {
    fn new(max_op: u64, actors: Vec<Actor>, genesis: Vec<InitialChange>) -> Self {
        let mut history = History::without_changes();
        history.max_op = max_op;
        let mut last = Vec::with_capacity(actors.len() + genesis.len());
        for Actor { actor, seq, end_op } in actors {
            let actor = ActorBytes(actor);
            last.push(OpId { counter: end_op, actor });
            history.actors.insert(actor, ActorTip { seq, end_op });
        }
        for genesis in genesis {
            let id = genesis.op_id();
            last.push(id);
            history.genesis.insert(id.actor, genesis);
        }
        Self { history, last, pending: VecDeque::from([ObjectId::Root]) }
    }

    fn id(&self, id: Id) -> Result<OpId, Inconsistent> {
        let last = self.last.get(id.actor as usize);
        let actor = last.ok_or(Inconsistent("an operation is of no actor"))?.actor;
        Ok(OpId { counter: id.counter, actor })
    }

    fn head(&mut self, hash: [u8; 32], behind: Vec<Id>) -> Result<(), Inconsistent> {
        let mut clock: Clock = self.last.iter().map(|id| (id.actor, id.counter)).collect();
        for id in behind {
            let id = self.id(id)?;
            match id.counter {
                0 => clock.remove(&id.actor),
                counter => clock.insert(id.actor, counter),
            };
        }
        self.history.heads.insert(hash, clock);
        Ok(())
    }

    fn object(&mut self, object: ObjectId, saved: SavedObject<'_>) -> Result<(), Inconsistent> {
        let made = match saved {
            SavedObject::Map(fields) => {
                let mut map = BTreeMap::new();
                for (name, values) in fields {
                    let slot = Slot::Field(name.into());
                    let live = self.values(object, &slot, values.into_vec())?;
                    map.insert(name.into(), live);
                }
                Object::Map(map)
            }
            SavedObject::Sequence(runs) => {
                let mut sequence = Sequence::default();
                for run in runs {
                    self.run(object, run, &mut sequence)?;
                }
                Object::Sequence(sequence)
            }
        };
        match (self.history.object(object), &made) {
            (Some(Object::Map(_)), Object::Map(_))
            | (Some(Object::Sequence(_)), Object::Sequence(_)) => {}
            (Some(Object::Map(_) | Object::Sequence(_)) | None, _) => {
                return Err(Inconsistent("an object is of another kind than its maker says"));
            }
        }
        self.history.objects.insert(object, made);
        Ok(())
    }

    fn run(
        &mut self,
        object: ObjectId,
        run: SavedRun<'_>,
        sequence: &mut Sequence,
    ) -> Result<(), Inconsistent> {
        let first = self.id(run.first)?;
        let mut after = run.after.map(|after| self.id(after)).transpose()?;
        for (element, counter) in run.elements.into_iter().zip(first.counter..) {
            let values = match element {
                SavedElement::Removed => Vec::new(),
                SavedElement::Own(content) => {
                    let own = Id { actor: run.first.actor, counter };
                    vec![SavedValue { id: own, content }]
                }
                SavedElement::Values(values) => values.into_vec(),
            };
            let id = OpId { counter, actor: first.actor };
            let live = self.values(object, &Slot::Element(id), values)?;
            sequence.restore(id, after, live);
            after = Some(id);
        }
        Ok(())
    }

    fn values(
        &mut self,
        object: ObjectId,
        slot: &Slot,
        saved: Vec<SavedValue<'_>>,
    ) -> Result<Live, Inconsistent> {
        let mut live = Live::None;
        for SavedValue { id, content } in saved {
            let id = self.id(id)?;
            let content = match content {
                SavedContent::Null => HistoryContent::Register(Value::Null),
                SavedContent::Bool(b) => HistoryContent::Register(Value::Bool(b)),
                SavedContent::Int(n) => HistoryContent::Register(Value::Int(n)),
                SavedContent::Float(n) => HistoryContent::Register(Value::Float(n)),
                SavedContent::Str(s) => HistoryContent::Register(Value::Str(s.to_owned())),
                SavedContent::Bytes(b) => HistoryContent::Register(Value::Bytes(b.to_vec())),
                SavedContent::Timestamp(ms) => HistoryContent::Register(Value::Timestamp(ms)),
                SavedContent::Counter(sum) => HistoryContent::Counter(sum),
                SavedContent::Map => self.made(id, Shape::Map),
                SavedContent::List => self.made(id, Shape::List),
                SavedContent::Text => self.made(id, Shape::Text),
            };
            let stored = Stored { object, slot: slot.clone(), content, removed_by: Vec::new() };
            if self.history.values.insert(id, stored).is_some() {
                return Err(Inconsistent("two values are of one operation"));
            }
            live.insert(id);
        }
        Ok(live)
    }

    fn made(&mut self, id: OpId, shape: Shape) -> HistoryContent {
        self.history.objects.insert(ObjectId::Made(id), Object::empty(shape));
        self.pending.push_back(ObjectId::Made(id));
        HistoryContent::Object(shape)
    }
}
