//! Documents that another program edited: from bytes to changes of this site.
//!
//! A document holds changes that the record has and changes of other programs' actors. The format knows no actors but those
//! of sites, so the foreign changes cannot become the record's as they are: each is translated, operation by operation,
//! into one change of the site that takes the document in. The translated change names the same values that the foreign
//! one named, so that everything merges as Automerge merges it. What differs is which of several concurrent values is
//! shown, and in which order texts stand that two wrote at the same place at the same time: that follows from operation
//! ids, and the translated ones are this site's.
//!
//! `chunks` and `columns` look at bytes before Automerge sees them, `read` lets Automerge read them, `merge` takes the
//! changes of a document in, `translation` translates one with the help of `writing`, `sharing` and `value_texts`, `texts`
//! are those that stand for values, `known` says where the document's values are in the record, `convert` makes values fit
//! the kinds that a schema declares.

mod chunks;
mod columns;
mod convert;
mod fault;
mod known;
mod limits;
mod merge;
mod read;
mod sharing;
mod texts;
mod translation;
mod value_texts;
mod writing;

pub use fault::{DocumentFault, DocumentRefused, MISFITS_MAX, Misfit, MisfitReason};
pub use limits::{
    DOCUMENT_BYTES_MAX, DOCUMENT_CHANGES_MAX, DOCUMENT_OPERATIONS_MAX, INFLATED_BYTES_MAX,
};
pub use merge::{Merge, merge_document};
pub use read::ForeignDocument;
