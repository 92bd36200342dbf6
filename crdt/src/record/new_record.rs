//! A record as its first change leaves it, without a history.
//!
//! Nearly every record begins with one change that gives its fields plain values. Nothing of a record is needed to judge
//! that change, and what it leaves is reported by itself: so it can be found out before the record is looked up, on any
//! thread, and for a fraction of what a history costs. It is what [`super::Document`] makes of the same change, to which
//! the tests hold it.

use std::sync::Arc;

use super::change::ParsedChange;
use super::change::check::check_put;
use super::change::operation::{Action, ActorBytes, Key, ObjectId, RecordOperation};
use super::edit::{self, Edit, EditError, Edited};
use super::history::History;
use super::limits::{DELETED_FIELD, check_field};
use super::schema::Schema;
use super::summary::{self, PlainField, RecordSummary};
use super::value::Value;
use super::{Document, saved};

/// A record that has one change, which gives its fields plain values.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// What [`Document::save`] gives of the record.
    pub saved: Vec<u8>,
    /// What [`Document::summary`] gives of it.
    pub summary: RecordSummary,
    /// The number of operations of its change.
    pub operations: usize,
}

impl NewRecord {
    /// What a record without changes becomes by this one. `None`: the change takes a [`Document`] to be judged.
    #[must_use]
    pub fn of(parsed: &ParsedChange) -> Option<Self> {
        let change = &parsed.change;
        if !change.deps.is_empty() || change.seq != 1 || change.start_op != 1 {
            return None;
        }
        let mut fields =
            change.operations.iter().map(plain_field).collect::<Option<Vec<PlainField<'_>>>>()?;
        fields.sort_unstable_by_key(|(name, _, _)| *name);
        let is_each_once = fields.is_sorted_by(|(a, _, _), (b, _, _)| a < b);
        is_each_once.then(|| Self {
            saved: saved::save_first(change, &fields),
            summary: summary::of_first(&change.hash, &fields),
            operations: fields.len(),
        })
    }
}

/// What an operation writes if that is a plain value of a field of the record and sound.
fn plain_field(operation: &RecordOperation) -> Option<PlainField<'_>> {
    let (ObjectId::Root, Key::Field(name), Action::Put(value)) =
        (operation.object, &operation.key, &operation.action)
    else {
        return None;
    };
    let is_plain = !operation.insert
        && operation.preds.is_empty()
        && name != DELETED_FIELD
        && !matches!(value, Value::Counter(_));
    let is_sound = check_field(name).is_ok() && check_put(value).is_ok();
    (is_plain && is_sound).then_some((name, operation.id, value))
}

/// What the first edit of a record makes of it.
#[derive(Debug, Clone)]
pub enum Begun {
    /// Fields with plain values.
    New(NewRecord),
    /// Anything else.
    Document(Document),
}

/// Edits a record that has no changes, as [`Document::edit`] does. `None`: there is nothing to change.
///
/// # Errors
/// [`EditError`].
pub fn begin(
    actor: ActorBytes,
    time_ms: i64,
    edit: &Edit,
    schema: Option<&Schema>,
) -> Result<Option<(Edited, Begun)>, EditError> {
    let made = edit::make(&History::new(), actor, time_ms, edit, schema)?;
    let Some((change, parsed)) = made else { return Ok(None) };
    if let Some(first) = NewRecord::of(&parsed) {
        let hash = parsed.change.hash;
        let edited = Edited { change, hash, operations: first.operations };
        return Ok(Some((edited, Begun::New(first))));
    }
    let mut document = Document::empty();
    let edited = document.take_edit(change, parsed)?;
    Ok(Some((edited, Begun::Document(document))))
}

/// The first edit of a record, made before anyone looked whether the record is new: on any thread, with what was known
/// there of the author and of the schema. Where any of it proves wrong, the edit is made again.
#[derive(Debug, Clone)]
pub struct Drafted {
    actor: ActorBytes,
    schema: Option<Arc<Schema>>,
    edited: Edited,
    first: NewRecord,
}

impl Drafted {
    /// Makes the edit. `None`: it gives a record more than plain values, or is refused, or changes nothing.
    #[must_use]
    pub fn new(
        actor: ActorBytes,
        time_ms: i64,
        edit: &Edit,
        schema: Option<Arc<Schema>>,
    ) -> Option<Self> {
        // What becomes of an event is decided by its id, too.
        if schema.as_ref().is_some_and(|schema| schema.is_of_events()) {
            return None;
        }
        match begin(actor, time_ms, edit, schema.as_deref()) {
            Ok(Some((edited, Begun::New(first)))) => Some(Self { actor, schema, edited, first }),
            Ok(Some((_, Begun::Document(_))) | None) | Err(_) => None,
        }
    }

    /// What it makes, if this author would make the same with this schema.
    pub(crate) fn begun(
        self,
        actor: ActorBytes,
        schema: Option<&Arc<Schema>>,
    ) -> Option<(Edited, Begun)> {
        let is_same = self.actor == actor && self.schema.as_ref() == schema;
        is_same.then_some((self.edited, Begun::New(self.first)))
    }
}
