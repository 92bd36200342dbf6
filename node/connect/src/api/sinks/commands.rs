//! What is asked of sinks.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, JsonBody, Named};
use jiff::Timestamp;
use serde_json::Value;

use super::super::ApiShared;
use super::answers::{
    SinkJobResponse, SinkPausedResponse, SinkRequeueRequest, SinkRequeuedResponse, SinkRunRequest,
    SinkTakenResponse, SinkVerifyRequest,
};
use super::{ask, config, require_run, wrong};
use crate::sink::sinks::HTTP;
use crate::sink::weaviate::WEAVIATE;
use crate::sink::worker::{Requeue, RunOrder, RunPart, SinkCommand};

/// Looks now at all groups that wait, or at all there are. It is carried out also after a restart.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/run",
    operation_id = "run_sink",
    params(("name" = String, Path, description = "The sink.")),
    request_body = SinkRunRequest,
    responses((status = OK, description = "The job that was taken.", body = SinkJobResponse)),
)]
pub(super) async fn run(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<SinkRunRequest>,
) -> Result<Json<SinkJobResponse>, ApiError> {
    let SinkRunRequest { full, yes, entity, edges, limit, offset } = request;
    let part = match entity {
        Some(collection) => Some(RunPart::Entity(collection)),
        None => edges.then_some(RunPart::Edges { limit, offset }),
    };
    ask(&inner, &name, SinkCommand::Run(RunOrder { full, yes, part })).await.map(Json)
}

/// Reads all objects of a sink back and compares them with what was delivered: what others have changed is found. It is
/// carried out also after a restart.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/verify",
    operation_id = "verify_sink",
    params(("name" = String, Path, description = "The sink.")),
    request_body = SinkVerifyRequest,
    responses((status = OK, description = "The job that was taken; its result says what differs.", body = SinkJobResponse)),
)]
pub(super) async fn verify(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<SinkVerifyRequest>,
) -> Result<Json<SinkJobResponse>, ApiError> {
    let config = config(&inner, &name)?;
    require_run(&inner)?;
    if config.kind == WEAVIATE || (config.kind == HTTP && config.read.is_none()) {
        let message = format!("the objects of sink {name} cannot be read back");
        let hint = "[sink.read] in branchline.toml says how, for sinks of kind \"http\"";
        return Err(ApiError::new(Code::Conflict, message).hint(hint));
    }
    let job = inner.sinks.verify(&config, request.repair).await.map_err(|error| wrong(&error))?;
    Ok(Json(SinkJobResponse { job }))
}

/// Lets a sink rest until it is resumed. What is under way comes to its end.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/pause",
    operation_id = "pause_sink",
    params(("name" = String, Path, description = "The sink.")),
    responses((status = OK, description = "It rests, also after a restart.", body = SinkPausedResponse)),
)]
pub(super) async fn pause(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SinkPausedResponse>, ApiError> {
    let _: Value = ask(&inner, &name, SinkCommand::Pause).await?;
    Ok(Json(SinkPausedResponse { paused: true }))
}

/// Lets a sink go on, and tries at once what waits for the service.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/resume",
    operation_id = "resume_sink",
    params(("name" = String, Path, description = "The sink.")),
    responses((status = OK, description = "It is running again.", body = SinkPausedResponse)),
)]
pub(super) async fn resume(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SinkPausedResponse>, ApiError> {
    let _: Value = ask(&inner, &name, SinkCommand::Resume).await?;
    Ok(Json(SinkPausedResponse { paused: false }))
}

/// Tries again what was refused.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/requeue",
    operation_id = "requeue_sink",
    params(("name" = String, Path, description = "The sink.")),
    request_body = SinkRequeueRequest,
    responses((status = OK, description = "How many there are.", body = SinkRequeuedResponse)),
)]
pub(super) async fn requeue(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<SinkRequeueRequest>,
) -> Result<Json<SinkRequeuedResponse>, ApiError> {
    let SinkRequeueRequest { ids, since, until } = request;
    let since_ms = since.as_deref().map(|text| moment("since", text)).transpose()?;
    let until_ms = until.as_deref().map(|text| moment("until", text)).transpose()?;
    ask(&inner, &name, SinkCommand::Requeue(Requeue { ids, since_ms, until_ms })).await.map(Json)
}

fn moment(what: &str, text: &str) -> Result<i64, ApiError> {
    text.parse::<Timestamp>().map(Timestamp::as_millisecond).map_err(|_| {
        let message = format!("{what} is {text:?}, expected a time like 2026-11-29T08:00:00Z");
        ApiError::new(Code::BadParameter, message)
    })
}

/// Lets this site run a sink that another one ran; that one stops when it hears of it, and until then both push.
#[utoipa::path(
    post,
    path = "/v1/sinks/{name}/takeover",
    operation_id = "take_over_sink",
    params(("name" = String, Path, description = "The sink.")),
    responses((status = OK, description = "This site runs it.", body = SinkTakenResponse)),
)]
pub(super) async fn takeover(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SinkTakenResponse>, ApiError> {
    ask(&inner, &name, SinkCommand::TakeOver).await.map(Json)
}
