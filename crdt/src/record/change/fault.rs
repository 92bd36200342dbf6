//! What can be wrong with a change.

use super::chunk::ChunkFault;
use super::genesis::GenesisFault;
use super::operation::ActorBytes;
use crate::record::limits::{
    COUNTER_MAX, DEPTH_MAX, GENESIS_MAX, INCREMENT_MAX, NameError, OPERATIONS_MAX, VALUE_BYTES_MAX,
};

/// Why a change is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Verdict {
    /// Changes that it depends on are not here. Not a fault: it may be accepted once they are.
    #[error("the change depends on {} changes that are not here", .0.len())]
    Missing(Vec<[u8; 32]>),
    /// The record is here without what is gone from it, and the change cannot be judged without that. Neither a fault:
    /// to be judged again by the whole history ([`crate::record::Document::of_changes`]).
    #[error("the change can only be judged by the whole history of its record")]
    NeedsHistory,
    /// The change is bad, and every replica that has its ancestors says so.
    #[error("the change is bad")]
    Fault(#[from] Fault),
}

/// What is wrong with a change. Its author is at fault, or uses a broken implementation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes are no change of the format.
    #[error("the bytes are not a change in the expected format")]
    Chunk(#[from] ChunkFault),
    /// It relies on too many genesis.
    #[error("the change relies on {found} genesis, at most {GENESIS_MAX} are allowed")]
    TooManyGenesis {
        /// How many.
        found: usize,
    },
    /// A genesis is not one of the format.
    #[error("a genesis is not one of the format")]
    Genesis(#[from] GenesisFault),
    /// The genesis are not sorted, or one is named twice.
    #[error("the genesis of the change are not sorted, or one is named twice")]
    GenesisOrder,
    /// A genesis is named that is no dependency of the change.
    #[error("the change names a genesis of {path:?} that it does not depend on")]
    GenesisUnused {
        /// Its path.
        path: Vec<String>,
    },
    /// A genesis has the actor of the change's author.
    #[error("a genesis has the actor of the change's author")]
    GenesisActor,
    /// The change is by another actor than its author's.
    #[error("the change is by actor {found:?}, expected {expected:?}")]
    Actor {
        /// The actor of the change.
        found: ActorBytes,
        /// The actor of the author.
        expected: ActorBytes,
    },
    /// It has too many operations.
    #[error("the change has {found} operations, at most {OPERATIONS_MAX} are allowed")]
    TooManyOperations {
        /// How many.
        found: usize,
    },
    /// An operation's counter is too great.
    #[error("the operations count up to {found}, at most {COUNTER_MAX} is allowed")]
    Counter {
        /// The greatest counter.
        found: u64,
    },
    /// The dependencies are not sorted, or one is named twice.
    #[error("the dependencies of the change are not sorted, or one is named twice")]
    DepsOrder,
    /// The change is not the next one of its actor.
    #[error("the change is number {found} of its actor, expected {expected}")]
    Seq {
        /// Its number.
        found: u64,
        /// The number that comes next.
        expected: u64,
    },
    /// The actor's previous change is not among the ancestors.
    #[error("the actor's previous change is not among the ancestors of the change")]
    PreviousNotAncestor,
    /// The first operation's counter does not follow the ancestors'.
    #[error("the operations begin at {found}, expected {expected}")]
    StartOp {
        /// The first counter.
        found: u64,
        /// The counter after the greatest of the ancestors.
        expected: u64,
    },
    /// One of the operations is bad.
    #[error("operation {index} of the change is bad")]
    Operation {
        /// Its place in the change, from 0.
        index: usize,
        /// What is wrong with it.
        source: OperationFault,
    },
}

/// What is wrong with an operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationFault {
    /// Its object is not among the ancestors.
    #[error("it acts on an object that is not among the ancestors")]
    NoObject,
    /// Its key is not one of such an object.
    #[error("its key is not one of such an object")]
    KeyShape,
    /// Its field name is not one of the format.
    #[error("it names a field against the format")]
    Name(#[from] NameError),
    /// Its element is not in that object among the ancestors.
    #[error("it acts on an element that is not in its object among the ancestors")]
    NoElement,
    /// It inserts an element and removes something, or is no value.
    #[error("it inserts an element and is not just a value")]
    Insert,
    /// It removes or increments what is not a live value of the same field or element.
    #[error("it removes or increments something that is not a live value of its field or element")]
    NotLive,
    /// It removes or increments nothing, and is of a sort that must.
    #[error("it names nothing that it removes or increments")]
    NoPred,
    /// It increments no counter.
    #[error("it increments something that is not a counter")]
    NoCounter,
    /// The amount is too great.
    #[error(
        "it increments by, or starts a counter at, {found}; at most {INCREMENT_MAX} either way"
    )]
    Amount {
        /// The amount.
        found: i64,
    },
    /// The value is too large.
    #[error("its value has {found} bytes, at most {VALUE_BYTES_MAX} are allowed")]
    ValueSize {
        /// The size in bytes.
        found: usize,
    },
    /// A text gets what is not a piece of text.
    #[error("a text consists of inserted strings that are not empty alone")]
    NotText,
    /// `_deleted` gets what is neither true nor false.
    #[error("the field _deleted must be true or false")]
    Deleted,
    /// It makes an object too deep in the record.
    #[error("it makes an object deeper than {DEPTH_MAX} levels")]
    Depth,
}
