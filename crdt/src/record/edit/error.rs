//! Why an edit is not made.

use crate::record::change::fault::Verdict;
use crate::record::limits::{
    CHANGE_BYTES_MAX, DEPTH_MAX, GENESIS_MAX, INCREMENT_MAX, NameError, OPERATIONS_MAX,
};
use crate::record::schema::SchemaError;
use crate::record::schema::kind::Kind;
use crate::record::unreadable::Unreadable;

/// Why an edit is not made. Unless stated otherwise the user asked for what cannot be, and the
/// document is as before.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The record does not exist or is deleted.
    #[error("the record does not exist or is deleted; create it or undelete it first")]
    Missing,
    /// The record is deleted, and it is not said that it shall come back.
    #[error("the record is deleted")]
    Deleted,
    /// A name is no field name.
    #[error("{path:?} cannot be written")]
    Name {
        /// The path of the field.
        path: String,
        /// What is wrong with its name.
        source: NameError,
    },
    /// A schema's record gets what is no declaration of a field.
    #[error("the schema cannot be written")]
    Schema(#[from] SchemaError),
    /// A value is not of the field's kind.
    #[error("{path:?} is of kind {expected}, found a value of kind {found}")]
    WrongKind {
        /// The path of the field.
        path: String,
        /// The kind of the field.
        expected: &'static str,
        /// The kind of the value.
        found: &'static str,
    },
    /// A value has the right JSON type, but not the form of the field's kind.
    #[error("{path:?} is of kind {expected}, found {found:?}; expected {form}")]
    Form {
        /// The path of the field.
        path: String,
        /// The kind of the field.
        expected: Kind,
        /// The value, at most its beginning.
        found: String,
        /// What the kind's values look like.
        form: &'static str,
    },
    /// An integer needs more than 64 bits.
    #[error("{path:?} is {found}, which does not fit into a signed integer of 64 bits")]
    IntegerRange {
        /// The path of the field.
        path: String,
        /// The number, at most its beginning.
        found: String,
    },
    /// A number in a field that no schema declares is written with a fraction or a power of ten, and a float would not
    /// give its digits back.
    #[error(
        "{path:?} is {found}, which would lose digits: no schema declares the field, so it is kept as a float of 64 bits"
    )]
    Digits {
        /// The path of the field.
        path: String,
        /// The number, at most its beginning.
        found: String,
    },
    /// A number is beyond all floats.
    #[error("{path:?} is {found}, which is more than a float of 64 bits can be")]
    FloatRange {
        /// The path of the field.
        path: String,
        /// The number, at most its beginning.
        found: String,
    },
    /// A counter is set to null or removed.
    #[error("{path:?} is a counter and cannot be removed; set it to 0 or delete the record")]
    CounterRemoved {
        /// The path of the field.
        path: String,
    },
    /// What is incremented is no counter.
    #[error("{path:?} is of kind {found} and cannot be incremented, expected a counter")]
    NotCounter {
        /// The path of the field.
        path: String,
        /// Its kind.
        found: &'static str,
    },
    /// `$inc` does not stand alone with an integer in a field.
    #[error("{path:?} has no valid $inc; expected {{\"$inc\": integer}} as the value of a field")]
    Increment {
        /// The path of the field.
        path: String,
    },
    /// A counter would be incremented by too much.
    #[error("{path:?} would be incremented by {found}; at most {INCREMENT_MAX} either way at once")]
    IncrementRange {
        /// The path of the field.
        path: String,
        /// The amount.
        found: i128,
    },
    /// A required field would be missing.
    #[error("the required field {path:?} of kind {kind} is missing or null")]
    Required {
        /// The path of the field.
        path: String,
        /// Its kind.
        kind: Kind,
    },
    /// Maps and lists nest too deep.
    #[error("{path:?} is nested deeper than {DEPTH_MAX} levels")]
    TooDeep {
        /// The path.
        path: String,
    },
    /// The edit needs too many operations.
    #[error(
        "the edit needs {found} operations, at most {OPERATIONS_MAX} fit into a change; \
         write it in parts"
    )]
    TooManyOperations {
        /// How many.
        found: usize,
    },
    /// The edit creates too many counters, texts, lists and maps at once.
    #[error(
        "the edit creates {found} counters, texts, lists and maps, at most {GENESIS_MAX} can be \
         created at once; write it in parts"
    )]
    TooManyGenesis {
        /// How many.
        found: usize,
    },
    /// The change is too large.
    #[error("the change has {found} bytes, at most {CHANGE_BYTES_MAX} fit; write it in parts")]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// The change does not pass the check of the format, such as when the record's operation
    /// counters are used up. Nothing the user can do but write a new record.
    #[error("the record cannot take this change")]
    Refused(#[from] Verdict),
    /// The document failed while the change was applied and must be discarded.
    #[error("the record cannot be used here")]
    Unreadable(#[from] Unreadable),
}
