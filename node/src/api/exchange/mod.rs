//! What leaves a site and comes in: entries, changes, events, bundles.

pub(crate) mod bundle;
pub(crate) mod changes;
pub(crate) mod event_log;
pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod sync;
pub(crate) mod unsent;
