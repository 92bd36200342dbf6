//! One record.

use crate::api::texts;
use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::record::{Edit, Version, View};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::conflicts::{self, ConflictResponse, Naming};
use super::documents;
use super::history::never_written;
use super::writes::{AskedWrite, WriteDone, WriteParams};
use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{Address, InSpace, JsonBody, Params};
use crate::handle::Handle;

/// A record with its versions and conflicts (`?meta=true`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordResponse {
    /// Its id.
    pub id: String,
    /// Its fields.
    pub fields: Map<String, Value>,
    /// The hashes of its latest changes, in hex.
    pub heads: Vec<String>,
    /// Its conflicted fields.
    pub conflicts: Vec<ConflictResponse>,
}

/// A record as it is reported.
#[derive(Serialize)]
#[serde(untagged)]
enum RecordBody {
    Fields(Map<String, Value>),
    Record(RecordResponse),
}

/// Any object can be the fields of a record, so it is not known which of the two one is.
impl PartialSchema for RecordBody {
    fn schema() -> RefOr<Schema> {
        AnyOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::Object))
            .item(Ref::from_schema_name(RecordResponse::name()))
            .description(Some("Its fields; with `meta=true` also its versions and conflicts."))
            .into()
    }
}

impl ToSchema for RecordBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((RecordResponse::name().into_owned(), RecordResponse::schema()));
        RecordResponse::schemas(schemas);
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    /// Whether to give versions and conflicts as well.
    #[serde(default)]
    meta: bool,
    /// As it was at a version that an ETag named, or as a change left it: the change's hash, the beginning of it, or its
    /// entry.
    at: Option<String>,
}

/// A record: its fields, or with `Accept: application/vnd.automerge` its Automerge document with all history, also of one
/// that is deleted.
#[utoipa::path(
    get,
    path = "/v1/records/{collection}/{id}",
    operation_id = "get_record",
    params(
        InSpace,
        Address,
        Meta,
        (
            "If-None-Match" = Option<String>,
            Header,
            description = "Versions that are known already: for one of them the answer is 304, without a body.",
        ),
    ),
    responses(
        (
            status = OK,
            description = "The record.",
            content((RecordBody = "application/json"), (Vec<u8> = "application/vnd.automerge")),
            headers(("etag" = String, description = "Its version.")),
        ),
        (
            status = NOT_MODIFIED,
            description = "It is of a version that `If-None-Match` names.",
            headers(("etag" = String, description = "Its version.")),
        ),
    ),
)]
pub(crate) async fn get(
    InSpace(handle): InSpace,
    address: Address,
    Params(Meta { meta, at }): Params<Meta>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let answer = if documents::is_wanted(&headers) {
        documents::answer(&handle, &address, at, &headers).await?
    } else {
        fields(&handle, &address, Meta { meta, at }, &headers).await?
    };
    // One version of a record has two forms.
    Ok(([(header::VARY, header::ACCEPT.as_str())], answer).into_response())
}

async fn fields(
    handle: &Handle,
    address: &Address,
    Meta { meta, at }: Meta,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let view = match at {
        None => view(handle, address).await?,
        Some(at) => view_as_of(handle, address, at).await?,
    };
    let tag = entity_tag(&view.version())?;
    if let Some(answer) = not_modified(headers, &tag) {
        return Ok(answer);
    }
    show(handle, address, meta, view).await
}

/// The view of a record that was not deleted then.
async fn view_as_of(handle: &Handle, address: &Address, at: String) -> Result<View, ApiError> {
    let Address { collection, id } = address;
    let view = handle.view_as_of(collection, id, at).await?;
    let view = view.ok_or_else(|| never_written(address))?;
    if view.deleted {
        let message = format!("record {collection}/{id} was deleted then");
        return Err(ApiError::new(Code::RecordNotFound, message));
    }
    Ok(view)
}

/// The answer where `If-None-Match` names the version: the client has it already.
pub(crate) fn not_modified(headers: &HeaderMap, tag: &HeaderValue) -> Option<Response> {
    let answer = || (StatusCode::NOT_MODIFIED, [(header::ETAG, tag.clone())]).into_response();
    names_version(headers, tag).then(answer)
}

fn names_version(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tags.any(|found| {
        let found = found.trim_ascii();
        // A weak tag is compared as a strong one here: the record is the same byte for byte. With `meta` the names of sites beside
        // it may have changed.
        found == b"*" || found.strip_prefix(b"W/").unwrap_or(found) == tag.as_bytes()
    })
}

/// Gives a record these fields and no others.
#[utoipa::path(
    put,
    path = "/v1/records/{collection}/{id}",
    operation_id = "put_record",
    params(InSpace, Address, AskedWrite, WriteParams),
    request_body = Map<String, Value>,
    responses(
        (
            status = OK,
            description = "The record, durable.",
            body = RecordBody,
            headers(("etag" = String, description = "Its version.")),
        ),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = RecordBody,
        ),
    ),
)]
pub(crate) async fn put(
    InSpace(handle): InSpace,
    address: Address,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Put(fields)).await?;
    Ok(done.answer(show_written(&handle, &address, params.meta).await))
}

/// Changes a record by a JSON Merge Patch; `{"$inc": n}` counts.
#[utoipa::path(
    patch,
    path = "/v1/records/{collection}/{id}",
    operation_id = "patch_record",
    params(InSpace, Address, AskedWrite, WriteParams),
    request_body(
        content(
            (Map<String, Value> = "application/json"),
            (Map<String, Value> = "application/merge-patch+json"),
        ),
    ),
    responses(
        (
            status = OK,
            description = "The record, durable.",
            body = RecordBody,
            headers(("etag" = String, description = "Its version.")),
        ),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = RecordBody,
        ),
    ),
)]
pub(crate) async fn patch(
    InSpace(handle): InSpace,
    address: Address,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
    JsonBody(patch): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let edit = Edit::Merge { patch, create: false };
    let done = write(&handle, &address, &asked, &params, edit).await?;
    Ok(done.answer(show_written(&handle, &address, params.meta).await))
}

/// Deletes a record; it can come back.
#[utoipa::path(
    delete,
    path = "/v1/records/{collection}/{id}",
    operation_id = "delete_record",
    params(InSpace, Address, AskedWrite, WriteParams),
    responses(
        (status = NO_CONTENT, description = "The record is deleted, durably."),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
        ),
    ),
)]
pub(crate) async fn delete(
    InSpace(handle): InSpace,
    address: Address,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Delete).await?;
    Ok(done.answer(Ok(StatusCode::NO_CONTENT.into_response())))
}

/// A deleted record comes back.
#[utoipa::path(
    post,
    path = "/v1/records/{collection}/{id}/undelete",
    operation_id = "undelete_record",
    params(InSpace, Address, AskedWrite, WriteParams),
    responses(
        (
            status = OK,
            description = "The record, durable.",
            body = RecordBody,
            headers(("etag" = String, description = "Its version.")),
        ),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = RecordBody,
        ),
    ),
)]
pub(crate) async fn undelete(
    InSpace(handle): InSpace,
    address: Address,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Undelete).await?;
    Ok(done.answer(show_written(&handle, &address, params.meta).await))
}

/// One edit of one record, as a transaction of its own.
pub(crate) async fn write(
    handle: &Handle,
    address: &Address,
    asked: &AskedWrite,
    params: &WriteParams,
    edit: Edit,
) -> Result<WriteDone, ApiError> {
    let Address { collection, id } = address;
    let edit = RecordEdit { expected: asked.expected()?, ..RecordEdit::new(collection, id, edit) };
    asked.write(handle, params, vec![edit]).await
}

/// The view of a record that exists and is not deleted.
pub(crate) async fn view(handle: &Handle, address: &Address) -> Result<View, ApiError> {
    let view = view_written(handle, address).await?;
    if view.deleted {
        return Err(ApiError::record_deleted(&address.collection, &address.id));
    }
    Ok(view)
}

/// The view of a record that exists, deleted or not.
pub(crate) async fn view_written(handle: &Handle, address: &Address) -> Result<View, ApiError> {
    let Address { collection, id } = address.clone();
    let read = handle.read_briefly(move |tables, space| {
        let key = RecordKey { space, collection, id };
        Ok((read::record(tables, &key)?, read::unreadable(tables, &key)?))
    });
    let Address { collection, id } = address;
    match read.await? {
        (_, Some(reason)) => Err(ApiError::record_unreadable(collection, id, &reason)),
        (Some(view), None) => Ok(view),
        (None, None) => Err(ApiError::record_not_found(collection, id)),
    }
}

/// Shows a record after a write of it, also where somebody has deleted it since.
async fn show_written(
    handle: &Handle,
    address: &Address,
    meta: bool,
) -> Result<Response, ApiError> {
    show(handle, address, meta, view_written(handle, address).await?).await
}

async fn show(
    handle: &Handle,
    address: &Address,
    meta: bool,
    view: View,
) -> Result<Response, ApiError> {
    let tag = entity_tag(&view.version())?;
    let body = if !meta {
        RecordBody::Fields(texts::fields(view))
    } else {
        let naming = Naming::of(handle, &view).await?;
        let conflicts = conflicts::of_view(&address.collection, &address.id, &view, &naming);
        let heads = view.heads.iter().map(|head| HEXLOWER.encode(head)).collect();
        let (id, fields) = (address.id.clone(), texts::fields(view));
        RecordBody::Record(RecordResponse { id, fields, heads, conflicts })
    };
    Ok(([(header::ETAG, tag)], Json(body)).into_response())
}

/// Names the version of a record.
pub(crate) fn entity_tag(version: &Version) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(format!("\"{version}\""))
        .map_err(|error| ApiError::of(Code::Internal, &error))
}
