//! `bridge`: tables of the office's own database, kept in step with collections.

mod offline;
mod set_aside;
mod status;
mod verify;

use branchline_connect::api::{
    BridgeRemovedResponse, InstalledResponse, PausedResponse, ResumedResponse, ResyncRequest,
    ResyncingResponse,
};
use serde_json::json;

use super::say;
use crate::Context;
use crate::args::{BridgeCommand, Global, SideArg};
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, counted};

/// Does what is asked; what needs no node opens no site.
pub(crate) async fn run(global: &Global, command: BridgeCommand) -> Result<(), CliError> {
    match command {
        BridgeCommand::Plan { name, file } => {
            offline::plan(global, &name, file.config.as_deref()).await
        }
        BridgeCommand::Remove { name, sql: true, file, .. } => {
            offline::remove_sql(global, &name, file.config.as_deref()).await
        }
        command => crate::on_site(global, async |context| ask(context, command).await).await,
    }
}

async fn ask(context: &Context, command: BridgeCommand) -> Result<(), CliError> {
    match command {
        // These need no site, and have been dealt with.
        BridgeCommand::Plan { .. } => Ok(()),
        BridgeCommand::List => status::list(context).await,
        BridgeCommand::Status { name } => status::status(context, name.as_deref()).await,
        BridgeCommand::Install { name } => install(context, &name).await,
        BridgeCommand::Pause { name } => {
            let answer: PausedResponse =
                context.client.post(&path(&name, "/pause"), &json!({})).await?;
            let said =
                format!("bridge {name} rests; what the application changes is noted meanwhile");
            say(context, &answer, said)
        }
        BridgeCommand::Resume { name } => {
            let answer: ResumedResponse =
                context.client.post(&path(&name, "/resume"), &json!({})).await?;
            let compared = match answer.tables_compared {
                0 => String::new(),
                number => format!(", and compares {}", counted(number, "table")),
            };
            let said = format!("bridge {name} is running again{compared}");
            say(context, &answer, said)
        }
        BridgeCommand::Resync { name, table, from, yes } => {
            resync(context, &name, table, from, yes).await
        }
        BridgeCommand::Verify { name, table, repair } => {
            verify::verify(context, &name, table, repair).await
        }
        BridgeCommand::Errors { name } => set_aside::errors(context, &name).await,
        BridgeCommand::Requeue { name, ids, all } => {
            set_aside::requeue(context, &name, (!all).then_some(ids)).await
        }
        BridgeCommand::Remove { name, yes, .. } => remove(context, &name, yes).await,
    }
}

/// The path of a bridge.
fn path(name: &str, behind: &str) -> String {
    format!("/v1/bridges/{}{behind}", encoded(name))
}

async fn install(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: InstalledResponse =
        context.client.post_patiently(&path(name, "/install"), &json!({})).await?;
    let tables = answer.installed.join(", ");
    say(context, &answer, format!("bridge {name} is installed for {tables}"))?;
    output::note(format_args!(
        "`branchline bridge status {name}` shows how far it has loaded them"
    ));
    Ok(())
}

async fn resync(
    context: &Context,
    name: &str,
    table: Option<String>,
    from: SideArg,
    yes: bool,
) -> Result<(), CliError> {
    let of = table.as_deref().map_or("all its tables".to_owned(), |table| format!("table {table}"));
    let (kept, lost) = match from {
        SideArg::Database => ("the rows", "records that differ are written over"),
        SideArg::Collection => {
            ("the records", "rows that differ are written over, those without a record deleted")
        }
    };
    let question = format!("Of {of} of bridge {name}, {kept} hold: {lost}. Is that meant?");
    output::require_yes(yes, question)?;
    let request = ResyncRequest { table, from: from.as_str().to_owned() };
    let answer: ResyncingResponse =
        context.client.post_patiently(&path(name, "/resync"), &request).await?;
    let tables = answer.resyncing.join(", ");
    say(context, &answer, format!("{tables}: made equal to the {}", answer.from))?;
    output::note(format_args!("`branchline bridge status {name}` shows how far it is"));
    Ok(())
}

async fn remove(context: &Context, name: &str, yes: bool) -> Result<(), CliError> {
    let question = format!(
        "Triggers and tables of bridge {name} are removed from its database, and changes are noted no more. Is that meant?"
    );
    output::require_yes(yes, question)?;
    let answer: BridgeRemovedResponse =
        context.client.post_patiently(&path(name, "/remove"), &json!({})).await?;
    let tables = answer.removed.join(", ");
    say(
        context,
        &answer,
        format!("bridge {name} is removed from {tables}; rows and records stay"),
    )?;
    output::note("take its [[bridge]] out of branchline.toml, then `branchline reload`");
    Ok(())
}
