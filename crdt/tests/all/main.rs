//! Replicas that are given their inputs by hand. One program, since each would be built with a replica of its own:
//! `cargo test -p branchline-crdt --test all membership`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backlog;
mod bundle;
mod documents;
mod events;
mod feed;
mod forks;
mod gossip;
mod heal;
mod indexes;
mod lives;
mod membership;
mod pair;
mod pinned;
mod repair;
mod room;
mod spaces;
mod versions;
mod writes;
