//! Why the demo did not come to its end.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use branchline_crdt::replica::WriteError;
use branchline_node::handle::{NoTicket, NotJoined, ReadError, Stopped};
use branchline_node::{InitError, StartError};

use crate::error::CliError;

/// Why the demo did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    /// What the nodes show is not what the story says: the fault is the program's.
    #[error("the demo's claim does not hold: expected {expected}, found {found}")]
    Claim { expected: String, found: String },
    /// Something that should happen did not.
    #[error("waited {} s for {awaited}; last seen: {seen}", waited.as_secs())]
    Deadline { awaited: String, waited: Duration, seen: String },
    /// Ctrl-C.
    #[error("the demo was interrupted")]
    Interrupted,
    #[error("the products in the program cannot be read: {0}")]
    Products(#[from] csv::Error),
    #[error("cannot use {path}: {source}", path = path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// Nothing was written.
    #[error("{path} is not empty, expected a new folder for the demo", path = path.display())]
    NotEmpty { path: PathBuf },
    #[error("no link could be laid on loopback: {source}")]
    Link { source: io::Error },
    #[error("an office's file: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("a bridge: {0}")]
    Bridge(String),
    #[error(transparent)]
    Init(#[from] InitError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Invite(#[from] NoTicket),
    #[error(transparent)]
    Join(#[from] NotJoined),
    #[error(transparent)]
    Write(#[from] Box<WriteError>),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Writing to stdout.
    #[error(transparent)]
    Output(#[from] io::Error),
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Init(error) => error.into(),
            DemoError::Start(error) => error.into(),
            DemoError::Output(error) => error.into(),
            DemoError::NotEmpty { .. } => Self::usage(error.to_string()),
            DemoError::Claim { .. }
            | DemoError::Deadline { .. }
            | DemoError::Interrupted
            | DemoError::Products(_)
            | DemoError::Folder { .. }
            | DemoError::Link { .. }
            | DemoError::Sql(_)
            | DemoError::Bridge(_)
            | DemoError::Invite(_)
            | DemoError::Join(_)
            | DemoError::Write(_)
            | DemoError::Read(_)
            | DemoError::Stopped(_) => Self::failed(error.to_string()),
        }
    }
}
