//! A service that keeps objects and misbehaves where a test asks for it: a real server on a real socket.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::serve::Listener;
use serde_json::{Value as Json, json};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::authorities::TlsListener;

/// Something that goes wrong with one request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is refused.
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// It is carried out, and the answer is cut off.
    CutAfter,
    /// It is not carried out, and the answer is cut off.
    CutBefore,
    /// It is carried out, and a page for people comes back.
    Page,
    /// It is carried out, and the answer has no id.
    NoId,
    /// It waits for a permit, and is carried out.
    Hold(Arc<Semaphore>),
}

/// A request that came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) term: Option<String>,
    pub(crate) authorization: Option<String>,
    pub(crate) if_match: Option<String>,
    pub(crate) body: Json,
}

type Rule = Box<dyn Fn(&Call) -> Option<Fault> + Send>;

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Json>,
    calls: Vec<Call>,
    faults: VecDeque<Fault>,
    rule: Option<Rule>,
    keys: BTreeMap<String, (Json, String)>,
    knows_keys: bool,
    number: u64,
    at_work: usize,
    at_work_max: usize,
}

/// The service.
pub(crate) struct Remote {
    pub(crate) url: String,
    inner: Arc<Mutex<Inner>>,
    server: tokio::task::JoinHandle<()>,
    address: SocketAddr,
}

impl Remote {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner::default()));
        let server = tokio::spawn(serve(listener, Arc::clone(&inner)));
        Self { url: format!("http://{address}"), inner, server, address }
    }

    /// A service over TLS.
    pub(crate) async fn start_tls(acceptor: TlsAcceptor) -> Self {
        let mut remote = Self::start().await;
        remote.url = remote.url.replace("http:", "https:");
        remote.change_certificate(acceptor).await;
        remote
    }

    /// The service comes back with another certificate.
    pub(crate) async fn change_certificate(&mut self, acceptor: TlsAcceptor) {
        self.go_down().await;
        let tcp = tokio::net::TcpListener::bind(self.address).await.unwrap();
        self.server = tokio::spawn(serve(TlsListener { tcp, acceptor }, Arc::clone(&self.inner)));
    }

    /// The server ends, and with it all connections; what it keeps stays.
    pub(crate) async fn go_down(&mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    /// It is there again.
    pub(crate) async fn come_back(&mut self) {
        let listener = tokio::net::TcpListener::bind(self.address).await.unwrap();
        self.server = tokio::spawn(serve(listener, Arc::clone(&self.inner)));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// The next requests go wrong like this, one after the other.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.inner().faults.extend(faults);
    }

    /// Requests go wrong by a rule.
    pub(crate) fn rule(&self, rule: impl Fn(&Call) -> Option<Fault> + Send + 'static) {
        self.inner().rule = Some(Box::new(rule));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&self) {
        let mut inner = self.inner();
        inner.rule = None;
        inner.faults.clear();
    }

    /// A create with a key that was there before is answered as that one was.
    pub(crate) fn know_keys(&self) {
        self.inner().knows_keys = true;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.inner().calls.clone()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.inner().calls.iter().filter(|call| call.method == method).count()
    }

    pub(crate) fn objects(&self) -> BTreeMap<String, Json> {
        self.inner().objects.clone()
    }

    /// The only object of this reference.
    pub(crate) fn by_ref(&self, reference: &str) -> Option<Json> {
        let inner = self.inner();
        let mut found = inner.objects.values().filter(|object| object["ref"] == reference);
        let object = found.next().cloned();
        assert!(found.next().is_none(), "{reference} is there twice: {:?}", inner.objects);
        object
    }

    /// Somebody else changes an object, or takes it away.
    pub(crate) fn edit(&self, reference: &str, change: impl FnOnce(&mut Option<Json>)) {
        let mut inner = self.inner();
        let found = inner.objects.iter().find(|(_, object)| object["ref"] == reference);
        let id = found.map(|(id, _)| id.clone()).unwrap();
        let mut object = inner.objects.remove(&id);
        change(&mut object);
        inner.objects.extend(object.map(|object| (id, object)));
    }

    pub(crate) fn at_work_max(&self) -> usize {
        self.inner().at_work_max
    }
}

async fn serve<L: Listener<Addr = SocketAddr>>(listener: L, inner: Arc<Mutex<Inner>>) {
    let app = Router::new().fallback(answer).with_state(inner);
    axum::serve(listener, app).await.unwrap();
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, 1 << 24).await.unwrap();
    let text = |name: &str| {
        let value = parts.headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    let call = Call {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().unwrap().to_string(),
        key: text("idempotency-key"),
        term: text("branchline-term"),
        authorization: text("authorization"),
        if_match: text("if-match"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let fault = {
        let mut inner = inner.lock().unwrap();
        inner.calls.push(call.clone());
        inner.at_work += 1;
        inner.at_work_max = inner.at_work_max.max(inner.at_work);
        let by_rule = inner.rule.as_ref().and_then(|rule| rule(&call));
        by_rule.or_else(|| inner.faults.pop_front())
    };
    if let Some(Fault::Hold(permits)) = &fault {
        permits.acquire().await.unwrap().forget();
    }
    let mut inner = inner.lock().unwrap();
    inner.at_work -= 1;
    match fault {
        Some(Fault::Status(status, headers, text)) => {
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in headers {
                answer.headers_mut().insert(*name, HeaderValue::from_static(value));
            }
            answer
        }
        Some(Fault::CutAfter) => {
            inner.carry_out(&call);
            cut()
        }
        Some(Fault::CutBefore) => cut(),
        Some(Fault::Page) => {
            inner.carry_out(&call);
            let mut answer = Response::new(Body::from("<html>Welcome</html>"));
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            answer.headers_mut().insert(header::CONTENT_TYPE, html);
            answer
        }
        Some(Fault::NoId) => {
            inner.carry_out(&call);
            json_answer(200, &json!({ "ok": true }))
        }
        Some(Fault::Hold(_)) | None => {
            let (status, body) = inner.carry_out(&call);
            let id = body["id"].as_str().or_else(|| call.path.strip_prefix("/orders/"));
            let etag = id.and_then(|id| Some(version(inner.objects.get(id)?)));
            let mut answer = json_answer(status, &body);
            if let Some(etag) = etag {
                answer.headers_mut().insert(header::ETAG, etag.parse().unwrap());
            }
            answer
        }
    }
}

/// An answer that ends before its body does.
fn cut() -> Response {
    let broken = futures::stream::iter([Err::<Bytes, _>(io::Error::other("cut"))]);
    let mut answer = Response::new(Body::from_stream(broken));
    *answer.status_mut() = StatusCode::CREATED;
    answer
}

fn json_answer(status: u16, body: &Json) -> Response {
    let mut answer = Response::new(Body::from(body.to_string()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

/// The version of an object: what it is.
fn version(object: &Json) -> String {
    format!("\"{}\"", object.to_string().replace('"', "'"))
}

impl Inner {
    fn has_another_version(&self, call: &Call, id: &str) -> bool {
        let now = self.objects.get(id).map(version);
        call.if_match.is_some() && call.if_match != now
    }

    fn carry_out(&mut self, call: &Call) -> (u16, Json) {
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let id = path.strip_prefix("/orders/").map(str::to_owned);
        match (call.method.as_str(), id) {
            ("POST", None) => self.create(call),
            ("GET", None) if path == "/new" => {
                self.number += 1;
                (200, json!({ "number": self.number }))
            }
            ("GET", None) => {
                let wanted = query.strip_prefix("ref=").unwrap_or_default();
                let found = self.objects.iter().filter(|(_, object)| object["ref"] == wanted);
                let items: Vec<_> = found.map(|(id, _)| json!({ "id": id })).collect();
                (200, json!({ "items": items }))
            }
            ("GET", Some(id)) if self.objects.contains_key(&id) => {
                (200, json!({ "order": self.objects[&id] }))
            }
            ("PUT", Some(id)) if self.has_another_version(call, &id) => {
                (412, json!({ "error": "another version" }))
            }
            ("PUT", Some(id)) if path.contains("/upsert") || self.objects.contains_key(&id) => {
                self.objects.insert(id, call.body.clone());
                (200, json!({}))
            }
            ("PATCH", Some(id)) if self.objects.contains_key(&id) => {
                self.objects.get_mut(&id).unwrap()["archived"] = json!(true);
                (200, json!({}))
            }
            ("DELETE", Some(id)) if self.objects.remove(&id).is_some() => (204, json!({})),
            _ => (404, json!({ "error": "there is no such object" })),
        }
    }

    fn create(&mut self, call: &Call) -> (u16, Json) {
        if let Some((body, id)) =
            call.key.as_ref().filter(|_| self.knows_keys).and_then(|key| self.keys.get(key))
        {
            return if *body == call.body {
                (200, json!({ "id": id }))
            } else {
                (422, json!({ "error": "the key was used for another request" }))
            };
        }
        self.number += 1;
        let id = self.number.to_string();
        self.objects.insert(id.clone(), call.body.clone());
        if let Some(key) = &call.key {
            self.keys.insert(key.clone(), (call.body.clone(), id.clone()));
        }
        (201, json!({ "id": id }))
    }
}
