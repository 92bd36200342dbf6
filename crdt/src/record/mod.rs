//! Records: one record is one Automerge document.
//!
//! A [`Document`] takes edits from users and changes from peers. An [`Edit`] becomes one
//! [`RecordChange`]; the same verdict is passed on it by its author and by everyone who receives
//! it ([`Document::check`]); applied, it shows in the [`View`]. What is stored of a record is what is live of it.

mod change;
mod compare;
mod datetime;
mod document;
mod edit;
mod event;
mod export;
mod foreign;
mod history;
mod limits;
mod new_record;
mod saved;
mod schema;
mod some_fields;
mod summary;
mod unreadable;
mod value;
mod version;
mod view;
mod written;

pub use change::chunk::ChunkFault;
pub use change::fault::{Fault, OperationFault, Verdict};
pub use change::genesis::{GenesisFault, GenesisKind, InitialChange};
pub use change::leb128::LayoutFault;
pub use change::operation::{ActorBytes, ChangeActor, UnknownOperation};
pub use change::{CheckedChange, ParsedChange, RecordChange};
pub use compare::{Field, KEY_STRING_BYTES, Number, Scalar, indexed_fields};
pub(crate) use compare::{Mantissa, encoded_len};
pub use datetime::{Datetime, DatetimeError};
pub use document::{Document, Validated};
pub use edit::{Edit, EditError, Edited};
pub(crate) use event::{AGGREGATE_ID, DATA, METADATA, TYPE, is_event};
pub use event::{EVENT_NAME_BYTES_MAX, EventFault, event_fields};
pub use export::automerge_of;
pub(crate) use export::{
    heads as heads_of_automerge, load as load_automerge, save as save_automerge,
    view_of as view_of_automerge,
};
pub use foreign::{
    DOCUMENT_BYTES_MAX, DOCUMENT_CHANGES_MAX, DOCUMENT_OPERATIONS_MAX, DocumentFault,
    DocumentRefused, ForeignDocument, INFLATED_BYTES_MAX, MISFITS_MAX, Merge, Misfit, MisfitReason,
    merge_document,
};
pub use history::Inconsistent;
pub(crate) use limits::check_user_field;
pub use limits::{
    CHANGE_BYTES_MAX, COLLECTION_BYTES_MAX, COUNTER_MAX, DECIMAL_DIGITS_MAX, DELETED_FIELD,
    DEPTH_MAX, FIELD_NAME_BYTES_MAX, GENESIS_MAX, INCREMENT_MAX, NameError, OPERATIONS_MAX,
    RECORD_ID_BYTES_MAX, SCHEMA_COLLECTION, SCHEMA_FIELDS_MAX, SCHEMA_INDEXES_MAX, VALUE_BYTES_MAX,
    check_collection, check_record_id,
};
pub use new_record::{Begun, Drafted, NewRecord, begin};
pub use schema::kind::{Kind, UnknownKind};
pub use schema::{FieldSpec, Schema, SchemaError, SchemaMismatch, validate_schema_edit};
pub use some_fields::{FieldNames, NamedValues, SomeFields};
pub use summary::RecordSummary;
pub use unreadable::Unreadable;
pub use value::{Value, ValueRef, fields_into_json, is_plain_decimal};
pub(crate) use value::{is_decimal, timestamp_from_text};
pub use version::{BadVersion, Expected, Version};
pub use view::{Conflict, ConflictValue, Fields, View};
pub use written::decimal_of;
pub(crate) use written::{Significant, Whole, WrittenNumber, exact_float, nearest_float, shown};

#[cfg(test)]
mod tests;
