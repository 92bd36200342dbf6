//! What users run, as they run it: processes, folders, sockets, disks, databases. One program, since each that is linked
//! takes all of Branchline in, and so that slow tests run beside each other. One file or folder for each concern:
//! `cargo test -p branchline-tests --test all usb_stick`.

#![allow(missing_docs)]

mod api_page;
mod backup;
mod bad_input;
mod connectors;
mod faults;
mod hostile_http;
mod hostile_peer;
mod inspect;
mod local_access;
mod metrics;
mod network_links;
mod offices;
mod openapi;
mod page;
mod pages;
mod recipes;
mod records;
mod revocation;
mod sources;
mod spaces;
mod terminal;
mod usb_stick;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_branchline-under-test");
