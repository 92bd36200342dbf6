//! `branchline-sim` as people call it: what it answers, and with which exit code.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::{Command, Output};

use branchline_simulations::trace::{EntryStatus, Event, Step};
use serde_json::Value;

/// Two hours in which a branch is cut off for a while.
const SMALL: &str = r#"
about = "a branch is cut off for half an hour"
offices = ["head", "north", "south"]
duration = "2h"

[workload]
writes_per_hour = 20

[[workload.collection]]
name = "products"
records = 5

[[fault]]
kind = "isolate"
offices = ["south"]
at = "30m"
for = "30m"
"#;

fn sim(folder: &Path, arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_branchline-sim");
    Command::new(program).current_dir(folder).args(arguments).output().expect("the program starts")
}

fn with_small() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.toml"), SMALL).unwrap();
    folder
}

/// The program's stdout, where it ended well.
#[track_caller]
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = sim(folder, arguments);
    let reported = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {reported}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn assert_refused(folder: &Path, arguments: &[&str], code: i32, parts: &[&str]) {
    let output = sim(folder, arguments);
    let reported = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {reported}");
    for part in parts {
        assert!(reported.contains(part), "{part:?} is not in: {reported}");
    }
}

#[test]
fn a_run_tells_its_outcome_its_trace_and_its_page() {
    let folder = with_small();
    let path = folder.path();
    let arguments = ["run", "small.toml", "--trace", "t.jsonl", "--report", "r.html"];
    let text = said(path, &arguments);
    assert!(text.contains("held: every promise that was checked"), "{text}");
    assert!(text.contains("isolate 1"), "{text}");
    let page = std::fs::read_to_string(path.join("r.html")).unwrap();
    assert!(page.contains("south has no line to anyone"));
    assert!(page.contains("head – south"), "the link that was cut");
    let trace = std::fs::read_to_string(path.join("t.jsonl")).unwrap();
    let steps: Vec<Step> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(steps.iter().any(|step| step.event == Event::Healed));
    let json: Value = serde_json::from_str(&said(path, &["run", "small.toml", "--json"])).unwrap();
    assert_eq!((&json["held"], &json["seed"]), (&Value::Bool(true), &Value::from(1)));
}

#[test]
fn an_explanation_follows_a_record_to_every_office() {
    let folder = with_small();
    let path = folder.path();
    said(path, &["run", "small.toml", "--trace", "t.jsonl"]);
    let trace = std::fs::read_to_string(path.join("t.jsonl")).unwrap();
    let steps: Vec<Step> = trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // South's first entry while it is cut off.
    let (entry, record) = steps
        .iter()
        .filter(|step| step.at_ms > 31 * 60_000)
        .find_map(|step| match &step.event {
            Event::FirstSeen { entry, records } if entry.author == "south" => {
                Some((entry.clone(), records.first()?.clone()))
            }
            _ => None,
        })
        .expect("south writes while it is cut off");
    let arrived_ms = steps.iter().find_map(|step| match &step.event {
        Event::Held { site, entry: held, status: EntryStatus::Applied, .. }
            if site == "north" && *held == entry =>
        {
            Some(step.at_ms)
        }
        _ => None,
    });
    assert!(arrived_ms.unwrap() >= 60 * 60_000, "not while south is cut off");
    let record = record.to_string();
    let text = said(path, &["explain", "small.toml", "--record", &record]);
    assert!(text.contains("south has no line to anyone, for 30 min"), "{text}");
    assert!(text.contains(&format!("{entry} is visible at south, written there")), "{text}");
    assert!(text.contains(&format!("{entry} is visible at north, from head")), "{text}");
    assert!(!text.contains("never at"), "{text}");
    let north = said(path, &["explain", "small.toml", "--record", &record, "--site", "north"]);
    assert!(north.lines().count() < text.lines().count());
}

#[test]
fn sweeps_and_repeats_hold_and_say_so() {
    let folder = with_small();
    let text = said(
        folder.path(),
        &["sweep", "small.toml", "--seeds", "1..3", "--jobs", "2", "--minutes", "9"],
    );
    assert!(text.starts_with("3 runs, 0 failed\n"), "{text}");
    assert!(text.contains("in 8 hours at this pace, with 2 jobs"), "{text}");
    assert!(text.contains("s: branchline-sim run small.toml --seed"), "{text}");
    let text = said(folder.path(), &["meta", "small.toml", "--seed", "4"]);
    assert!(text.contains("two runs") && text.contains("equal steps"), "{text}");
}

#[test]
fn shipped_scenarios_are_listed_shown_and_a_new_one_can_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(said(path, &["list"]).contains("office-outage  (12 offices, 3 d 12 h)"));
    assert!(said(path, &["show", "chain"]).contains("shape = \"chain\""));
    let new = said(path, &["new", "ours"])
        .replace("\"3d\"", "\"1h\"")
        .replace("\"1d\"\nfor = \"10h\"", "\"10m\"\nfor = \"10m\"");
    std::fs::write(path.join("ours.toml"), new).unwrap();
    assert!(said(path, &["run", "ours.toml"]).contains("ours, seed 1"));
}

#[test]
fn what_is_asked_wrongly_is_told_with_exit_code_2() {
    let folder = with_small();
    let path = folder.path();
    std::fs::write(path.join("bad.toml"), SMALL.replace("\"2h\"", "\"2 moons\"")).unwrap();
    assert_refused(
        path,
        &["run", "two-way-splt"],
        2,
        &["two-way-splt", "did you mean two-way-split?"],
    );
    assert_refused(path, &["run", "bad.toml"], 2, &["line 4, column 12", "2 moons", "^", "hint:"]);
    assert_refused(path, &["run", "."], 2, &["cannot read"]);
    assert_refused(path, &["show", "unheard-of"], 2, &["list"]);
    assert_refused(path, &["new", "two words"], 2, &["two words"]);
    assert_refused(path, &["sweep", "small.toml", "--seeds", "9..3"], 2, &["did you mean 3..9?"]);
    assert_refused(path, &["sweep", "small.toml", "--jobs", "0"], 2, &["0"]);
    assert_refused(path, &["sweep", "small.toml", "--minutes", "0"], 2, &["0"]);
    assert_refused(path, &["explain", "small.toml", "--record", "products"], 2, &["COLLECTION/ID"]);
    let unknown = ["explain", "small.toml", "--record", "products/none"];
    assert_refused(path, &unknown, 2, &["never existed", "records that were written: products/"]);
    let unknown = ["explain", "small.toml", "--record", "products/none", "--site", "west"];
    assert_refused(path, &unknown, 2, &["west", "head, north, south"]);
}

#[test]
fn what_cannot_be_written_fails_with_exit_code_1() {
    let folder = with_small();
    let path = folder.path();
    for option in ["--trace", "--report"] {
        assert_refused(
            path,
            &["run", "small.toml", option, "no/such/folder"],
            1,
            &["no/such/folder"],
        );
    }
    let bounded = ["run", "small.toml", "--trace", "t.jsonl", "--trace-mib-max", "0"];
    assert_refused(path, &bounded, 1, &["longer than 0 bytes", "--trace-mib-max"]);
}

/// Where every message is lost, nobody comes into step.
#[test]
fn a_broken_promise_ends_with_exit_code_1_and_the_command_that_repeats_it() {
    let folder = with_small();
    let hopeless = SMALL.replace(
        "[workload]",
        "converge_within_rounds = 1\n\n[link]\nloss = \"100%\"\n\n[workload]",
    );
    std::fs::write(folder.path().join("hopeless.toml"), hopeless).unwrap();
    let output = sim(folder.path(), &["run", "hopeless.toml", "--seed", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("FAIL 2."), "{text}");
    assert!(text.contains("reproduce: branchline-sim run hopeless.toml --seed 3"), "{text}");
    let output = sim(folder.path(), &["sweep", "hopeless.toml", "--seeds", "3", "--fail-fast"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 run, 1 failed") && text.contains("--seed 3"), "{text}");
}
