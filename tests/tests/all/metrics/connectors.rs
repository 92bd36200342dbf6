//! What connectors measure.

use std::collections::BTreeSet;
use std::sync::Mutex;

use branchline_tests::web::Web;
use branchline_tests::{Office, eventually};
use serde_json::json;

use super::scrape;
use crate::PROGRAM;

const PAGES: [&str; 2] = [
    include_str!("../../../../node/connect/SOURCES.md"),
    include_str!("../../../../node/connect/SINKS.md"),
];

/// What a service says instead of what it would.
static INSTEAD: Mutex<Vec<u16>> = Mutex::new(Vec::new());

fn instead(status: u16) {
    INSTEAD.lock().unwrap().push(status);
}

fn service() -> Web {
    Web::start(|asked| match INSTEAD.lock().unwrap().pop() {
        Some(status) => (status, "{}".to_owned()),
        None if asked.path == "/accounts" => (200, json!([{ "id": 1 }, { "id": 2 }]).to_string()),
        None if asked.body.contains("\"bad\"") => (422, json!({ "error": "no" }).to_string()),
        None => (201, json!({ "id": "7" }).to_string()),
    })
}

#[test]
fn a_sinks_pushes_skips_retries_errors_lag_and_what_it_set_aside_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut head = Office::init(PROGRAM, folder.path(), "head", true);
    let service = service();
    let url = service.url();
    let config = format!(
        "[[sink]]\nname = \"erp\"\nkind = \"http\"\ncollection = \"orders\"\nas = \"order\"\n\
         translate = '{{ ref: .order.ref }}'\nallow = [\"127.0.0.1\"]\n\
         retry = {{ first = \"10ms\", max_delay = \"20ms\", attempts = 2 }}\n\
         [sink.create]\nmethod = \"POST\"\nurl = \"{url}/orders\"\nremote_id = \".id\"\n\
         [sink.update]\nmethod = \"PUT\"\nurl = \"{url}/orders/{{remote_id}}\"\n\
         [sink.delete]\nmethod = \"DELETE\"\nurl = \"{url}/orders/{{remote_id}}\"\n\
         [[source]]\nname = \"crm\"\ncollection = \"accounts\"\nallow = [\"127.0.0.1\"]\n\
         retry = {{ first = \"10ms\", max_delay = \"20ms\", attempts = 3 }}\n\
         [source.request]\nurl = \"{url}/accounts\"\nitems = \".[]\"\nid = \".id\"\n"
    );
    std::fs::write(head.data.join("branchline.toml"), config).unwrap();
    head.start();
    let sink = |name: &str, labels: &[(&str, &str)]| {
        scrape(&head)
            .value(&format!("branchline_sink_{name}"), &[&[("sink", "erp")], labels].concat())
    };
    let put = |id: &str, fields: &str| drop(head.run(["put", "orders", id, fields]).ok());
    let becomes = |name: &str, labels: &[(&str, &str)], value: f64| {
        eventually(&format!("{name} {labels:?} is {value}"), || sink(name, labels) == Some(value));
    };

    // Fails once, and is tried again.
    instead(503);
    put("1", r#"{"ref": "A", "note": "x"}"#);
    becomes("pushes_total", &[("action", "create")], 1.0);
    becomes("retries_total", &[], 1.0);
    becomes("errors_total", &[("class", "transient")], 1.0);
    // Changes nothing that is sent.
    put("1", r#"{"ref": "A", "note": "y"}"#);
    becomes("skipped_total", &[], 1.0);
    put("1", r#"{"ref": "B"}"#);
    becomes("pushes_total", &[("action", "update")], 1.0);
    put("2", r#"{"ref": "bad"}"#);
    becomes("set_aside", &[], 1.0);
    becomes("errors_total", &[("class", "permanent")], 2.0);
    becomes("dirty", &[], 1.0);
    becomes("lag_seconds", &[], 0.0);
    becomes("works", &[], 1.0);
    head.run(["delete", "orders", "1"]).ok();
    becomes("pushes_total", &[("action", "delete")], 1.0);
    // What waits while the sink rests is late.
    instead(401);
    put("3", r#"{"ref": "C"}"#);
    becomes("errors_total", &[("class", "authentication")], 1.0);
    becomes("works", &[], 0.0);
    becomes("dirty", &[], 2.0);
    eventually("the lag grows", || sink("lag_seconds", &[]) > Some(0.1));
    head.run(["sink", "resume", "erp"]).ok();
    becomes("pushes_total", &[("action", "create")], 2.0);
    becomes("lag_seconds", &[], 0.0);

    let source = |name: &str, labels: &[(&str, &str)]| {
        scrape(&head)
            .value(&format!("branchline_source_{name}"), &[&[("source", "crm")], labels].concat())
    };
    assert_eq!(source("lag_seconds", &[]), None, "no run was good yet");
    instead(500);
    head.run(["source", "run", "crm", "--wait"]).ok();
    head.run(["source", "run", "crm", "--wait"]).ok();
    for (name, labels, value) in [
        ("runs_total", &[("result", "completed")][..], 2.0),
        ("runs_total", &[("result", "failed")], 0.0),
        ("records_total", &[("change", "updated")], 2.0),
        ("unchanged_total", &[], 2.0),
        ("retries_total", &[], 1.0),
        ("errors_total", &[("class", "transient")], 1.0),
        ("refused", &[], 0.0),
        ("works", &[], 1.0),
    ] {
        eventually(&format!("{name} {labels:?} is {value}"), || {
            source(name, labels) == Some(value)
        });
    }
    assert!(source("lag_seconds", &[]).is_some_and(|lag| lag < 60.0));
    instead(403);
    assert_eq!(head.run(["source", "run", "crm", "--wait"]).code, 1);
    eventually("the failed run is counted", || {
        source("runs_total", &[("result", "failed")]) == Some(1.0)
            && source("works", &[]) == Some(0.0)
    });
    assert_eq!(source("errors_total", &[("class", "permanent")]), Some(1.0));

    let is_of_connectors = |name: &String| {
        name.starts_with("branchline_sink_") || name.starts_with("branchline_source_")
    };
    let served: BTreeSet<String> =
        scrape(&head).names().into_iter().filter(is_of_connectors).collect();
    let lines = PAGES.into_iter().flat_map(str::lines);
    let cells = lines.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let described: BTreeSet<String> = cells.map(str::to_owned).filter(is_of_connectors).collect();
    assert_eq!(served, described);
}
