//! The examples do what they say.

#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use automerge::ROOT;
use automerge::transaction::Transactable as _;
use branchline_node::{Config, Node, init};
use serde_json::json;

#[path = "../examples/document.rs"]
mod document;
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
