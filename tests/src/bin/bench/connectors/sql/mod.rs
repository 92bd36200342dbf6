//! Bridges between tables and collections, beside plain SQL in the same run: real servers that sync every commit, nodes
//! and bridges in this process.

pub(crate) mod apply;
pub(crate) mod capture;
pub(crate) mod lag;
pub(crate) mod trigger;

mod bridge;
mod database;
#[path = "../../../../../../node/connect/tests/servers/mod.rs"]
mod servers;
mod session;
mod used;

use clap::ValueEnum;

/// The databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    Postgres,
    #[value(name = "mariadb")]
    MariaDb,
    Sqlite,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::Sqlite => "SQLite",
        }
    }
}

/// What takes the writes: the databases are processes of their own.
const BY: &str = "bridge in this process, server processes";
