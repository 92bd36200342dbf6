//! The node's API, asked in this process: what a view shows is what a program would be answered, and what it changes a
//! program could change by the same request.

use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Response, StatusCode, header};
use branchline_node::api::{self, ErrorBody, ErrorDetail};
use branchline_node::handle::Handle;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

/// Largest answer that is read. Pages end at 8 MiB and one record; escapes in JSON can make six of one byte.
const ANSWER_BYTES_MAX: usize = 128 * 1024 * 1024;
/// What stays as it is in a part of a path, or a value of a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The API of one node.
pub(crate) struct Ask {
    handle: Handle,
    /// Made when it is first asked, since other parts of the node add paths; `None` again once the node stops, as it holds
    /// all of them.
    router: Mutex<Option<Router>>,
}

/// Why something was not done.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// What it said.
    pub(crate) detail: ErrorDetail,
}

impl Refused {
    /// What this crate refuses by itself.
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let detail =
            ErrorDetail { code: code.to_owned(), message, hint: None, at: None, current: None };
        Self { status, detail }
    }

    fn unreadable(error: &dyn std::error::Error) -> Self {
        let message = format!("the node's answer cannot be read: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl Ask {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, router: Mutex::new(None) }
    }

    /// Lets go of the node.
    pub(crate) fn close(&self) {
        *self.router.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn router(&self) -> Router {
        let mut router = self.router.lock().unwrap_or_else(PoisonError::into_inner);
        router.get_or_insert_with(|| api::router(self.handle.clone())).clone()
    }

    /// Sends a request and returns the answer, whatever it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        match self.router().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Sends a request whose answer is good, or is an error in the API's shape. `body`: a content type and bytes.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: Option<(&str, Body)>,
    ) -> Result<Response<Body>, Refused> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let body = match body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                body
            }
            None => Body::empty(),
        };
        let request = request.body(body).map_err(|error| {
            let message = format!("this is not a request: {error}");
            Refused::new(StatusCode::BAD_REQUEST, "bad_request", message)
        })?;
        let response = self.send(request).await;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// Fetches what lies at a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Refused> {
        read(self.exchange(Method::GET, path, &[], None).await?).await
    }

    /// Sends JSON.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        self.json(Method::POST, path, &[], body).await
    }

    /// Sends JSON by a method, with headers.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
        body: &impl Serialize,
    ) -> Result<T, Refused> {
        let bytes = serde_json::to_vec(body).map_err(|error| Refused::unreadable(&error))?;
        let body = Some(("application/json", Body::from(bytes)));
        read(self.exchange(method, path, headers, body).await?).await
    }

    /// Sends a request without a body, whose answer has none that matters.
    pub(crate) async fn act(
        &self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<(), Refused> {
        self.exchange(method, path, headers, None).await.map(|_| ())
    }
}

/// Reads an answer that is JSON.
pub(crate) async fn read<T: DeserializeOwned>(response: Response<Body>) -> Result<T, Refused> {
    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|error| Refused::unreadable(&error))?;
    // Where nothing is to be said, nothing is read.
    let bytes = if bytes.is_empty() { b"null".as_slice().into() } else { bytes };
    serde_json::from_slice(&bytes).map_err(|error| Refused::unreadable(&error))
}

async fn refused(response: Response<Body>) -> Refused {
    let status = response.status();
    match read::<ErrorBody>(response).await {
        Ok(ErrorBody { error: detail }) => Refused { status, detail },
        Err(unreadable) => unreadable,
    }
}

/// A name as a part of a path or a value of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A path with a query of those values that are given.
pub(crate) fn path_with(path: &str, query: &[(&str, Option<&str>)]) -> String {
    let given = query.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let pairs: Vec<_> = given.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_are_parts_of_a_path_whatever_is_in_them() {
        assert_eq!(encoded("a/b?c#d e\u{202e}<"), "a%2Fb%3Fc%23d%20e%E2%80%AE%3C");
        let path = path_with("/x", &[("where", Some("a = 'b&c'")), ("order", None)]);
        assert_eq!(path, "/x?where=a%20%3D%20%27b%26c%27");
    }
}
