//! Sinks against a service that misbehaves on purpose: each row of the list of failures by what must hold.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../tls/mod.rs"]
mod authorities;
mod confirm;
mod desk;
mod groups;
#[path = "../office/mod.rs"]
mod office;
mod order;
mod outage;
mod refuse;
mod remote;
mod settings;
mod steps;
mod takeover;
mod tls;
mod verify;
