#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod datetimes;
mod format;
mod hostile;
mod laws;
mod numbers;
mod stories;
mod support;
mod versions;
