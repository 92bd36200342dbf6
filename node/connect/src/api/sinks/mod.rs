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

use super::ApiShared;
use crate::sink::config::SinkConfig;
use crate::sink::sinks::SinkNotReady;
use crate::sink::worker::{SinkCommand, SinkWrong};

pub use answers::{
    SinkClassResponse, SinkEdgeResponse, SinkGroupResponse, SinkGroupsResponse,
    SinkHistoryResponse, SinkItemResponse, SinkJobResponse, SinkPausedResponse, SinkPlanResponse,
    SinkRequestResponse, SinkRequeueRequest, SinkRequeuedResponse, SinkResponse, SinkRunRequest,
    SinkRunResponse, SinkTakenResponse, SinkVerifyRequest, SinksResponse,
};

/// The paths.
pub(super) fn routes(inner: &ApiShared) -> Routes {
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
        bounded: bounded.with_state(ApiShared::clone(inner)),
        unbounded: unbounded.with_state(ApiShared::clone(inner)),
    }
}

/// A sink as it is configured.
fn config(inner: &ApiShared, name: &str) -> Result<SinkConfig, ApiError> {
    super::configured("sink", inner.sink_configs(), |config| &config.name, name)
}

/// Refuses what needs sinks at work, where no node runs.
fn require_run(inner: &ApiShared) -> Result<(), ApiError> {
    if inner.runs() {
        return Ok(());
    }
    let message = "no node runs here, so no sink works";
    Err(ApiError::new(Code::Conflict, message).hint("start it: `branchline run`, or the service"))
}

/// Asks a sink that works.
async fn ask<T: DeserializeOwned>(
    inner: &ApiShared,
    name: &str,
    command: SinkCommand,
) -> Result<T, ApiError> {
    config(inner, name)?;
    require_run(inner)?;
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

fn wrong(error: &SinkWrong) -> ApiError {
    let code = match error {
        SinkWrong::State(_) | SinkWrong::Failed(_) => Code::Conflict,
        SinkWrong::File(_) => Code::StorageFailed,
        SinkWrong::Jobs(error) => return super::jobs::wrong(error),
        SinkWrong::Tenure(_) => Code::Unavailable,
    };
    ApiError::of(code, error)
}

fn not_ready(error: &SinkNotReady) -> ApiError {
    let code = match error {
        SinkNotReady::State(_) => Code::StorageFailed,
        SinkNotReady::Space(_) => Code::NotFound,
        SinkNotReady::Survey(_) | SinkNotReady::Tenure(_) => Code::Unavailable,
        SinkNotReady::Config(_)
        | SinkNotReady::Translate(_)
        | SinkNotReady::Sink(_)
        | SinkNotReady::Early(_) => Code::Conflict,
    };
    ApiError::of(code, error)
}
