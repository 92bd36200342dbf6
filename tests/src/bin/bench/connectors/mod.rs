//! Jobs of bridges, sources and sinks.

pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod sql;
pub(crate) mod weaviate;
