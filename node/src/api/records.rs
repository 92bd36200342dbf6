//! One record.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::read;
use branchline_crdt::record::{Edit, Version, View};
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::tables::records::RecordKey;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::conflicts::{self, Naming};
use super::error::{ApiError, Code};
use super::extract::{Address, JsonBody, Params};
use super::page;
use crate::handle::Handle;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    #[serde(default)]
    meta: bool,
}

pub(crate) async fn get(
    State(handle): State<Handle>,
    address: Address,
    Params(Meta { meta }): Params<Meta>,
) -> Result<Response, ApiError> {
    show(&handle, &address, meta).await
}

pub(crate) async fn put(
    State(handle): State<Handle>,
    address: Address,
    Params(Meta { meta }): Params<Meta>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    edit(&handle, &address, Edit::Put(fields)).await?;
    show(&handle, &address, meta).await
}

pub(crate) async fn patch(
    State(handle): State<Handle>,
    address: Address,
    Params(Meta { meta }): Params<Meta>,
    JsonBody(patch): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    edit(&handle, &address, Edit::Merge { patch, create: false }).await?;
    show(&handle, &address, meta).await
}

pub(crate) async fn delete(
    State(handle): State<Handle>,
    address: Address,
) -> Result<StatusCode, ApiError> {
    edit(&handle, &address, Edit::Delete).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn undelete(
    State(handle): State<Handle>,
    address: Address,
    Params(Meta { meta }): Params<Meta>,
) -> Result<Response, ApiError> {
    edit(&handle, &address, Edit::Undelete).await?;
    show(&handle, &address, meta).await
}

/// One edit of one record, as a transaction of its own.
pub(crate) async fn edit(handle: &Handle, address: &Address, edit: Edit) -> Result<(), ApiError> {
    let Address { collection, id } = address;
    let edits = vec![RecordEdit::new(collection, id, edit)];
    let results = handle.write(vec![LocalTransaction { origin: None, edits }]).await?;
    match results.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(ApiError::of_write(&error, collection, id)),
        None => Err(ApiError::new(Code::Internal, "the write was not answered")),
    }
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
