//! Events on the command line and over the API: stored once, never changed, and what is changed all the same is not shown.

use branchline_tests::{Office, client, converge, eventually};
use serde_json::{Value, json};

use crate::PROGRAM;

fn event(id: &str, aggregate: &str, amount: &str) -> String {
    let event = json!({
        "id": id, "type": "paid", "aggregate_id": aggregate, "data": {"amount": amount},
    });
    event.to_string()
}

/// The JSON lines that a command prints.
fn lines(office: &Office, arguments: &[&str]) -> Vec<Value> {
    let printed = office.run([&["--json"], arguments].concat()).ok();
    printed.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

fn ids(office: &Office, arguments: &[&str]) -> Vec<String> {
    let events = lines(office, arguments);
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn by_aggregate(office: &Office, aggregate: &str, expected: &[&str]) {
    let load = ["events", "load", "ledger", "--aggregate", aggregate];
    eventually("the index by aggregate is built", || office.run(load).code == 0);
    let mut found = ids(office, &load);
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn events_are_stored_once_and_no_command_changes_them() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, north) = Office::pair(PROGRAM, folder.path());
    let refused = head.run(["events", "load", "ledger"]).fails(1);
    assert!(refused.contains("is not a collection of events"), "{refused}");
    head.run_with(["schema", "apply", "-"], r#"{"ledger": {"events": true}}"#).ok();
    let schema = head.run(["--json", "schema", "show", "ledger"]).ok();
    assert!(schema.contains("append-only") && schema.contains("indexed"), "{schema}");
    let both = format!("{}\n{}\n", event("1", "order 7", "12.50"), event("2", "order 8", "1"));
    let stored = head.run_with(["events", "store", "ledger"], &both).ok();
    assert_eq!(stored, "2 events stored\n");
    let again = [event("2", "order 8", "1"), event("3", "order 7", "3.00")];
    let stored = head.run(["events", "store", "ledger", &again[0], &again[1]]).ok();
    assert_eq!(stored, "1 event stored, 1 known already\n");
    converge(&[&head, &north]);
    for office in [&head, &north] {
        // All or none.
        let bad = [event("4", "order 7", "4"), event("1", "order 7", "9")];
        let refused = office.run(["events", "store", "ledger", &bad[0], &bad[1]]).fails(1);
        assert!(refused.contains("another event with this id"), "{refused}");
        assert!(!office.has("ledger", "4"));
        let other = event("1", "order 7", "9");
        for arguments in [
            &["put", "ledger", "1", &other][..],
            &["patch", "ledger", "1", r#"{"type": "refunded"}"#],
            &["delete", "ledger", "1"],
            &["undelete", "ledger", "1"],
        ] {
            let refused = office.run(arguments).fails(1);
            assert!(
                refused.contains("events never change") || refused.contains("events are never"),
                "{refused}"
            );
        }
        let import = |line: &str| {
            let path = folder.path().join("events.jsonl");
            std::fs::write(&path, line).unwrap();
            office.run(["import", "ledger", path.to_str().unwrap(), "--id", "id"])
        };
        import(&event("1", "order 7", "12.50")).ok();
        let refused = import(&event("1", "order 7", "9"));
        assert!(refused.code != 0, "{refused:?}");
        assert!(refused.stderr.contains("events never change"), "{refused:?}");
        let wrong = r#"{"type": "paid", "aggregate_id": "order 7", "data": 1, "shop": 3}"#;
        let refused = office.run(["put", "ledger", "9", wrong]).fails(1);
        assert!(refused.contains("not a field of an event"), "{refused}");
        by_aggregate(office, "order 7", &["1", "3"]);
        by_aggregate(office, "order 8", &["2"]);
        assert_eq!(ids(office, &["events", "load", "ledger"]).len(), 3);
        assert_eq!(
            office.run(["events", "altered", "ledger"]).ok(),
            "no event of ledger was changed\n"
        );
        office.run(["check"]).ok();
    }
    let refused = head.run_with(["schema", "apply", "-"], r#"{"ledger": {"note": "string"}}"#);
    assert!(refused.fails(1).contains("stays a collection of events"));

    // Behind a version, which is a site's own.
    let version = north.run(["events", "latest", "ledger"]).ok();
    let version = version.trim();
    north.run(["events", "store", "ledger", &event("5", "order 7", "5")]).ok();
    assert_eq!(ids(&north, &["events", "load", "ledger", "--since", version]), ["5"]);
    let refused = head.run(["events", "load", "ledger", "--since", version]).fails(1);
    assert!(refused.contains("another site"), "{refused}");
    converge(&[&head, &north]);
    assert_eq!(head.stop(), 0);
    // Of a stopped node too: all that there are, and an end.
    let watched = head.run(["--json", "events", "watch", "ledger", "--since", "start"]).ok();
    assert_eq!(watched.lines().count(), 4);
    assert!(watched.contains(r#""amount":"12.50""#));
}

#[test]
fn what_was_written_apart_is_in_conflict_and_what_was_changed_is_listed_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (mut head, mut north) = Office::pair(PROGRAM, folder.path());
    converge(&[&head, &north]);
    assert_eq!(head.stop(), 0);
    // North knows of no schema yet, and so keeps no events.
    let stored = |aggregate: &str, data: &str| {
        json!({"type": "paid", "aggregate_id": aggregate, "data": data, "metadata": null})
            .to_string()
    };
    for id in ["1", "2", "3"] {
        north.run(["put", "ledger", id, &stored("order 7", r#"{"amount":"1.00"}"#)]).ok();
    }
    north.run(["put", "ledger", "2", &stored("order 8", "2")]).ok();
    north.run(["delete", "ledger", "3"]).ok();
    assert_eq!(north.stop(), 0);
    head.run(["events", "declare", "ledger"]).ok();
    head.run(["events", "store", "ledger", &event("1", "order 9", "9.00")]).ok();
    head.start();
    north.start();
    converge(&[&head, &north]);
    let synced: Value = serde_json::from_str(&head.run(["--json", "sync"]).ok()).unwrap();
    assert_eq!((&synced["complete"], &synced["errors"]), (&json!(true), &json!([])), "{synced}");
    assert_eq!(synced["frontier"], synced["peers"][0]["frontier"], "{synced}");
    assert!(synced["started"].is_string() && synced["pulled"].is_u64(), "{synced}");
    for office in [&head, &north] {
        eventually("what was changed is known", || {
            office.run(["events", "altered", "ledger"]).ok().contains("north")
        });
        let altered = ids(office, &["events", "altered", "ledger"]);
        assert_eq!(altered, ["2", "3"]);
        let checked = office.run(["check"]);
        assert_eq!(checked.code, 1, "{checked:?}");
        assert!(checked.stdout.contains("ledger: changed after they were stored"), "{checked:?}");
        assert!(checked.stdout.contains("2, 3"), "{checked:?}");
        let conflicts = office.run(["conflicts", "ledger"]).ok();
        assert!(conflicts.contains("order 7") && conflicts.contains("order 9"), "{conflicts}");
        assert!(!conflicts.contains("order 8"), "{conflicts}");
        // Records, lists and queries show what events do.
        let second: Value = serde_json::from_str(&office.run(["get", "ledger", "2"]).ok()).unwrap();
        assert_eq!(second["aggregate_id"], "order 7");
        assert!(office.has("ledger", "3"));
        let listed =
            office.run(["--json", "list", "ledger", "--where", "aggregate_id = 'order 8'"]);
        assert_eq!(listed.ok(), "");
        let shown = lines(office, &["events", "load", "ledger"]);
        let first = shown.iter().rfind(|event| event["id"] == "1").unwrap();
        let others = first["others"].as_array().unwrap();
        let mut aggregates = vec![&first["aggregate_id"], &others[0]["aggregate_id"]];
        aggregates.sort_by_key(|id| id.to_string());
        assert_eq!(aggregates, ["order 7", "order 9"]);
        let of = first["aggregate_id"].as_str().unwrap();
        let expected: &[&str] = if of == "order 7" { &["1", "2", "3"] } else { &["2", "3"] };
        by_aggregate(office, "order 7", expected);
        office.run(["verify"]).ok();
    }
}

#[test]
fn events_come_to_a_client_of_the_api_as_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    head.start();
    head.run(["events", "declare", "ledger"]).ok();
    let (address, token) = head.api();
    let ask = |path: &str, accept: &str| {
        let request = client().get(format!("http://{address}/v1/events/ledger{path}"));
        request.bearer_auth(&token).header("accept", accept).send().unwrap()
    };
    let latest: Value = ask("/latest", "application/json").json().unwrap();
    let version = latest["version"].as_str().unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let path = format!("?since={version}&wait=50s");
            ask(&path, "application/json").json::<Value>().unwrap()
        });
        head.run(["events", "store", "ledger", &event("1", "order 7", "12.50")]).ok();
        waiting.join().unwrap()
    });
    assert_eq!(waiting["events"][0]["data"]["amount"], "12.50", "{waiting}");
    head.run(["put", "shelf", "1", "{}"]).ok();
    let mut stream = ask("?since=start", "text/event-stream");
    let mut read = String::new();
    eventually("the event comes", || {
        let mut bytes = [0; 1024];
        let count = std::io::Read::read(&mut stream, &mut bytes).unwrap();
        read.push_str(&String::from_utf8_lossy(&bytes[..count]));
        read.contains("event: event\n") && read.contains("\"12.50\"")
    });
    assert!(!read.contains("shelf"), "{read}");
}

/// A configuration that has each setting of connectors that the page names.
const SETTINGS: &str = r#"
[[bridge]]
name = "till"
url = "sqlite:/srv/till.db"
poll = "200ms"
[[bridge.table]]
table = "sales"
collection = "sales"
mode = "capture"
where = "state = 'sent'"

[[source]]
name = "crm"
collection = "accounts"
schedule = "0 2 * * *"
full_schedule = "0 3 * * 0"
retry = { attempts = 3 }
[source.request]
url = "https://crm.example.com/accounts?since={since}"
items = ".[]"
id = ".id"

[[sink]]
name = "erp"
kind = "http"
collection = "orders"
translate = "{ ref: .orders.ref }"
where = "state = 'sent'"
retry = { attempts = 3 }
timeout = "10s"
idle = "5s"
[sink.create]
method = "PUT"
url = "https://erp.example.com/orders/{ref}"

[[sink]]
name = "search"
kind = "weaviate"
url = "https://weaviate.example.com"
batch = 50
[[sink.object]]
collection = "orders"
class = "Order"
translate = "{ ref }"
"#;

#[test]
fn each_setting_of_connectors_that_the_page_names_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let head = Office::init(PROGRAM, folder.path(), "head", true);
    std::fs::write(head.data.join("branchline.toml"), SETTINGS).unwrap();
    let extensions = vec![branchline_connect::extension()];
    let read =
        branchline_node::Config::load_with(&head.data, None, Default::default(), &extensions);
    read.expect("a sound configuration");
    let page = include_str!("../../../../node/docs/events.md");
    let table =
        page.split("| for connectors |").nth(1).expect("the table").split("\n\n").next().unwrap();
    let mut named = Vec::new();
    for line in table.lines().skip(2) {
        let cell = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        named.extend(cell.split('`').skip(1).step_by(2));
    }
    assert!(named.len() > 8, "{named:?}");
    for name in named.into_iter().filter(|name| !["weaviate", "/metrics"].contains(name)) {
        assert!(SETTINGS.contains(&format!("\n{name} = ")), "{name}");
    }
}
