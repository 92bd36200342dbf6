//! `sink list`, `sink status` and `sink history`.

use branchline_connect::api::{SinkHistoryResponse, SinkResponse, SinkRunResponse, SinksResponse};

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Lists the sinks.
pub(super) async fn list(context: &Context) -> Result<(), CliError> {
    let answer: SinksResponse = context.client.get("/v1/sinks").await?;
    if context.json {
        return output::json(&answer);
    }
    if is_empty(&answer) {
        return Ok(());
    }
    let row = |sink: SinkResponse| {
        let state = said(&sink.state);
        let (dirty, set_aside) = (sink.dirty.to_string(), sink.set_aside.to_string());
        [sink.name, state, sink.kind, sink.collection, sink.space, dirty, set_aside]
    };
    let rows = answer.sinks.into_iter().map(row).collect();
    output::table(["NAME", "STATE", "KIND", "COLLECTION", "SPACE", "DIRTY", "SET ASIDE"], rows)
}

/// Shows how one sink is, or all of them.
pub(super) async fn status(context: &Context, name: Option<&str>) -> Result<(), CliError> {
    let answer = match name {
        None => context.client.get("/v1/sinks").await?,
        Some(name) => SinksResponse { sinks: vec![context.client.get(&path(name, "")).await?] },
    };
    if context.json {
        return match (name, answer.sinks.first()) {
            (Some(_), Some(sink)) => output::json(sink),
            (Some(_) | None, _) => output::json(&answer),
        };
    }
    if is_empty(&answer) {
        return Ok(());
    }
    for (number, sink) in answer.sinks.iter().enumerate() {
        if number > 0 {
            output::line("")?;
        }
        show(sink)?;
    }
    Ok(())
}

fn is_empty(answer: &SinksResponse) -> bool {
    if answer.sinks.is_empty() {
        output::note(
            "this site has no sinks: a [[sink]] in branchline.toml makes one, `branchline reload` takes it up",
        );
    }
    answer.sinks.is_empty()
}

/// A state in words.
fn said(state: &str) -> String {
    state.replace('-', " ")
}

fn show(sink: &SinkResponse) -> Result<(), CliError> {
    let SinkResponse { name, kind, collection, .. } = sink;
    let since = sink.since.as_deref().map_or(String::new(), |since| format!(" since {since}"));
    output::line(format_args!(
        "sink {name} ({collection} to {kind}): {}{since}",
        said(&sink.state)
    ))?;
    if let Some(reason) = &sink.reason {
        output::line(format_args!("  {}", visible(reason)))?;
    }
    if let Some(until) = &sink.until {
        output::line(format_args!("  tries again at {until}"))?;
    }
    if sink.listed > 0 {
        output::line(format_args!("  {} looked at so far", counted(sink.listed, "record")))?;
    }
    let waiting = sink.dirty.saturating_sub(sink.set_aside);
    let since = match &sink.waiting_since {
        Some(since) if waiting > 0 => format!(", the oldest since {since}"),
        Some(_) | None => String::new(),
    };
    output::line(format_args!("  {}, {waiting} to be sent{since}", counted(sink.groups, "group")))?;
    if sink.set_aside > 0 {
        let number = sink.set_aside;
        output::line(format_args!("  {number} set aside: `branchline sink errors {name}`"))?;
    }
    output::line(format_args!(
        "  since the node started: {} created, {} updated, {} deleted, {} unchanged, {} refused, {} tried again",
        sink.created, sink.updated, sink.deleted, sink.unchanged, sink.refused, sink.retried
    ))
}

/// Shows the last runs.
pub(super) async fn history(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: SinkHistoryResponse = context.client.get(&path(name, "/history")).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.runs.is_empty() {
        output::note("nothing was pushed yet");
        return Ok(());
    }
    let header = [
        "RUN",
        "KIND",
        "STARTED",
        "COMPLETED",
        "STATUS",
        "CREATED",
        "UPDATED",
        "DELETED",
        "REFUSED",
        "ERROR",
    ];
    let row = |run: SinkRunResponse| {
        let [created, updated, deleted, refused] =
            [run.created, run.updated, run.deleted, run.refused].map(|number| number.to_string());
        let (started, completed) =
            (run.started_at.unwrap_or_default(), run.completed_at.unwrap_or_default());
        let error = visible(&run.error.unwrap_or_default());
        let number = run.number.to_string();
        [
            number, run.kind, started, completed, run.status, created, updated, deleted, refused,
            error,
        ]
    };
    output::table(header, answer.runs.into_iter().map(row).collect())
}
