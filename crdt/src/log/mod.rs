//! The data of the replicated log: entries, frontiers of them, and receipts for them.

pub mod entry;
pub mod fork;
pub mod frontier;
pub mod receipt;
