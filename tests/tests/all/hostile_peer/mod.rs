//! Offices go on working while somebody on their network does not mean well: strangers, and members too.

mod flood;
mod member;
mod stranger;
mod tickets;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use branchline_crdt::membership::Ticket;
use branchline_node::site::SiteFolder;
use branchline_tests::process::Gauge;
use branchline_tests::{Office, converge, eventually, is_long};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::PROGRAM;

/// More memory than a quiet node of these tests takes by any attack: what is meant to be held for one hostile peer at
/// the most (unread streams, a gossip queue, answers under way) and as much again for a debug build's allocator.
const MEMORY_KIB_MAX: u64 = 256 * 1024;
/// Files beyond the quiet node's: pending and strangers' connections, and what the store opens meanwhile.
const FILES_MAX: usize = 64 + 16 + 16;
/// Bytes of log that one attack may cause.
const LOG_BYTES_MAX: u64 = 128 * 1024;

/// Two honest offices, and somewhere for a third.
struct World {
    folder: TempDir,
    head: Office,
    north: Office,
    runtime: Runtime,
    before: [Gauge; 2],
    log_bytes: [u64; 2],
    writes: AtomicU32,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let office = |name, found| Office::init(PROGRAM, folder.path(), name, found);
        let (mut head, mut north) = (office("head", true), office("north", false));
        let both = ["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1"];
        for office in [&mut head, &mut north] {
            office.start_with(&[&both[..], &["--no-mdns"]].concat());
        }
        north.join(&head);
        let runtime = Runtime::new().unwrap();
        let before = [head.gauge(), north.gauge()];
        let mut world = Self {
            folder,
            head,
            north,
            runtime,
            before,
            log_bytes: [0; 2],
            writes: AtomicU32::new(0),
        };
        world.still_works();
        world.settle();
        world
    }

    /// What is measured from now on is measured against this moment.
    fn settle(&mut self) {
        for (number, office) in [&self.head, &self.north].into_iter().enumerate() {
            Gauge::reset_peak(office.pid());
            self.before[number] = office.gauge();
            self.log_bytes[number] = log_bytes(office);
        }
    }

    /// Where head listens, by TCP and by QUIC.
    fn addresses(&self) -> [Multiaddr; 2] {
        let status = self.head.get("/v1/status");
        let listening = |part: &str| {
            let mut all = status["listening"].as_array().unwrap().iter();
            let found = all.find_map(|text| text.as_str().filter(|text| text.contains(part)));
            found.unwrap().parse().unwrap()
        };
        [listening("/tcp/"), listening("/udp/")]
    }

    /// The key of a site that has joined for real, and whose node no longer runs; and its ticket.
    fn member(&self, name: &str, role: &str) -> (Keypair, Ticket) {
        let mut office = Office::init(PROGRAM, self.folder.path(), name, false);
        office.start();
        let ticket = self.head.run(["invite", "--role", role]).ok();
        office.run(["join", ticket.trim()]).ok();
        eventually("it is a member", || {
            let status = office.get("/v1/status");
            status["member"] == true
        });
        converge(&[&self.head, &self.north, &office]);
        assert_eq!(office.stop(), 0);
        let key = SiteFolder::new(&office.data).key().unwrap().to_libp2p();
        (key, ticket.parse().unwrap())
    }

    /// The honest offices hear each other's writes, both ways.
    fn still_works(&self) {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let pairs = [(&self.head, &self.north, "head"), (&self.north, &self.head, "north")];
        for (writer, reader, name) in pairs {
            let id = format!("{name}-{number}");
            writer.run(["put", "proofs", &id, "{}"]).ok();
            eventually(&format!("{} has {id}", reader.name), || reader.has("proofs", &id));
        }
        converge(&[&self.head, &self.north]);
    }

    /// Nothing of an attack has stayed, and not too much was taken meanwhile.
    fn unharmed(&mut self, attack: &str) {
        self.still_works();
        for (number, office) in [&self.head, &self.north].into_iter().enumerate() {
            let before = self.before[number];
            let files_max = before.files + FILES_MAX;
            eventually("the files are closed again", || office.gauge().files <= before.files + 16);
            let after = office.gauge();
            let log = log_bytes(office) - self.log_bytes[number];
            println!(
                "{attack}: {}: memory {} -> {} KiB, at most {} KiB; files {} -> {}; {log} bytes of log",
                office.name,
                before.memory_kib,
                after.memory_kib,
                after.peak_kib,
                before.files,
                after.files,
            );
            assert!(after.peak_kib < MEMORY_KIB_MAX, "{attack}: {after:?}");
            assert!(after.files < files_max, "{attack}: {after:?}");
            assert!(log < LOG_BYTES_MAX, "{attack}: {log} bytes of log");
        }
        self.settle();
    }

    /// Waits until the log of head says this.
    fn head_says(&self, text: &str) {
        eventually(&format!("head's log says {text:?}"), || {
            std::fs::read_to_string(self.head.log_path()).unwrap().contains(text)
        });
    }
}

fn log_bytes(office: &Office) -> u64 {
    office.log_path().metadata().map_or(0, |log| log.len())
}

/// Socket address of a multiaddress.
fn socket(address: &Multiaddr) -> std::net::SocketAddr {
    let port = address.to_string().split('/').nth(4).unwrap().parse().unwrap();
    ([127, 0, 0, 1], port).into()
}

/// How long an attack that goes on by itself lasts.
fn duration() -> Duration {
    Duration::from_secs(if is_long() { 120 } else { 5 })
}
