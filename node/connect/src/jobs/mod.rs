//! What all connectors share.

pub mod duration;
pub mod secret;
