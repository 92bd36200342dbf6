//! A document that another program edited, taken into a record.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::record::{entity_tag, view_written};
use super::writes::{AskedWrite, WriteParams};
use crate::api::error::ApiError;
use crate::api::params::accept::AUTOMERGE;
use crate::api::params::extract::{Address, DocumentBody, InSpace, Params};
use crate::records::MergeOptions;

/// What taking a document in did. What it says is durable; taking the same in again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentResponse {
    /// The record's version now.
    pub version: String,
    /// Changes of the document that were new, and are edits of this site now.
    pub taken: usize,
    /// Changes of the document that were known: the record's own, and those that were taken in before.
    pub known: usize,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentParams {
    /// Whether the document shall become a new record. Otherwise it must have been made of the record.
    #[serde(default)]
    new: bool,
    /// Answer once so many other sites (`received:N`), or this one (`site:NAME`), prove that they hold the write durably.
    wait: Option<String>,
    /// But then at the latest, with status 202: `30s` if not given, 50 s at the most.
    timeout: Option<String>,
}

/// Takes in what another program edited of a record.
///
/// The document's edits build on the version that it was made of, and merge with what was changed since. Each counts once,
/// however often the document is sent; an `Idempotency-Key` is not needed, and has no effect.
#[utoipa::path(
    post,
    path = "/v1/records/{collection}/{id}/document",
    operation_id = "merge_document",
    params(InSpace, Address, AskedWrite, DocumentParams),
    request_body(
        content = Vec<u8>,
        content_type = AUTOMERGE,
        description = "The Automerge document, as `save()` gives it, or a series of changes."
    ),
    responses(
        (
            status = OK,
            description = "It is taken in, durably.",
            body = DocumentResponse,
            headers(("etag" = String, description = "The record's version.")),
        ),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = DocumentResponse,
        ),
    ),
)]
pub(crate) async fn merge_document(
    InSpace(handle): InSpace,
    address: Address,
    asked: AskedWrite,
    Params(DocumentParams { new, wait, timeout }): Params<DocumentParams>,
    DocumentBody(bytes): DocumentBody,
) -> Result<Response, ApiError> {
    let Address { collection, id } = &address;
    let options = MergeOptions { is_new: new, expected: asked.expected()? };
    let params = WriteParams::waiting(wait, timeout);
    let mut known = 0;
    let write = async {
        let merged = handle.take_document(collection, id, bytes.into(), options).await;
        let (written, count) = merged.map_err(ApiError::from)?;
        known = count - written.changes.len();
        Ok(written)
    };
    let records = vec![(collection.clone(), id.clone())];
    let done = asked.await_held(&handle, &params, records, write).await?;
    let taken = done.written.changes.len();
    let shown = async {
        let version = view_written(&handle, &address).await?.version();
        let tag = entity_tag(&version)?;
        let answer = Json(DocumentResponse { version: version.to_string(), taken, known });
        Ok((StatusCode::OK, [(header::ETAG, tag)], answer).into_response())
    };
    Ok(done.answer(shown.await))
}
