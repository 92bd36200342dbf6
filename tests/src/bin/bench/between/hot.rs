//! One record is changed 10,000 times at A, connected to B. Real processes.

use std::time::{Duration, Instant};

use branchline_tests::Office;
use futures::future::join_all;
use hyper::Method;
use serde_json::json;

use crate::Bench;
use crate::client::{BATCH, Client};
use crate::records::COLLECTION;
use crate::report::{Figures, Work};
use crate::site::{self, Used, data_bytes};

const CHANGES: usize = 10_000;
/// The first and the last so many are made one after the other, to compare their times.
const TIMED: usize = 100;
const IN_FLIGHT: usize = 64;
const RECORD: &str = "hot";

/// What each change does to the record.
#[derive(Clone, Copy)]
enum Change {
    /// Sets a field.
    Update,
    /// Adds to a counter.
    Increment,
}

impl Change {
    fn patch(self, number: usize) -> serde_json::Value {
        match self {
            Self::Update => json!({ "price_cents": number * 7_919 % 100_003 }),
            Self::Increment => json!({ "stock": { "$inc": 1 } }),
        }
    }
}

pub(crate) fn run(bench: &mut Bench) {
    for (change, in_batches, form) in [
        (Change::Update, false, "updates, 64 in flight"),
        (Change::Update, true, "updates, 1,000 a request"),
        (Change::Increment, false, "increments, 64 in flight"),
        (Change::Increment, true, "increments, 1,000 a request"),
    ] {
        let runs: Vec<Figures> = (0..bench.runs).map(|_| one(bench, change, in_batches)).collect();
        bench.report.add(&Work { job: "hot", form, records: 1, by: "processes" }, &runs);
    }
}

fn one(bench: &mut Bench, change: Change, in_batches: bool) -> Figures {
    let folder = bench.folder("hot");
    let mut head = bench.office(&folder, "head");
    head.start();
    let mut branch = site::member(bench, &folder, "branch", &head);
    let empty_bytes = data_bytes(&branch);
    let before = [Used::by(&head), Used::by(&branch)];
    let (first, written, in_step, last) = bench.runtime.block_on(async {
        let (mut a, mut b) = (Client::connect(&head).await, Client::connect(&branch).await);
        let path = format!("/v1/records/{COLLECTION}/{RECORD}");
        a.ask(Method::PUT, &path, b"{\"name\": \"Green tea\"}".to_vec()).await;
        equal(&mut a, &mut b).await;
        let started = Instant::now();
        let first = one_by_one(&mut a, &path, change, 0).await;
        let middle = TIMED..CHANGES - TIMED;
        match in_batches {
            true => batched(&mut a, change, middle).await,
            false => together(&head, &path, change, middle).await,
        }
        let last = one_by_one(&mut a, &path, change, CHANGES - TIMED).await;
        let written = started.elapsed();
        equal(&mut a, &mut b).await;
        (first, written, started.elapsed(), last)
    });
    let after = [Used::by(&head), Used::by(&branch)];
    let cpu_s: f64 =
        after.iter().zip(&before).map(|(after, before)| after.cpu_s - before.cpu_s).sum();
    head.stop();
    branch.stop();
    vec![
        ("written_s", written.as_secs_f64()),
        ("in_step_s", in_step.as_secs_f64()),
        ("cpu_s", cpu_s),
        ("first_100_ms_each", first.as_secs_f64() * 1_000.0 / TIMED as f64),
        ("last_100_ms_each", last.as_secs_f64() * 1_000.0 / TIMED as f64),
        ("last_to_first", last.as_secs_f64() / first.as_secs_f64()),
        ("wire_mb", (after[1].wire_bytes - before[1].wire_bytes) as f64 / 1e6),
        ("disk_mb", data_bytes(&branch).saturating_sub(empty_bytes) as f64 / 1e6),
    ]
}

/// Waits until both show the same.
async fn equal(a: &mut Client, b: &mut Client) {
    let digest = a.digest().await;
    let pause = Duration::from_millis(3);
    site::until("both show the same", pause, async || b.digest().await == digest).await;
}

async fn one_by_one(client: &mut Client, path: &str, change: Change, first: usize) -> Duration {
    let started = Instant::now();
    for number in first..first + TIMED {
        client.ask(Method::PATCH, path, change.patch(number).to_string().into_bytes()).await;
    }
    started.elapsed()
}

async fn batched(client: &mut Client, change: Change, numbers: std::ops::Range<usize>) {
    let numbers: Vec<_> = numbers.collect();
    for batch in numbers.chunks(BATCH) {
        let line = |number: &usize| {
            json!({ "id": RECORD, "fields": change.patch(*number) }).to_string() + "\n"
        };
        client.import(batch.iter().map(line).collect::<String>().into_bytes()).await;
    }
}

async fn together(office: &Office, path: &str, change: Change, numbers: std::ops::Range<usize>) {
    let clients = join_all((0..IN_FLIGHT).map(|_| Client::connect(office))).await;
    let writers = clients.into_iter().enumerate().map(|(offset, mut client)| {
        let (path, numbers) = (path.to_owned(), numbers.clone());
        tokio::spawn(async move {
            for number in numbers.skip(offset).step_by(IN_FLIGHT) {
                let patch = change.patch(number).to_string().into_bytes();
                client.ask(Method::PATCH, &path, patch).await;
            }
        })
    });
    for ended in join_all(writers).await {
        ended.expect("the writer ends well");
    }
}
