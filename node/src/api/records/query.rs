//! Lists of records by filter and order, and summaries.

use crate::api::texts::fields;
use std::collections::BTreeMap;

use axum::Json;
use branchline_crdt::ids::SpaceId;
use branchline_crdt::query::{
    self, Group, Page, PageError, Query, QueryCursor, SummaryQuery, SummaryText, Unlike,
};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::ReadTables;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{Collection, InSpace, Params, page_after, page_records};
use crate::api::params::page;

/// Queries that are worked on at a time; others wait for their turn. Each may keep a core busy for seconds.
const QUERIES_AT_ONCE: usize = 2;
static QUERY_PERMITS: Semaphore = Semaphore::const_new(QUERIES_AT_ONCE);

/// A page of a collection.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListResponse {
    /// The records, by the order that was asked for, else by id.
    pub records: Vec<ListedRecord>,
    /// Where the next page begins (`?after=`): an id, or a cursor where there is a filter or an order. `None`: this is
    /// the last.
    pub next: Option<String>,
    /// Records that were looked at for it.
    pub scanned: usize,
    /// Whether it has fewer records than asked for because that was enough work for one request: `next` goes on.
    pub truncated: bool,
    /// Fields of the filter that no schema declares and that none of the records that were looked at has: mistyped,
    /// perhaps. Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    /// Fields of the filter that hold values of another kind than they are compared with, so that no comparison finds
    /// them. Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatched_fields: Vec<KindMismatchResponse>,
}

/// A field that holds values of another kind than a filter compares it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KindMismatchResponse {
    /// Its dotted path.
    pub field: String,
    /// The kind of those values.
    pub kind: String,
    /// What they are compared with: `number`, `text`, `boolean`, `timestamp`, `datetime` or `bytes`.
    pub compared_with: String,
    /// In how many of the records that were looked at and not found.
    pub records: u64,
}

impl KindMismatchResponse {
    fn all(unlike: Vec<Unlike>) -> Vec<Self> {
        let answer = |Unlike { field, kind, compared_with, records }| Self {
            field,
            kind: kind.to_owned(),
            compared_with: compared_with.to_owned(),
            records,
        };
        unlike.into_iter().map(answer).collect()
    }
}

/// A record on a page.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ListedRecord {
    /// Its id.
    pub id: String,
    /// Its fields.
    pub fields: Map<String, Value>,
}

/// What the records of a collection come to.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SummaryResponse {
    /// The groups, by the values that they have in common.
    pub groups: Vec<GroupResponse>,
    /// Records that were looked at.
    pub scanned: usize,
    /// Fields that were asked for, which no schema declares and none of those records has: mistyped, perhaps. Left out
    /// if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_fields: Vec<String>,
    /// Fields of the filter that hold values of another kind than they are compared with, so that no comparison finds
    /// them. Left out if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatched_fields: Vec<KindMismatchResponse>,
}

/// Records that have the same values of the fields that one groups by.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupResponse {
    /// Those values, by field.
    pub by: Map<String, Value>,
    /// How many records.
    pub count: u64,
    /// What was asked of them: by `sum`, `avg`, `min` or `max`, then by field.
    #[serde(flatten, deserialize_with = "branchline_crdt::format::json::flattened")]
    pub measures: BTreeMap<String, Map<String, Value>>,
    /// Values that are not in the sum or average of a field because they are not numbers.
    pub skipped: BTreeMap<String, u64>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListParams {
    /// At most so many records: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
    /// A filter, such as `price > 1 and shelf in (1, 2)`.
    r#where: Option<String>,
    /// Fields to put the records in order by, such as `-price,name`.
    order: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SummaryParams {
    /// A filter, as of a list.
    r#where: Option<String>,
    /// Fields to group by.
    by: Option<String>,
    /// Fields to sum up.
    sum: Option<String>,
    /// Fields to average.
    avg: Option<String>,
    /// Fields of which to give the least value.
    min: Option<String>,
    /// Fields of which to give the greatest value.
    max: Option<String>,
}

/// Records of a collection, by filter and order.
#[utoipa::path(
    get,
    path = "/v1/records/{collection}",
    operation_id = "list_records",
    params(InSpace, Collection, ListParams),
    responses((status = OK, description = "A page of them.", body = ListResponse)),
)]
pub(crate) async fn list(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(params): Params<ListParams>,
) -> Result<Json<ListResponse>, ApiError> {
    let limit = page_records(params.limit)?;
    let params = ListParams { after: page_after(params.after)?, ..params };
    let is_plain = params.r#where.is_none() && params.order.is_none();
    let turn = if is_plain { None } else { Some(turn().await?) };
    let read = handle.read(move |tables, space| {
        // Anyone who asked may be gone: the turn is over when the work is.
        let _turn = turn;
        Ok(find(tables, space, &collection, params, limit))
    });
    let page = read.await??;
    let record = |(id, view)| ListedRecord { id, fields: fields(view) };
    let text = |next: QueryCursor| if is_plain { next.id().to_owned() } else { next.to_text() };
    Ok(Json(ListResponse {
        records: page.records.into_iter().map(record).collect(),
        next: page.next.map(text),
        scanned: page.scanned,
        truncated: page.truncated,
        unknown_fields: page.unknown_fields,
        mismatched_fields: KindMismatchResponse::all(page.unlike),
    }))
}

fn find(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    params: ListParams,
    limit: usize,
) -> Result<Page, PageError> {
    let ListParams { after, r#where: filter, order, .. } = params;
    let bounds = page::bounds(limit);
    if filter.is_none() && order.is_none() {
        let after = after.map(QueryCursor::behind);
        return query::page(tables, space, collection, &Query::default(), after.as_ref(), bounds);
    }
    let schema = read::schema(tables, space, collection)?.unwrap_or_default();
    let query = Query::parse(collection, &schema, filter.as_deref(), order.as_deref())?;
    let after = after.map(|text| query.cursor(&text)).transpose()?;
    query::page(tables, space, collection, &query, after.as_ref(), bounds)
}

/// Counts, sums, averages, least and greatest values, by group.
#[utoipa::path(
    get,
    path = "/v1/summary/{collection}",
    operation_id = "summarize_records",
    params(InSpace, Collection, SummaryParams),
    responses((status = OK, description = "All groups.", body = SummaryResponse)),
)]
pub(crate) async fn summary(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(params): Params<SummaryParams>,
) -> Result<Json<SummaryResponse>, ApiError> {
    let turn = turn().await?;
    let read = handle.read(move |tables, space| {
        let _turn = turn;
        let SummaryParams { r#where, by, sum, avg, min, max } = &params;
        let asked = SummaryText {
            filter: r#where.as_deref(),
            by: by.as_deref(),
            measures: [sum, avg, min, max].map(Option::as_deref),
        };
        let schema = read::schema(tables, space, &collection)?.unwrap_or_default();
        Ok(SummaryQuery::parse(&schema, asked).map_err(ApiError::from).and_then(|query| {
            let found = query::summary(tables, space, &collection, &query, page::bounds(0))?;
            let query::Summary { groups, scanned, unknown_fields, unlike } = found;
            let mismatched_fields = KindMismatchResponse::all(unlike);
            let groups = groups.into_iter().map(|found| group(&query, found)).collect();
            Ok(SummaryResponse { groups, scanned, unknown_fields, mismatched_fields })
        }))
    });
    Ok(Json(read.await??))
}

fn group(query: &SummaryQuery, group: Group) -> GroupResponse {
    let by = query.by().zip(group.by);
    let by = by.map(|(field, value)| (field.to_owned(), value.into_json())).collect();
    let mut measures: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut skipped = BTreeMap::new();
    for ((measure, field), found) in query.measures().zip(group.measures) {
        let of_measure = measures.entry(measure.as_str().to_owned()).or_default();
        of_measure.insert(field.to_owned(), found.value.into_json());
        if found.skipped > 0 {
            skipped.insert(field.to_owned(), found.skipped);
        }
    }
    GroupResponse { by, count: group.count, measures, skipped }
}

pub(crate) async fn turn() -> Result<SemaphorePermit<'static>, ApiError> {
    QUERY_PERMITS.acquire().await.map_err(|error| ApiError::of(Code::Internal, &error))
}
