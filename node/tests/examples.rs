//! The examples do what they say.

#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use automerge::ROOT;
use automerge::transaction::Transactable as _;
use branchline_crdt::membership::Role;
use branchline_crdt::replica::Decision;
use branchline_node::events::NewEvent;
use branchline_node::init;
use branchline_node::{Config, Node};
use serde_json::json;

#[path = "../examples/document.rs"]
mod document;
#[path = "../examples/events.rs"]
mod events;
#[path = "../examples/feed.rs"]
mod feed;
#[path = "../examples/till.rs"]
mod till;

const PATIENCE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_till_sells_once_and_a_consumer_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    init(data.path(), "till", true).unwrap();
    let node = Node::open(Config::new(data.path())).await.unwrap();
    let cursor = data.path().join("cursor");
    let handle = node.handle();
    let seen = async || {
        let mut lines = Vec::new();
        feed::follow(&handle, &cursor, PATIENCE, |line| lines.push(line)).await.unwrap();
        lines
    };
    let first = till::sell(&handle, 1, "tea", 2).await.unwrap();
    assert_eq!((first.records_changed, first.is_repeat), (2, false));
    assert!(till::sell(&handle, 1, "tea", 2).await.unwrap().is_repeat);
    let lines = seen().await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("tea") && lines[0].contains("-2"), "{lines:?}");
    assert!(seen().await.is_empty());
    till::sell(&handle, 2, "tea", 3).await.unwrap();
    assert!(seen().await[0].contains("-5"));
    node.shutdown().await;
}

#[tokio::test]
async fn a_program_takes_a_record_works_on_it_and_gives_it_back() {
    let data = tempfile::tempdir().unwrap();
    init(data.path(), "office", true).unwrap();
    let node = Node::open(Config::new(data.path())).await.unwrap();
    let office = node.handle();
    let tea = json!({"price": 2, "stock": {"$inc": 10}});
    office.merge("products", "tea", tea).await.unwrap();
    let merged = document::work(&office, |tea| {
        tea.put(ROOT, "price", 3)?;
        tea.increment(ROOT, "stock", -1)
    });
    let merged = merged.await.unwrap();
    let read = office.get("products", "tea").await.unwrap().unwrap();
    // The record's own: what it was written with, and the counter that all sites share.
    assert_eq!((merged.taken, merged.known), (1, 2));
    assert_eq!(merged.version, Some(read.version()));
    let fields = branchline_node::records::fields_into_json(read.fields);
    assert_eq!(serde_json::Value::from(fields), json!({"price": 3, "stock": 9}));
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_on_events_shows_name_by_name_works() {
    let folder = tempfile::tempdir().unwrap();
    let data = |name: &str| folder.path().join(name);
    init(&data("head"), "head", true).unwrap();
    init(&data("north"), "north", false).unwrap();
    let opened = events::open(Config::new(data("head"))).await.unwrap();
    let page = events::event_store(&opened.handle()).await.unwrap();
    let kinds: Vec<_> = page.events.iter().map(|event| event.content.kind.as_str()).collect();
    assert_eq!(kinds, ["ordered", "paid"]);
    opened.shutdown().await;
    let start = async |name: &str| {
        let mut config = Config::new(data(name));
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.settings.mdns = false;
        Node::start(config).await.unwrap()
    };
    let (head, north) = (start("head").await, start("north").await);
    let (head_office, north_office) = (head.handle(), north.handle());
    let minute = Duration::from_secs(60);
    let ticket = head_office.invite(Role::Writer, minute, vec![]).await.unwrap();
    north_office.join(ticket).await.unwrap();
    events::immutability(&head_office).await.unwrap();
    let version = events::version(&head_office).await.unwrap();
    let result = events::sync(&head_office, &north_office).await.unwrap();
    assert!(result.peers[0].error.is_none() && result.peers[0].frontier == result.frontier);
    assert!(events::push_only(&head_office, &north_office).await.unwrap());
    assert!(events::pull_only(&head_office, &north_office).await.unwrap());
    assert_eq!(events::subscribe(&north_office, None).await.unwrap().id, "7-1");
    assert_eq!(events::batches(&north_office, None).await.unwrap(), 3);
    let retried = NewEvent::new("11-1", "paid", "order 11", json!(1));
    events::retry(&head_office, retried.clone()).await.unwrap();
    events::retry(&head_office, retried).await.unwrap();
    let next = events::subscribe(&head_office, Some(version)).await.unwrap();
    assert_eq!(next.id, "11-1");
    assert!(events::validation(&head_office).await.unwrap().contains("type is"));
    assert_eq!(events::conflicts(&head_office).await.unwrap(), 0);
    assert!(events::metrics(&head_office).await.unwrap().records >= 4);
    let found = Decision::CreateSpace { name: "tills".to_owned(), nonce: [7; 16] };
    head_office.decide(found).await.unwrap();
    let tills = head_office.in_space("tills").unwrap();
    tills.events("ledger").declare().await.unwrap();
    events::filter(&head_office).await.unwrap();
    for node in [head, north] {
        node.shutdown().await;
    }
}

#[test]
fn the_page_on_events_shows_what_the_example_runs() {
    let (page, example) =
        (include_str!("../docs/events.md"), include_str!("../examples/events.rs"));
    let blocks = page.split("```rust\n").skip(1).filter_map(|text| text.split("```").next());
    let blocks: Vec<_> = blocks.collect();
    assert!(blocks.len() >= 12);
    for block in blocks {
        assert!(example.contains(block), "not in the example:\n{block}");
    }
}
