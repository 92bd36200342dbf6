//! A provider of accounts over HTTP that a test can make misbehave.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio_rustls::TlsAcceptor;

use super::authorities::TlsListener;

/// A provider, and how it is at present.
#[derive(Clone)]
pub(crate) struct Provider {
    address: String,
    state: Arc<Mutex<Accounts>>,
}

/// What a provider has, and what is asked of it.
#[derive(Default)]
pub(crate) struct Accounts {
    /// By id: when it was changed, and the JSON behind `id` and `updated_at`.
    pub(crate) accounts: BTreeMap<String, (String, String)>,
    /// Ids in the list of deletions.
    pub(crate) deleted: Vec<String>,
    /// Items of a page.
    pub(crate) page_size: usize,
    /// What was asked for, path and query.
    pub(crate) asked: Vec<String>,
    /// Headers of the last request.
    pub(crate) headers: HeaderMap,
    /// Its clock, as a `Date` header; `None`: it sends none of its own.
    pub(crate) date: Option<String>,
    /// Answers to give instead, the first one first: status and body.
    pub(crate) instead: Vec<(u16, String)>,
    /// Items that are put before the accounts of the first page, as they are.
    pub(crate) odd_items: Vec<String>,
    /// Whether the next page is always the same.
    pub(crate) is_circle: bool,
    /// Done to the accounts behind each answer.
    pub(crate) moves: Option<fn(&mut Self)>,
}

/// Its clock stands: whatever is in the overlap of a run is asked for again by the next.
const DATE: &str = "Sun, 01 Mar 2026 08:00:00 GMT";

type Params = BTreeMap<String, String>;

impl Provider {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(Accounts {
            page_size: 2,
            date: Some(DATE.to_owned()),
            ..Accounts::default()
        }));
        Self::serve(state, None).await
    }

    /// A provider with the same accounts and another certificate, at another address.
    pub(crate) async fn over_tls(&self, acceptor: TlsAcceptor) -> Self {
        Self::serve(Arc::clone(&self.state), Some(acceptor)).await
    }

    async fn serve(state: Arc<Mutex<Accounts>>, tls: Option<TlsAcceptor>) -> Self {
        let router = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = tcp.local_addr().unwrap();
        let address = match tls {
            None => {
                tokio::spawn(async move { axum::serve(tcp, router).await });
                format!("http://{place}")
            }
            Some(acceptor) => {
                let listener = TlsListener { tcp, acceptor };
                tokio::spawn(async move { axum::serve(listener, router).await });
                format!("https://{place}")
            }
        };
        Self { address, state }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn has(&self) -> MutexGuard<'_, Accounts> {
        self.state.lock().unwrap()
    }

    /// An account is there, changed at a minute of one morning.
    pub(crate) fn set(&self, id: &str, minute: u32, rest: &str) {
        let updated_at = format!("2026-03-01T08:{minute:02}:00Z");
        self.has().accounts.insert(id.to_owned(), (updated_at, rest.to_owned()));
    }

    /// An account goes, and is listed as deleted.
    pub(crate) fn delete(&self, id: &str) {
        self.has().accounts.remove(id);
        self.has().deleted.push(id.to_owned());
    }

    /// What was asked for since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.has().asked)
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Accounts>>>,
    Query(params): Query<Params>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let mut state = state.lock().unwrap();
    state.asked.push(uri.to_string());
    state.headers = headers;
    let mut response = if state.instead.is_empty() {
        state.answer(uri.path(), &params)
    } else {
        let (status, body) = state.instead.remove(0);
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], body)
            .into_response()
    };
    if let Some(date) = &state.date {
        response.headers_mut().insert(header::DATE, date.parse().unwrap());
    }
    if let Some(moves) = state.moves {
        moves(&mut state);
    }
    response
}

impl Accounts {
    fn answer(&mut self, path: &str, params: &Params) -> Response {
        let since = params.get("since").cloned().unwrap_or_default();
        let number =
            |name: &str| params.get(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        if path == "/accounts/deleted" {
            return json(format!("{{\"ids\":{}}}", serde_json::json!(self.deleted)));
        }
        let start = match path {
            "/numbered" => number("page").saturating_sub(1) * self.page_size,
            _ => number("cursor") + number("offset"),
        };
        let changed = self.accounts.iter().filter(|(_, (updated_at, _))| *updated_at >= since);
        let page: Vec<(&String, &(String, String))> = changed.collect();
        let end = (start + self.page_size).min(page.len());
        let items = page.get(start..end).unwrap_or_default().iter();
        let mut items: Vec<String> = items
            .map(|(id, (updated_at, rest))| {
                format!("{{\"id\":{id:?},\"updated_at\":{updated_at:?}{rest}}}")
            })
            .collect();
        if start == 0 {
            items.splice(0..0, self.odd_items.clone());
        }
        let next = match (self.is_circle, end < page.len()) {
            (true, _) => "1".to_owned(),
            (false, true) => end.to_string(),
            (false, false) => String::new(),
        };
        let mut response =
            json(format!("{{\"accounts\":[{}],\"next\":{next:?}}}", items.join(",")));
        if path == "/linked" && !next.is_empty() {
            let link = format!("</linked?cursor={next}>; rel=\"next\"");
            response.headers_mut().insert(header::LINK, link.parse().unwrap());
        }
        response
    }
}

fn json(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
