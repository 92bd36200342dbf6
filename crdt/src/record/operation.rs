//! Operations: what changes are made of.
//!
//! These are Automerge's operations in a form of our own, of which only what the format knows can
//! be built.

use automerge::legacy;
use automerge::{ActorId, ObjType, ScalarValue};
use serde::{Deserialize, Serialize};

use super::value::Value;

/// The Automerge actor of one incarnation of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorBytes(pub [u8; 16]);

/// The identity of an operation. Greater means later, and the greatest of several concurrent
/// values is the one that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OpId {
    pub(crate) counter: u64,
    pub(crate) actor: ActorBytes,
}

/// A map, list or text, named by the operation that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ObjectId {
    /// The record itself.
    Root,
    Made(OpId),
}

/// Where in its object an operation acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A field of a map.
    Field(String),
    /// The beginning of a list or text, to insert after.
    Head,
    /// An element of a list or text, to act on or to insert after.
    Element(OpId),
}

/// What kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Map,
    List,
    Text,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Writes a value that is no object.
    Put(Value),
    Make(Shape),
    Increment(i64),
    Delete,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Operation {
    pub(crate) id: OpId,
    pub(crate) object: ObjectId,
    pub(crate) key: Key,
    /// Whether it makes a new element after `key`.
    pub(crate) insert: bool,
    pub(crate) action: Action,
    /// The values that it removes, or that it increments. Ascending.
    pub(crate) preds: Vec<OpId>,
}

/// What the format does not know of Automerge's operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnknownOperation {
    /// An actor whose id has not 16 bytes.
    #[error("an actor id of {found} bytes, expected 16")]
    Actor {
        /// The length of the id in bytes.
        found: usize,
    },
    /// A table.
    #[error("a table, which the format does not know")]
    Table,
    /// A mark on a text.
    #[error("a mark on a text, which the format does not know")]
    Mark,
    /// A value of Automerge's unsigned type. The format has one type of integers.
    #[error("an unsigned integer, which the format does not know")]
    Unsigned,
    /// A value of a type that Automerge does not know.
    #[error("a value of the unknown type {code}")]
    Type {
        /// Automerge's code of the type.
        code: u8,
    },
}

impl OpId {
    /// Less than every other.
    pub(crate) const MIN: OpId = OpId { counter: 0, actor: ActorBytes([0; 16]) };
    /// Greater than every other.
    pub(crate) const MAX: OpId = OpId { counter: u64::MAX, actor: ActorBytes([u8::MAX; 16]) };

    pub(crate) fn to_automerge(self) -> legacy::OpId {
        legacy::OpId(self.counter, ActorId::from(self.actor.0))
    }

    fn from_automerge(id: &legacy::OpId) -> Result<OpId, UnknownOperation> {
        Ok(OpId { counter: id.counter(), actor: actor_from_automerge(id.actor())? })
    }
}

pub(crate) fn actor_from_automerge(actor: &ActorId) -> Result<ActorBytes, UnknownOperation> {
    let bytes = actor.to_bytes();
    match bytes.try_into() {
        Ok(bytes) => Ok(ActorBytes(bytes)),
        Err(_) => Err(UnknownOperation::Actor { found: bytes.len() }),
    }
}

impl Operation {
    pub(crate) fn from_automerge(id: OpId, op: &legacy::Op) -> Result<Operation, UnknownOperation> {
        let object = match &op.obj {
            legacy::ObjectId::Root => ObjectId::Root,
            legacy::ObjectId::Id(id) => ObjectId::Made(OpId::from_automerge(id)?),
        };
        let key = match &op.key {
            legacy::Key::Map(name) => Key::Field(name.as_str().to_owned()),
            legacy::Key::Seq(legacy::ElementId::Head) => Key::Head,
            legacy::Key::Seq(legacy::ElementId::Id(id)) => Key::Element(OpId::from_automerge(id)?),
        };
        let action = match &op.action {
            legacy::OpType::Make(ObjType::Map) => Action::Make(Shape::Map),
            legacy::OpType::Make(ObjType::List) => Action::Make(Shape::List),
            legacy::OpType::Make(ObjType::Text) => Action::Make(Shape::Text),
            legacy::OpType::Make(ObjType::Table) => return Err(UnknownOperation::Table),
            legacy::OpType::Delete => Action::Delete,
            legacy::OpType::Increment(by) => Action::Increment(*by),
            legacy::OpType::Put(value) => Action::Put(value_from_automerge(value)?),
            legacy::OpType::MarkBegin(_) | legacy::OpType::MarkEnd(_) => {
                return Err(UnknownOperation::Mark);
            }
        };
        let preds: Result<Vec<OpId>, _> = op.pred.iter().map(OpId::from_automerge).collect();
        Ok(Operation { id, object, key, insert: op.insert, action, preds: preds? })
    }

    pub(crate) fn to_automerge(&self) -> legacy::Op {
        legacy::Op {
            action: match &self.action {
                Action::Put(value) => legacy::OpType::Put(value_to_automerge(value)),
                Action::Make(Shape::Map) => legacy::OpType::Make(ObjType::Map),
                Action::Make(Shape::List) => legacy::OpType::Make(ObjType::List),
                Action::Make(Shape::Text) => legacy::OpType::Make(ObjType::Text),
                Action::Increment(by) => legacy::OpType::Increment(*by),
                Action::Delete => legacy::OpType::Delete,
            },
            obj: match self.object {
                ObjectId::Root => legacy::ObjectId::Root,
                ObjectId::Made(id) => legacy::ObjectId::Id(id.to_automerge()),
            },
            key: match &self.key {
                Key::Field(name) => legacy::Key::Map(name.as_str().into()),
                Key::Head => legacy::Key::Seq(legacy::ElementId::Head),
                Key::Element(id) => legacy::Key::Seq(legacy::ElementId::Id(id.to_automerge())),
            },
            pred: self.preds.iter().map(|id| id.to_automerge()).collect(),
            insert: self.insert,
        }
    }
}

fn value_from_automerge(value: &ScalarValue) -> Result<Value, UnknownOperation> {
    Ok(match value {
        ScalarValue::Null => Value::Null,
        ScalarValue::Boolean(b) => Value::Bool(*b),
        ScalarValue::Int(n) => Value::Int(*n),
        ScalarValue::F64(n) => Value::Float(*n),
        ScalarValue::Str(s) => Value::Str(s.as_str().to_owned()),
        ScalarValue::Bytes(b) => Value::Bytes(b.clone()),
        ScalarValue::Timestamp(ms) => Value::Timestamp(*ms),
        ScalarValue::Counter(n) => Value::Counter(i64::from(n)),
        ScalarValue::Uint(_) => return Err(UnknownOperation::Unsigned),
        ScalarValue::Unknown { type_code, .. } => {
            return Err(UnknownOperation::Type { code: *type_code });
        }
    })
}

fn value_to_automerge(value: &Value) -> ScalarValue {
    match value {
        Value::Bool(b) => ScalarValue::Boolean(*b),
        Value::Int(n) => ScalarValue::Int(*n),
        Value::Float(n) => ScalarValue::F64(*n),
        Value::Str(s) => ScalarValue::Str(s.as_str().into()),
        Value::Bytes(b) => ScalarValue::Bytes(b.clone()),
        Value::Timestamp(ms) => ScalarValue::Timestamp(*ms),
        Value::Counter(n) => ScalarValue::counter(*n),
        // Texts, lists and maps are made, never put.
        Value::Null | Value::Text(_) | Value::List(_) | Value::Map(_) => ScalarValue::Null,
    }
}
