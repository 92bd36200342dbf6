//! What bridges are, and what they would do.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Named};

use super::answers::{BridgeResponse, BridgesResponse, SetAsideResponse};
use super::{ApiShared, config, not_ready};
use crate::sql::bridges::declared;
use crate::sql::config::BridgeConfig;
use crate::sql::plan::Plan;
use crate::sql::survey;
use crate::sql::worker::{BridgeCommand, BridgeReport};

/// The bridges of this site.
#[utoipa::path(
    get,
    path = "/v1/bridges",
    operation_id = "list_bridges",
    responses((status = OK, description = "How each of them is, by name.", body = BridgesResponse)),
)]
pub(super) async fn bridges(
    State(inner): State<ApiShared>,
) -> Result<Json<BridgesResponse>, ApiError> {
    let site = site(&inner).await?;
    let mut reports = inner.bridges.reports();
    let mut configs = inner.configs();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let bridges = configs.iter().map(|config| {
        BridgeResponse::of(
            config,
            &site,
            reports.remove(&config.name).unwrap_or_else(|| idle(config)),
        )
    });
    Ok(Json(BridgesResponse { bridges: bridges.collect() }))
}

/// How a bridge is.
#[utoipa::path(
    get,
    path = "/v1/bridges/{name}",
    operation_id = "get_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "How it is.", body = BridgeResponse)),
)]
pub(super) async fn bridge(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<BridgeResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let report = inner.bridges.reports().remove(&name).unwrap_or_else(|| idle(&config));
    Ok(Json(BridgeResponse::of(&config, &site(&inner).await?, report)))
}

/// What a bridge would do. Connects to its database, and changes nothing.
///
/// The mapping column by column, the SQL that `install` runs, the rights that are needed, how all of it is removed, and
/// every refusal.
#[utoipa::path(
    get,
    path = "/v1/bridges/{name}/plan",
    operation_id = "plan_bridge",
    params(("name" = String, Path, description = "The bridge.")),
    responses((
        status = OK,
        description = "The plan: see `branchline bridge plan --json`.",
        body = serde_json::Map<String, serde_json::Value>,
    )),
)]
pub(super) async fn plan(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<Plan>, ApiError> {
    let config = config(&inner, &name)?;
    let site = site(&inner).await?;
    let node = inner.context.handle.in_space(&config.space)?;
    let declared = declared(&node, &config).await.map_err(|error| not_ready(&error))?;
    let plan = survey::plan(&config, &inner.context.folder, &site, declared).await;
    Ok(Json(plan.map_err(|error| not_ready(&error))?))
}

/// What is set aside, with what refused it.
#[utoipa::path(
    get,
    path = "/v1/bridges/{name}/errors",
    operation_id = "list_bridge_errors",
    params(("name" = String, Path, description = "The bridge.")),
    responses((status = OK, description = "Rows and records, the oldest first.", body = SetAsideResponse)),
)]
pub(super) async fn errors(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SetAsideResponse>, ApiError> {
    let answer = super::commands::ask(&inner, &name, BridgeCommand::Errors).await?;
    Ok(Json(SetAsideResponse::of(&answer)))
}

/// Of a bridge that does not work because the node does not run.
fn idle(_: &BridgeConfig) -> BridgeReport {
    BridgeReport { state: "not-running".to_owned(), ..BridgeReport::default() }
}

/// The site's name.
async fn site(inner: &ApiShared) -> Result<String, ApiError> {
    Ok(inner.context.handle.replica_status().await?.name)
}
