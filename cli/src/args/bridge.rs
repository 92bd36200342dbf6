//! What can be said of bridges.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Subcommand)]
pub(crate) enum BridgeCommand {
    /// Show what a bridge would do: columns, SQL, rights, and every refusal; changes nothing and needs no node
    Plan {
        /// The bridge's name in branchline.toml
        name: String,
        #[command(flatten)]
        file: ConfigArgs,
    },
    /// Install what a bridge needs in its database, and begin to load what is there
    Install {
        /// The bridge
        name: String,
    },
    /// Show the bridges of this site
    List,
    /// Show how bridges are, table by table, and what other sites have not confirmed
    Status {
        /// Only this bridge
        name: Option<String>,
    },
    /// Let a bridge rest; what the application changes is noted meanwhile
    Pause {
        /// The bridge
        name: String,
    },
    /// Let a bridge go on; tables that have stopped are compared as a whole
    Resume {
        /// The bridge
        name: String,
    },
    /// Say which side holds, after a restore or where the two have parted; the other is made equal to it
    Resync {
        /// The bridge
        name: String,
        /// Only this table
        table: Option<String>,
        /// The side that holds: its rows, or its records, are written over the other's
        #[arg(long, value_name = "SIDE")]
        from: SideArg,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
    /// Compare tables, what the node knows of them, and records; exits with 1 where something differs
    Verify {
        /// The bridge
        name: String,
        /// Only this table
        table: Option<String>,
        /// Carry over what differs, as if it had just been changed
        #[arg(long)]
        repair: bool,
    },
    /// Show rows and records that are set aside, with what refused them
    Errors {
        /// The bridge
        name: String,
    },
    /// Try again at once what is set aside
    Requeue {
        /// The bridge
        name: String,
        /// Numbers, as `errors` shows them
        #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// All that is set aside
        #[arg(long)]
        all: bool,
    },
    /// Remove all that a bridge has installed in its database; rows and records stay
    Remove {
        /// The bridge
        name: String,
        /// Print the SQL that does it instead, for a database whose node is gone
        #[arg(long)]
        sql: bool,
        #[command(flatten)]
        file: ConfigArgs,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
}

/// Where the bridges of commands stand that need no node.
#[derive(clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file; branchline.toml in the data folder if not given
    #[arg(long, value_name = "FILE", env = "BRANCHLINE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SideArg {
    /// Rows are written over records
    Database,
    /// Records are written over rows
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
