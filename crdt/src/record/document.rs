//! A record in memory.

use super::change::branch;
use super::change::check;
use super::change::fault::Verdict;
use super::change::operation::{ActorBytes, ChangeActor};
use super::change::{CheckedChange, ParsedChange, RecordChange};
use super::edit::{self, Edit, EditError, Edited};
use super::history::hidden;
use super::history::{Clock, History, Presence};
use super::saved;
use super::schema::Schema;
use super::summary::{self, RecordSummary};
use super::unreadable::Unreadable;
use super::version::Version;
use super::view::{self, Conflict, View};

/// A record in memory, with its whole history or with what is live of it.
///
/// It stands for the Automerge document of the record's changes, and reads, merges and judges as Automerge does, which
/// the tests hold it to; but it costs only what is live, where Automerge loads and saves all that ever was.
#[derive(Debug, Clone)]
pub struct Document {
    history: History,
}

impl Document {
    /// A record without changes: it is missing until it gets one.
    #[must_use]
    pub fn empty() -> Self {
        Self { history: History::new() }
    }

    /// The record with its whole history, from all its changes in an order in which they were accepted.
    ///
    /// # Errors
    /// [`Unreadable`] if they are not all of a record's changes.
    pub fn of_changes<'a>(
        changes: impl IntoIterator<Item = (impl Into<ChangeActor>, &'a RecordChange)>,
    ) -> Result<Self, Unreadable> {
        let mut document = Self::empty();
        for (actor, change) in changes {
            document.extend(actor.into(), change)?;
        }
        Ok(document)
    }

    /// Adds the next of the changes that [`Document::of_changes`] takes together.
    ///
    /// # Errors
    /// [`Unreadable`]: the document must be discarded.
    pub(crate) fn extend(
        &mut self,
        actor: ChangeActor,
        change: &RecordChange,
    ) -> Result<(), Unreadable> {
        let checked = self.check(actor, change).map_err(Unreadable::Refused)?;
        self.apply(checked)
    }

    /// Reads what [`Document::save`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] if the bytes are damaged.
    pub fn load(saved: &[u8]) -> Result<Self, Unreadable> {
        Ok(Self { history: saved::load(saved)? })
    }

    /// What is live of the record, as bytes for [`Document::load`].
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        saved::save(&self.history)
    }

    /// Whether the record has no changes, and so is missing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The number of values and changes that are held, each of which takes 200 to 800 bytes in memory.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.history.item_count()
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
    ) -> Result<Option<Edited>, EditError> {
        let made = edit::make(&self.history, actor, time_ms, edit, schema)?;
        made.map(|(change, parsed)| self.take_edit(change, parsed)).transpose()
    }

    /// As [`Document::edit`], by someone who saw the record as it was at `seen`: the change is concurrent to all that was
    /// not there, but for the actor's own changes. The history must be whole.
    pub(crate) fn edit_on(
        &mut self,
        seen: &Self,
        actor: ActorBytes,
        time_ms: i64,
        edit: &Edit,
        schema: Option<&Schema>,
    ) -> Result<Option<Edited>, EditError> {
        let made = edit::make_on(&seen.history, &self.history, actor, time_ms, edit, schema)?;
        made.map(|(change, parsed)| self.take_edit(change, parsed)).transpose()
    }

    /// Whether the record is of this version.
    pub(crate) fn is_of(&self, version: &Version) -> bool {
        Version::of_heads(self.history.heads()) == *version
    }

    /// Whether all changes are known, and not only what is live of them.
    pub(crate) fn is_whole(&self) -> bool {
        self.history.is_whole()
    }

    /// Whether the record has a change, or what all sites share that is made of one. The history must be whole.
    pub(crate) fn has_change(&self, hash: &[u8; 32]) -> bool {
        match self.history.presence(hash) {
            Presence::Here | Presence::Genesis => true,
            Presence::Absent | Presence::Unknown => false,
        }
    }

    /// How far a version goes: the changes that it has; the history must be whole. The error: the beginning of the hash
    /// of a change that the record does not have.
    pub(crate) fn reach(&self, version: &Version) -> Result<Reach, [u8; 16]> {
        let found = |it: &[u8; 16]| self.history.beginning_with(it).ok_or(*it);
        let hashes = version.beginnings().iter().map(found).collect::<Result<_, _>>()?;
        let heads = self.history.latest_of(&hashes);
        Ok(Reach { clock: self.history.clock(&heads), heads })
    }

    /// As [`Document::extend`], if the change is within `reach`. Whether that has come to its end.
    pub(crate) fn extend_to(
        &mut self,
        reach: &Reach,
        actor: ChangeActor,
        change: &RecordChange,
    ) -> Result<bool, Unreadable> {
        let refused = |fault| Unreadable::Refused(Verdict::Fault(fault));
        let parsed = change.parse(actor).map_err(refused)?;
        let counted = actor.counted(&parsed.change.hash);
        if reach.clock.get(&counted).is_some_and(|max| parsed.change.end_op() <= *max) {
            let checked = self.checked(parsed).map_err(Unreadable::Refused)?;
            self.apply(checked)?;
        }
        Ok(self.history.has_heads(&reach.heads))
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// Applies a change that was made for this state.
    pub(super) fn take_edit(
        &mut self,
        change: RecordChange,
        parsed: ParsedChange,
    ) -> Result<Edited, EditError> {
        // What was just built is not read back but in debug builds: that it reads as it was meant is a law of the
        // codec, which the tests hold it to.
        debug_assert_eq!(
            change.parse(parsed.change.actor).map(|read| read.change),
            Ok(parsed.change.clone())
        );
        // The author judges as everyone will: nothing is signed that others refuse.
        let (hash, operations) = (parsed.change.hash, parsed.operations());
        let checked = self.checked(parsed)?;
        self.apply(checked)?;
        Ok(Edited { change, hash, operations })
    }

    /// The one verdict on a change by `actor`: it depends on the change and its ancestors alone,
    /// and so is the same at every replica. A change that is here already is accepted.
    ///
    /// # Errors
    /// [`Verdict::Missing`] if changes that it depends on are not here, which is no fault;
    /// [`Verdict::Fault`] if it is bad; [`Verdict::NeedsHistory`] only if the document was loaded.
    pub fn check(
        &self,
        actor: impl Into<ChangeActor>,
        change: &RecordChange,
    ) -> Result<CheckedChange, Verdict> {
        self.checked(change.parse(actor)?)
    }

    /// The verdict on a change that was read.
    ///
    /// # Errors
    /// As [`Document::check`].
    pub fn judge(&self, change: &ParsedChange) -> Result<Validated, Verdict> {
        check::check(&self.history, change).map(|is_known| Validated { is_known })
    }

    fn checked(&self, parsed: ParsedChange) -> Result<CheckedChange, Verdict> {
        let parsed = self.resolve(parsed);
        let judged = self.judge(&parsed)?;
        Ok(judged.with(parsed))
    }

    /// A change as it counts where a log forks. The history must be whole if the record has changes of a branch, or the
    /// change is in one.
    pub(crate) fn resolve(&self, parsed: ParsedChange) -> ParsedChange {
        branch::resolve(&self.history, parsed)
    }

    /// Whether the record has changes of branches: no document of Automerge has two changes of an actor with one number.
    /// The history must be whole.
    pub(crate) fn has_branches(&self) -> bool {
        !self.history.branches.is_empty()
    }

    /// Applies a change that was checked against this state. A change that is here already does nothing.
    ///
    /// # Errors
    /// [`Unreadable`]: the document must be discarded.
    pub fn apply(&mut self, checked: CheckedChange) -> Result<(), Unreadable> {
        if checked.is_known {
            return Ok(());
        }
        let ParsedChange { change, genesis, actor } = checked.parsed;
        if actor.is_of_branch {
            self.history.branches.entry(actor.signed).or_default().insert(change.actor);
        }
        for made in &genesis {
            if !self.history.is_of_genesis(made.operation.id) {
                self.history.insert_genesis(made)?;
            }
        }
        Ok(self.history.insert(change, genesis.iter().map(|made| made.operation.id))?)
    }

    /// The record as it is read.
    #[must_use]
    pub fn view(&self) -> View {
        view::view(&self.history)
    }

    /// What stands in a deleted record that nobody who deleted it knew: the deletion, under `_deleted`, then the fields.
    /// Nothing where no edit is hidden.
    #[must_use]
    pub fn hidden_edits(&self) -> Vec<Conflict> {
        hidden::hidden_edits(&self.history)
    }

    /// The record in short; `None` if it has no changes.
    #[must_use]
    pub fn summary(&self) -> Option<RecordSummary> {
        (!self.is_empty()).then(|| summary::summary(&self.history))
    }
}

/// The changes of a version; see [`Document::reach`].
pub(crate) struct Reach {
    /// Ascending.
    heads: Vec<[u8; 32]>,
    clock: Clock,
}

impl Reach {
    /// Whether it is that of a record that nobody has written.
    pub(crate) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }
}

/// A change was accepted.
#[derive(Debug)]
pub struct Validated {
    is_known: bool,
}

impl Validated {
    /// The change of which this is said, for [`Document::apply`].
    #[must_use]
    pub fn with(self, parsed: ParsedChange) -> CheckedChange {
        CheckedChange { parsed, is_known: self.is_known }
    }
}
