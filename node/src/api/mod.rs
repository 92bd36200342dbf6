//! The HTTP API of a node, on a loopback address and on a Unix socket.
//!
//! | method and path | what |
//! |---|---|
//! | `GET /healthz`, `GET /readyz` | whether the node is there, and works |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /v1/openapi.json` | all of this in OpenAPI 3.1 |
//! | `GET /v1/status`, `/v1/members`, `/v1/peers` | what the site knows of itself and the others |
//! | `GET POST /v1/invites`, `DELETE …/{ticket}`, `POST /v1/join` | tickets |
//! | `PATCH DELETE /v1/members/{site}`, `GET …/admitted` | what is decided of a member, and whom it let in |
//! | `GET POST /v1/spaces`, `GET /v1/spaces/{space}`, `PUT DELETE …/sites/{site}`, `POST …/leave` | private spaces |
//! | `GET PUT PATCH DELETE /v1/records/{collection}/{id}` | one record; also, with its history, as an Automerge document |
//! | `POST /v1/records/{collection}/{id}/undelete` | a deleted record comes back |
//! | `GET /v1/records/{collection}/{id}/history`, `/diff`, `/receipts` | what became of a record, and who holds it |
//! | `GET /v1/records/{collection}` | records, page by page, by filter and order ([`branchline_crdt::query`]) |
//! | `GET /v1/summary/{collection}` | counts, sums, averages, least and greatest values, by group |
//! | `POST /v1/transactions` | edits of several records, together or not at all |
//! | `POST /v1/import/{collection}` | many records as JSON lines |
//! | `GET /v1/collections`, `/v1/collections/{collection}/count`, `…/deleted`, `…/kinds`, `/v1/digest` | what there is |
//! | `GET /v1/log`, `/v1/frontier`, `/v1/status/why` | entries, tips of logs, and what is not in step |
//! | `GET /v1/unsent` | what other sites have not confirmed yet |
//! | `GET /v1/members/history` | what became of the members |
//! | `GET /v1/changes` | every change of every record: as a page, a long poll, or server-sent events |
//! | `GET POST /v1/events/{collection}`, `GET …/latest`, `…/altered` | events, which are never changed |
//! | `GET /v1/conflicts` | fields with more than one value |
//! | `POST /v1/conflicts/settle` | one of the values is written again |
//! | `GET /v1/schemas`, `GET PUT /v1/schemas/{collection}`, `GET …/check` | schemas, and the records that do not fit them |
//! | `POST /v1/bundle`, `/v1/merge` | entries to be carried, as a file, and taken in |
//! | `POST /v1/sync` | pulling from and pushing to the peers now |
//! | `POST /v1/token/rotate` | another bearer token |
//! | `POST /v1/reload` | the configuration file is read again |
//! | `POST /v1/backup` | the journal, for a backup of the site |
//! | `POST /v1/verify`, `/v1/verify/documents`, `/v1/rebuild` | checking and mending the storage |
//!
//! Whatever is about records, their changes and entries takes `space=NAME` in the query: of which space.
//!
//! At the port, every request but `GET /healthz`, `GET /readyz` and `GET /v1/openapi.json` carries the bearer token of the
//! data folder; at the socket in the data folder none does.
//! Errors have one shape,
//! [`ErrorBody`]; [`Code`] lists them all.
//!
//! Crates above the node add paths ([`Routes`](crate::extension::Routes)). Their handlers take from a request what these
//! take ([`JsonBody`], [`Params`], [`Named`], [`InSpace`]), and answer with an [`ApiError`] where they cannot do it.

mod error;
mod exchange;
pub(crate) mod http;
mod openapi;
mod params;
mod records;
mod sites;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod texts;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::extension::Extensions;
use crate::handle::Handle;
use crate::socket::Socket;
use http::hosts::Hosts;

pub use error::{ApiError, Code, ErrorBody, ErrorDetail, ErrorPlace, text_of};
pub use exchange::bundle::{BundleRequest, MergeResponse};
pub use exchange::changes::{
    ChangesResponse, FeedContent, FeedItemResponse, RecordChangeResponse, RecordStateResponse,
    TransactionPart,
};
pub use exchange::event_log::{
    AlteredEvent, AlteredEventsResponse, EventContentResponse, EventRequest, EventResponse,
    EventsResponse, EventsVersionResponse, StoreEventsResponse, StoreRequest,
};
pub use exchange::log::{
    DivergenceResponse, EntryResponse, FrontierResponse, LogResponse, LogTipResponse, WhyResponse,
};
pub use exchange::sync::{PeerSyncResponse, SiteFrontierResponse, SyncRequest, SyncResponse};
pub use exchange::unsent::{UnsentCount, UnsentResponse, UnsentSite};
pub use params::accept::AUTOMERGE;
pub use params::extract::{InSpace, JsonBody, Named, Params, page_records, wait_time};
pub use params::page::PAGE_BYTES;
pub use records::collections::{
    CollectionResponse, CollectionsResponse, CountResponse, DeletedResponse, DigestResponse,
};
pub use records::conflicts::{ConflictResponse, ConflictValueResponse, ConflictsResponse};
pub use records::documents::DocumentsResponse;
pub use records::history::{
    DiffResponse, FieldDiffResponse, HistoryChangeResponse, HistoryResponse, HolderResponse,
    OtherValueResponse, RecordReceiptsResponse,
};
pub use records::import::{IMPORT_LINES_MAX, ImportLine, ImportResponse, RejectedLine};
pub use records::merge_document::DocumentResponse;
pub use records::query::{
    GroupResponse, KindMismatchResponse, ListResponse, ListedRecord, SummaryResponse,
};
pub use records::record::RecordResponse;
pub use records::schema_check::{
    KindsResponse, MisfitFieldResponse, MisfitResponse, SchemaCheckResponse,
};
pub use records::schemas::SchemasResponse;
pub use records::settle::{SettleRequest, SettleResponse, SettledResponse, UnsettledResponse};
pub use records::transactions::{
    EditRequest, EntryName, Operation, RecordVersion, TransactionRequest, TransactionResponse,
};
pub use sites::decisions::{
    AdmittedResponse, DecisionResponse, LetInResponse, MemberChange, RevocationResponse,
};
pub use sites::joining::{InviteRequest, InviteResponse, JoinRequest, JoinResponse};
pub use sites::maintenance::{RebuildResponse, VerifyResponse};
pub use sites::members::{
    AddedResponse, DisputedMemberResponse, FormerMemberResponse, MemberResponse, MembersResponse,
    RevokedMemberResponse,
};
pub use sites::membership_history::{MemberStep, MembersHistoryResponse};
pub use sites::spaces::{GrantRequest, SpaceRequest, SpaceResponse, SpacesResponse};
pub use sites::standing::{CopiesResponse, StandingResponse};
pub use sites::status::{
    IndexResponse, PeerResponse, PeersResponse, SiteResponse, StatusResponse, TrafficResponse,
};
pub use sites::tickets::{InvitesResponse, OpenInviteResponse, WithdrawnResponse};

/// Largest body of a request. Far more than one transaction may have; imports come in pieces.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records on a page where none is asked for.
pub const PAGE_RECORDS: usize = 100;
/// Most records on a page.
pub const PAGE_RECORDS_MAX: usize = 1000;
/// How long a request may take. An import of 10,000 lines on a slow disk is the longest.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What the API serves from.
pub(crate) struct ApiState {
    /// The node.
    pub(crate) handle: Handle,
    /// The hosts that requests at the port may name.
    pub(crate) hosts: Hosts,
}

/// Where requests come in.
pub(crate) struct Doors {
    /// For programs that hold the token.
    pub(crate) port: TcpListener,
    /// For those whom the system lets into the data folder.
    pub(crate) socket: Socket,
}

/// Serves the API until `shutdown` resolves and the requests at work are answered.
pub(crate) async fn serve(
    doors: Doors,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send,
) {
    let ApiState { handle, hosts } = state;
    let (recorded, token) = (Arc::clone(&handle.metrics), Arc::clone(&handle.token));
    let guarded = http::auth::guarded(router(handle), Arc::clone(&token), hosts);
    http::server::serve(doors, http::metrics::measured(guarded, recorded), token, shutdown).await;
}

/// The paths and what they do, without the guard that a running node puts before them: for programs that hold the
/// [`Handle`] anyway.
pub fn router(handle: Handle) -> Router {
    let (router, described) = routes(handle.extensions.upgrade()).split_for_parts();
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(openapi::document(described))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(handle)
}

/// The paths of the node itself.
pub(crate) fn own_paths() -> BTreeSet<String> {
    routes(None).into_openapi().paths.paths.into_keys().collect()
}

/// Each path and what it does stand with the handler.
fn routes(extensions: Option<Arc<Extensions>>) -> OpenApiRouter<Handle> {
    let mut bounded = OpenApiRouter::default()
        .routes(routes!(sites::status::health))
        .routes(routes!(sites::status::ready))
        .routes(routes!(http::metrics::metrics))
        .routes(routes!(openapi::openapi))
        .routes(routes!(sites::status::status))
        .routes(routes!(exchange::log::why))
        .routes(routes!(exchange::log::log))
        .routes(routes!(exchange::log::frontier))
        .routes(routes!(sites::members::members))
        .routes(routes!(sites::membership_history::members_history))
        .routes(routes!(sites::decisions::revoke, sites::decisions::change))
        .routes(routes!(sites::spaces::list, sites::spaces::create))
        .routes(routes!(sites::spaces::show))
        .routes(routes!(sites::spaces::grant, sites::spaces::revoke))
        .routes(routes!(sites::spaces::leave))
        .routes(routes!(sites::status::peers))
        .routes(routes!(sites::decisions::admitted))
        .routes(routes!(sites::joining::invite, sites::tickets::list))
        .routes(routes!(sites::tickets::withdraw))
        .routes(routes!(sites::token::rotate))
        .routes(routes!(sites::joining::join))
        .routes(routes!(records::query::list))
        .routes(routes!(
            records::record::get,
            records::record::put,
            records::record::patch,
            records::record::delete
        ))
        .routes(routes!(records::record::undelete))
        .routes(routes!(records::merge_document::merge_document))
        .routes(routes!(records::history::history))
        .routes(routes!(records::history::diff))
        .routes(routes!(records::history::receipts))
        .routes(routes!(records::transactions::transact))
        .routes(routes!(records::import::import))
        .routes(routes!(records::collections::collections))
        .routes(routes!(records::collections::count))
        .routes(routes!(records::collections::deleted))
        .routes(routes!(records::schema_check::kinds))
        .routes(routes!(records::query::summary))
        .routes(routes!(records::collections::digest))
        .routes(routes!(records::conflicts::conflicts))
        .routes(routes!(records::settle::settle))
        .routes(routes!(exchange::changes::changes))
        .routes(routes!(exchange::event_log::load, exchange::event_log::store))
        .routes(routes!(exchange::event_log::latest))
        .routes(routes!(exchange::event_log::altered))
        .routes(routes!(records::schemas::list))
        .routes(routes!(records::schemas::get, records::schemas::put))
        .routes(routes!(records::schema_check::check));
    // These read or write everything that is stored: they take as long as they take.
    let mut unbounded = OpenApiRouter::default()
        .routes(routes!(exchange::unsent::unsent))
        .routes(routes!(exchange::bundle::bundle))
        .routes(routes!(exchange::bundle::merge))
        .routes(routes!(sites::maintenance::backup))
        .routes(routes!(exchange::sync::sync))
        .routes(routes!(sites::reload::reload))
        .routes(routes!(sites::maintenance::verify))
        .routes(routes!(records::documents::verify))
        .routes(routes!(sites::maintenance::rebuild));
    for added in extensions.iter().flat_map(|extensions| extensions.routes()) {
        bounded = bounded.merge(added.bounded);
        unbounded = unbounded.merge(added.unbounded);
    }
    bounded.layer(middleware::from_fn(time_out)).merge(unbounded)
}

async fn time_out(request: Request, next: Next) -> Result<Response, ApiError> {
    let is_read = request.method() == Method::GET;
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await.map_err(|_| {
        let message = format!("the request took longer than {} s", REQUEST_TIMEOUT.as_secs());
        let error = ApiError::new(Code::TimedOut, message);
        if is_read {
            error
        } else {
            error.hint("it may still be carried out: look before sending it again")
        }
    })
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no path {}", uri.path()))
        .hint("a '/' within a record id is written %2F")
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let message = format!("{} does not know the method {method}", uri.path());
    ApiError::new(Code::MethodNotAllowed, message)
}
