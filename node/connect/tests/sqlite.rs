//! The SQLite side of bridges, on real files, with an application that has its own connections.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "sqlite/apply.rs"]
mod apply;
#[path = "sqlite/capture.rs"]
mod capture;
#[path = "sqlite/context.rs"]
mod context;
#[path = "sqlite/drift.rs"]
mod drift;
#[path = "sqlite/locks.rs"]
mod locks;
#[path = "sqlite/shapes.rs"]
mod shapes;
#[path = "sqlite/shop.rs"]
mod shop;
