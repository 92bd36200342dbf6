//! What can be said of connectors.

use clap::Subcommand;
use clap::builder::TypedValueParser;

use super::BridgeCommand;

#[derive(Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Keep tables of the office's own database in step with collections: PostgreSQL, MariaDB or SQLite
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Pull a third party's objects into a collection
    #[command(subcommand)]
    Source(SourceCommand),
    /// Push what is made of records to a third party, and keep it in step
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Look at the runs of sources and sinks, and at bridges' loads: those that wait, are at work, and have ended
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
    /// Show what a source asks for and when, and what to know of it; asks for nothing
    Plan {
        /// The source's name in branchline.toml
        name: String,
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
pub(crate) enum SinkCommand {
    /// Show the sinks of this site
    List,
    /// Show what a sink sends, and what it would push now; sends nothing
    Plan {
        /// The sink's name in branchline.toml
        name: String,
        /// Show so many items
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        items: usize,
    },
    /// Push now what waits, or look at everything; prints the job's number
    Run {
        /// The sink's name in branchline.toml
        name: String,
        /// Look at all groups, whatever has changed, and try again what was refused
        #[arg(long)]
        full: bool,
        /// Show what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Let a changed configuration push more items than ask_over allows
        #[arg(long)]
        yes: bool,
        /// Of kind weaviate: send the objects of this collection alone, whatever the server has
        #[arg(long, value_name = "COLLECTION", conflicts_with_all = ["full", "edges"])]
        entity: Option<String>,
        /// Of kind weaviate: send edges alone, whatever the server has
        #[arg(long, conflicts_with = "full")]
        edges: bool,
        /// Of edges: at most so many
        #[arg(long, value_name = "N", requires = "edges")]
        limit: Option<u64>,
        /// Of edges: those behind so many, in the order of their names and ends
        #[arg(long, value_name = "M", requires = "edges", default_value_t = 0)]
        offset: u64,
        /// Wait for its end; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
        /// Of a dry run, show so many items
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        items: usize,
    },
    /// Read objects back and compare them with what was delivered; exits with 1 if others have changed any
    Verify {
        /// The sink
        name: String,
        /// Send those that differ once more
        #[arg(long)]
        repair: bool,
    },
    /// Show how sinks are: state, what waits, what was refused, and since when
    Status {
        /// Only this sink
        name: Option<String>,
    },
    /// Show groups: touched and synced when, remote id, digest, attempts and last error
    Groups {
        /// The sink
        name: String,
        /// Only those that wait to be sent
        #[arg(long, conflicts_with = "failed")]
        dirty: bool,
        /// Only those that were refused
        #[arg(long)]
        failed: bool,
        /// Behind this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        limit: usize,
    },
    /// Let a sink rest; what is under way comes to its end
    Pause {
        /// The sink
        name: String,
    },
    /// Let a sink go on
    Resume {
        /// The sink
        name: String,
    },
    /// Show what was refused, and why
    Errors {
        /// The sink
        name: String,
    },
    /// Try again what was refused
    Requeue {
        /// The sink
        name: String,
        /// The groups, as `errors` has them
        #[arg(value_name = "ID", required_unless_present_any = ["all", "since", "until"])]
        ids: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Those that were refused at this time or later: 2026-11-29T08:00:00Z
        #[arg(long, value_name = "T", conflicts_with = "ids")]
        since: Option<String>,
        /// Those that were refused before this time
        #[arg(long, value_name = "T", conflicts_with = "ids")]
        until: Option<String>,
    },
    /// Show the last runs
    History {
        /// The sink
        name: String,
    },
    /// Run a sink here that another site ran; that one stops when it hears of it
    Takeover {
        /// The sink
        name: String,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
}

/// A number that is small by its range.
fn small(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
