//! `log` and `frontier`: the entries of logs, and their tips.

use branchline_crdt::log::entry::text::EntryText;
use branchline_node::api::{EntryResponse, FrontierResponse, LogResponse, PAGE_RECORDS_MAX};
use serde_json::Value;

use crate::Context;
use crate::args::LogArgs;
use crate::client::query;
use crate::error::CliError;
use crate::output::{self, cell};

/// Lists entries.
pub(crate) async fn log(context: &Context, args: LogArgs) -> Result<(), CliError> {
    let LogArgs { of, limit, before } = args;
    let limit = limit.clamp(1, PAGE_RECORDS_MAX).to_string();
    let is_entry = of.as_ref().is_some_and(|of| of.parse::<EntryText>().is_ok());
    let query = query(&[
        (if is_entry { "entry" } else { "site" }, of.as_deref()),
        ("limit", Some(&limit)),
        ("before", before.as_deref()),
    ]);
    let answer: LogResponse = context.client.get(&format!("/v1/log{query}")).await?;
    if context.json {
        return answer.entries.iter().try_for_each(output::json);
    }
    if answer.entries.is_empty() {
        output::note("no entries");
        return Ok(());
    }
    output::table(
        ["TIME", "SITE", "ENTRY", "TRANSACTIONS", "CHANGES", "BYTES", "FATE"],
        answer.entries.iter().map(row).collect(),
    )?;
    for record in answer.entries.iter().flat_map(|entry| &entry.records) {
        output::line(format_args!("  {}", output::visible(record)))?;
    }
    if let Some(next) = answer.next {
        let said = &context.said;
        output::note(format_args!("\nolder ones: `branchline{said} log --before {next}`"));
    }
    Ok(())
}

fn row(entry: &EntryResponse) -> [String; 7] {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        entry.time.clone().unwrap_or_default(),
        cell(&Value::from(entry.site_name.as_str())),
        entry.entry.clone(),
        number(entry.transactions),
        number(entry.changes),
        number(entry.bytes),
        entry.status.clone(),
    ]
}

/// Prints what this site holds.
pub(crate) async fn frontier(context: &Context) -> Result<(), CliError> {
    let answer: FrontierResponse = context.client.get("/v1/frontier").await?;
    output::json_for_reader(&answer, context.json)
}
