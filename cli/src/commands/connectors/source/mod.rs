//! `source`: a third party's objects, pulled into a collection.

mod plan;
mod status;

use branchline_connect::api::{
    JobTaken, SourceErrorsResponse, SourcePaused, SourceRunRequest, SourceTenureResponse,
};
use serde_json::json;

use super::jobs;
use super::say;
use crate::Context;
use crate::args::SourceCommand;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, visible};

/// Does what is asked.
pub(crate) async fn ask(context: &Context, command: SourceCommand) -> Result<(), CliError> {
    match command {
        SourceCommand::List => status::list(context).await,
        SourceCommand::Plan { name } => plan::plan(context, &name).await,
        SourceCommand::Status { name } => status::status(context, name.as_deref()).await,
        SourceCommand::History { name } => status::history(context, &name).await,
        SourceCommand::Run { name, full, dry_run, accept, wait } => {
            let request = SourceRunRequest { full, dry_run, accept };
            let taken: JobTaken = context.client.post(&path(&name, "/run"), &request).await?;
            if wait || dry_run {
                return jobs::wait(context, taken.job).await;
            }
            say(context, &taken, taken.job.to_string())?;
            output::note(format_args!("`branchline jobs show {}` shows how far it is", taken.job));
            Ok(())
        }
        SourceCommand::Pause { name } => {
            let answer: SourcePaused =
                context.client.post(&path(&name, "/pause"), &json!({})).await?;
            say(
                context,
                &answer,
                format!("source {name} rests until `branchline source resume {name}`"),
            )
        }
        SourceCommand::Resume { name } => {
            let answer: SourcePaused =
                context.client.post(&path(&name, "/resume"), &json!({})).await?;
            say(context, &answer, format!("source {name} is running again"))
        }
        SourceCommand::Errors { name } => errors(context, &name).await,
        SourceCommand::Takeover { name, yes } => {
            let question = format!(
                "This site runs source {name} from now on, and the site that ran it stops when it hears of it. Is that meant?"
            );
            output::require_yes(yes, question)?;
            let answer: SourceTenureResponse =
                context.client.post(&path(&name, "/takeover"), &json!({})).await?;
            say(context, &answer, format!("this site runs source {name}, term {}", answer.term))
        }
    }
}

/// The path of a source.
fn path(name: &str, behind: &str) -> String {
    format!("/v1/sources/{}{behind}", encoded(name))
}

async fn errors(context: &Context, name: &str) -> Result<(), CliError> {
    let answer: SourceErrorsResponse = context.client.get(&path(name, "/errors")).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.errors.is_empty() {
        output::note("the last runs kept all that they were given");
        return Ok(());
    }
    let rows = answer.errors.into_iter().map(|item| {
        let id = item.id.unwrap_or_default();
        [item.run.to_string(), visible(&id), visible(&item.error)]
    });
    output::table(["RUN", "ID", "WHAT IS WRONG"], rows.collect())
}
