//! Events: what `docs/events.md` shows, name by name, as one program.
//!
//! `cargo run -p branchline-node --example events -- DATA-FOLDER`, where the folder is of a site that may write schemas.
#![allow(dead_code, reason = "the page and its tests run each of these by itself")]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use branchline_node::events::{Event, EventsPage, EventsVersion, NewEvent, NotStored};
use branchline_node::handle::NodeStatus;
use branchline_node::records::{NotWritten, WriteError};
use branchline_node::sync::{Direction, SyncReport};
use branchline_node::{Config, Handle, Node};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let data = std::env::args().nth(1).ok_or("usage: events DATA-FOLDER")?;
    let node = open(Config::new(data)).await?;
    let page = event_store(&node.handle()).await?;
    for event in page.events {
        println!("{} {} {}", event.content.aggregate_id, event.content.kind, event.content.data);
    }
    node.shutdown().await;
    Ok(())
}

pub(crate) async fn open(config: Config) -> Outcome<Node> {
    // A folder that is locked by this process alone; `Node::start` runs the same with links to other sites.
    let node = Node::open(config).await?;
    Ok(node)
}

pub(crate) async fn event_store(office: &Handle) -> Outcome<EventsPage> {
    let ledger = office.events("ledger");
    ledger.declare().await?;
    let ordered = NewEvent::new("7-1", "ordered", "order 7", json!({ "total": "12.50" }));
    let paid = NewEvent::new("7-2", "paid", "order 7", json!({ "amount": "12.50" }))
        .with_metadata(json!({ "till": 3 }));
    // Both or none of them.
    ledger.store_all(vec![ordered, paid]).await?;
    let page = ledger.load_aggregate("order 7", None, 100).await?;
    Ok(page)
}

pub(crate) async fn immutability(office: &Handle) -> Outcome<()> {
    let ledger = office.events("ledger");
    let paid = NewEvent::new("7-2", "paid", "order 7", json!({ "amount": "12.50" }))
        .with_metadata(json!({ "till": 3 }));
    let again = ledger.store(paid.clone()).await?;
    assert_eq!((again.stored, again.known), (0, 1));
    let other = NewEvent { data: json!({ "amount": "99.00" }), ..paid };
    let Err(NotStored::Written(NotWritten::Write(WriteError::Event { fault, .. }))) =
        ledger.store(other).await
    else {
        return Err("an event was changed".into());
    };
    println!("{fault}");
    Ok(())
}

pub(crate) async fn version(office: &Handle) -> Outcome<EventsVersion> {
    let ledger = office.events("ledger");
    let before = ledger.latest_version().await?;
    ledger.store(NewEvent::new("8-1", "ordered", "order 8", json!(null))).await?;
    let after = ledger.latest_version().await?;
    assert_eq!(before.compare(&after), Ok(Ordering::Less));
    // As it is kept in a file, or handed to a client.
    let kept: EventsVersion = before.to_string().parse()?;
    let news = ledger.load_since(Some(kept), 100).await?;
    assert_eq!(news.events.len(), 1);
    Ok(after)
}

pub(crate) async fn subscribe(office: &Handle, since: Option<EventsVersion>) -> Outcome<Event> {
    let mut subscription = office.events("ledger").subscribe(since).await?;
    let event = subscription.next().await?;
    Ok(event)
}

pub(crate) async fn conflicts(office: &Handle) -> Outcome<usize> {
    let ledger = office.events("ledger");
    let page = ledger.load_since(None, 1000).await?;
    let conflicting = page.events.iter().filter(|event| !event.others.is_empty());
    Ok(conflicting.count())
}

pub(crate) async fn sync(office: &Handle, peer: &Handle) -> Outcome<SyncReport> {
    let peers = BTreeSet::from([peer.site()]);
    let result = office.sync(peers, Direction::Both, Duration::from_secs(30)).await?;
    println!("{} pulled, {} pushed in {:?}", result.pulled(), result.pushed(), result.duration);
    for peer in &result.peers {
        println!("{}: {:?}, {:?}", peer.site, peer.error, peer.frontier == result.frontier);
    }
    Ok(result)
}

pub(crate) async fn push_only(office: &Handle, peer: &Handle) -> Outcome<bool> {
    let peers = BTreeSet::from([peer.site()]);
    let result = office.sync(peers, Direction::Push, Duration::from_secs(30)).await?;
    Ok(result.peers.iter().all(|peer| peer.error.is_none()))
}

pub(crate) async fn pull_only(office: &Handle, peer: &Handle) -> Outcome<bool> {
    let peers = BTreeSet::from([peer.site()]);
    let result = office.sync(peers, Direction::Pull, Duration::from_secs(30)).await?;
    Ok(result.peers.iter().all(|peer| peer.error.is_none()))
}

pub(crate) async fn filter(office: &Handle) -> Outcome<()> {
    // What only some sites are to hold lies in a space of theirs.
    let tills = office.in_space("tills")?;
    tills.events("ledger").store(NewEvent::new("9-1", "opened", "till 9", json!({}))).await?;
    Ok(())
}

pub(crate) async fn batches(office: &Handle, mut since: Option<EventsVersion>) -> Outcome<usize> {
    let ledger = office.events("ledger");
    let mut count = 0;
    loop {
        let page = ledger.load_since(since, 500).await?;
        count += page.events.len();
        since = Some(page.version);
        if !page.has_more {
            return Ok(count);
        }
    }
}

pub(crate) async fn retry(office: &Handle, event: NewEvent) -> Outcome<()> {
    // Storing again what may have been stored is always right.
    for _ in 0..3 {
        match office.events("ledger").store(event.clone()).await {
            Err(NotStored::Written(NotWritten::Write(WriteError::Unwritable { .. }))) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            done => return Ok(done.map(drop)?),
        }
    }
    Err("the disk is full".into())
}

pub(crate) async fn validation(office: &Handle) -> Outcome<String> {
    let ledger = office.events("ledger");
    let nameless = NewEvent::new("10-1", "", "order 10", json!({}));
    match ledger.store(nameless).await {
        Err(NotStored::Written(error)) => Ok(error.to_string()),
        other => Err(format!("{other:?}").into()),
    }
}

pub(crate) async fn metrics(office: &Handle) -> Outcome<NodeStatus> {
    let status = office.status().await?;
    println!("{} records, {} bytes of journal", status.records, status.journal_bytes);
    Ok(status)
}
