//! Automerge documents on their way out: by the command line, by HTTP, and what is said where one cannot be had.

use std::fs;
use std::path::Path;

use automerge::{Automerge, ReadDoc};
use branchline_crdt::store::Store;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::{self, RecordKey, RecordRow};
use branchline_crdt::store::tables::{ReadTables, walk};
use branchline_node::storage::{Options, Storage};
use branchline_tests::{Office, client, converge};
use reqwest::blocking::Response;
use serde_json::{Value, json};

use crate::PROGRAM;

const TEA: &str = "/v1/records/products/tea";
const AUTOMERGE: &str = "application/vnd.automerge";

fn head(folder: &Path) -> Office {
    Office::init(PROGRAM, folder, "head", true)
}

fn merge(office: &Office, fields: &Value) {
    office.run(["patch", "products", "tea", &fields.to_string()]).ok();
}

/// Two offices that wrote apart from each other and met again, the first of which runs.
fn met(folder: &Path) -> (Office, Office) {
    let (head, mut north) = Office::pair(PROGRAM, folder);
    let tea =
        r#"{"price": "2.50", "stock": {"$inc": 40}, "tags": [1, "a"], "origin": {"land": "IN"}}"#;
    head.run(["put", "products", "tea", tea]).ok();
    converge(&[&head, &north]);
    assert_eq!(north.stop(), 0);
    merge(&head, &json!({"price": "2.60", "stock": {"$inc": -2}}));
    merge(&north, &json!({"price": "2.70", "stock": {"$inc": -3}}));
    north.start();
    converge(&[&head, &north]);
    (head, north)
}

fn load(bytes: &[u8]) -> Automerge {
    Automerge::load(bytes).expect("a document of Automerge")
}

fn text(document: &Automerge, field: &str) -> String {
    let (value, _) = document.get(automerge::ROOT, field).unwrap().expect("a value");
    value.to_string()
}

/// Asks for the record in the forms that `accept` names.
fn fetch(office: &Office, path: &str, accept: &str, known: Option<&str>) -> Response {
    let (address, token) = office.api();
    let request = client().get(format!("http://{address}{path}")).bearer_auth(token);
    let request = request.header("accept", accept);
    let request = match known {
        Some(known) => request.header("if-none-match", known),
        None => request,
    };
    request.send().unwrap()
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

#[test]
fn a_document_goes_out_whole_by_the_command_and_by_http() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = met(folder.path());
    let out = folder.path().join("tea.automerge");
    let out = out.to_str().unwrap();
    let printed = head.run(["get", "products", "tea", "--automerge", out]).ok();
    assert!(printed.contains("products/tea in") && printed.contains("tea.automerge"), "{printed}");
    let bytes = fs::read(out).unwrap();
    let document = load(&bytes);
    assert_eq!(text(&document, "stock"), "Counter: 35");
    assert_eq!(document.get_all(automerge::ROOT, "price").unwrap().len(), 2);

    // The same bytes by HTTP, under the version that JSON has.
    let answer = fetch(&head, TEA, AUTOMERGE, None);
    let tag = header(&answer, "etag");
    assert_eq!(
        (header(&answer, "content-type"), header(&answer, "vary")),
        (AUTOMERGE.into(), "accept".into())
    );
    assert_eq!(answer.bytes().unwrap(), bytes);
    let fields = fetch(&head, TEA, "*/*", None);
    assert_eq!((header(&fields, "etag"), header(&fields, "vary")), (tag.clone(), "accept".into()));
    assert_eq!(fetch(&head, TEA, AUTOMERGE, Some(&tag)).status(), 304);
    assert_eq!(fetch(&head, TEA, AUTOMERGE, Some("\"00\"")).status(), 200);

    // Each change is by the site that the history names.
    let history = head.get(&format!("{TEA}/history"));
    for step in history["changes"].as_array().unwrap() {
        let hash = step["change"].as_str().unwrap().parse().unwrap();
        let change = document.get_change_by_hash(&hash).expect("a change of the history");
        assert_eq!(json!(change.actor_id().to_string()), step["actor"]);
    }

    // Another office, and a stopped one, give the same changes.
    let answer = fetch(&north, TEA, AUTOMERGE, Some("\"00\""));
    assert_eq!(load(&answer.bytes().unwrap()).get_heads(), document.get_heads());
    assert_eq!(head.stop(), 0);
    let ran = head.command(["get", "products", "tea", "--automerge", "-"]).output().unwrap();
    assert_eq!((ran.status.code(), ran.stdout), (Some(0), bytes));
    let printed =
        head.run(["--json", "get", "products", "tea", "--automerge", out, "--force"]).ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(format!("\"{}\"", printed["version"].as_str().unwrap()), tag);
}

#[test]
fn a_record_is_given_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    head.start();
    head.run(["put", "products", "tea", r#"{"price": 1}"#]).ok();
    let tag = header(&fetch(&head, TEA, AUTOMERGE, None), "etag");
    let version = tag.trim_matches('"').to_owned();
    merge(&head, &json!({"price": 2}));
    head.run(["delete", "products", "tea"]).ok();
    for at in [&version, &version[..8]] {
        let mut command = head.command(["get", "products", "tea", "--automerge", "-", "--at", at]);
        let ran = command.output().unwrap();
        assert_eq!(text(&load(&ran.stdout), "price"), "1");
        assert_eq!(head.run(["get", "products", "tea", "--at", at]).ok().trim(), r#"{"price":1}"#);
    }
    let answer = fetch(&head, &format!("{TEA}?at={version}"), AUTOMERGE, None);
    assert_eq!(header(&answer, "etag"), tag);
    assert_eq!(fetch(&head, &format!("{TEA}?at={version}"), AUTOMERGE, Some(&tag)).status(), 304);
    assert_eq!(fetch(&head, &format!("{TEA}?at={version}"), "*/*", Some(&tag)).status(), 304);

    // It is deleted now: as JSON it is not there, as a document it says so.
    assert_eq!(fetch(&head, TEA, "application/json", None).status(), 404);
    let answer = fetch(&head, TEA, AUTOMERGE, None);
    assert_eq!(text(&load(&answer.bytes().unwrap()), "_deleted"), "true");
    let now = header(&fetch(&head, TEA, AUTOMERGE, None), "etag");
    let error = head.run(["get", "products", "tea", "--at", now.trim_matches('"')]).fails(1);
    assert!(error.contains("was deleted then"), "{error}");
}

#[test]
fn a_client_gets_the_form_that_it_would_rather_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    head.start();
    head.run(["put", "products", "tea", r#"{"price": 1}"#]).ok();
    for (accept, expected) in [
        (AUTOMERGE, AUTOMERGE),
        ("application/json;q=0.5, application/vnd.automerge", AUTOMERGE),
        ("application/vnd.automerge;q=0.9, */*;q=0.1", AUTOMERGE),
        ("application/vnd.automerge;q=0.1, application/json", "application/json"),
        ("application/vnd.automerge;q=0", "application/json"),
        ("*/*", "application/json"),
        ("image/png", "application/json"),
        ("application/octet-stream", "application/json"),
    ] {
        let answer = fetch(&head, TEA, accept, None);
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "content-type").as_str()),
            (200, expected),
            "{accept}"
        );
    }
}

#[test]
fn what_cannot_be_given_is_said_and_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = head(folder.path());
    head.start();
    head.run(["put", "products", "tea", r#"{"price": 1}"#]).ok();
    let out = folder.path().join("out");
    let out_text = out.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["rice"], "does not exist"),
        (vec!["tea", "--at", "xyz"], "no change or entry"),
        (vec!["tea", "--at", "00000000000000000000000000000000"], "never had the version"),
        (vec!["rice", "--at", "00000000"], "was never written"),
    ] {
        let arguments = [&["get", "products"], &arguments[..], &["--automerge", out_text]].concat();
        let error = head.run(&arguments).fails(1);
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(!out.exists());
    }
    let left = fs::read_dir(folder.path()).unwrap().flatten().map(|file| file.file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().contains("partial")));
    fs::write(&out, "kept").unwrap();
    let again = ["get", "products", "tea", "--automerge", out_text];
    let error = head.run(again).fails(1);
    assert!(error.contains("exists already") && error.contains("--force"), "{error}");
    assert_eq!(fs::read(&out).unwrap(), b"kept");
    head.run(again.into_iter().chain(["--force"])).ok();
    load(&fs::read(&out).unwrap());
    let error = head.run(["get", "products", "tea", "--force"]).fails(2);
    assert!(error.contains("--automerge"), "{error}");

    for (path, status, code) in [
        ("/v1/records/products/rice", 404, "record_not_found"),
        ("/v1/records/products/rice?at=00", 404, "record_not_found"),
        ("/v1/records/products/tea?at=xyz", 400, "bad_parameter"),
        ("/v1/records/products/tea?at=00000000000000000000000000000000", 400, "bad_parameter"),
        ("/v1/records/products/tea?version=1", 400, "bad_parameter"),
        ("/v1/records/Products/tea", 400, "bad_name"),
    ] {
        let answer = fetch(&head, path, AUTOMERGE, None);
        assert_eq!(answer.status(), status, "{path}");
        let body: Value = answer.json().unwrap();
        assert_eq!(body["error"]["code"], code, "{path}: {body}");
    }
}

#[test]
fn verify_compares_every_record_with_automerge_and_names_a_planted_difference() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = met(folder.path());
    for number in 0..20 {
        head.run(["put", "products", &number.to_string(), r#"{"price": "9.90"}"#]).ok();
    }
    head.run(["delete", "products", "0"]).ok();
    let printed = head.run(["verify", "--documents"]).ok();
    assert!(printed.contains("Automerge reads 21 records alike"), "{printed}");
    converge(&[&head, &north]);
    assert_eq!((head.stop(), north.stop()), (0, 0));
    let printed = north.run(["--json", "verify", "--documents"]).ok();
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&printed["sound"], &printed["documents"]["records"]), (&json!(true), &json!(21)));

    plant(&head.data, "tea", "7");
    let ran = head.run(["verify", "--documents"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("record products/tea: "), "{ran:?}");
    assert!(!ran.stdout.contains("products/7"), "{ran:?}");
    let printed = head.run(["--json", "verify", "--documents"]);
    let json: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((&json["sound"], &json["documents"]["fault_count"]), (&json!(false), &json!(1)));
    head.run(["rebuild"]).ok();
    head.run(["verify", "--documents"]).ok();
}

/// Puts what is live of one record into the row of another, as a fault of the program or of the disk would.
fn plant(data: &Path, id: &str, other: &str) {
    let (mut storage, _) = Storage::open(data, Options::default()).unwrap();
    let mut space = None;
    walk(&storage, records::ALL, None, |key, _| {
        space = records::record_of_key(key).map(|key| key.space);
        Ok(false)
    })
    .unwrap();
    let key = |id: &str| RecordKey {
        space: space.unwrap(),
        collection: "products".to_owned(),
        id: id.to_owned(),
    };
    let (row, live) = (key(id).record(), key(other).record());
    let (row_bytes, live) =
        (storage.get(&row).unwrap().unwrap(), storage.get(&live).unwrap().unwrap());
    let changes = RecordRow::decode(&row_bytes).unwrap().changes;
    let planted =
        RecordRow { changes, live: RecordRow::decode(&live).unwrap().live, first: None }.encode();
    storage.apply(vec![(row, Some(planted))], None).unwrap();
    assert!(read::record(&storage, &key(id)).unwrap().is_some());
    storage.close().unwrap();
}
