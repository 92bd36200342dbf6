//! The pure core of Branchline: records, entries, logs, frontiers, membership, and the [`Replica`] that ties them
//! together. No IO, no clock, no ambient randomness and no threads: time, randomness and storage are handed in,
//! so that the same code runs in a node and in a simulated world.
//!
//! A record's way through this crate: [`replica::Input::Write`] → an edit of its [`record::Document`] → a change in
//! a [`log::entry::Transaction`] → a signed [`log::entry::Entry`] → [`store::Store::append`] → rows ([`store::tables`]) →
//! gossip and pulls ([`protocol`]) → another site's replica, which verifies, checks, keeps and applies it.
//!
//! The modules stand in layers, and each imports from those above it alone:
//!
//! | layer | what |
//! |---|---|
//! | [`mod@format`], [`verified`], [`ids`] | bytes; signatures that hold; what things are called |
//! | [`record`], [`log`], [`membership`] | a record and its changes; entries, frontiers, receipts; who is a member |
//! | [`store`], [`protocol`] | what is kept; what is sent |
//! | [`query`], [`feed`], [`events`], [`inspect`] | what is read of a store without a replica |
//! | [`replica`], [`bundle`] | what brings it all together; entries in a file |

pub mod bundle;
pub mod events;
pub mod feed;
pub mod format;
pub mod ids;
pub mod inspect;
pub mod log;
pub mod membership;
pub mod protocol;
pub mod query;
pub mod record;
pub mod replica;
pub mod store;
pub mod verified;

pub use replica::Replica;
