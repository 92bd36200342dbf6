//! Many records in one request, each in a transaction of its own.

use axum::Json;
use branchline_crdt::format::json;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code, ErrorDetail};
use crate::api::params::extract::{Collection, InSpace, LinesBody, Params};
use crate::api::params::object::Object;

/// Most lines of one import. They are committed together, and others' writes wait for that.
pub const IMPORT_LINES_MAX: usize = 10_000;

/// One line of the body: a record that gets these fields and keeps its others. Null is a value. A field that shows its
/// value already stays as it is, with its conflicts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportLine {
    /// The record's id.
    pub id: String,
    /// The fields.
    pub fields: Map<String, Value>,
}

/// What the query of an import asks for.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportParams {
    /// Whether deleted records come back, with the fields of their lines and no others. Their lines are rejected otherwise.
    #[serde(default)]
    undelete: bool,
}

/// What an import did. What it says is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImportResponse {
    /// Records that are new or different now.
    pub created_or_changed: u64,
    /// Records that were so already.
    pub unchanged: u64,
    /// Lines that were not taken.
    pub rejected: Vec<RejectedLine>,
}

/// A line that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedLine {
    /// Its number in the body, from 1.
    pub line: u64,
    /// Why.
    pub error: ErrorDetail,
}

/// Many records, each in a transaction of its own.
#[utoipa::path(
    post,
    path = "/v1/import/{collection}",
    operation_id = "import_records",
    params(InSpace, Collection, ImportParams),
    request_body(
        content = ImportLine,
        content_type = "application/x-ndjson",
        description = "One in each line, at most 10,000.",
    ),
    responses((status = OK, description = "The good lines are taken.", body = ImportResponse)),
)]
pub(crate) async fn import(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(ImportParams { undelete }): Params<ImportParams>,
    LinesBody(body): LinesBody,
) -> Result<Json<ImportResponse>, ApiError> {
    let mut answer = ImportResponse::default();
    let (mut numbers, mut ids, mut transactions) = (Vec::new(), Vec::new(), Vec::new());
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if numbers.len() + answer.rejected.len() == IMPORT_LINES_MAX {
            let message = format!("the body has more than {IMPORT_LINES_MAX} lines");
            return Err(ApiError::new(Code::BodyTooLarge, message));
        }
        match json::read(line) {
            Ok(Object(ImportLine { id, fields })) => {
                numbers.push(number);
                ids.push(id.clone());
                transactions.push(transaction(&collection, id, fields, undelete));
            }
            Err(error) => {
                // The line's number in the body is given beside it.
                let error = error.to_string().replace(" at line 1 column ", " at column ");
                let message =
                    format!("the line is not {{\"id\": ..., \"fields\": {{...}}}}: {error}");
                let error = ApiError::new(Code::BadJson, message).detail();
                answer.rejected.push(RejectedLine { line: number, error });
            }
        }
    }
    let results = handle.write(transactions).await?;
    for ((line, id), result) in numbers.into_iter().zip(&ids).zip(results) {
        match result {
            Ok(written) if written.records_changed > 0 => answer.created_or_changed += 1,
            Ok(_) => answer.unchanged += 1,
            Err(error) => {
                let refused = ApiError::of_write(&error, &collection, id);
                if is_of_the_whole(&error) {
                    return Err(refused);
                }
                answer.rejected.push(RejectedLine { line, error: refused.detail() });
            }
        }
    }
    answer.rejected.sort_by_key(|rejected| rejected.line);
    Ok(Json(answer))
}

fn transaction(
    collection: &str,
    id: String,
    fields: Map<String, Value>,
    undelete: bool,
) -> LocalTransaction {
    let edit = if undelete { Edit::Revive(fields) } else { Edit::Import(fields) };
    let edits = vec![RecordEdit::new(collection, id, edit)];
    LocalTransaction { origin: None, edits }
}

/// Whether an error meets every line alike, so that nothing was written.
fn is_of_the_whole(error: &WriteError) -> bool {
    match error {
        WriteError::NoNetwork
        | WriteError::Revoked { .. }
        | WriteError::UnknownSpace
        | WriteError::OutOfSpace { .. }
        | WriteError::Role { .. }
        | WriteError::Unwritable { .. } => true,
        WriteError::Name(_)
        | WriteError::Edit(_)
        | WriteError::Schema(_)
        | WriteError::TooLarge { .. }
        | WriteError::Document(_)
        | WriteError::Event { .. }
        | WriteError::DocumentTooLarge { .. }
        | WriteError::Origin { .. }
        | WriteError::InEdit { .. }
        | WriteError::OriginReused
        | WriteError::Unexpected { .. }
        | WriteError::UnknownVersion { .. }
        | WriteError::Unreadable { .. } => false,
    }
}
