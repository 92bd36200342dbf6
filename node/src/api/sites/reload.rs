//! Taking up a changed configuration.

use axum::Json;
use axum::extract::State;

use crate::api::error::{ApiError, Code};
use crate::extension::{ReloadError, Reloaded};
use crate::handle::Handle;

/// Reads the configuration file again and takes up what can change while the node runs.
///
/// That is the log filter, the room that is kept for own writes, and the sections of `branchline.toml` that are not the
/// node's own. After an error all of it is as
/// before.
#[utoipa::path(
    post,
    path = "/v1/reload",
    operation_id = "reload_configuration",
    responses((status = OK, description = "What has changed.", body = Reloaded)),
)]
pub(crate) async fn reload(State(handle): State<Handle>) -> Result<Json<Reloaded>, ApiError> {
    Ok(Json(handle.reload().await?))
}

impl From<ReloadError> for ApiError {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::NotRunning => Self::of(Code::Conflict, &error),
            ReloadError::Stopped(error) => error.into(),
            ReloadError::Config(_) | ReloadError::Log { .. } | ReloadError::Extension { .. } => {
                Self::of(Code::ConfigurationRefused, &error)
                    .hint("correct it and reload again; the node keeps the previous configuration")
            }
        }
    }
}
