//! The SQLite side of bridges, on real files, with an application that has its own connections.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "sqlite/shop.rs"]
mod shop;

#[path = "sqlite/capture.rs"]
mod capture;
