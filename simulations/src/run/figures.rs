//! What is counted in a run.

use std::collections::BTreeMap;

use branchline_crdt::ids::Author;

use super::{Event, FaultName, Observation, Reply, Scenario, SiteIndex, World};
use crate::outcome::{Figures, MessageFigures, SiteFigures};
use crate::trace::MessageKind;
use crate::tracer;

/// What is counted in a run.
#[derive(Default)]
pub(super) struct Counters {
    acknowledged: u64,
    refused: u64,
    faults: BTreeMap<FaultName, u64>,
    messages: BTreeMap<MessageKind, MessageFigures>,
    /// Messages under way: what they are, to whom, and their size.
    under_way: BTreeMap<u64, (MessageKind, SiteIndex, u64)>,
    offices: BTreeMap<SiteIndex, OfficeCounters>,
    /// The newest entry of each log of the main space that any office holds.
    newest: BTreeMap<Author, u64>,
}

#[derive(Clone, Copy, Default)]
struct OfficeCounters {
    bytes_in: u64,
    bytes_out: u64,
    backlog_max: u64,
    /// Entries held, when it last ran.
    held: u64,
    /// At the last sample.
    sampled_in: u64,
    sampled_out: u64,
}

impl Counters {
    pub(super) fn wrote(&mut self, reported: Reply) {
        match reported {
            Reply::Acknowledged => self.acknowledged += 1,
            Reply::Refused | Reply::Unknown => self.refused += 1,
        }
    }

    pub(super) fn fault(&mut self, name: FaultName) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(super) fn count(&mut self, observation: &Observation) {
        match observation {
            Observation::Sent { number, from, to, message, .. } => {
                let (kind, bytes) = (tracer::kind(message), message.bytes().len() as u64);
                let figures = self.messages.entry(kind).or_default();
                figures.sent += 1;
                figures.bytes += bytes;
                self.offices.entry(*from).or_default().bytes_out += bytes;
                self.under_way.insert(*number, (kind, *to, bytes));
            }
            Observation::Delivered { number } => {
                if let Some((_, to, bytes)) = self.under_way.remove(number) {
                    self.offices.entry(to).or_default().bytes_in += bytes;
                }
            }
            Observation::Lost { number, .. } => {
                if let Some((kind, ..)) = self.under_way.remove(number) {
                    self.messages.entry(kind).or_default().lost += 1;
                }
            }
            Observation::Stored { entries, .. } | Observation::Started { entries, .. } => {
                for (_, entry) in entries {
                    let header = &entry.header;
                    if header.space == header.realm.main_space() {
                        let newest = self.newest.entry(header.author).or_default();
                        *newest = header.seq.max(*newest);
                    }
                }
            }
            Observation::Stopped { .. }
            | Observation::Failed { .. }
            | Observation::Rebuilt { .. }
            | Observation::DiskChanged { .. }
            | Observation::Notice { .. } => {}
        }
    }

    /// How many entries an office lacks of those that any other holds. The most of them are remembered.
    pub(super) fn backlog(&mut self, office: SiteIndex, world: &World) -> u64 {
        let known: u64 = self.newest.values().sum();
        let counters = self.offices.entry(office).or_default();
        if world.replica(office).is_some() {
            counters.held = entries_held(office, world);
        }
        let backlog = known.saturating_sub(counters.held);
        counters.backlog_max = counters.backlog_max.max(backlog);
        backlog
    }

    /// How an office stands, for the trace.
    pub(super) fn sample(&mut self, office: SiteIndex, world: &World) -> Event {
        let backlog = self.backlog(office, world);
        let counters = self.offices.entry(office).or_default();
        let bytes_in = counters.bytes_in - counters.sampled_in;
        let bytes_out = counters.bytes_out - counters.sampled_out;
        counters.sampled_in = counters.bytes_in;
        counters.sampled_out = counters.bytes_out;
        let store = world.replica(office).map(|replica| replica.store());
        Event::Sample {
            site: world.name(office).to_owned(),
            up: store.is_some(),
            backlog,
            bytes_in,
            bytes_out,
            journal_bytes: store.map_or(0, |store| store.journal_bytes()),
            rows_bytes: store.map_or(0, |store| store.rows_bytes()),
        }
    }

    pub(super) fn finish(self, scenario: &Scenario, world: &World, figures: &mut Figures) {
        figures.writes_acknowledged = self.acknowledged;
        figures.writes_refused = self.refused;
        figures.messages = self.messages;
        figures.faults = self.faults;
        for (office, name) in scenario.offices.iter().enumerate() {
            let counters = self.offices.get(&office).copied().unwrap_or_default();
            let store = world.replica(office).map(|replica| replica.store());
            let site = SiteFigures {
                bytes_in: counters.bytes_in,
                bytes_out: counters.bytes_out,
                backlog_max: counters.backlog_max,
                journal_bytes: store.map_or(0, |store| store.journal_bytes()),
                rows_bytes: store.map_or(0, |store| store.rows_bytes()),
                starts: world.starts(office),
            };
            figures.sites.insert(name.clone(), site);
            figures.entries = figures.entries.max(entries_held(office, world));
        }
    }
}

/// The entries of the main space at an office that is up.
fn entries_held(office: SiteIndex, world: &World) -> u64 {
    let realms = world.replica(office).map(|replica| replica.realms());
    let held = realms.and_then(|realms| Some(realms.entries_held(realms.network()?.main_space())));
    held.unwrap_or_default()
}
