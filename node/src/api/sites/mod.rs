//! This site, the others, and what is decided of them.

pub(crate) mod decisions;
pub(crate) mod joining;
pub(crate) mod maintenance;
pub(crate) mod members;
pub(crate) mod membership_history;
pub(crate) mod reload;
pub(crate) mod spaces;
pub(crate) mod standing;
pub(crate) mod status;
pub(crate) mod tickets;
pub(crate) mod token;
