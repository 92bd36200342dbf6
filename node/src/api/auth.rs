//! Who may use the API: programs of this machine that hold the token, and no page in a browser.
//!
//! The token keeps other users of the machine out. The `Host` and `Origin` headers keep out web pages: a page can
//! make a browser send requests to loopback addresses, also under a name of its own that it lets resolve to
//! 127.0.0.1 (DNS rebinding).
//!
//! The token has 256 random bits and is compared in constant time. Wrong ones are not slowed down: nobody guesses it,
//! and whoever tried could lock its holder out.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use subtle::ConstantTimeEq;

use super::error::{ApiError, Code};
use super::room::Rooms;

/// The paths that need no token: one tells nothing but that the node is there, the other what any node would.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/v1/openapi.json"];
/// Names under which a machine reaches itself.
const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// What a browser says of the page that makes a request.
const FETCH_SITE: &str = "sec-fetch-site";

struct Guard {
    token: String,
    port: u16,
    rooms: Rooms,
}

/// Puts the guard before a router: token, `Host`, `Origin`, and a bound on requests at work.
pub(crate) fn guarded(router: Router, token: String, port: u16) -> Router {
    let guard = Guard { token, port, rooms: Rooms::new() };
    router.layer(middleware::from_fn_with_state(Arc::new(guard), check))
}

async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    guard.check_host(&request)?;
    guard.check_origin(request.headers())?;
    if !OPEN_PATHS.contains(&request.uri().path()) {
        guard.check_token(request.headers())?;
    }
    let room = guard.rooms.take().await;
    request.extensions_mut().insert(room);
    Ok(next.run(request).await)
}

impl Guard {
    fn check_host(&self, request: &Request) -> Result<(), ApiError> {
        let refuse = |found: &str| {
            let expected = format!("expected 127.0.0.1:{}", self.port);
            ApiError::new(Code::WrongHost, format!("the request is for host {found:?}, {expected}"))
        };
        if let Some(authority) = request.uri().authority()
            && !self.is_own(authority.as_str())
        {
            return Err(refuse(authority.as_str()));
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        match more.is_none() && self.is_own(host) {
            true => Ok(()),
            false => Err(refuse(host)),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        // Browsers name an origin only where a request changes something, but say this of every request.
        for site in headers.get_all(FETCH_SITE) {
            if !matches!(site.as_bytes(), b"same-origin" | b"none") {
                return Err(ApiError::new(
                    Code::WrongOrigin,
                    "pages of other sites may not use this API",
                ));
            }
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            // A browser leaves the port out of an origin only where it is 80.
            let own = |authority: &str| {
                self.is_own(authority) && (self.port == 80 || !is_bare(authority))
            };
            if !origin.strip_prefix("http://").is_some_and(own) {
                let message = format!("pages of {origin} may not use this API");
                return Err(ApiError::new(Code::WrongOrigin, message));
            }
        }
        Ok(())
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse = |message: &str| {
            ApiError::new(Code::Unauthorized, message).hint(
                "send the header `Authorization: Bearer TOKEN`; the token is in api.token in the data folder",
            )
        };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let value = values.next().ok_or_else(|| refuse("the request carries no token"))?.as_bytes();
        if values.next().is_some() {
            return Err(refuse("the request carries more than one token"));
        }
        let is_bearer = value.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"bearer "));
        let found = value.get(7..).filter(|_| is_bearer).unwrap_or_default();
        match found.ct_eq(self.token.as_bytes()).into() {
            true => Ok(()),
            false => Err(refuse("the token is wrong")),
        }
    }

    /// Whether an authority (`HOST` or `HOST:PORT`) is where this API listens.
    fn is_own(&self, authority: &str) -> bool {
        LOOPBACK_NAMES.iter().any(|name| {
            let head = authority.get(..name.len());
            let rest = authority.get(name.len()..).unwrap_or_default();
            let port = rest.strip_prefix(':').map(str::parse);
            head.is_some_and(|head| head.eq_ignore_ascii_case(name))
                && (rest.is_empty() || port == Some(Ok(self.port)))
        })
    }
}

fn is_bare(authority: &str) -> bool {
    LOOPBACK_NAMES.iter().any(|name| authority.eq_ignore_ascii_case(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    const OWN: (&str, &str) = ("host", "127.0.0.1:7000");
    const TOKEN: (&str, &str) = ("authorization", "Bearer secret");

    async fn ask(path: &str, headers: &[(&str, &str)]) -> StatusCode {
        let router = Router::new()
            .route("/healthz", get(async || "ok"))
            .route("/v1/status", get(async || "fine"));
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        guarded(router, "secret".to_owned(), 7000).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn only_the_token_opens_and_health_is_open() {
        assert_eq!(ask("/v1/status", &[OWN, TOKEN]).await, StatusCode::OK);
        assert_eq!(ask("/healthz", &[OWN]).await, StatusCode::OK);
        assert_eq!(ask("/v1/status", &[OWN]).await, StatusCode::UNAUTHORIZED);
        for wrong in ["Bearer secrets", "Bearer ", "secret", "Basic secret", "Bearer  secret"] {
            let status = ask("/v1/status", &[OWN, ("authorization", wrong)]).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
        }
    }

    #[tokio::test]
    async fn only_loopback_names_with_the_right_port_are_served() {
        for host in ["127.0.0.1", "localhost:7000", "LOCALHOST", "[::1]:7000", "[::1]"] {
            assert_eq!(ask("/healthz", &[("host", host)]).await, StatusCode::OK, "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1:7001", "127.0.0.1.evil.example", "localhost:", "", "::1"]
        {
            let status = ask("/healthz", &[("host", host)]).await;
            assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
        assert_eq!(ask("/healthz", &[]).await, StatusCode::MISDIRECTED_REQUEST);
        let twice = [OWN, ("host", "evil.example")];
        assert_eq!(ask("/healthz", &twice).await, StatusCode::MISDIRECTED_REQUEST);
    }

    #[tokio::test]
    async fn pages_of_other_sites_are_refused_even_with_the_token() {
        let own = ("origin", "http://127.0.0.1:7000");
        assert_eq!(ask("/v1/status", &[OWN, TOKEN, own]).await, StatusCode::OK);
        for origin in [
            "http://evil.example",
            "null",
            "https://127.0.0.1:7000",
            "http://127.0.0.1:7001",
            "http://127.0.0.1",
        ] {
            let status = ask("/v1/status", &[OWN, TOKEN, ("origin", origin)]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{origin}");
        }
        for (site, expected) in [
            ("none", StatusCode::OK),
            ("same-origin", StatusCode::OK),
            ("same-site", StatusCode::FORBIDDEN),
            ("cross-site", StatusCode::FORBIDDEN),
            ("", StatusCode::FORBIDDEN),
        ] {
            let status = ask("/v1/status", &[OWN, TOKEN, ("sec-fetch-site", site)]).await;
            assert_eq!(status, expected, "{site}");
        }
    }
}
