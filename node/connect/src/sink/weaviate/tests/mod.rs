//! Sinks to a Weaviate that behaves as the real one does, its traps included.

mod office;
mod requests;
mod server;
mod stories;
