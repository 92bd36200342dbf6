//! `bridge`, `source`, `sink` and `jobs`: what stands between the site and the systems that the office has.

pub(crate) mod bridge;
pub(crate) mod jobs;
pub(crate) mod sink;
pub(crate) mod source;

use serde::Serialize;

use crate::Context;
use crate::args::{ConnectorCommand, Global};
use crate::error::CliError;
use crate::output;

/// Does what is asked.
pub(crate) async fn run(global: &Global, command: ConnectorCommand) -> Result<(), CliError> {
    match command {
        ConnectorCommand::Bridge(command) => bridge::run(global, command).await,
        ConnectorCommand::Source(command) => {
            crate::on_site(global, async |context| source::ask(context, command).await).await
        }
        ConnectorCommand::Sink(command) => {
            crate::on_site(global, async |context| sink::ask(context, command).await).await
        }
        ConnectorCommand::Jobs(command) => {
            crate::on_site(global, async |context| jobs::ask(context, command).await).await
        }
    }
}

/// Says what was done, or gives the answer as JSON.
pub(super) fn say(
    context: &Context,
    answer: &impl Serialize,
    said: String,
) -> Result<(), CliError> {
    if context.json { output::json(answer) } else { output::line(said) }
}
