//! Edits: what users ask of a record, and the changes that become of it.
//!
//! An edit reads the record as it is here and names in its operations exactly what it saw, so
//! that concurrent edits merge. Counters are never overwritten, only incremented: an overwritten
//! counter would lose the increments that others make at the same time.

mod counters;
mod diff;
mod draft;
mod elements;
mod error;
mod fields;
pub(super) mod finish;
mod json;
mod path;

use serde_json::{Map, Value as Json};

use super::change::operation::ActorBytes;
use super::change::{ParsedChange, RecordChange};
use super::history::History;
use super::schema::Schema;
use super::view::is_deleted;

pub use error::EditError;

use draft::EditDraft;
use fields::{FieldWriter, Mode};

/// What an edit made.
#[derive(Debug, Clone)]
pub struct Edited {
    /// The change.
    pub change: RecordChange,
    /// Its hash.
    pub hash: [u8; 32],
    /// The number of its operations.
    pub operations: usize,
}

/// What a user asks of one record. The kind of each field is decided by the schema, then by what
/// the field holds, then by the type of the JSON value. `{"$inc": n}` increments a counter.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// The record shall have these fields and no others; counters that are not named stay. A
    /// deleted record is revived.
    Put(Map<String, Json>),
    /// These fields change and the others stay (JSON Merge Patch, RFC 7386: null deletes).
    Merge {
        /// The fields.
        patch: Map<String, Json>,
        /// Whether a missing or deleted record is created; otherwise that is an error.
        create: bool,
    },
    /// The record has these fields, whatever others it has, and null is a value. A missing record is created; a deleted one
    /// is an error. A field that shows its value already stays as it is, with its conflicts: nobody looked at them.
    Import(Map<String, Json>),
    /// As [`Edit::Import`], but a deleted record comes back, with these fields and no others. Counters cannot be removed:
    /// those that are not named are 0 then.
    Revive(Map<String, Json>),
    /// The record is deleted. Nothing of it is lost.
    Delete,
    /// A deleted record comes back as it was.
    Undelete,
}

impl Edit {
    /// The same edit of a schema, with what may be left out of it: see [`Schema::completed`].
    #[must_use]
    pub(crate) fn of_schema(self) -> Self {
        match self {
            Self::Put(fields) => Self::Put(Schema::completed(fields)),
            Self::Import(fields) => Self::Import(Schema::completed(fields)),
            Self::Revive(fields) => Self::Revive(Schema::completed(fields)),
            Self::Merge { patch, create } => {
                Self::Merge { patch: Schema::completed(patch), create }
            }
            edit @ (Self::Delete | Self::Undelete) => edit,
        }
    }
}

/// Makes the change that `edit` asks for, and says what it reads as. `None`: there is nothing to change.
pub(crate) fn make(
    history: &History,
    actor: ActorBytes,
    time_ms: i64,
    edit: &Edit,
    schema: Option<&Schema>,
) -> Result<Option<(RecordChange, ParsedChange)>, EditError> {
    match draft(history, edit, schema)? {
        Some(draft) => draft.finish(actor, time_ms),
        None => Ok(None),
    }
}

/// As [`make`], by someone who saw the record as it was at `seen`; its `history` must be whole.
pub(crate) fn make_on(
    seen: &History,
    history: &History,
    actor: ActorBytes,
    time_ms: i64,
    edit: &Edit,
    schema: Option<&Schema>,
) -> Result<Option<(RecordChange, ParsedChange)>, EditError> {
    match draft(seen, edit, schema)? {
        Some(draft) => draft.finish_in(history, actor, time_ms),
        None => Ok(None),
    }
}

fn draft<'a>(
    history: &'a History,
    edit: &Edit,
    schema: Option<&'a Schema>,
) -> Result<Option<EditDraft<'a>>, EditError> {
    let mut writer = FieldWriter::new(history, schema);
    let is_there = !history.is_empty() && !is_deleted(history);
    match edit {
        Edit::Put(fields) => {
            if is_deleted(history) {
                writer.draft.put_deleted(false);
            }
            writer.write_record(fields, Mode::Put)?;
            writer.check_required(true)?;
        }
        Edit::Merge { create: false, .. } if !is_there => return Err(EditError::Missing),
        Edit::Merge { patch, .. } => {
            if is_deleted(history) {
                writer.draft.put_deleted(false);
            }
            writer.write_record(patch, Mode::Merge)?;
            writer.check_required(!is_there)?;
        }
        Edit::Import(_) if is_deleted(history) => return Err(EditError::Deleted),
        Edit::Revive(fields) if is_deleted(history) => {
            writer.draft.put_deleted(false);
            writer.write_record(fields, Mode::Put)?;
            writer.clear_counters(fields)?;
            writer.check_required(true)?;
        }
        Edit::Import(fields) | Edit::Revive(fields) => {
            writer.write_record(fields, Mode::Import)?;
            writer.check_required(!is_there)?;
        }
        Edit::Delete if !is_there => return Err(EditError::Missing),
        Edit::Delete => writer.draft.put_deleted(true),
        Edit::Undelete if history.is_empty() => return Err(EditError::Missing),
        Edit::Undelete if is_there => return Ok(None),
        Edit::Undelete => writer.draft.put_deleted(false),
    }
    let mut draft = writer.into_draft();
    draft.fill();
    Ok(Some(draft))
}
