//! A record in memory.

use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::{Automerge, AutomergeError, Change};

use super::check::{self, CheckedChange, RecordChange};
use super::chunk::{self, ChunkFault};
use super::edit::{self, Edit, EditError};
use super::fault::Verdict;
use super::history::{History, Inconsistent};
use super::operation::ActorBytes;
use super::schema::Schema;
use super::view::{self, View};

/// A record in memory: its Automerge document, which can be saved, and the history by which
/// changes are made, judged and shown.
#[derive(Debug, Clone)]
pub struct Document {
    automerge: Automerge,
    history: History,
}

/// A document that cannot be used here: its saved form was damaged, or Automerge failed over
/// changes that passed every check. A local matter, never a verdict on a change: discard the
/// document and build it anew from its changes.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Automerge panicked.
    #[error("Automerge panicked over the record")]
    Panic,
    /// Automerge returned an error.
    #[error("Automerge cannot read the record")]
    Automerge(#[from] AutomergeError),
    /// A change of the document is none of the format.
    #[error("a change of the record is none of the format")]
    Change(#[from] ChunkFault),
    /// The changes do not fit together.
    #[error("the changes of the record do not fit together")]
    Inconsistent(#[from] Inconsistent),
    /// Automerge did not take in a change, or gives back other changes.
    #[error("Automerge has other heads than the changes that were applied")]
    Heads,
}

impl Document {
    /// A record without changes: it is missing until it gets one.
    #[must_use]
    pub fn empty() -> Document {
        Document { automerge: Automerge::new(), history: History::new() }
    }

    /// Reads what [`Document::save`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are damaged. Panics of Automerge are caught.
    pub fn load(saved: &[u8]) -> Result<Document, Unreadable> {
        let loaded = catch_unwind(|| {
            let automerge = Automerge::load(saved)?;
            let changes = automerge.get_changes(&[]);
            Ok::<_, AutomergeError>((automerge, changes))
        });
        let (automerge, changes) = loaded.map_err(|_| Unreadable::Panic)??;
        let mut history = History::new();
        for change in changes {
            history.insert(&chunk::decode(change)?)?;
        }
        let document = Document { automerge, history };
        document.check_heads()?;
        Ok(document)
    }

    /// The record's bytes, for [`Document::load`]. They are never the only copy of its changes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        self.automerge.save()
    }

    /// Whether the record has no changes, and so is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The number of the record's operations, each of which takes 200 to 800 bytes in memory.
    #[must_use]
    pub fn operation_count(&self) -> usize {
        self.history.operation_count()
    }

    /// Makes the change that `edit` asks for and applies it. `None`: there is nothing to change.
    /// For a record of `_schema` the schema is [`Schema::of_schemas`].
    ///
    /// # Errors
    /// [`EditError`]; the document is then as before, except after [`EditError::Unreadable`],
    /// after which it must be discarded.
    pub fn edit(
        &mut self,
        actor: ActorBytes,
        time_ms: i64,
        edit: &Edit,
        schema: Option<&Schema>,
    ) -> Result<Option<RecordChange>, EditError> {
        let Some(change) = edit::make(&self.history, actor, time_ms, edit, schema)? else {
            return Ok(None);
        };
        // The author judges as everyone will: nothing is signed that others refuse.
        let checked = self.check(actor, &change)?;
        self.apply(checked)?;
        Ok(Some(change))
    }

    /// The one verdict on a change by `actor`: it depends on the change and its ancestors alone,
    /// and so is the same at every replica. A change that is here already is accepted.
    ///
    /// # Errors
    /// [`Verdict::Missing`] if changes that it depends on are not here, which is no fault;
    /// [`Verdict::Fault`] if it is bad.
    pub fn check(
        &self,
        actor: ActorBytes,
        change: &RecordChange,
    ) -> Result<CheckedChange, Verdict> {
        check::check(&self.history, actor, change)
    }

    /// Applies a change that was checked against this state, and returns its hash. A change that
    /// is here already does nothing.
    ///
    /// # Errors
    /// [`Unreadable`]: the document must be discarded.
    pub fn apply(&mut self, change: CheckedChange) -> Result<[u8; 32], Unreadable> {
        let hash = change.hash();
        if change.is_known {
            return Ok(hash);
        }
        let genesis = change.genesis.iter().map(|made| made.change.clone());
        let changes: Vec<Change> = genesis.chain([change.change.change.clone()]).collect();
        let automerge = &mut self.automerge;
        catch_unwind(AssertUnwindSafe(|| automerge.apply_changes(changes)))
            .map_err(|_| Unreadable::Panic)??;
        for made in &change.genesis {
            self.history.insert_genesis(made)?;
        }
        self.history.insert(&change.change)?;
        self.check_heads()?;
        Ok(hash)
    }

    /// The record as it is read.
    #[must_use]
    pub fn view(&self) -> View {
        view::view(&self.history)
    }

    /// Whether the record has the change of this hash, genesis included.
    #[must_use]
    pub fn contains(&self, hash: &[u8; 32]) -> bool {
        self.history.change(hash).is_some()
    }

    /// Whose change this is and its number among the actor's changes to the record. `None` if it
    /// is not here, or a genesis, which is no one's.
    #[must_use]
    pub fn author_of(&self, hash: &[u8; 32]) -> Option<(ActorBytes, u64)> {
        let meta = self.history.change(hash)?;
        (!meta.is_genesis).then_some((meta.actor, meta.seq))
    }

    /// Automerge's own document, to compare with.
    #[cfg(test)]
    pub(crate) fn automerge(&self) -> &Automerge {
        &self.automerge
    }

    /// Automerge queues what it cannot apply and says nothing: its heads tell.
    fn check_heads(&self) -> Result<(), Unreadable> {
        let mut heads = self.automerge.get_heads();
        heads.sort_unstable();
        if self.history.heads().eq(heads.iter().map(|head| &head.0)) {
            Ok(())
        } else {
            Err(Unreadable::Heads)
        }
    }
}
