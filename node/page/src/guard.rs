//! Which requests are let in, and the headers of every answer.
//!
//! A page of another site can make a browser send requests to this one, also under a name of its own that it lets resolve
//! to this machine (DNS rebinding). `Host` and `Origin` keep those out, as they do at the API; the cookie is sent along by
//! pages of this site alone (`SameSite=Strict`), and what changes something carries a token of the session besides.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use tokio::time::timeout;

use crate::office::Office;
use crate::sign_in::{Ends, Viewer};
use crate::{assets, layout, live, sign_in, texts, views};

/// Names under which a machine reaches itself.
const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
/// What a browser says of the page that makes a request.
const FETCH_SITE: &str = "sec-fetch-site";
/// How long a request waits for others to be answered.
const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing but what comes from here is shown, run or sent to; nothing stands within the text of a page; no other page shows
/// this one in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Everything that the page serves.
pub(crate) fn app(office: Arc<Office>) -> Router {
    let signed_in = views::routes().merge(live::routes());
    let signed_in =
        signed_in.layer(middleware::from_fn_with_state(Arc::clone(&office), only_signed_in));
    Router::new()
        .merge(sign_in::routes())
        .merge(assets::routes())
        .merge(signed_in)
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&office), guard))
        .with_state(office)
}

async fn guard(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let is_asset = request.uri().path().starts_with(assets::PATH);
    let mut response = match refusal(&office, &request) {
        Some(refusal) => refusal.into_response(),
        None => match timeout(PATIENCE, office.at_work.acquire()).await {
            Ok(Ok(_turn)) => next.run(request).await,
            Ok(Err(_)) | Err(_) => {
                let text = "the page is asked for too much at a time: try again in a moment";
                (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
            }
        },
    };
    secure(response.headers_mut(), is_asset);
    response
}

/// Headers that every answer has.
fn secure(headers: &mut HeaderMap, is_asset: bool) {
    let pairs = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // With none at all a browser would name no origin where a form is sent.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ];
    for (name, value) in pairs {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !is_asset {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Why a request is not let in; `None`: it is.
fn refusal(office: &Office, request: &Request) -> Option<(StatusCode, String)> {
    let ends = request.extensions().get::<Ends>()?;
    let headers = request.headers();
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next());
    let named = request.uri().authority().map(|authority| authority.as_str());
    let is_own = |host: &str| is_own(office, *ends, host);
    let host = host.unwrap_or_default();
    if more.is_some() || !is_own(host) || named.is_some_and(|named| !is_own(named)) {
        let text = format!(
            "this page is not served for the host {host:?}. Open it by the address that `branchline open --print` shows; name the host of a tunnel or a reverse proxy in branchline.toml: [page] hosts = [\"HOST\"]\n"
        );
        return Some((StatusCode::MISDIRECTED_REQUEST, text));
    }
    let is_foreign_site = headers
        .get_all(FETCH_SITE)
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"));
    let is_foreign_origin = headers
        .get_all(header::ORIGIN)
        .iter()
        .any(|origin| !origin.to_str().is_ok_and(|origin| is_own_origin(office, *ends, origin)));
    if is_foreign_site || is_foreign_origin {
        let text =
            "a page of another site has led here. Open this page by its address, or a bookmark\n";
        return Some((StatusCode::FORBIDDEN, text.to_owned()));
    }
    None
}

/// Whether an authority (`HOST` or `HOST:PORT`) is where this page is.
fn is_own(office: &Office, ends: Ends, text: &str) -> bool {
    let Some((host, port)) = authority(text) else { return false };
    let config = office.config();
    let is_named = config
        .hosts
        .iter()
        .any(|named| named.eq_ignore_ascii_case(text) || named.eq_ignore_ascii_case(host));
    let local = ends.local.ip().to_canonical();
    let is_loopback =
        local.is_loopback() && LOOPBACK_NAMES.iter().any(|name| name.eq_ignore_ascii_case(host));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_address = bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.to_canonical() == local);
    let is_machine = office.is_encrypted() && host.eq_ignore_ascii_case(&crate::tls::host_name());
    let is_port = port.is_none_or(|port| port == ends.local.port());
    is_named || is_port && (is_loopback || is_address || is_machine)
}

/// Whether an origin (`SCHEME://AUTHORITY`) is that of a page which came from here.
fn is_own_origin(office: &Office, ends: Ends, origin: &str) -> bool {
    let Some((scheme, text)) = origin.split_once("://") else { return false };
    let expected = if office.is_encrypted() { "https" } else { "http" };
    let config = office.config();
    let host = authority(text).map(|(host, _)| host).unwrap_or_default();
    let is_named = config
        .hosts
        .iter()
        .any(|named| named.eq_ignore_ascii_case(text) || named.eq_ignore_ascii_case(host));
    // A proxy may speak TLS where this page does not.
    (scheme == expected && is_own(office, ends, text))
        || (is_named && matches!(scheme, "http" | "https"))
}

/// Splits `HOST` or `HOST:PORT`; `None`: it is neither.
pub(crate) fn authority(text: &str) -> Option<(&str, Option<u16>)> {
    let parsed: axum::http::uri::Authority = text.parse().ok()?;
    if parsed.as_str().contains('@') || parsed.host().is_empty() {
        return None;
    }
    let host = text.get(..parsed.host().len())?;
    match text.get(parsed.host().len()..)? {
        "" => Some((host, None)),
        rest => {
            let port =
                rest.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()))?;
            Some((host, Some(port.parse().ok()?)))
        }
    }
}

async fn only_signed_in(
    State(office): State<Arc<Office>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(viewer) = Viewer::of(&office, request.headers()) else {
        let is_view = request.method() == Method::GET
            && !request.headers().contains_key("hx-request")
            && !request.uri().path().starts_with(live::PATH);
        return if is_view {
            Redirect::to("/sign-in").into_response()
        } else {
            // A page that is open is to show that it is signed in no more, whatever part of it was asked for.
            (StatusCode::UNAUTHORIZED, [("hx-redirect", "/sign-in")], "").into_response()
        };
    };
    request.extensions_mut().insert(viewer);
    if request.method() == Method::GET && !request.uri().path().starts_with(live::PATH) {
        office.count().await;
    }
    next.run(request).await
}

async fn not_found(State(office): State<Arc<Office>>, headers: HeaderMap) -> Response {
    match Viewer::of(&office, &headers) {
        Some(viewer) => {
            let text = viewer.t.no_such_view;
            layout::refused(&office, &viewer, StatusCode::NOT_FOUND, text)
        }
        None => {
            let text = texts::choose(None, &headers).no_such_view;
            (StatusCode::NOT_FOUND, text).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_host_is_none() {
        for host in
            ["", ":1", "a:", "a:b", "a:+1", "a:65536", "a/b", "http://a", "[::1", "a b", "u@a"]
        {
            assert_eq!(authority(host), None, "{host}");
        }
        assert_eq!(authority("[::1]:80"), Some(("[::1]", Some(80))));
        assert_eq!(authority("office.example.org"), Some(("office.example.org", None)));
    }
}
