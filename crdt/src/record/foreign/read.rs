//! A document as Automerge reads it: its changes, in an order in which they can be taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType};
use automerge::{ActorId, Automerge, Change, ObjType, ScalarValue};
use smol_str::SmolStr;

use super::super::change::operation::{ActorBytes, Shape};
use super::super::value::Value;
use super::chunks::{Chunk, split};
use super::fault::DocumentFault;
use super::limits::{DOCUMENT_CHANGES_MAX, DOCUMENT_OPERATIONS_MAX};

/// A document that another program may have edited: what its changes say, not yet looked at in the light of a record.
#[derive(Debug, Clone)]
pub struct ForeignDocument {
    /// All actors, ascending.
    actors: Vec<Vec<u8>>,
    /// Each behind those of them that it builds on.
    pub(super) changes: Vec<ForeignChange>,
}

/// A change as the document has it.
#[derive(Debug, Clone)]
pub(super) struct ForeignChange {
    pub(super) hash: [u8; 32],
    pub(super) actor: u32,
    pub(super) deps: Vec<[u8; 32]>,
    /// The counter of its first operation; the others count up from there.
    pub(super) start_op: u64,
    pub(super) operations: Vec<ForeignOperation>,
}

/// The identity of an operation in the document. Ordered as Automerge orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ForeignId {
    pub(super) counter: u64,
    /// Its place among the document's actors.
    pub(super) actor: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForeignObject {
    Root,
    Made(ForeignId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ForeignKey {
    Field(SmolStr),
    Head,
    Element(ForeignId),
}

#[derive(Debug, Clone)]
pub(super) enum ForeignAction {
    Put(ForeignValue),
    Make(Shape),
    Increment(i64),
    Delete,
    Table,
    Mark,
}

#[derive(Debug, Clone)]
pub(super) enum ForeignValue {
    Known(Value),
    /// More than a signed integer can be.
    Unsigned(u64),
    /// Of a type that Automerge itself does not know.
    Unknown(u8),
}

#[derive(Debug, Clone)]
pub(super) struct ForeignOperation {
    pub(super) object: ForeignObject,
    pub(super) key: ForeignKey,
    pub(super) insert: bool,
    pub(super) action: ForeignAction,
    /// The values that it replaces, or increments.
    pub(super) preds: Vec<ForeignId>,
}

impl ForeignDocument {
    /// Reads a saved document, a series of changes, or both one behind the other. The bytes may come from anyone.
    ///
    /// # Errors
    /// [`DocumentFault`].
    pub fn read(bytes: &[u8]) -> Result<Self, DocumentFault> {
        let chunks = split(bytes)?;
        let read = catch_unwind(AssertUnwindSafe(|| read_changes(chunks)));
        let changes = read.map_err(|_| DocumentFault::Panic)??;
        let mut actors = BTreeSet::new();
        changes.values().for_each(|change| note_actors(change, &mut actors));
        let actors: Vec<Vec<u8>> =
            actors.into_iter().map(|actor| actor.to_bytes().to_vec()).collect();
        let reader = DocumentReader { actors: &actors };
        let mut read = BTreeMap::new();
        for (hash, change) in changes {
            read.insert(hash, reader.change(hash, change)?);
        }
        let changes = in_order(read);
        Ok(Self { actors, changes })
    }

    /// The number of its changes, those of sites and what all sites share among them.
    #[must_use]
    pub fn change_count(&self) -> usize {
        self.changes.len()
    }

    /// The hashes of its changes.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.changes.iter().map(|change| &change.hash)
    }

    /// Its actors that may be those of sites.
    pub(crate) fn site_actors(&self) -> impl Iterator<Item = ActorBytes> {
        self.actors.iter().filter_map(|actor| actor.as_slice().try_into().ok().map(ActorBytes))
    }

    /// An actor's bytes, which are of any length.
    pub(super) fn actor(&self, place: u32) -> &[u8] {
        self.actors.get(place as usize).map_or(&[], Vec::as_slice)
    }

    /// An actor that may be a site's.
    pub(super) fn site_actor(&self, place: u32) -> Option<ActorBytes> {
        self.actor(place).try_into().ok().map(ActorBytes)
    }
}

impl ForeignAction {
    /// Whether it adds to what it names, and does not replace it.
    pub(super) fn is_increment(&self) -> bool {
        matches!(self, Self::Increment(_))
    }
}

impl ForeignChange {
    pub(super) fn id(&self, index: usize) -> ForeignId {
        ForeignId { counter: self.start_op + index as u64, actor: self.actor }
    }
}

/// The changes of all chunks, decoded, by their hashes.
fn read_changes(
    chunks: Vec<Chunk>,
) -> Result<BTreeMap<[u8; 32], automerge::legacy::Change>, DocumentFault> {
    let refused = |error: &dyn std::fmt::Display| DocumentFault::Automerge(error.to_string());
    let mut changes = BTreeMap::new();
    let mut operations = 0;
    for chunk in chunks {
        let read = match chunk {
            Chunk::Document(bytes) => {
                let document = Automerge::load(&bytes).map_err(|error| refused(&error))?;
                document.get_changes(&[])
            }
            Chunk::Change(bytes) => {
                vec![Change::try_from(&bytes[..]).map_err(|error| refused(&error))?]
            }
        };
        for change in read {
            operations += change.len() as u64;
            if operations > DOCUMENT_OPERATIONS_MAX {
                return Err(DocumentFault::TooManyRows { max: DOCUMENT_OPERATIONS_MAX });
            }
            changes.insert(change.hash().0, change.decode());
            if changes.len() as u64 > DOCUMENT_CHANGES_MAX {
                return Err(DocumentFault::TooManyRows { max: DOCUMENT_CHANGES_MAX });
            }
        }
    }
    Ok(changes)
}

fn note_actors(change: &automerge::legacy::Change, actors: &mut BTreeSet<ActorId>) {
    let mut note = |id: &OpId| {
        if !actors.contains(&id.1) {
            actors.insert(id.1.clone());
        }
    };
    note(&OpId(0, change.actor_id.clone()));
    for operation in &change.operations {
        if let ObjectId::Id(id) = &operation.obj {
            note(id);
        }
        if let Key::Seq(ElementId::Id(id)) = &operation.key {
            note(id);
        }
        operation.pred.iter().for_each(&mut note);
    }
}

struct DocumentReader<'a> {
    actors: &'a [Vec<u8>],
}

impl DocumentReader<'_> {
    fn change(
        &self,
        hash: [u8; 32],
        change: automerge::legacy::Change,
    ) -> Result<ForeignChange, DocumentFault> {
        let start_op = change.start_op.get();
        let end_op = start_op.checked_add(change.operations.len() as u64);
        // Automerge counts in 32 bits.
        if end_op.is_none_or(|end_op| end_op > u64::from(u32::MAX)) {
            return Err(DocumentFault::Counter { found: start_op });
        }
        let operations = change.operations.iter().map(|operation| self.operation(operation));
        Ok(ForeignChange {
            hash,
            actor: self.place(&change.actor_id),
            deps: change.deps.iter().map(|dep| dep.0).collect(),
            start_op,
            operations: operations.collect(),
        })
    }

    fn place(&self, actor: &ActorId) -> u32 {
        let bytes = actor.to_bytes();
        let place = self.actors.binary_search_by(|other| other.as_slice().cmp(bytes));
        // All were noted.
        place.unwrap_or_default() as u32
    }

    fn id(&self, id: &OpId) -> ForeignId {
        ForeignId { counter: id.0, actor: self.place(&id.1) }
    }

    fn operation(&self, operation: &Op) -> ForeignOperation {
        ForeignOperation {
            object: match &operation.obj {
                ObjectId::Root => ForeignObject::Root,
                ObjectId::Id(id) => ForeignObject::Made(self.id(id)),
            },
            key: match &operation.key {
                Key::Map(name) => ForeignKey::Field(name.clone()),
                Key::Seq(ElementId::Head) => ForeignKey::Head,
                Key::Seq(ElementId::Id(id)) => ForeignKey::Element(self.id(id)),
            },
            insert: operation.insert,
            action: match &operation.action {
                OpType::Make(ObjType::Map) => ForeignAction::Make(Shape::Map),
                OpType::Make(ObjType::List) => ForeignAction::Make(Shape::List),
                OpType::Make(ObjType::Text) => ForeignAction::Make(Shape::Text),
                OpType::Make(ObjType::Table) => ForeignAction::Table,
                OpType::Delete => ForeignAction::Delete,
                OpType::Increment(by) => ForeignAction::Increment(*by),
                OpType::Put(value) => ForeignAction::Put(scalar(value)),
                OpType::MarkBegin(_) | OpType::MarkEnd(_) => ForeignAction::Mark,
            },
            preds: operation.pred.iter().map(|id| self.id(id)).collect(),
        }
    }
}

fn scalar(value: &ScalarValue) -> ForeignValue {
    ForeignValue::Known(match value {
        ScalarValue::Null => Value::Null,
        ScalarValue::Boolean(b) => Value::Bool(*b),
        ScalarValue::Int(n) => Value::Int(*n),
        ScalarValue::Uint(n) => match i64::try_from(*n) {
            Ok(n) => Value::Int(n),
            Err(_) => return ForeignValue::Unsigned(*n),
        },
        ScalarValue::F64(n) => Value::Float(*n),
        ScalarValue::Str(s) => Value::Str(s.to_string()),
        ScalarValue::Bytes(b) => Value::Bytes(b.clone()),
        ScalarValue::Counter(n) => Value::Counter(n.into()),
        ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
        ScalarValue::Unknown { type_code, .. } => return ForeignValue::Unknown(*type_code),
    })
}

/// The changes, each behind those of them that it builds on; of those that could be next the one with the least first
/// operation, and of those with the same the one by the least actor: so what is made of them stands in the order that
/// Automerge gives them, mostly. A change is named by the hash of what it says, so that there are no circles.
fn in_order(mut changes: BTreeMap<[u8; 32], ForeignChange>) -> Vec<ForeignChange> {
    let mut waiting: BTreeMap<[u8; 32], Vec<[u8; 32]>> = BTreeMap::new();
    let mut lacking: BTreeMap<[u8; 32], usize> = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for (hash, change) in &changes {
        let here = change.deps.iter().filter(|dep| changes.contains_key(*dep));
        let count = here.clone().count();
        here.for_each(|dep| waiting.entry(*dep).or_default().push(*hash));
        if count == 0 {
            ready.insert((change.start_op, change.actor, *hash));
        }
        lacking.insert(*hash, count);
    }
    let mut ordered = Vec::with_capacity(changes.len());
    while let Some((_, _, hash)) = ready.pop_first() {
        for next in waiting.remove(&hash).unwrap_or_default() {
            if let Some(count) = lacking.get_mut(&next) {
                *count -= 1;
                if *count == 0
                    && let Some(change) = changes.get(&next)
                {
                    ready.insert((change.start_op, change.actor, next));
                }
            }
        }
        ordered.extend(changes.remove(&hash));
    }
    ordered
}
