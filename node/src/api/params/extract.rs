//! What handlers take from a request, with refusals in the API's own shape.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use branchline_crdt::format::json;
use branchline_crdt::record::{check_collection, check_record_id};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use super::accept::AUTOMERGE;
use super::object::Object;
use super::values;
use crate::api::error::{ApiError, Code};
use crate::api::http::body::{self, is_gzip};
use crate::api::{PAGE_RECORDS, PAGE_RECORDS_MAX};
use crate::handle::Handle;

/// Content types of a body that is one JSON value.
const JSON_TYPES: [&str; 2] = ["application/json", "application/merge-patch+json"];
/// Content types of a body of JSON lines.
const LINES_TYPES: [&str; 4] =
    ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/json"];

/// A body that is one JSON value.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_content_type(request.headers(), &JSON_TYPES)?;
        let bytes = body::read(request).await?;
        values::check(&bytes)?;
        // The error's text ends in line and column.
        json::read(&bytes).map(|Object(value)| Self(value)).map_err(|error| {
            ApiError::new(Code::BadJson, format!("the body is not the JSON expected here: {error}"))
        })
    }
}

/// A body of JSON lines.
pub(crate) struct LinesBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for LinesBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_content_type(request.headers(), &LINES_TYPES)?;
        let bytes = body::read(request).await?;
        values::check(&bytes)?;
        Ok(Self(bytes))
    }
}

/// A body that is an Automerge document.
pub(crate) struct DocumentBody(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for DocumentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        check_content_type(request.headers(), &[AUTOMERGE])?;
        Ok(Self(body::read(request).await?))
    }
}

/// A body of any length that is read as it arrives.
pub(crate) struct StreamedBody(pub(crate) Body);

impl<S: Send + Sync> FromRequest<S> for StreamedBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        if is_gzip(request.headers())? {
            let message =
                "the body's content encoding is gzip, expected none: it is packed already";
            return Err(ApiError::new(Code::UnsupportedMediaType, message));
        }
        Ok(Self(request.into_body()))
    }
}

fn check_content_type(headers: &HeaderMap, expected: &[&str]) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let value = String::from_utf8_lossy(value.as_bytes());
    let essence = value.split(';').next().unwrap_or_default().trim();
    if expected.iter().any(|expected| essence.eq_ignore_ascii_case(expected)) {
        return Ok(());
    }
    let first = expected.first().copied().unwrap_or_default();
    let hint = format!("with curl: -H 'content-type: {first}'");
    let expected = expected.join(" or ");
    let message = format!("the body's content type is {essence:?}, expected {expected}");
    Err(ApiError::new(Code::UnsupportedMediaType, message).hint(hint))
}

/// The parameters of the query. Unknown ones are refused, so that a slip of the pen is noticed.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let found = match parts.uri.query() {
            Some(query) if query.contains("space=") => {
                Query::<T>::try_from_uri(&without_space(query)?)
            }
            Some(_) | None => Query::<T>::try_from_uri(&parts.uri),
        };
        found.map(|Query(params)| Self(params)).map_err(|rejection| {
            let text = rejection.body_text();
            let reason = text.strip_prefix("Failed to deserialize query string: ");
            let message = format!("a parameter is wrong: {}", reason.unwrap_or(&text));
            ApiError::new(Code::BadParameter, message)
        })
    }
}

/// The query without the space, which is for [`InSpace`].
fn without_space(query: &str) -> Result<Uri, ApiError> {
    let pairs: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("space=")).collect();
    let uri = format!("/?{}", pairs.join("&")).parse();
    uri.map_err(|error| ApiError::of(Code::BadParameter, &error))
}

/// The node, in the space that the query names (`space=NAME`), which is otherwise `main`.
pub struct InSpace(pub Handle);

impl IntoParams for InSpace {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let space = ParameterBuilder::new().name("space").parameter_in(ParameterIn::Query);
        let space =
            space.description(Some("Of this space: its name or id; `main` if none is given."));
        vec![space.schema(Some(String::schema())).build()]
    }
}

impl FromRequestParts<Handle> for InSpace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, handle: &Handle) -> Result<Self, ApiError> {
        #[derive(Deserialize)]
        struct SpaceParam {
            space: Option<String>,
        }
        match Query::<SpaceParam>::try_from_uri(&parts.uri) {
            Ok(Query(SpaceParam { space: Some(name) })) => Ok(Self(handle.in_space(&name)?)),
            Ok(Query(SpaceParam { space: None })) => Ok(Self(handle.clone())),
            Err(rejection) => Err(ApiError::new(Code::BadParameter, rejection.body_text())),
        }
    }
}

/// The collection that the path names.
#[derive(IntoParams)]
#[into_params(names("collection"), parameter_in = Path)]
pub(crate) struct Collection(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Collection {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(collection) = path::<String, S>(parts, state).await?;
        check_collection(&collection)?;
        Ok(Self(collection))
    }
}

/// The record that the path names.
#[derive(Clone, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Address {
    /// The record's collection.
    pub(crate) collection: String,
    /// Its id; a `/` in it is written `%2F`.
    pub(crate) id: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Address {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((collection, id)) = path::<(String, String), S>(parts, state).await?;
        check_collection(&collection)?;
        check_record_id(&id)?;
        Ok(Self { collection, id })
    }
}

/// What the path names, in the order in which it does.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(names) = path::<T, S>(parts, state).await?;
        Ok(Self(names))
    }
}

async fn path<T, S>(parts: &mut Parts, state: &S) -> Result<Path<T>, ApiError>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    let bad = |what: String| {
        ApiError::new(Code::BadParameter, what).hint("names in a path are UTF-8, percent-encoded")
    };
    if let Some(found) = half_encoded(parts.uri.path()) {
        return Err(bad(format!("{found:?} in the path is no percent-encoded byte")));
    }
    let found = Path::<T>::from_request_parts(parts, state).await;
    found.map_err(|rejection| bad(rejection.body_text()))
}

/// The first percent sign of a path that begins no encoded byte, with what follows it. Decoded leniently, two paths would lead
/// to one record.
fn half_encoded(path: &str) -> Option<&str> {
    let is_encoded =
        |rest: &str| rest.len() >= 3 && rest.as_bytes()[1..3].iter().all(u8::is_ascii_hexdigit);
    let signs = path.match_indices('%').map(|(at, _)| &path[at..]);
    let found = signs.into_iter().find(|rest| !is_encoded(rest))?;
    Some(found.char_indices().nth(3).map_or(found, |(end, _)| &found[..end]))
}

/// How many records a page is to have, by what was asked.
///
/// # Errors
/// [`ApiError`] where it is none, or more than a page has.
pub fn page_records(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        None => Ok(PAGE_RECORDS),
        Some(limit) if (1..=PAGE_RECORDS_MAX).contains(&limit) => Ok(limit),
        Some(found) => Err(ApiError::new(
            Code::BadParameter,
            format!("limit is {found}, expected 1 to {PAGE_RECORDS_MAX}"),
        )),
    }
}

/// Longest cursor of a list, which holds what the records are in order by: 16 fields of 512 bytes at most, in base64.
pub(crate) const CURSOR_CHARS_MAX: usize = 16 * 1024;

/// Where a page is to begin: the `next` of the page before, an id or a cursor.
pub(crate) fn page_after(asked: Option<String>) -> Result<Option<String>, ApiError> {
    let is_place =
        |text: &String| text.len() <= CURSOR_CHARS_MAX && !text.contains(char::is_control);
    match asked {
        Some(text) if !is_place(&text) => {
            let message =
                "after is not a place in the list; expected the `next` of the previous page";
            Err(ApiError::new(Code::BadParameter, message))
        }
        Some(_) | None => Ok(asked),
    }
}

/// How long to wait, as `30s` or `500ms`, at most `longest`.
///
/// # Errors
/// [`ApiError`] where the text is no time, or longer than `longest`.
pub fn wait_time(name: &str, text: &str, longest: Duration) -> Result<Duration, ApiError> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|time| time.try_into().ok());
    parsed.filter(|time| *time <= longest).ok_or_else(|| {
        let longest = longest.as_secs();
        let message =
            format!("{name} is {text:?}, expected a time of at most {longest}s, like 30s");
        ApiError::new(Code::BadParameter, message)
    })
}
