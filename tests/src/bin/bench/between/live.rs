//! One write at a time, durable at A, until it can be read at the connected B, where it is then durable too. Handles
//! in this process, connected over loopback: an API's round trips would be part of the time.

use std::path::Path;
use std::time::{Duration, Instant};

use branchline_crdt::membership::Role;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_node::init;
use branchline_node::{Config, Handle, Node};

use crate::Bench;
use crate::records::{self, COLLECTION};
use crate::report::{Figures, Work, percentile_ms};

const WRITES: usize = 1_000;
/// How often B is looked at. Looking without pause would take a core from the nodes.
const PAUSE: Duration = Duration::from_micros(20);

pub(crate) fn run(bench: &mut Bench) {
    let folders: Vec<_> = (0..bench.runs).map(|_| bench.folder("live")).collect();
    let runs: Vec<Figures> = folders.iter().map(|folder| one(bench, folder)).collect();
    let form = "one at a time, visible at B";
    bench.report.add(&Work { job: "live", form, records: WRITES, by: "handles" }, &runs);
}

fn one(bench: &Bench, folder: &Path) -> Figures {
    let (head, branch) = bench.runtime.block_on(pair(folder));
    let (writer, reader) = (head.handle(), branch.handle());
    let wait = |number| {
        while !bench.runtime.block_on(has(&reader, number)) {
            std::thread::sleep(PAUSE);
        }
    };
    bench.runtime.block_on(write(&writer, 0));
    wait(0);
    let (mut durable, mut visible) = (Vec::new(), Vec::new());
    for number in 1..=WRITES {
        let started = Instant::now();
        bench.runtime.block_on(write(&writer, number));
        durable.push(started.elapsed());
        wait(number);
        visible.push(started.elapsed());
    }
    bench.runtime.block_on(async {
        head.shutdown().await;
        branch.shutdown().await;
    });
    durable.sort();
    visible.sort();
    vec![
        ("visible_p50_ms", percentile_ms(&visible, 50)),
        ("visible_p99_ms", percentile_ms(&visible, 99)),
        ("durable_p50_ms", percentile_ms(&durable, 50)),
        ("durable_p99_ms", percentile_ms(&durable, 99)),
    ]
}

/// A node in this process, with its data in `folder`.
pub(crate) async fn node(folder: &Path, name: &str) -> Node {
    let data = folder.join(name);
    init(&data, name, name == "head").expect("a site");
    let mut config = Config::new(&data);
    config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")];
    config.settings.mdns = false;
    Node::start(config).await.expect("a node")
}

/// Two nodes of one network in this process.
pub(crate) async fn pair(folder: &Path) -> (Node, Node) {
    let (head, branch) = (node(folder, "head").await, node(folder, "branch").await);
    let day = Duration::from_secs(24 * 60 * 60);
    let ticket = head.handle().invite(Role::Writer, day, vec![]).await.expect("a ticket");
    branch.handle().join(ticket).await.expect("joined");
    (head, branch)
}

/// The transaction that puts one record.
pub(crate) fn transaction(number: usize) -> LocalTransaction {
    let (collection, id) = (COLLECTION.to_owned(), records::id(number));
    let edit = Edit::Put(records::fields(number));
    LocalTransaction { origin: None, edits: vec![RecordEdit::new(collection, id, edit)] }
}

/// Writes one record; it is durable then.
pub(crate) async fn write(handle: &Handle, number: usize) {
    write_all(handle, vec![transaction(number)]).await;
}

/// Writes transactions, each of which must be taken.
pub(crate) async fn write_all(handle: &Handle, transactions: Vec<LocalTransaction>) {
    let results = handle.write(transactions).await.expect("a running node");
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn has(handle: &Handle, number: usize) -> bool {
    let read = handle.read(move |reader, space| {
        let (collection, id) = (COLLECTION.to_owned(), records::id(number));
        read::record(reader, &RecordKey { space, collection, id })
    });
    // It has no records before it is a member.
    read.await.is_ok_and(|view| view.is_some())
}
