//! Events by the library alone, at two sites over real sockets and disks.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use branchline_node::events::{
    AGGREGATE_EVENTS_MAX, EventFault, NewEvent, NoOrder, NotLoaded, NotRead, NotStored,
    SEARCHED_EVENTS_MAX,
};
use branchline_node::feed::FeedError;
use branchline_node::init;
use branchline_node::records::{BadCursor, NotWritten, WriteError};
use branchline_node::sync::Direction;
use branchline_node::{Config, Handle, Node};
use serde_json::{Value as Json, json};

fn config(data: &Path) -> Config {
    let mut config = Config::new(data);
    config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.settings.mdns = false;
    config
}

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < deadline, "not within 60 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn paid(id: &str, amount: u32) -> NewEvent {
    NewEvent::new(id, "paid", "order 7", json!({ "amount": amount }))
}

fn fault(result: Result<branchline_node::events::Stored, NotStored>) -> EventFault {
    match result {
        Err(NotStored::Written(NotWritten::Write(WriteError::Event { fault, .. }))) => fault,
        other => panic!("{other:?}"),
    }
}

/// Head, which founded the network, and north, which has joined.
async fn offices(folder: &Path) -> (Node, Node) {
    let (head, north) = (folder.join("head"), folder.join("north"));
    init(&head, "head", true).unwrap();
    init(&north, "north", false).unwrap();
    let head = Node::start(config(&head)).await.unwrap();
    let north = Node::start(config(&north)).await.unwrap();
    let ticket = head.handle().invite(Role::Writer, Duration::from_secs(60), vec![]).await.unwrap();
    north.handle().join(ticket).await.unwrap();
    eventually("north is a member", || async {
        north.handle().replica_status().await.unwrap().member
    })
    .await;
    (head, north)
}

async fn ids(office: &Handle) -> Vec<String> {
    let page = office.events("ledger").load_since(None, 100).await.unwrap();
    page.events.into_iter().map(|event| event.id).collect()
}

async fn shut_down(nodes: [Node; 2]) {
    for node in nodes {
        node.shutdown().await;
    }
}

/// The numbers of all events of an aggregate, and how many pages they came on.
async fn aggregate(office: &Handle, of: &str) -> (Vec<usize>, usize) {
    let (mut numbers, mut pages, mut since) = (Vec::new(), 0, None);
    loop {
        let page = office.events("ledger").load_aggregate(of, since, 1_000).await.unwrap();
        numbers.extend(page.events.iter().map(|event| event.id.parse::<usize>().unwrap()));
        pages += 1;
        if !page.has_more {
            return (numbers, pages);
        }
        since = Some(page.version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregate_of_any_size_is_loaded_page_by_page() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("head");
    init(&data, "head", true).unwrap();
    let node = Node::open(config(&data)).await.unwrap();
    let handle = node.handle();
    let ledger = handle.events("ledger");
    ledger.declare().await.unwrap();
    // Till 3 is the one of each event but for a stretch in which another stores more than are searched for one page.
    let other = 1_000..1_000 + SEARCHED_EVENTS_MAX + 5_000;
    let of = |number: &usize| if other.contains(number) { "till 4" } else { "till 3" };
    let all: Vec<usize> = (0..AGGREGATE_EVENTS_MAX + 1 + other.len()).collect();
    for numbers in all.chunks(8_000) {
        let event = |n: &usize| NewEvent::new(n.to_string(), "sold", of(n), json!(null));
        let stored = ledger.store_all(numbers.iter().map(event).collect()).await.unwrap();
        assert_eq!(stored.stored, numbers.len());
    }
    eventually("the index is built", || async {
        ledger.load_aggregate("till 4", None, 1).await.is_ok()
    })
    .await;
    let of_till = |till: &str| all.iter().copied().filter(|n| of(n) == till).collect::<Vec<_>>();
    let (numbers, pages) = aggregate(&handle, "till 3").await;
    assert_eq!(numbers.len(), AGGREGATE_EVENTS_MAX + 1);
    assert!(numbers == of_till("till 3"), "each once, in order");
    assert_eq!(pages, 52, "51 with events of it, and one without");
    let (numbers, pages) = aggregate(&handle, "till 4").await;
    assert!(numbers == of_till("till 4"));
    assert_eq!(pages, numbers.len() / 1_000);
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_to_both_offices_and_each_counts_them_by_its_own_versions() {
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = offices(folder.path()).await;
    let (at_head, at_north) = (head.handle().events("ledger"), north.handle().events("ledger"));
    let none = at_head.latest_version().await;
    assert!(matches!(none, Err(NotRead::Load(NotLoaded::NoEvents { .. }))), "{none:?}");
    at_head.declare().await.unwrap();
    eventually("north knows the schema", || async { at_north.latest_version().await.is_ok() })
        .await;
    let before = at_north.latest_version().await.unwrap();
    let stored = at_head.store_all(vec![paid("1", 10), paid("2", 20)]).await.unwrap();
    assert_eq!((stored.stored, stored.known, stored.events.len()), (2, 0, 2));
    let again = at_head.store_all(vec![paid("1", 10), paid("3", 30)]).await.unwrap();
    assert_eq!((again.stored, again.known), (1, 1));
    // All or none.
    assert_eq!(again.events[0], stored.events[0]);
    let refused = at_head.store_all(vec![paid("4", 40), paid("1", 11)]).await;
    assert!(refused.unwrap_err().to_string().contains("ledger/1"), "named by its record");
    assert_eq!(at_head.load("4").await.unwrap(), None);
    // North hears of them as they come.
    let mut subscription = at_north.subscribe(Some(before.clone())).await.unwrap();
    for id in ["1", "2", "3"] {
        let event = subscription.next().await.unwrap();
        assert_eq!((event.id.as_str(), event.entry.author.site), (id, head.handle().site()));
    }
    assert_eq!(fault(at_north.store(paid("2", 21)).await), EventFault::Exists);
    assert_eq!(at_north.store(paid("2", 20)).await.unwrap().known, 1);
    let here = at_head.load("3").await.unwrap().unwrap();
    let there = at_north.load("3").await.unwrap().unwrap();
    assert_eq!(
        (&here.content, here.entry, here.time_ms),
        (&there.content, there.entry, there.time_ms)
    );
    assert_eq!(here.version.compare(&there.version), Err(NoOrder));
    assert_eq!(before.compare(&there.version), Ok(Ordering::Less));
    for foreign in [
        at_head.load_since(Some(there.version.clone()), 9).await.map(drop),
        at_head.load_aggregate("order 7", Some(there.version.clone()), 9).await.map(drop),
    ] {
        let is_foreign = matches!(
            foreign,
            Err(NotRead::Feed(FeedError::Cursor(BadCursor::Foreign))
                | NotRead::Load(NotLoaded::Version(BadCursor::Foreign)))
        );
        assert!(is_foreign, "{foreign:?}");
    }
    let page = at_north.load_aggregate("order 7", Some(there.version), 9).await.unwrap();
    assert_eq!(page.events, []);
    let page = at_north.load_aggregate("order 7", Some(before), 2).await.unwrap();
    assert_eq!((page.events.len(), page.has_more), (2, true));
    let rest = at_north.load_aggregate("order 7", Some(page.version), 2).await.unwrap();
    assert_eq!((rest.events.len(), rest.has_more), (1, false));
    // What is stored behind the version of the last page is behind it.
    at_north.store(paid("5", 50)).await.unwrap();
    let news = at_north.load_since(Some(rest.version), 9).await.unwrap();
    assert_eq!(news.events.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["5"]);
    shut_down([head, north]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_office_changed_before_it_heard_of_the_schema_is_shown_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (head, north) = offices(folder.path()).await;
    // They do not hear of each other any more.
    head.shutdown().await;
    let event = |data: &str, aggregate: &str| json!({"type": "paid", "aggregate_id": aggregate, "data": data, "metadata": null});
    for id in ["1", "2", "3"] {
        north.handle().put("ledger", id, event("{\"amount\":1}", "order 7")).await.unwrap();
    }
    north.handle().put("ledger", "2", event("{\"amount\":2}", "order 8")).await.unwrap();
    north.handle().delete("ledger", "3").await.unwrap();
    north.shutdown().await;
    let head = Node::start(config(&folder.path().join("head"))).await.unwrap();
    let at_head = head.handle().events("ledger");
    at_head.declare().await.unwrap();
    at_head.store(paid("1", 7)).await.unwrap();
    let north = Node::start(config(&folder.path().join("north"))).await.unwrap();
    let peers = BTreeSet::from([north.handle().site()]);
    let report = head.handle().sync(peers, Direction::Both, Duration::from_secs(60)).await.unwrap();
    assert!(report.peers[0].error.is_none(), "{report:?}");
    assert_eq!(report.peers[0].frontier, report.frontier);
    assert!(report.frontier.is_some() && report.started_ms > 0);
    // One id was written apart: that is the new conflict, unless the sites have synced by themselves just before.
    let conflicts: Vec<_> = report.conflicts.iter().map(|key| key.id.as_str()).collect();
    assert!(conflicts.is_empty() || conflicts == ["1"], "{conflicts:?}");
    assert_eq!(report.conflicts_new, conflicts.len() as u64);
    for office in [head.handle(), north.handle()] {
        let ledger = office.events("ledger");
        eventually("the index is built", || async {
            let loaded = ledger.load_aggregate("order 7", None, 9).await;
            loaded.is_ok_and(|page| page.events.len() == 3)
        })
        .await;
        let shown = ledger.load_aggregate("order 7", None, 9).await.unwrap().events;
        let second = shown.iter().find(|event| event.id == "2").unwrap();
        assert_eq!(second.content.data, json!({"amount": 1}));
        let first = shown.iter().find(|event| event.id == "1").unwrap();
        let mut amounts: Vec<&Json> =
            std::iter::once(&first.content).chain(&first.others).map(|it| &it.data).collect();
        amounts.sort_by_key(|data| data.to_string());
        assert_eq!(amounts, [&json!({"amount": 1}), &json!({"amount": 7})]);
        assert_eq!(ledger.load_aggregate("order 8", None, 9).await.unwrap().events, []);
        let altered = ledger.altered(None, 9).await.unwrap();
        let altered: Vec<_> = altered.iter().map(|altered| altered.key.id.as_str()).collect();
        assert_eq!(altered, ["2", "3"]);
        // Reads of records show the same.
        let read = office.get("ledger", "3").await.unwrap().unwrap();
        assert_eq!(read.fields["aggregate_id"].to_json(), json!("order 7"));
        let mut all = ids(&office).await;
        all.sort();
        all.dedup();
        assert_eq!(all, ["1", "2", "3"]);
        assert!(office.verify().await.unwrap().is_sound());
        assert!(office.verify_documents(None).await.unwrap().report.is_sound());
    }
    shut_down([head, north]).await;
}
