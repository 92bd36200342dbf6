//! Jobs of one site.

pub(crate) mod documents;
pub(crate) mod feed;
pub(crate) mod open;
pub(crate) mod query;
pub(crate) mod reading;
mod sqlite;
pub(crate) mod writing;
