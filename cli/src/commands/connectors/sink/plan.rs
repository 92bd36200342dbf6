//! `sink plan` and `sink run --dry-run`.

use branchline_connect::api::{SinkItemResponse, SinkPlanResponse};

use axum::http::Method;

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Shows what a sink is, and what it would push.
pub(super) async fn plan(context: &Context, name: &str, items: usize) -> Result<(), CliError> {
    let answer = planned(context, name, items).await?;
    if context.json {
        return output::json(&answer);
    }
    output::line(format_args!(
        "sink {name} pushes one object for each record of {}",
        answer.collection
    ))?;
    for class in &answer.classes {
        let (collection, class_name) = (visible(&class.collection), visible(&class.class));
        output::line(format_args!("  {collection}: objects of class {class_name}"))?;
        output::lines(format_args!("    translate: {}", visible(&class.translate)))?;
        for edge in &class.edges {
            output::line(format_args!("    edge {}", visible(edge)))?;
        }
    }
    if answer.classes.is_empty() {
        output::line(format_args!("  records in translate: {}", answer.names.join(", ")))?;
        output::lines(format_args!("  translate: {}", visible(&answer.translate)))?;
    }
    for request in &answer.requests {
        let (what, method, url) = (&request.what, &request.method, visible(&request.url));
        output::line(format_args!("  {what}: {method} {url}"))?;
    }
    for remark in &answer.remarks {
        output::line(format_args!("  {remark}"))?;
    }
    show(&answer)
}

/// Shows what would be sent now.
pub(super) async fn dry_run(context: &Context, name: &str, items: usize) -> Result<(), CliError> {
    let answer = planned(context, name, items).await?;
    if context.json { output::json(&answer) } else { show(&answer) }
}

async fn planned(
    context: &Context,
    name: &str,
    items: usize,
) -> Result<SinkPlanResponse, CliError> {
    let query = format!("/plan?items={items}");
    // All groups are looked at, which takes as long as it takes.
    let answer = context.client.send(Method::GET, &path(name, &query), None).await?;
    serde_json::from_slice(&answer)
        .map_err(|error| CliError::failed(format!("the node's answer cannot be read: {error}")))
}

fn show(answer: &SinkPlanResponse) -> Result<(), CliError> {
    let SinkPlanResponse { create, update, delete, unchanged, set_aside, groups, .. } = answer;
    let pushes = create + update + delete;
    output::line(format_args!(
        "would push {pushes} of {}: {create} to create, {update} to update, {delete} to delete; {unchanged} unchanged, \
         {set_aside} set aside",
        counted(*groups, "item")
    ))?;
    answer.items.iter().try_for_each(item)?;
    let shown = answer.items.len() as u64;
    match (pushes + set_aside).saturating_sub(shown) {
        0 => Ok(()),
        more => output::line(format_args!("  and {more} more")),
    }
}

fn item(item: &SinkItemResponse) -> Result<(), CliError> {
    let SinkItemResponse { id, action, representation, error } = item;
    let what = match (representation, error) {
        (Some(representation), _) => format!(" {representation}"),
        (None, Some(error)) => format!(": {error}"),
        (None, None) => String::new(),
    };
    output::line(format_args!("  {action} {}{}", visible(id), visible(&what)))
}
