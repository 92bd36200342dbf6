//! The driver of MariaDB, on a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod maria;
mod servers;
