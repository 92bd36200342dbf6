//! What can be said of bridges.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Subcommand)]
pub(crate) enum BridgeCommand {
    /// Show what a bridge would do: columns, SQL, privileges, and whatever it cannot do; changes nothing, needs no running node
    Plan {
        /// The bridge's name in branchline.toml
        name: String,
        #[command(flatten)]
        file: ConfigArgs,
    },
    /// Install what a bridge needs in its database, and start loading the rows that are there
    Install {
        /// The bridge
        name: String,
    },
    /// List this site's bridges
    List,
    /// Show the state of bridges, table by table, and what other sites have not confirmed yet
    Status {
        /// Only this bridge
        name: Option<String>,
    },
    /// Pause a bridge; changes that the application makes meanwhile are noted for later
    Pause {
        /// The bridge
        name: String,
    },
    /// Resume a bridge; tables that had stopped are compared in full
    Resume {
        /// The bridge
        name: String,
    },
    /// Choose which side is right after a restore, or when the two differ; the other side is made equal to it
    Resync {
        /// The bridge
        name: String,
        /// Only this table
        table: Option<String>,
        /// The side that is right; it overwrites the other
        #[arg(long, value_name = "SIDE")]
        from: SideArg,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Compare tables, the node's notes on them, and records; exits with 1 if anything differs
    Verify {
        /// The bridge
        name: String,
        /// Only this table
        table: Option<String>,
        /// Repair each difference, as if that row or record had just been changed
        #[arg(long)]
        repair: bool,
    },
    /// List rows and records that are set aside, and why
    Errors {
        /// The bridge
        name: String,
    },
    /// Retry what is set aside, at once
    Requeue {
        /// The bridge
        name: String,
        /// Their numbers, as `errors` shows them
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// Everything that is set aside
        #[arg(long)]
        all: bool,
    },
    /// Remove everything that a bridge has installed in its database; rows and records stay
    Remove {
        /// The bridge
        name: String,
        /// Print the SQL for it instead, for a database whose node is gone
        #[arg(long)]
        sql: bool,
        #[command(flatten)]
        file: ConfigArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

/// Where the bridges of commands stand that need no node.
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: branchline.toml in the data folder]
    #[arg(long, value_name = "FILE", env = "BRANCHLINE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SideArg {
    /// Rows overwrite records
    Database,
    /// Records overwrite rows
    Collection,
}

impl SideArg {
    /// As the API has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Collection => "collection",
        }
    }
}
