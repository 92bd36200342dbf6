//! What can be said of connectors.

use clap::Subcommand;
use clap::builder::TypedValueParser;

use super::BridgeCommand;

#[derive(Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Keep tables of the office's own database in step with collections: PostgreSQL, MariaDB or SQLite
    #[command(subcommand)]
    Bridge(BridgeCommand),
    /// Pull objects from another service into a collection
    #[command(subcommand)]
    Source(SourceCommand),
    /// Push records to another service, in the form it wants, and keep it up to date
    #[command(subcommand)]
    Sink(SinkCommand),
    /// Look at jobs, waiting, running or finished: runs of sources and sinks, and the loading of bridged tables
    #[command(subcommand)]
    Jobs(JobsCommand),
}

#[derive(Subcommand)]
pub(crate) enum SourceCommand {
    /// List this site's sources
    List,
    /// Pull now, after any runs already waiting; prints the job's number
    Run {
        /// The source's name in branchline.toml
        name: String,
        /// Fetch all objects, and find those that are gone
        #[arg(long)]
        full: bool,
        /// Show what would change, and change nothing; waits for the result
        #[arg(long)]
        dry_run: bool,
        /// Allow more records to become inactive than inactive_guard permits
        #[arg(long)]
        accept: bool,
        /// Wait until it ends; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
    },
    /// Show what a source would request and when, and anything to watch out for; requests nothing
    Plan {
        /// The source's name in branchline.toml
        name: String,
    },
    /// Show the state of sources: last run, next run, and which site runs them
    Status {
        /// Only this source
        name: Option<String>,
    },
    /// Show the latest runs, whichever site made them
    History {
        /// The source
        name: String,
    },
    /// Pause a source; a run in progress finishes first
    Pause {
        /// The source
        name: String,
    },
    /// Resume a source
    Resume {
        /// The source
        name: String,
    },
    /// List objects that the last runs could not store, and why
    Errors {
        /// The source
        name: String,
    },
    /// Run a source here that another site has been running; that site stops once it hears of it
    Takeover {
        /// The source
        name: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum SinkCommand {
    /// List this site's sinks
    List,
    /// Show what a sink sends and what it would push now; sends nothing
    Plan {
        /// The sink's name in branchline.toml
        name: String,
        /// Show this many items
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        items: usize,
    },
    /// Push now what is waiting, or check everything; prints the job's number
    Run {
        /// The sink's name in branchline.toml
        name: String,
        /// Check all groups, changed or not, and retry what was refused
        #[arg(long)]
        full: bool,
        /// Show what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Allow a changed configuration to push more items than ask_over permits
        #[arg(long)]
        yes: bool,
        /// Kind weaviate: send only the objects of this collection, whatever the server has
        #[arg(long, value_name = "COLLECTION", conflicts_with_all = ["full", "edges"])]
        entity: Option<String>,
        /// Kind weaviate: send only edges, whatever the server has
        #[arg(long, conflicts_with = "full")]
        edges: bool,
        /// With --edges: send at most this many
        #[arg(long, value_name = "N", requires = "edges")]
        limit: Option<u64>,
        /// With --edges: skip this many first, in the order of their names and ends
        #[arg(long, value_name = "M", requires = "edges", default_value_t = 0)]
        offset: u64,
        /// Wait until it ends; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
        /// With --dry-run: show this many items
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        items: usize,
    },
    /// Read objects back and compare them with what was delivered; exits with 1 if somebody else has changed any
    Verify {
        /// The sink
        name: String,
        /// Send the ones that differ again
        #[arg(long)]
        repair: bool,
    },
    /// Show the state of sinks: what is waiting, what was refused, and since when
    Status {
        /// Only this sink
        name: Option<String>,
    },
    /// List groups: when they were touched and synced, remote id, digest, attempts and last error
    Groups {
        /// The sink
        name: String,
        /// Only those waiting to be sent
        #[arg(long, conflicts_with = "failed")]
        dirty: bool,
        /// Only those that were refused
        #[arg(long)]
        failed: bool,
        /// Only those after this id
        #[arg(long, value_name = "ID")]
        after: Option<String>,
        /// List at most this many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000).map(small))]
        limit: usize,
    },
    /// Pause a sink; whatever is in progress finishes first
    Pause {
        /// The sink
        name: String,
    },
    /// Resume a sink
    Resume {
        /// The sink
        name: String,
    },
    /// List what was refused, and why
    Errors {
        /// The sink
        name: String,
    },
    /// Retry what was refused
    Requeue {
        /// The sink
        name: String,
        /// The groups, as `errors` shows them
        #[arg(value_name = "ID", required_unless_present_any = ["all", "since", "until"])]
        ids: Vec<String>,
        /// All of them
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Those refused at or after this time, such as 2026-11-29T08:00:00Z
        #[arg(long, value_name = "T", conflicts_with = "ids")]
        since: Option<String>,
        /// Those refused before this time
        #[arg(long, value_name = "T", conflicts_with = "ids")]
        until: Option<String>,
    },
    /// Show the latest runs
    History {
        /// The sink
        name: String,
    },
    /// Run a sink here that another site has been running; that site stops once it hears of it
    Takeover {
        /// The sink
        name: String,
        /// Do not ask for confirmation
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
    /// List jobs, latest first
    List {
        /// Only those that are waiting or running
        #[arg(long)]
        open: bool,
    },
    /// Show one job and its result
    Show {
        /// Its number
        id: u64,
        /// Wait until it ends; exits with 1 if it fails
        #[arg(long)]
        wait: bool,
    },
    /// Cancel a job: a waiting one at once, a running one at the next point where it can stop cleanly
    Cancel {
        /// Its number
        id: u64,
    },
}
