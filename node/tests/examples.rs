//! The examples do what they say.

#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use branchline_node::{Config, Node, init};

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
