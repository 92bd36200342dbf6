//! `sink`: what is made of records, pushed to a third party.

mod groups;
mod plan;
mod status;
mod verify;

use branchline_connect::api::{
    SinkJobResponse, SinkPausedResponse, SinkRequeueRequest, SinkRequeuedResponse, SinkRunRequest,
    SinkTakenResponse,
};
use serde_json::json;

use super::jobs;
use super::say;
use crate::Context;
use crate::args::SinkCommand;
use crate::client::encoded;
use crate::error::CliError;
use crate::output::{self, counted};

/// Does what is asked.
pub(crate) async fn ask(context: &Context, command: SinkCommand) -> Result<(), CliError> {
    match command {
        SinkCommand::List => status::list(context).await,
        SinkCommand::Status { name } => status::status(context, name.as_deref()).await,
        SinkCommand::History { name } => status::history(context, &name).await,
        SinkCommand::Plan { name, items } => plan::plan(context, &name, items).await,
        SinkCommand::Verify { name, repair } => verify::verify(context, &name, repair).await,
        SinkCommand::Run { name, dry_run: true, items, .. } => {
            plan::dry_run(context, &name, items).await
        }
        SinkCommand::Run { name, full, yes, wait, entity, edges, limit, offset, .. } => {
            let request = SinkRunRequest { full, yes, entity, edges, limit, offset };
            let taken: SinkJobResponse =
                context.client.post(&path(&name, "/run"), &request).await?;
            if wait {
                return jobs::wait(context, taken.job).await;
            }
            say(context, &taken, taken.job.to_string())?;
            output::note(format_args!("`branchline jobs show {}` shows how far it is", taken.job));
            Ok(())
        }
        SinkCommand::Groups { name, dirty, failed, after, limit } => {
            let which = match (dirty, failed) {
                (true, _) => "dirty",
                (false, true) => "failed",
                (false, false) => "all",
            };
            groups::list(context, &name, which, after.as_deref(), limit).await
        }
        SinkCommand::Errors { name } => groups::errors(context, &name).await,
        SinkCommand::Pause { name } => {
            let answer: SinkPausedResponse =
                context.client.post(&path(&name, "/pause"), &json!({})).await?;
            let said = format!("sink {name} rests until `branchline sink resume {name}`");
            say(context, &answer, said)
        }
        SinkCommand::Resume { name } => {
            let answer: SinkPausedResponse =
                context.client.post(&path(&name, "/resume"), &json!({})).await?;
            say(context, &answer, format!("sink {name} is running again"))
        }
        SinkCommand::Requeue { name, ids, all: _, since, until } => {
            let asked = ids.len() as u64;
            let request = SinkRequeueRequest { ids, since, until };
            let answer: SinkRequeuedResponse =
                context.client.post_patiently(&path(&name, "/requeue"), &request).await?;
            let again = counted(answer.requeued, "item");
            say(context, &answer, format!("{again} tried again at once"))?;
            if asked > answer.requeued {
                Err(CliError::failed("some of these are not set aside (any more)")
                    .hint(format!("`branchline sink errors {name}` shows what is")))
            } else {
                Ok(())
            }
        }
        SinkCommand::Takeover { name, yes } => takeover(context, &name, yes).await,
    }
}

async fn takeover(context: &Context, name: &str, yes: bool) -> Result<(), CliError> {
    let question = format!(
        "This site runs sink {name} from now on. A site that ran it stops when it hears of that, and until then both push. Is that meant?"
    );
    output::require_yes(yes, question)?;
    let answer: SinkTakenResponse =
        context.client.post(&path(name, "/takeover"), &json!({})).await?;
    say(context, &answer, format!("this site runs sink {name}, term {}", answer.term))?;
    let Some(from) = &answer.from else { return Ok(()) };
    if answer.sends_all {
        output::note(format_args!(
            "all objects and edges are sent once more, over those that are there, and what was deleted here is deleted there: \
         `branchline sink status {name}` shows how far it is; {from} may send still until it hears of this, after which \
         `branchline sink run {name} --full` puts right what it has sent meanwhile"
        ))
    } else {
        output::note(format_args!(
            "{from} may push still until it hears of this: its requests say Branchline-Term: {}, those of this site {}",
            answer.term.saturating_sub(1),
            answer.term
        ))
    }
    Ok(())
}

/// The path of a sink.
fn path(name: &str, behind: &str) -> String {
    format!("/v1/sinks/{}{behind}", encoded(name))
}
