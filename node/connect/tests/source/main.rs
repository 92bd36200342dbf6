//! Sources with a real node and a provider that misbehaves: what they promise an office, each promise a test by its name.
//! `C7` and the like name a row of the library of failures of others that the test is of.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../tls/mod.rs"]
mod authorities;
#[path = "../office/mod.rs"]
mod offices;

mod kills;
mod lifecycle;
mod office;
mod provider;
mod runs;
mod tls;
mod trouble;
