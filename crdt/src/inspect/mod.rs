//! What can be read of a site without its replica: histories, holders, differences and their causes.

pub mod documents;
pub mod history;
pub mod holders;
pub mod kinds;
pub mod log;
pub mod misfits;
pub mod unsent;
pub mod verify;
pub mod why;
