//! Who may use the API: at the socket, whom the system lets into the data folder; at the port, programs of this machine
//! that hold the token, and no page in a browser.
//!
//! The token keeps other users of the machine out. The `Host` and `Origin` headers keep out web pages: a page can
//! make a browser send requests to loopback addresses, also under a name of its own that it lets resolve to
//! 127.0.0.1 (DNS rebinding).
//!
//! The token has 256 random bits and is compared in constant time. Wrong ones are not slowed down: nobody guesses it,
//! and anyone who tried could lock its holder out.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::answer::held_until_taken;
use super::body::is_gzip;
use super::hosts::Hosts;
use super::room::{Client, Rooms};
use super::server::{ConnectionPeer, KEEP_ALIVE};
use crate::api::error::{ApiError, Code};
use crate::site::token::Token;

/// The paths that need no token: they say nothing but that the node is there and works, and what any node would.
const OPEN_PATHS: [&str; 3] = ["/healthz", "/readyz", "/v1/openapi.json"];

/// What a browser says of the page that makes a request.
const FETCH_SITE: &str = "sec-fetch-site";

/// What a client calls itself is looked at no further than this.
const AGENT_CHARS_MAX: usize = 128;

struct Guard {
    token: Arc<Token>,
    hosts: Hosts,
    /// The room for those who come by the port.
    at_port: Arc<Rooms>,
    /// The room for those who come by the socket, whatever there is at the port.
    at_socket: Arc<Rooms>,
}

/// What a request may do.
enum Admitted {
    /// Anything, in this room.
    Known(Arc<Rooms>, Client),
    /// Ask for an open path.
    Stranger,
}

/// Puts the guard before a router: token, `Host`, `Origin`, and a bound on requests at work.
pub(crate) fn guarded(router: Router, token: Arc<Token>, hosts: Hosts) -> Router {
    let guard = Guard { token, hosts, at_port: Rooms::new(), at_socket: Rooms::new() };
    router.layer(middleware::from_fn_with_state(Arc::new(guard), check))
}

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (mut response, is_kept) = match guard.admit(&request) {
        Ok(Admitted::Known(rooms, client)) => {
            let is_kept = !asks_to_close(request.headers());
            match work(rooms, client, request, next).await {
                Ok(answer) => (answer, is_kept),
                Err(error) => (error.into_response(), false),
            }
        }
        Ok(Admitted::Stranger) => (next.run(request).await, false),
        Err(error) => (error.into_response(), false),
    };
    let (name, value) =
        if is_kept { (KEEP_ALIVE.0, KEEP_ALIVE.1) } else { (header::CONNECTION, "close") };
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

/// Does what the request asks for, once there is room, which its answer holds until it is taken.
async fn work(
    rooms: Arc<Rooms>,
    client: Client,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(ConnectionPeer::Anyone(visit)) = request.extensions().get() {
        let visit = Arc::clone(visit);
        visit.let_in().await?;
    }
    is_gzip(request.headers())?;
    let room = rooms.take(client).await?;
    request.extensions_mut().insert(room.clone());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let answer = answer.map_err(|_| {
        ApiError::new(Code::Internal, "the program is wrong here, the log says where")
            .hint("a write may have been carried out: look before sending it again")
    })?;
    Ok(held_until_taken(answer, room))
}

fn asks_to_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close")))
}

impl Guard {
    fn admit(&self, request: &Request) -> Result<Admitted, ApiError> {
        // No browser speaks to a socket, and the system has asked who it is.
        if let Some(ConnectionPeer::Owner { process }) = request.extensions().get() {
            let client = Client::Process(*process);
            return Ok(Admitted::Known(Arc::clone(&self.at_socket), client));
        }
        self.check_host(request)?;
        self.check_origin(request.headers())?;
        match self.check_token(request.headers()) {
            Ok(()) => {}
            Err(_) if OPEN_PATHS.contains(&request.uri().path()) => return Ok(Admitted::Stranger),
            Err(error) => return Err(error),
        }
        let agent = request.headers().get(header::USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let agent = agent.unwrap_or_default().chars().take(AGENT_CHARS_MAX).collect();
        Ok(Admitted::Known(Arc::clone(&self.at_port), Client::Agent(agent)))
    }

    fn check_host(&self, request: &Request) -> Result<(), ApiError> {
        let refuse = |found: &str| {
            let message =
                format!("the request is for host {found:?}, expected {}", self.hosts.expected());
            ApiError::new(Code::WrongHost, message).hint(
                "name the host of a tunnel or a reverse proxy in branchline.toml: api_hosts = [\"HOST\"]",
            )
        };
        if let Some(authority) = request.uri().authority()
            && !self.hosts.is_own(authority.as_str())
        {
            return Err(refuse(authority.as_str()));
        }
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let (host, more) = (hosts.next(), hosts.next());
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        if more.is_none() && self.hosts.is_own(host) { Ok(()) } else { Err(refuse(host)) }
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
            if !self.hosts.is_own_origin(&origin) {
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
        if self.token.is(found) { Ok(()) } else { Err(refuse("the token is wrong")) }
    }
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
        guarded(router, Arc::new(Token::from("secret")), Hosts::new(7000, &[]))
            .oneshot(request)
            .await
            .unwrap()
            .status()
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
