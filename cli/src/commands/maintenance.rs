//! `verify`, `rebuild`, `reload` and `token rotate`.

use axum::http::Method;
use branchline_node::api::{RebuildAnswer, VerifyAnswer};
use branchline_node::extension::Reloaded;
use serde_json::json;

use crate::Context;
use crate::error::CliError;
use crate::output::{self, counted, counted_entries};

/// Checks everything that is stored.
pub(crate) async fn verify(context: &Context) -> Result<(), CliError> {
    let report: VerifyAnswer = context.client.ask_patiently("/v1/verify").await?;
    let (entries, records) = (counted_entries(report.entries), counted(report.records, "record"));
    if context.json {
        output::json(&report)?;
    } else if report.sound {
        output::line(format_args!("sound: {entries}, {records}"))?;
    } else {
        report.faults.iter().try_for_each(output::line)?;
        let untold = report.fault_count.saturating_sub(report.faults.len() as u64);
        if untold > 0 {
            output::line(format_args!("and {} more", counted(untold, "fault")))?;
        }
    }
    match report.sound {
        true => Ok(()),
        false => {
            let faults = counted(report.fault_count, "fault");
            Err(CliError::failed(format!("{faults} found beside {entries} and {records} that are sound"))
                .hint("`branchline rebuild` makes the tables anew; damaged journal frames come back from other sites while the node runs"))
        }
    }
}

/// Makes the tables anew.
pub(crate) async fn rebuild(context: &Context) -> Result<(), CliError> {
    let report: RebuildAnswer = context.client.ask_patiently("/v1/rebuild").await?;
    match context.json {
        true => output::json(&report),
        false => output::line(format_args!(
            "the tables are made anew from {}",
            counted_entries(report.entries)
        )),
    }
}

/// Lets the node read its configuration again.
pub(crate) async fn reload(context: &Context) -> Result<(), CliError> {
    let reloaded: Reloaded = context.client.ask_patiently("/v1/reload").await?;
    if context.json {
        return output::json(&reloaded);
    }
    let Reloaded { taken_up, needs_restart } = reloaded;
    output::line(match taken_up.is_empty() {
        true => "nothing has changed that can be taken up while the node runs".to_owned(),
        false => format!("taken up: {}", taken_up.join(", ")),
    })?;
    if !needs_restart.is_empty() {
        let settings = needs_restart.join(", ");
        output::note(format_args!("changed too, but in use only after a restart: {settings}"));
    }
    Ok(())
}

/// Replaces the API's token.
pub(crate) async fn rotate_token(context: &Context) -> Result<(), CliError> {
    context.client.send(Method::POST, "/v1/token/rotate", None).await?;
    let path = context.data.join("api.token");
    if context.json {
        return output::json(&json!({ "token_file": path }));
    }
    output::line(format_args!(
        "{} holds a new token; the old one is refused from now on",
        path.display()
    ))
}
