//! What became of a record, and who holds it.

use std::collections::BTreeMap;

use axum::Json;
use branchline_crdt::ids::SiteId;
use branchline_crdt::inspect::history::{self, FieldChange, HistoryError, HistoryStep};
use branchline_crdt::inspect::holders;
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::store::tables::records::RecordKey;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{Address, InSpace, Params, page_records};
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;

/// A record's last changes, newest last, in the order in which this site took them in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryResponse {
    /// How many changes the record has.
    pub change_count: u64,
    /// The last of them; fewer than were asked for where their values are large.
    pub changes: Vec<HistoryChangeResponse>,
}

/// One change of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HistoryChangeResponse {
    /// Its hash, in hex: Automerge's.
    pub change: String,
    /// When, by its author's clock, in RFC 3339.
    pub time: Option<String>,
    /// The site that made it.
    pub site: String,
    /// That site's name.
    pub site_name: String,
    /// The site's incarnation, in hex.
    pub incarnation: String,
    /// As whom it stands in the record's Automerge document, in hex: the actor of that incarnation.
    pub actor: String,
    /// The number of its entry in the log of that incarnation.
    pub seq: u64,
    /// Its entry, as `branchline log` takes it.
    pub entry: String,
    /// The fields that show something else since.
    pub fields: Vec<FieldDiffResponse>,
    /// Values that it wrote beside others that were written at the same time and that show instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_values: Vec<OtherValueResponse>,
}

/// What became of a field. A value that is not reported: the record does not have the field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FieldDiffResponse {
    /// Its path; `_deleted` tells whether the record is deleted.
    pub field: String,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub before: Option<Value>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reported")]
    pub after: Option<Value>,
}

/// A null that is reported is a value.
fn reported<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A value that is kept and not shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OtherValueResponse {
    /// The field's path.
    pub field: String,
    /// The value.
    pub value: Value,
}

/// What is different between two states of a record.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DiffResponse {
    /// The fields that differ.
    pub fields: Vec<FieldDiffResponse>,
}

/// Which sites hold the latest changes of a record durably.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RecordReceiptsResponse {
    /// All members, this site first.
    pub sites: Vec<HolderResponse>,
}

/// Whether one site holds them.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HolderResponse {
    /// The site.
    pub site: String,
    /// Its name.
    pub site_name: String,
    /// Whether it holds them: `false` where its latest receipt does not confirm it. `None`: it has never said what it holds,
    /// or its receipt does not say.
    pub holds: Option<bool>,
    /// When this site last heard from it, by this site's clock, in RFC 3339.
    pub last_heard: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryParams {
    /// At most so many changes: 1 to 1000, 100 if not given.
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DiffParams {
    /// A change, by its hash, the beginning of it, or its entry. Not given: the one before `to`.
    from: Option<String>,
    /// A change, in the same way. Not given: the last.
    to: Option<String>,
}

/// The last changes of a record.
#[utoipa::path(
    get,
    path = "/v1/records/{collection}/{id}/history",
    operation_id = "get_history",
    params(InSpace, Address, HistoryParams),
    responses((status = OK, description = "The changes, newest last.", body = HistoryResponse)),
)]
pub(crate) async fn history(
    InSpace(handle): InSpace,
    address: Address,
    Params(HistoryParams { limit }): Params<HistoryParams>,
) -> Result<Json<HistoryResponse>, ApiError> {
    let limit = page_records(limit)?;
    let Address { collection, id } = address.clone();
    let read = handle.read(move |journal, space| {
        Ok(history::history(journal, &RecordKey { space, collection, id }, limit))
    });
    let steps = read.await?.map_err(not_told)?.ok_or_else(|| never_written(&address))?;
    let names = handle.names().await?;
    let changes = steps.last.into_iter().map(|step| change(step, &names)).collect();
    Ok(Json(HistoryResponse { change_count: steps.change_count, changes }))
}

/// What is different between two states of a record.
#[utoipa::path(
    get,
    path = "/v1/records/{collection}/{id}/diff",
    operation_id = "diff_record",
    params(InSpace, Address, DiffParams),
    responses((status = OK, description = "The fields that differ.", body = DiffResponse)),
)]
pub(crate) async fn diff(
    InSpace(handle): InSpace,
    address: Address,
    Params(DiffParams { from, to }): Params<DiffParams>,
) -> Result<Json<DiffResponse>, ApiError> {
    let Address { collection, id } = address.clone();
    let read = handle.read(move |journal, space| {
        let key = RecordKey { space, collection, id };
        Ok(history::diff(journal, &key, from.as_deref(), to.as_deref()))
    });
    let fields = read.await?.map_err(not_told)?.ok_or_else(|| never_written(&address))?;
    Ok(Json(DiffResponse { fields: fields.into_iter().map(field).collect() }))
}

/// Which sites hold the latest changes of a record durably.
#[utoipa::path(
    get,
    path = "/v1/records/{collection}/{id}/receipts",
    operation_id = "list_receipts",
    params(InSpace, Address),
    responses((status = OK, description = "All members.", body = RecordReceiptsResponse)),
)]
pub(crate) async fn receipts(
    InSpace(handle): InSpace,
    address: Address,
) -> Result<Json<RecordReceiptsResponse>, ApiError> {
    let Address { collection, id } = address.clone();
    let receipts = handle.receipts_of(handle.realm()?.main_space()).await?;
    let read = handle.read(move |journal, space| {
        let key = RecordKey { space, collection, id };
        let Some(entries) = history::latest_entries(journal, &key)? else { return Ok(None) };
        Ok(Some(holders::holders(journal, space, &entries, receipts)?))
    });
    let held = read.await?.ok_or_else(|| never_written(&address))?;
    let (sites, heard) = (handle.sites().await?, handle.heard().await?);
    let holder = |site: &branchline_crdt::replica::SiteStatus| {
        let holding = held.get(&site.site);
        let is_own = site.site == handle.site();
        HolderResponse {
            site: site.site.to_string(),
            site_name: site.name.clone(),
            // What this site shows is durable here.
            holds: if is_own { Some(true) } else { holding.and_then(|holding| holding.holds) },
            last_heard: heard.get(&site.site).and_then(|at| rfc3339(at.any_ms)),
        }
    };
    Ok(Json(RecordReceiptsResponse { sites: sites.iter().map(holder).collect() }))
}

fn change(step: HistoryStep, names: &BTreeMap<SiteId, String>) -> HistoryChangeResponse {
    let HistoryStep { hash, author, seq, time_ms, fields, other_values } = step;
    let hidden = |(field, value): (String, branchline_crdt::record::Value)| OtherValueResponse {
        field,
        value: value.to_json(),
    };
    HistoryChangeResponse {
        change: HEXLOWER.encode(&hash),
        time: rfc3339(time_ms),
        site: author.site.to_string(),
        site_name: name_of(author.site, names),
        incarnation: HEXLOWER.encode(&author.incarnation.0),
        actor: HEXLOWER.encode(&author.actor()),
        seq,
        entry: EntryId { author, seq }.to_string(),
        fields: fields.into_iter().map(field).collect(),
        other_values: other_values.into_iter().map(hidden).collect(),
    }
}

fn field(change: FieldChange) -> FieldDiffResponse {
    let FieldChange { path, before, after } = change;
    let json = |value: Option<branchline_crdt::record::Value>| value.map(|value| value.to_json());
    FieldDiffResponse { field: path, before: json(before), after: json(after) }
}

pub(crate) fn never_written(address: &Address) -> ApiError {
    let Address { collection, id } = address;
    ApiError::new(Code::RecordNotFound, format!("record {collection}/{id} was never written"))
        .hint(format!("`branchline list {collection}` shows the records that there are"))
}

fn not_told(error: HistoryError) -> ApiError {
    match error {
        HistoryError::Store(error) => error.into(),
        HistoryError::Unreadable(_) => ApiError::of(Code::RecordUnreadable, &error),
        HistoryError::Named(error) => ApiError::of(Code::BadParameter, &error)
            .hint("`branchline history` lists the changes that are here"),
    }
}
