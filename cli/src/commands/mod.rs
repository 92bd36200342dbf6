//! The commands, one file per family.

pub(crate) mod connectors;
pub(crate) mod import;
pub(crate) mod members;
pub(crate) mod page;
pub(crate) mod records;
pub(crate) mod site;
