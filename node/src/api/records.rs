//! One record.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::read;
use branchline_crdt::record::{Edit, Version, View};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::tables::records::RecordKey;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conflicts::{self, Naming};
use super::error::{ApiError, Code};
use super::extract::{Address, InSpace, JsonBody, Params};
use super::page;
use super::writes::{Asked, Done, WriteParams};
use crate::handle::Handle;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    #[serde(default)]
    meta: bool,
}

pub(crate) async fn get(
    InSpace(handle): InSpace,
    address: Address,
    Params(Meta { meta }): Params<Meta>,
) -> Result<Response, ApiError> {
    show(&handle, &address, meta).await
}

pub(crate) async fn put(
    InSpace(handle): InSpace,
    address: Address,
    asked: Asked,
    Params(params): Params<WriteParams>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Put(fields)).await?;
    Ok(done.mark(show(&handle, &address, params.meta).await?))
}

pub(crate) async fn patch(
    InSpace(handle): InSpace,
    address: Address,
    asked: Asked,
    Params(params): Params<WriteParams>,
    JsonBody(patch): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let edit = Edit::Merge { patch, create: false };
    let done = write(&handle, &address, &asked, &params, edit).await?;
    Ok(done.mark(show(&handle, &address, params.meta).await?))
}

pub(crate) async fn delete(
    InSpace(handle): InSpace,
    address: Address,
    asked: Asked,
    Params(params): Params<WriteParams>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Delete).await?;
    Ok(done.mark(StatusCode::NO_CONTENT.into_response()))
}

pub(crate) async fn undelete(
    InSpace(handle): InSpace,
    address: Address,
    asked: Asked,
    Params(params): Params<WriteParams>,
) -> Result<Response, ApiError> {
    let done = write(&handle, &address, &asked, &params, Edit::Undelete).await?;
    Ok(done.mark(show(&handle, &address, params.meta).await?))
}

/// One edit of one record, as a transaction of its own.
pub(crate) async fn write(
    handle: &Handle,
    address: &Address,
    asked: &Asked,
    params: &WriteParams,
    edit: Edit,
) -> Result<Done, ApiError> {
    let Address { collection, id } = address;
    let edit = RecordEdit { expected: asked.expected()?, ..RecordEdit::new(collection, id, edit) };
    asked.write(handle, params, vec![edit]).await
}

/// The view of a record that exists and is not deleted.
pub(crate) async fn view(handle: &Handle, address: &Address) -> Result<View, ApiError> {
    let Address { collection, id } = address.clone();
    let read = handle.read(move |tables, space| {
        let key = RecordKey { space, collection, id };
        Ok((read::record(tables, &key)?, read::unreadable(tables, &key)?))
    });
    let Address { collection, id } = address;
    match read.await? {
        (_, Some(reason)) => Err(ApiError::record_unreadable(collection, id, &reason)),
        (Some(view), None) if !view.deleted => Ok(view),
        (Some(_) | None, None) => Err(ApiError::record_not_found(collection, id)),
    }
}

async fn show(handle: &Handle, address: &Address, meta: bool) -> Result<Response, ApiError> {
    let view = view(handle, address).await?;
    let tag = entity_tag(&view)?;
    let body = match meta {
        false => Value::Object(page::fields(view)),
        true => {
            let naming = Naming::of(handle, &view).await?;
            let conflicts = conflicts::of_view(&address.collection, &address.id, &view, &naming);
            let heads: Vec<_> = view.heads.iter().map(|head| HEXLOWER.encode(head)).collect();
            let fields = page::fields(view);
            json!({ "id": address.id, "fields": fields, "heads": heads, "conflicts": conflicts })
        }
    };
    Ok(([(header::ETAG, tag)], Json(body)).into_response())
}

/// Names the version of a record.
fn entity_tag(view: &View) -> Result<HeaderValue, ApiError> {
    HeaderValue::try_from(format!("\"{}\"", Version::of(view)))
        .map_err(|error| ApiError::of(Code::Internal, &error))
}
