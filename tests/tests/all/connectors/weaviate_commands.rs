//! A sink to Weaviate driven by commands alone, by the steps of its page.

use std::fs;

use branchline_tests::weaviate::Server;
use branchline_tests::{Office, eventually};
use serde_json::Value;

use crate::PROGRAM;

const PAGE: &str = include_str!("../../../../node/connect/SINKS.md");

/// The configuration of the page, for a server on this machine.
pub(super) fn configured(office: &Office, server: &Server) {
    let section = &PAGE[PAGE.find("## Search in Weaviate").unwrap()..];
    let begin = section.find("[[sink]]").unwrap();
    let end = begin + section[begin..].find("```").unwrap();
    let text = section[begin..end].replace("http://weaviate.internal:8080", &server.url()).replace(
        "allow = [\"weaviate.internal\"]",
        "allow = [\"127.0.0.1\"]\nretry = { first = \"10ms\", max_delay = \"10ms\", attempts = 2 }",
    );
    fs::write(office.data.join("branchline.toml"), text).unwrap();
}

fn json_of(office: &Office, words: &[&str]) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&office.run(words).ok()).unwrap()
}

#[test]
fn the_steps_of_the_page_work_and_refused_edges_are_tried_again_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    office.start();
    let server = Server::start();
    server.there().trouble.fails_edges = Some("/Customer/".to_owned());
    configured(&office, &server);
    office.run(["put", "customers", "c1", r#"{"name": "One", "segment": "retail"}"#]).ok();
    let order = r#"{"ref": "A-1", "placed_at": "2026-05-01T00:00:00Z", "total": "12.50", "customer_id": "c1"}"#;
    office.run(["put", "orders", "o1", order]).ok();
    office.run(["reload"]).ok();
    let edge = "orders/o1:hasCustomer:customers/c1";
    eventually("the edge is set aside", || {
        let errors = json_of(&office, &["sink", "errors", "search"]);
        errors["edges"][0]["id"] == edge && errors["edges"][0]["attempts"] == 2
    });
    assert_eq!(server.there().objects.len(), 2);
    let errors = office.run(["sink", "errors", "search"]).ok();
    for part in [edge, "refused 2 times", "no reference can be made of this"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let failed = office.run(["sink", "groups", "search", "--failed"]).ok();
    assert!(failed.contains(edge) && failed.contains("no reference"), "{failed}");
    eventually("the status says so", || {
        json_of(&office, &["sink", "status", "search"])["set_aside"] == 1
    });
    let plan = office.run(["sink", "plan", "search"]).ok();
    for part in ["orders: objects of class Order", "edge hasCustomer: customer_id to customers"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    assert!(plan.contains("would push 0 of 2 items"), "{plan}");
    server.there().trouble.fails_edges = None;
    let requeued = office.run(["sink", "requeue", "search", edge]).ok();
    assert!(requeued.contains("1 item"), "{requeued}");
    eventually("the edge is there", || server.there().edges_in_all() == 1);
    let run = office.run(["sink", "run", "search", "--full", "--wait"]).ok();
    for part in ["objects confirmed: 2", "edges confirmed: 1", "of: orders.hasCustomer"] {
        assert!(run.contains(part), "{part}: {run}");
    }
    let some = ["sink", "run", "search", "--edges", "--limit", "1", "--offset", "1", "--wait"];
    assert!(office.run(some).ok().contains("edges items: 0"));
    let entity = office.run(["sink", "run", "search", "--entity", "users", "--wait"]);
    assert!(entity.code != 0 && entity.stdout.contains("users"), "{entity:?}");
    assert_eq!(server.there().edges_in_all(), 1);
}

#[test]
fn a_plan_needs_no_node_that_runs_and_knows_what_was_written_since() {
    let folder = tempfile::tempdir().unwrap();
    let mut office = Office::init(PROGRAM, folder.path(), "head", true);
    let server = Server::start();
    configured(&office, &server);
    office.run(["put", "customers", "c1", r#"{"name": "One", "segment": "retail"}"#]).ok();
    office.run(["put", "customers", "c2", r#"{"name": "Two", "segment": "retail"}"#]).ok();
    let plan = office.run(["sink", "plan", "search"]).ok();
    assert!(plan.contains("would push 2 of 2 items: 2 to create"), "{plan}");
    assert!(plan.contains(r#"create customers/c1 {"name":"One""#), "{plan}");
    office.start();
    eventually("both are there", || server.there().objects.len() == 2);
    eventually("that is known", || json_of(&office, &["sink", "status", "search"])["dirty"] == 0);
    assert_eq!(office.stop(), 0);
    office.run(["put", "customers", "c1", r#"{"name": "Uno", "segment": "retail"}"#]).ok();
    office.run(["put", "customers", "c3", r#"{"name": "Three", "segment": "retail"}"#]).ok();
    office.run(["delete", "customers", "c2"]).ok();
    let plan = office.run(["sink", "plan", "search"]).ok();
    let counts = "would push 3 of 3 items: 1 to create, 1 to update, 1 to delete";
    assert!(plan.contains(counts), "{plan}");
    let files = fs::read_dir(office.data.join("connect")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("plan")), "{names:?}");
    assert_eq!(server.there().objects.len(), 2, "a plan sends nothing");
    // It is a copy that was looked at: the sink itself goes on where it was.
    office.start();
    eventually("the server has what there is", || {
        let names: Vec<_> = server.there().objects.values().map(|o| o["name"].clone()).collect();
        names.len() == 2 && names.contains(&"Uno".into()) && names.contains(&"Three".into())
    });
}
