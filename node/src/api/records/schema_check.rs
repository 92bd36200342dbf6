//! Records and their kinds: which do not fit the schema of their collection, and what the records of one hold.

use std::collections::BTreeMap;

use axum::Json;
use branchline_crdt::inspect::kinds::{HeldKinds, held_kinds};
use branchline_crdt::inspect::misfits::{self, MisfitField, SchemaMisfit};
use branchline_crdt::record::Value;
use branchline_crdt::store::read;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::query::turn;
use super::schemas;
use crate::api::error::ApiError;
use crate::api::params::extract::{Collection, InSpace, Params, page_after, page_records};
use crate::api::params::page;

/// Characters of a value that are shown.
const SHOWN_CHARS_MAX: usize = 64;

/// Records of a collection that do not fit its schema, by id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SchemaCheckResponse {
    /// The records.
    pub records: Vec<MisfitResponse>,
    /// Records that were looked at for this page and are not deleted.
    pub scanned: usize,
    /// The id behind which the next page begins (`?after=`); `None`: this is the last. A page may end early because that
    /// was enough work for one request.
    pub next: Option<String>,
}

/// A record that does not fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MisfitResponse {
    /// Its id.
    pub id: String,
    /// Its fields that do not.
    pub fields: Vec<MisfitFieldResponse>,
}

/// A field that does not fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MisfitFieldResponse {
    /// Its dotted path.
    pub field: String,
    /// The kind that the schema declares.
    pub declared: String,
    /// The kind of what it holds; `missing`: it is required.
    pub found: String,
    /// What it holds, as text: the first 64 characters.
    pub value: Option<String>,
}

/// The kinds of values that the records of a collection hold.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KindsResponse {
    /// In how many records a field holds values of a kind, by field and kind. A string that is a decimal counts as
    /// `decimal`.
    pub fields: BTreeMap<String, BTreeMap<String, u64>>,
    /// Records that were looked at: the first hundred thousand by id.
    pub scanned: usize,
    /// Whether there are more.
    pub has_more: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaCheckParams {
    /// At most so many records: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Records that do not fit the schema of their collection, field by field.
#[utoipa::path(
    get,
    path = "/v1/schemas/{collection}/check",
    operation_id = "check_schema",
    params(InSpace, Collection, SchemaCheckParams),
    responses((status = OK, description = "A page of them.", body = SchemaCheckResponse)),
)]
pub(crate) async fn check(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(SchemaCheckParams { limit, after }): Params<SchemaCheckParams>,
) -> Result<Json<SchemaCheckResponse>, ApiError> {
    let bounds = page::bounds(page_records(limit)?);
    let after = page_after(after)?;
    // Says that there is none.
    let _schema = schemas::show(&handle, collection.clone()).await?;
    let turn = turn().await?;
    let read = handle.read(move |tables, space| {
        let _turn = turn;
        let schema = read::schema(tables, space, &collection)?.unwrap_or_default();
        misfits::misfits(tables, (space, &collection), &schema, after.as_deref(), bounds)
    });
    let misfits::SchemaMisfits { records, scanned, next, .. } = read.await?;
    let records = records.into_iter().map(misfit).collect();
    Ok(Json(SchemaCheckResponse { records, scanned, next }))
}

/// The kinds of values that the records of a collection hold, whatever a schema declares.
#[utoipa::path(
    get,
    path = "/v1/collections/{collection}/kinds",
    operation_id = "list_kinds",
    params(InSpace, Collection),
    responses((status = OK, description = "By field.", body = KindsResponse)),
)]
pub(crate) async fn kinds(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
) -> Result<Json<KindsResponse>, ApiError> {
    let turn = turn().await?;
    let scanned = page::bounds(0).scanned;
    let read = handle.read(move |tables, space| {
        let _turn = turn;
        held_kinds(tables, space, &collection, scanned)
    });
    let HeldKinds { fields, scanned, has_more } = read.await?;
    let kinds = |kinds: BTreeMap<&'static str, u64>| {
        kinds.into_iter().map(|(kind, records)| (kind.to_owned(), records)).collect()
    };
    let fields = fields.into_iter().map(|(field, held)| (field, kinds(held))).collect();
    Ok(Json(KindsResponse { fields, scanned, has_more }))
}

fn misfit(SchemaMisfit { id, fields }: SchemaMisfit) -> MisfitResponse {
    let field = |MisfitField { path, declared, found }: MisfitField| {
        let found = found.filter(|found| *found != Value::Null || !declared.is_register());
        MisfitFieldResponse {
            field: path,
            declared: declared.to_string(),
            found: found.as_ref().map_or("missing", Value::kind_name).to_owned(),
            value: found.map(shown),
        }
    };
    MisfitResponse { id, fields: fields.into_iter().map(field).collect() }
}

fn shown(value: Value) -> String {
    let text = match value.into_json() {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
