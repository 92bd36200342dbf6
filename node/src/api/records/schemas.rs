//! Schemas: each is a JSON object from dotted field paths to `KIND`, with `required` or `indexed` or both behind it.

use crate::api::texts::fields;
use axum::Json;
use axum::response::{IntoResponse, Response};
use branchline_crdt::query::{self, Page, Query, QueryCursor};
use branchline_crdt::record::{Edit, SCHEMA_COLLECTION};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::record;
use super::writes::{AskedWrite, WriteParams};
use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{
    Address, Collection, InSpace, JsonBody, Params, page_after, page_records,
};
use crate::api::params::page;
use crate::handle::Handle;

/// A page of schemas.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SchemasResponse {
    /// Schemas by collection.
    pub schemas: Map<String, Value>,
    /// Where the next page begins (`?after=`); `None`: this is the last.
    pub next: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemasParams {
    /// At most so many schemas: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// All schemas.
#[utoipa::path(
    get,
    path = "/v1/schemas",
    operation_id = "list_schemas",
    params(InSpace, SchemasParams),
    responses((status = OK, description = "A page of them.", body = SchemasResponse)),
)]
pub(crate) async fn list(
    InSpace(handle): InSpace,
    Params(params): Params<SchemasParams>,
) -> Result<Json<SchemasResponse>, ApiError> {
    let limit = page_records(params.limit)?;
    let after = page_after(params.after)?;
    let read = handle.read(move |tables, space| {
        let (by_id, after) = (Query::default(), after.map(QueryCursor::behind));
        let bounds = page::bounds(limit);
        Ok(query::page(tables, space, SCHEMA_COLLECTION, &by_id, after.as_ref(), bounds))
    });
    let Page { records, next, .. } = read.await??;
    let schema = |(name, view)| (name, Value::Object(fields(view)));
    let schemas = records.into_iter().map(schema).collect();
    Ok(Json(SchemasResponse { schemas, next: next.map(|next| next.id().to_owned()) }))
}

/// The schema of a collection.
#[utoipa::path(
    get,
    path = "/v1/schemas/{collection}",
    operation_id = "get_schema",
    params(InSpace, Collection),
    responses(
        (status = OK, description = "Kinds by dotted field paths.", body = Map<String, Value>),
    ),
)]
pub(crate) async fn get(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
) -> Result<Json<Map<String, Value>>, ApiError> {
    show(&handle, collection).await
}

/// Gives a collection a schema: kinds by dotted field paths, with `required` or `indexed` behind them.
#[utoipa::path(
    put,
    path = "/v1/schemas/{collection}",
    operation_id = "put_schema",
    params(InSpace, Collection, AskedWrite, WriteParams),
    request_body = Map<String, Value>,
    responses(
        (status = OK, description = "The schema, durable.", body = Map<String, Value>),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = Map<String, Value>,
        ),
    ),
)]
pub(crate) async fn put(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
    JsonBody(fields): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    let edit = Edit::Put(fields);
    let done = record::write(&handle, &address(&collection), &asked, &params, edit).await?;
    Ok(done.answer(show(&handle, collection).await.map(IntoResponse::into_response)))
}

pub(crate) async fn show(
    handle: &Handle,
    collection: String,
) -> Result<Json<Map<String, Value>>, ApiError> {
    match record::view(handle, &address(&collection)).await {
        Ok(view) => Ok(Json(fields(view))),
        Err(error) if error.code == Code::RecordNotFound => {
            let message = format!("collection {collection} has no schema");
            Err(ApiError::new(Code::SchemaNotFound, message)
                .hint("`branchline schema apply FILE` writes one"))
        }
        Err(error) => Err(error),
    }
}

fn address(collection: &str) -> Address {
    Address { collection: SCHEMA_COLLECTION.to_owned(), id: collection.to_owned() }
}
