//! Documents that other programs edited come back: by the command line, by HTTP, from JavaScript.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use automerge::transaction::Transactable;
use automerge::{AutoCommit, ObjType, ROOT};
use branchline_tests::{Office, client, converge};
use serde_json::{Value, json};

use crate::PROGRAM;

const DOCUMENT: &str = "/v1/records/products/tea/document";
const EDIT: &str = include_str!("edit.mjs");

fn declare(office: &Office) {
    let schema = json!({
        "name": "string", "price": "decimal", "size": "integer", "weight": "float",
        "organic": "boolean", "since": "timestamp", "picked": "datetime", "photo": "bytes",
        "stock": "counter", "notes": "text", "tags": "list", "origin.land": "string",
        "origin.visits": "counter",
    });
    let (address, token) = office.api();
    let request = client().put(format!("http://{address}/v1/schemas/products")).bearer_auth(token);
    let answer = request.json(&schema).send().unwrap();
    assert!(answer.status().is_success(), "{}", answer.text().unwrap());
}

fn post(office: &Office, query: &str, bytes: Vec<u8>, tag: Option<&str>) -> (u16, Value) {
    let (address, token) = office.api();
    let request = client().post(format!("http://{address}{DOCUMENT}{query}")).bearer_auth(token);
    let request = request.header("content-type", "application/vnd.automerge").body(bytes);
    let request = match tag {
        Some(tag) => request.header("if-match", tag),
        None => request,
    };
    let answer = request.send().unwrap();
    (answer.status().as_u16(), answer.json().unwrap())
}

fn tea(office: &Office) -> Value {
    office.get("/v1/records/products/tea")
}

fn lend(office: &Office, to: &Path) {
    office.run(["get", "products", "tea", "--force", "--automerge", to.to_str().unwrap()]).ok();
}

fn merge(office: &Office, file: &Path) -> String {
    office.run(["merge-document", "products", "tea", file.to_str().unwrap()]).ok()
}

#[test]
fn a_document_becomes_a_record_and_is_edited_further() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let file = folder.path().join("tea.automerge");
    let path = file.to_str().unwrap();
    let mut doc = AutoCommit::new();
    doc.put(ROOT, "price", 1).unwrap();
    fs::write(&file, doc.save()).unwrap();
    let error = head.run(["merge-document", "products", "tea", path]).fails(1);
    assert!(error.contains("the record does not exist") && error.contains("--new"), "{error}");
    let printed = head.run(["merge-document", "products", "tea", path, "--new"]).ok();
    assert!(printed.starts_with("1 edit taken in, 0 changes known; version "), "{printed}");
    assert!(merge(&head, &file).starts_with("0 edits taken in, 1 change known"));
    doc.put(ROOT, "price", 2).unwrap();
    let ran = head.run_with(["--json", "merge-document", "products", "tea", "-"], &doc.save()).ok();
    let ran: Value = serde_json::from_str(&ran).unwrap();
    assert_eq!((&ran["taken"], &ran["known"]), (&json!(1), &json!(1)));
    assert_eq!(tea(&head), json!({"price": 2}));
    // Without a node, too.
    assert_eq!(head.stop(), 0);
    doc.put(ROOT, "price", 3).unwrap();
    fs::write(&file, doc.save()).unwrap();
    assert!(merge(&head, &file).starts_with("1 edit taken in, 2 changes known"));
    assert_eq!(head.run(["get", "products", "tea"]).ok().trim(), r#"{"price":3}"#);
}

#[test]
fn what_cannot_be_taken_in_is_said_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    declare(&head);
    head.run(["put", "products", "tea", r#"{"stock": 5, "price": "1.00", "notes": "x"}"#]).ok();
    let file = folder.path().join("tea.automerge");
    lend(&head, &file);
    let before = tea(&head);
    let lent = fs::read(&file).unwrap();
    let mut doc = AutoCommit::load(&lent).unwrap();
    let price = doc.put_object(ROOT, "price", ObjType::Text).unwrap();
    doc.splice_text(&price, 0, 0, "cheap").unwrap();
    doc.put(ROOT, "stock", 7).unwrap();
    let (status, answer) = post(&head, "", doc.save(), None);
    let message = answer["error"]["message"].as_str().unwrap();
    assert_eq!((status, &answer["error"]["code"]), (422, &json!("document_refused")));
    assert!(message.contains("\"price\" is of kind decimal, found \"cheap\""), "{message}");
    assert!(message.contains("\"stock\" is a counter, and something was put over it"), "{message}");
    let mut stranger = AutoCommit::new();
    stranger.put(ROOT, "price", 1).unwrap();
    for (bytes, query, status, code, part) in [
        (stranger.save(), "", 422, "document_refused", "was not made of this record"),
        (stranger.save(), "?new=true", 422, "document_refused", "the record exists already"),
        (b"tea".to_vec(), "", 422, "document_refused", "not an Automerge document"),
        (lent[..lent.len() - 1].to_vec(), "", 422, "document_refused", "damaged"),
        (lent.clone(), "?old=true", 400, "bad_parameter", "old"),
    ] {
        let (found, answer) = post(&head, query, bytes, None);
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{answer}");
    }
    let mut doc = AutoCommit::load(&lent).unwrap();
    doc.put(ROOT, "weight", 1.5).unwrap();
    let (status, answer) = post(&head, "", doc.save(), Some("\"00\""));
    assert_eq!((status, &answer["error"]["code"]), (412, &json!("precondition_failed")));
    let error = head.run(["merge-document", "products", "tea", "/no/such/file"]).fails(1);
    assert!(error.contains("/no/such/file"), "{error}");
    assert_eq!(tea(&head), before);
}

/// A folder where a program in JavaScript finds Automerge. `None`: it cannot be had here, which is said.
fn javascript(folder: &Path) -> Option<PathBuf> {
    let folder = folder.join("javascript");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("edit.mjs"), EDIT).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
    let installed = npm.arg("@automerge/automerge@3").output();
    match installed {
        Ok(output) if output.status.success() => Some(folder),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            eprintln!("left out: npm does not install @automerge/automerge: {said}");
            None
        }
        Err(error) => {
            eprintln!("left out: the edits in JavaScript, for npm cannot be run: {error}");
            None
        }
    }
}

fn edit(javascript: &Path, what: &str, from: &Path, to: &Path) {
    let mut node = Command::new("node");
    node.current_dir(javascript).arg("edit.mjs").arg(what).args([from, to]);
    let output = node.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn programs_in_javascript_edit_every_kind_of_field() {
    let folder = tempfile::tempdir().unwrap();
    let Some(javascript) = javascript(folder.path()) else { return };
    let (head, mut north) = Office::pair(PROGRAM, folder.path());
    declare(&head);
    let fields = json!({
        "name": "tea", "price": "2.50", "stock": 40, "notes": "good", "tags": [1, 2], "shelf": "B",
        "origin": {"land": "IN", "visits": 2},
    });
    head.run(["put", "products", "tea", &fields.to_string()]).ok();
    converge(&[&head, &north]);
    let file = |name: &str| folder.path().join(name);
    lend(&head, &file("out"));
    lend(&north, &file("out-north"));
    edit(&javascript, "everything", &file("out"), &file("back"));
    edit(&javascript, "sell", &file("out-north"), &file("back-north"));
    // Two such files, at two offices at once, while both are edited as well.
    assert_eq!(north.stop(), 0);
    head.run(["patch", "products", "tea", r#"{"stock": {"$inc": 1}}"#]).ok();
    assert!(merge(&head, &file("back")).starts_with("1 edit taken in"));
    assert!(merge(&north, &file("back-north")).starts_with("1 edit taken in"));
    north.start();
    converge(&[&head, &north]);
    // The same file twice, at the other office; and edited further.
    assert!(merge(&north, &file("back")).starts_with("0 edits taken in"));
    edit(&javascript, "further", &file("back"), &file("further"));
    assert!(merge(&north, &file("further")).starts_with("1 edit taken in"));
    converge(&[&head, &north]);
    let mut found = tea(&head);
    let notes = found["notes"].take();
    assert!(notes == "a very fine" || notes == "very finea ", "{notes}");
    let price = found["price"].take();
    assert!(price == "2.75" || price == "3.00", "{price}");
    let conflicts = head.get("/v1/conflicts?collection=products");
    assert_eq!(conflicts["conflicts"][0]["field"], "price", "{conflicts}");
    let expected = json!({
        "name": "white tea", "price": null, "size": 12, "weight": 1.5, "organic": true,
        "since": "2026-03-01T00:00:00.000Z", "picked": "2024-03-09T23:30:00.12345Z", "photo": "AQID",
        "stock": 32, "notes": null, "tags": [2, 7], "origin": {"land": "LK", "visits": 3},
        "extra": {"any": ["thing", 1, 2]},
    });
    assert_eq!(found, expected);
    assert_eq!(tea(&north)["stock"], 32);
    lend(&head, &file("out"));
    edit(&javascript, "wrong", &file("out"), &file("wrong"));
    let error = head.run(["merge-document", "products", "tea", file("wrong").to_str().unwrap()]);
    let error = error.fails(1);
    for field in ["\"price\"", "\"size\"", "\"stock\" is a counter"] {
        assert!(error.contains(field), "{error}");
    }
}
