//! One site alone takes writes: one at a time, from 64 writers, in batches; by the library and by the API.

use std::path::Path;
use std::time::Instant;

use branchline_node::{Handle, Node};
use branchline_tests::Office;
use futures::future::join_all;

use crate::Bench;
use crate::between::live::{node, transaction, write, write_all};
use crate::client::{BATCH, Client};
use crate::records;
use crate::report::{Figures, Work};
use crate::site;

/// Writes of one writer: each waits for the disk.
const ALONE_WRITES: usize = 2_000;
const WRITERS: usize = 64;
/// Writes of all 64 writers.
const TOGETHER_WRITES: usize = 32_000;
/// Connections that import at the same time, so that one's body is read while another's is written.
const IMPORTERS: usize = 4;
/// Records of the batched forms, which are made before the clock runs.
const BATCHED_RECORDS_MAX: usize = 200_000;

pub(crate) fn run(bench: &mut Bench) {
    let batched = bench.records.min(BATCHED_RECORDS_MAX);
    let together = TOGETHER_WRITES.min(bench.records);
    let alone = ALONE_WRITES.min(bench.records);
    by_handle(bench, "1 writer", alone, async |handle| {
        for number in 0..alone {
            write(&handle, number).await;
        }
    });
    by_handle(bench, "64 writers", together, async |handle| {
        let writers = (0..WRITERS).map(|first| {
            let handle = handle.clone();
            tokio::spawn(async move {
                for number in (first..together).step_by(WRITERS) {
                    write(&handle, number).await;
                }
            })
        });
        finish(writers).await;
    });
    by_handle_batched(bench, batched);
    by_api(bench, "1 writer", alone, async |office| puts(office, 1, alone).await);
    by_api(bench, "64 writers", together, async |office| puts(office, WRITERS, together).await);
    for (form, importers) in [("1,000 a request", 1), ("1,000 a request, 4 at once", IMPORTERS)] {
        by_api_batched(bench, form, importers, batched);
    }
    by_command(bench, batched);
}

async fn finish(tasks: impl Iterator<Item = tokio::task::JoinHandle<()>>) {
    for ended in join_all(tasks).await {
        ended.expect("the task ends well");
    }
}

fn report(bench: &mut Bench, form: &str, records: usize, by: &'static str, seconds: &[f64]) {
    let figures = |seconds: &f64| vec![("records_per_s", records as f64 / seconds)];
    let runs: Vec<Figures> = seconds.iter().map(figures).collect();
    bench.report.add(&Work { job: "write", form, records, by }, &runs);
}

fn by_handle(bench: &mut Bench, form: &str, records: usize, work: impl AsyncFn(Handle)) {
    let folders: Vec<_> = (0..bench.runs).map(|_| bench.folder("write")).collect();
    let one = async |folder: &Path| {
        let node = node(folder, "head").await;
        let started = Instant::now();
        work(node.handle()).await;
        ended(node, started).await
    };
    let seconds: Vec<f64> =
        folders.iter().map(|folder| bench.runtime.block_on(one(folder))).collect();
    report(bench, form, records, "handle", &seconds);
}

fn by_handle_batched(bench: &mut Bench, records: usize) {
    let folders: Vec<_> = (0..bench.runs).map(|_| bench.folder("write")).collect();
    let one = async |folder: &Path| {
        let node = node(folder, "head").await;
        let batches: Vec<Vec<_>> = records::batches(records, BATCH)
            .map(|batch| batch.map(transaction).collect())
            .collect();
        let handle = node.handle();
        let started = Instant::now();
        for batch in batches {
            write_all(&handle, batch).await;
        }
        ended(node, started).await
    };
    let seconds: Vec<f64> =
        folders.iter().map(|folder| bench.runtime.block_on(one(folder))).collect();
    report(bench, "batches of 1,000", records, "handle", &seconds);
}

/// Seconds since `started`; then stops the node.
async fn ended(node: Node, started: Instant) -> f64 {
    let seconds = started.elapsed().as_secs_f64();
    node.shutdown().await;
    seconds
}

fn by_api(bench: &mut Bench, form: &str, records: usize, work: impl AsyncFn(&Office) -> f64) {
    let seconds: Vec<f64> = (0..bench.runs)
        .map(|_| {
            let mut office = started(bench);
            let seconds = bench.runtime.block_on(work(&office));
            office.stop();
            seconds
        })
        .collect();
    report(bench, form, records, "process, its API", &seconds);
}

fn started(bench: &mut Bench) -> Office {
    let folder = bench.folder("write");
    let mut office = bench.office(&folder, "head");
    bench.runtime.block_on(site::start(&mut office));
    office
}

async fn puts(office: &Office, writers: usize, records: usize) -> f64 {
    let clients = join_all((0..writers).map(|_| Client::connect(office))).await;
    let started = Instant::now();
    let writers = clients.into_iter().enumerate().map(|(first, mut client)| {
        tokio::spawn(async move {
            for number in (first..records).step_by(writers) {
                client.put(number).await;
            }
        })
    });
    finish(writers).await;
    started.elapsed().as_secs_f64()
}

fn by_api_batched(bench: &mut Bench, form: &str, importers: usize, records: usize) {
    let bodies: Vec<_> = records::batches(records, BATCH).map(records::lines).collect();
    by_api(bench, form, records, async |office| {
        let clients = join_all((0..importers).map(|_| Client::connect(office))).await;
        let mut shares = vec![Vec::new(); importers];
        for (index, body) in bodies.iter().enumerate() {
            shares[index % importers].push(body.clone());
        }
        let started = Instant::now();
        let importers = clients.into_iter().zip(shares).map(|(mut client, bodies)| {
            tokio::spawn(async move {
                for body in bodies {
                    client.import(body).await;
                }
            })
        });
        finish(importers).await;
        started.elapsed().as_secs_f64()
    });
}

/// A file of JSON lines, by `branchline import`.
fn by_command(bench: &mut Bench, records: usize) {
    let file = bench.folder("file").join("sales.jsonl");
    let mut lines = Vec::new();
    for number in 0..records {
        let mut fields = records::fields(number);
        fields.insert("id".to_owned(), records::id(number).into());
        serde_json::to_writer(&mut lines, &fields).expect("JSON");
        lines.push(b'\n');
    }
    std::fs::write(&file, lines).expect("a file");
    let path = file.to_str().expect("a path");
    by_api(bench, "`branchline import` of a file", records, async |office| {
        let started = Instant::now();
        office.run(["import", records::COLLECTION, path, "--id", "id"]).ok();
        started.elapsed().as_secs_f64()
    });
}
