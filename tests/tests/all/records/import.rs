//! Files of other programs, and what comes through pipes: all of a file is imported or set aside by name, and what was set
//! aside can be mended.

use std::process::Command;

use branchline_tests::{Office, Ran};
use serde_json::{Value, json};

use crate::PROGRAM;

/// A shell in a folder of its own, beside a running node.
struct Shell {
    head: Office,
    folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut head = Office::init(PROGRAM, folder.path(), "head", true);
        head.start();
        Self { head, folder }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect(name)
    }

    /// Runs a script in which `B` is the program with its folder.
    fn run(&self, script: &str) -> Ran {
        let data = self.head.command(["status"]);
        let arguments: Vec<String> =
            data.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let before = &arguments[..arguments.len() - 1];
        let script = format!(
            "set -o pipefail; B() {{ '{PROGRAM}' {} \"$@\"; }}; {script}",
            before.join(" ")
        );
        let output = Command::new("bash")
            .args(["-c", &script])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn record(&self, path: &str) -> Value {
        self.head.get(&format!("/v1/records/{path}"))
    }

    fn has_file(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }
}

#[test]
fn a_pipe_is_imported_like_a_file() {
    let shell = Shell::new();
    shell.file("p.csv", "sku,name\n1,Tea\n2,Rice\n");
    for (collection, script) in [
        ("file", "B import file p.csv --id sku"),
        ("dash", "cat p.csv | B import dash - --id sku"),
        ("redirected", "B import redirected - --id sku < p.csv"),
        ("stdin", "cat p.csv | B import stdin /dev/stdin --id sku"),
        ("descriptor", "B import descriptor <(cat p.csv) --id sku"),
        ("fifo", "mkfifo f; cat p.csv > f & B import fifo f --id sku"),
        ("packed", "gzip -c p.csv | B import packed - --id sku"),
        ("gz", "gzip -k p.csv; B import gz p.csv.gz --id sku"),
        ("lines", "printf '%s\\n' '{\"sku\":1}' '{\"sku\":2}' | B import lines - --id sku"),
        ("format", "cat p.csv | B import format - --id sku --format csv"),
    ] {
        let said = shell.run(script).ok();
        assert!(said.contains("2 new or changed"), "{script}: {said}");
        assert_eq!(shell.head.count(collection), 2, "{script}");
    }
    for (script, part) in [
        ("printf '' | B import none - --id sku", "stdin is empty"),
        ("touch e.csv; B import none e.csv --id sku", "is empty"),
        ("B import none . --id sku", "is a folder"),
        ("B import none none.csv --id sku", "none.csv"),
        ("gzip -c p.csv | head -c 20 | B import none - --id sku", "cannot read stdin"),
        ("printf 'PK\\003\\004' > t.xlsx; B import none t.xlsx --id sku", "Excel workbook"),
    ] {
        let error = shell.run(script).fails(1);
        assert!(error.starts_with("error: ") && error.contains(part), "{script}: {error}");
    }
    let said = shell.run("echo sku,name | B import none - --id sku").ok();
    assert!(said.contains("0 new or changed"), "{said}");
}

#[test]
fn how_a_file_is_read_is_said_and_can_be_set() {
    let shell = Shell::new();
    shell.file("m.csv", b"Umsatz M\xe4rz\r\nDatum;Betrag;id\r\n2025-03-30;1.173,90;7\r\n");
    let ran = shell.run("B --json import sales m.csv --id id");
    let reported =
        "read as semicolon-separated, 1 line above the header, decimal comma, Windows-1252";
    assert!(ran.stderr.contains(reported), "{}", ran.stderr);
    let said: Value = serde_json::from_str(&ran.ok()).unwrap();
    let read_as = json!({
        "format": "csv", "encoding": "Windows-1252", "delimiter": ";", "decimal": ",", "skip": 1
    });
    assert_eq!(said["read_as"], read_as);
    assert_eq!(shell.record("sales/7")["Betrag"], "1173.90");
    shell.file("a.csv", "id#v\n1#1,234\n");
    let ran = shell.run("B import text a.csv --id id --delimiter '#'");
    assert!(ran.stderr.contains("v: 1,234 may mean two numbers"), "{}", ran.stderr);
    ran.ok();
    assert_eq!(shell.record("text/1")["v"], "1,234");
    shell.run("B import comma a.csv --id id --delimiter '#' --decimal ,").ok();
    assert_eq!(shell.record("comma/1")["v"], "1.234");
    shell.run("B import point a.csv --id id --delimiter '#' --decimal .").ok();
    assert_eq!(shell.record("point/1")["v"], 1234);
    shell.file("b.csv", "n,b,\"a,c\"\n1,x,y\n");
    shell.run("B import joined b.csv --id 'n,\"a,c\"'").ok();
    assert!(shell.head.has("joined", "1,y"));
    for wrong in ["--delimiter ab", "--encoding nope", "--decimal x", "--skip x"] {
        shell.run(&format!("B import wrong a.csv --id id {wrong}")).fails(2);
    }
    shell.run("echo '{\"id\":1}' | B import wrong - --id id --skip 1").fails(2);
}

#[test]
fn rows_that_were_set_aside_are_mended_and_imported_by_the_same_command() {
    let shell = Shell::new();
    let head = "\u{feff}List of March\r\n\r\nid;name;error\r\n";
    let text = format!("{head}1;Tea;no\r\n2;\"O\"Brien\";x\r\n3;\"open;y\r\n4;Salt;z\r\n5;Soap");
    shell.file("s.csv", &text);
    let command = |file: &str| format!("B import goods {file} --id id");
    let reported = shell.run(&command("s.csv")).fails(1);
    for line in ["s.csv:5:", "s.csv:6:", "s.csv:8:"] {
        assert!(reported.contains(line), "{reported}");
    }
    assert_eq!(shell.head.count("goods"), 2);
    assert_eq!(shell.record("goods/1"), json!({"id": "1", "name": "Tea", "error": "no"}));
    let rejected = shell.read("s.csv.rejected.csv");
    assert_eq!(rejected, format!("{head}2;\"O\"Brien\";x\r\n3;\"open;y\r\n5;Soap\n"));
    let reasons = shell.read("s.csv.rejected.reasons.txt");
    assert!(reasons.contains("line 6 (line 5 here): "), "{reasons}");
    // What is not mended yet is kept beside, under the next name.
    let mended = rejected.replace("\"O\"Brien\"", "\"O\"\"Brien\"").replace("\"open", "open");
    shell.file("s.csv.rejected.csv", &mended);
    let reported = shell.run(&command("s.csv.rejected.csv")).fails(1);
    assert!(reported.contains("s.csv.rejected-2.csv"), "{reported}");
    assert_eq!(shell.read("s.csv.rejected.csv"), mended);
    assert_eq!(shell.record("goods/2"), json!({"id": "2", "name": "O\"Brien", "error": "x"}));
    shell.file("s.csv.rejected-2.csv", shell.read("s.csv.rejected-2.csv").replace("Soap", "Soap;"));
    shell.run(&command("s.csv.rejected-2.csv")).ok();
    assert_eq!(shell.record("goods/5"), json!({"id": "5", "name": "Soap"}));
    assert!(!shell.has_file("s.csv.rejected-3.csv"));

    let broken = "{\"id\": \"2\",  \"n\": }";
    shell.file("l.jsonl", format!("{{\"id\": \"1\"}}\n{broken}\n"));
    shell.run("B import lines l.jsonl --id id").fails(1);
    assert_eq!(shell.read("l.jsonl.rejected.jsonl"), format!("{broken}\n"));
    let reported = shell.run("cat l.jsonl | B import lines - --id id").fails(1);
    assert!(reported.contains("lines.rejected.jsonl"), "{reported}");
    shell.file("lines.rejected.jsonl", broken.replace("}", "7}"));
    shell.run("B import lines lines.rejected.jsonl --id id").ok();
    assert_eq!(shell.record("lines/2"), json!({"id": "2", "n": 7}));
}

#[test]
fn deleted_records_come_back_only_where_that_is_asked_for() {
    let shell = Shell::new();
    shell.file("old.csv", "id,name\n1,Tea\n2,Rice\n");
    shell.run("B import goods old.csv --id id && B patch goods 1 '{\"note\": \"sold out\"}' && B delete goods 1").ok();
    let reported = shell.run("B import goods old.csv --id id").fails(1);
    assert!(reported.contains("old.csv:2: record goods/1 is deleted; --undelete"), "{reported}");
    assert_eq!(shell.head.count("goods"), 1);
    let said = shell.run("B import goods old.csv.rejected.csv --id id --undelete").ok();
    assert!(said.contains("1 new or changed"), "{said}");
    assert_eq!(shell.record("goods/1"), json!({"id": "1", "name": "Tea"}));
    let said = shell.run("B import goods old.csv --id id --undelete").ok();
    assert!(said.contains("2 unchanged"), "{said}");
}

#[test]
fn money_between_semicolons_is_asked_for_where_a_point_may_separate_thousands() {
    let shell = Shell::new();
    shell.file("z.csv", "k;p\n1;1.234,5\n2;2.000;x\n3;3,25\n");
    shell.run("B import rz z.csv --id k").fails(1);
    assert_eq!(shell.record("rz/1")["p"], "1234.5");
    let mended = shell.read("z.csv.rejected.csv").replace(";x", "");
    shell.file("mended.csv", mended);
    let asked = shell.run("B import rz mended.csv --id k").fails(1);
    assert!(asked.contains("--decimal"), "{asked}");
    assert!(shell.read("mended.csv.rejected.reasons.txt").contains("2.000 or 2000"));
    shell.run("B import rz mended.csv --id k --decimal ,").ok();
    assert_eq!(shell.record("rz/2")["p"], "2000");
    // Where another number shows what stands before a fraction, nobody is asked.
    shell.file("point.csv", "k;p;q\n1;1.234;0.5\n");
    shell.run("B import ry point.csv --id k").ok();
    assert_eq!(shell.record("ry/1")["p"], "1.234");
}

#[test]
fn what_a_row_says_twice_or_would_add_again_is_set_aside_and_declares_nothing() {
    let shell = Shell::new();
    shell.file(
        "twice.jsonl",
        "{\"id\":\"1\",\"a\":1,\"a\":2}\n{\"id\":\"2\",\"m\":{\"x\":1,\"x\":2}}\n",
    );
    shell.run("B import w twice.jsonl --id id").fails(1);
    let reasons = shell.read("twice.jsonl.rejected.reasons.txt");
    assert_eq!(reasons.matches("is there twice").count(), 2, "{reasons}");
    shell.file("adds.jsonl", "{\"id\":\"1\",\"n\":{\"$inc\":5}}\n");
    shell.run("B import w adds.jsonl --id id").fails(1);
    assert!(shell.read("adds.jsonl.rejected.reasons.txt").contains("adds to a counter"));
    shell.file("nested.json", "{\"data\":[{\"id\":\"1\",\"a\":1}]}");
    shell.run("B import w nested.json --id id").fails(1);
    let reasons = shell.read("nested.json.rejected.reasons.txt");
    assert!(reasons.contains("no field id; the first fields are data"), "{reasons}");
    // None of them has said what kind a field is.
    shell.file("right.jsonl", "{\"id\":\"1\",\"data\":\"text\",\"a\":\"b\",\"n\":7,\"m\":\"c\"}\n");
    shell.run("B import w right.jsonl --id id").ok();
    assert_eq!(shell.record("w/1"), json!({"id": "1", "data": "text", "a": "b", "n": 7, "m": "c"}));
}

#[test]
fn a_time_that_would_become_another_is_set_aside() {
    let shell = Shell::new();
    shell.file("t.csv", "id,ts\n1,46053\n2,2016-12-31T23:59:60Z\n3,2026-01-31T12:00:00Z\n");
    shell.run("B import w t.csv --id id --types ts=timestamp").fails(1);
    let reasons = shell.read("t.csv.rejected.reasons.txt");
    assert!(reasons.contains("\"46053\"") && reasons.contains("23:59:60"), "{reasons}");
    assert_eq!(shell.record("w/3")["ts"], "2026-01-31T12:00:00.000Z");
}

#[test]
fn a_csv_export_names_the_fields_whose_kind_it_loses() {
    let shell = Shell::new();
    shell.run("B put mx 1 '{\"f\":1,\"g\":2}' && B put mx 2 '{\"f\":\"x\",\"g\":3}'").ok();
    let exported = shell.run("B export mx -o mx.csv");
    assert!(exported.stderr.contains("warning: f cannot be read back"), "{}", exported.stderr);
    let exported = shell.run("B export mx -o mx.jsonl");
    assert!(!exported.stderr.contains("warning"), "{}", exported.stderr);
}
