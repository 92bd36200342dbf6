//! Sinks to a Weaviate that behaves as the real one does, its traps included.

mod edges;
#[path = "../../../../tests/weaviate/mod.rs"]
mod fake;
mod office;
mod rest;
mod server;
mod stories;
mod takeover;
