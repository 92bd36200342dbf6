//! The command line of Branchline.
//!
//! Every command speaks the node's HTTP API through one client, whether or not a node runs on the data
//! folder. Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

mod arenas;
mod args;
mod client;
mod commands;
mod demo;
mod error;
mod extensions;
mod log_filter;
mod out_file;
mod output;
mod visible;

use std::path::PathBuf;
use std::process::ExitCode;

use branchline_node::clock;
use clap::{CommandFactory, Parser};

use args::{
    Args, BackupCommand, Command, Global, InviteArgs, NodeArgs, SchemaCommand, SiteCommand,
    TokenCommand,
};
use client::Client;
use commands::members::{decisions, joining, space, tickets};
use commands::records::{
    conflicts, document, events, export, history, merge_document, schema, schema_check, settle,
    summary, watch,
};
use commands::site::{backup, bundle, check, init, log, maintenance, run, status, sync, unsent};
use commands::{connectors, import, members, page, records};
use error::CliError;

pub use commands::import::{ReadRow, read_import};

/// `branchline`.
pub fn main_of_cli() -> ExitCode {
    match Args::try_parse() {
        Ok(Args { global, command }) => finish(execute(&global, command)),
        Err(error) if error.use_stderr() && is_check_asked() => {
            error.print().ok();
            finish(check::unknown("the command line is wrong"))
        }
        Err(error) if error.use_stderr() => {
            output::note(error.render().to_string().trim_end());
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
        Err(error) => error.exit(),
    }
}

/// Whether the command line, right or wrong, asks for `check`, which has exit codes of its own.
fn is_check_asked() -> bool {
    let read = Args::command().ignore_errors(true).try_get_matches();
    read.is_ok_and(|read| read.subcommand_name() == Some("check"))
}

/// `branchline-node`: `branchline run` by another name.
pub fn main_of_node() -> ExitCode {
    let NodeArgs { global, run } = NodeArgs::parse();
    finish(execute(&global, Command::Run(run)))
}

fn finish(result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report();
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(global: &Global, command: Command) -> Result<(), CliError> {
    if let Some(space) = global.space.as_ref().filter(|_| !command.is_of_space()) {
        let text = format!(
            "--space {space} is given to a command that is not about the records of a space"
        );
        return if matches!(command, Command::Check(_)) {
            check::unknown(&text)
        } else {
            Err(CliError::usage(text)
                .hint("`branchline space --help` shows what can be done with spaces"))
        };
    }
    if let Err(error) = clock::check() {
        return match command {
            Command::Check(_) => check::unknown(&error.to_string()),
            Command::Completions { shell } => init::completions(shell),
            Command::Init { .. }
            | Command::Run(_)
            | Command::Rotate
            | Command::Backup(_)
            | Command::Connector(_)
            | Command::Page(_)
            | Command::User(_)
            | Command::Site(_)
            | Command::Demo { .. } => Err(CliError::failed(error.to_string())),
        };
    }
    match command {
        Command::Demo { story, keep } => demo::run(story, keep),
        Command::Init { name, found } => init::init(global, &name, found),
        Command::Rotate => init::rotate(global),
        Command::Completions { shell } => init::completions(shell),
        Command::Page(command) => page::page(global, command),
        Command::User(command) => page::user(global, command),
        Command::Run(args) => {
            arenas::few();
            block_on(run::run(global, args))
        }
        Command::Check(args) => block_on(check::check(global, args)),
        Command::Connector(command) => {
            run::log_warnings();
            block_on(connectors::run(global, command))
        }
        Command::Backup(BackupCommand::Create { out, force }) => {
            run::log_warnings();
            block_on(on_site(global, async |context| {
                backup::create(context, global, &out, force).await
            }))
        }
        Command::Backup(BackupCommand::Restore { backup }) => {
            run::log_warnings();
            block_on(backup::restore(global, &backup))
        }
        Command::Site(command) => {
            run::log_warnings();
            block_on(on_site(global, async |context| run_on_site(context, command).await))
        }
    }
}

fn block_on(future: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CliError::failed(format!("the program cannot start: {error}")))?;
    runtime.block_on(future)
}

/// What a command on a site works with.
struct Context {
    client: Client,
    /// Whether the output is for programs.
    json: bool,
    /// The site's data folder.
    data: PathBuf,
    /// See [`Global::said`].
    said: String,
}

async fn on_site(
    global: &Global,
    work: impl AsyncFnOnce(&Context) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let client = Client::connect(&global.data).await?.in_space(global.space.clone());
    let (data, said) = (global.data.clone(), global.said());
    let context = Context { client, json: global.json, data, said };
    let result = work(&context).await;
    context.client.close().await;
    result
}

async fn run_on_site(context: &Context, command: SiteCommand) -> Result<(), CliError> {
    match command {
        SiteCommand::Invite(InviteArgs { command: Some(command), .. }) => {
            tickets::run(context, command).await
        }
        SiteCommand::Invite(args) => joining::invite(context, args.ticket).await,
        SiteCommand::Join { ticket } => joining::join(context, ticket).await,
        SiteCommand::Members(args) => members::members(context, args).await,
        SiteCommand::Revoke { site, with_admitted, yes } => {
            decisions::revoke(context, &site, with_admitted, yes).await
        }
        SiteCommand::Role { site, role } => decisions::role(context, &site, role).await,
        SiteCommand::Rename { site, name } => decisions::rename(context, &site, name).await,
        SiteCommand::Space(command) => space::run(context, command).await,
        SiteCommand::Peers => joining::peers(context).await,
        SiteCommand::Put { record, fields } => records::put(context, &record, &fields).await,
        SiteCommand::Get(args) => document::get(context, args).await,
        SiteCommand::Patch { record, fields } => records::patch(context, &record, &fields).await,
        SiteCommand::Delete { record } => records::delete(context, &record).await,
        SiteCommand::Undelete { record } => records::undelete(context, &record).await,
        SiteCommand::MergeDocument(args) => merge_document::run(context, args).await,
        SiteCommand::List(args) => records::list(context, args).await,
        SiteCommand::Summary(args) => summary::summary(context, &args).await,
        SiteCommand::Count { collection } => records::count(context, &collection).await,
        SiteCommand::Import(args) => import::run(context, args).await,
        SiteCommand::Export(args) => export::run(context, args).await,
        SiteCommand::Schema(SchemaCommand::Show { collection }) => {
            schema::show(context, collection).await
        }
        SiteCommand::Schema(SchemaCommand::Apply { file }) => schema::apply(context, &file).await,
        SiteCommand::Schema(SchemaCommand::Check { collection, limit }) => {
            schema_check::check(context, collection, limit).await
        }
        SiteCommand::Events(command) => events::run(context, command).await,
        SiteCommand::Conflicts { collection, id, deleted } => {
            conflicts::conflicts(context, collection, id, deleted).await
        }
        SiteCommand::Settle(args) => settle::run(context, args).await,
        SiteCommand::Bundle(args) => bundle::bundle(context, args).await,
        SiteCommand::Sync(args) => sync::sync(context, args).await,
        SiteCommand::Merge { path } => bundle::merge(context, &path).await,
        SiteCommand::History { record, limit } => history::history(context, &record, limit).await,
        SiteCommand::Diff { record, from, to } => history::diff(context, &record, from, to).await,
        SiteCommand::Receipts { record } => history::receipts(context, &record).await,
        SiteCommand::Log(args) => log::log(context, args).await,
        SiteCommand::Frontier => log::frontier(context).await,
        SiteCommand::Unsent { site } => unsent::unsent(context, site.as_deref()).await,
        SiteCommand::Status { why: false } => status::status(context).await,
        SiteCommand::Status { why: true } => status::why(context).await,
        SiteCommand::Watch(args) => watch::watch(context, args).await,
        SiteCommand::Digest { collection } => status::digest(context, collection).await,
        SiteCommand::Open(args) => page::open(context, args).await,
        SiteCommand::Reload => maintenance::reload(context).await,
        SiteCommand::Verify { documents } => maintenance::verify(context, documents).await,
        SiteCommand::Rebuild => maintenance::rebuild(context).await,
        SiteCommand::Token(TokenCommand::Rotate) => maintenance::rotate_token(context).await,
    }
}
