//! The six views, and what is done on them. Each shows what an answer of the node's API says.

pub(crate) mod conflicts;
pub(crate) mod findings;
mod jobs;
pub(crate) mod network;
mod offices;
mod records;
mod sums;
pub(crate) mod totals;
mod why;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::layout;
use crate::office::Office;
use crate::sign_in;

/// The paths of all views.
pub(crate) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/", get(offices::show))
        .route("/why", get(why::show))
        .merge(conflicts::routes())
        .merge(records::routes())
        .merge(jobs::routes())
        .merge(network::routes())
        .route("/sign-out", post(sign_in::sign_out))
        .route("/language", post(sign_in::choose_language))
        .route("/dismiss", post(layout::dismiss))
}
