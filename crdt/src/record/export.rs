//! A record as the Automerge document that it stands for: for its history, for other programs, and for the tests that
//! hold [`super::Document`] to it.

use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, Change};

use super::check::RecordChange;
use super::chunk;
use super::document::Unreadable;
use super::genesis::{Genesis, GenesisChange};

/// The Automerge document of all of a record's changes, in an order in which they were accepted.
///
/// # Errors
/// [`Unreadable::Automerge`] if Automerge refuses them, [`Unreadable::Panic`] if it panics.
pub fn automerge_of<'a>(
    changes: impl IntoIterator<Item = &'a RecordChange>,
) -> Result<Automerge, Unreadable> {
    let mut document = Automerge::new();
    for change in changes {
        let genesis = change.genesis.iter().flat_map(Genesis::changes);
        let genesis: Vec<Change> = genesis.map(|made| genesis_change(&made)).collect();
        let applied = catch_unwind(AssertUnwindSafe(|| {
            let own = Change::try_from(chunk::chunk_of(&change.body).0.as_slice());
            let own = own.map_err(|error| Unreadable::Automerge(error.to_string()))?;
            document
                .apply_changes(genesis.into_iter().chain([own]))
                .map_err(|error| Unreadable::Automerge(error.to_string()))
        }));
        applied.map_err(|_| Unreadable::Panic)??;
    }
    Ok(document)
}

/// A genesis as Automerge has it.
pub(crate) fn genesis_change(made: &GenesisChange) -> Change {
    let id = made.operation.id;
    let start_op = NonZeroU64::new(id.counter).unwrap_or(NonZeroU64::MIN);
    chunk::build(id.actor, 1, start_op, 0, &made.deps, std::slice::from_ref(&made.operation))
}
