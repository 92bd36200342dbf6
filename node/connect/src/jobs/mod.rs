//! What all connectors share.

pub mod duration;
pub mod fault;
pub mod rate;
pub mod retry;
pub mod secret;
pub mod template;
