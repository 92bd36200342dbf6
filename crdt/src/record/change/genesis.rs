//! Genesis: the creating operations that all sites share without ever sending them.
//!
//! Counters, texts, lists and maps merge only if both sides edit the object that one operation
//! made. So that two offices can create the same record without knowing of each other, these
//! operations are derived from the field's path and kind alone: every site makes the same change
//! with the same hash.

use serde::{Deserialize, Serialize};

use smol_str::SmolStr;

use super::chunk;
use super::operation::{Action, ActorBytes, Key, ObjectId, OpId, RecordOperation, Shape};
use crate::record::limits::{DEPTH_MAX, NameError, check_field};
use crate::record::value::Value;

/// Separates these actors from every other use of the hash. Part of the format.
const CONTEXT: &str = "branchline 2026 record genesis actor";

/// What a genesis makes. The discriminants are part of the format and must stay stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum GenesisKind {
    /// A counter that starts at 0.
    Counter = 0,
    /// An empty text.
    Text = 1,
    /// An empty list.
    List = 2,
    /// An empty map.
    Map = 3,
}

/// The creation of one field that every site derives alike. The field lies in the record itself
/// or in maps that have a genesis of their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InitialChange {
    /// The names from the record down to the field.
    pub path: Vec<String>,
    /// What is made there.
    pub kind: GenesisKind,
}

/// Why a path has no genesis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenesisFault {
    /// The path has no names, or too many.
    #[error("the path of a genesis has {found} names, expected 1 to {DEPTH_MAX}")]
    Depth {
        /// How many names it has.
        found: usize,
    },
    /// A name of the path is no field name.
    #[error("the path of a genesis contains something that is not a field name")]
    Name(#[from] NameError),
}

/// The change that a genesis stands for.
#[derive(Debug, Clone)]
pub(crate) struct GenesisChange {
    pub(crate) genesis: InitialChange,
    pub(crate) hash: [u8; 32],
    pub(crate) deps: Vec<[u8; 32]>,
    pub(crate) operation: RecordOperation,
}

impl GenesisChange {
    /// Its bytes, as those of any change.
    pub(crate) fn body(&self) -> Vec<u8> {
        let OpId { actor, counter } = self.operation.id;
        chunk::build(actor, 1, counter, 0, &self.deps, std::slice::from_ref(&self.operation))
    }
}

impl InitialChange {
    pub(crate) fn new(path: &[String], kind: GenesisKind) -> Self {
        Self { path: path.to_vec(), kind }
    }

    /// Checks that the path is one of the format.
    pub(crate) fn check(&self) -> Result<(), GenesisFault> {
        let found = self.path.len();
        if found == 0 || found > DEPTH_MAX {
            return Err(GenesisFault::Depth { found });
        }
        self.path.iter().try_for_each(|name| check_field(name))?;
        Ok(())
    }

    /// The actor that no site is and that every site derives.
    pub(crate) fn actor(&self) -> ActorBytes {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&[self.kind as u8]);
        for name in &self.path {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
        }
        let mut actor = [0; 16];
        hasher.finalize_xof().fill(&mut actor);
        ActorBytes(actor)
    }

    /// The id of its one operation: it follows that of the map around it.
    pub(crate) fn op_id(&self) -> OpId {
        OpId { counter: self.path.len() as u64, actor: self.actor() }
    }

    /// The genesis of the map around it.
    pub(crate) fn parent(&self) -> Option<Self> {
        let (_, around) = self.path.split_last()?;
        (!around.is_empty()).then(|| Self::new(around, GenesisKind::Map))
    }

    /// The changes that make this field exist: those of the maps around it from the outside
    /// inwards, then its own, last.
    pub(crate) fn changes(&self) -> Vec<GenesisChange> {
        let mut changes: Vec<GenesisChange> = Vec::with_capacity(self.path.len());
        let mut object = ObjectId::Root;
        let mut deps = Vec::new();
        for depth in 1..=self.path.len() {
            let (path, _) = self.path.split_at(depth);
            let kind = if depth == self.path.len() { self.kind } else { GenesisKind::Map };
            let made = build(&Self::new(path, kind), object, deps);
            object = ObjectId::Made(made.operation.id);
            deps = vec![made.hash];
            changes.push(made);
        }
        changes
    }
}

impl GenesisKind {
    fn action(self) -> Action {
        match self {
            Self::Counter => Action::Put(Value::Counter(0)),
            Self::Text => Action::Make(Shape::Text),
            Self::List => Action::Make(Shape::List),
            Self::Map => Action::Make(Shape::Map),
        }
    }
}

fn build(genesis: &InitialChange, object: ObjectId, deps: Vec<[u8; 32]>) -> GenesisChange {
    let operation = RecordOperation {
        id: genesis.op_id(),
        object,
        key: Key::Field(genesis.path.last().map(SmolStr::new).unwrap_or_default()),
        insert: false,
        action: genesis.kind.action(),
        preds: Vec::new(),
    };
    let made = GenesisChange { genesis: genesis.clone(), hash: [0; 32], deps, operation };
    GenesisChange { hash: chunk::hash(&made.body()), ..made }
}
