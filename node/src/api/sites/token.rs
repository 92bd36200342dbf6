//! The token that opens the API's port.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::error::{ApiError, Code};
use crate::handle::Handle;

/// Replaces the bearer token by a new one. `api.token` in the data folder has it; the old one is refused from now on.
#[utoipa::path(
    post,
    path = "/v1/token/rotate",
    operation_id = "rotate_token",
    responses((status = NO_CONTENT, description = "The token is another one.")),
)]
pub(crate) async fn rotate(State(handle): State<Handle>) -> Result<StatusCode, ApiError> {
    let token = Arc::clone(&handle.token);
    let rotated = tokio::task::spawn_blocking(move || token.rotate()).await;
    match rotated {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(error)) => Err(ApiError::of(Code::Unwritable, &error)),
        Err(error) => Err(ApiError::of(Code::Internal, &error)),
    }
}
