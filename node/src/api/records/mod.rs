//! Records: one and many, their schemas, histories and conflicts.

pub(crate) mod collections;
pub(crate) mod conflicts;
pub(crate) mod documents;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod merge_document;
pub(crate) mod query;
pub(crate) mod record;
pub(crate) mod schema_check;
pub(crate) mod schemas;
pub(crate) mod settle;
pub(crate) mod transactions;
pub(crate) mod writes;
