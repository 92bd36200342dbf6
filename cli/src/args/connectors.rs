//! What can be said of connectors.

use clap::Subcommand;

use super::BridgeCommand;

#[derive(Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Keep tables of the office's own database in step with collections: PostgreSQL, MariaDB or SQLite
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Pull a third party's objects into a collection
    #[command(subcommand)]
    Source(SourceCommand),
    /// Look at the runs of sources and sinks: those that wait, are at work, and have ended
    #[command(subcommand)]
    Jobs(JobsCommand),
}

#[derive(Subcommand)]
pub(crate) enum SourceCommand {
    /// Show the sources of this site
    List,
    /// Pull now, after the runs that wait already; prints the job's number
    Run {
        /// The source's name in branchline.toml
        name: String,
        /// List all objects, and find those that are gone
        #[arg(long)]
        full: bool,
        /// Say what would change, and change nothing; waits for the answer
        #[arg(long)]
        dry_run: bool,
        /// Let more records become inactive than inactive_guard allows
        #[arg(long)]
        accept: bool,
        /// Wait for its end; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
    },
    /// Show how sources are: state, last and next run, and which site runs them
    Status {
        /// Only this source
        name: Option<String>,
    },
    /// Show the latest runs, of all sites
    History {
        /// The source
        name: String,
    },
    /// Let a source rest; a run at work comes to its end
    Pause {
        /// The source
        name: String,
    },
    /// Let a source go on
    Resume {
        /// The source
        name: String,
    },
    /// Show what the last runs could not keep, and why
    Errors {
        /// The source
        name: String,
    },
    /// Run a source here that another site ran; that one stops when it hears of it
    Takeover {
        /// The source
        name: String,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum JobsCommand {
    /// Show the jobs, the latest first
    List {
        /// Only those that wait or are at work
        #[arg(long)]
        open: bool,
    },
    /// Show one job, and what came of it
    Show {
        /// Its number
        id: u64,
        /// Wait for its end; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
    },
    /// End a job: one that waits at once, one at work where it leaves everything as it was
    Cancel {
        /// Its number
        id: u64,
    },
}
