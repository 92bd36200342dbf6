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

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage";

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
    /// The space to work in, by name or id [default: main]
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
        /// A name for the site that people will recognise, such as the office's
        #[arg(long)]
        name: String,
        /// Found a new network, with this site as its first admin
        #[arg(long)]
        found: bool,
    },
    /// Run the site's node until it is stopped
    Run(RunArgs),
    /// Replace the site's key while its node is stopped; the name and role stay
    Rotate,
    #[command(flatten)]
    Site(SiteCommand),
    /// Report the running site's health in one line for a monitoring system; exits with 0, 1, 2 or 3, as Nagios plugins do
    Check(CheckArgs),
    /// Back the whole site up to one file, or restore it from one
    #[command(subcommand)]
    Backup(BackupCommand),
    #[command(flatten)]
    Connector(ConnectorCommand),
    /// Set up the office's web page
    #[command(subcommand)]
    Page(PageCommand),
    /// Manage the people who sign in to the office's web page with a password
    #[command(subcommand)]
    User(UserCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run three offices on this machine, cut a link, and watch them catch up
    Demo {
        /// Play another story: sql, where each office has a SQLite file and an application that only knows SQL
        story: Option<DemoStory>,
        /// Keep the sites' data in this folder afterwards
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
    /// Address at which other sites can reach this one from outside; repeatable
    #[arg(long, value_name = "MULTIADDR", env = "BRANCHLINE_EXTERNAL", value_delimiter = ',')]
    pub(crate) external: Vec<Multiaddr>,
    /// Address of a site to stay connected to, ending in /p2p/SITE; repeatable
    #[arg(long, value_name = "MULTIADDR", env = "BRANCHLINE_PEER", value_delimiter = ',')]
    pub(crate) peer: Vec<Multiaddr>,
    /// Address on which the HTTP API listens; must be a loopback address
    #[arg(long, value_name = "HOST:PORT", env = "BRANCHLINE_API", value_parser = parse_api)]
    pub(crate) api: Option<SocketAddr>,
    /// Do not look for sites on the local network
    #[arg(long, env = "BRANCHLINE_NO_MDNS", value_parser = BoolishValueParser::new())]
    pub(crate) no_mdns: bool,
    /// Configuration file [default: branchline.toml in the data folder]
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
    /// Create a ticket that lets new sites join, or list and withdraw open tickets
    Invite(InviteArgs),
    /// Join a network with a ticket
    Join {
        /// The ticket's file, or - for stdin. The ticket itself also works, but other users of this machine can see what is
        /// on a command line
        #[arg(value_name = "FILE")]
        ticket: String,
    },
    /// List the network's sites, or show the history of its membership
    Members(MembersArgs),
    /// Shut a site out of the network for good; what this site already holds of its writes stays
    Revoke {
        /// Its name or id
        site: String,
        /// Also shut out every site that it let in, and every site that those let in
        #[arg(long)]
        with_admitted: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Change a site's role, or admit a site that joined with a ticket that was no longer valid
    Role {
        /// Its name or id
        site: String,
        /// Its new role: reader, writer or admin
        role: Role,
    },
    /// Rename a site
    Rename {
        /// Its name or id
        site: String,
        /// Its new name
        name: String,
    },
    /// Share records with only some of the sites
    #[command(subcommand)]
    Space(SpaceCommand),
    /// Show a record, or save its Automerge document to a file
    Get(GetArgs),
    /// Write a record: it gets these fields and no others
    Put {
        #[command(flatten)]
        record: RecordArgs,
        /// The fields as a JSON object, or - to read them from stdin, or @FILE from a file
        #[arg(value_name = "JSON|-|@FILE")]
        fields: String,
    },
    /// Change some fields of a record; null removes a field, {"$inc": n} adds to a counter
    ///
    /// A plain number for a counter adds its difference from what this site shows now. So if two sites that are out of
    /// touch both take stock, both differences count: with 40 on the books, counting 38 here and 37 there gives 35. Let
    /// one site take stock, or use `{"$inc": n}`.
    Patch {
        #[command(flatten)]
        record: RecordArgs,
        /// The fields as a JSON object, or - to read them from stdin, or @FILE from a file
        #[arg(value_name = "JSON|-|@FILE")]
        fields: String,
    },
    /// Delete a record
    Delete {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// Restore a deleted record
    Undelete {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// Merge an Automerge document of a record that another program has edited
    MergeDocument(MergeDocumentArgs),
    /// List the records of a collection
    List(ListArgs),
    /// Count records and total their fields, by group
    Summary(SummaryArgs),
    /// Count the records of a collection
    Count {
        /// The collection
        collection: String,
    },
    /// Import records from CSV or JSON, from a file or a pipe
    Import(ImportArgs),
    /// Export the records of a collection
    Export(ExportArgs),
    /// Show, change or check schemas
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Store, load and follow events: records that never change
    #[command(subcommand)]
    Events(EventsCommand),
    /// List fields for which offices wrote different values at the same time
    Conflicts {
        /// Only of this collection
        collection: Option<String>,
        /// Only of this record
        id: Option<String>,
        /// List edits to deleted records instead, made by sites that did not know of the deletion
        #[arg(long)]
        deleted: bool,
    },
    /// Settle conflicts by choosing one of a field's values, for one record or for many
    Settle(SettleArgs),
    /// Show a record's changes, newest last
    History {
        #[command(flatten)]
        record: RecordArgs,
        /// Show at most this many changes
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
    },
    /// Show what differs between two states of a record; by default, what the last change did
    Diff {
        #[command(flatten)]
        record: RecordArgs,
        /// The earlier state: the start of a change's hash, or its entry, as `history` prints them
        from: Option<String>,
        /// The later state [default: the record as it is now]
        to: Option<String>,
    },
    /// Show which sites have safely stored the latest changes of a record
    Receipts {
        #[command(flatten)]
        record: RecordArgs,
    },
    /// List log entries, newest last
    Log(LogArgs),
    /// Print which entries this site holds, as a file for `bundle --since`
    Frontier,
    /// Show what this site holds and other sites have not confirmed yet: which records, since when, how many bytes
    Unsent {
        /// Only for this site, by name or id
        site: Option<String>,
    },
    /// Sync with other sites now, and report the outcome
    Sync(SyncArgs),
    /// Write entries to a file that can be carried to another site and merged there
    Bundle(BundleArgs),
    /// Merge a bundle, or everything in another site's data folder
    Merge {
        /// The bundle or the data folder
        path: PathBuf,
    },
    /// Print changes to records as they arrive
    Watch(WatchArgs),
    /// Show the state of this site and its storage, and how far behind other sites are
    Status {
        /// List everything that is not in step instead: each record, site and reason
        #[arg(long)]
        why: bool,
    },
    /// Show connections to other sites
    Peers,
    /// Print a digest of all records or of one collection; sites that hold the same records print the same
    Digest {
        /// The collection
        collection: Option<String>,
    },
    /// Open the office's web page in the browser, signed in by a link that works once
    Open(OpenArgs),
    /// Make the running node read its configuration file again
    Reload,
    /// Check all stored data for damage
    Verify {
        /// Also check that Automerge reads the same values from each record's document
        #[arg(long)]
        documents: bool,
    },
    /// Rebuild the tables from the journal
    Rebuild,
    /// Replace the token that programs send to the API
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
    parsed.map_err(|_| format!("{text:?} is not an address; expected for example 127.0.0.1:7400"))
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
