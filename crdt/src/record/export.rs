//! A record as the Automerge document that it stands for: for its history, for other programs, and for the tests that
//! hold [`super::Document`] to it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, Change};

use super::check::RecordChange;
use super::chunk;
use super::document::Unreadable;
use super::genesis::Genesis;

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
        let bodies = genesis.map(|made| made.body()).chain([change.body.clone()]);
        let applied = catch_unwind(AssertUnwindSafe(|| {
            let changes = bodies.map(|body| Change::try_from(chunk::whole(&body).as_slice()));
            let changes: Result<Vec<Change>, _> = changes.collect();
            let changes = changes.map_err(|error| Unreadable::Automerge(error.to_string()))?;
            let applied = document.apply_changes(changes);
            applied.map_err(|error| Unreadable::Automerge(error.to_string()))
        }));
        applied.map_err(|_| Unreadable::Panic)??;
    }
    Ok(document)
}
