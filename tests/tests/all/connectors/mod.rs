//! Bridges, sources and sinks, as users run them.

pub(crate) mod bridge_commands;
pub(crate) mod bridge_scene;
pub(crate) mod connector_kills;
pub(crate) mod connector_restore;
pub(crate) mod connector_secrets;
pub(crate) mod connector_spaces;
pub(crate) mod sink_commands;
pub(crate) mod source_commands;
pub(crate) mod weaviate_commands;
pub(crate) mod weaviate_kills;
