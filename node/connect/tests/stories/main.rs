//! Stories of a bridge on a SQLite file: what it promises an office, each promise a test by its name. `B8` and the like
//! name a row of the library of failures of others that the test is of.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../office/mod.rs"]
mod office;

mod aside;
mod concurrency;
mod drift;
mod filter;
mod load;
mod mass;
mod receipts;
mod repair;
mod restore;
mod settings;
mod shop;
