//! The pure core of Branchline: records, entries, logs, frontiers, membership, and the [`Replica`] that ties them
//! together. No IO, no clock, no ambient randomness and no threads: time, randomness and storage are handed in,
//! so that the same code runs in a node and in a simulated world.
//!
//! A record's way through this crate: [`replica::Input::Write`] → an edit of its [`record::Document`] → a change in
//! a [`entry::Transaction`] → a signed [`entry::Entry`] → [`store::Store::append`] → rows ([`tables`]) → gossip and
//! pulls ([`protocol`]) → another site's replica, which verifies, checks, keeps and applies it.

pub mod bundle;
mod cache;
pub mod changes;
pub mod chunks;
pub mod codec;
pub mod digest;
pub mod documents;
pub mod entry;
pub mod events;
pub mod feed;
pub mod frame;
pub mod frontier;
pub mod history;
pub mod holders;
pub mod ids;
pub mod json;
pub mod kinds;
pub mod log;
mod logs;
pub mod membership;
pub mod memory;
pub mod misfits;
pub mod pack;
pub mod prepare;
pub mod protocol;
pub mod query;
pub mod read;
pub mod receipt;
pub mod record;
pub mod replica;
pub mod store;
pub mod tables;
pub mod unsent;
pub mod verify;
pub mod why;

pub use replica::Replica;
