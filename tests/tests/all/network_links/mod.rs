//! Links that are cut, slow, lossy, silent, or never still: offices work on, lose nothing, and converge when they heal.
//! `BRANCHLINE_LONG=1` makes cuts of minutes of those of seconds.

mod cables;
mod gossip;
mod namespaces;
mod silence;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use branchline_tests::process::Gauge;
use branchline_tests::{Office, eventually, is_long};

use crate::PROGRAM;

/// More memory than a node gains in any of these tests: queues towards a dead peer, and the records themselves.
const MEMORY_GAIN_KIB_MAX: u64 = 64 * 1024;
/// Files that a node may gain: connections that both sides opened at once, and what the store opens meanwhile.
const FILES_GAIN_MAX: usize = 16;

fn office(folder: &Path, name: &str) -> Office {
    Office::init(PROGRAM, folder, name, name == "head")
}

/// A branch that can reach head by `address` alone, and is reached by nobody.
fn branch(folder: &Path, name: &str, head: &Office, address: &str) -> Office {
    let mut office = office(folder, name);
    std::fs::write(office.data.join("branchline.toml"), "listen = []\nmdns = false\n").unwrap();
    let ticket = head.run(["invite", "--address", address]).ok();
    office.start_with(&[]);
    office.run(["join", ticket.trim()]).ok();
    eventually(&format!("{name} is a member"), || office.status()["member"] == true);
    office
}

/// Where an office listens by `transport`, `tcp` or `udp`.
fn listening(office: &Office, transport: &str) -> SocketAddr {
    let status = office.status();
    let mut addresses = status["listening"].as_array().unwrap().iter().filter_map(|a| a.as_str());
    let address = addresses.find(|address| address.contains(transport)).unwrap();
    let port = address.split('/').nth(4).unwrap().parse().unwrap();
    ([127, 0, 0, 1], port).into()
}

/// Puts numbered records into the collection of the office's name; all are acknowledged when it returns.
fn sell(office: &Office, numbers: std::ops::Range<usize>) {
    for number in numbers {
        office.run(["put", &office.name, &format!("sale-{number}"), r#"{"quantity": 1}"#]).ok();
    }
}

/// Whether `office` holds so many sales of `of`.
fn holds(office: &Office, of: &Office, count: usize) -> bool {
    office.count(&of.name) == count as u64
}

/// Whether both say that they are connected to as many others as given.
fn connected(office: &Office) -> usize {
    let status = office.status();
    let sites = status["sites"].as_array().unwrap().iter();
    sites.filter(|site| site["connected"] == true).count() - 1
}

/// What offices held at one moment.
struct Measured(Vec<Gauge>);

impl Measured {
    fn of(offices: &[&Office]) -> Self {
        Self(offices.iter().map(|office| office.gauge()).collect())
    }

    /// Nothing has grown that should not; connections beyond two for each pair are gone before long.
    #[track_caller]
    fn has_stayed(&self, offices: &[&Office], what: &str) {
        for (office, before) in offices.iter().zip(&self.0) {
            let connections_max = 2 * offices.len();
            eventually(&format!("{what}: the files of {} are closed again", office.name), || {
                let now = office.gauge();
                now.files <= before.files + FILES_GAIN_MAX && now.tcp_established <= connections_max
            });
            let after = office.gauge();
            println!(
                "{what}: {}: memory {} -> {} KiB, files {} -> {}, TCP {} -> {}, threads {} -> {}",
                office.name,
                before.memory_kib,
                after.memory_kib,
                before.files,
                after.files,
                before.tcp_established,
                after.tcp_established,
                before.threads,
                after.threads,
            );
            let gain = after.memory_kib.saturating_sub(before.memory_kib);
            assert!(gain < MEMORY_GAIN_KIB_MAX, "{what}: {} gained {gain} KiB", office.name);
        }
    }
}

/// How long a link stays cut or silent.
fn outage() -> Duration {
    Duration::from_secs(if is_long() { 180 } else { 12 })
}
