//! Operations: what changes are made of.
//!
//! These are Automerge's operations in a form of our own, of which only what the format knows can
//! be built.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::Author;
use crate::record::value::Value;

/// The Automerge actor of one incarnation of one site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorBytes(pub [u8; 16]);

/// Whose change it is. A change in a branch of a log that forks counts as of an actor of its own, made of its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeActor {
    /// As the change says.
    pub(crate) signed: ActorBytes,
    /// Whether it is in a branch.
    pub(crate) is_of_branch: bool,
}

impl ChangeActor {
    /// Of an author's entry that is in this log.
    #[must_use]
    pub fn of(author: Author, log: Author) -> Self {
        Self { signed: ActorBytes(author.actor()), is_of_branch: log != author }
    }

    /// The actor that the change with this hash counts as.
    pub(crate) fn counted(&self, hash: &[u8; 32]) -> ActorBytes {
        if !self.is_of_branch {
            return self.signed;
        }
        let mut hasher =
            blake3::Hasher::new_derive_key("branchline 1 actor of a change in a branch");
        hasher.update(&self.signed.0);
        hasher.update(hash);
        let mut actor = [0; 16];
        actor.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        ActorBytes(actor)
    }
}

impl From<ActorBytes> for ChangeActor {
    fn from(actor: ActorBytes) -> Self {
        Self { signed: actor, is_of_branch: false }
    }
}

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
    Field(SmolStr),
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

impl Action {
    /// The kind of the object that it makes.
    pub(crate) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Make(shape) => Some(*shape),
            Self::Put(_) | Self::Increment(_) | Self::Delete => None,
        }
    }
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordOperation {
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
    /// A table.
    #[error("a table, which the format does not know")]
    Table,
    /// A mark on a text.
    #[error("a mark on a text, which the format does not know")]
    Mark,
    /// An action that Automerge does not know.
    #[error("an operation with the unknown action {code}")]
    Action {
        /// Automerge's code of the action.
        code: u64,
    },
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
    pub(crate) const MIN: Self = Self { counter: 0, actor: ActorBytes([0; 16]) };
    /// Greater than every other.
    pub(crate) const MAX: Self = Self { counter: u64::MAX, actor: ActorBytes([u8::MAX; 16]) };
}
