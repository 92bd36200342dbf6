//! Requests of the HTTP API: paths, queries, cursors, bodies.

use std::sync::{Mutex, OnceLock, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use branchline_node::init;
use branchline_node::{Config, Node};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::{Memory, Target};

pub(crate) const API: Target =
    Target { name: "api", run: api, seeds, memory: Memory { mib: 32, per_byte: 8192 } };

const METHODS: [Method; 6] =
    [Method::GET, Method::PUT, Method::PATCH, Method::DELETE, Method::POST, Method::OPTIONS];

/// A site whose API is asked without sockets.
struct Site {
    runtime: Runtime,
    router: Router,
    _node: Node,
    _folder: TempDir,
}

fn site() -> &'static Mutex<Site> {
    static SITE: OnceLock<Mutex<Site>> = OnceLock::new();
    SITE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        init(folder.path(), "office", true).expect("a site");
        let node = runtime.block_on(Node::open(Config::new(folder.path()))).expect("a node");
        let router = branchline_node::api::router(node.handle());
        let site = Site { runtime, router, _node: node, _folder: folder };
        for (path, body) in [
            ("/v1/schemas/products", r#"{"stock":"counter","notes":"text"}"#),
            ("/v1/records/products/tea", r#"{"name":"Tea","stock":1,"notes":"hi"}"#),
        ] {
            let status = site.ask(&Method::PUT, path, "application/json", body.into()).0;
            assert_eq!(status, StatusCode::OK);
        }
        Mutex::new(site)
    })
}

impl Site {
    fn ask(&self, method: &Method, uri: &str, kind: &str, body: Vec<u8>) -> (StatusCode, Vec<u8>) {
        let request = Request::builder().method(method).uri(uri);
        let request = request.header(header::CONTENT_TYPE, kind).body(Body::from(body));
        let request = request.expect("the path was tried");
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
            (status, bytes.into())
        })
    }
}

/// A request: a byte for the method, the path and query up to a line end, the body. It is answered, never with a
/// fault of the program, and the site goes on.
fn api(input: &[u8]) {
    let Some((how, rest)) = input.split_first() else { return };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (uri, body) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
    let Ok(uri) = std::str::from_utf8(uri) else { return };
    // What hyper refuses never comes here.
    if !uri.starts_with('/') || uri.parse::<axum::http::Uri>().is_err() {
        return;
    }
    // These take their time, and take no parameters.
    if uri.starts_with("/v1/rebuild") || uri.starts_with("/v1/verify") {
        return;
    }
    let method = &METHODS[usize::from(how & 0x7f) % METHODS.len()];
    let kind = if how & 0x80 == 0 { "application/json" } else { "application/x-ndjson" };
    let site = site().lock().unwrap_or_else(PoisonError::into_inner);
    let (status, answer) = site.ask(method, uri, kind, body.to_vec());
    assert!(!status.is_server_error(), "{method} {uri}: {status}");
    if !status.is_success() {
        let error: Value = serde_json::from_slice(&answer).expect("an error in JSON");
        assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string());
    }
    let (status, _) = site.ask(&Method::GET, "/readyz", "", Vec::new());
    assert_eq!(status, StatusCode::OK);
}

fn seeds() -> Vec<Vec<u8>> {
    let requests: [(u8, &str, &str); 19] = [
        (0, "/v1/status", ""),
        (0, "/v1/records/products/tea?meta=true", ""),
        (0, "/v1/records/products?limit=10&after=a%2Fb", ""),
        (0, "/v1/conflicts?collection=products&limit=1&after=products%2Ftea", ""),
        (0, "/v1/conflicts?collection=products&id=tea", ""),
        (0, "/v1/digest?collection=products", ""),
        (0, "/v1/collections/products/count", ""),
        (1, "/v1/records/products/t%C3%A9%00", r#"{"a":[1,{"b":null}]}"#),
        (1, "/v1/records/products/tea", r#"{"stock":{"$inc":2},"name":"x"}"#),
        (2, "/v1/records/products/tea", r#"{"stock":{"$inc":2},"notes":"ho"}"#),
        (3, "/v1/records/products/tea", ""),
        (4, "/v1/records/products/tea/undelete", ""),
        (0x84, "/v1/import/sales", "{\"id\":\"1\",\"fields\":{\"a\":1}}\nnope\n"),
        (1, "/v1/schemas/sales", r#"{"a":"integer","b":"decimal required"}"#),
        (4, "/v1/invites", r#"{"role":"writer","addresses":["/ip4/1.2.3.4/tcp/1"]}"#),
        (4, "/v1/join", r#"{"ticket":"branchline-ticket-1-AAAA"}"#),
        (
            0,
            "/v1/records/products?where=stock%3E0%20and%20name%20starts%20with%20'T'&order=-stock",
            "",
        ),
        (0, "/v1/records/products?order=name&after=CAECAwQFBgcIAANhYmM", ""),
        (0, "/v1/summary/products?by=name&sum=stock&max=name&where=not%20(a%20in(1,null))", ""),
    ];
    let seed = |(how, uri, body): (u8, &str, &str)| {
        [&[how], uri.as_bytes(), b"\n", body.as_bytes()].concat()
    };
    requests.map(seed).into()
}
