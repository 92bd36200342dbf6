//! How values of fields compare, and their order in bytes.

mod field;
mod number;
mod scalar;

pub use field::{Field, indexed_fields};
pub(crate) use number::Mantissa;
pub use number::Number;
pub(crate) use scalar::encoded_len;
pub use scalar::{KEY_STRING_BYTES, Scalar};
