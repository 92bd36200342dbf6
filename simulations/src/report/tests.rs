//! The page is whole, says what happened, and needs nothing from elsewhere.

use super::*;
use crate::invariant::Invariant;
use crate::outcome::{SiteFigures, Violation};
use crate::scenario::{DAY_MS, FaultName, HOUR_MS, load};
use crate::trace::{Event, LinkState, Step, TraceSink};

/// Office 7 is cut off for three days and falls behind.
fn story() -> Story {
    let scenario = load("office-outage").unwrap();
    let mut story = Story::default();
    let mut report = |at_ms, event| story.step(&Step { at_ms, event });
    for site in scenario.offices.clone() {
        report(0, Event::Started { site, start: 1 });
    }
    let link = |a: usize, b: usize, state| {
        let (a, b) = (scenario.offices[a].clone(), scenario.offices[b].clone());
        Event::Link { a, b, state }
    };
    for (a, b) in &scenario.links {
        report(0, link(*a, *b, LinkState::Up));
    }
    let sites = vec!["office-7".to_owned()];
    let (kind, what) = (FaultName::Isolate, "office-7 <b>is cut off</b> & alone".to_owned());
    report(6 * HOUR_MS, Event::Fault { kind, sites, what, for_ms: Some(3 * DAY_MS) });
    report(6 * HOUR_MS, link(0, 6, LinkState::Down));
    for hour in 1..84 {
        let at_ms = hour * HOUR_MS;
        let backlog = if (6..78).contains(&hour) { (hour - 5) * 40 } else { 0 };
        let site = "office-7".to_owned();
        let (bytes_in, bytes_out, journal_bytes, rows_bytes) = (1, 1, 1, 1);
        let sample = Event::Sample {
            site,
            up: true,
            backlog,
            bytes_in,
            bytes_out,
            journal_bytes,
            rows_bytes,
        };
        report(at_ms, sample);
        if hour == 78 {
            report(at_ms, link(0, 6, LinkState::Up));
        }
    }
    report(84 * HOUR_MS, Event::Healed);
    report(84 * HOUR_MS + 2_000, Event::Converged { rounds: 1 });
    story
}

fn outcome() -> Outcome {
    let mut outcome = Outcome::default();
    for invariant in Invariant::ALL.into_iter().filter(|invariant| *invariant != Invariant::Feed) {
        outcome.checks.insert(invariant, 1_234);
    }
    outcome.figures.writes_acknowledged = 6_048;
    outcome.figures.converge_ms = Some(2_000);
    outcome.figures.converge_rounds = Some(1);
    outcome.figures.converge_rounds_max = 24;
    outcome.figures.faults.insert(FaultName::Isolate, 1);
    let site = SiteFigures { bytes_in: 5_000_000, backlog_max: 2_880, ..SiteFigures::default() };
    outcome.figures.sites.insert("office-7".to_owned(), site);
    outcome
}

fn page_of(outcome: &Outcome) -> String {
    let (scenario, story) = (load("office-outage").unwrap(), story());
    let command = "branchline-sim report office-outage --seed 1";
    page(&ReportedRun { scenario: &scenario, seed: 1, command, story: &story, outcome })
}

/// Every tag that is opened is closed, in order; only the void ones of HTML stand alone.
#[track_caller]
fn assert_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>'), "a bare > after <{tag}>");
        let name = tag.split_whitespace().next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "</{name}> closes something else"),
            None if name.starts_with('!') || name == "meta" => {}
            None => open.push(name),
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn a_page_is_well_formed_and_needs_nothing_from_elsewhere() {
    let page = page_of(&outcome());
    assert_well_formed(&page);
    for foreign in ["http:", "https:", "//", "<script", "<link", "@import", "url(", "src="] {
        assert!(!page.contains(foreign), "{foreign} in the page");
    }
}

#[test]
fn what_offices_say_cannot_become_part_of_the_page() {
    let page = page_of(&outcome());
    assert!(!page.contains("<b>"), "markup from a name or message");
    assert!(page.contains("office-7 &lt;b&gt;is cut off&lt;/b&gt; &amp; alone"));
}

#[test]
fn a_page_tells_the_outage_its_cost_and_how_to_repeat_it() {
    let page = page_of(&outcome());
    for part in [
        "Every promise that was checked held.",
        "In step again: 2 s after the faults ended (1 round of syncing, 24 allowed).",
        "6,048 writes",
        "office-7 lacked 2,880",
        "office-1 – office-7",
        "cut off for 3 d",
        "– not checked",
        "✓ held",
        "5.0 MB",
        "branchline-sim report office-outage --seed 1",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    assert!(!page.contains("office-1 – office-2"), "a link that was always up");
}

#[test]
fn a_broken_promise_is_told_first() {
    let mut outcome = outcome();
    let what = "products/item-7 lost a write".to_owned();
    let (invariant, site) = (Invariant::Durability, Some("office-2".to_owned()));
    outcome.violate(Violation { at_ms: 77_000, invariant, site, what });
    outcome.figures.converge_ms = None;
    let page = page_of(&outcome);
    assert_well_formed(&page);
    assert!(page.contains("A promise was broken: 1 finding."));
    assert!(page.contains("✗ broken"));
    assert!(page.contains("After 1 min 17 s at office-2, promise 3: products/item-7 lost a write"));
    assert!(page.contains("In step again: never, within 24 rounds of syncing."));
}

#[test]
fn catching_up_is_told_per_fault() {
    let story = story();
    assert_eq!(words::caught_up(&story, &story.faults[0]), "within 1 ms");
}

#[test]
fn a_run_in_which_nothing_happened_has_a_page_too() {
    let (scenario, story, outcome) = (load("chain").unwrap(), Story::default(), Outcome::default());
    let run = ReportedRun {
        scenario: &scenario,
        seed: 1,
        command: "x",
        story: &story,
        outcome: &outcome,
    };
    assert_well_formed(&page(&run));
}
