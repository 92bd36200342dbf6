//! `source plan`.

use branchline_connect::api::SourcePlanResponse;

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, visible};

/// Shows what a source asks for, and when.
pub(super) async fn plan(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: SourcePlanResponse = context.client.get(&path(name, "/plan")).await?;
    if context.json {
        return output::json(&answer);
    }
    let SourcePlanResponse { collection, history, .. } = &answer;
    output::line(format_args!("source {name} fills {collection}; its runs are in {history}"))?;
    for request in &answer.requests {
        let (what, method, url) = (&request.what, &request.method, visible(&request.url));
        output::line(format_args!("  {what}: {method} {url}"))?;
    }
    if !answer.fields.is_empty() {
        output::line(format_args!("  fields besides: {}", answer.fields.join(", ")))?;
    }
    let schedules = [("runs", &answer.schedule), ("full runs", &answer.full_schedule)];
    for (what, schedule) in schedules {
        if let Some(schedule) = schedule {
            output::line(format_args!("  {what}: {}", visible(schedule)))?;
        }
    }
    if let Some(next) = &answer.next_run {
        output::line(format_args!("  next run at {next}"))?;
    }
    answer.remarks.iter().try_for_each(|remark| output::line(format_args!("  {}", visible(remark))))
}
