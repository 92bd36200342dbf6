//! What can be said on the command line; `records` has what is said of records.

mod bridge;
mod check;
mod connectors;
mod entries;
mod events;
mod files;
mod links;
mod page;
mod records;
mod settle;
mod space;
mod token;

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;

use branchline_crdt::membership::Role;
use branchline_node::LogFormat;
use clap::builder::BoolishValueParser;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use libp2p::Multiaddr;

pub(crate) use bridge::{BridgeCommand, SideArg};
pub(crate) use check::CheckArgs;
pub(crate) use connectors::{ConnectorCommand, JobsCommand, SinkCommand, SourceCommand};
pub(crate) use entries::{LogArgs, MembersArgs};
pub(crate) use events::EventsCommand;
pub(crate) use files::{BackupCommand, BundleArgs};
pub(crate) use links::{InviteArgs, InviteCommand, SyncArgs, TicketArgs};
pub(crate) use page::{OpenArgs, PageCommand, PasswordArgs, UserCommand};
pub(crate) use records::{
    ExportArgs, FileFormat, GetArgs, ImportArgs, LISTED, ListArgs, MergeDocumentArgs, RecordArgs,
    SchemaCommand, SummaryArgs, WatchArgs,
};
pub(crate) use settle::SettleArgs;
pub(crate) use space::SpaceCommand;
pub(crate) use token::TokenCommand;

const EXIT_CODES: &str = "Exit codes: 0 done, 1 it failed, 2 asked wrongly";

/// Keeps the records of many offices in step, with or without a link between them.
#[derive(Parser)]
#[command(name = "branchline", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Runs a Branchline site. The same as `branchline run`.
#[derive(Parser)]
#[command(name = "branchline-node", version, after_help = EXIT_CODES)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Where the site is looked for where nothing else is said.
const DATA: &str = "./branchline-data";
/// The environment variable that says something else.
const DATA_VARIABLE: &str = "BRANCHLINE_DATA";

#[derive(clap::Args)]
pub(crate) struct Global {
    /// The site's data folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = DATA_VARIABLE,
        default_value = DATA
    )]
    pub(crate) data: PathBuf,
    /// Print JSON for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The space that records and entries are of, by name or id; main if not given
    #[arg(long, id = "of_space", global = true, value_name = "SPACE")]
    pub(crate) space: Option<String>,
}

impl Global {
    /// What of this a command has to say that goes on where this one ended.
    pub(crate) fn said(&self) -> String {
        let data = env::var_os(DATA_VARIABLE).map_or_else(|| DATA.into(), PathBuf::from);
        let mut said = String::new();
        if self.data != data {
            said += &option("data", &self.data.display().to_string());
        }
        said + &self.space.iter().map(|space| option("space", space)).collect::<String>()
    }
}

/// An option of a command line, quoted for a shell.
pub(crate) fn option(name: &str, value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,".contains(c);
    // What begins with a minus could be an option of its own.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    if !value.is_empty() && value.chars().all(is_plain) {
        format!(" --{name}{between}{value}")
    } else {
        format!(" --{name}{between}'{}'", value.replace('\'', r"'\''"))
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new site in the data folder
    Init {
        /// The site's name for people, for example the office's
        #[arg(long)]
        name: String,
        /// Found a network with this site as its first admin
        #[arg(long)]
        found: bool,
    },
    /// Run the site's node until it is stopped
    Run(RunArgs),
    /// Give the site of a stopped node another key; its name and role stay
    Rotate,
    #[command(flatten)]
    Site(SiteCommand),
    /// Report in one line, for a monitoring system, how the running site is; exits with 0, 1, 2 or 3 as Nagios plugins do
    Check(CheckArgs),
    /// Keep the site in one file, and rebuild it from that
    #[command(subcommand)]
    Backup(BackupCommand),
    #[command(flatten)]
    Connector(ConnectorCommand),
    /// The page for the office
    #[command(subcommand)]
    Page(PageCommand),
    /// Those who sign in to the page for the office with a password
    #[command(subcommand)]
    User(UserCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Show three offices, a cut link and a heal on this machine
    Demo {
        /// Another story: sql, where each office has a SQLite file and an application that knows only SQL
        story: Option<DemoStory>,
        /// Keep the sites' data in this folder
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum DemoStory {
    /// Three offices, each with a SQLite file of its own
    Sql,
}

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Address to listen on for other sites, for example /ip4/0.0.0.0/tcp/4001; repeatable
    #[arg(long, value_name = "MULTIADDR", env = "BRANCHLINE_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<Multiaddr>,
    /// Address at which others reach this site from elsewhere; repeatable
    #[arg(long, value_name = "MULTIADDR", env = "BRANCHLINE_EXTERNAL", value_delimiter = ',')]
    pub(crate) external: Vec<Multiaddr>,
    /// Address of a site to be dialled always, ending in /p2p/SITE; repeatable
    #[arg(long, value_name = "MULTIADDR", env = "BRANCHLINE_PEER", value_delimiter = ',')]
    pub(crate) peer: Vec<Multiaddr>,
    /// Where the HTTP API listens; a loopback address
    #[arg(long, value_name = "HOST:PORT", env = "BRANCHLINE_API", value_parser = parse_api)]
    pub(crate) api: Option<SocketAddr>,
    /// Do not look for sites on the local network
    #[arg(long, env = "BRANCHLINE_NO_MDNS", value_parser = BoolishValueParser::new())]
    pub(crate) no_mdns: bool,
    /// Configuration file; branchline.toml in the data folder if not given
    #[arg(long, value_name = "FILE", env = "BRANCHLINE_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// What to log, for example debug or info,libp2p=warn
    #[arg(long, value_name = "FILTER", env = "BRANCHLINE_LOG")]
    pub(crate) log: Option<String>,
    /// How to log: text or json
    #[arg(long, value_name = "FORMAT", env = "BRANCHLINE_LOG_FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Commands on a site, whether or not its node runs.
#[derive(Subcommand)]
pub(crate) enum SiteCommand {
    /// Make a ticket with which new sites can join, or show and withdraw those that are open
    Invite(InviteArgs),
    /// Join a network with a ticket
    Join {
        /// The ticket's file; - reads it from stdin. The ticket itself is taken too, but other users of the machine can
        /// see what is on a command line
        #[arg(value_name = "FILE")]
        ticket: String,
    },
    /// Show the sites of the network, or what became of them
    Members(MembersArgs),
    /// Shut a site out of the network for good, from the moment at which this one last heard of it
    Revoke {
        /// Its name or id
        site: String,
        /// Shut out as well whom it let in, by its tickets or at its door, and they in turn
        #[arg(long)]
        with_admitted: bool,
        /// Do not ask whether that is meant
        #[arg(long)]
        yes: bool,
    },
    /// Let a site do more or less than before, or make one a member that came by a ticket too late
    Role {
        /// Its name or id
        site: String,
        /// What it may do: reader, writer or admin
        role: Role,
    },
    /// Call a site otherwise
    Rename {
        /// Its name or id
        site: String,
        /// Its name from now on
        name: String,
    },
    /// Share records with some sites alone
    #[command(subcommand)]
    Space(SpaceCommand),
    /// Show a record, or write its Automerge document to a file
    Get(GetArgs),
    /// Give a record these fields and no others
    Put {
        #[command(flatten)]
        record: RecordArgs,
        /// The fields as a JSON object; - reads stdin, @FILE a file
        #[arg(value_name = "JSON|-|@FILE")]
        fields: String,
    },
    /// Change some fields of a record; null removes one, {"$inc": n} adds to a counter
    ///
    /// A plain number for a counter adds the difference to what this site shows now. So where two sites count the same
    /// stock apart from each other, both differences count: 40 in the books, 38 counted here and 37 there, comes to 35.
    /// Let one site count, or count with `{"$inc": n}`.
    Patch {
        #[command(flatten)]
        record: RecordArgs,
        /// The fields as a JSON object; - reads stdin, @FILE a file
        #[arg(value_name = "JSON|-|@FILE")]
        fields: String,
    },
    /// Delete a record
    Delete {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// Bring a deleted record back
    Undelete {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// Take in an Automerge document of a record, which another program has edited
    MergeDocument(MergeDocumentArgs),
    /// List the records of a collection
    List(ListArgs),
    /// Count the records of a collection, and sum them up, by group
    Summary(SummaryArgs),
    /// Count the records of a collection
    Count {
        /// The collection
        collection: String,
    },
    /// Import records from CSV or JSON: a file or a pipe
    Import(ImportArgs),
    /// Export the records of a collection
    Export(ExportArgs),
    /// Show or change schemas
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Store, load and follow events, which are never changed
    #[command(subcommand)]
    Events(EventsCommand),
    /// Show fields with more than one concurrent value
    Conflicts {
        /// Only of this collection
        collection: Option<String>,
        /// Only of this record
        id: Option<String>,
        /// Instead, edits of deleted records by sites that did not know of the deletion
        #[arg(long)]
        deleted: bool,
    },
    /// Settle conflicts: write one of a field's values again, for a record or for many
    Settle(SettleArgs),
    /// Show what became of a record: each change, newest last
    History {
        #[command(flatten)]
        record: RecordArgs,
        /// At most so many changes
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show what is different between two states of a record, by default what the last change did
    Diff {
        #[command(flatten)]
        record: RecordArgs,
        /// The earlier state: the beginning of a change's hash, or its entry, as `history` prints them
        from: Option<String>,
        /// The later state; the record as it is now if not given
        to: Option<String>,
    },
    /// Show which sites hold the latest changes of a record durably
    Receipts {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// List the entries of logs, newest last
    Log(LogArgs),
    /// Print what this site holds, as a file for `bundle --since`
    Frontier,
    /// Show what other sites have not confirmed yet of what this one holds: records, since when, bytes
    Unsent {
        /// Only this site: its name or id
        site: Option<String>,
    },
    /// Pull from and push to other sites now, and report the outcome
    Sync(SyncArgs),
    /// Write entries to a file, to be carried to a site and merged there
    Bundle(BundleArgs),
    /// Take in a bundle, or all that another site's data folder holds
    Merge {
        /// The bundle or folder
        path: PathBuf,
    },
    /// Print what changes, as it comes
    Watch(WatchArgs),
    /// Show the site, its storage, and who holds what
    Status {
        /// Show what is not in step instead: each record, site and reason
        #[arg(long)]
        why: bool,
    },
    /// Show the connections to other sites
    Peers,
    /// Print a digest of all records, or of one collection: equal where the same is held
    Digest {
        /// The collection
        collection: Option<String>,
    },
    /// Open the page for the office in the browser, signed in by a link that serves once
    Open(OpenArgs),
    /// Let the running node read its configuration file again
    Reload,
    /// Check everything that is stored
    Verify {
        /// And that Automerge reads in each record's document what is shown
        #[arg(long)]
        documents: bool,
    },
    /// Rebuild the tables from the journal
    Rebuild,
    /// Change the token that programs send to the API's port
    #[command(subcommand)]
    Token(TokenCommand),
}

impl Command {
    /// Whether it is about the records or entries of a space.
    pub(crate) fn is_of_space(&self) -> bool {
        match self {
            Self::Site(command) => command.is_of_space(),
            Self::Init { .. }
            | Self::Run(_)
            | Self::Rotate
            | Self::Check(_)
            | Self::Backup(_)
            | Self::Connector(_)
            | Self::Page(_)
            | Self::User(_)
            | Self::Completions { .. }
            | Self::Demo { .. } => false,
        }
    }
}

impl SiteCommand {
    fn is_of_space(&self) -> bool {
        match self {
            Self::Get(_)
            | Self::Put { .. }
            | Self::Patch { .. }
            | Self::Delete { .. }
            | Self::Undelete { .. }
            | Self::MergeDocument(_)
            | Self::List(_)
            | Self::Summary(_)
            | Self::Count { .. }
            | Self::Import(_)
            | Self::Export(_)
            | Self::Schema(_)
            | Self::Events(_)
            | Self::Conflicts { .. }
            | Self::Settle(_)
            | Self::History { .. }
            | Self::Diff { .. }
            | Self::Receipts { .. }
            | Self::Log(_)
            | Self::Frontier
            | Self::Unsent { .. }
            | Self::Members(MembersArgs { history: true, .. })
            | Self::Bundle(_)
            | Self::Watch(_)
            | Self::Status { why: true }
            | Self::Digest { .. } => true,
            Self::Invite(_)
            | Self::Join { .. }
            | Self::Members(MembersArgs { history: false, .. })
            | Self::Revoke { .. }
            | Self::Role { .. }
            | Self::Rename { .. }
            | Self::Space(_)
            | Self::Sync(_)
            | Self::Merge { .. }
            | Self::Status { why: false }
            | Self::Peers
            | Self::Open(_)
            | Self::Reload
            | Self::Verify { .. }
            | Self::Rebuild
            | Self::Token(_) => false,
        }
    }
}

fn parse_api(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let parsed = numeric.as_deref().unwrap_or(text).parse();
    parsed.map_err(|_| format!("{text:?} is no address, expected for example 127.0.0.1:7400"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        Args::command().debug_assert();
        NodeArgs::command().debug_assert();
    }

    #[test]
    fn the_api_may_be_named_by_localhost() {
        assert_eq!(parse_api("localhost:7400"), parse_api("127.0.0.1:7400"));
        assert!(parse_api("7400").is_err());
    }
}
