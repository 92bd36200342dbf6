//! Two replicas in step lose their link and find each other again, with nothing to say. Real processes, with a cable
//! between them that counts.

use std::time::{Duration, Instant, SystemTime};

use branchline_tests::proxy::Proxy;
use branchline_tests::{Office, eventually};

use crate::client::Client;
use crate::report::{Figures, Work};
use crate::{Bench, site};

/// A cable that was silent for so long carries no more of a reconnect. Less than gossip's heartbeat of a second.
const SILENCE: Duration = Duration::from_millis(400);
/// What a reconnect costs is sent within this time.
const SETTLED: Duration = Duration::from_secs(3);

pub(crate) fn run(bench: &mut Bench) {
    let records = bench.records;
    for records in [100.min(records), records] {
        in_step(bench, records);
    }
}

fn in_step(bench: &mut Bench, records: usize) {
    let folder = bench.folder("reconnect");
    let mut head = bench.office(&folder, "head");
    let mut client = bench.runtime.block_on(site::start(&mut head));
    bench.runtime.block_on(client.load(records));
    let status = head.get("/v1/status");
    let listening = status["listening"][0].as_str().expect("an address");
    let port = listening.rsplit('/').next().and_then(|port| port.parse::<u16>().ok());
    let cable = Proxy::to(([127, 0, 0, 1], port.expect("a port")).into());
    let ticket = head.run(["invite", "--address", &cable.multiaddr()]).ok();
    let mut branch = bench.office(&folder, "branch");
    // The branch listens nowhere: all that it says goes through the cable.
    std::fs::write(branch.data.join("branchline.toml"), "listen = []\nmdns = false\n")
        .expect("a file");
    branch.run(["join", ticket.trim()]).ok();
    branch.start_with(&[]);
    bench.runtime.block_on(async {
        let mut client = Client::connect(&branch).await;
        let pause = Duration::from_millis(100);
        site::until("the branch has everything", pause, async || client.count().await == records)
            .await;
    });
    let runs: Vec<Figures> = (0..bench.runs).map(|_| one(&mut head, &branch, &cable)).collect();
    let form = "in step, handshakes included";
    bench.report.add(&Work { job: "reconnect", form, records, by: "processes" }, &runs);
}

/// Figures from the moment in which the branch dials, so that the pause before a dial is no part of them.
fn one(head: &mut Office, branch: &Office, cable: &Proxy) -> Figures {
    eventually("receipts are exchanged", || {
        [&*head, branch].iter().all(|office| is_settled(office))
    });
    cable.cut();
    eventually("the link is gone", || !is_connected(branch));
    // The dial that the cut refused, if any, is over.
    std::thread::sleep(SILENCE);
    cable.take_bytes();
    let connections = cable.connections();
    cable.mend();
    while cable.connections() == connections {
        std::thread::sleep(Duration::from_micros(100));
    }
    let dialled = Instant::now();
    let dialled_at = SystemTime::now();
    let (mut bytes, mut last) = (0, dialled);
    while last.elapsed() < SILENCE {
        std::thread::sleep(Duration::from_micros(200));
        let more = cable.take_bytes();
        if more > 0 {
            bytes += more;
            last = Instant::now();
        }
    }
    std::thread::sleep(SETTLED.saturating_sub(dialled.elapsed()));
    let settled_bytes = bytes + cable.take_bytes();
    let connected = [&*head, branch].into_iter().flat_map(site::peers_connected).max();
    let connected = connected.and_then(|moment| moment.duration_since(dialled_at).ok());
    vec![
        ("connected_ms", connected.unwrap_or_default().as_secs_f64() * 1_000.0),
        ("until_silent_ms", last.duration_since(dialled).as_secs_f64() * 1_000.0),
        ("bytes", bytes as f64),
        ("bytes_within_3_s", settled_bytes as f64),
    ]
}

/// Whether receipts have reported that nothing is lacking.
fn is_settled(office: &Office) -> bool {
    let status = office.get("/v1/status");
    let sites = status["sites"].as_array().cloned().unwrap_or_default();
    sites.len() == 2
        && sites.iter().all(|site| site["lag_entries"] == 0 && site["ahead_entries"] == 0)
}

fn is_connected(office: &Office) -> bool {
    let status = office.get("/v1/status");
    let sites = status["sites"].as_array().cloned().unwrap_or_default();
    sites.len() == 2 && sites.iter().all(|site| site["connected"] == true)
}
