//! Connectors: what stands between an office's node and the systems that the office has already.
//!
//! [`jobs`] is what they share, [`http`] asks remote services, and [`sql`] keeps tables of a database and collections of the node in step. A program
//! registers all of it where it starts a node: [`extension`].

pub mod api;
mod extension;
pub mod http;
pub mod jobs;
pub mod sql;

pub use extension::{configured, extension};
