//! Measures of whole nodes, as users would see them: real processes, loopback, durable writes.
//!
//! `cargo build --release && cargo run --release -p branchline-tests --bin branchline-bench -- --help`
//!
//! Prints one JSON line for each job and a table at the end. Compare figures of one run only: machines differ, and so
//! do their moments.

mod alone;
mod between;
mod client;
mod connectors;
mod records;
mod report;
mod site;

use std::path::{Path, PathBuf};
use std::time::Duration;

use branchline_tests::Office;
use clap::{Parser, ValueEnum};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use records::Ids;
use report::Report;

/// Measures whole nodes on this machine: JSON lines, and a table at the end.
#[derive(Parser)]
#[command(name = "branchline-bench")]
struct Args {
    /// What to measure; everything if none is named
    #[arg(value_enum)]
    jobs: Vec<Job>,
    /// Records of the jobs that hold many
    #[arg(long, default_value_t = 100_000)]
    records: usize,
    /// How records are called: sequential, uuid4, uuid7, sites:N (each counts for itself) or natural
    #[arg(long, default_value = "sequential")]
    ids: Ids,
    /// Runs of each job; their median is reported, and the least and greatest
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// What else does the same work in the same run
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// Databases of the jobs that need one; all that are installed if none is named
    #[arg(long, value_enum)]
    database: Vec<connectors::sql::Engine>,
    /// Seconds in which nothing is sold, after which the first sale is measured
    #[arg(long, default_value_t = 60)]
    silence: u64,
    /// The program to measure; `branchline` beside this one if not given
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Folder on the disk to measure; data is kept in a temporary folder within
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Job {
    /// A site that was away gets everything
    Backlog,
    /// Two sites that changed the same records apart from each other meet
    Heal,
    /// One write at a time until it can be read at a connected site
    Live,
    /// Two sites in step find each other again
    Reconnect,
    /// One site alone takes writes
    Write,
    /// Thousands of updates of one record
    Hot,
    /// A node starts
    Open,
    /// Ten sites, of which one or all write
    Many,
    /// A bundle is written, carried and merged
    Bundle,
    /// A backup is taken beside a writer, and restored
    Backup,
    /// Records and pages are read, at rest and during an import
    Read,
    /// Filtered lists and summaries, with an index and without, at rest and during an import
    Query,
    /// The page for the office: its views, and pages that follow
    Page,
    /// Subscribers hear of what is written
    Feed,
    /// Records go out as Automerge documents, come back edited, and are held to what Automerge reads
    Documents,
    /// A source pulls a provider's accounts
    Source,
    /// A sink pushes orders with what belongs to them
    Sink,
    /// A sink keeps records in a Weaviate
    Weaviate,
    /// Rows of a database become records, by a bridge
    SqlCapture,
    /// Records become rows of a database, by a bridge
    SqlApply,
    /// What the triggers of a bridge cost an application
    SqlTrigger,
    /// From a commit in a branch's database until head office can read the row in its own
    SqlLag,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Against {
    /// Logical replication of PostgreSQL, the programs of which must be installed
    Postgres,
}

/// What all jobs need.
pub(crate) struct Bench {
    pub(crate) records: usize,
    pub(crate) runs: usize,
    pub(crate) runtime: Runtime,
    pub(crate) report: Report,
    pub(crate) against_postgres: bool,
    pub(crate) databases: Vec<connectors::sql::Engine>,
    pub(crate) silence: Duration,
    program: PathBuf,
    folder: TempDir,
    folders: usize,
}

impl Bench {
    /// A new folder on the disk that is measured.
    pub(crate) fn folder(&mut self, name: &str) -> PathBuf {
        self.folders += 1;
        let folder = self.folder.path().join(format!("{}-{name}", self.folders));
        std::fs::create_dir(&folder).expect("a folder");
        folder
    }

    /// A new site, which founds a network if it is `head`.
    pub(crate) fn office(&self, folder: &Path, name: &str) -> Office {
        Office::init(&self.program, folder, name, name == "head")
    }
}

fn main() {
    let args = Args::parse();
    args.ids.set();
    let beside = || std::env::current_exe().expect("a path").with_file_name("branchline");
    let program = args.program.unwrap_or_else(beside);
    assert!(
        program.is_file(),
        "{} is missing: build it, or name one with --program",
        program.display()
    );
    let folder = match args.disk {
        Some(disk) => TempDir::new_in(disk),
        None => TempDir::new(),
    };
    let mut bench = Bench {
        records: args.records,
        runs: args.runs as usize,
        runtime: Runtime::new().expect("a runtime"),
        report: Report::new(args.ids),
        databases: match args.database.is_empty() {
            true => connectors::sql::Engine::value_variants().to_vec(),
            false => args.database,
        },
        silence: Duration::from_secs(args.silence),
        against_postgres: args.against == Some(Against::Postgres),
        program,
        folder: folder.expect("a folder"),
        folders: 0,
    };
    let jobs = if args.jobs.is_empty() { Job::value_variants().to_vec() } else { args.jobs };
    for job in jobs {
        match job {
            Job::Backlog => between::backlog::run(&mut bench),
            Job::Heal => between::heal::run(&mut bench),
            Job::Live => between::live::run(&mut bench),
            Job::Reconnect => between::reconnect::run(&mut bench),
            Job::Write => alone::writing::run(&mut bench),
            Job::Hot => between::hot::run(&mut bench),
            Job::Open => alone::open::run(&mut bench),
            Job::Many => between::many::run(&mut bench),
            Job::Bundle => between::carry::bundles(&mut bench),
            Job::Backup => between::carry::backups(&mut bench),
            Job::Read => alone::reading::run(&mut bench),
            Job::Query => alone::query::run(&mut bench),
            Job::Page => between::page::run(&mut bench),
            Job::Feed => alone::feed::run(&mut bench),
            Job::Documents => alone::documents::run(&mut bench),
            Job::Source => connectors::source::run(&mut bench),
            Job::Sink => connectors::sink::run(&mut bench),
            Job::Weaviate => connectors::weaviate::run(&mut bench),
            Job::SqlCapture => connectors::sql::capture::run(&mut bench),
            Job::SqlApply => connectors::sql::apply::run(&mut bench),
            Job::SqlTrigger => connectors::sql::trigger::run(&mut bench),
            Job::SqlLag => connectors::sql::lag::run(&mut bench),
        }
    }
    println!("{}", bench.report.table());
}
