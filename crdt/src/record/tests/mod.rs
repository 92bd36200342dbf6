#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod datetimes;
mod editors;
mod foreign;
mod foreign_hostile;
mod foreign_laws;
mod forged;
mod format;
mod hostile;
mod laws;
mod numbers;
mod stories;
mod support;
mod versions;
