//! `jobs`: runs that wait, are at work, and have ended.

use std::time::Duration;

use branchline_connect::api::{JobResponse, JobsResponse};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::say;
use crate::Context;
use crate::args::JobsCommand;
use crate::error::CliError;
use crate::output::{self, visible};

/// How often a job that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What is shown of a job meanwhile: where it is known how much there is to do, and where it is not.
const KNOWN: &str = "{spinner} {msg} {wide_bar} {pos} of {len} items, {per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {msg} {pos} items, {per_sec}";

/// Does what is asked.
pub(crate) async fn ask(context: &Context, command: JobsCommand) -> Result<(), CliError> {
    match command {
        JobsCommand::List { open } => list(context, open).await,
        JobsCommand::Show { id, wait: true } => wait(context, id).await,
        JobsCommand::Show { id, wait: false } => {
            let job: JobResponse = context.client.get(&path(id, "")).await?;
            show(context, &job)
        }
        JobsCommand::Cancel { id } => {
            let job: JobResponse = context.client.post(&path(id, "/cancel"), &json!({})).await?;
            let said = match job.state.as_str() {
                "cancelled" => format!("job {id} is cancelled"),
                _ => format!("job {id} ends where it leaves everything as it was"),
            };
            say(context, &job, said)
        }
    }
}

fn path(id: u64, behind: &str) -> String {
    format!("/v1/jobs/{id}{behind}")
}

async fn list(context: &Context, only_open: bool) -> Result<(), CliError> {
    let mut answer: JobsResponse = context.client.get("/v1/jobs").await?;
    answer.jobs.retain(|job| !only_open || !is_end(job));
    if context.json {
        return output::json(&answer);
    }
    if answer.jobs.is_empty() {
        output::note("there are no jobs");
        return Ok(());
    }
    let row = |job: JobResponse| {
        let done = progress(&job);
        let asked = job.asked_at.unwrap_or_default();
        let reason = job.reason.unwrap_or_default();
        [job.id.to_string(), job.connector, job.state, asked, done, visible(&reason)]
    };
    let rows = answer.jobs.into_iter().map(row).collect();
    output::table(["ID", "CONNECTOR", "STATE", "ASKED FOR", "DONE", "REASON"], rows)
}

fn show(context: &Context, job: &JobResponse) -> Result<(), CliError> {
    if context.json {
        return output::json(job);
    }
    output::line(format_args!("job {} of {}: {}", job.id, job.connector, job.state))?;
    if let Some(reason) = &job.reason {
        output::line(format_args!("  {}", visible(reason)))?;
    }
    let times =
        [("asked for", &job.asked_at), ("began", &job.started_at), ("ended", &job.ended_at)];
    for (what, time) in times {
        if let Some(time) = time {
            output::line(format_args!("  {what} at {time}"))?;
        }
    }
    let done = progress(job);
    if !done.is_empty() {
        output::line(format_args!("  {done} items"))?;
    }
    match &job.result {
        Some(result) => {
            figures(result).iter().try_for_each(|line| output::line(format_args!("  {line}")))
        }
        None => Ok(()),
    }
}

/// What came of a job: figures by name, those within others too.
fn figures(result: &Value) -> Vec<String> {
    let Value::Object(fields) = result else { return Vec::new() };
    let of = |(name, value): (&String, &Value)| match value {
        Value::Object(_) => figures(value).iter().map(|line| format!("{name} {line}")).collect(),
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_object) => {
            items.iter().map(|item| format!("{name}: {}", figures(item).join(", "))).collect()
        }
        Value::Null => Vec::new(),
        other => vec![format!("{name}: {}", visible(&output::cell(other)))],
    };
    fields.iter().flat_map(of).collect()
}

/// Waits for the end of a job, and shows it; fails if it does.
pub(crate) async fn wait(context: &Context, id: u64) -> Result<(), CliError> {
    let job = ended(context, id).await?;
    show(context, &job)?;
    well(&job)
}

/// Fails where a job that has ended has not ended well.
pub(crate) fn well(job: &JobResponse) -> Result<(), CliError> {
    match job.state.as_str() {
        "completed" => Ok(()),
        state => Err(CliError::failed(format!("job {} is {state}", job.id))),
    }
}

/// Waits for the end of a job.
pub(crate) async fn ended(context: &Context, id: u64) -> Result<JobResponse, CliError> {
    // Shown only where stderr is a terminal.
    let bar = ProgressBar::new_spinner().with_style(styled(UNKNOWN));
    let job = loop {
        let job: JobResponse =
            context.client.get(&path(id, "")).await.inspect_err(|_| bar.finish_and_clear())?;
        if is_end(&job) {
            break job;
        }
        // How many there are is often known only once they were listed.
        if bar.length() != job.total {
            bar.set_style(styled(if job.total.is_some() { KNOWN } else { UNKNOWN }));
            job.total.map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
        }
        bar.set_message(format!("job {id} {}", job.state));
        bar.set_position(job.done);
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    Ok(job)
}

fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn is_end(job: &JobResponse) -> bool {
    matches!(job.state.as_str(), "completed" | "failed" | "cancelled")
}

fn progress(job: &JobResponse) -> String {
    match (job.done, job.total) {
        (0, None) => String::new(),
        (done, None) => done.to_string(),
        (done, Some(total)) => format!("{done} of {total}"),
    }
}
