//! A Branchline node: everything that touches the world. Storage, network, HTTP API and configuration around the
//! pure [`branchline_crdt::Replica`].
//!
//! [`Node::start`] runs a site; [`Node::open`] opens the folder of one that is stopped; [`Handle`] is what programs
//! use of either, and [`records`] has what they write and read with it.
//!
//! A till, which sells whether or not there is a line (`examples/till.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/till.rs")]
//! ```
//!
//! Crates above this one add to a node what they do for it: see [`extension`].
//!
//! A consumer of the feed of changes with a durable cursor (`examples/feed.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/feed.rs")]
//! ```
//!
//! Events that are stored once and never changed, name by name of an event-sync kit (`examples/events.rs`, which
//! `docs/events.md` explains):
//!
//! ```no_run
#![doc = include_str!("../examples/events.rs")]
//! ```

pub mod api;
pub mod backup;
mod builder;
pub mod bundle;
pub mod clock;
pub mod config;
mod drafts;
mod driver;
pub mod events;
pub mod extension;
pub mod feed;
pub mod handle;
mod log_limit;
mod look;
mod metrics;
pub mod network;
mod node;
pub mod peers;
pub mod records;
pub mod site;
pub mod socket;
pub mod storage;
pub mod sync;
pub mod tickets;
pub mod traffic;
pub mod visible;
pub mod whole_file;

pub use builder::Builder;
pub use config::{Config, ConfigError, LogFormat, Overrides, Settings};
pub use extension::Extension;
pub use handle::Handle;
pub use node::{Node, StartError};
pub use site::init::{InitError, InitReport, init};
pub use site::rotate::{RotateError, RotateReport, rotate};
