//! The site itself: made, run, watched, backed up, and carried by hand.

pub(crate) mod backup;
pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod maintenance;
pub(super) mod merge_file;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod thresholds;
pub(crate) mod unsent;
