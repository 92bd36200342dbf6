//! The end of every change: what it comes after, the genesis that it brings and its operations become its bytes.

use std::collections::{BTreeMap, BTreeSet};

use super::error::EditError;
use crate::record::change::chunk::{self, Decoded};
use crate::record::change::genesis::InitialChange;
use crate::record::change::operation::{ActorBytes, RecordOperation};
use crate::record::change::{ParsedChange, RecordChange};
use crate::record::limits::{CHANGE_BYTES_MAX, GENESIS_MAX};

/// What a change comes after, but for the genesis that it brings.
pub(in crate::record) struct Base {
    pub(in crate::record) deps: BTreeSet<[u8; 32]>,
    /// The greatest counter of an operation.
    pub(in crate::record) max_op: u64,
    /// How many changes the actor made.
    pub(in crate::record) seq: u64,
}

/// Builds a change. `operations` gets the counter of the first operation.
pub(in crate::record) fn finish(
    base: Base,
    genesis: &BTreeSet<InitialChange>,
    actor: ActorBytes,
    time_ms: i64,
    operations: impl FnOnce(u64) -> Vec<RecordOperation>,
) -> Result<(RecordChange, ParsedChange), EditError> {
    let around: BTreeSet<InitialChange> =
        genesis.iter().filter_map(InitialChange::parent).collect();
    let genesis: Vec<InitialChange> = genesis.difference(&around).cloned().collect();
    if genesis.len() > GENESIS_MAX {
        return Err(EditError::TooManyGenesis { found: genesis.len() });
    }
    let Base { mut deps, mut max_op, seq } = base;
    let mut made = BTreeMap::new();
    for genesis in &genesis {
        max_op = max_op.max(genesis.op_id().counter);
        let changes = genesis.changes();
        deps.extend(changes.last().map(|own| own.hash));
        made.extend(changes.into_iter().map(|made| (made.operation.id, made)));
    }
    let deps: Vec<[u8; 32]> = deps.into_iter().collect();
    let seq = seq + 1;
    let start_op = max_op.saturating_add(1);
    let operations = operations(start_op);
    let body = chunk::build(actor, seq, start_op, time_ms, &deps, &operations);
    if body.len() > CHANGE_BYTES_MAX {
        return Err(EditError::TooLarge { found: body.len() });
    }
    let hash = chunk::hash(&body);
    let change = Decoded { hash, actor, seq, start_op, time_ms, deps, operations };
    let genesis_made = made.into_values().collect();
    let parsed = ParsedChange { change, genesis: genesis_made, actor: actor.into() };
    Ok((RecordChange { genesis, body }, parsed))
}
