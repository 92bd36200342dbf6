//! What is asked when somebody wants the metrics: of the replica, the storage, the network, the feed and the process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{SiteStatus, Taken};
use branchline_crdt::store::tables::{logs, records, walk};
use branchline_crdt::store::{ReadJournal, StoreError};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::task::spawn_blocking;

use super::PREFIX;
use super::process::ProcessMeasured;
use crate::driver::{Measured, Message, Seen};
use crate::feed::FeedMeasured;
use crate::handle::{Content, Handle, Stopped, content};
use crate::network::PeerInfo;
use crate::peers::others::Standing;
use crate::storage::{Reader, Sizes, disk};

/// Members of which it is reported how much they added: those that added most.
const ADDED_SITES_MAX: usize = 100;

/// What one scrape asked for, besides what is recorded.
struct Scraped {
    measured: Measured,
    peers: Vec<PeerInfo>,
    stored: StorageMeasured,
    feed: FeedMeasured,
    process: ProcessMeasured,
    queued: usize,
}

/// What the storage tells. `None`: it cannot now, for example while the tables are rebuilt.
struct StorageMeasured {
    sizes: Option<Sizes>,
    disk_free_bytes: Option<u64>,
    damaged_frames: usize,
    is_writable: bool,
    content: Option<Content>,
    logs: Option<usize>,
    unreadable: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    site: String,
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: String,
}

impl Handle {
    /// What the node measures of itself, in the text format of OpenMetrics 1.0: what `GET /metrics` answers.
    ///
    /// # Errors
    /// [`Stopped`] once the node has stopped.
    pub async fn metrics(&self) -> Result<String, Stopped> {
        let measured = self.ask(Message::Measure).await?;
        let (reader, network, feed) = (self.reader.clone(), self.network_id(), self.feed.clone());
        let ask = move || {
            let space = network.map(|network| network.main_space());
            let stored = StorageMeasured {
                sizes: reader.sizes().ok(),
                disk_free_bytes: disk::free_bytes(reader.path()).ok(),
                damaged_frames: reader.damaged().len(),
                is_writable: reader.refusal().is_none(),
                content: space.and_then(|space| content(&reader, space).ok()),
                logs: space.and_then(|space| count(&reader, &logs::logs(space)).ok()),
                unreadable: space
                    .and_then(|space| count(&reader, &records::unreadable_of_space(space)).ok()),
            };
            (stored, feed.measure(), ProcessMeasured::now())
        };
        let asked = spawn_blocking(ask).await;
        let (stored, feed, process) =
            asked.map_err(|error| Stopped { reason: Some(error.to_string()) })?;
        let queued = self.messages.max_capacity() - self.messages.capacity();
        let peers = self.peers().await?;
        let asked = Scraped { measured, peers, stored, feed, process, queued };
        let mut added = Registry::with_prefix(PREFIX);
        if let Some(extensions) = self.extensions.upgrade() {
            extensions.metrics(&mut added);
        }
        let mut text = String::new();
        let encoded = encode_registry(&mut text, &self.metrics.registry)
            .and_then(|()| encode_registry(&mut text, &asked.of_site()))
            .and_then(|()| encode_registry(&mut text, &added))
            .and_then(|()| encode_registry(&mut text, &asked.of_process()))
            .and_then(|()| encode_eof(&mut text));
        // Writing to a string does not fail.
        encoded.map_err(|error| Stopped { reason: Some(error.to_string()) })?;
        Ok(text)
    }
}

fn count(reader: &Reader, prefix: &[u8]) -> Result<usize, StoreError> {
    let mut count = 0;
    walk(reader, prefix, None, |_, _| {
        count += 1;
        Ok(true)
    })?;
    Ok(count)
}

impl Scraped {
    fn of_site(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", version);
        self.of_replica(&mut registry);
        self.of_standing(&mut registry);
        self.of_storage(&mut registry);
        self.of_peers(&mut registry);
        self.of_added(&mut registry);
        let FeedMeasured { consumers, lag_bytes } = &self.feed;
        gauge(&mut registry, "feed_consumers", "Consumers of the feed", Some(*consumers as u64));
        let help = "Journal that the slowest consumer of the feed has not read";
        bytes(&mut registry, "feed_lag", help, *lag_bytes);
        let help = "Messages that wait for the replica";
        gauge(&mut registry, "replica_queue_messages", help, Some(self.queued as u64));
        registry
    }

    fn of_replica(&self, registry: &mut Registry) {
        let status = &self.measured.seen.status;
        let applied = status.entries.saturating_sub(status.entries_unapplied);
        for (name, help, value) in [
            ("members", "Members of the network", status.sites.len() as u64),
            ("entries", "Entries held", status.entries),
            ("entries_own", "Entries of this site that are held", status.own_entries),
            ("entries_applied", "Entries held that were judged", applied),
            ("entries_unapplied", "Entries of a later format", status.entries_unapplied),
            ("entries_lost", "Entries that are damaged here", status.entries_lost),
            ("logs_forked", "Logs with a proven fork", status.forks.len() as u64),
        ] {
            gauge(registry, name, help, Some(value));
        }
    }

    /// How this site stands, and what is noticed of copies.
    fn of_standing(&self, registry: &mut Registry) {
        let Seen { standing, copies, .. } = &self.measured.seen;
        let (state, attempts) = match standing {
            Standing::Member => ("member", 0),
            Standing::NoNetwork => ("no_network", 0),
            Standing::NotAdmitted { unreached, .. } => {
                ("not_admitted", unreached.as_ref().map_or(0, |unreached| unreached.attempts))
            }
            Standing::Refused(_) => ("refused", 0),
            Standing::Disputed { .. } => ("disputed", 0),
            Standing::Revoked { .. } => ("revoked", 0),
        };
        let family: Family<StateLabels, Gauge<f64, AtomicU64>> = Family::default();
        for known in ["member", "no_network", "not_admitted", "refused", "disputed", "revoked"] {
            let value = f64::from(u8::from(known == state));
            family.get_or_create(&StateLabels { state: known.to_owned() }).set(value);
        }
        registry.register("standing", "The standing of this site in its network", family);
        let help = "Vain attempts to reach a member with the ticket";
        gauge(registry, "join_failures", help, Some(attempts));
        let help = "Sites of which two copies run at the same time";
        gauge(registry, "sites_copied", help, Some(copies.len() as u64));
    }

    fn of_storage(&self, registry: &mut Registry) {
        let stored = &self.stored;
        let content = stored.content.as_ref();
        let number = |count: usize| count as u64;
        for (name, help, value) in [
            ("logs", "Logs held", stored.logs.map(number)),
            ("records", "Records that are not deleted", content.map(|found| found.records)),
            ("conflicts", "Records with conflicts", content.map(|found| found.conflicts)),
            ("records_unreadable", "Records unreadable here", stored.unreadable.map(number)),
            ("damaged_frames", "Damaged journal frames", Some(number(stored.damaged_frames))),
            ("writable", "Whether the disk took the last write", Some(stored.is_writable.into())),
        ] {
            gauge(registry, name, help, value);
        }
        let sizes = stored.sizes.as_ref();
        bytes(registry, "journal", "Journal on disk", sizes.map(|sizes| sizes.journal_bytes));
        bytes(registry, "tables", "Tables on disk", sizes.map(|sizes| sizes.tables_bytes));
        bytes(registry, "disk_free", "Room on the disk", stored.disk_free_bytes);
        let room = &self.measured.seen.room;
        let help = "Room that is kept for own writes";
        bytes(registry, "disk_reserve_own", help, Some(room.reserve_bytes));
        let help = "Whether what other sites write waits for room";
        let is_held_back = room.held_back_since_ms.is_some();
        gauge(registry, "held_back", help, Some(is_held_back.into()));
    }

    fn of_peers(&self, registry: &mut Registry) {
        let Measured { seen: Seen { status, heard, .. }, passed, .. } = &self.measured;
        let others = || status.sites.iter().filter(|site| site.site != status.site);
        let known: BTreeMap<SiteId, &PeerInfo> = self
            .peers
            .iter()
            .filter_map(|info| Some((SiteId::from_peer_id(&info.peer)?, info)))
            .collect();
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let connected = |site: &SiteStatus| Some(u64::from(site.connected) as f64);
        let lag = |site: &SiteStatus| site.lag_entries.map(|entries| entries as f64);
        let ahead = |site: &SiteStatus| site.ahead_entries.map(|entries| entries as f64);
        let receipt = |site: &SiteStatus| site.receipt_ms.map(seconds);
        let heard = |site: &SiteStatus| heard.get(&site.site).map(|at| seconds(at.any_ms));
        let round_trip =
            |site: &SiteStatus| known.get(&site.site)?.round_trip_ms.map(|ms| ms / 1000.0);
        let failures = |site: &SiteStatus| Some(f64::from(known.get(&site.site)?.dial_failures));
        let of_site: [(&str, &str, Option<Unit>, OfSite<'_>); 7] = [
            ("peer_connected", "Whether the member is connected", None, &connected),
            ("peer_lag_entries", "Entries held here that it has not confirmed", None, &lag),
            ("peer_ahead_entries", "Entries that it holds and that lack here", None, &ahead),
            ("peer_receipt_timestamp", "When it said what it holds", SECONDS, &receipt),
            ("peer_heard_timestamp", "When anything came from it", SECONDS, &heard),
            ("peer_round_trip", "Last measured round trip", SECONDS, &round_trip),
            ("peer_dial_failures", "Failed dials since the last link", None, &failures),
        ];
        for (name, help, unit, value) in of_site {
            let family: Family<PeerLabels, Gauge<f64, AtomicU64>> = Family::default();
            for site in others() {
                if let Some(value) = value(site) {
                    family.get_or_create(&peer(site)).set(value);
                }
            }
            register(registry, name, help, unit, family);
        }
        let (pulled, pushed): (Family<PeerLabels, Counter>, Family<PeerLabels, Counter>) =
            Default::default();
        for site in others() {
            let passed = passed.get(&site.site).copied().unwrap_or_default();
            pulled.get_or_create(&peer(site)).inc_by(passed.pulled);
            pushed.get_or_create(&peer(site)).inc_by(passed.pushed);
        }
        registry.register("peer_entries_pulled", "New entries that came from it by pulls", pulled);
        registry.register("peer_entries_pushed", "Entries that it was sent by its pulls", pushed);
    }

    /// What the sites have added that added most.
    fn of_added(&self, registry: &mut Registry) {
        let Measured { seen: Seen { status, .. }, added, .. } = &self.measured;
        let added = |site: &SiteStatus| added.sites.get(&site.site).map(|added| added.in_all);
        let mut most: Vec<(Taken, &SiteStatus)> =
            status.sites.iter().filter_map(|site| Some((added(site)?, site))).collect();
        most.sort_by_key(|(taken, _)| Reverse(taken.bytes));
        most.truncate(ADDED_SITES_MAX);
        let (entries, bytes): (Family<PeerLabels, Counter>, Family<PeerLabels, Counter>) =
            Default::default();
        for (taken, site) in most {
            entries.get_or_create(&peer(site)).inc_by(taken.entries);
            bytes.get_or_create(&peer(site)).inc_by(taken.bytes);
        }
        registry.register(
            "site_entries_added",
            "Entries that it wrote and that came to be held",
            entries,
        );
        let help = "Their bytes in the journal";
        registry.register_with_unit("site_added", help, Unit::Bytes, bytes);
    }

    /// Under the names that all programs have for these.
    fn of_process(&self) -> Registry {
        let mut registry = Registry::with_prefix("process");
        let ProcessMeasured { resident_memory_bytes, open_fds, max_fds, cpu_seconds } =
            self.process;
        bytes(&mut registry, "resident_memory", "Memory in use", resident_memory_bytes);
        gauge(&mut registry, "open_fds", "Open file descriptors", open_fds);
        gauge(&mut registry, "max_fds", "Most open file descriptors", max_fds);
        if let Some(seconds) = cpu_seconds {
            let counter = ConstCounter::new(seconds);
            registry.register_with_unit("cpu", "User and system time", Unit::Seconds, counter);
        }
        registry
    }
}

/// A figure of one member; `None`: it is not known.
type OfSite<'a> = &'a dyn Fn(&SiteStatus) -> Option<f64>;

const SECONDS: Option<Unit> = Some(Unit::Seconds);

fn peer(site: &SiteStatus) -> PeerLabels {
    PeerLabels { site: site.site.to_string(), name: site.name.clone() }
}

fn register(
    registry: &mut Registry,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    metric: impl prometheus_client::registry::Metric,
) {
    match unit {
        Some(unit) => registry.register_with_unit(name, help, unit, metric),
        None => registry.register(name, help, metric),
    }
}

/// A value that is not known is left out.
fn gauge(registry: &mut Registry, name: &str, help: &str, value: Option<u64>) {
    if let Some(value) = value {
        registry.register(name, help, ConstGauge::new(value));
    }
}

fn bytes(registry: &mut Registry, name: &str, help: &str, value: Option<u64>) {
    if let Some(value) = value {
        registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(value));
    }
}
