//! What the node keeps in fields: the one place where the mapping takes it from.

pub use branchline_node::records::query::Filter;
pub use branchline_node::records::{
    DECIMAL_DIGITS_MAX, Datetime, FIELD_NAME_BYTES_MAX, Fields, INCREMENT_MAX, RECORD_ID_BYTES_MAX,
    Schema, VALUE_BYTES_MAX, Value, check_collection,
};
