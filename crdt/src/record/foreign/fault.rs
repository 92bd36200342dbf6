//! Why a document is not taken in.

use data_encoding::HEXLOWER;

use super::super::change::leb128::LayoutFault;
use super::super::edit::EditError;
use super::super::limits::{DEPTH_MAX, GENESIS_MAX, INCREMENT_MAX, NameError, OPERATIONS_MAX};
use super::super::schema::kind::Kind;
use super::limits::{DOCUMENT_BYTES_MAX, INFLATED_BYTES_MAX};

/// Fields that are listed of a document that does not fit: more are not read by anyone.
pub const MISFITS_MAX: usize = 100;

/// Why bytes are no document that can be taken in, whatever the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// There are none.
    #[error("the document is empty: expected what Automerge's save() writes")]
    Empty,
    /// There are too many.
    #[error("the document has {found} bytes, at most {DOCUMENT_BYTES_MAX} are accepted")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// They do not begin as a document does.
    #[error("the bytes are not an Automerge document: expected what Automerge's save() writes")]
    NoDocument,
    /// They end too early, or say what cannot be.
    #[error("the document is damaged")]
    Layout(#[from] LayoutFault),
    /// They are not those that were written.
    #[error("the document is damaged: a part of it does not have the checksum that it states")]
    Checksum,
    /// A compressed part is none.
    #[error("the document is damaged: a part of it cannot be inflated")]
    Deflate,
    /// Compressed parts stand for more than is taken in.
    #[error("the document inflates to more than {INFLATED_BYTES_MAX} bytes")]
    Inflates,
    /// It holds a bundle of changes.
    #[error(
        "the document contains a bundle, an experiment of Automerge's that is not accepted: save the document with save()"
    )]
    Bundle,
    /// It holds something of a later version.
    #[error(
        "the document contains a part of type {found}; known types are 0 (document), 1 and 2 (changes)"
    )]
    UnknownChunk {
        /// Its type.
        found: u8,
    },
    /// A part has more columns than Automerge writes.
    #[error("a part of the document has {found} columns, Automerge writes some twenty")]
    TooManyColumns {
        /// How many.
        found: u64,
    },
    /// It has too many changes, or too many operations.
    #[error("the document has more than {max} changes or operations: no more are accepted")]
    TooManyRows {
        /// How many are taken in.
        max: u64,
    },
    /// The operations of a change count too far.
    #[error("the operations of a change begin at {found}, which leaves none for those after them")]
    Counter {
        /// The first one's counter.
        found: u64,
    },
    /// Automerge does not read it.
    #[error("Automerge cannot read the document: {0}")]
    Automerge(String),
    /// Automerge panicked.
    #[error("Automerge panicked over the document")]
    Panic,
}

/// Why a document is not taken into a record. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum DocumentRefused {
    /// The record does not exist, and it is not said that the document shall become it.
    #[error("the record does not exist: a document becomes a new record only on request")]
    Missing,
    /// It is to become a new record, and there is another one.
    #[error("the record exists already, and the document was not made from it")]
    Exists,
    /// It was never made of this record.
    #[error(
        "the document was not made of this record: it has none of the record's changes. Take the record as a document and \
         edit that, or let this one become a new record under another id"
    )]
    Stranger,
    /// It is to become a schema.
    #[error("a document cannot become a schema: write it as a schema")]
    OfSchema,
    /// The record has no document.
    #[error(
        "the record has no Automerge document: one of its authors signed two entries under one number. Edit the record \
         itself, or take its fields into a new one"
    )]
    Forked,
    /// It has no edits.
    #[error("the document has no edits, so no record can be made from it")]
    NoEdits,
    /// A change claims to be a site's, and is none that is known here.
    #[error(
        "the document has a change by actor {}, which is a site's, and the record has no such change here: what sites \
         write comes by replication. Bring this site up to date, or take the document to the site where it was made",
        HEXLOWER.encode(actor)
    )]
    Forged {
        /// The actor.
        actor: Vec<u8>,
    },
    /// A change builds on one that is nowhere.
    #[error(
        "a change of the document builds on change {}, which is neither in the document nor in the record here: save the \
         document as a whole, and bring this site up to date",
        HEXLOWER.encode(hash)
    )]
    Lacks {
        /// Its hash.
        hash: [u8; 32],
    },
    /// It has its own edits twice.
    #[error(
        "the document has edits twice: as the program made them, and as they were taken in (change {}). It was merged \
         with a document that was made afterwards. Take the record as a document again, and edit that",
        HEXLOWER.encode(hash)
    )]
    Doubled {
        /// The hash of one of them as it was taken in.
        hash: [u8; 32],
    },
    /// Fields of it do not fit the schema or the format.
    #[error("the document does not fit: {}", listed(fields, *further))]
    Misfits {
        /// At most [`MISFITS_MAX`].
        fields: Vec<Misfit>,
        /// How many are not listed.
        further: usize,
    },
    /// A change has too many operations.
    #[error(
        "a change of the document has {found} operations, at most {OPERATIONS_MAX} fit into one: edit in parts"
    )]
    TooManyOperations {
        /// How many.
        found: usize,
    },
    /// A change creates too many of the fields that sites share.
    #[error(
        "a change of the document creates {found} counters, texts, lists and maps that the schema declares, at most \
         {GENESIS_MAX} can be created by one: edit in parts"
    )]
    TooManyGenesis {
        /// How many.
        found: usize,
    },
    /// A change speaks of what is nowhere.
    #[error("change {} of the document is broken: {reason}", HEXLOWER.encode(hash))]
    Broken {
        /// Its hash.
        hash: [u8; 32],
        /// What is wrong.
        reason: &'static str,
    },
    /// A change was taken in before, and that cannot be made sense of.
    #[error(
        "change {} of the document was merged before, but its result cannot be read here",
        HEXLOWER.encode(hash)
    )]
    Forgotten {
        /// Its hash.
        hash: [u8; 32],
    },
    /// A change does not pass the check of the format.
    #[error("change {} of the document cannot be merged: {source}", HEXLOWER.encode(hash))]
    Change {
        /// Its hash.
        hash: [u8; 32],
        /// Why.
        source: EditError,
    },
}

fn listed(fields: &[Misfit], further: usize) -> String {
    let mut text = fields.iter().map(Misfit::to_string).collect::<Vec<_>>().join("; ");
    if further > 0 {
        text.push_str(&format!("; and {further} further"));
    }
    text
}

/// A field of a document that does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{path:?} {reason}")]
pub struct Misfit {
    /// Its dotted path.
    pub path: String,
    /// Why it does not.
    pub reason: MisfitReason,
}

/// Why a field of a document does not fit.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MisfitReason {
    /// It is of another kind than declared.
    #[error("is of kind {expected}, found a value of kind {found}")]
    Kind {
        /// The declared kind.
        expected: Kind,
        /// The kind of the value.
        found: &'static str,
    },
    /// It does not have the form of its kind.
    #[error("is of kind {expected}, found {found:?}; expected {form}")]
    Form {
        /// The declared kind.
        expected: Kind,
        /// The value, at most its beginning.
        found: String,
        /// What the kind's values look like.
        form: &'static str,
    },
    /// An unsigned integer is too large.
    #[error("is {found}, which does not fit into a signed integer of 64 bits")]
    Unsigned {
        /// The number.
        found: u64,
    },
    /// A value is of a type that Automerge does not know.
    #[error("holds a value of the unknown type {code}")]
    UnknownType {
        /// Automerge's code of the type.
        code: u8,
    },
    /// It cannot be called so.
    #[error("cannot be written: {0}")]
    Name(#[from] NameError),
    /// Something was put over a counter.
    #[error(
        "is a counter, and something was put over it: what others add meanwhile would be lost. Take the record as a \
         document again, and increment the counter by the difference"
    )]
    CounterReplaced,
    /// A counter was removed, or a map that holds some.
    #[error(
        "is a counter or holds one, and was removed: what others add meanwhile would be lost. Take the record as a \
         document again, and set the counter to 0 by an increment"
    )]
    CounterRemoved,
    /// A counter begins or is incremented too far.
    #[error("is incremented by, or begins at, {found}; at most {INCREMENT_MAX} either way")]
    Amount {
        /// The amount.
        found: i64,
    },
    /// A text has something else than text in it.
    #[error("is a text with something other than text in it")]
    NotText,
    /// A text has marks.
    #[error("is a text with marks (formatting), which the format does not know")]
    Mark,
    /// It is a table.
    #[error("is a table, which the format does not know")]
    Table,
    /// `_deleted` is neither true nor false.
    #[error("must be true or false")]
    Deleted,
    /// It lies too deep.
    #[error("is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// It is required, and missing.
    #[error("is required, of kind {kind}, and missing or null")]
    Required {
        /// Its kind.
        kind: Kind,
    },
}
