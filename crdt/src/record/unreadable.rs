//! Why a record cannot be used.

use super::change::fault::Verdict;
use super::history::Inconsistent;
use crate::format::codec::DecodeError;

/// A record that cannot be used here: its stored form is damaged, or its changes do not fit together although each
/// was checked. A local matter, never a verdict on a change.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The stored form is none.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// The parts do not fit together.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    /// Automerge does not take the changes.
    #[error("Automerge cannot read the record: {0}")]
    Automerge(String),
    /// Automerge panicked.
    #[error("Automerge panicked over the record")]
    Panic,
    /// A change of the history is not accepted as it once was.
    #[error("a change of the record's history is no longer accepted: {0}")]
    Refused(Verdict),
}
