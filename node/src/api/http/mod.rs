//! Connections and requests before any handler sees them: who may ask, and how much at a time.

pub(crate) mod answer;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod hosts;
pub(crate) mod metrics;
pub(crate) mod one_shape;
pub(crate) mod places;
pub(crate) mod room;
pub(crate) mod server;
