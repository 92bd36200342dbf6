//! The page at which somebody signs in, and what it is sent.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};

use super::sessions::Session;
use super::{Ends, Role, Viewer, cookie, users};
use crate::form::{Fields, Unsigned, Write};
use crate::layout;
use crate::office::Office;
use crate::texts::{self, Texts, say};

/// The paths that are open to those who are not signed in.
pub(crate) fn routes() -> Router<Arc<Office>> {
    Router::new().route("/sign-in", get(show).post(sign_in)).route("/sign-in/{link}", get(enter))
}

/// The form.
async fn show(State(office): State<Arc<Office>>, headers: HeaderMap) -> Response {
    let t = texts::choose(None, &headers);
    match Viewer::of(&office, &headers) {
        Some(_) => Redirect::to("/").into_response(),
        None => page(&office, t, StatusCode::OK, None),
    }
}

/// Takes a link, which serves once, and goes on to the page.
async fn enter(
    State(office): State<Arc<Office>>,
    Path(link): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let t = texts::choose(None, &headers);
    // A browser that only wants to be quick, or a program that only looks, does not use the link up.
    let is_ahead = ["purpose", "sec-purpose"].iter().any(|name| {
        headers.get(*name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch"))
    });
    if method != Method::GET || is_ahead {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    if !office.links.take(&link, Instant::now()) {
        return page(&office, t, StatusCode::FORBIDDEN, Some(t.link_is_over.to_owned()));
    }
    let session = Session::new(None, String::new(), Role::Operator, office.now_ms());
    begin(&office, t, &headers, session)
}

/// Takes a name and a password.
async fn sign_in(
    State(office): State<Arc<Office>>,
    axum::Extension(ends): axum::Extension<Ends>,
    headers: HeaderMap,
    Unsigned(fields): Unsigned,
) -> Response {
    let t = texts::choose(None, &headers);
    let name = fields.get("name").unwrap_or_default().trim().to_owned();
    let password = fields.get("password").unwrap_or_default().to_owned();
    let address = ends.peer.ip();
    if let Err(wait) = office.attempts.begin(&name, address, Instant::now()) {
        let minutes = wait.as_secs().div_ceil(60).to_string();
        let message = say(t.too_many_attempts, &[&minutes]);
        return page(&office, t, StatusCode::TOO_MANY_REQUESTS, Some(message));
    }
    let all = office.users.now();
    let Ok(_turn) = office.password_turns.acquire().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let asked = name.clone();
    let verified = tokio::task::spawn_blocking(move || users::verify(&all, &asked, &password));
    let Ok(Some(user)) = verified.await else {
        return page(&office, t, StatusCode::FORBIDDEN, Some(t.sign_in_is_wrong.to_owned()));
    };
    office.attempts.succeed(&name, address);
    let mark = user.mark();
    begin(&office, t, &headers, Session::new(Some(user.name), mark, user.role, office.now_ms()))
}

/// Begins a session under a new secret, whatever the browser had.
fn begin(office: &Office, t: &'static Texts, headers: &HeaderMap, session: Session) -> Response {
    if let Some(old) = cookie(headers, &office.cookie_name()) {
        office.sessions.end(&old, office.now_ms());
    }
    let Some(secret) = office.sessions.begin(session, office.now_ms()) else {
        return page(
            office,
            t,
            StatusCode::INTERNAL_SERVER_ERROR,
            Some(t.no_randomness.to_owned()),
        );
    };
    with_cookie(office, Some(&secret), Redirect::to("/").into_response())
}

/// Ends the session.
pub(crate) async fn sign_out(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    write: Write<Fields>,
) -> Response {
    drop(write);
    office.sessions.end(&viewer.secret, office.now_ms());
    with_cookie(&office, None, Redirect::to("/sign-in").into_response())
}

/// Takes another language for the session.
pub(crate) async fn choose_language(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(fields): Write<Fields>,
) -> Response {
    let known = fields.get("language").filter(|name| texts::is_known(name)).map(str::to_owned);
    office.sessions.change(&viewer.secret, office.now_ms(), |session| session.language = known);
    Redirect::to(fields.back().unwrap_or("/")).into_response()
}

fn with_cookie(office: &Office, secret: Option<&str>, mut response: Response) -> Response {
    let secure = if office.is_encrypted() { "; Secure" } else { "" };
    let (value, age) = match secret {
        Some(secret) => (secret, ""),
        None => ("", "; Max-Age=0"),
    };
    let name = office.cookie_name();
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn page(office: &Office, t: &'static Texts, status: StatusCode, error: Option<String>) -> Response {
    let has_users = !office.users.now().is_empty();
    layout::plain(office, t, status, t.sign_in, form(office, t, has_users, error))
}

fn form(office: &Office, t: &'static Texts, has_users: bool, error: Option<String>) -> Markup {
    html! {
        section.door {
            p.eyebrow { (office.name()) }
            h1 { (t.sign_in) }
            @if let Some(error) = error { p.notice.bad role="alert" { (error) } }
            @if has_users {
                form method="post" action="/sign-in" {
                    label for="name" { (t.name) }
                    input #name name="name" autocomplete="username" autocapitalize="none" required maxlength="64";
                    label for="password" { (t.password) }
                    input #password name="password" type="password" autocomplete="current-password" required maxlength="1024";
                    button.primary type="submit" { (t.sign_in) }
                }
            }
            p { (t.link_how) }
            (layout::command("branchline open"))
        }
    }
}
