//! A page that shows a run: what went wrong, what it did to each office, and whether the promises held.
//!
//! One HTML file with inline SVG and CSS, and nothing from elsewhere: it can be mailed, archived and printed. Every
//! chart has its figures as text for those who cannot see it.

mod axis;
mod backlog;
mod bytes;
mod lanes;
mod story;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::outcome::{Outcome, Verdict};
use crate::scenario::{Readable, Scenario};
use crate::text::{Bytes, Count, counted};
pub use story::{FaultStory, SiteStory, Story};

const STYLE: &str = include_str!("style.css");
/// Faults listed one by one; beyond that a list tells less than the totals.
const FAULTS_SHOWN: usize = 24;
/// Violations listed.
const VIOLATIONS_SHOWN: usize = 20;

/// A run, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct ReportedRun<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// With which seed.
    pub seed: u64,
    /// The command that makes this page again.
    pub command: &'a str,
    /// What happened.
    pub story: &'a Story,
    /// What came of it.
    pub outcome: &'a Outcome,
}

/// The page, as HTML.
pub fn page(run: &ReportedRun<'_>) -> String {
    let title = run.scenario.name.replace(['-', '_'], " ");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Branchline simulation" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.kicker { "Branchline simulation" }
                        h1 { (title) }
                        p.about { (run.scenario.about) }
                    }
                    (verdict(run))
                    (tiles(run))
                    section { h2 { "What happened" } (words::story(run)) (faults(run)) }
                    (section_of("Offices, from hour to hour",
                        "How each office stood: a thin line while all its links work, thicker while some are cut, full \
                         while it can reach nobody or its node is off.", &lanes::offices(run)))
                    (section_of("Links", "The links that were not up all the time.", &lanes::links(run)))
                    (section_of("How far behind", "Entries written anywhere that an office did not hold yet. An office \
                         that is cut off falls behind until it is back; the others fall behind on what it writes.",
                         &backlog::chart(run)))
                    (section_of("Data moved", "Bytes that each office received and sent in the whole run.",
                         &bytes::chart(run)))
                    (promises(run.outcome))
                    (reproduce(run))
                }
            }
        }
    };
    page.into_string()
}

fn section_of(title: &str, caption: &str, chart: &Markup) -> Markup {
    html! {
        @if !chart.0.is_empty() {
            section { h2 { (title) } p.caption { (caption) } (chart) }
        }
    }
}

fn verdict(run: &ReportedRun<'_>) -> Markup {
    let held = run.outcome.held();
    html! {
        div class=(if held { "verdict good" } else { "verdict bad" }) role="status" {
            strong {
                @if held { "Every promise that was checked held." }
                @else { "A promise was broken: " (counted(run.outcome.violations_count, "finding")) "." }
            }
            " In step again: " (run.outcome.figures.in_step_again()) "."
        }
    }
}

fn tiles(run: &ReportedRun<'_>) -> Markup {
    let figures = &run.outcome.figures;
    let bytes: u64 = figures.sites.values().map(|site| site.bytes_out).sum();
    let behind = figures.sites.values().map(|site| site.backlog_max).max().unwrap_or(0);
    let faults = figures.faults.values().sum();
    let tiles = [
        ("offices", run.scenario.offices.len().to_string()),
        ("watched for", Readable(run.scenario.duration_ms).to_string()),
        ("things that went wrong", Count(faults).to_string()),
        ("writes saved", Count(figures.writes_acknowledged).to_string()),
        ("most entries behind", Count(behind).to_string()),
        ("data sent", Bytes(bytes).to_string()),
    ];
    html! {
        dl.tiles {
            @for (name, value) in tiles {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}

fn faults(run: &ReportedRun<'_>) -> Markup {
    let faults = &run.story.faults;
    html! {
        @if !faults.is_empty() && faults.len() <= FAULTS_SHOWN {
            table {
                caption { "What went wrong, in order" }
                thead { tr {
                    th scope="col" { "After" } th scope="col" { "What" } th scope="col" { "For" }
                    th scope="col" { "Caught up" }
                } }
                tbody {
                    @for fault in faults {
                        tr {
                            td.time { (Readable(fault.at_ms)) }
                            td { (fault.what) }
                            td.time { (fault.for_ms.map_or("–".to_owned(), |ms| Readable(ms).to_string())) }
                            td.time { (words::caught_up(run.story, fault)) }
                        }
                    }
                }
            }
        } @else if !faults.is_empty() {
            ul.chips {
                @for (kind, count) in &run.outcome.figures.faults {
                    li { (kind) " × " (Count(*count)) }
                }
            }
        }
    }
}

fn promises(outcome: &Outcome) -> Markup {
    html! {
        section {
            h2 { "The promises" }
            p.caption {
                "What Branchline promises whatever happens, and how often this run put it to the test. Promises without \
                 a number are not tested by this kind of run."
            }
            table {
                thead { tr {
                    th scope="col" { "Promise" } th scope="col" { "Result" } th.number scope="col" { "Checked" }
                } }
                tbody { @for verdict in outcome.verdicts() { (promise(&verdict)) } }
            }
            @if !outcome.held() {
                h3 { "What was found" }
                ol {
                    @for violation in outcome.violations.iter().take(VIOLATIONS_SHOWN) {
                        li {
                            "After " (Readable(violation.at_ms))
                            @if let Some(site) = &violation.site { " at " (site) }
                            ", promise " (violation.invariant.number()) ": " (violation.what)
                        }
                    }
                }
            }
        }
    }
}

fn promise(verdict: &Verdict<'_>) -> Markup {
    let (class, result) = match (verdict.violation, verdict.checks) {
        (Some(_), _) => ("bad", "✗ broken"),
        (None, 0) => ("unknown", "– not checked"),
        (None, _) => ("good", "✓ held"),
    };
    let checks = match verdict.checks {
        0 => "–".to_owned(),
        checks => Count(checks).to_string(),
    };
    html! {
        tr { td { (verdict.invariant) } td class=(class) { (result) } td.number { (checks) } }
    }
}

fn reproduce(run: &ReportedRun<'_>) -> Markup {
    html! {
        section.reproduce {
            h2 { "See it again" }
            p.caption { "The same scenario and seed (" (run.seed) ") give the same run, down to the last message." }
            pre { code { (run.command) } }
        }
    }
}

#[cfg(test)]
mod tests;
