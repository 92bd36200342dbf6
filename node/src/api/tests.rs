//! The API over a site in a temporary folder, without sockets.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::{BODY_BYTES_MAX, Code, router};
use crate::init;
use crate::{Config, Node};

struct TestSite {
    node: Node,
    router: Router,
    _folder: TempDir,
}

async fn site(found: bool) -> TestSite {
    let folder = tempfile::tempdir().unwrap();
    init(folder.path(), "office", found).unwrap();
    let node = Node::open(Config::new(folder.path())).await.unwrap();
    let router = router(node.handle());
    TestSite { node, router, _folder: folder }
}

impl TestSite {
    async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(method, path, "application/json", body.to_string()).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, Value::Null).await
    }
}

#[tokio::test]
async fn a_record_lives_dies_and_comes_back() {
    let site = site(true).await;
    let path = "/v1/records/products/tea%2Fgreen%20%C3%BC";
    let (status, _) = site.get(path).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let tea = json!({"name": "Tea", "stock": 5});
    assert_eq!(site.ask(Method::PUT, path, tea.clone()).await, (StatusCode::OK, tea.clone()));
    let patched = json!({"stock": 5, "origin": {"land": "IN"}});
    let patch = json!({"name": null, "origin": {"land": "IN"}});
    assert_eq!(site.ask(Method::PATCH, path, patch).await.1, patched);
    let (_, meta) = site.get(&format!("{path}?meta=true")).await;
    assert_eq!((&meta["id"], &meta["fields"]), (&json!("tea/green ü"), &patched));
    assert_eq!(site.get("/v1/collections/products/count").await.1, json!({"count": 1}));

    assert_eq!(site.ask(Method::DELETE, path, Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(site.get(path).await.1["error"]["code"], "record_not_found");
    assert_eq!(site.ask(Method::PATCH, path, tea).await.0, StatusCode::NOT_FOUND);
    let undeleted = site.ask(Method::POST, &format!("{path}/undelete"), Value::Null).await;
    assert_eq!(undeleted, (StatusCode::OK, patched));
    site.node.shutdown().await;
}

#[tokio::test]
async fn every_refusal_has_the_same_shape() {
    let site = site(true).await;
    let record = "/v1/records/products/1";
    let json = "application/json";
    let large = " ".repeat(BODY_BYTES_MAX + 1);
    for (method, path, kind, body, code) in [
        (Method::GET, "/v1/nothing", json, "", Code::NotFound),
        (Method::POST, "/v1/status", json, "", Code::MethodNotAllowed),
        (Method::PUT, record, "text/plain", "{}", Code::UnsupportedMediaType),
        (Method::PUT, record, json, large.as_str(), Code::BodyTooLarge),
        (Method::PUT, record, json, "{\"a\":\n x}", Code::BadJson),
        (Method::PUT, record, json, "[]", Code::BadJson),
        (Method::PUT, "/v1/records/Products/1", json, "{}", Code::BadName),
        (Method::PUT, record, json, "{\"_a\": 1}", Code::BadName),
        (Method::GET, "/v1/records/products/%ff", json, "", Code::BadParameter),
        (Method::GET, "/v1/records/products?limit=1001", json, "", Code::BadParameter),
        (Method::GET, "/v1/records/products?offset=1", json, "", Code::BadParameter),
        (Method::GET, "/v1/records/products?where=price%20%3D", json, "", Code::BadQuery),
        (Method::GET, "/v1/records/products?order=a,,b", json, "", Code::BadQuery),
        (Method::GET, "/v1/records/products?order=a&after=b", json, "", Code::BadCursor),
        (Method::GET, "/v1/summary/products?sum=a%20b", json, "", Code::BadQuery),
        (Method::GET, "/v1/summary/products?count=a", json, "", Code::BadParameter),
        (Method::PUT, "/v1/schemas/products", json, "{\"a\": \"money\"}", Code::SchemaRefused),
        (Method::GET, "/v1/schemas/products", json, "", Code::SchemaNotFound),
        (Method::POST, "/v1/invites", json, "{}", Code::NoAddress),
        (Method::POST, "/v1/join", json, "{\"ticket\": \"x\"}", Code::BadTicket),
    ] {
        let (status, answer) = site.send(method, path, kind, body.to_owned()).await;
        let error = &answer["error"];
        assert_eq!(
            (status, error["code"].as_str()),
            (code.status(), Some(code.as_str())),
            "{path}"
        );
        assert!(error["message"].is_string() && error.get("hint").is_some(), "{path}: {answer}");
    }
    let (_, answer) = site.send(Method::PUT, record, json, "{\"a\":\n x}".to_owned()).await;
    assert!(answer["error"]["message"].as_str().unwrap().ends_with("at line 2 column 2"));
    site.node.shutdown().await;
}

#[tokio::test]
async fn an_import_takes_the_good_lines_and_names_the_others() {
    let site = site(true).await;
    let body =
        "{\"id\":\"1\",\"fields\":{\"a\":1}}\n\nnope\n{\"id\":\"2\",\"fields\":{\"_b\":1}}\n";
    let send =
        || site.send(Method::POST, "/v1/import/lines", "application/x-ndjson", body.to_owned());
    let (status, answer) = send().await;
    assert_eq!((status, &answer["created_or_changed"]), (StatusCode::OK, &json!(1)));
    let lines: Vec<_> = answer["rejected"].as_array().unwrap().iter().map(|r| &r["line"]).collect();
    assert_eq!(lines, [3, 4]);
    assert_eq!(send().await.1["unchanged"], 1);
    site.send(Method::DELETE, "/v1/records/lines/1", "application/json", String::new()).await;
    let (_, answer) = send().await;
    let refused = &answer["rejected"][0];
    assert_eq!(
        (&refused["line"], &refused["error"]["code"]),
        (&json!(1), &json!("record_not_found"))
    );
    assert_eq!(refused["error"]["message"], "record lines/1 is deleted");
    let back = "{\"id\":\"1\",\"fields\":{\"b\":2}}\n".to_owned();
    let path = "/v1/import/lines?undelete=true";
    let (_, answer) = site.send(Method::POST, path, "application/x-ndjson", back).await;
    assert_eq!(answer["created_or_changed"], 1);
    assert_eq!(site.get("/v1/records/lines/1").await.1, json!({"b": 2}));
    site.node.shutdown().await;
}

#[tokio::test]
async fn pages_lead_through_a_collection() {
    let site = site(true).await;
    let lines: Vec<_> =
        (0..100).map(|id| json!({"id": format!("{id:03}"), "fields": {"n": id}})).collect();
    let body = lines.iter().map(|line| format!("{line}\n")).collect();
    site.send(Method::POST, "/v1/import/numbers", "application/x-ndjson", body).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = site.get(&format!("/v1/records/numbers?limit=33{after}")).await;
        found.extend(page["records"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, lines);
    site.node.shutdown().await;
}

#[tokio::test]
async fn lists_are_filtered_ordered_and_summed_up() {
    let site = site(true).await;
    let schema = json!({"price": "decimal", "stock": "counter"});
    site.ask(Method::PUT, "/v1/schemas/products", schema).await;
    for (id, fields) in [
        ("tea", json!({"name": "Tea", "price": "2.50", "stock": 3, "shelf": 1})),
        ("rice", json!({"name": "Rice", "price": "11.90", "stock": 4, "shelf": 1})),
        ("salt", json!({"name": "Salt", "price": "0.80", "stock": 5, "shelf": 2})),
        ("oil", json!({"name": "Oil", "price": "9.00", "stock": 0, "shelf": 2})),
    ] {
        site.ask(Method::PUT, &format!("/v1/records/products/{id}"), fields).await;
    }
    let list = "/v1/records/products?where=price%20%3E%201&order=-price&limit=2";
    let ids = |answer: &Value| {
        let records = answer["records"].as_array().unwrap().iter();
        records.map(|record| record["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (_, first) = site.get(list).await;
    assert_eq!(ids(&first), ["rice", "oil"]);
    assert_eq!((&first["scanned"], &first["truncated"]), (&json!(4), &json!(false)));
    let next = first["next"].as_str().unwrap();
    let (_, second) = site.get(&format!("{list}&after={next}")).await;
    assert_eq!((ids(&second), &second["next"]), (vec!["tea".to_owned()], &Value::Null));
    let other = format!("/v1/records/products?order=price&after={next}");
    assert_eq!(site.get(&other).await.1["error"]["code"], "bad_cursor");

    let (_, wrong) = site.get("/v1/records/products?where=price%20%3E%20%27x%27").await;
    assert_eq!(wrong["error"]["at"], json!({"parameter": "where", "offset": 8}));
    let (_, wrong) = site.get("/v1/records/products?order=price,shlef").await;
    assert_eq!(wrong["error"]["at"], json!({"parameter": "order", "offset": 6}));

    let (_, found) = site.get("/v1/summary/products?by=shelf&sum=price,stock&max=name").await;
    assert_eq!(
        found["groups"],
        json!([
            {"by": {"shelf": 1}, "count": 2, "sum": {"price": "14.40", "stock": 7}, "max": {"name": "Tea"}, "skipped": {}},
            {"by": {"shelf": 2}, "count": 2, "sum": {"price": "9.80", "stock": 5}, "max": {"name": "Salt"}, "skipped": {}},
        ])
    );
    site.node.shutdown().await;
}

#[tokio::test]
async fn a_site_without_a_network_says_how_to_get_one() {
    let site = site(false).await;
    for path in ["/v1/records/products", "/v1/digest", "/v1/conflicts", "/v1/schemas"] {
        let (status, answer) = site.get(path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (StatusCode::CONFLICT, &json!("no_network"))
        );
        assert!(answer["error"]["hint"].as_str().unwrap().contains("branchline join"));
    }
    assert_eq!(site.get("/v1/status").await.1["network"], Value::Null);
    site.node.shutdown().await;
}
