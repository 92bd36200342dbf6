//! Two sites change the same records apart from each other, and meet while one of them takes writes. Real processes.

use std::time::{Duration, Instant};

use branchline_tests::Office;
use hyper::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::Bench;
use crate::client::{BATCH, Client};
use crate::records;
use crate::report::{Figures, Work};
use crate::site::{self, cpu_s};

/// Records where no fewer are asked for.
const RECORDS: usize = 10_000;
/// How long the writer is measured alone.
const ALONE: Duration = Duration::from_secs(3);
/// Between two writes of it.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn run(bench: &mut Bench) {
    let records = RECORDS.min(bench.records);
    let runs: Vec<Figures> = (0..bench.runs).map(|_| one(bench, records)).collect();
    let form = "each changed on both sides, 1,000 an entry";
    bench.report.add(&Work { job: "heal", form, records, by: "processes" }, &runs);
}

fn one(bench: &mut Bench, records: usize) -> Figures {
    let folder = bench.folder("heal");
    let mut head = bench.office(&folder, "head");
    head.start();
    let mut branch = site::member(bench, &folder, "branch", &head);
    bench.runtime.block_on(async {
        let (mut a, mut b) = (Client::connect(&head).await, Client::connect(&branch).await);
        a.load(records).await;
        equal(&mut a, &mut b).await;
    });
    branch.stop();
    bench.runtime.block_on(rewrite(&head, records, "head"));
    head.stop();
    branch.start();
    bench.runtime.block_on(rewrite(&branch, records, "branch"));
    branch.stop();
    head.start();
    let cpu_before = cpu_s(&head);
    let (alone, meeting, took) = bench.runtime.block_on(async {
        let mut writer = Client::connect(&head).await;
        let ends = Instant::now() + ALONE;
        let alone = write_until(&mut writer, async || Instant::now() > ends).await;
        let mut b = site::start(&mut branch).await;
        let started = Instant::now();
        let mut a = Client::connect(&head).await;
        let meeting = write_until(&mut writer, async || {
            b.get("/v1/status").await["conflicts"] == records
                && a.digest().await == b.digest().await
        });
        (alone, meeting.await, started.elapsed())
    });
    let cpu = [cpu_s(&head) - cpu_before, cpu_s(&branch)];
    let turns = [&head, &branch].map(|office| longest_turn_ms(bench, office));
    assert_eq!(head.digest(), branch.digest());
    branch.stop();
    head.stop();
    vec![
        ("write_longest_ms", longest(&meeting)),
        ("write_alone_longest_ms", longest(&alone)),
        ("write_p50_ms", median(&meeting)),
        ("write_alone_p50_ms", median(&alone)),
        ("turn_longest_ms_a", turns[0]),
        ("turn_longest_ms_b", turns[1]),
        ("met_after_s", took.as_secs_f64()),
        ("cpu_s_a", cpu[0]),
        ("cpu_s_b", cpu[1]),
    ]
}

/// Changes two fields of each record.
async fn rewrite(office: &Office, records: usize, by: &str) {
    let mut client = Client::connect(office).await;
    for batch in records::batches(records, BATCH) {
        let line = |number: usize| {
            let fields = json!({ "name": format!("{number} of {by}"), "note": by });
            json!({ "id": records::id(number), "fields": fields }).to_string() + "\n"
        };
        client.import(batch.map(line).collect::<String>().into_bytes()).await;
    }
}

/// How long each write took.
async fn write_until(client: &mut Client, mut is_over: impl AsyncFnMut() -> bool) -> Vec<f64> {
    let mut took = Vec::new();
    while !is_over().await {
        let body = json!({ "number": took.len() }).to_string().into_bytes();
        let started = Instant::now();
        client.ask(Method::PUT, "/v1/records/beside/1", body).await;
        took.push(started.elapsed().as_secs_f64() * 1_000.0);
        sleep(PAUSE).await;
    }
    took
}

fn longest(took: &[f64]) -> f64 {
    took.iter().copied().fold(0.0, f64::max)
}

fn median(took: &[f64]) -> f64 {
    let mut sorted = took.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn longest_turn_ms(bench: &Bench, office: &Office) -> f64 {
    let text = bench.runtime.block_on(async {
        let mut client = Client::connect(office).await;
        client.ask(Method::GET, "/metrics", Vec::new()).await
    });
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("branchline_turn_longest_seconds "));
    let seconds: f64 = line.and_then(|value| value.trim().parse().ok()).expect("a longest turn");
    seconds * 1_000.0
}

/// Waits until both show the same.
async fn equal(a: &mut Client, b: &mut Client) {
    let pause = Duration::from_millis(3);
    site::until("both show the same", pause, async || a.digest().await == b.digest().await).await;
}
