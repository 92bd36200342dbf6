//! `/v1/openapi.json` says what the API does: no less, no more, and nothing else.

mod connectors;

use std::collections::BTreeSet;

use automerge::transaction::Transactable as _;
use branchline_node::api::Code;
use branchline_tests::openapi::{Document, Exchange, Operation};
use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

const JSON: &str = "application/json";

/// Asks offices, and holds every answer against the description.
struct Asker {
    document: Document,
    /// The operations that have done what they are for.
    done: BTreeSet<Operation>,
}

impl Asker {
    fn send(
        &mut self,
        office: &Office,
        method: &str,
        path: &str,
        body: (&str, Vec<u8>),
    ) -> Exchange {
        let (address, token) = office.api();
        let named = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let request = client().request(named, format!("http://{address}{path}")).bearer_auth(token);
        let answer = request.header("content-type", body.0).body(body.1).send().unwrap();
        let content_type = answer.headers().get("content-type");
        let exchange = Exchange {
            method: method.to_owned(),
            path: path.to_owned(),
            status: answer.status().as_u16(),
            content_type: content_type.map(|kind| kind.to_str().unwrap().to_owned()),
            body: answer.bytes().unwrap().to_vec(),
        };
        let operation = self.document.check(&exchange);
        if exchange.status < 300 {
            self.done.insert(operation);
        }
        exchange
    }

    /// Asks for something, which must be done, and returns it.
    #[track_caller]
    fn ask(&mut self, office: &Office, method: &str, path: &str, body: Value) -> Value {
        let Exchange { status, body, .. } =
            self.send(office, method, path, (JSON, body.to_string().into_bytes()));
        assert!(status < 300, "{method} {path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap_or_default()
    }

    #[track_caller]
    fn get(&mut self, office: &Office, path: &str) -> Value {
        self.ask(office, "GET", path, Value::Null)
    }

    /// Asks for what must be refused with a code.
    #[track_caller]
    fn refused(&mut self, office: &Office, method: &str, path: &str, body: Value, code: &str) {
        let body = (JSON, body.to_string().into_bytes());
        let exchange = self.send(office, method, path, body);
        let answer: Value = serde_json::from_slice(&exchange.body).unwrap();
        assert_eq!(answer["error"]["code"], code, "{method} {path}");
    }
}

#[test]
fn every_operation_answers_as_described() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let mut north = Office::init(PROGRAM, folder.path(), "north", false);
    head.start();
    north.start();
    let mut asker = Asker { document: Document::of(&head), done: BTreeSet::new() };

    asker.refused(&north, "GET", "/v1/records/products", Value::Null, "no_network");
    let invited = asker.ask(&head, "POST", "/v1/invites", json!({"role": "writer"}));
    asker.ask(&north, "POST", "/v1/join", json!({"ticket": invited["ticket"]}));
    let schema = json!({"price": "decimal indexed", "stock": "counter"});
    asker.ask(&head, "PUT", "/v1/schemas/products", schema);
    for path in ["/v1/schemas", "/v1/schemas?limit=1", "/v1/schemas/products"] {
        asker.get(&head, path);
    }
    write(&mut asker, &head);
    events(&mut asker, &head);
    converge(&[&head, &north]);
    eventually("north's receipt has come", || {
        let why = head.get("/v1/status/why");
        why["causes"].as_array().unwrap().iter().all(|cause| cause["reason"] != "never_heard")
    });
    disagree(&head, &mut north);
    let why = asker.get(&head, "/v1/status/why");
    assert_eq!(why["in_sync"], false, "{why}");
    let unsent = asker.get(&head, "/v1/unsent?site=north");
    assert!(unsent["only_here"]["records"].as_u64() > Some(0), "{unsent}");
    let causes = why["causes"].as_array().unwrap();
    let entry = causes.iter().find_map(|cause| cause["first_entry"].as_str());
    let entry = entry.unwrap_or_else(|| panic!("no cause names an entry: {why}"));
    assert_eq!(asker.get(&head, &format!("/v1/log?entry={entry}"))["entries"][0]["entry"], entry);
    north.start();
    converge(&[&head, &north]);
    read(&mut asker, &head);
    settle(&mut asker, &head);
    carry(&mut asker, &head);
    connectors::bridge(&mut asker, &head);
    connectors::source(&mut asker, &head);
    connectors::sink(&mut asker, &head);

    asker.ask(&head, "POST", "/v1/sync", json!({"peer": "north"}));
    asker.ask(&head, "POST", "/v1/token/rotate", Value::Null);
    asker.ask(&head, "POST", "/v1/reload", Value::Null);
    let link = asker.ask(&head, "POST", "/v1/page/link", Value::Null);
    assert!(link["link"].as_str().is_some_and(|link| link.contains("/sign-in/")), "{link}");
    share(&mut asker, &head);
    tickets(&mut asker, &head);
    asker.ask(&head, "PATCH", "/v1/members/north", json!({"name": "nord", "role": "reader"}));
    asker.refused(&head, "PATCH", "/v1/members/south", json!({}), "member_not_found");
    asker.ask(&head, "DELETE", "/v1/members/nord?with_admitted=true", Value::Null);
    asker.get(&head, "/v1/members");
    let history = asker.get(&head, "/v1/members/history");
    assert_eq!(history["steps"].as_array().unwrap().last().unwrap()["what"], "revoked");
    asker.refused(&head, "DELETE", "/v1/members/head", Value::Null, "decision_refused");
    assert_eq!(asker.done, asker.document.operations());
}

fn tickets(asker: &mut Asker, head: &Office) {
    let wanted = json!({"role": "reader", "sites": 2, "note": "two shops"});
    let made = asker.ask(head, "POST", "/v1/invites", wanted);
    let open = asker.get(head, "/v1/invites");
    assert_eq!(open["invites"][0]["id"], made["id"], "{open}");
    asker.ask(head, "DELETE", "/v1/invites/two%20shops", Value::Null);
    assert_eq!(asker.get(head, "/v1/invites"), json!({"invites": []}));
    asker.refused(head, "DELETE", "/v1/invites/two%20shops", Value::Null, "ticket_not_found");
    asker.refused(head, "POST", "/v1/invites", json!({"sites": 0}), "bad_parameter");
    assert_eq!(asker.get(head, "/v1/members/head/admitted")["admitted"][0]["name"], "north");
}

fn write(asker: &mut Asker, head: &Office) {
    let tea = "/v1/records/products/tea";
    asker.ask(head, "PUT", tea, json!({"price": "2.50", "stock": {"$inc": 40}, "note": null}));
    asker.ask(head, "PUT", &format!("{tea}?meta=true"), json!({"price": "2.60", "tags": [1, "a"]}));
    asker.ask(head, "PATCH", tea, json!({"stock": {"$inc": -2}}));
    asker.ask(head, "DELETE", tea, Value::Null);
    asker.refused(head, "GET", tea, Value::Null, "record_not_found");
    asker.ask(head, "POST", &format!("{tea}/undelete"), Value::Null);
    let mut document = automerge::AutoCommit::new();
    document.put(automerge::ROOT, "price", "1.20").unwrap();
    let document = ("application/vnd.automerge", document.save());
    let rice = "/v1/records/products/rice/document";
    assert_eq!(asker.send(head, "POST", rice, document.clone()).status, 404);
    assert_eq!(asker.send(head, "POST", &format!("{rice}?new=true"), document).status, 200);
    asker.refused(head, "POST", rice, json!({}), "unsupported_media_type");
    asker.refused(head, "PUT", tea, json!([]), "bad_json");
    asker.refused(head, "PUT", "/v1/records/Products/1", json!({}), "bad_name");
    asker.refused(head, "PUT", tea, json!({"price": [1]}), "edit_refused");
    let edits = json!([
        {"op": "patch", "collection": "products", "id": "tea", "fields": {"price": "2.70"}},
        {"op": "put", "collection": "sales", "id": "1", "fields": {"quantity": 1}, "if_none_match": "*"},
    ]);
    let transaction = json!({"edits": edits});
    asker.ask(head, "POST", "/v1/transactions", transaction.clone());
    // What the second edit expects is no more so: the answer holds the record as it is.
    asker.refused(head, "POST", "/v1/transactions", transaction, "precondition_failed");
    let lines = "{\"id\":\"2\",\"fields\":{\"quantity\":2}}\n{\"id\":\"3\"}\n";
    let lines = ("application/x-ndjson", lines.as_bytes().to_vec());
    assert_eq!(asker.send(head, "POST", "/v1/import/sales", lines).status, 200);
}

fn events(asker: &mut Asker, head: &Office) {
    let path = "/v1/events/ledger";
    let event = |amount: &str| json!({"id": "1", "type": "paid", "aggregate_id": "order 7", "data": {"amount": amount}});
    let store = json!({"events": [event("12.50")]});
    asker.refused(head, "POST", path, store.clone(), "no_events");
    asker.ask(head, "PUT", "/v1/schemas/ledger", json!({"events": true}));
    asker.ask(head, "POST", path, store);
    asker.refused(head, "POST", path, json!({"events": [event("9")]}), "event_exists");
    asker.refused(head, "POST", path, json!({"events": []}), "bad_parameter");
    asker.refused(head, "DELETE", "/v1/records/ledger/1", Value::Null, "event_exists");
    let wrong = json!({"type": "paid", "aggregate_id": "order 7"});
    asker.refused(head, "PUT", "/v1/records/ledger/2", wrong, "edit_refused");
    asker.refused(head, "PUT", "/v1/schemas/ledger", json!({}), "schema_refused");
    let page = asker.get(head, &format!("{path}?limit=5"));
    assert_eq!(page["events"][0]["data"], json!({"amount": "12.50"}), "{page}");
    eventually("the index is built", || {
        let status = head.get("/v1/status");
        let indexes = status["indexes"].as_array().unwrap();
        indexes.iter().any(|index| index["collection"] == "ledger" && index["state"] == "ready")
    });
    let page = asker.get(head, &format!("{path}?aggregate_id=order%207&since=start"));
    assert_eq!(page["events"].as_array().unwrap().len(), 1, "{page}");
    asker.get(head, &format!("{path}/latest"));
    asker.get(head, &format!("{path}/altered?limit=5"));
    asker.refused(head, "GET", &format!("{path}?since=nowhere"), Value::Null, "bad_cursor");
    let wait = format!("{path}?aggregate_id=order%207&wait=1s");
    asker.refused(head, "GET", &wait, Value::Null, "bad_parameter");
}

/// Two prices for the same product. Leaves north stopped.
fn disagree(head: &Office, north: &mut Office) {
    assert_eq!(north.stop(), 0);
    for (office, price) in [(head, "3.10"), (&*north, "3.20")] {
        let patch = json!({ "price": price }).to_string();
        office.run(["patch", "products", "tea", &patch]).ok();
    }
}

fn read(asker: &mut Asker, head: &Office) {
    let tea = "/v1/records/products/tea";
    let conflicts = asker.get(head, &format!("{tea}?meta=true"))["conflicts"].take();
    assert_eq!(conflicts[0]["values"].as_array().unwrap().len(), 2);
    for path in [
        tea,
        &format!("{tea}/history"),
        &format!("{tea}/diff"),
        &format!("{tea}/receipts"),
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/openapi.json",
        "/v1/status",
        "/v1/log?limit=3",
        "/v1/members",
        "/v1/peers",
        "/v1/records/sales?limit=1",
        "/v1/records/products?where=price%20%3E%201&order=-price",
        "/v1/summary/sales?by=quantity&sum=quantity&avg=quantity&min=quantity&max=quantity",
        "/v1/collections",
        "/v1/collections/sales/count",
        "/v1/collections/sales/deleted?limit=1",
        "/v1/collections/sales/kinds",
        "/v1/schemas/products/check?limit=5",
        "/v1/records/sales?where=quantity%20starts%20with%20%27x%27",
        "/v1/digest",
        "/v1/conflicts",
        "/v1/conflicts?collection=products&id=tea",
        "/v1/conflicts?deleted=true",
        "/v1/changes?limit=4",
        "/v1/changes?since=now",
    ] {
        asker.get(head, path);
    }
    for (path, code) in [
        ("/v1/records/products?where=price%20%3E%20%27x%27", "bad_query"),
        ("/v1/records/products?limit=0", "bad_parameter"),
        ("/v1/changes?since=nowhere", "bad_cursor"),
        ("/v1/schemas/nothing", "schema_not_found"),
        ("/v1/schemas/nothing/check", "schema_not_found"),
        ("/v1/records/products/nothing/history", "record_not_found"),
        ("/v1/records/products/tea?at=nothing", "bad_parameter"),
    ] {
        asker.refused(head, "GET", path, Value::Null, code);
    }
}

fn settle(asker: &mut Asker, head: &Office) {
    let path = "/v1/conflicts/settle";
    for (request, code) in [
        (json!({"collection": "products"}), "bad_parameter"),
        (json!({"collection": "products", "take_shown": true, "take_site": "x"}), "bad_parameter"),
        (json!({"collection": "products", "value": 1}), "bad_parameter"),
        (json!({"collection": "products", "take_shown": true, "if_match": "x"}), "bad_parameter"),
        (json!({"collection": "products", "take_shown": true, "where": "price >"}), "bad_query"),
        (
            json!({"collection": "products", "id": "tea", "take_shown": true, "if_match": "00".repeat(16)}),
            "precondition_failed",
        ),
    ] {
        asker.refused(head, "POST", path, request, code);
    }
    let of = |site: &str| json!({"collection": "products", "take_site": site});
    asker.refused(head, "POST", path, of("nobody"), "bad_parameter");
    let mut taken = of("head");
    taken["where"] = json!("price > 1");
    let settled = asker.ask(head, "POST", path, taken);
    assert_eq!(settled["settled"][0]["value"], "3.10", "{settled}");
    assert_eq!(asker.get(head, "/v1/conflicts")["conflicts"], json!([]));
}

fn share(asker: &mut Asker, head: &Office) {
    for name in ["tills", "safe"] {
        asker.ask(head, "POST", "/v1/spaces", json!({ "name": name }));
        asker.ask(head, "PUT", &format!("/v1/spaces/{name}/sites/north"), json!({"role": "admin"}));
    }
    asker.ask(head, "PUT", "/v1/records/sales/9?space=tills", json!({"quantity": 3}));
    asker.get(head, "/v1/records/sales/9?space=tills&meta=true");
    asker.refused(head, "GET", "/v1/records/sales?space=none", Value::Null, "space_not_found");
    asker.get(head, "/v1/spaces");
    asker.get(head, "/v1/spaces/tills");
    asker.ask(head, "DELETE", "/v1/spaces/tills/sites/north", Value::Null);
    asker.ask(head, "POST", "/v1/spaces/safe/leave", Value::Null);
}

fn carry(asker: &mut Asker, head: &Office) {
    let frontier = asker.get(head, "/v1/frontier");
    asker.ask(head, "POST", "/v1/bundle", json!({ "since": frontier }));
    let whole = asker.send(head, "POST", "/v1/bundle", (JSON, b"{}".to_vec()));
    let bundle = ("application/octet-stream", whole.body);
    assert_eq!(asker.send(head, "POST", "/v1/merge", bundle).status, 200);
    let bundle = ("application/octet-stream", b"no bundle".to_vec());
    assert_eq!(asker.send(head, "POST", "/v1/merge", bundle).status, 400);
    let nowhere = "/v1/verify/documents?after=nowhere";
    asker.refused(head, "POST", nowhere, Value::Null, "bad_cursor");
    for path in ["/v1/backup", "/v1/verify", "/v1/verify/documents", "/v1/rebuild"] {
        asker.ask(head, "POST", path, Value::Null);
    }
}

#[test]
fn what_is_not_described_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let document = Document::of(&head);
    let (address, token) = head.api();
    let operations = document.operations();
    assert!(!operations.is_empty());
    let paths: BTreeSet<_> = operations.iter().map(|(_, path)| path).collect();
    for path in paths {
        let asked = format!("http://{address}{}", path.replace(['{', '}'], ""));
        for method in ["GET", "PUT", "POST", "PATCH", "DELETE"] {
            let operation = (method.to_ascii_lowercase(), path.clone());
            if !operations.contains(&operation) {
                let named = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
                let answer = client().request(named, &asked).bearer_auth(&token).send().unwrap();
                assert_eq!(answer.status(), 405, "{method} {path}");
            }
        }
    }
}

/// Anyone who makes a client of the description, and a gateway that enforces it, rely on its bounds.
#[test]
fn what_the_description_excludes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    head.run(["put", "_schema", "products", r#"{"price": "decimal"}"#]).ok();
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    let document = Document::of(&head);
    let (address, token) = head.api();
    let client = client();
    let ask = |path: &str, query: &[(&str, &str)]| {
        let mut asked = reqwest::Url::parse(&format!("http://{address}{path}")).unwrap();
        if !query.is_empty() {
            asked.query_pairs_mut().extend_pairs(query);
        }
        client.get(asked).bearer_auth(&token).send().unwrap().status().as_u16()
    };
    let (mut refused, mut wrong) = (0, Vec::new());
    for (_, path) in document.operations().iter().filter(|(method, _)| method == "get") {
        let place = path.replace("{collection}", "products").replace("{id}", "tea");
        if place.contains('{') || ask(&place, &[]) != 200 {
            continue;
        }
        let parameters = document.json()["paths"][path]["get"]["parameters"].as_array().cloned();
        let parameters = parameters.unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let number = |bound: &str| schema[bound].as_i64();
            let beyond = [
                number("maxLength").map(|max| "a".repeat(max as usize + 1)),
                number("minimum").map(|min| (min - 1).to_string()),
                number("maximum").map(|max| (max + 1).to_string()),
                schema["pattern"].is_string().then(|| "\u{1}".to_owned()),
                (schema["type"] == "boolean").then(|| "perhaps".to_owned()),
            ];
            for value in beyond.into_iter().flatten() {
                let status = ask(&place, &[(name, &value)]);
                refused += 1;
                if !(400..500).contains(&status) {
                    let shown: String = value.chars().take(20).collect();
                    wrong.push(format!("{path}?{name}={shown:?}: {status}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 60, "only {refused} values were tried");
}

#[test]
fn the_description_holds_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let document = Document::of(&head);
    let json = document.json();
    assert_eq!(json["openapi"], "3.1.0");
    let codes = &json["components"]["schemas"]["ErrorDetail"]["properties"]["code"];
    let texts: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(codes["enum"], json!(texts));
    for text in texts {
        assert!(codes["description"].as_str().unwrap().contains(&format!("| `{text}` |")));
    }
    let mut ids = BTreeSet::new();
    for (method, path) in document.operations() {
        let operation = &json["paths"][&path][&method];
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{operation}");
        assert!(operation["summary"].is_string() && operation["responses"]["default"].is_object());
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let in_path = parameters.iter().filter(|parameter| parameter["in"] == "path");
        let described: BTreeSet<_> = in_path.map(|found| found["name"].as_str().unwrap()).collect();
        let named = path.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        assert_eq!(described, named.collect(), "{method} {path}");
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            assert_eq!(parameter["required"], false, "{method} {path}: {parameter}");
            assert!(parameter["description"].is_string(), "{method} {path}: {parameter}");
        }
    }
    references(json, &mut |reference| {
        let place = reference.strip_prefix('#').expect("a place in the description");
        assert!(json.pointer(place).is_some(), "{reference} leads nowhere");
    });
}

fn references(json: &Value, check: &mut impl FnMut(&str)) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "$ref" => check(text),
                    _ => references(value, check),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, check)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
