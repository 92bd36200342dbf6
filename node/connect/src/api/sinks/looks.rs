//! How sinks are.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, Named, Params};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::super::{ApiShared, time};
use super::answers::{
    SinkClassResponse, SinkEdgeResponse, SinkGroupResponse, SinkGroupsResponse,
    SinkHistoryResponse, SinkItemResponse, SinkPlanResponse, SinkRequestResponse, SinkResponse,
    SinkRunResponse, SinksResponse,
};
use super::{ask, config, not_ready};
use crate::sink::check::remarks;
use crate::sink::config::SinkConfig;
use crate::sink::state::{Counted, Which};
use crate::sink::weaviate::WEAVIATE;
use crate::sink::weaviate::answer::EdgeAnswer;
use crate::sink::worker::{GroupAnswer, SinkCommand};

/// Groups of a page.
const GROUPS: usize = 100;
/// The most that may be asked for.
const GROUPS_MAX: usize = 1_000;
/// Runs that a history shows.
const RUNS: usize = 100;
/// Items that a plan shows.
const ITEMS: usize = 20;
/// The most that may be asked for.
const ITEMS_MAX: usize = 1_000;

/// The sinks of this site.
#[utoipa::path(
    get,
    path = "/v1/sinks",
    operation_id = "list_sinks",
    responses((status = OK, description = "How each of them is, by name.", body = SinksResponse)),
)]
pub(super) async fn sinks(State(inner): State<ApiShared>) -> Result<Json<SinksResponse>, ApiError> {
    let mut configs = inner.sink_configs();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut reports = inner.sinks.reports();
    let mut sinks = Vec::with_capacity(configs.len());
    for config in &configs {
        let tenure = inner.sinks.tenure(config).await.ok().flatten();
        sinks.push(SinkResponse::of(config, reports.remove(&config.name), tenure));
    }
    Ok(Json(SinksResponse { sinks }))
}

/// How a sink is.
#[utoipa::path(
    get,
    path = "/v1/sinks/{name}",
    operation_id = "get_sink",
    params(("name" = String, Path, description = "The sink.")),
    responses((status = OK, description = "How it is.", body = SinkResponse)),
)]
pub(super) async fn sink(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SinkResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let report = inner.sinks.reports().remove(&name);
    let tenure = inner.sinks.tenure(&config).await.map_err(|error| not_ready(&error))?;
    Ok(Json(SinkResponse::of(&config, report, tenure)))
}

/// How much of a plan is shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PlanParams {
    /// Items that are shown, up to 1,000. Default: 20.
    items: Option<usize>,
}

/// What a sink would push now. Sends nothing.
#[utoipa::path(
    get,
    path = "/v1/sinks/{name}/plan",
    operation_id = "plan_sink",
    params(("name" = String, Path, description = "The sink."), PlanParams),
    responses((status = OK, description = "What it would push.", body = SinkPlanResponse)),
)]
pub(super) async fn plan(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    Params(params): Params<PlanParams>,
) -> Result<Json<SinkPlanResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let items_max = bounded("items", params.items, ITEMS, ITEMS_MAX)?;
    let planned = if inner.runs() {
        inner.sinks.plan(&config, items_max).await
    } else {
        inner.sinks.plan_at_rest(&config, items_max).await
    };
    let (counting, items) = planned.map_err(|error| not_ready(&error))?;
    let related = config.related.iter().map(|related| related.name().to_owned());
    let primary = (config.kind != WEAVIATE).then(|| config.primary().to_owned());
    Ok(Json(SinkPlanResponse {
        names: primary.into_iter().chain(related).collect(),
        classes: SinkClassResponse::of(&config),
        requests: requests(&config),
        remarks: remarks(&config),
        groups: counting.groups,
        create: counting.create,
        update: counting.update,
        delete: counting.delete,
        unchanged: counting.unchanged,
        set_aside: counting.aside,
        items: items.into_iter().map(SinkItemResponse::from).collect(),
        collection: config.collections(),
        name: config.name,
        translate: config.translate,
    }))
}

fn requests(config: &SinkConfig) -> Vec<SinkRequestResponse> {
    let request = |what: &str, method: &str, url: &str| SinkRequestResponse {
        what: what.to_owned(),
        method: method.to_owned(),
        url: url.to_owned(),
    };
    let mut requests = Vec::new();
    if let Some(url) = &config.url {
        let url = url.trim_end_matches('/').trim_end_matches("/v1");
        requests.push(request("objects", "POST", &format!("{url}/v1/batch/objects")));
        requests.push(request("edges", "POST", &format!("{url}/v1/batch/references")));
        requests.push(request("delete", "DELETE", &format!("{url}/v1/objects/{{class}}/{{id}}")));
    }
    requests.extend(config.initialise.as_ref().map(|get| request("initialise", "GET", &get.url)));
    if let Some(create) = &config.create {
        requests.extend(create.lookup.as_ref().map(|url| request("lookup", "GET", url)));
        requests.push(request("create", &create.method, &create.url));
    }
    requests.extend(config.update.as_ref().map(|to| request("update", &to.method, &to.url)));
    requests.extend(config.delete.as_ref().map(|to| request("delete", &to.method, &to.url)));
    requests.extend(config.read.as_ref().map(|read| request("read", "GET", &read.url)));
    requests
}

/// Which groups are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupsParams {
    /// `all`, `dirty` or `failed`. Default: `all`.
    which: Option<String>,
    /// Behind this id.
    after: Option<String>,
    /// At most so many, up to 1,000. Default: 100.
    limit: Option<usize>,
}

/// The groups of a sink, by id.
#[utoipa::path(
    get,
    path = "/v1/sinks/{name}/groups",
    operation_id = "list_sink_groups",
    params(("name" = String, Path, description = "The sink."), GroupsParams),
    responses((status = OK, description = "A page of them.", body = SinkGroupsResponse)),
)]
pub(super) async fn groups(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    Params(params): Params<GroupsParams>,
) -> Result<Json<SinkGroupsResponse>, ApiError> {
    let which = match params.which.as_deref() {
        None | Some("all") => Which::All,
        Some("dirty") => Which::Dirty,
        Some("failed") => Which::Failed,
        Some(found) => {
            let message = format!("which is {found:?}, expected \"all\", \"dirty\" or \"failed\"");
            return Err(ApiError::new(Code::BadParameter, message));
        }
    };
    page(&inner, &name, which, params).await
}

/// What a sink's service has refused, by id.
#[utoipa::path(
    get,
    path = "/v1/sinks/{name}/errors",
    operation_id = "list_sink_errors",
    params(("name" = String, Path, description = "The sink."), GroupsParams),
    responses((status = OK, description = "A page of them; `which` says nothing here.", body = SinkGroupsResponse)),
)]
pub(super) async fn errors(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    Params(params): Params<GroupsParams>,
) -> Result<Json<SinkGroupsResponse>, ApiError> {
    page(&inner, &name, Which::Failed, params).await
}

async fn page(
    inner: &ApiShared,
    name: &str,
    which: Which,
    params: GroupsParams,
) -> Result<Json<SinkGroupsResponse>, ApiError> {
    #[derive(Deserialize)]
    struct GroupsPage {
        groups: Vec<GroupAnswer>,
        #[serde(default)]
        edges: Vec<EdgeAnswer>,
        #[serde(default)]
        next: Option<String>,
    }
    let limit = bounded("limit", params.limit, GROUPS, GROUPS_MAX)?;
    let command = SinkCommand::Groups { which, after: params.after, limit };
    let GroupsPage { groups, edges, next } = ask(inner, name, command).await?;
    let full = groups.last().filter(|_| groups.len() == limit);
    let next = next.or_else(|| full.map(|group| group.id.clone()));
    let groups = groups.into_iter().map(SinkGroupResponse::from).collect();
    let edges = edges.into_iter().map(SinkEdgeResponse::from).collect();
    Ok(Json(SinkGroupsResponse { groups, edges, next }))
}

fn bounded(
    what: &str,
    found: Option<usize>,
    default: usize,
    max: usize,
) -> Result<usize, ApiError> {
    match found {
        None => Ok(default),
        Some(found) if (1..=max).contains(&found) => Ok(found),
        Some(found) => {
            let message = format!("{what} is {found}, expected 1 to {max}");
            Err(ApiError::new(Code::BadParameter, message))
        }
    }
}

/// The last runs of a sink at this site.
#[utoipa::path(
    get,
    path = "/v1/sinks/{name}/history",
    operation_id = "list_sink_runs",
    params(("name" = String, Path, description = "The sink.")),
    responses((status = OK, description = "The last 100, the latest first.", body = SinkHistoryResponse)),
)]
pub(super) async fn history(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SinkHistoryResponse>, ApiError> {
    let answer: Value = ask(&inner, &name, SinkCommand::History { limit: RUNS }).await?;
    let runs = answer.get("runs").and_then(Value::as_array).into_iter().flatten();
    Ok(Json(SinkHistoryResponse { runs: runs.map(run).collect() }))
}

fn run(row: &Value) -> SinkRunResponse {
    let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
    let moment = |name: &str| row.get(name).and_then(Value::as_i64).and_then(time);
    let counted = row.get("counted").cloned().unwrap_or_default();
    let counted: Counted = serde_json::from_value(counted).unwrap_or_default();
    SinkRunResponse {
        number: row.get("number").and_then(Value::as_i64).unwrap_or_default(),
        kind: text("kind").unwrap_or_default(),
        started_at: moment("began_ms"),
        completed_at: moment("ended_ms"),
        status: text("status").unwrap_or_default(),
        created: counted.created,
        updated: counted.updated,
        deleted: counted.deleted,
        unchanged: counted.unchanged,
        refused: counted.refused,
        retried: counted.retried,
        error: text("error"),
    }
}
