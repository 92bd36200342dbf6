//! Checking and mending what is stored.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::handle::Handle;

/// What a check of the whole storage found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerifyAnswer {
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

/// What was made anew.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct RebuildAnswer {
    /// Entries that were replayed.
    pub entries: u64,
}

pub(crate) async fn verify(State(handle): State<Handle>) -> Result<Json<VerifyAnswer>, ApiError> {
    let report = handle.verify().await?;
    Ok(Json(VerifyAnswer {
        sound: report.is_sound(),
        entries: report.entries,
        records: report.records,
        fault_count: report.fault_count,
        faults: report.faults,
    }))
}

/// The journal, in the form of [`crate::backup`] without header and files: those the owner of the folder adds.
pub(crate) async fn backup(State(handle): State<Handle>) -> Result<Body, ApiError> {
    Ok(Body::from_stream(handle.backup().await?))
}

pub(crate) async fn rebuild(State(handle): State<Handle>) -> Result<Json<RebuildAnswer>, ApiError> {
    Ok(Json(RebuildAnswer { entries: handle.rebuild().await? }))
}
