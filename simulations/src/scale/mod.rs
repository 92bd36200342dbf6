//! What a network costs each site, by the number of sites: messages, bytes, memory, time to convergence.
//!
//! All sites run the production replica, up to ten thousand of them in one process: what they have in common from
//! the start (who the members are) is kept once. Links are good (20 ms) and lie at random, some six at each site, as
//! in a gossip mesh; the sites that write are chosen at random and write one small record each within ten seconds.

mod plot;
mod store;
mod swarm;

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;

pub use plot::svg;
use swarm::{Swarm, SwarmKind};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Number of sites.
    pub sites: usize,
    /// How many of them write, one record each.
    pub writers: usize,
    /// Chooses links, writers and moments.
    pub seed: u64,
}

/// What a network of one size costs. Bytes are those of the protocols' messages, without the transport's own.
#[derive(Clone, Debug, Serialize)]
pub struct ScaleAnswer {
    /// Number of sites.
    pub sites: usize,
    /// How many of them wrote.
    pub writers: usize,
    /// Virtual ms from the last write until every site held every entry; `None`: not within ten minutes.
    pub converged_ms: Option<u64>,
    /// Messages received by a site until then, on average.
    pub messages: f64,
    /// Bytes received by a site until then, on average, by kind of message.
    pub bytes: BTreeMap<&'static str, f64>,
    /// Bytes of an entry as it is gossiped, on average.
    pub entry_bytes: f64,
    /// The most bytes that one site received until then.
    pub bytes_max: u64,
    /// Bytes received by a site in each minute after that, with nothing to do.
    pub idle_bytes_per_minute: f64,
    /// Bytes of a site's own frames and rows.
    pub stored_bytes: u64,
    /// Bytes of the frontier of all writers, whole, as a pull tells it.
    pub frontier_bytes: usize,
    /// Bytes of a pull and its answer that find one entry among these logs.
    pub pull_bytes: u64,
    /// Growth of this process while it ran, by site.
    pub memory_bytes: u64,
    /// Real seconds that it took.
    pub seconds: f64,
}

/// How long after the last write the sites may take to hold the same.
const PATIENCE_MS: u64 = 600_000;
/// The sites write within this time.
const WRITING_MS: u64 = 10_000;
/// How long an idle network is watched.
const IDLE_MS: u64 = 120_000;
/// How often convergence is looked at.
const LOOK_MS: u64 = 20;

/// Lets a network of that size write, converge and idle.
pub fn measure(question: Question) -> ScaleAnswer {
    let started = Instant::now();
    let memory = resident_bytes();
    let mut swarm = Swarm::new(question.sites, question.seed);
    swarm.run_until(swarm.time_ms() + 5_000);
    swarm.take_received();

    let writers = question.writers.min(question.sites);
    let written_ms = swarm.plan_writes(writers, WRITING_MS);
    swarm.run_until(written_ms);
    while !swarm.in_step(writers) && swarm.time_ms() < written_ms + PATIENCE_MS {
        swarm.run_until(swarm.time_ms() + LOOK_MS);
    }
    let converged_ms = swarm.in_step(writers).then(|| swarm.time_ms() - written_ms);
    let received = swarm.take_received();
    swarm.run_until(swarm.time_ms() + IDLE_MS);
    let idle = swarm.take_received();

    let sites = question.sites as f64;
    let bytes_of = |kind: SwarmKind| received.iter().map(|r| r.bytes[kind as usize]).sum::<u64>();
    let messages_of =
        |kind: SwarmKind| received.iter().map(|r| r.messages[kind as usize]).sum::<u64>();
    let messages: u64 = SwarmKind::ALL.map(messages_of).iter().sum();
    let entry_messages = messages_of(SwarmKind::Entry).max(1) as f64;
    let idle_bytes: u64 = idle.iter().map(|received| received.bytes()).sum();
    let (frontier_bytes, pull_bytes) = swarm.measure_pull();
    ScaleAnswer {
        sites: question.sites,
        writers,
        converged_ms,
        messages: messages as f64 / sites,
        bytes: SwarmKind::ALL.map(|kind| (kind.name(), bytes_of(kind) as f64 / sites)).into(),
        entry_bytes: bytes_of(SwarmKind::Entry) as f64 / entry_messages,
        bytes_max: received.iter().map(|received| received.bytes()).max().unwrap_or(0),
        idle_bytes_per_minute: idle_bytes as f64 / sites / (IDLE_MS as f64 / 60_000.0),
        stored_bytes: swarm.stored_bytes() / question.sites.max(1) as u64,
        frontier_bytes,
        pull_bytes,
        memory_bytes: resident_bytes().saturating_sub(memory) / question.sites.max(1) as u64,
        seconds: started.elapsed().as_secs_f64(),
    }
}

/// Memory of this process, as Linux counts it; 0 where it does not say.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}
