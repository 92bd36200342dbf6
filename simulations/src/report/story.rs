//! What a page tells, gathered from a run's steps while it runs: bounded, however long the run.

use std::collections::BTreeMap;

use crate::scenario::FaultName;
use crate::trace::{Event, LinkState, Step, TraceSink};

/// Changes kept of one link or node; a chart shows a thousand at the most.
const CHANGES_MAX: usize = 100_000;
/// Samples kept of one office. At one a minute they last two months.
const SAMPLES_MAX: usize = 100_000;
/// Faults kept.
const FAULTS_MAX: usize = 10_000;

/// What a page tells.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Each office.
    pub sites: BTreeMap<String, SiteStory>,
    /// What passed over each link from when on.
    pub links: BTreeMap<(String, String), Vec<(u64, LinkState)>>,
    /// What went wrong, in order.
    pub faults: Vec<FaultStory>,
    /// When the faults ended.
    pub healed_ms: Option<u64>,
    /// The last step.
    pub end_ms: u64,
}

/// One office.
#[derive(Clone, Debug, Default)]
pub struct SiteStory {
    /// Whether its node ran, from when on.
    pub up: Vec<(u64, bool)>,
    /// By how many entries it was behind, and when.
    pub backlog: Vec<(u64, u64)>,
}

/// One thing that went wrong.
#[derive(Clone, Debug)]
pub struct FaultStory {
    /// When it began.
    pub at_ms: u64,
    /// How long it lasted; `None`: it happened at once, or lasted to the end.
    pub for_ms: Option<u64>,
    /// Its kind.
    pub kind: FaultName,
    /// The offices that it hit.
    pub sites: Vec<String>,
    /// What, in words.
    pub what: String,
}

impl Story {
    fn node(&mut self, site: &str, at_ms: u64, up: bool) {
        let site = self.sites.entry(site.to_owned()).or_default();
        push(&mut site.up, CHANGES_MAX, (at_ms, up));
    }
}

impl TraceSink for Story {
    fn step(&mut self, step: &Step) {
        let at_ms = step.at_ms;
        self.end_ms = self.end_ms.max(at_ms);
        match &step.event {
            Event::Started { site, .. } => self.node(site, at_ms, true),
            Event::Stopped { site, .. } => self.node(site, at_ms, false),
            Event::Link { a, b, state } => {
                // A one-way link may be noted from either end.
                let (one, other) = if a <= b { (a, b) } else { (b, a) };
                let changes = self.links.entry((one.clone(), other.clone())).or_default();
                push(changes, CHANGES_MAX, (at_ms, *state));
            }
            Event::Fault { kind, sites, what, for_ms } => {
                let (sites, what) = (sites.clone(), what.clone());
                let fault = FaultStory { at_ms, for_ms: *for_ms, kind: *kind, sites, what };
                push(&mut self.faults, FAULTS_MAX, fault);
            }
            Event::Sample { site, backlog, .. } => {
                let site = self.sites.entry(site.clone()).or_default();
                push(&mut site.backlog, SAMPLES_MAX, (at_ms, *backlog));
            }
            Event::Healed => self.healed_ms = Some(at_ms),
            Event::Converged { .. }
            | Event::Restored { .. }
            | Event::Cloned { .. }
            | Event::LinkQuality { .. }
            | Event::Write { .. }
            | Event::Sent { .. }
            | Event::Delivered { .. }
            | Event::Lost { .. }
            | Event::FirstSeen { .. }
            | Event::Held { .. }
            | Event::Notice { .. }
            | Event::Violation { .. } => {}
        }
    }
}

fn push<T>(list: &mut Vec<T>, max: usize, item: T) {
    if list.len() < max {
        list.push(item);
    }
}
