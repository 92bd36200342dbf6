//! Connectors: what stands between an office's node and the systems that the office has already.
//!
//! [`jobs`] is what they share, and [`sql`] keeps tables of a database and collections of the node in step.

pub mod jobs;
pub mod sql;
