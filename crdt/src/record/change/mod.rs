//! A change of a record as it travels, and what is wrong with one whatever the record.

pub(super) mod branch;
pub(super) mod check;
pub(super) mod chunk;
pub(super) mod fault;
pub(super) mod genesis;
pub(super) mod leb128;
pub(super) mod operation;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::limits::{COUNTER_MAX, GENESIS_MAX, OPERATIONS_MAX};
use chunk::Decoded;
use fault::Fault;
use genesis::{GenesisChange, InitialChange};
use operation::{ActorBytes, ChangeActor};

/// One change to one record as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordChange {
    /// The genesis among its dependencies, sorted and each once. The maps around them are implied.
    pub genesis: Vec<InitialChange>,
    /// The Automerge change chunk without its first 8 bytes (magic and checksum), which follow
    /// from the rest.
    #[serde(with = "serde_bytes")]
    pub body: Vec<u8>,
}

impl RecordChange {
    /// The hash under which other changes name this one.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        chunk::hash(&self.body)
    }

    /// Reads the change of `author` and finds what is wrong with it whatever the record.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn parse(&self, author: impl Into<ChangeActor>) -> Result<ParsedChange, Fault> {
        let actor = author.into();
        let change = chunk::read(&self.body)?;
        check_alone(actor.signed, &change)?;
        let genesis = derive_genesis(actor.signed, &self.genesis, &change.deps)?;
        Ok(ParsedChange { change, genesis, actor })
    }
}

/// A change as it reads, sound by itself but not judged against a record.
#[derive(Debug, Clone)]
pub struct ParsedChange {
    pub(crate) change: Decoded,
    /// The genesis among its dependencies and the maps around them, outer ones first.
    pub(crate) genesis: Vec<GenesisChange>,
    pub(crate) actor: ChangeActor,
}

/// A change that was checked against a state of a record, for [`super::Document::apply`].
#[derive(Debug, Clone)]
pub struct CheckedChange {
    pub(crate) parsed: ParsedChange,
    /// Whether the record has the change already.
    pub(crate) is_known: bool,
}

impl ParsedChange {
    /// The hashes of the changes that it depends on, genesis included.
    #[must_use]
    pub fn deps(&self) -> &[[u8; 32]] {
        &self.change.deps
    }

    /// When it was made, in ms since 1970 by its author's clock.
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.change.time_ms
    }

    /// Whether it builds on no change of its record: what all sites share is none.
    #[must_use]
    pub fn is_first(&self) -> bool {
        let is_shared = |dep: &[u8; 32]| self.genesis.iter().any(|made| made.hash == *dep);
        self.change.deps.iter().all(is_shared)
    }

    /// The actor that it counts as.
    #[must_use]
    pub fn actor(&self) -> ActorBytes {
        self.actor.counted(&self.change.hash)
    }

    /// Whether it is of one of these actors, or names an operation of one.
    pub(crate) fn mentions(&self, actors: &BTreeSet<ActorBytes>) -> bool {
        branch::mentions(self, actors)
    }

    /// The number of its operations.
    #[must_use]
    pub fn operations(&self) -> usize {
        self.change.operations.len()
    }
}

/// What is wrong with a change whatever the record.
fn check_alone(author: ActorBytes, change: &Decoded) -> Result<(), Fault> {
    if change.actor != author {
        return Err(Fault::Actor { found: change.actor, expected: author });
    }
    if change.operations.len() > OPERATIONS_MAX {
        return Err(Fault::TooManyOperations { found: change.operations.len() });
    }
    let end_op = change.end_op();
    if end_op > COUNTER_MAX {
        return Err(Fault::Counter { found: end_op });
    }
    if !change.deps.is_sorted_by(|a, b| a < b) {
        return Err(Fault::DepsOrder);
    }
    Ok(())
}

/// Derives the genesis that a change names and the maps around them, outer ones first.
pub(crate) fn derive_genesis(
    author: ActorBytes,
    named: &[InitialChange],
    deps: &[[u8; 32]],
) -> Result<Vec<GenesisChange>, Fault> {
    let found = named.len();
    if found > GENESIS_MAX {
        return Err(Fault::TooManyGenesis { found });
    }
    if !named.is_sorted_by(|a, b| a < b) {
        return Err(Fault::GenesisOrder);
    }
    let mut derived = BTreeMap::new();
    for genesis in named {
        genesis.check().map_err(Fault::Genesis)?;
        let changes = genesis.changes();
        let is_dep = changes.last().is_some_and(|own| deps.binary_search(&own.hash).is_ok());
        if !is_dep {
            return Err(Fault::GenesisUnused { path: genesis.path.clone() });
        }
        for made in changes {
            // No site can have such an actor but by breaking the hash.
            if made.operation.id.actor == author {
                return Err(Fault::GenesisActor);
            }
            derived.insert(made.operation.id, made);
        }
    }
    Ok(derived.into_values().collect())
}
