//! What the node keeps in fields: the one place where the bridge takes it from.

pub use branchline_crdt::query::Filter;
pub use branchline_crdt::record::{
    DECIMAL_DIGITS_MAX, FIELD_NAME_BYTES_MAX, Fields, INCREMENT_MAX, Kind, RECORD_ID_BYTES_MAX,
    Schema, VALUE_BYTES_MAX, Value, check_collection,
};
