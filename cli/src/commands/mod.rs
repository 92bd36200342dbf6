//! The commands, one file per family.

pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod cells;
pub(crate) mod check;
pub(crate) mod conflicts;
pub(crate) mod decisions;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(crate) mod members;
pub(crate) mod membership;
mod merge_file;
pub(crate) mod records;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod schema_check;
pub(crate) mod settle;
pub(crate) mod space;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod sync;
mod ticket;
pub(crate) mod unsent;
pub(crate) mod watch;
