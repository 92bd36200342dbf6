//! The sources in the node's API: what they are, and what is asked of them.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, JsonBody, Named};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ApiShared, time};
use crate::jobs::tenure::Tenure;
use crate::source::config::SourceConfig;
use crate::source::order::Order;
use crate::source::remarks::remarks;
use crate::source::runner::SourceReport;
use crate::source::sources::{BY_A_PERSON, SourceError};
use crate::source::timing::Timing;

/// Runs that a history shows.
const RUNS_SHOWN: usize = 100;

/// The sources of a site.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourcesResponse {
    /// By name.
    pub sources: Vec<SourceResponse>,
}

/// How a source is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceResponse {
    /// Its name.
    pub name: String,
    /// `http`, or a kind that the program has registered.
    pub kind: String,
    /// The collection that it fills.
    pub collection: String,
    /// The space of the collection.
    pub space: String,
    /// `waiting`, `running`, `backing-off`, `failed` (its last run), `paused`, or `not-running` where the node does not run.
    pub state: String,
    /// Why it is so, and what to do.
    pub reason: Option<String>,
    /// Since when it is so.
    pub since: Option<String>,
    /// The job at work.
    pub job: Option<u64>,
    /// When the next run is due; absent: on demand only.
    pub next_run: Option<String>,
    /// When the last run ended since the node started.
    pub last_run: Option<String>,
    /// Whether that run was completed.
    pub last_run_completed: Option<bool>,
    /// The site that runs it; absent: nobody has begun it.
    pub site: Option<String>,
    /// How often it was taken over, from 1.
    pub term: Option<u64>,
    /// Items of the last run that could not be kept.
    pub refused: u64,
}

/// What a source asks for, and when.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourcePlanResponse {
    /// The source.
    pub name: String,
    /// `http`, or a kind that the program has registered.
    pub kind: String,
    /// The collection that it fills.
    pub collection: String,
    /// The collection of its runs.
    pub history: String,
    /// What it asks for, as it is configured: secrets are not filled in.
    pub requests: Vec<SourceRequestResponse>,
    /// The fields of its records that the configuration adds.
    pub fields: Vec<String>,
    /// When runs are due, as a cron expression.
    pub schedule: Option<String>,
    /// When full runs are.
    pub full_schedule: Option<String>,
    /// When the next one is due.
    pub next_run: Option<String>,
    /// What a person should know of it.
    pub remarks: Vec<String>,
}

/// A request as it is configured.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceRequestResponse {
    /// `objects` or `deletions`.
    pub what: String,
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
}

/// What a run is asked to be.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SourceRunRequest {
    /// Whether it lists all objects, and finds those that are gone.
    pub full: bool,
    /// Whether it only says what it would change.
    pub dry_run: bool,
    /// Whether more records may become inactive than `inactive_guard` allows.
    pub accept: bool,
}

/// A job that was taken.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobTaken {
    /// Its number: `GET /v1/jobs/{id}` shows it.
    pub job: u64,
}

/// A source rests, or goes on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourcePaused {
    /// Whether it rests.
    pub paused: bool,
}

/// Who runs a source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceTenureResponse {
    /// The site's id.
    pub site: String,
    /// How often it was taken over, from 1.
    pub term: u64,
    /// Since when, by that site's clock.
    pub since: String,
}

/// The latest runs of a source.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceHistoryResponse {
    /// The records of the runs, the last one first.
    pub runs: Vec<Map<String, Value>>,
}

/// What a source could not keep.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceErrorsResponse {
    /// The items, the latest first.
    pub errors: Vec<SourceErrorItem>,
}

/// An item that could not be kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceErrorItem {
    /// Its id, where it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub error: String,
    /// The run that found it; 0: a dry run.
    pub run: u64,
}

/// The sources of this site.
#[utoipa::path(
    get,
    path = "/v1/sources",
    operation_id = "list_sources",
    responses((status = OK, description = "How each of them is, by name.", body = SourcesResponse)),
)]
pub(super) async fn sources(
    State(inner): State<ApiShared>,
) -> Result<Json<SourcesResponse>, ApiError> {
    let mut configs = inner.source_configs();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut reports = inner.sources.reports();
    let mut sources = Vec::with_capacity(configs.len());
    for config in &configs {
        let tenure = inner.sources.tenure(config).await.ok().flatten();
        sources.push(SourceResponse::of(config, reports.remove(&config.name), tenure));
    }
    Ok(Json(SourcesResponse { sources }))
}

/// How a source is.
#[utoipa::path(
    get,
    path = "/v1/sources/{name}",
    operation_id = "get_source",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "How it is.", body = SourceResponse)),
)]
pub(super) async fn source(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourceResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let report = inner.sources.reports().remove(&name);
    let tenure = inner.sources.tenure(&config).await.map_err(|error| wrong(&error))?;
    Ok(Json(SourceResponse::of(&config, report, tenure)))
}

/// What a source asks for, and what a person should know of it. Asks for nothing.
#[utoipa::path(
    get,
    path = "/v1/sources/{name}/plan",
    operation_id = "plan_source",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "What it asks for, and when.", body = SourcePlanResponse)),
)]
pub(super) async fn plan(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourcePlanResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let timing = Timing::of(&config).map_err(|error| wrong(&error.into()))?;
    let next = timing.next(jiff::Timestamp::now());
    let request = |what: &str, method: &str, url: &str| SourceRequestResponse {
        what: what.to_owned(),
        method: method.to_owned(),
        url: url.to_owned(),
    };
    let objects = config.request.as_ref().map(|of| request("objects", &of.method, &of.url));
    let deletions = config.deleted.as_ref().map(|of| request("deletions", "GET", &of.url));
    Ok(Json(SourcePlanResponse {
        requests: objects.into_iter().chain(deletions).collect(),
        fields: config.fields.keys().cloned().collect(),
        next_run: next.map(jiff::Timestamp::as_millisecond).and_then(time),
        remarks: remarks(&config),
        name: config.name,
        kind: config.kind,
        collection: config.collection,
        history: config.history,
        schedule: config.schedule,
        full_schedule: config.full_schedule,
    }))
}

/// The latest runs of a source, from all sites.
#[utoipa::path(
    get,
    path = "/v1/sources/{name}/history",
    operation_id = "list_source_runs",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "The last 100 runs, the last one first.", body = SourceHistoryResponse)),
)]
pub(super) async fn history(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourceHistoryResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let rows = inner.sources.history(&config, RUNS_SHOWN).await.map_err(|error| wrong(&error))?;
    Ok(Json(SourceHistoryResponse { runs: rows.into_iter().map(|row| row.fields).collect() }))
}

/// What the last runs could not keep.
#[utoipa::path(
    get,
    path = "/v1/sources/{name}/errors",
    operation_id = "list_source_errors",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "Up to 1,000 items, the latest first.", body = SourceErrorsResponse)),
)]
pub(super) async fn errors(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourceErrorsResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let refused = inner.sources.errors(&config).await.map_err(|error| wrong(&error))?;
    let item = |refused: crate::source::spool::RefusedObject| SourceErrorItem {
        id: refused.id,
        error: refused.what,
        run: refused.run,
    };
    Ok(Json(SourceErrorsResponse { errors: refused.into_iter().map(item).collect() }))
}

/// Asks for a run of a source. It is carried out after those that wait already, also after a restart.
#[utoipa::path(
    post,
    path = "/v1/sources/{name}/run",
    operation_id = "run_source",
    params(("name" = String, Path, description = "The source.")),
    request_body = SourceRunRequest,
    responses((status = OK, description = "The job that was taken.", body = JobTaken)),
)]
pub(super) async fn run(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
    JsonBody(request): JsonBody<SourceRunRequest>,
) -> Result<Json<JobTaken>, ApiError> {
    let config = config(&inner, &name)?;
    let SourceRunRequest { full, dry_run, accept } = request;
    let order = Order { full, dry_run, accept };
    let job = inner.sources.run(&config, order).await.map_err(|error| wrong(&error))?;
    Ok(Json(JobTaken { job }))
}

/// Lets a source rest until it is resumed. A run at work comes to its end.
#[utoipa::path(
    post,
    path = "/v1/sources/{name}/pause",
    operation_id = "pause_source",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "It rests, also after a restart.", body = SourcePaused)),
)]
pub(super) async fn pause(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourcePaused>, ApiError> {
    let config = config(&inner, &name)?;
    inner.sources.pause(&config, BY_A_PERSON).await.map_err(|error| wrong(&error))?;
    Ok(Json(SourcePaused { paused: true }))
}

/// Lets a source go on.
#[utoipa::path(
    post,
    path = "/v1/sources/{name}/resume",
    operation_id = "resume_source",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "It is running again.", body = SourcePaused)),
)]
pub(super) async fn resume(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourcePaused>, ApiError> {
    let config = config(&inner, &name)?;
    inner.sources.resume(&config).await.map_err(|error| wrong(&error))?;
    Ok(Json(SourcePaused { paused: false }))
}

/// Lets this site run a source that another one ran; that one stops when it hears of it.
#[utoipa::path(
    post,
    path = "/v1/sources/{name}/takeover",
    operation_id = "take_over_source",
    params(("name" = String, Path, description = "The source.")),
    responses((status = OK, description = "This site runs it.", body = SourceTenureResponse)),
)]
pub(super) async fn takeover(
    State(inner): State<ApiShared>,
    Named(name): Named<String>,
) -> Result<Json<SourceTenureResponse>, ApiError> {
    let config = config(&inner, &name)?;
    let tenure = inner.sources.take_over(&config).await.map_err(|error| wrong(&error))?;
    let Tenure { site, term, since } = tenure;
    Ok(Json(SourceTenureResponse { site, term, since }))
}

impl SourceResponse {
    fn of(config: &SourceConfig, report: Option<SourceReport>, tenure: Option<Tenure>) -> Self {
        let state = report.as_ref().map_or("not-running", |report| report.state.as_str());
        let report = report.unwrap_or_default();
        let (last, completed) = report.last.unzip();
        Self {
            name: config.name.clone(),
            kind: config.kind.clone(),
            collection: config.collection.clone(),
            space: config.space.clone(),
            state: state.to_owned(),
            reason: Some(report.note).filter(|note| !note.is_empty()),
            since: time(report.since_ms),
            job: report.job,
            next_run: report.next_ms.and_then(time),
            last_run: last.and_then(time),
            last_run_completed: completed,
            site: tenure.as_ref().map(|tenure| tenure.site.clone()),
            term: tenure.map(|tenure| tenure.term),
            refused: report.counts.refused,
        }
    }
}

fn config(inner: &ApiShared, name: &str) -> Result<SourceConfig, ApiError> {
    super::configured("source", inner.source_configs(), |config| &config.name, name)
}

fn wrong(error: &SourceError) -> ApiError {
    let code = match error {
        SourceError::Space(_) => Code::NotFound,
        SourceError::Store(_) => Code::StorageFailed,
        SourceError::Job(error) => return super::jobs::wrong(error),
        SourceError::Read(_) | SourceError::Tenure(_) => Code::Unavailable,
        SourceError::Config(_)
        | SourceError::Timing(_)
        | SourceError::Kind(_)
        | SourceError::Made { .. }
        | SourceError::NotPaused(_) => Code::Conflict,
    };
    ApiError::of(code, error)
}
