//! How values become bytes and back: codec, compression, checksums, and files that are carried. It knows nothing of
//! what the bytes mean.

pub mod codec;
pub mod container;
pub mod digest;
pub mod json;
pub mod pack;
pub(crate) mod skim;
