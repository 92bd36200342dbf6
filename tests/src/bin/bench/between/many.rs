//! Ten sites, all connected with all. Real processes.

use std::time::{Duration, Instant};

use branchline_tests::{Office, eventually};
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval};

use crate::Bench;
use crate::client::Client;
use crate::report::{Figures, Work};
use crate::site::{self, Used};

const SITES: usize = 10;
/// Writes a second over all sites.
const WRITES_PER_S: usize = 1_000;
const SECONDS: usize = 5;
const WRITES: usize = WRITES_PER_S * SECONDS;
/// Connections that write at one site, so that a slow answer does not hold up the next write.
const CONNECTIONS: usize = 10;

pub(crate) fn run(bench: &mut Bench) {
    for (form, writers) in
        [("one of 10 writes 1,000 a second", 1), ("10 write 100 a second each", SITES)]
    {
        let runs: Vec<Figures> = (0..bench.runs).map(|_| one(bench, writers)).collect();
        bench.report.add(&Work { job: "many", form, records: WRITES, by: "processes" }, &runs);
    }
}

fn one(bench: &mut Bench, writers: usize) -> Figures {
    let folder = bench.folder("many");
    let mut head = bench.office(&folder, "head");
    head.start();
    let mut sites = Vec::new();
    let mut peers = vec![address(&head)];
    for number in 1..SITES {
        let mut office = bench.office(&folder, &format!("branch-{number}"));
        // It would learn of the head alone by its ticket.
        let config = format!("peers = {peers:?}\n");
        std::fs::write(office.data.join("branchline.toml"), config).expect("a file");
        office.join(&head);
        office.start();
        peers.push(address(&office));
        sites.push(office);
    }
    sites.push(head);
    sites.rotate_right(1);
    eventually("all are connected with all", || sites.iter().all(sees_all));
    let before: Vec<_> = sites.iter().map(Used::by).collect();
    let (took, behind) = bench.runtime.block_on(async {
        let mut readers = join_all(sites.iter().map(Client::connect)).await;
        let started = Instant::now();
        write(&sites[..writers]).await;
        let took = started.elapsed();
        for reader in &mut readers {
            let pause = Duration::from_millis(10);
            site::until("a site has everything", pause, async || reader.count().await == WRITES)
                .await;
        }
        (took, started.elapsed() - took)
    });
    let after: Vec<_> = sites.iter().map(Used::by).collect();
    for site in &mut sites {
        site.stop();
    }
    let used: Vec<_> = before.iter().zip(&after).collect();
    let cpu = |(before, after): &(&Used, &Used)| after.cpu_s - before.cpu_s;
    let wire =
        |(before, after): &(&Used, &Used)| after.wire_bytes.saturating_sub(before.wire_bytes);
    let others = &used[1..];
    vec![
        ("writes_per_s", WRITES as f64 / took.as_secs_f64()),
        ("in_step_after_last_write_s", behind.as_secs_f64()),
        ("cpu_s_first", cpu(&used[0])),
        ("cpu_s_mean_of_others", others.iter().map(cpu).sum::<f64>() / others.len() as f64),
        ("wire_bytes_per_record_first", wire(&used[0]) as f64 / WRITES as f64),
        (
            "wire_bytes_per_record_mean_of_others",
            others.iter().map(wire).sum::<u64>() as f64 / (others.len() * WRITES) as f64,
        ),
    ]
}

/// Where others dial a running site.
fn address(office: &Office) -> String {
    let status = office.get("/v1/status");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    format!("{}/p2p/{}", text(&status["listening"][0]), text(&status["site"]))
}

fn sees_all(office: &Office) -> bool {
    let status = office.get("/v1/status");
    let sites = status["sites"].as_array().cloned().unwrap_or_default();
    sites.len() == SITES && sites.iter().all(|site| site["connected"] == true)
}

/// Writes all records at an even pace, spread over the sites.
async fn write(sites: &[Office]) {
    let each = CONNECTIONS / sites.len();
    let mut clients = Vec::new();
    for site in sites {
        clients.extend(join_all((0..each).map(|_| Client::connect(site))).await);
    }
    let writers = clients.into_iter().enumerate().map(|(first, mut client)| {
        tokio::spawn(async move {
            let pause = Duration::from_secs_f64(CONNECTIONS as f64 / WRITES_PER_S as f64);
            let mut paced = interval(pause);
            paced.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for number in (first..WRITES).step_by(CONNECTIONS) {
                paced.tick().await;
                client.put(number).await;
            }
        })
    });
    for ended in join_all(writers).await {
        ended.expect("the writer ends well");
    }
}
