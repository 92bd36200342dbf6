//! Records as Automerge documents.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::record::Version;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::history::never_written;
use super::record::{entity_tag, not_modified, view_written};
use crate::api::error::{ApiError, Code};
use crate::api::params::accept::{AUTOMERGE, prefers};
use crate::api::params::extract::{Address, Params};
use crate::handle::Handle;
use crate::records::{DocumentsPage, DocumentsReport};

const JSON: &str = "application/json";

/// Whether a client would rather have the Automerge document of a record than its fields in JSON.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    prefers(headers, AUTOMERGE, JSON)
}

/// A record as an Automerge document; a deleted one too, which says so itself.
pub(crate) async fn answer(
    handle: &Handle,
    address: &Address,
    at: Option<String>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    if at.is_none() {
        // The version alone takes no time.
        let tag = entity_tag(&Version::of(&view_written(handle, address).await?))?;
        if let Some(answer) = not_modified(headers, &tag) {
            return Ok(answer);
        }
    }
    let Address { collection, id } = address;
    let document = handle.document_as_of(collection, id, at).await?;
    let document = document.ok_or_else(|| never_written(address))?;
    let tag = entity_tag(&document.version)?;
    Ok(not_modified(headers, &tag).unwrap_or_else(|| {
        let kind = HeaderValue::from_static(AUTOMERGE);
        ([(header::ETAG, tag), (header::CONTENT_TYPE, kind)], document.bytes).into_response()
    }))
}

/// What Automerge reads in a part of the records, compared with what this site shows of them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DocumentsResponse {
    /// Records that were compared, deleted ones too.
    pub records: u64,
    /// All records that there are.
    pub records_total: u64,
    /// Records that Automerge does not read as this site does, or not at all.
    pub fault_count: u64,
    /// The first of those, each with what differs.
    pub faults: Vec<String>,
    /// Records that were not compared, since they have more history than a document is made of.
    pub skipped_count: u64,
    /// The first of those, each with its reason.
    pub skipped: Vec<String>,
    /// Where the next part begins (`?after=`). `None`: this was the last.
    pub next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentsParams {
    /// The `next` of the part before; from the first record if not given.
    after: Option<String>,
}

/// Has Automerge read a part of the records of all spaces, some thousand changes, and compares that with what this site
/// shows: fields, deletion, conflicts and versions.
#[utoipa::path(
    post,
    path = "/v1/verify/documents",
    operation_id = "verify_documents",
    params(DocumentsParams),
    responses((status = OK, description = "What was found in them.", body = DocumentsResponse)),
)]
pub(crate) async fn verify(
    State(handle): State<Handle>,
    Params(DocumentsParams { after }): Params<DocumentsParams>,
) -> Result<Json<DocumentsResponse>, ApiError> {
    let after = after.map(|after| HEXLOWER.decode(after.as_bytes())).transpose();
    let after = after.map_err(|_| {
        ApiError::new(Code::BadCursor, "`after` is not a position between records of this path")
            .hint("take the `next` of the answer before, or none to begin")
    })?;
    let DocumentsPage { report, records_total, next } = handle.verify_documents(after).await?;
    let DocumentsReport { records, fault_count, faults, skipped_count, skipped } = report;
    let next = next.map(|next| HEXLOWER.encode(&next));
    Ok(Json(DocumentsResponse {
        records,
        records_total,
        fault_count,
        faults,
        skipped_count,
        skipped,
        next,
    }))
}
