//! Sites for the jobs: started, joined, waited for, and what they have used so far.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use branchline_tests::process::{Gauge, cpu_seconds};
use branchline_tests::{Office, eventually};
use tokio::time::sleep;

use crate::Bench;
use crate::client::Client;

/// The longest job on a slow machine takes less.
const PATIENCE: Duration = Duration::from_secs(2 * 60 * 60);

/// Waits, looking every `pause`; panics if it takes hours.
pub(crate) async fn until(what: &str, pause: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        sleep(pause).await;
    }
}

/// Starts a node, and connects as soon as its API answers.
pub(crate) async fn start(office: &mut Office) -> Client {
    office.spawn();
    loop {
        if let Some(client) = Client::try_connect(office).await {
            return client;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// A new member of the network of `head`, which runs. It runs as well.
pub(crate) fn member(bench: &Bench, folder: &Path, name: &str, head: &Office) -> Office {
    let mut office = bench.office(folder, name);
    office.join(head);
    office.start();
    eventually("the new site is a member", || office.get("/v1/status")["member"] == true);
    office
}

/// The moments in which the node reported of a connected peer, by its log.
pub(crate) fn peers_connected(office: &Office) -> Vec<SystemTime> {
    let log = std::fs::read_to_string(office.log_path()).expect("a log");
    let lines = log.lines().filter(|line| line.contains("peer connected"));
    let moment = |line: &str| line.split_whitespace().next()?.parse::<jiff::Timestamp>().ok();
    lines.map(|line| moment(line).expect("a moment").into()).collect()
}

/// What a process has used at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub(crate) cpu_s: f64,
    /// Bytes sent to and received from other sites, by connections that still stand.
    pub(crate) wire_bytes: u64,
    /// Greatest memory since the start, or since [`Gauge::reset_peak`].
    pub(crate) peak_mib: f64,
}

impl Used {
    pub(crate) fn by(office: &Office) -> Self {
        let peak_mib = Gauge::of(office.pid()).peak_kib as f64 / 1_024.0;
        Self { cpu_s: cpu_s(office), wire_bytes: wire_bytes(office), peak_mib }
    }
}

/// User and system time of a node so far.
pub(crate) fn cpu_s(office: &Office) -> f64 {
    cpu_seconds(office.pid()).expect("the node runs")
}

/// Payload bytes of the TCP connections of a node, but for those of its API.
fn wire_bytes(office: &Office) -> u64 {
    let (api, _) = office.api();
    let listed = Command::new("ss").args(["-tniHOp", "state", "established"]).output();
    let listed = listed.expect("ss runs; it is in the package iproute2");
    let listed = String::from_utf8_lossy(&listed.stdout);
    let pid = format!("pid={},", office.pid());
    let api = api.to_string();
    let lines = listed.lines().filter(|line| line.contains(&pid));
    let lines = lines.filter(|line| !line.split_whitespace().any(|word| word == api));
    lines
        .flat_map(str::split_whitespace)
        .filter_map(|word| {
            let bytes = word.strip_prefix("bytes_sent:").or(word.strip_prefix("bytes_received:"));
            bytes?.parse::<u64>().ok()
        })
        .sum()
}

/// Bytes that a folder takes on the disk.
pub(crate) fn disk_bytes(folder: PathBuf) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It was removed meanwhile.
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Bytes of a site's journal and tables on the disk.
pub(crate) fn data_bytes(office: &Office) -> u64 {
    disk_bytes(office.data.join("journal")) + disk_bytes(office.data.join("tables"))
}
