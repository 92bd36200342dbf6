//! The run in plain words.

use maud::{Markup, html};

use super::{FaultStory, ReportedRun, Story};
use crate::scenario::Readable;
use crate::text::{Count, counted};

/// What happened, in a few sentences.
pub(super) fn story(run: &ReportedRun<'_>) -> Markup {
    let (scenario, figures) = (run.scenario, &run.outcome.figures);
    let faults = figures.faults.values().sum::<u64>();
    let worst = figures.sites.iter().max_by_key(|(_, site)| site.backlog_max);
    html! {
        p {
            "For " (Readable(scenario.duration_ms)) ", people at " (scenario.offices.len()) " offices went on with \
            their work: " (counted(figures.writes_acknowledged, "write")) " were saved on the spot"
            @if figures.writes_refused > 0 {
                " and " (Count(figures.writes_refused)) " refused, so that nobody took them for saved"
            }
            ". Meanwhile " (counted(faults, "thing")) " went wrong."
            @if let Some((name, site)) = worst && site.backlog_max > 0 {
                " At the worst moment " (name) " lacked " (Count(site.backlog_max))
                " entries that others had written."
            }
        }
    }
}

/// How long after a fault its offices stood as before it: the time of the first sample that says so.
pub(super) fn caught_up(story: &Story, fault: &FaultStory) -> String {
    let Some(for_ms) = fault.for_ms else { return "–".to_owned() };
    let end_ms = fault.at_ms + for_ms;
    let mut latest_ms = None;
    for site in fault.sites.iter().filter_map(|site| story.sites.get(site)) {
        let before = site.backlog.iter().rev().find(|(at_ms, _)| *at_ms <= fault.at_ms);
        // A few entries are always under way in an office at work.
        let usual = before.map_or(0, |(_, backlog)| *backlog) + USUAL_ENTRIES;
        let caught_up = |(at_ms, backlog): &&(u64, u64)| *at_ms >= end_ms && *backlog <= usual;
        match site.backlog.iter().find(caught_up) {
            Some((at_ms, _)) => latest_ms = latest_ms.max(Some(at_ms - end_ms)),
            None if site.backlog.is_empty() => {}
            None => return "not before the end".to_owned(),
        }
    }
    latest_ms.map_or("–".to_owned(), |ms| format!("within {}", Readable(ms.max(1))))
}

/// Entries that may be under way at any moment without anyone being behind.
const USUAL_ENTRIES: u64 = 3;
