//! `source list`, `source status` and `source history`.

use branchline_connect::api::{SourceHistoryResponse, SourceResponse, SourcesResponse};

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, visible};

/// Lists the sources.
pub(super) async fn list(context: &Context) -> Result<(), CliError> {
    let answer: SourcesResponse = context.client.get("/v1/sources").await?;
    if context.json {
        return output::json(&answer);
    }
    if is_empty(&answer) {
        return Ok(());
    }
    let row = |source: SourceResponse| {
        let next = source.next_run.unwrap_or_else(|| "on demand".to_owned());
        [source.name, source.state, source.collection, source.space, next]
    };
    let rows = answer.sources.into_iter().map(row).collect();
    output::table(["NAME", "STATE", "COLLECTION", "SPACE", "NEXT RUN"], rows)
}

/// Shows how one source is, or all of them.
pub(super) async fn status(context: &Context, name: Option<&str>) -> Result<(), CliError> {
    let answer = match name {
        None => context.client.get("/v1/sources").await?,
        Some(name) => SourcesResponse { sources: vec![context.client.get(&path(name, "")).await?] },
    };
    if context.json {
        return match (name, answer.sources.first()) {
            (Some(_), Some(source)) => output::json(source),
            (Some(_) | None, _) => output::json(&answer),
        };
    }
    if is_empty(&answer) {
        return Ok(());
    }
    answer.sources.iter().try_for_each(show)
}

fn is_empty(answer: &SourcesResponse) -> bool {
    if answer.sources.is_empty() {
        output::note(
            "this site has no sources: a [[source]] in branchline.toml makes one, `branchline reload` takes it up",
        );
    }
    answer.sources.is_empty()
}

fn show(source: &SourceResponse) -> Result<(), CliError> {
    let SourceResponse { name, kind, collection, state, .. } = source;
    output::line(format_args!("source {name} ({kind} to {collection}): {state}"))?;
    if let Some(reason) = &source.reason {
        output::line(format_args!("  {}", visible(reason)))?;
    }
    if let Some(job) = source.job {
        output::line(format_args!("  at work: job {job}"))?;
    }
    if let Some(last) = &source.last_run {
        let how = if source.last_run_completed == Some(true) { "completed" } else { "failed" };
        output::line(format_args!("  last run {how} at {last}"))?;
    }
    match &source.next_run {
        Some(next) => output::line(format_args!("  next run at {next}"))?,
        None => output::line("  runs on demand: `branchline source run NAME`")?,
    }
    if let (Some(site), Some(term)) = (&source.site, source.term) {
        output::line(format_args!("  run by site {site}, term {term}"))?;
    }
    if source.refused > 0 {
        let refused = source.refused;
        output::line(format_args!(
            "  {refused} items could not be kept: `branchline source errors {name}`"
        ))?;
    }
    Ok(())
}

/// Shows the latest runs.
pub(super) async fn history(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: SourceHistoryResponse = context.client.get(&path(name, "/history")).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.runs.is_empty() {
        output::note(format_args!(
            "no run of source {name} is known: `branchline source run {name}` begins one"
        ));
        return Ok(());
    }
    let row = |run: &serde_json::Map<String, serde_json::Value>| {
        let of = |name: &str| {
            run.get(name).filter(|value| !value.is_null()).map(output::cell).unwrap_or_default()
        };
        [
            of("sync_version"),
            of("kind"),
            of("status"),
            of("started_at"),
            of("completed_at"),
            of("accounts_updated"),
            of("accounts_deleted"),
            of("accounts_inactive"),
            visible(&of("error")),
        ]
    };
    let rows = answer.runs.iter().map(row).collect();
    output::table(
        [
            "RUN",
            "KIND",
            "STATUS",
            "STARTED",
            "COMPLETED",
            "UPDATED",
            "DELETED",
            "INACTIVE",
            "ERROR",
        ],
        rows,
    )
}
