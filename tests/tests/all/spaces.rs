//! Spaces that some offices share, as users run them: processes, folders, sockets, sticks.

use std::path::Path;

use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Head, north and south, running and members.
fn offices(folder: &Path) -> [Office; 3] {
    let [mut head, mut north, mut south] =
        ["head", "north", "south"].map(|name| office(folder, name));
    head.start();
    for branch in [&mut north, &mut south] {
        branch.start();
        branch.join(&head);
    }
    converge(&[&head, &north, &south]);
    [head, north, south]
}

fn has(office: &Office, space: &str, id: &str) -> bool {
    office.run(["--space", space, "get", "sales", id]).code == 0
}

fn spaces(office: &Office) -> Vec<String> {
    let answer = json(&office.run(["--json", "space", "list"]).ok());
    let spaces = answer["spaces"].as_array().unwrap();
    spaces.iter().map(|space| space["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_branch_holds_its_own_space_and_the_catalogue_and_head_holds_all() {
    let folder = tempfile::tempdir().unwrap();
    let [head, mut north, south] = offices(folder.path());
    head.run(["put", "products", "tea", r#"{"price": "2.50"}"#]).ok();
    for branch in ["north", "south"] {
        head.run(["space", "create", branch]).ok();
        head.run(["space", "grant", branch, branch]).ok();
    }
    for (office, name) in [(&north, "north"), (&south, "south")] {
        eventually("the branch is in its space", || spaces(office) == [name]);
        let sale = format!(r#"{{"till": "{name}", "total": "7.20"}}"#);
        office.run(["--space", name, "put", "sales", "1", &sale]).ok();
        eventually("head has the sale", || has(&head, name, "1"));
    }
    // The same id in two spaces is two records, and main has neither.
    let sold = json(&head.run(["--space", "south", "get", "sales", "1"]).ok());
    assert_eq!(sold["till"], "south");
    assert_eq!(head.run(["get", "sales", "1"]).code, 1);
    eventually("the catalogue is everywhere", || {
        [&north, &south].iter().all(|office| office.has("products", "tea"))
    });
    let unknown = north.run(["--space", "south", "list", "sales"]).fails(1);
    assert!(unknown.contains("no space") && unknown.contains("space list"), "{unknown}");
    // Everything that is about records works in a space.
    north.run(["--space", "north", "patch", "sales", "1", r#"{"paid": true}"#]).ok();
    let history = north.run(["--space", "north", "history", "sales", "1"]).ok();
    assert!(history.contains("paid"), "{history}");
    assert_eq!(north.run(["--space", "north", "count", "sales"]).ok().trim(), "1");
    let log = north.run(["--space", "north", "log"]).ok();
    assert!(log.contains("north"), "{log}");
    let feed = north.get("/v1/changes?since=start&space=north");
    assert_eq!(feed["changes"].as_array().unwrap().len(), 2, "{feed}");
    let main = north.get("/v1/changes?since=start");
    assert!(!main.to_string().contains("sales"), "{main}");
    eventually("head has seen the payment", || {
        head.run(["--space", "north", "get", "sales", "1"]).ok().contains("paid")
    });
    let digest = |office: &Office| office.run(["--space", "north", "digest"]).ok();
    assert_eq!(digest(&head), digest(&north));
    // Anyone who waits for a receipt waits for the sites of the space.
    let (address, token) = north.api();
    let path = "/v1/records/sales/2?space=north&wait=received:1&timeout=30s";
    let put = client().put(format!("http://{address}{path}")).bearer_auth(token);
    let waited = put.json(&json!({"total": "1"})).send().unwrap();
    assert_eq!(waited.status().as_u16(), 200, "{waited:?}");
    assert!(has(&head, "north", "2"));
    // After a restart, with the node or without.
    assert_eq!(north.stop(), 0);
    assert!(has(&north, "north", "1"));
    north.run(["--space", "north", "put", "sales", "3", "{}"]).ok();
    north.start();
    eventually("head has what was written meanwhile", || has(&head, "north", "3"));
    north.run(["rebuild"]).ok();
    assert!(has(&north, "north", "3"));
    for office in [&head, &north, &south] {
        office.run(["verify"]).ok();
    }
}

#[test]
fn what_cannot_be_asked_of_spaces_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let [head, north, south] = offices(folder.path());
    head.run(["space", "create", "tills"]).ok();
    let taken = head.run(["space", "create", "tills"]).fails(1);
    assert!(taken.contains("already holds a space called tills"), "{taken}");
    let bad = head.run(["space", "create", "Two Words"]).fails(1);
    assert!(bad.contains("letters a to z"), "{bad}");
    let by_writer = north.run(["space", "create", "own"]).fails(1);
    assert!(by_writer.contains("takes the role admin"), "{by_writer}");
    let nobody = head.run(["space", "grant", "tills", "nobody"]).fails(1);
    assert!(nobody.contains("no member is called"), "{nobody}");
    let unknown = head.run(["space", "grant", "till", "north"]).fails(1);
    assert!(unknown.contains("no space \"till\""), "{unknown}");
    let last = head.run(["space", "leave", "tills"]).fails(1);
    assert!(last.contains("only admin"), "{last}");
    let outside = head.run(["space", "revoke", "tills", "south"]).fails(1);
    assert!(outside.contains("not in that space"), "{outside}");
    let of_members = head.run(["--space", "tills", "members"]).fails(2);
    assert!(of_members.contains("not about the records of a space"), "{of_members}");

    head.run(["space", "grant", "tills", "north", "reader"]).ok();
    eventually("north is in", || spaces(&north) == ["tills"]);
    let reader = north.run(["--space", "tills", "put", "sales", "1", "{}"]).fails(1);
    assert!(reader.contains("this site is reader"), "{reader}");
    head.run(["space", "grant", "tills", "north", "writer"]).ok();
    eventually("north writes", || {
        north.run(["--space", "tills", "put", "sales", "1", "{}"]).code == 0
    });
    eventually("head has it", || has(&head, "tills", "1"));
    head.run(["space", "revoke", "tills", "north"]).ok();
    eventually("north is out, and knows it", || {
        north.run(["--space", "tills", "put", "sales", "2", "{}"]).stderr.contains("shut out")
    });
    assert!(has(&north, "tills", "1"));
    // The two go on without it.
    north.run(["sync", "head"]).ok();
    let again = head.run(["space", "grant", "tills", "north"]).fails(1);
    assert!(again.contains("another key"), "{again}");
    assert!(spaces(&south).is_empty());
}

#[test]
fn a_stick_carries_a_space_to_those_who_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let [mut head, mut north, mut south] = offices(folder.path());
    for office in [&mut head, &mut north, &mut south] {
        assert_eq!(office.stop(), 0);
    }
    head.run(["space", "create", "tills"]).ok();
    head.run(["space", "grant", "tills", "north"]).ok();
    head.run(["--space", "tills", "put", "sales", "1", r#"{"total": "7.20"}"#]).ok();
    let stick = folder.path().join("stick");
    let path = stick.to_str().unwrap();
    // To north, by name or by what it was given; to south nothing of it.
    head.run(["bundle", path, "--for", "south"]).ok();
    let bytes = std::fs::read(&stick).unwrap();
    assert!(!bytes.windows(5).any(|window| window == b"tills"));
    south.run(["merge", path]).ok();
    assert!(spaces(&south).is_empty());
    head.run(["bundle", path, "--for", "north", "--force"]).ok();
    north.run(["merge", path]).ok();
    assert!(has(&north, "tills", "1"));
    // On what it holds now north writes, and brings it back.
    north.run(["--space", "tills", "put", "sales", "2", "{}"]).ok();
    let frontier = folder.path().join("frontier");
    std::fs::write(&frontier, head.run(["frontier"]).ok()).unwrap();
    north.run(["bundle", path, "--since", frontier.to_str().unwrap(), "--force"]).ok();
    let merged = json(&head.run(["--json", "merge", path]).ok());
    assert_eq!(merged["entries_refused"], 0, "{merged}");
    assert!(has(&head, "tills", "2"));
    // Who is not in it takes nothing of it in.
    head.run(["--space", "tills", "bundle", path, "--force"]).ok();
    let refused = south.run(["merge", path]).fails(1);
    assert!(refused.contains("does not hold"), "{refused}");
    assert!(spaces(&south).is_empty());
}

#[test]
fn a_site_with_a_new_key_is_in_the_same_spaces() {
    let folder = tempfile::tempdir().unwrap();
    let [head, mut north, _south] = offices(folder.path());
    head.run(["space", "create", "tills"]).ok();
    head.run(["space", "grant", "tills", "north"]).ok();
    eventually("north is in", || spaces(&north) == ["tills"]);
    assert_eq!(north.stop(), 0);
    north.run(["rotate"]).ok();
    north.start();
    north.run(["--space", "tills", "put", "sales", "1", "{}"]).ok();
    eventually("head has what the new key wrote", || has(&head, "tills", "1"));
    let shown = head.run(["space", "show", "tills"]).ok();
    assert!(shown.contains("north") && shown.contains("writer"), "{shown}");
}
