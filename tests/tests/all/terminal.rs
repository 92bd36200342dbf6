//! What other sites have written is shown at a terminal, and cannot steer it or hide from the one who reads there.

use std::collections::BTreeSet;
use std::fs;

use branchline_tests::terminal::{hidden_in, run_at_terminal};
use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

/// Clears the screen, in one character of C1 too; sets a title; turns the direction of writing; hides.
const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\u{1b}]0;title\u{7}\r\u{8}\u{7f}\u{202e}txt.\u{2066}\u{200b}\u{feff}\u{e0041}\u{2028}z";
/// The same without what names and ids may not have.
const HIDDEN: &str = "n\u{202e}txt\u{2066}\u{200b}\u{feff}\u{e0041}\u{ad}z";

fn shown(office: &Office, arguments: &[&str]) -> String {
    run_at_terminal(office.command(arguments))
}

/// The commands that the help lists.
fn commands(office: &Office) -> BTreeSet<String> {
    let help = office.run(["help"]).ok();
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names = listed.take_while(|line| !line.starts_with("Options:"));
    names
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned))
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn no_command_passes_on_what_steers_a_terminal_or_hides_from_its_reader() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    let mut north = Office::init(PROGRAM, folder.path(), "north", false);
    // Names that hide something are taken by nobody.
    fs::remove_dir_all(&north.data).unwrap();
    let name = format!("north{HIDDEN}");
    let refused = north.run(["init", "--name", &name]).fails(1);
    assert!(refused.contains("U+202E") && !refused.contains('\u{202e}'), "{refused}");
    north.run(["init", "--name", "north"]).ok();
    north.start();
    north.join(&head);
    let id = format!("id{HIDDEN}");
    let fields =
        json!({ format!("f{HIDDEN}"): HOSTILE, "plain": HOSTILE, "list": [HOSTILE], "n": 1 });
    let body = fields.to_string();
    north.run_with(["put", "items", &id, "-"], &body).ok();
    converge(&[&head, &north]);
    // A conflict, and a deletion.
    assert_eq!(north.stop(), 0);
    for (office, value) in [(&head, "x"), (&north, "y")] {
        let patch = json!({ "plain": format!("{HOSTILE}{value}") }).to_string();
        office.run_with(["patch", "items", &id, "-"], &patch).ok();
    }
    north.run_with(["put", "items", "gone", "-"], &body).ok();
    north.run(["delete", "items", "gone"]).ok();
    north.start();
    converge(&[&head, &north]);
    eventually("head knows the name", || head.run(["members"]).ok().contains("north"));

    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (bundle, ticket, backup) = (path("bundle"), path("ticket"), path("backup"));
    let (garbage, csv) = (path("garbage"), path("items.csv"));
    fs::write(&garbage, HOSTILE).unwrap();
    fs::write(&csv, format!("id,{HIDDEN}\n{HIDDEN},1\n{HIDDEN},{HIDDEN}\n\"\u{1b}[2J\",2\n"))
        .unwrap();
    let filter = format!("plain > '{HIDDEN}'");
    let walked: Vec<Vec<&str>> = vec![
        vec!["status"],
        vec!["status", "--why"],
        vec!["members"],
        vec!["peers"],
        vec!["list", "items"],
        vec!["list", "items", "--where", &filter],
        vec!["list", "items", "--where", &id],
        vec!["get", "items", &id],
        vec!["get", "items", "gone"],
        vec!["get", "items", HOSTILE],
        vec!["count", "items"],
        vec!["summary", "items", "--by", "plain", "--max", "plain"],
        vec!["summary", "items", "--by", &id],
        vec!["export", "items"],
        vec!["export", "items", "--format", "jsonl"],
        vec!["history", "items", &id],
        vec!["diff", "items", &id],
        vec!["receipts", "items", &id],
        vec!["conflicts"],
        vec!["log"],
        vec!["log", HIDDEN],
        vec!["frontier"],
        vec!["digest"],
        vec!["verify"],
        vec!["schema", "show"],
        vec!["schema", "apply", &garbage],
        vec!["space", "list"],
        vec!["space", "show", HIDDEN],
        vec!["space", "grant", HOSTILE, HOSTILE],
        vec!["role", "north", "writer"],
        vec!["role", &name, "writer"],
        vec!["rename", HIDDEN, "other"],
        vec!["revoke", HOSTILE],
        vec!["patch", "items", &id, r#"{"n": 2}"#],
        vec!["put", "items", &id, HOSTILE],
        vec!["delete", "items", HOSTILE],
        vec!["undelete", "items", "gone"],
        vec!["import", "items", &csv, "--id", "id"],
        vec!["sync", "--timeout", "5s"],
        vec!["bundle", &bundle],
        vec!["merge", &bundle],
        vec!["merge", &garbage],
        vec!["invite", "-o", &ticket],
        vec!["join", HOSTILE],
        vec!["join", &garbage],
        vec!["backup", "create", &backup],
        vec!["check"],
        vec!["rebuild"],
        vec!["init", "--name", HOSTILE],
        vec!["rotate"],
        vec!["run"],
        vec![HOSTILE],
    ];
    let walked_names: BTreeSet<_> = walked.iter().map(|words| words[0].to_owned()).collect();
    let endless = ["watch", "demo", "completions", "help", "run", "rebuild"];
    // A command that is new here must at least refuse what it is not asked for without harm.
    let others: Vec<_> =
        commands(&head).into_iter().filter(|name| !walked_names.contains(name)).collect();
    let others = others.iter().map(String::as_str).filter(|name| !endless.contains(name));
    let all = walked.into_iter().chain(others.map(|name| vec![name]));
    for words in all {
        for json in [&[][..], &["--json"]] {
            let shown = shown(&head, &[json, &words].concat());
            let hidden = hidden_in(&without_progress(&shown));
            assert_eq!(hidden, None, "{json:?} {words:?} showed: {shown:?}");
        }
    }
    // A stopped node's folder tells the rest.
    assert_eq!(north.stop(), 0);
    let watched = shown(&north, &["watch", "items"]);
    assert!(watched.contains(r"\u202etxt"), "{watched}");
    assert_eq!(hidden_in(&watched), None, "{watched:?}");
    assert_eq!(hidden_in(&shown(&north, &["--json", "watch"])), None);
    let log = fs::read_to_string(head.log_path()).unwrap();
    assert!(log.contains("new member"), "{log}");
    assert_eq!(hidden_in(&log), None, "{log:?}");

    // It is shown in a form that says what it is, and JSON and exports stay exact.
    let list = shown(&head, &["list", "items"]);
    assert!(list.contains(r"id\u202e") || list.contains(r"n\u202e"), "{list}");
    let json: Value =
        serde_json::from_str(&head.run(["--json", "get", "items", &id]).ok()).unwrap();
    assert_eq!(json[format!("f{HIDDEN}")], HOSTILE);
    let at_terminal: Value =
        serde_json::from_str(&shown(&head, &["--json", "get", "items", &id])).unwrap();
    assert_eq!(at_terminal, json);
    let exported = head.run(["export", "items"]).ok();
    assert!(exported.contains(HOSTILE), "{exported:?}");
    let (address, token) = head.api();
    let url = format!("http://{address}/v1/records/items?limit=10");
    let answer = client().get(url).bearer_auth(token).send().unwrap();
    assert!(answer.text().unwrap().contains('\u{202e}'), "the API is for programs");
}

/// What the bar of an import moves the cursor with is its own.
fn without_progress(text: &str) -> String {
    let mut text = text.to_owned();
    for own in ["\u{1b}[2K", "\u{1b}[1A", "\u{1b}[1B", "\u{1b}[?25l", "\u{1b}[?25h", "\r"] {
        text = text.replace(own, "");
    }
    text
}
