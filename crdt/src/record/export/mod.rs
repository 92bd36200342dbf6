//! A record as the Automerge document that it stands for, made, saved and read by Automerge itself: for other programs,
//! and to hold [`super::Document`] to it.

mod view;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, AutomergeError, Change, LoadChangeError, ReadDoc};

use super::change::RecordChange;
use super::change::chunk;
use super::unreadable::Unreadable;

pub(crate) use view::view_of;

/// Returns the Automerge document of a record's changes: all of them, or a part with all that it builds on.
///
/// # Errors
/// [`Unreadable::Automerge`] if Automerge refuses them, [`Unreadable::Panic`] if it panics.
pub fn automerge_of<'a>(
    changes: impl IntoIterator<Item = &'a RecordChange>,
) -> Result<Automerge, Unreadable> {
    guarded(|| {
        let mut shared = BTreeSet::new();
        let mut read = Vec::new();
        for change in changes {
            for made in change.genesis.iter().flat_map(|genesis| genesis.changes()) {
                if shared.insert(made.hash) {
                    read.push(change_of(&made.body())?);
                }
            }
            read.push(change_of(&change.body)?);
        }
        let mut document = Automerge::new();
        // At once: one by one they cost thirty times as much.
        document.apply_changes(read).map_err(refused)?;
        // What builds on changes that are not there is put aside without a word.
        match document.get_missing_deps(&[]).len() {
            0 => Ok(document),
            missing => Err(Unreadable::Automerge(format!(
                "{missing} changes that others of the record build on are missing"
            ))),
        }
    })
}

/// Returns the bytes of a document as Automerge saves them.
pub(crate) fn save(document: &Automerge) -> Result<Vec<u8>, Unreadable> {
    guarded(|| Ok(document.save()))
}

/// Reads a document that [`save`] wrote.
pub(crate) fn load(saved: &[u8]) -> Result<Automerge, Unreadable> {
    guarded(|| Automerge::load(saved).map_err(refused))
}

/// Returns the hashes of a document's latest changes, ascending.
pub(crate) fn heads(document: &Automerge) -> Vec<[u8; 32]> {
    let mut heads: Vec<[u8; 32]> = document.get_heads().iter().map(|head| head.0).collect();
    heads.sort_unstable();
    heads
}

fn change_of(body: &[u8]) -> Result<Change, Unreadable> {
    let read = Change::try_from(chunk::whole(body).as_slice());
    read.map_err(|error: LoadChangeError| Unreadable::Automerge(error.to_string()))
}

fn refused(error: AutomergeError) -> Unreadable {
    Unreadable::Automerge(error.to_string())
}

/// Has Automerge do something. What it panics over is a fault of this site like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, Unreadable>) -> Result<T, Unreadable> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Unreadable::Panic))
}
