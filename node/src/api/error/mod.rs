//! What the API answers when it cannot do what was asked: one shape. `code` has the table of codes, `refusals` what
//! the errors of the node come to.

pub(super) mod code;
pub(super) mod refusals;

use crate::api::texts::fields;
use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::record::{Version, View};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

pub use code::Code;

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// One of [`Code`].
    #[schema(schema_with = code::schema)]
    pub code: String,
    /// What was found and what was expected, for a person.
    pub message: String,
    /// What to do next, for a person.
    pub hint: Option<String>,
    /// Where it went wrong, if that is within a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<ErrorPlace>,
    /// The record as it is, where it is not what the request expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<CurrentVersionResponse>>,
}

/// A place within a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorPlace {
    /// The parameter's name.
    pub parameter: String,
    /// How many bytes of its value stand before the place.
    pub offset: usize,
}

/// A record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CurrentVersionResponse {
    /// Its ETag; `None`: nobody has written it.
    pub etag: Option<String>,
    /// Its fields.
    pub fields: Map<String, Value>,
    /// Whether it is deleted.
    pub deleted: bool,
}

impl CurrentVersionResponse {
    fn of(view: &View) -> Self {
        let etag = (!view.heads.is_empty()).then(|| format!("\"{}\"", Version::of(view)));
        Self { etag, fields: fields(view.clone()), deleted: view.deleted }
    }
}

/// A request that cannot be done: answered as an [`ErrorBody`] with the status of its code.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub(crate) code: Code,
    message: String,
    hint: Option<String>,
    at: Option<ErrorPlace>,
    current: Option<Box<CurrentVersionResponse>>,
}

impl ApiError {
    /// Says what was found and what was expected, for a person.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, at: None, current: None }
    }

    /// Says what to do next, for a person.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says where within a parameter it went wrong.
    pub(super) fn at(self, place: ErrorPlace) -> Self {
        Self { at: Some(place), ..self }
    }

    /// Shows the record as it is.
    pub(super) fn current(self, found: &View) -> Self {
        Self { current: Some(Box::new(CurrentVersionResponse::of(found))), ..self }
    }

    /// Says first what it is about.
    pub fn about(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// With the error's own text and that of its sources.
    pub fn of(code: Code, error: &dyn Error) -> Self {
        Self::new(code, text_of(error))
    }

    pub(crate) fn record_not_found(collection: &str, id: &str) -> Self {
        Self::new(
            Code::RecordNotFound,
            format!("record {collection}/{id} does not exist or is deleted"),
        )
        .hint(format!("`branchline list {collection}` shows the records that there are"))
    }

    pub(crate) fn record_deleted(collection: &str, id: &str) -> Self {
        Self::new(Code::RecordNotFound, format!("record {collection}/{id} is deleted")).hint(format!(
            "`branchline history {collection} {id}` shows by whom, `branchline undelete {collection} {id}` brings it back with all that was written to it"
        ))
    }

    pub(crate) fn record_unreadable(collection: &str, id: &str, reason: &str) -> Self {
        Self::new(
            Code::RecordUnreadable,
            format!("record {collection}/{id} cannot be read at this site: {reason}"),
        )
        .hint("`branchline rebuild` rebuilds all records from the journal")
    }

    pub(crate) fn no_network() -> Self {
        Self::new(Code::NoNetwork, "this site does not belong to a network yet").hint(
            "join one with `branchline join FILE`, or found one with `branchline init --name NAME --found` in another data folder",
        )
    }

    pub(crate) fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            at: self.at.clone(),
            current: self.current.clone(),
        }
    }
}

/// An error's text, followed by those of its sources that it does not repeat itself.
pub fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody { error: self.detail() });
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        if self.code.is_retryable() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_succeed_later_says_so() {
        let response = ApiError::new(Code::Stopped, "x").into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let response = ApiError::new(Code::BadJson, "x").into_response();
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
    }
}
