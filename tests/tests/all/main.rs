//! What users run, as they run it: processes, folders, sockets, disks, databases. One program, since each that is linked
//! takes all of Branchline in, and so that slow tests run beside each other. One file or folder for each concern:
//! `cargo test -p branchline-tests --test all usb_stick`.

#![allow(missing_docs)]

mod api_page;
mod backup;
mod bad_input;
mod bridge_commands;
mod bridge_scene;
mod connector_kills;
mod connector_restore;
mod crash_every_write;
mod crash_kills;
mod data_folder;
mod disk_faults;
mod disk_flips;
mod documents;
mod events;
mod feed;
mod files;
mod hostile_http;
mod hostile_peer;
mod import;
mod inspect;
mod local_access;
mod merge_document;
mod metrics;
mod network_links;
mod offices;
mod openapi;
mod queries;
mod recipes;
mod revocation;
mod schemas;
mod settle;
mod sink_commands;
mod source_commands;
mod spaces;
mod terminal;
mod usb_stick;
mod weaviate_commands;
mod weaviate_kills;
mod writes;

/// The program.
const PROGRAM: &str = env!("CARGO_BIN_EXE_branchline-under-test");
