//! The jobs in the node's API.

use axum::Json;
use axum::extract::State;
use branchline_node::api::{ApiError, Code, Named};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{ApiShared, time};
use crate::jobs::board::{Job, JobError};

/// The jobs of a site.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobsResponse {
    /// Up to some 1,000, the latest first.
    pub jobs: Vec<JobResponse>,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobResponse {
    /// Its number.
    pub id: u64,
    /// Whose it is: `source crm`, `sink netsuite`, `bridge till`.
    pub connector: String,
    /// What was asked for.
    pub order: Value,
    /// `waiting`, `running`, `backing-off`, `failed`, `paused`, `completed` or `cancelled`.
    pub state: String,
    /// Why it is so.
    pub reason: Option<String>,
    /// When it was asked for.
    pub asked_at: Option<String>,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Items done.
    pub done: u64,
    /// Items in all, where that is known.
    pub total: Option<u64>,
    /// What came of it.
    pub result: Option<Value>,
}

impl JobResponse {
    fn of(job: Job) -> Self {
        Self {
            id: job.id,
            connector: job.connector,
            order: job.order,
            state: job.state.as_str().to_owned(),
            reason: Some(job.note).filter(|note| !note.is_empty()),
            asked_at: time(job.asked_ms),
            started_at: job.begun_ms.and_then(time),
            ended_at: job.ended_ms.and_then(time),
            done: job.progress.done,
            total: job.progress.total,
            result: job.result,
        }
    }
}

/// The jobs of this site: runs, and bridges' reading of whole tables, that wait, are at work, and have ended.
#[utoipa::path(
    get,
    path = "/v1/jobs",
    operation_id = "list_jobs",
    responses((status = OK, description = "The jobs, the latest first.", body = JobsResponse)),
)]
pub(super) async fn jobs(State(inner): State<ApiShared>) -> Result<Json<JobsResponse>, ApiError> {
    let jobs = inner.jobs.list().await.map_err(|error| wrong(&error))?;
    Ok(Json(JobsResponse { jobs: jobs.into_iter().map(JobResponse::of).collect() }))
}

/// A job.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    operation_id = "get_job",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = OK, description = "How it is.", body = JobResponse)),
)]
pub(super) async fn job(
    State(inner): State<ApiShared>,
    Named(id): Named<u64>,
) -> Result<Json<JobResponse>, ApiError> {
    let job = inner.jobs.show(id).await.map_err(|error| wrong(&error))?;
    Ok(Json(JobResponse::of(job)))
}

/// Ends a job: one that waits at once, one at work where it leaves everything as it was.
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    operation_id = "cancel_job",
    params(("id" = u64, Path, description = "Its number.")),
    responses((status = OK, description = "It ends.", body = JobResponse)),
)]
pub(super) async fn cancel(
    State(inner): State<ApiShared>,
    Named(id): Named<u64>,
) -> Result<Json<JobResponse>, ApiError> {
    let job = inner.jobs.cancel(id).await.map_err(|error| wrong(&error))?;
    Ok(Json(JobResponse::of(job)))
}

pub(super) fn wrong(error: &JobError) -> ApiError {
    let code = match error {
        JobError::Unknown(_) => Code::NotFound,
        JobError::Ended { .. } => Code::Conflict,
        JobError::Full { .. } => Code::TooManyWaiting,
        JobError::Store(_) => Code::StorageFailed,
    };
    ApiError::of(code, error)
}
