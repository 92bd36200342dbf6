//! Checking and mending what is stored.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::ApiError;
use crate::handle::Handle;

/// What the journal of a backup, in the form of [`crate::backup`], looks like to programs that transport it.
const BACKUP_TYPE: &str = "application/octet-stream";

/// What a check of the whole storage found.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerifyResponse {
    /// Whether nothing is wrong.
    pub sound: bool,
    /// Entries whose signature and chain hold.
    pub entries: u64,
    /// Records whose view follows from their document.
    pub records: u64,
    /// Number of faults.
    pub fault_count: u64,
    /// The first faults.
    pub faults: Vec<String>,
}

/// What was rebuilt.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct RebuildResponse {
    /// Entries that were replayed.
    pub entries: u64,
}

/// Checks all that is stored.
#[utoipa::path(
    post,
    path = "/v1/verify",
    operation_id = "verify_storage",
    responses((status = OK, description = "What was found.", body = VerifyResponse)),
)]
pub(crate) async fn verify(State(handle): State<Handle>) -> Result<Json<VerifyResponse>, ApiError> {
    let report = handle.verify().await?;
    Ok(Json(VerifyResponse {
        sound: report.is_sound(),
        entries: report.entries,
        records: report.records,
        fault_count: report.fault_count,
        faults: report.faults,
    }))
}

/// What extensions of the node keep and the journal, for a backup of the site: without header and the site's own files, which
/// the owner of the folder adds.
#[utoipa::path(
    post,
    path = "/v1/backup",
    operation_id = "create_backup",
    responses(
        (status = OK, description = "The parts of the backup.", body = Vec<u8>, content_type = BACKUP_TYPE),
    ),
)]
pub(crate) async fn backup(State(handle): State<Handle>) -> Result<Response, ApiError> {
    let bytes = Body::from_stream(handle.backup().await?);
    Ok(([(header::CONTENT_TYPE, BACKUP_TYPE)], bytes).into_response())
}

/// Rebuilds the tables from the journal.
#[utoipa::path(
    post,
    path = "/v1/rebuild",
    operation_id = "rebuild_tables",
    responses((status = OK, description = "The tables are rebuilt.", body = RebuildResponse)),
)]
pub(crate) async fn rebuild(
    State(handle): State<Handle>,
) -> Result<Json<RebuildResponse>, ApiError> {
    Ok(Json(RebuildResponse { entries: handle.rebuild().await? }))
}
