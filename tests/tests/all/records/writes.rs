//! What a writer may ask for over HTTP: conditions, repeats, transactions, and other offices' receipts.

use std::cell::RefCell;
use std::path::Path;

use branchline_tests::wire::Wire;
use branchline_tests::{Office, client, converge, eventually};
use reqwest::Method;
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    let mut office = Office::init(PROGRAM, folder, name, name == "head");
    office.start();
    office
}

fn send(
    office: &Office,
    method: Method,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &Value,
) -> Response {
    let (address, token) = office.api();
    let mut request = client().request(method, format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.bearer_auth(token).json(body).send().unwrap()
}

fn put(office: &Office, path: &str, headers: &[(&'static str, &str)], body: &Value) -> Response {
    send(office, Method::PUT, path, headers, body)
}

fn transact(office: &Office, headers: &[(&'static str, &str)], edits: &Value) -> (u16, Value) {
    let body = json!({ "edits": edits });
    let answer = send(office, Method::POST, "/v1/transactions", headers, &body);
    (answer.status().as_u16(), answer.json().unwrap())
}

fn header(answer: &Response, name: &str) -> Option<String> {
    Some(answer.headers().get(name)?.to_str().unwrap().to_owned())
}

fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().unwrap();
    (status, body["error"]["code"].as_str().unwrap_or("none").to_owned())
}

const TEA: &str = "/v1/records/products/tea";

#[test]
fn a_write_is_made_only_against_the_version_that_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let created = put(&head, TEA, &[("if-none-match", "*")], &json!({"price": "2.50"}));
    let etag = header(&created, "etag").unwrap();
    assert_eq!(code(put(&head, TEA, &[("if-none-match", "*")], &json!({}))).0, 412);
    let changed = put(&head, TEA, &[("if-match", &etag)], &json!({"price": "2.60"}));
    assert_eq!(changed.status(), 200);
    let now = header(&changed, "etag").unwrap();
    let late = put(&head, TEA, &[("if-match", &etag)], &json!({"price": "9.99"}));
    assert_eq!(late.status(), 412);
    let error = late.json::<Value>().unwrap()["error"].clone();
    assert_eq!(error["code"], "precondition_failed");
    assert_eq!(
        error["current"],
        json!({"etag": now, "fields": {"price": "2.60"}, "deleted": false})
    );
    // Any of several will do; a tag that is none never does.
    let either = format!("{etag}, {now}");
    assert_eq!(put(&head, TEA, &[("if-match", &either)], &json!({"price": "2.70"})).status(), 200);
    assert_eq!(put(&head, TEA, &[("if-match", "\"x\"")], &json!({})).status(), 412);
    assert_eq!(put(&head, TEA, &[("if-none-match", "\"x\"")], &json!({})).status(), 400);
    let gone = send(&head, Method::DELETE, TEA, &[("if-match", &now)], &json!(null));
    assert_eq!(gone.status(), 412);
    assert_eq!(send(&head, Method::DELETE, TEA, &[("if-match", "*")], &json!(null)).status(), 204);
    assert_eq!(put(&head, TEA, &[("if-match", "*")], &json!({})).status(), 412);
}

#[test]
fn of_many_writers_who_read_the_same_exactly_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let etag = header(&put(&head, TEA, &[], &json!({"n": 0})), "etag").unwrap();
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=16)
            .map(|n| {
                let (head, etag) = (&head, &etag);
                scope
                    .spawn(move || put(head, TEA, &[("if-match", etag)], &json!({"n": n})).status())
            })
            .collect();
        writers
            .into_iter()
            .filter_map(|writer| writer.join().unwrap().is_success().then_some(()))
            .count()
    });
    assert_eq!(written, 1);
}

#[test]
fn a_retried_request_changes_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let sell = |head: &Office, key: &str, count: i32| {
        let body = json!({"stock": {"$inc": -count}});
        send(head, Method::PATCH, TEA, &[("idempotency-key", key)], &body)
    };
    put(&head, TEA, &[], &json!({"stock": {"$inc": 40}}));
    let first = sell(&head, "sale-1", 3);
    assert_eq!(header(&first, "idempotency-replayed"), None);
    assert_eq!(first.json::<Value>().unwrap()["stock"], 37);
    for restart in [false, true] {
        if restart {
            head.kill();
            head.start();
        }
        let again = sell(&head, "sale-1", 3);
        assert_eq!(header(&again, "idempotency-replayed").as_deref(), Some("true"));
        assert_eq!(again.json::<Value>().unwrap()["stock"], 37);
    }
    assert_eq!(code(sell(&head, "sale-1", 4)), (422, "idempotency_key_reused".to_owned()));
    assert_eq!(sell(&head, "sale-2", 3).json::<Value>().unwrap()["stock"], 34);
    assert_eq!(code(sell(&head, &"x".repeat(256), 1)).1, "bad_parameter");
    // Which of two keys counts would be a guess.
    let two = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let refused = send(&head, Method::PATCH, TEA, &two, &json!({"stock": {"$inc": -1}}));
    assert_eq!(code(refused), (400, "bad_parameter".to_owned()));
}

#[test]
fn a_version_that_is_known_already_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let etag = header(&put(&head, TEA, &[], &json!({"price": "2.50"})), "etag").unwrap();
    let read =
        |known: &str| send(&head, Method::GET, TEA, &[("if-none-match", known)], &json!(null));
    for known in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
        let unchanged = read(known);
        assert_eq!(
            (unchanged.status().as_u16(), header(&unchanged, "etag").as_ref()),
            (304, Some(&etag))
        );
        assert_eq!(unchanged.text().unwrap(), "");
    }
    for unknown in ["\"x\"", "x", ""] {
        assert_eq!(read(unknown).status(), 200, "{unknown}");
    }
    put(&head, TEA, &[], &json!({"price": "2.60"}));
    assert_eq!(read(&etag).json::<Value>().unwrap()["price"], "2.60");
    let missing = send(
        &head,
        Method::GET,
        "/v1/records/products/rice",
        &[("if-none-match", "*")],
        &json!(null),
    );
    assert_eq!(missing.status(), 404);
}

#[test]
fn who_waits_is_refused_before_the_write_or_told_that_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    north.join(&head);
    put(&head, TEA, &[], &json!({"n": 0}));
    converge(&[&head, &north]);
    assert_eq!(north.stop(), 0);
    let (address, token) = head.api();
    let poll = format!(
        "GET /v1/changes?since=now&wait=50s HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let waiting = || {
        let mut wire = Wire::to(address);
        wire.send(poll.as_bytes());
        wire
    };
    let polls = RefCell::new((0..128).map(|_| waiting()).collect::<Vec<_>>());
    let path = format!("{TEA}?wait=site:north&timeout=1s");
    eventually("as many wait as may", || {
        let answer = put(&head, &path, &[("if-match", "\"x\"")], &json!({"n": "late"}));
        let is_full = code(answer) == (503, "too_many_waiting".to_owned());
        if !is_full {
            // On a busy machine some connections make room for others before they are heard.
            polls.borrow_mut().push(waiting());
        }
        is_full
    });
    assert_eq!(code(put(&head, &path, &[], &json!({"n": "late"}))).0, 503);
    assert_eq!(head.get(TEA)["n"], 0, "what is refused is not written");
    drop(polls);
    // A record that somebody deletes meanwhile, and a node that stops meanwhile: it is written all the same.
    eventually("there is room again", || put(&head, &path, &[], &json!({"n": 1})).status() == 202);
    let waits = format!("{TEA}?wait=site:north&timeout=50s");
    let answers = std::thread::scope(|scope| {
        let writer = |n: u32| put(&head, &waits, &[], &json!({"n": n}));
        let waiting = scope.spawn(move || writer(2));
        eventually("it is written", || head.get(TEA)["n"] == 2);
        assert_eq!(send(&head, Method::DELETE, TEA, &[], &json!(null)).status(), 204);
        head.signal("TERM");
        waiting.join().unwrap()
    });
    assert_eq!(answers.status(), 202);
    assert_eq!(answers.json::<Value>().unwrap()["n"], 2);
    assert_eq!(head.ended(), 0);
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    put(&head, TEA, &[], &json!({"stock": {"$inc": 40}}));
    let sale = json!([
        {"op": "patch", "collection": "products", "id": "tea", "fields": {"stock": {"$inc": -2}}},
        {"op": "put", "collection": "sales", "id": "1", "fields": {"product": "tea", "quantity": 2},
         "if_none_match": "*"},
    ]);
    let key = [("idempotency-key", "till-1/1")];
    let (status, answer) = transact(&head, &key, &sale);
    assert_eq!(
        (status, &answer["records_changed"], &answer["repeat"]),
        (200, &json!(2), &json!(false))
    );
    assert_eq!(answer["entry"]["site"], head.status()["site"]);
    let etag = answer["records"][0]["etag"].as_str().unwrap();
    assert_eq!(head.get(TEA)["stock"], 38);
    let (status, repeat) = transact(&head, &key, &sale);
    assert_eq!(
        (status, &repeat["repeat"], &repeat["entry"]),
        (200, &json!(true), &answer["entry"])
    );

    // The same without the key: the sale is there already, so the stock stays too.
    let (status, refused) = transact(&head, &[], &sale);
    let error = &refused["error"];
    assert_eq!((status, &error["code"]), (412, &json!("precondition_failed")));
    assert!(error["message"].as_str().unwrap().starts_with("edit 2 (sales/1): "), "{error}");
    assert_eq!(head.get(TEA)["stock"], 38);

    let (status, _) = transact(
        &head,
        &[],
        &json!([
            {"op": "delete", "collection": "products", "id": "tea", "if_match": etag},
            {"op": "merge", "collection": "products", "id": "rice", "fields": {}},
        ]),
    );
    assert_eq!(status, 200);
    for (edits, code) in [
        (json!([]), "bad_parameter"),
        (json!([{"op": "put", "collection": "a", "id": "1"}]), "bad_parameter"),
        (json!([{"op": "delete", "collection": "a", "id": "1", "fields": {}}]), "bad_parameter"),
        (json!([{"op": "burn", "collection": "a", "id": "1"}]), "bad_json"),
        (json!([{"op": "put", "collection": "A!", "id": "1", "fields": {}}]), "bad_name"),
        (json!([{"op": "undelete", "collection": "a", "id": "1"}]), "record_not_found"),
    ] {
        assert_eq!(transact(&head, &[], &edits).1["error"]["code"], code, "{edits}");
    }
    let many =
        (0..16_385).map(|id| json!({"op": "undelete", "collection": "a", "id": id.to_string()}));
    assert_eq!(transact(&head, &[], &many.collect()).1["error"]["code"], "transaction_too_large");
    let long = "x".repeat(60_000);
    let edit = |id| json!({"op": "put", "collection": "a", "id": id, "fields": {"text": long}});
    let large = (0..80).map(|id: usize| edit(id.to_string())).collect();
    assert_eq!(transact(&head, &[], &large).1["error"]["code"], "transaction_too_large");
    assert_eq!(head.count("a"), 0);
}

#[test]
fn a_writer_can_wait_until_other_offices_hold_the_write() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let mut north = office(folder.path(), "north");
    north.join(&head);
    put(&head, TEA, &[], &json!({"n": 0}));
    converge(&[&head, &north]);
    for wait in ["received:1", "site:north"] {
        let path = format!("{TEA}?wait={wait}&timeout=30s");
        let answer = put(&head, &path, &[], &json!({"n": wait}));
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "branchline-received").as_deref()),
            (200, Some("1"))
        );
        assert_eq!(north.get(TEA)["n"], *wait);
    }
    // What changes nothing is awaited all the same.
    let path = format!("{TEA}?wait=site:north");
    assert_eq!(put(&head, &path, &[], &json!({"n": "site:north"})).status(), 200);
    for (query, expected) in [
        ("wait=site:nowhere", (422, "unknown_site")),
        ("wait=site:head", (422, "unknown_site")),
        ("wait=received:2", (400, "bad_parameter")),
        ("wait=received:0", (400, "bad_parameter")),
        ("wait=durable", (400, "bad_parameter")),
        ("wait=received:1&timeout=1h", (400, "bad_parameter")),
        ("timeout=1s", (400, "bad_parameter")),
    ] {
        let answer = code(put(&head, &format!("{TEA}?{query}"), &[], &json!({"n": "refused"})));
        assert_eq!((answer.0, answer.1.as_str()), expected, "{query}");
    }
    assert_eq!(head.get(TEA)["n"], "site:north", "who waits for nobody writes nothing");
    assert_eq!(north.stop(), 0);
    let late = put(&head, &format!("{TEA}?wait=site:north&timeout=300ms"), &[], &json!({"n": 5}));
    assert_eq!(
        (late.status().as_u16(), header(&late, "branchline-received").as_deref()),
        (202, Some("0"))
    );
    assert_eq!(late.json::<Value>().unwrap()["n"], 5, "the write stays");
}

/// Sends JSON as it is written, so that the site is the first that reads its numbers.
#[track_caller]
fn send_text(office: &Office, method: Method, path: &str, body: String) -> String {
    let (address, token) = office.api();
    let request = client().request(method, format!("http://{address}{path}")).bearer_auth(token);
    let answer = request.header("content-type", "application/json").body(body).send().unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().unwrap());
    answer.text().unwrap()
}

#[test]
fn a_number_keeps_its_digits_on_every_way_in_and_out() {
    const AMOUNTS: [&str; 4] = ["1234567890123456.78", "1.10", "0.1234567890123456789", "-0.50"];
    const WAYS: usize = 7;
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = Office::pair(PROGRAM, folder.path());
    let file = |name: String, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let schema = r#"{"money": {"amt": "decimal indexed", "n": "integer"}}"#;
    let schema = file("schema.json".to_owned(), schema.to_owned());
    head.run(["schema", "apply", &schema]).ok();

    for amount in AMOUNTS {
        let members = format!(r#""amt": {amount}, "n": 9007199254740993"#);
        let fields = format!("{{{members}}}");
        let id = |way: &str| format!("{way}{amount}");
        let path = |way: &str| format!("/v1/records/money/{way}{amount}");
        send_text(&head, Method::PUT, &path("put"), fields.clone());
        send_text(&head, Method::PUT, &path("patch"), "{}".to_owned());
        send_text(&head, Method::PATCH, &path("patch"), fields.clone());
        let edit = format!(
            r#"{{"op": "put", "collection": "money", "id": "edit{amount}", "fields": {fields}}}"#
        );
        send_text(&head, Method::POST, "/v1/transactions", format!(r#"{{"edits": [{edit}]}}"#));
        let line = format!(r#"{{"id": "line{amount}", "fields": {fields}}}"#);
        send_text(&head, Method::POST, "/v1/import/money", line);
        head.run(["put", "money", &id("command"), &fields]).ok();
        let line = format!(r#"{{"id": "jsonl{amount}", {members}}}"#);
        let lines = file(format!("{amount}.jsonl"), line);
        head.run(["import", "money", &lines, "--id", "id"]).ok();
        let rows = format!("id,amt,n\ncsv{amount},{amount},9007199254740993\n");
        let rows = file(format!("{amount}.csv"), rows);
        head.run(["import", "money", &rows, "--id", "id"]).ok();
    }
    converge(&[&head, &north]);

    let lines = folder.path().join("out.jsonl");
    north.run(["export", "money", "-o", lines.to_str().unwrap()]).ok();
    let exported = std::fs::read_to_string(&lines).unwrap();
    let shown = north.run(["get", "money", "put1.10"]).ok();
    assert!(shown.contains(r#""amt":"1.10","n":9007199254740993"#), "{shown}");
    for amount in AMOUNTS {
        let shown = format!(r#""amt":"{amount}""#);
        let listed = ["--json", "list", "money", "--where", &format!("amt = {amount}")];
        let listed = north.run(listed).ok();
        for text in [&exported, &listed] {
            assert_eq!(text.matches(&shown).count(), WAYS, "{amount}: {text}");
        }
    }
    let found = |filter: &str| {
        north.run(["--json", "list", "money", "--where", filter]).ok().lines().count()
    };
    assert_eq!(found("amt > 1234567890123456.779 and amt < 1.23456789012345679e15"), WAYS);
    assert_eq!(found("amt > 1234567890123456.78"), 0);
    assert_eq!(found("n > 9007199254740992 and n < 9007199254740994"), AMOUNTS.len() * WAYS);
    assert_eq!(found("n = 9007199254740992 or n = 9007199254740994"), 0);
    let sums = north.run(["--json", "summary", "money", "--sum", "amt,n"]).ok();
    assert!(sums.contains(r#""amt":"8641975230864202.5241975230864197523""#), "{sums}");
    assert!(sums.contains(r#""n":252201579132747804"#), "{sums}");
    let feed = north.get("/v1/changes?collection=money&limit=1000").to_string();
    for amount in AMOUNTS {
        assert!(feed.matches(&format!(r#""amt":"{amount}""#)).count() >= WAYS, "{amount}: {feed}");
    }
    assert!(!feed.contains("9007199254740992"), "{feed}");
}

#[test]
fn a_number_that_would_lose_digits_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let before = head.digest();
    for number in
        ["1234567890123456.78", "1e400", "18446744073709551615", "18446744073709551616", "1e-400"]
    {
        let fields = format!(r#"{{"amt": {number}}}"#);
        let error = head.run(["put", "money", "1", &fields]).fails(1);
        let shown = number.replace("e4", "e+4");
        assert!(error.contains("\"amt\"") && error.contains(&shown), "{error}");
        assert!(error.contains("hint:") && error.contains("decimal"), "{error}");
    }
    assert_eq!(head.digest(), before);

    // Whole numbers stay whole after a field held a fraction.
    head.run(["put", "money", "1", r#"{"amt": 1.5}"#]).ok();
    let shown = head.run(["patch", "money", "1", r#"{"amt": 9007199254740993}"#]).ok();
    assert!(shown.contains(":9007199254740993}"), "{shown}");

    // Ids that are numbers are the digits as they are written, and never each other's.
    let file = folder.path().join("ids.jsonl");
    let rows =
        "{\"id\":12345678901234567890123}\n{\"id\":12345678901234567890124}\n{\"id\":1.50}\n";
    std::fs::write(&file, format!("{rows}{{\"id\":1e2}}\n")).unwrap();
    let import = ["import", "ids", file.to_str().unwrap(), "--id", "id", "--types", "id=decimal"];
    let refused = head.run(import).fails(1);
    assert!(refused.contains("ids.jsonl:4:") && refused.contains("1e+2"), "{refused}");
    for id in ["12345678901234567890123", "12345678901234567890124", "1.50"] {
        assert!(head.has("ids", id), "{id}");
    }
}
