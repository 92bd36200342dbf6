//! Edits of several records that become visible together or not at all.

use axum::Json;
use axum::response::{IntoResponse, Response};
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::log::entry::limits::CHANGES_MAX;
use branchline_crdt::record::{Edit, Version};
use branchline_crdt::replica::RecordEdit;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::writes::{AskedWrite, WriteDone, WriteParams, expected};
use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{InSpace, JsonBody, Params};
use crate::api::params::object::objects;
use crate::handle::Handle;

/// A transaction to be written.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactionRequest {
    /// The edits, in order.
    #[serde(deserialize_with = "objects")]
    pub edits: Vec<EditRequest>,
}

/// One record's part of a transaction.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// What to do.
    pub op: Operation,
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The fields, of `put` and `patch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Map<String, Value>>,
    /// As the header `If-Match`, for this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_match: Option<String>,
    /// As the header `If-None-Match`, for this record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_none_match: Option<String>,
}

/// What an edit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The record gets these fields and no others.
    Put,
    /// The record's fields change as a JSON Merge Patch says.
    Patch,
    /// As `patch`; a missing record is created.
    Merge,
    /// The record is deleted.
    Delete,
    /// The record comes back.
    Undelete,
}

/// What a transaction did. What it says is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionResponse {
    /// Records that are different now; 0 where all was as asked before, or the request is a repeat.
    pub records_changed: u64,
    /// The entry that holds it; `None` where all was as asked before.
    pub entry: Option<EntryName>,
    /// Whether this is the repeat of a request that was done before.
    pub repeat: bool,
    /// Other sites that hold it durably, where the request waited for that.
    pub received: Option<u64>,
    /// The records as they are now, in the order of the edits.
    pub records: Vec<RecordVersion>,
}

/// Names an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryName {
    /// The site that wrote it.
    pub site: String,
    /// The site's incarnation, in hex.
    pub incarnation: String,
    /// Its number in the log of that incarnation.
    pub seq: u64,
}

impl EntryName {
    /// Of an entry.
    pub(crate) fn of(entry: EntryId) -> Self {
        Self {
            site: entry.author.site.to_string(),
            incarnation: HEXLOWER.encode(&entry.author.incarnation.0),
            seq: entry.seq,
        }
    }
}

/// A record's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordVersion {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// Its ETag, for `If-Match`; `None`: nobody has written it.
    pub etag: Option<String>,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// Edits several records, together or not at all.
#[utoipa::path(
    post,
    path = "/v1/transactions",
    operation_id = "write_transaction",
    params(InSpace, AskedWrite, WriteParams),
    request_body = TransactionRequest,
    responses(
        (status = OK, description = "The edits are written, durably.", body = TransactionResponse),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = TransactionResponse,
        ),
    ),
)]
pub(crate) async fn transact(
    InSpace(handle): InSpace,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
    JsonBody(TransactionRequest { edits }): JsonBody<TransactionRequest>,
) -> Result<Response, ApiError> {
    if edits.is_empty() {
        return Err(ApiError::new(Code::BadParameter, "a transaction has at least one edit"));
    }
    if edits.len() > CHANGES_MAX {
        let message = format!("{} edits, a transaction has at most {CHANGES_MAX}", edits.len());
        return Err(ApiError::new(Code::TransactionTooLarge, message));
    }
    let records: Vec<_> =
        edits.iter().map(|edit| (edit.collection.clone(), edit.id.clone())).collect();
    let numbered = edits.into_iter().zip(1..);
    let edits = numbered.map(|(edit, number)| record_edit(edit, number));
    let edits = edits.collect::<Result<Vec<_>, _>>()?;
    let done = asked.write(&handle, &params, edits).await?;
    let shown = show(&handle, &done, records).await;
    Ok(done.answer(shown))
}

async fn show(
    handle: &Handle,
    done: &WriteDone,
    records: Vec<(String, String)>,
) -> Result<Response, ApiError> {
    let WriteDone { written, received } = done;
    let entry = written.entry.map(EntryName::of);
    let answer = TransactionResponse {
        records_changed: written.records_changed as u64,
        entry,
        repeat: written.is_repeat,
        received: received.map(|(count, _)| count as u64),
        records: versions(handle, records).await?,
    };
    Ok(Json(answer).into_response())
}

fn record_edit(edit: EditRequest, number: usize) -> Result<RecordEdit, ApiError> {
    let EditRequest { op, collection, id, fields, if_match, if_none_match } = edit;
    let takes_fields = match op {
        Operation::Put | Operation::Patch | Operation::Merge => true,
        Operation::Delete | Operation::Undelete => false,
    };
    if takes_fields != fields.is_some() {
        let expected = if takes_fields { "takes fields" } else { "takes no fields" };
        let message = format!("edit {number} ({collection}/{id}) {expected}");
        return Err(ApiError::new(Code::BadParameter, message));
    }
    let fields = fields.unwrap_or_default();
    let edit = match op {
        Operation::Put => Edit::Put(fields),
        Operation::Patch => Edit::Merge { patch: fields, create: false },
        Operation::Merge => Edit::Merge { patch: fields, create: true },
        Operation::Delete => Edit::Delete,
        Operation::Undelete => Edit::Undelete,
    };
    let expected = expected(if_match.as_deref(), if_none_match.as_deref())?;
    Ok(RecordEdit { expected, ..RecordEdit::new(collection, id, edit) })
}

async fn versions(
    handle: &Handle,
    records: Vec<(String, String)>,
) -> Result<Vec<RecordVersion>, ApiError> {
    let read = handle.read(move |tables, space| {
        let version = |(collection, id): (String, String)| {
            let key = RecordKey { space, collection, id };
            let view = read::record(tables, &key)?;
            let RecordKey { collection, id, .. } = key;
            let etag = view.as_ref().map(|view| format!("\"{}\"", Version::of(view)));
            let deleted = view.is_some_and(|view| view.deleted);
            Ok(RecordVersion { collection, id, etag, deleted })
        };
        records.into_iter().map(version).collect()
    });
    Ok(read.await?)
}
