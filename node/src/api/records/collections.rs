//! What collections there are, how much they hold, and digests to compare sites by.

use axum::Json;
use branchline_crdt::record::check_collection;
use branchline_crdt::store::read::{self, DeletedPage};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::ApiError;
use crate::api::params::extract::{Collection, InSpace, Params, page_after, page_records};
use crate::api::params::page;

/// All collections, by name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CollectionsResponse {
    /// The collections.
    pub collections: Vec<CollectionResponse>,
}

/// One collection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CollectionResponse {
    /// Its name.
    pub name: String,
    /// Records that are not deleted.
    pub records: u64,
    /// Deleted records.
    pub deleted: u64,
    /// Sum over all its records, in hex.
    pub digest: String,
}

/// How many records a collection has.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct CountResponse {
    /// Records that are not deleted; 0 where nobody has written to the collection.
    pub count: u64,
}

/// Deleted records of a collection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeletedResponse {
    /// Their ids, in order.
    pub ids: Vec<String>,
    /// Where the next page begins (`?after=`). `None`: this is the last.
    pub next: Option<String>,
    /// Records that were looked at for it, deleted or not: a page ends early once that was enough work for one request.
    pub scanned: usize,
}

/// Equal at two sites that hold the same.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DigestResponse {
    /// 32 bytes in hex.
    pub digest: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeletedParams {
    /// At most so many records: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DigestParams {
    /// Of this collection only.
    collection: Option<String>,
}

/// What collections there are.
#[utoipa::path(
    get,
    path = "/v1/collections",
    operation_id = "list_collections",
    params(InSpace),
    responses((status = OK, description = "All, by name.", body = CollectionsResponse)),
)]
pub(crate) async fn collections(
    InSpace(handle): InSpace,
) -> Result<Json<CollectionsResponse>, ApiError> {
    let found = handle.read(read::collections).await?;
    let collections = found.into_iter().map(|(name, row)| CollectionResponse {
        name,
        records: row.live,
        deleted: row.deleted,
        digest: row.digest.to_string(),
    });
    Ok(Json(CollectionsResponse { collections: collections.collect() }))
}

/// How many records a collection has.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}/count",
    operation_id = "count_records",
    params(InSpace, Collection),
    responses((status = OK, description = "Their number.", body = CountResponse)),
)]
pub(crate) async fn count(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
) -> Result<Json<CountResponse>, ApiError> {
    let read = handle.read(move |tables, space| read::collection(tables, space, &collection));
    Ok(Json(CountResponse { count: read.await?.live }))
}

/// The deleted records of a collection, by id. Each can be brought back, and its history be read.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}/deleted",
    operation_id = "list_deleted",
    params(InSpace, Collection, DeletedParams),
    responses((status = OK, description = "A page of their ids.", body = DeletedResponse)),
)]
pub(crate) async fn deleted(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(DeletedParams { limit, after }): Params<DeletedParams>,
) -> Result<Json<DeletedResponse>, ApiError> {
    let bounds = page::bounds(page_records(limit)?);
    let after = page_after(after)?;
    let read = handle.read(move |tables, space| {
        let most = (bounds.records, bounds.scanned);
        read::deleted(tables, space, &collection, after.as_deref(), most)
    });
    let DeletedPage { ids, next, scanned } = read.await?;
    Ok(Json(DeletedResponse { ids, next, scanned }))
}

/// A digest, equal at sites that hold the same.
#[utoipa::path(
    get,
    path = "/v1/digest",
    operation_id = "get_digest",
    params(InSpace, DigestParams),
    responses((status = OK, description = "The digest.", body = DigestResponse)),
)]
pub(crate) async fn digest(
    InSpace(handle): InSpace,
    Params(DigestParams { collection }): Params<DigestParams>,
) -> Result<Json<DigestResponse>, ApiError> {
    if let Some(collection) = &collection {
        check_collection(collection)?;
    }
    let read = handle.read(move |tables, space| match collection {
        Some(name) => Ok(read::collection(tables, space, &name)?.digest),
        None => read::digest(tables, space),
    });
    Ok(Json(DigestResponse { digest: read.await?.to_string() }))
}
