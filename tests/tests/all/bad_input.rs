//! What users, and programs that are not users, get wrong: each is answered with what was found and what was expected, and
//! nothing is lost.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use branchline_tests::wire::Wire;
use branchline_tests::{Office, client, converge, eventually};
use serde_json::Value;

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name != "north")
}

fn running(folder: &Path) -> Office {
    let mut head = office(folder, "head");
    head.start();
    head
}

#[track_caller]
fn refused(office: &Office, arguments: &[&str], expected: &[&str]) {
    let digest = office.digest();
    let error = office.run(arguments).fails(1);
    assert!(error.starts_with("error: "), "{error}");
    for part in expected {
        assert!(error.contains(part), "expected {part:?} in: {error}");
    }
    assert_eq!(office.digest(), digest, "{arguments:?} changed something");
}

#[test]
fn wrong_json_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    refused(&head, &["put", "products", "tea", "{\"price\": }"], &["line 1", "column 11"]);
    refused(&head, &["put", "products", "tea", "[1, 2]"], &["object"]);
    refused(&head, &["patch", "products", "tea", "{}"], &["tea"]);
    let twice = "{\"a\": 1, \"m\": {\"x\": 1, \"x\": 2}}";
    refused(&head, &["put", "products", "tea", twice], &["\"x\" is there twice", "column"]);
}

#[test]
fn a_path_has_one_reading() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let (address, token) = head.api();
    for (path, found) in [("%zz", "%zz"), ("a%2", "%2"), ("%", "%"), ("100%25%", "%")] {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "PUT /v1/records/products/{path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}",
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(answer.contains(&format!("{found:?}").replace('"', "\\\"")), "{path}: {answer}");
    }
}

#[test]
fn names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let long = "x".repeat(256);
    refused(&head, &["put", "products", &long, "{}"], &["256", "255"]);
    refused(&head, &["put", "products", "", "{}"], &["empty"]);
    refused(&head, &["put", "products", "a\nb", "{\"a\": 1}"], &["control"]);
    refused(&head, &["put", "Products!", "tea", "{\"a\": 1}"], &["Products!"]);
    refused(&head, &["put", "_mine", "tea", "{\"a\": 1}"], &["_mine"]);
    refused(&head, &["put", "products", "tea", "{\"_deleted\": true}"], &["_deleted"]);
    refused(&head, &["put", "products", "tea", "{\"a.b\": 1}"], &["a.b"]);
    let field = format!("{{\"{}\": 1}}", "f".repeat(256));
    refused(&head, &["put", "products", "tea", &field], &["255"]);
}

#[test]
fn schemas_are_checked_and_hold() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let file = folder.path().join("schema.json");
    let apply = |schema: &str| {
        std::fs::write(&file, schema).unwrap();
        head.run(["schema", "apply", file.to_str().unwrap()])
    };
    let error = apply(r#"{"products": {"price": "money"}}"#).fails(1);
    assert!(error.contains("money") && error.contains("decimal"), "{error}");
    apply(r#"{"products": {"price": "decimal required", "stock": "counter"}}"#).ok();
    refused(
        &head,
        &["put", "products", "tea", r#"{"price": "cheap"}"#],
        &["price", "decimal", "cheap"],
    );
    refused(&head, &["put", "products", "tea", r#"{"stock": 1}"#], &["price", "required"]);
    refused(
        &head,
        &["put", "products", "tea", r#"{"price": "1", "stock": "many"}"#],
        &["stock", "counter"],
    );
    head.run(["put", "products", "tea", r#"{"price": "1", "stock": 4}"#]).ok();
    let error = apply(r#"{"products": {"price": "integer"}}"#).fails(1);
    assert!(error.contains("price"), "{error}");
    refused(&head, &["patch", "products", "tea", r#"{"stock": null}"#], &["stock"]);
    refused(
        &head,
        &["patch", "products", "tea", r#"{"stock": {"$inc": 9007199254740993}}"#],
        &["stock"],
    );
    refused(&head, &["patch", "products", "tea", r#"{"$inc": 1}"#], &["$inc"]);
    let applied = apply(r#"{"products": {"stock": "counter"}}"#);
    assert!(applied.stderr.contains("no more: price"), "{}", applied.stderr);
}

#[test]
fn a_deleted_record_is_told_from_one_that_never_was() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    head.run(["put", "products", "tea", r#"{"price": "1"}"#]).ok();
    head.run(["delete", "products", "tea"]).ok();
    refused(&head, &["get", "products", "tea"], &["is deleted", "undelete products tea"]);
    refused(&head, &["get", "products", "rice"], &["does not exist"]);
}

#[test]
fn oversize_records_are_refused_by_size() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let digest = head.digest();
    let large = format!("{{\"note\": \"{}\"}}", "x".repeat(2 << 20));
    let error = head.run_with(["put", "products", "tea", "-"], &large).fails(1);
    assert!(error.contains("note") || error.contains("bytes"), "{error}");
    let huge = format!("{{\"note\": \"{}\"}}", "x".repeat(9 << 20));
    head.run_with(["put", "products", "tea", "-"], &huge).fails(1);
    let mut deep = "1".to_owned();
    for _ in 0..20 {
        deep = format!("{{\"a\": {deep}}}");
    }
    let error = head.run(["put", "products", "tea", &deep]).fails(1);
    assert!(error.contains("16"), "{error}");
    assert_eq!(head.digest(), digest);
}

#[test]
fn bad_rows_are_set_aside_and_good_ones_kept() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let file = folder.path().join("products.csv");
    std::fs::write(&file, "sku,price\nTEA,2.50\nRICE\n,1.00\nSALT,0.80\n").unwrap();
    let ran = head.run(["import", "products", file.to_str().unwrap(), "--id", "sku"]);
    let messages = ran.fails(1);
    for line in ["products.csv:3:", "products.csv:4:"] {
        assert!(messages.contains(line), "{messages}");
    }
    assert_eq!(head.count("products"), 2);
    let rejected =
        std::fs::read_to_string(folder.path().join("products.csv.rejected.csv")).unwrap();
    assert!(rejected.contains("RICE") && !rejected.contains("SALT"), "{rejected}");
    let error = head.run(["import", "products", "/no/such/file.csv", "--id", "sku"]).fails(1);
    assert!(error.contains("/no/such/file.csv"), "{error}");
    let error = head.run(["import", "products", file.to_str().unwrap(), "--id", "code"]);
    assert!(error.stderr.contains("code") && error.code != 0, "{error:?}");
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    assert_eq!(head.run(["frobnicate"]).code, 2);
    assert_eq!(head.run(["put", "products"]).code, 2);
    assert_eq!(head.run(["list", "products", "--limit", "0"]).code, 2);
    assert_eq!(head.run(["run", "--listen", "not-an-address"]).code, 2);
    assert_eq!(head.run(["run", "--api", "0.0.0.0:80"]).code, 2);
    let error = head.run(["init", "--name", "again"]).fails(1);
    assert!(error.contains("head"), "{error}");
    assert!(head.run(["get", "products", "tea"]).fails(1).contains("tea"));
}

#[test]
fn tickets_serve_once_and_expire() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let used = head.run(["invite"]).ok();
    let short = head.run(["invite", "--expires", "1s"]).ok();
    let mut first = Office::init(PROGRAM, folder.path(), "first", false);
    first.run(["join", used.trim()]).ok();
    first.start();
    eventually("first is a member", || first.get("/v1/status")["member"] == true);
    let mut second = Office::init(PROGRAM, folder.path(), "second", false);
    second.run(["join", used.trim()]).ok();
    second.start();
    let refusal = |office: &Office| office.get("/v1/status")["join_refused"].to_string();
    eventually("second is refused", || refusal(&second).contains("used before"));
    eventually("the ticket has expired", || {
        let late = Office::init(PROGRAM, folder.path(), &unique("late"), false);
        let ran = late.run(["join", short.trim()]);
        ran.code == 1 && ran.stderr.contains("expired")
    });
    let late = Office::init(PROGRAM, folder.path(), "garbled", false);
    let cut = &used.trim()[..used.len() - 6];
    assert!(late.run(["join", cut]).fails(1).contains("damaged"));
    assert!(late.run(["join", "hello"]).fails(1).contains("branchline-ticket-1-"));
    assert!(first.run(["join", used.trim()]).fails(1).contains("member"));
    assert!(head.run(["invite", "--expires", "soon"]).code == 2);
}

fn unique(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

#[test]
fn the_api_wants_its_token_and_knows_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let (address, token) = head.api();
    let url = format!("http://{address}/v1/status");
    let ask = |change: &dyn Fn(
        reqwest::blocking::RequestBuilder,
    ) -> reqwest::blocking::RequestBuilder| {
        let answer = change(client().get(&url)).send().unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().unwrap();
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&|request| request.bearer_auth(&token)).0, 200);
    assert_eq!(ask(&|request| request).0, 401);
    assert_eq!(ask(&|request| request.bearer_auth("guess")).0, 401);
    assert_eq!(ask(&|request| request.bearer_auth(&token[1..])).0, 401);
    let foreign = ask(&|request| request.bearer_auth(&token).header("Host", "evil.example"));
    assert!([403, 421].contains(&foreign.0), "{foreign:?}");
    let cross_site =
        ask(&|request| request.bearer_auth(&token).header("Origin", "http://evil.example"));
    assert_eq!(cross_site.0, 403);
    assert!(!cross_site.1.is_empty());
    let unknown =
        client().get(format!("http://{address}/v2/x")).bearer_auth(&token).send().unwrap();
    assert_eq!(unknown.status().as_u16(), 404);
    assert!(unknown.json::<Value>().unwrap()["error"]["code"].is_string());
}

/// `{"n":1}`, packed.
const GZIP: [u8; 27] = [
    31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 202, 83, 178, 50, 172, 5, 0, 126, 59, 75, 212, 7, 0,
    0, 0,
];

#[test]
fn every_error_of_the_api_has_one_shape_whoever_finds_it() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let (address, token) = head.api();
    let authorization = format!("Host: {address}\r\nAuthorization: Bearer {token}\r\n");
    let send = |bytes: &[u8]| {
        let mut wire = Wire::to(address);
        wire.send(bytes);
        let reply = wire.reply().expect("an answer");
        (reply.status, reply.code().unwrap_or_default())
    };
    let get = |path: &str, headers: &str| {
        send(format!("GET {path} HTTP/1.1\r\n{authorization}{headers}\r\n").as_bytes())
    };
    let body = |ask: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("{ask} HTTP/1.1\r\n{authorization}{headers}Content-Length: {length}\r\n\r\n");
        send(&[head.as_bytes(), body].concat())
    };
    let is = |found: (u16, String), status: u16, code: &str| {
        assert_eq!((found.0, found.1.as_str()), (status, code));
    };
    // What never becomes a request.
    is(send(b"nonsense\r\n\r\n"), 400, "bad_request");
    is(get("/v1/status", "no header\r\n"), 400, "bad_request");
    is(get(&format!("/{}", "a".repeat(70_000)), ""), 414, "uri_too_long");
    is(get("/v1/status", &format!("X: {}\r\n", "a".repeat(200_000))), 431, "head_too_large");
    is(get("/v1/status", &"X: a\r\n".repeat(100)), 431, "head_too_large");
    // Paths that are no text.
    for path in ["/v1/spaces/%ff", "/v1/schemas/%ff", "/v1/records/%ff", "/v1/records/a/%ff%fe"] {
        is(get(path, ""), 400, "bad_parameter");
    }
    is(body("DELETE /v1/members/%ff", "", b""), 400, "bad_parameter");
    is(body("PUT /v1/spaces/a/sites/%c3", "", br#"{"role": "reader"}"#), 400, "bad_parameter");
    // Lists where objects are expected.
    for (ask, list) in [
        ("PUT /v1/records/products/tea", "[]"),
        ("PATCH /v1/records/products/tea", "[[\"n\", 1]]"),
        ("POST /v1/transactions", "[[]]"),
        ("POST /v1/transactions", r#"{"edits": [["delete", "products", "tea"]]}"#),
        ("POST /v1/invites", r#"["writer"]"#),
        ("POST /v1/join", r#"["branchline-ticket-1-"]"#),
        ("POST /v1/spaces", r#"["north"]"#),
        ("POST /v1/bundle", "[null, null]"),
        ("POST /v1/sync", "[]"),
        ("PATCH /v1/members/head", r#"["reader", null]"#),
    ] {
        is(body(ask, "", list.as_bytes()), 400, "bad_json");
    }
    let import = format!("http://{address}/v1/import/products");
    let answer = client().post(import).bearer_auth(&token).body("[\"1\", {}]\n").send().unwrap();
    assert_eq!(answer.json::<Value>().unwrap()["rejected"][0]["error"]["code"], "bad_json");
    // Encodings: gzip, or none.
    let tea = "PUT /v1/records/products/tea";
    for encoding in ["br", "deflate", "zstd", "gzip, gzip", "x"] {
        let header = format!("Content-Encoding: {encoding}\r\n");
        is(body(tea, &header, &GZIP), 415, "unsupported_media_type");
        is(body("POST /v1/merge", &header, &GZIP), 415, "unsupported_media_type");
    }
    is(body("POST /v1/merge", "Content-Encoding: gzip\r\n", &GZIP), 415, "unsupported_media_type");
    is(body(tea, "Content-Encoding: gzip\r\n", b"{}"), 400, "body_unreadable");
    is(body(tea, "Content-Encoding: gzip\r\n", &GZIP[..20]), 400, "body_unreadable");
    assert_eq!(head.count("products"), 0);
    assert_eq!(body(tea, "Content-Encoding: gzip\r\n", &GZIP).0, 200);
    assert_eq!(head.get("/v1/records/products/tea")["n"], 1);
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let api = format!("127.0.0.1:{port}");
    let error = head.run(["run", "--api", &api]).fails(1);
    assert!(error.contains(&api), "{error}");
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let error = head.run(["run", "--listen", &listen]).fails(1);
    assert!(error.contains(&listen), "{error}");
}

#[test]
fn a_locked_folder_and_a_newer_one_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = running(folder.path());
    let error = head.run(["run"]).fails(1);
    assert!(error.contains("in use") && error.contains(&head.pid().to_string()), "{error}");
    assert_eq!(head.stop(), 0);
    std::fs::write(head.data.join("format"), "branchline data 99\n").unwrap();
    let error = head.run(["digest"]).fails(1);
    assert!(error.contains("99") && error.contains("newer"), "{error}");
    std::fs::write(head.data.join("format"), "branchline data 1\n").unwrap();
    head.run(["digest"]).ok();
    let nothing = folder.path().join("nothing");
    let error =
        std::process::Command::new(PROGRAM).arg("--data").arg(nothing).arg("digest").output();
    let error = error.unwrap();
    assert_eq!(error.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&error.stderr).contains("init"));
}

#[test]
fn a_disk_that_is_nearly_full_refuses_writes_and_serves_reads() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = running(folder.path());
    let mut north = office(folder.path(), "north");
    north.start();
    north.join(&head);
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    converge(&[&head, &north]);
    assert_eq!(head.stop(), 0);
    // More than any disk has: to this node every disk is full.
    let config = head.data.join("branchline.toml");
    std::fs::write(&config, "disk_reserve_mib = 1000000000000\n").unwrap();
    head.start();
    refused(&head, &["put", "products", "rice", "{\"a\": 1}"], &["nothing was written", "MiB"]);
    head.run(["get", "products", "tea"]).ok();
    assert_eq!(head.get("/v1/status")["member"], true);
    north.run(["put", "products", "salt", "{\"a\": 1}"]).ok();
    refused(&head, &["put", "products", "rice", "{\"a\": 1}"], &["nothing was written"]);
    assert_eq!(head.stop(), 0);
    // With room again it takes up where it was.
    std::fs::remove_file(&config).unwrap();
    head.start();
    head.run(["put", "products", "rice", "{\"a\": 1}"]).ok();
    converge(&[&head, &north]);
    assert_eq!(head.count("products"), 3);
}

#[test]
fn networks_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let head = running(folder.path());
    let mut other = office(folder.path(), "other");
    let ticket = head.run(["invite"]).ok();
    let error = other.run(["join", ticket.trim()]).fails(1);
    assert!(error.contains("network"), "{error}");
    // Made to dial it all the same, it learns nothing and gives nothing.
    let site = head.get("/v1/status")["site"].clone();
    let listening = head.get("/v1/status")["listening"][0].as_str().unwrap().to_owned();
    let members = head.run(["--json", "members"]).ok();
    let id = members.split('"').find(|part| part.starts_with("12D3Koo")).expect("a site id");
    let peer = format!("{listening}/p2p/{id}");
    other.start_with(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--peer", &peer]);
    other.run(["put", "products", "x", "{\"a\": 1}"]).ok();
    head.run(["put", "products", "y", "{\"a\": 1}"]).ok();
    assert_eq!(head.get("/v1/status")["site"], site);
    assert_eq!(head.get("/v1/status")["sites"].as_array().unwrap().len(), 1);
    assert_eq!(other.count("products") + head.count("products"), 2);
    assert!(other.run(["get", "products", "y"]).code == 1);
}

#[test]
fn a_peer_that_speaks_garbage_disturbs_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = running(folder.path());
    let mut north = office(folder.path(), "north");
    north.start();
    north.join(&head);
    let listening = head.get("/v1/status")["listening"][0].as_str().unwrap().to_owned();
    let port: u16 = listening.rsplit('/').next().unwrap().parse().unwrap();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        &[0; 4096],
        b"\x13/multistream/1.0.0\n\xff\xff",
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        // The node may hang up at any moment.
        let _ = stream.write_all(garbage);
        let _ = stream.read(&mut [0; 64]);
    }
    north.run(["put", "products", "tea", "{\"a\": 1}"]).ok();
    converge(&[&head, &north]);
    assert_eq!(head.stop(), 0);
}
