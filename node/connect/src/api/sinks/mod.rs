//! The sinks in the node's API: what they are, what they would push, and what is asked of them.

mod answers;
mod commands;
mod looks;

use branchline_node::api::{ApiError, Code};
use branchline_node::extension::Routes;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use crate::sink::config::SinkConfig;
use crate::sink::sinks::NotReady;
use crate::sink::worker::{Command, Wrong};

pub use answers::{
    SinkAnswer, SinkClassAnswer, SinkEdgeAnswer, SinkGroupAnswer, SinkGroupsAnswer,
    SinkHistoryAnswer, SinkItemAnswer, SinkJobAnswer, SinkPausedAnswer, SinkPlanAnswer,
    SinkRequestAnswer, SinkRequeueRequest, SinkRequeuedAnswer, SinkRunAnswer, SinkRunRequest,
    SinkTakenAnswer, SinkVerifyRequest, SinksAnswer,
};

/// The paths.
pub(super) fn routes(inner: &Shared) -> Routes {
    let bounded = OpenApiRouter::default()
        .routes(routes!(looks::sinks))
        .routes(routes!(looks::sink))
        .routes(routes!(looks::groups))
        .routes(routes!(looks::errors))
        .routes(routes!(looks::history))
        .routes(routes!(commands::run))
        .routes(routes!(commands::verify))
        .routes(routes!(commands::pause))
        .routes(routes!(commands::resume))
        .routes(routes!(commands::takeover));
    // All groups are looked at.
    let unbounded =
        OpenApiRouter::default().routes(routes!(looks::plan)).routes(routes!(commands::requeue));
    Routes {
        bounded: bounded.with_state(Shared::clone(inner)),
        unbounded: unbounded.with_state(Shared::clone(inner)),
    }
}

/// A sink as it is configured.
fn config(inner: &Shared, name: &str) -> Result<SinkConfig, ApiError> {
    super::configured("sink", inner.sink_configs(), |config| &config.name, name)
}

/// Refuses what needs sinks at work, where no node runs.
fn demand_run(inner: &Shared) -> Result<(), ApiError> {
    if inner.runs() {
        return Ok(());
    }
    let message = "no node runs here, so no sink works";
    Err(ApiError::new(Code::Conflict, message).hint("start it: `branchline run`, or the service"))
}

/// Asks a sink that works.
async fn ask<T: DeserializeOwned>(
    inner: &Shared,
    name: &str,
    command: Command,
) -> Result<T, ApiError> {
    config(inner, name)?;
    demand_run(inner)?;
    let answer: Value = match inner.sinks.ask(name, command).await {
        Some(answer) => answer.map_err(|error| wrong(&error))?,
        None => {
            let message = format!("sink {name} is configured and not taken up yet");
            return Err(
                ApiError::new(Code::Conflict, message).hint("`branchline reload` takes it up")
            );
        }
    };
    serde_json::from_value(answer).map_err(|error| ApiError::of(Code::Internal, &error))
}

fn wrong(error: &Wrong) -> ApiError {
    let code = match error {
        Wrong::State(_) | Wrong::Failed(_) => Code::Conflict,
        Wrong::File(_) => Code::StorageFailed,
        Wrong::Jobs(error) => return super::jobs::wrong(error),
        Wrong::Tenure(_) => Code::Unavailable,
    };
    ApiError::of(code, error)
}

fn not_ready(error: &NotReady) -> ApiError {
    let code = match error {
        NotReady::State(_) => Code::StorageFailed,
        NotReady::Space(_) => Code::NotFound,
        NotReady::Survey(_) | NotReady::Tenure(_) => Code::Unavailable,
        NotReady::Config(_) | NotReady::Translate(_) | NotReady::Sink(_) | NotReady::Early(_) => {
            Code::Conflict
        }
    };
    ApiError::of(code, error)
}
