//! Connectors: what stands between an office's node and the systems that the office has already.
//!
//! [`jobs`] is what they share, [`sql`] keeps tables of a database and collections of the node in step, [`source`] pulls a
//! third party's objects and [`sink`] pushes to one, over [`http`] or by a program's own means. A program registers all of it
//! where it starts a node: [`extension`].

pub mod api;
mod extension;
pub mod http;
pub mod jobs;
mod kinds;
pub mod sink;
pub mod source;
pub mod sql;

pub use extension::{configured, extension, extension_with};
pub use kinds::{Kinds, option};
