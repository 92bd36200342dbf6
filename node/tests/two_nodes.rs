//! Two nodes in one process, over real sockets and disks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use branchline_crdt::record::{Edit, View};
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_node::init;
use branchline_node::{Config, Handle, Node};
use serde_json::json;

fn config(data: &Path) -> Config {
    let mut config = Config::new(data);
    config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.settings.mdns = false;
    config
}

async fn put(handle: &Handle, id: &str, value: serde_json::Value) {
    let serde_json::Value::Object(fields) = value else { panic!("no object") };
    let edit = Edit::Put(fields);
    let edits = vec![RecordEdit::new("products", id, edit)];
    let results = handle.write(vec![LocalTransaction { origin: None, edits }]).await.unwrap();
    results.into_iter().for_each(|result| {
        result.unwrap();
    });
}

async fn view(handle: &Handle, id: &str) -> Option<View> {
    let id = id.to_owned();
    let read = handle.read(move |reader, space| {
        read::record(reader, &RecordKey { space, collection: "products".into(), id })
    });
    read.await.unwrap()
}

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_joins_and_both_write_through_a_restart() {
    let (head_data, north_data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    init(head_data.path(), "head", true).unwrap();
    init(north_data.path(), "north", false).unwrap();
    let head = Node::start(config(head_data.path())).await.unwrap();
    put(&head.handle(), "tea", json!({"price": 3})).await;

    let ticket = head.handle().invite(Role::Writer, Duration::from_secs(60), vec![]).await.unwrap();
    let north = Node::start(config(north_data.path())).await.unwrap();
    north.handle().join(ticket).await.unwrap();
    eventually("north is a member", || async {
        north.handle().replica_status().await.unwrap().member
    })
    .await;
    eventually("north has the tea", || async {
        north.handle().network_id().is_some() && view(&north.handle(), "tea").await.is_some()
    })
    .await;
    put(&north.handle(), "rice", json!({"price": 5})).await;
    eventually("head has the rice", || async { view(&head.handle(), "rice").await.is_some() })
        .await;

    // Head goes away and comes back; north writes meanwhile.
    head.shutdown().await;
    put(&north.handle(), "salt", json!({"price": 1})).await;
    let head = Node::start(config(head_data.path())).await.unwrap();
    eventually("head has the salt", || async { view(&head.handle(), "salt").await.is_some() })
        .await;
    let digests = || async {
        let (a, b) = (head.handle().status().await, north.handle().status().await);
        a.unwrap().digest == b.unwrap().digest
    };
    eventually("equal digests", digests).await;
    eventually("receipts say that nothing is lacking", || async {
        let status = head.handle().status().await.unwrap();
        status
            .replica
            .sites
            .iter()
            .all(|site| site.lag_entries == Some(0) && site.ahead_entries == Some(0))
    })
    .await;
    assert!(head.handle().verify().await.unwrap().is_sound());
    head.shutdown().await;
    north.shutdown().await;
}
