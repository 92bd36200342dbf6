//! `verify`, `rebuild`, `reload` and `token rotate`.

use axum::http::Method;
use branchline_node::api::{RebuildResponse, VerifyResponse};
use branchline_node::extension::Reloaded;
use serde_json::json;

use crate::Context;
use crate::commands::records::document;
use crate::error::CliError;
use crate::output::{self, counted, counted_entries};

/// Checks everything that is stored, and on request that Automerge reads the same.
pub(crate) async fn verify(context: &Context, with_documents: bool) -> Result<(), CliError> {
    let mut report: VerifyResponse = context.client.ask_patiently("/v1/verify").await?;
    let documents = if with_documents { Some(document::verify(context).await?) } else { None };
    if let Some(found) = &documents {
        report.sound &= found.is_sound();
        report.fault_count += found.fault_count;
        report.faults.extend_from_slice(&found.faults);
    }
    let (entries, records) = (counted_entries(report.entries), counted(report.records, "record"));
    if context.json {
        let mut answer = json!(report);
        if let Some(found) = &documents {
            answer["documents"] = json!(found);
        }
        output::json(&answer)?;
    } else if report.sound {
        let alike = documents.as_ref().map(|found| counted(found.records, "record"));
        let alike = alike.map(|read| format!("; Automerge reads {read} alike"));
        output::line(format_args!("sound: {entries}, {records}{}", alike.unwrap_or_default()))?;
    } else {
        report.faults.iter().try_for_each(output::line)?;
        let untold = report.fault_count.saturating_sub(report.faults.len() as u64);
        if untold > 0 {
            output::line(format_args!("and {} more", counted(untold, "fault")))?;
        }
    }
    documents.iter().for_each(document::tell_left_out);
    if report.sound {
        Ok(())
    } else {
        let faults = counted(report.fault_count, "fault");
        Err(CliError::failed(format!("{faults} found; {entries} and {records} are sound"))
            .hint("`branchline rebuild` rebuilds the tables; damaged journal frames come back from other sites while the node runs"))
    }
}

/// Rebuilds the tables.
pub(crate) async fn rebuild(context: &Context) -> Result<(), CliError> {
    let report: RebuildResponse = context.client.ask_patiently("/v1/rebuild").await?;
    if context.json {
        output::json(&report)
    } else {
        output::line(format_args!(
            "the tables are rebuilt from {}",
            counted_entries(report.entries)
        ))
    }
}

/// Lets the node read its configuration again.
pub(crate) async fn reload(context: &Context) -> Result<(), CliError> {
    let reloaded: Reloaded = context.client.ask_patiently("/v1/reload").await?;
    if context.json {
        return output::json(&reloaded);
    }
    let Reloaded { applied, needs_restart } = reloaded;
    output::line(if applied.is_empty() {
        "nothing has changed that can be taken up while the node runs".to_owned()
    } else {
        format!("taken up: {}", applied.join(", "))
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
