//! What the node measures of itself while it works, for Prometheus.
//!
//! Recording takes a few atomic additions. What can be asked when it is wanted is not recorded: `scrape` asks for it.
//! `node/OPERATIONS.md` describes each metric.

mod histogram;
mod process;
mod scrape;

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use histogram::Histogram;

/// What all names begin with, but for those of the process.
const PREFIX: &str = "branchline";

/// What is recorded. The fields' names are those of the metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) write_duration: Histogram,
    pub(crate) turn_duration: Histogram,
    pub(crate) turn_longest: Longest,
    pub(crate) commit_writes: Histogram,
    pub(crate) transactions: Transactions,
    pub(crate) entries_void: Counter,
    pub(crate) tables_rebuilt: Counter,
    pub(crate) pull_duration: Histogram,
    pub(crate) pulls_failed: Counter,
    pub(crate) gossip_published: Counter,
    pub(crate) gossip_validated: Verdicts,
    http_request_duration: Family<Request, Histogram>,
}

/// The greatest of several times, in seconds.
pub(crate) type Longest = Gauge<f64, AtomicU64>;

/// Transactions, by what became of them.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(crate) written: Counter,
    pub(crate) unchanged: Counter,
    pub(crate) refused: Counter,
}

/// Gossip messages of others, by what became of them.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) accepted: Counter,
    pub(crate) ignored: Counter,
    pub(crate) rejected: Counter,
}

/// What requests are distinguished by. Routes are the router's patterns, methods the known ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: &'static str,
}

impl Metrics {
    /// `journal_append_duration`: what the storage records.
    pub(crate) fn new(journal_append_duration: Histogram) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let write_duration = times(
            &mut registry,
            "write_duration",
            "From a write's arrival until it is durable, or refused",
        );
        let turn_duration = times(
            &mut registry,
            "turn_duration",
            "Turns of the replica's thread: anyone who comes meanwhile waits for the end of one",
        );
        let turn_longest = Longest::default();
        let help = "The longest turn of the replica's thread since the start";
        registry.register_with_unit("turn_longest", help, Unit::Seconds, turn_longest.clone());
        let commit_writes = Histogram::of_groups();
        registry.register("commit_writes", "Writes that one commit holds", commit_writes.clone());
        let help = "Appends to the journal: write and fdatasync";
        let recorded = journal_append_duration;
        registry.register_with_unit("journal_append_duration", help, Unit::Seconds, recorded);
        let transactions = Family::default();
        registry.register("transactions", "Transactions of local writers", transactions.clone());
        let entries_void =
            counter(&mut registry, "entries_void", "Entries taken in that have no effect anywhere");
        let tables_rebuilt =
            counter(&mut registry, "tables_rebuilt", "How often the tables were rebuilt");
        let pull_duration =
            times(&mut registry, "pull_duration", "From a pull's request until its answer");
        let pulls_failed = counter(&mut registry, "pulls_failed", "Pulls without an answer");
        let gossip_published =
            counter(&mut registry, "gossip_published", "Gossip messages of this site");
        let gossip_validated = Family::default();
        let help = "Gossip messages of others that were judged";
        registry.register("gossip_validated", help, gossip_validated.clone());
        let http_request_duration =
            Family::new_with_constructor(Histogram::of_times as fn() -> Histogram);
        let help = "Requests of the API until the head of their answer";
        let requests = http_request_duration.clone();
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, requests);
        Self {
            registry,
            write_duration,
            turn_duration,
            turn_longest,
            commit_writes,
            transactions: Transactions {
                written: labelled(&transactions, "outcome", "written"),
                unchanged: labelled(&transactions, "outcome", "unchanged"),
                refused: labelled(&transactions, "outcome", "refused"),
            },
            entries_void,
            tables_rebuilt,
            pull_duration,
            pulls_failed,
            gossip_published,
            gossip_validated: Verdicts {
                accepted: labelled(&gossip_validated, "verdict", "accept"),
                ignored: labelled(&gossip_validated, "verdict", "ignore"),
                rejected: labelled(&gossip_validated, "verdict", "reject"),
            },
            http_request_duration,
        }
    }

    /// Notes a request to the API that came at `started`.
    pub(crate) fn note_request(
        &self,
        route: &str,
        method: &'static str,
        status: &'static str,
        started: Instant,
    ) {
        let request = Request { route: route.to_owned(), method, status };
        self.http_request_duration.get_or_create(&request).record_time(started.elapsed());
    }
}

type Labels = [(&'static str, &'static str); 1];

fn labelled(family: &Family<Labels, Counter>, name: &'static str, value: &'static str) -> Counter {
    family.get_or_create_owned(&[(name, value)])
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn times(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = Histogram::of_times();
    registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
    histogram
}
