//! `sink groups` and `sink errors`.

use branchline_connect::api::{SinkEdgeResponse, SinkGroupResponse, SinkGroupsResponse};

use super::path;
use crate::Context;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, visible};

/// Items that `errors` shows.
const ERRORS_SHOWN: usize = 1_000;

/// Lists groups.
pub(super) async fn list(
    context: &Context,
    name: &str,
    which: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<(), CliError> {
    let after = after.map_or(String::new(), |after| format!("&after={}", encoded(after)));
    let query = format!("/groups?which={which}&limit={limit}{after}");
    let answer: SinkGroupsResponse = context.client.get(&path(name, &query)).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.groups.is_empty() && answer.edges.is_empty() {
        output::note("there are none");
        return Ok(());
    }
    let header =
        ["ID", "STATE", "REMOTE ID", "TOUCHED", "SYNCED", "DIGEST", "ATTEMPTS", "LAST ERROR"];
    let row = |group: SinkGroupResponse| {
        let state = if group.outcome_unknown {
            format!("{}, outcome unknown", group.state.replace('-', " "))
        } else {
            group.state.replace('-', " ")
        };
        let digest = group.digest.unwrap_or_default().chars().take(12).collect();
        let error = visible(&group.last_error.unwrap_or_default());
        [
            visible(&group.id),
            state,
            visible(&group.remote_id.unwrap_or_default()),
            group.touched_at.unwrap_or_default(),
            group.synced_at.unwrap_or_default(),
            digest,
            group.attempts.to_string(),
            error,
        ]
    };
    if !answer.groups.is_empty() {
        output::table(header, answer.groups.into_iter().map(row).collect())?;
    }
    if !answer.edges.is_empty() {
        let header = ["EDGE", "ATTEMPTS", "LAST ERROR"];
        let row = |edge: SinkEdgeResponse| {
            [visible(&edge.id), edge.attempts.to_string(), visible(&edge.last_error)]
        };
        output::table(header, answer.edges.into_iter().map(row).collect())?;
    }
    if let Some(next) = answer.next {
        output::note(format_args!("there are more: --after {next}"));
    }
    Ok(())
}

/// Shows what was refused.
pub(super) async fn errors(context: &Context, name: &str) -> Result<(), CliError> {
    let query = format!("/errors?limit={ERRORS_SHOWN}");
    let answer: SinkGroupsResponse = context.client.get(&path(name, &query)).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.groups.is_empty() && answer.edges.is_empty() {
        output::note("nothing is set aside");
        return Ok(());
    }
    for group in &answer.groups {
        let error = group.last_error.as_deref().unwrap_or_default();
        let (last, next) = (group.failed_at.as_deref(), group.next_try.as_deref());
        refused(&group.id, group.attempts, last, next, error)?;
    }
    for edge in &answer.edges {
        let (last, next) = (edge.failed_at.as_deref(), edge.next_try.as_deref());
        refused(&edge.id, edge.attempts, last, next, &edge.last_error)?;
    }
    if answer.next.is_some() {
        output::note("there are more: `branchline sink groups --failed` has pages");
    }
    output::note(format_args!(
        "\n`branchline sink requeue {name} ID` (or --all) tries them again at once"
    ));
    Ok(())
}

/// Shows one thing that was refused.
fn refused(
    id: &str,
    attempts: u32,
    last: Option<&str>,
    next: Option<&str>,
    error: &str,
) -> Result<(), CliError> {
    let tries = match attempts {
        1 => "refused once".to_owned(),
        attempts => format!("refused {attempts} times"),
    };
    let last = last.map_or(String::new(), |at| format!(", last at {at}"));
    let next = match next {
        Some(next) => format!(", tried again at {next}"),
        None => ", waits for a change or `requeue`".to_owned(),
    };
    output::line(format_args!("{}  {tries}{last}{next}", visible(id)))?;
    output::line(format_args!("   {}", visible(error)))
}
