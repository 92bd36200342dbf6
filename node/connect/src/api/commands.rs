//! What is asked of bridges.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, JsonBody, Named};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answers::{
    BridgeRemovedResponse, InstalledResponse, PausedResponse, RequeueRequest, RequeuedResponse,
    ResumedResponse, ResyncRequest, ResyncingResponse, VerifiedResponse, VerifyRequest,
};
use super::{ApiShared, config, unknown, wrong};
use crate::sql::worker::{BridgeCommand, Side};

/// Installs what the bridge needs in its database, and begins to load what is there.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/install",
    operation_id = "install_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "It is installed; repeating it is safe.", body = InstalledResponse)),
)]
pub(super) async fn install(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<InstalledResponse>, ApiError> {
    carry_out(&inner, &name, BridgeCommand::Install).await
}

/// Lets the bridge rest until it is resumed. Changes of the application are noted meanwhile.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/pause",
    operation_id = "pause_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "It rests, also after a restart.", body = PausedResponse)),
)]
pub(super) async fn pause(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<PausedResponse>, ApiError> {
    carry_out(&inner, &name, BridgeCommand::Pause).await
}

/// Lets the bridge go on. Tables that have stopped are compared as a whole.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/resume",
    operation_id = "resume_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "It is running again.", body = ResumedResponse)),
)]
pub(super) async fn resume(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<ResumedResponse>, ApiError> {
    carry_out(&inner, &name, BridgeCommand::Resume).await
}

/// Says which side holds: of one table, or of all. The other side is made equal to it.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/resync",
    operation_id = "resync_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    request_body = ResyncRequest,
    responses((status = OK, description = "It has begun.", body = ResyncingResponse)),
)]
pub(super) async fn resync(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<ResyncRequest>,
) -> Result<Json<ResyncingResponse>, ApiError> {
    let from = match request.from.as_str() {
        "database" => Side::Database,
        "collection" => Side::Collection,
        found => {
            let message = format!("from is {found:?}, expected \"database\" or \"collection\"");
            return Err(ApiError::new(Code::BadParameter, message));
        }
    };
    carry_out(&inner, &name, BridgeCommand::Resync { table: request.table, from }).await
}

/// Compares tables with what the node knows, and that with the records.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/verify",
    operation_id = "verify_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    request_body = VerifyRequest,
    responses((status = OK, description = "What differs.", body = VerifiedResponse)),
)]
pub(super) async fn verify(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<VerifyRequest>,
) -> Result<Json<VerifiedResponse>, ApiError> {
    let VerifyRequest { table, repair } = request;
    carry_out(&inner, &name, BridgeCommand::Verify { table, repair }).await
}

/// Tries again at once what is set aside.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/requeue",
    operation_id = "requeue_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    request_body = RequeueRequest,
    responses((status = OK, description = "How many there are.", body = RequeuedResponse)),
)]
pub(super) async fn requeue(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<RequeueRequest>,
) -> Result<Json<RequeuedResponse>, ApiError> {
    carry_out(&inner, &name, BridgeCommand::Requeue { numbers: request.numbers }).await
}

/// Removes all that the bridge has installed in its database, and forgets it. Rows and records stay.
#[utoipa::path(
    post,
    path = "/v1/bridges/{name}/remove",
    operation_id = "remove_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "It is removed.", body = BridgeRemovedResponse)),
)]
pub(super) async fn remove(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<BridgeRemovedResponse>, ApiError> {
    carry_out(&inner, &name, BridgeCommand::Remove).await
}

async fn carry_out<T: DeserializeOwned>(
    inner: &ApiShared,
    name: &str,
    command: BridgeCommand,
) -> Result<Json<T>, ApiError> {
    let answer = ask(inner, name, command).await?;
    let answer = serde_json::from_value(answer);
    Ok(Json(answer.map_err(|error| ApiError::of(Code::Internal, &error))?))
}

/// Asks a bridge that works.
pub(super) async fn ask(
    inner: &ApiShared,
    name: &str,
    command: BridgeCommand,
) -> Result<Value, ApiError> {
    config(inner, name)?;
    if !inner.runs() {
        let message = "no node runs here, so no bridge works";
        return Err(ApiError::new(Code::Conflict, message)
            .hint("start it: `branchline run`, or the service; `bridge plan` and `bridge remove --sql` need none"));
    }
    // Anyone who asked may go away: what was begun in the database is brought to its end.
    let (task, asked) = (std::sync::Arc::clone(inner), name.to_owned());
    let answer = tokio::spawn(async move { task.bridges.ask(&asked, command).await }).await;
    match answer.map_err(|error| ApiError::of(Code::Internal, &error))? {
        Some(answer) => answer.map_err(|error| wrong(&error)),
        None => {
            let configs = inner.configs();
            Err(unknown("bridge", configs.iter().map(|config| config.name.as_str()), name))
        }
    }
}
