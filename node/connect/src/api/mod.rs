//! The connectors in the node's API: what they are, what they would do, and what is asked of them.

mod answers;
mod commands;
mod jobs;
mod looks;
mod sinks;
mod sources;

use std::sync::Arc;

use branchline_node::api::{ApiError, Code};
use branchline_node::extension::Routes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extension::ExtensionInner;
use crate::sql::bridges::BridgeNotReady;
use crate::sql::config::BridgeConfig;
use crate::sql::database::{DbError, DbErrorClass};
use crate::sql::worker::BridgeWrong;

pub(crate) use answers::time;
pub use answers::{
    BridgeRemovedResponse, BridgeResponse, BridgeTableResponse, BridgesResponse,
    DifferenceResponse, InstalledResponse, PausedResponse, RequeueRequest, RequeuedResponse,
    ResumedResponse, ResyncRequest, ResyncingResponse, SetAsideItem, SetAsideResponse,
    VerifiedResponse, VerifiedTable, VerifyRequest,
};

pub use jobs::{JobResponse, JobsResponse};
pub use sinks::{
    SinkClassResponse, SinkEdgeResponse, SinkGroupResponse, SinkGroupsResponse,
    SinkHistoryResponse, SinkItemResponse, SinkJobResponse, SinkPausedResponse, SinkPlanResponse,
    SinkRequestResponse, SinkRequeueRequest, SinkRequeuedResponse, SinkResponse, SinkRunRequest,
    SinkRunResponse, SinkTakenResponse, SinkVerifyRequest, SinksResponse,
};
pub use sources::{
    JobTaken, SourceErrorItem, SourceErrorsResponse, SourceHistoryResponse, SourcePaused,
    SourcePlanResponse, SourceRequestResponse, SourceResponse, SourceRunRequest,
    SourceTenureResponse, SourcesResponse,
};

/// Parts of a node share this.
type ApiShared = Arc<ExtensionInner>;

/// The paths.
pub(crate) fn routes(inner: &ApiShared) -> Routes {
    let bounded = OpenApiRouter::default()
        .routes(routes!(looks::bridges))
        .routes(routes!(looks::bridge))
        .routes(routes!(looks::plan))
        .routes(routes!(looks::errors))
        .routes(routes!(commands::pause))
        .routes(routes!(commands::resume))
        .routes(routes!(commands::requeue))
        .routes(routes!(sources::sources))
        .routes(routes!(sources::source))
        .routes(routes!(sources::plan))
        .routes(routes!(sources::history))
        .routes(routes!(sources::errors))
        .routes(routes!(sources::run))
        .routes(routes!(sources::pause))
        .routes(routes!(sources::resume))
        .routes(routes!(sources::takeover))
        .routes(routes!(jobs::jobs))
        .routes(routes!(jobs::job))
        .routes(routes!(jobs::cancel));
    // A busy database lets these wait for its locks, and a large table is read as a whole.
    let unbounded = OpenApiRouter::default()
        .routes(routes!(commands::install))
        .routes(routes!(commands::resync))
        .routes(routes!(commands::verify))
        .routes(routes!(commands::remove));
    let sinks = sinks::routes(inner);
    Routes {
        bounded: bounded.with_state(Arc::clone(inner)).merge(sinks.bounded),
        unbounded: unbounded.with_state(Arc::clone(inner)).merge(sinks.unbounded),
    }
}

/// A bridge as it is configured.
fn config(inner: &ExtensionInner, name: &str) -> Result<BridgeConfig, ApiError> {
    configured("bridge", inner.configs(), |config| &config.name, name)
}

/// The connector of a kind that is called so.
fn configured<T>(
    kind: &str,
    configs: Vec<T>,
    name_of: impl Fn(&T) -> &str,
    name: &str,
) -> Result<T, ApiError> {
    let unknown = unknown(kind, configs.iter().map(&name_of), name);
    configs.into_iter().find(|config| name_of(config) == name).ok_or(unknown)
}

/// There is no connector of a kind that is called so; there are these.
fn unknown<'n>(kind: &str, known: impl Iterator<Item = &'n str>, name: &str) -> ApiError {
    let known: Vec<&str> = known.collect();
    let known = if known.is_empty() {
        "there are none".to_owned()
    } else {
        format!("expected one of {}", known.join(", "))
    };
    let message = format!("this site has no {kind} {name:?}: {known}");
    ApiError::new(Code::NotFound, message).hint(format!(
        "{kind}s stand in branchline.toml as [[{kind}]]; `branchline reload` takes new ones up"
    ))
}

fn not_ready(error: &BridgeNotReady) -> ApiError {
    let code = match error {
        BridgeNotReady::Database(error) => return database(error),
        BridgeNotReady::Bridge { source, .. } => return not_ready(source),
        BridgeNotReady::State(_) => Code::StorageFailed,
        BridgeNotReady::Secret(_)
        | BridgeNotReady::Poll(_)
        | BridgeNotReady::Url { .. }
        | BridgeNotReady::NoTable(_)
        | BridgeNotReady::Refused(_)
        | BridgeNotReady::Node(_) => Code::Conflict,
    };
    ApiError::of(code, error)
}

fn wrong(error: &BridgeWrong) -> ApiError {
    let code = match error {
        BridgeWrong::Table { .. } => Code::NotFound,
        BridgeWrong::State(_) | BridgeWrong::Failed(_) => Code::Conflict,
        BridgeWrong::Database(error) => return database(error),
        BridgeWrong::File(_) => Code::StorageFailed,
    };
    ApiError::of(code, error)
}

fn database(error: &DbError) -> ApiError {
    let code = match error.class {
        DbErrorClass::Transient => Code::Unavailable,
        DbErrorClass::Row | DbErrorClass::Schema | DbErrorClass::Config => Code::Conflict,
        DbErrorClass::Bug => Code::Internal,
    };
    ApiError::new(code, format!("the database says: {error}"))
}
