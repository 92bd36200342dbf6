//! Files in and out: what goes out comes in exactly, nothing is overwritten by accident, and kinds stay what they are.

use std::fs;
use std::path::{Path, PathBuf};

use branchline_tests::{Office, converge};
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name != "north")
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    text_of(&path)
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("a path").to_owned()
}

/// What a command that must have succeeded said.
fn reported(office: &Office, arguments: &[&str]) -> String {
    let ran = office.run(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    ran.stderr
}

fn import(office: &Office, collection: &str, path: &str, id: &str) -> Value {
    json(&office.run(["--json", "import", collection, path, "--id", id]).ok())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn schema(office: &Office, collection: &str) -> Value {
    json(&office.run(["schema", "show", collection]).ok())[collection].take()
}

const SCHEMA: &str = r#"{"things": {
    "s": "string", "i": "integer", "f": "float", "b": "boolean", "t": "timestamp", "y": "bytes", "d": "decimal",
    "c": "counter", "x": "text", "l": "list", "m": "map", "address.city": "string"
}}"#;

/// Records with all that is hard to write into a file.
fn fill(office: &Office) {
    let records = [
        (
            "1",
            json!({"s": "", "i": 9_223_372_036_854_775_807_i64, "f": -0.0, "b": true, "d": "-0012.50"}),
        ),
        (
            "=1+1",
            json!({"s": "=HYPERLINK(\"x\")", "i": null, "x": "a\r\nb", "l": [], "m": {}, "free": null}),
        ),
        (
            "'2",
            json!({"s": "'tis", "t": "2026-01-31T09:30:00.123Z", "y": "+/+A", "c": {"$inc": -7}}),
        ),
        (
            "a/b c;|\"é",
            json!({"s": "null", "f": 1e-7, "l": [null, "null", [1, {"a": ""}]], "x": ""}),
        ),
        (
            " 4 ",
            json!({"s": " \t,;\" ", "m": {"a": null, "b": "'", "c": [1.5]}, "address": {"city": "-1"}}),
        ),
        ("005", json!({"s": "TRUE", "d": "99999999999999999999999999999999999999", "free": "1,5"})),
        ("6", json!({"free": "\u{fffd}\u{202e}", "=odd": 1, "'odd": "x", "two  words": "y"})),
    ];
    for (id, fields) in records {
        office.run(["put", "things", id, &fields.to_string()]).ok();
    }
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    let schema_file = file(folder.path(), "schema.json", SCHEMA);
    head.run(["schema", "apply", &schema_file]).ok();
    fill(&head);
    head.run(["delete", "things", "6"]).ok();
    head.run(["undelete", "things", "6"]).ok();
    let digest = |office: &Office| office.run(["digest", "things"]).ok();
    let before = digest(&head);
    let mut other = office(folder.path(), "other");
    other.start();
    other.run(["schema", "apply", &schema_file]).ok();
    let listed = |office: &Office| office.run(["--json", "list", "things", "--limit", "100"]).ok();
    for (name, arguments) in [("a.csv", &[][..]), ("safe.csv", &["--safe"]), ("a.jsonl", &[])] {
        let path = text_of(&folder.path().join(name));
        let export = [&["export", "things", "-o", &path], arguments].concat();
        reported(&head, &export);
        let again = import(&head, "things", &path, "_id");
        assert_eq!(again["unchanged"], 7, "{name}: {again}");
        assert_eq!((&again["created_or_changed"], &again["rejected"]), (&json!(0), &json!(0)));
        assert_eq!(digest(&head), before, "{name}");
        // At a site that has never seen them they become the same.
        let fresh = import(&other, "things", &path, "_id");
        assert_eq!((&fresh["rejected"], listed(&other)), (&json!(0), listed(&head)), "{name}");
        for record in listed(&other).lines().map(json) {
            other.run(["put", "things", record["id"].as_str().unwrap(), "{}"]).ok();
        }
    }
    // Without a schema JSON lines keep what JSON can say, of several kinds as well.
    for (id, n) in [("a", "1"), ("b", "1.5"), ("c", "\"2.50\""), ("d", "null"), ("e", "[\"x\"]")] {
        head.run(["put", "free", id, &format!("{{\"n\": {n}, \"f\": 2.0, \"m\": {n}}}")]).ok();
    }
    let before = head.digest();
    assert!(!before.is_empty());
    let lines = head.run(["export", "free", "--format", "jsonl"]).ok();
    let again = import(&head, "free", &file(folder.path(), "free.jsonl", &lines), "_id");
    assert_eq!(
        (&again["unchanged"], &again["created_or_changed"]),
        (&json!(5), &json!(0)),
        "{again}"
    );
    assert_eq!(head.digest(), before);
}

#[test]
fn cells_that_a_spreadsheet_would_run_are_counted_and_marked_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    head.run(["put", "notes", "1", r#"{"a": "=1+1", "b": "-5", "c": "+49 30"}"#]).ok();
    let out = text_of(&folder.path().join("out.csv"));
    let warned = reported(&head, &["export", "notes", "-o", &out]);
    assert!(warned.contains("2 cells") && warned.contains("--safe"), "{warned}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "_id,a,b,c\n1,=1+1,-5,+49 30\n");
    let marked = reported(&head, &["export", "notes", "-o", &out, "--force", "--safe"]);
    assert!(marked.contains("2 cells"), "{marked}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "_id,a,b,c\n1,'=1+1,-5,'+49 30\n");
    head.run(["export", "notes", "--safe", "--format", "jsonl"]).fails(2);
}

#[test]
fn nothing_is_overwritten_and_no_part_of_a_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    head.run(["put", "notes", "1", r#"{"a": 1}"#]).ok();
    let kept = |name: &str| file(folder.path(), name, "mine");
    let (csv, sheet, other) = (kept("kept.csv"), kept("kept.xlsx"), kept("kept"));
    let refused = |arguments: &[&str], expected: &str| {
        let ran = head.run(arguments);
        assert!(ran.code != 0 && ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
    };
    for (what, arguments) in [
        ("export", vec!["export", "notes", "-o", &csv]),
        ("bundle", vec!["bundle", &other]),
        ("backup", vec!["backup", "create", &other]),
    ] {
        refused(&arguments, "--force");
        assert_eq!((what, fs::read(&csv).unwrap()), (what, b"mine".to_vec()));
    }
    refused(&["export", "nothing", "-o", &csv, "--force"], "no collection nothing");
    refused(&["export", "notes", "-o", &sheet, "--force"], ".xlsx");
    refused(&["export", "notes", "-o", "/no/such/folder/a.csv"], "cannot write");
    for path in [&csv, &sheet, &other] {
        assert_eq!(fs::read(path).unwrap(), b"mine");
    }
    for arguments in [
        vec!["export", "notes", "-o", &csv, "--force"],
        vec!["bundle", &other, "--force"],
        vec!["backup", "create", &other, "--force"],
    ] {
        reported(&head, &arguments);
    }
    assert_eq!(fs::read_to_string(&csv).unwrap(), "_id,a\n1,1\n");
    let names: Vec<PathBuf> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("partial")), "{names:?}");
    // To standard output and through it the whole bytes go, and what is said of them elsewhere.
    for out in ["-", "/dev/stdout"] {
        assert_eq!(head.run(["export", "notes", "-o", out]).ok(), "_id,a\n1,1\n");
        let bundle = head.command(["bundle", out]).output().unwrap();
        assert!(
            bundle.stdout.starts_with(&fs::read(&other).unwrap()[..0]) && !bundle.stdout.is_empty()
        );
        assert!(String::from_utf8_lossy(&bundle.stderr).contains("bytes"));
        let piped = folder.path().join(format!("piped{}", out.len()));
        fs::write(&piped, &bundle.stdout).unwrap();
        head.run(["merge", piped.to_str().unwrap()]).ok();
    }
}

#[test]
fn money_is_found_after_the_first_import_and_stays_of_one_kind() {
    let folder = tempfile::tempdir().unwrap();
    let head = office(folder.path(), "head");
    let january = file(
        folder.path(),
        "january.csv",
        "id,price,zip,due,note\n1,2.50,00501,2026-01-31T00:00:00Z,\n2,3.75,10001,2026-02-01T00:00:00Z,\n",
    );
    let february = file(folder.path(), "february.csv", "id,price,zip\n3,4,10001\n4,5,10002\n");
    let said = reported(&head, &["import", "prices", &january, "--id", "id"]);
    for line in ["price  decimal", "zip    string", "due    timestamp", "note   left out"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(
        schema(&head, "prices"),
        json!({"due": "timestamp", "id": "string", "price": "decimal", "zip": "string"})
    );
    let said = reported(&head, &["import", "prices", &february, "--id", "id"]);
    assert!(said.contains("price: integer in this file, read as decimal"), "{said}");
    assert!(said.contains("zip: integer in this file, read as string"), "{said}");
    let found = head.run(["--json", "list", "prices", "--where", "price > 3"]).ok();
    assert_eq!(found.lines().count(), 3);
    assert_eq!(import(&head, "prices", &january, "id")["unchanged"], 2);
    let wrong = file(folder.path(), "wrong.csv", "id,price\n5,cheap\n6,7\n");
    let said = head.run(["import", "prices", &wrong, "--id", "id"]).fails(1);
    assert!(said.contains("price: string in this file, and declared as decimal"), "{said}");
    assert_eq!(head.count("prices"), 5);
    let old = head.run(["import", "prices", &january, "--id", "id", "--write-schema"]).fails(2);
    assert!(old.contains("--no-schema"), "{old}");
    // A money column of JSON is as exact.
    let lines = file(
        folder.path(),
        "money.jsonl",
        "{\"id\":\"1\",\"amount\":1.10}\n{\"id\":\"2\",\"amount\":1234567890123456.78}\n",
    );
    assert_eq!(import(&head, "money", &lines, "id")["declared"]["amount"], "decimal");
    assert_eq!(json(&head.run(["get", "money", "1"]).ok())["amount"], "1.10");
    assert_eq!(json(&head.run(["get", "money", "2"]).ok())["amount"], "1234567890123456.78");
}

#[test]
fn a_branch_imports_without_the_admin_role_and_says_what_stays_text() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    converge(&[&head, &north]);
    // Apart from each other: whole prices here, others there.
    assert_eq!(north.stop(), 0);
    assert_eq!(head.stop(), 0);
    let sales = file(folder.path(), "sales.csv", "id,price\n1,2.50\n2,3.75\n");
    let whole = file(folder.path(), "whole.csv", "id,price\n3,4\n4,5\n");
    let said = reported(&north, &["import", "sales", &sales, "--id", "id"]);
    assert!(said.contains("may not write schemas") && said.contains("price"), "{said}");
    let command = said.lines().find(|line| line.contains("echo ")).expect("a command").to_owned();
    let found = north.run(["list", "sales", "--where", "price > 3"]);
    assert!(found.stderr.contains("price is text in 2 records of sales"), "{}", found.stderr);
    // A later file is read by what the collection holds.
    let said = reported(&north, &["import", "sales", &whole, "--id", "id"]);
    assert!(said.contains("price: integer in this file, read as decimal"), "{said}");
    assert_eq!(json(&north.run(["get", "sales", "3"]).ok())["price"], "4");
    reported(&head, &["import", "sales", &whole, "--id", "id", "--no-schema"]);
    assert_eq!(json(&head.run(["get", "sales", "3"]).ok())["price"], 4);
    head.start();
    north.start();
    converge(&[&head, &north]);
    // Head office does what it was asked to.
    let schema = command.split('\'').nth(1).expect("a schema");
    let applied = head.run_with(["schema", "apply", "-"], schema);
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    converge(&[&head, &north]);
    let found = north.run(["--json", "list", "sales", "--where", "price > 3"]).ok();
    assert_eq!(found.lines().count(), 3, "{found}");
    let check = head.run(["schema", "check"]).ok();
    assert!(
        check.contains("all of 4 records fit") || check.contains("price  integer  decimal"),
        "{check}"
    );
}

#[test]
fn records_that_do_not_fit_their_schema_are_counted_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = office(folder.path(), "head");
    head.start();
    for (space, id, total) in [("main", "1", "4"), ("main", "2", "\"2.50\""), ("main", "3", "[1]")]
    {
        head.run(["--space", space, "put", "sales", id, &format!("{{\"total\": {total}}}")]).ok();
    }
    head.run(["space", "create", "tills"]).ok();
    head.run(["--space", "tills", "put", "sales", "9", r#"{"total": true}"#]).ok();
    let declared = file(folder.path(), "schema.json", r#"{"sales": {"total": "decimal"}}"#);
    let said = reported(&head, &["schema", "apply", &declared]);
    assert!(said.contains("2 records of sales do not fit it"), "{said}");
    let said = reported(&head, &["--space", "tills", "schema", "apply", &declared]);
    assert!(
        said.contains("1 record of sales") && said.contains("--space tills schema check"),
        "{said}"
    );
    let check = head.run(["schema", "check", "sales"]).ok();
    for part in ["2 of 3 records", "integer", "list", "  1 ", "  3 "] {
        assert!(check.contains(part), "{part}: {check}");
    }
    let lines = head.run(["--json", "schema", "check", "--limit", "1"]).ok();
    let first = json(lines.lines().next().expect("a record"));
    assert_eq!((lines.lines().count(), &first["id"]), (1, &json!("1")));
    assert_eq!(first["fields"][0]["found"], "integer");
    let why = head.run(["status", "--why"]).ok();
    assert!(why.contains("2 of sales") && why.contains("sales/1"), "{why}");
    let why = head.run(["--space", "tills", "status", "--why"]).ok();
    assert!(why.contains("1 of sales"), "{why}");
    for id in ["1", "3"] {
        head.run(["patch", "sales", id, r#"{"total": "4"}"#]).ok();
    }
    assert!(head.run(["schema", "check"]).ok().contains("all of 3 records fit"));
    assert!(head.run(["status", "--why"]).ok().contains("all in step"));
    assert!(head.run(["schema", "check", "nothing"]).fails(1).contains("no schema"));
}
