//! What is written, read, followed and imported.

pub(crate) mod documents;
pub(crate) mod events;
pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod import;
pub(crate) mod merge_document;
pub(crate) mod queries;
pub(crate) mod schemas;
pub(crate) mod settle;
pub(crate) mod writes;
