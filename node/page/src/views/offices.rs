//! The offices, in words: what of each is here, and what it has confirmed of what is here. Green is only what receipts
//! prove.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use branchline_node::api::{SiteResponse, StatusResponse, UnsentCount, UnsentResponse, UnsentSite};
use branchline_node::extension::Severity;
use branchline_node::visible;
use maud::{Markup, html};

use super::{findings, totals};
use crate::ask::{Refused, encoded};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};
use crate::trend::Trend;

/// Entries of up to a KiB that are read to count records and find the oldest, over all offices: some ten milliseconds. Where
/// more are not confirmed, the view says that there are more.
const READ_MAX: usize = 500;
/// Offices on the view; more are on the network's.
const CARDS_MAX: usize = 200;

/// Collections that a card names, those with the most records.
const COLLECTIONS_NAMED: usize = 3;

/// How an office stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Receipts prove that it holds what is here, and that all that it held is here.
    UpToDate,
    /// Something is on its way.
    Underway,
    /// There is no line, or it has never said what it holds.
    Apart,
}

pub(crate) async fn show(State(office): State<Arc<Office>>, viewer: Viewer) -> Response {
    let (status, unsent) = match found(&office).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Offices, &refused),
    };
    let clock = Clock::new(office.zone());
    let totals = totals::show(&office, &viewer, &clock).await;
    let content = layout::live_part(
        "offices",
        "/",
        cards(&office, &viewer, &status, &unsent, &clock, totals),
    );
    let view = View {
        place: Place::Offices,
        title: viewer.t.offices.to_owned(),
        command: "branchline status".to_owned(),
        content,
    };
    layout::page(&office, &viewer, view)
}

async fn found(office: &Office) -> Result<(Arc<StatusResponse>, UnsentResponse), Refused> {
    let status = office.status().await?;
    let unsent = unsent(office, &status).await?;
    Ok((status, unsent))
}

/// What the other offices have not confirmed, as far as a view reads it.
pub(super) async fn unsent(
    office: &Office,
    status: &StatusResponse,
) -> Result<UnsentResponse, Refused> {
    match status.network {
        Some(_) => office.ask.get(&format!("/v1/unsent?read_max={READ_MAX}")).await,
        None => Ok(UnsentResponse { sites: Vec::new(), only_here: UnsentCount::default() }),
    }
}

fn cards(
    office: &Office,
    viewer: &Viewer,
    status: &StatusResponse,
    unsent: &UnsentResponse,
    clock: &Clock,
    totals: Markup,
) -> Markup {
    let t = viewer.t;
    let unsent: BTreeMap<&str, &UnsentSite> =
        unsent.sites.iter().map(|site| (site.site.as_str(), site)).collect();
    let others: Vec<_> = status.sites.iter().filter(|site| site.site != status.site).collect();
    let more = others.len().saturating_sub(CARDS_MAX);
    html! {
        (alarms(t, status))
        (totals)
        div.cards {
            (own_card(t, status))
            @for site in others.iter().take(CARDS_MAX) {
                (card(office, t, site, unsent.get(site.site.as_str()).copied(), clock))
            }
        }
        @if others.is_empty() { (alone(t, status)) }
        @if more > 0 { p { a href="/network#members" { (shown::counted(t, t.more_offices, more as u64)) } } }
    }
}

/// What is wrong with this site itself; each leads to its cause.
fn alarms(t: &Texts, status: &StatusResponse) -> Markup {
    let refused = status.writes_refused.as_deref();
    let found = findings::of(t, status);
    let worst = |severity: Severity| {
        found.iter().filter(|finding| finding.severity == severity).count() as u64
    };
    let (errors, warnings) = (worst(Severity::Error), worst(Severity::Warning));
    html! {
        @if let Some(reason) = refused {
            p.notice.bad { a href="/why" { (t.writes_refused) } ": " (shown::text(reason)) }
        }
        @if status.revoked_by.is_some() { p.notice.bad { a href="/network#members" { (t.site_is_revoked) } } }
        @if !status.running { p.notice.bad { (t.node_is_stopped) } }
        @if errors > 0 { p.notice.bad { a href="/why#findings" { (shown::counted(t, t.findings_bad, errors)) } } }
        @if warnings > 0 { p.notice.warn { a href="/why#findings" { (shown::counted(t, t.findings_warn, warnings)) } } }
    }
}

/// That there is no other office, or why none is known.
fn alone(t: &Texts, status: &StatusResponse) -> Markup {
    match &status.standing.reason {
        Some(reason) => html! { p.empty { a href="/why#findings" { (shown::text(reason)) } } },
        None => {
            html! { p.empty { (t.no_other_office) " " a href="/network#tickets" { (t.make_ticket) } } }
        }
    }
}

fn own_card(t: &Texts, status: &StatusResponse) -> Markup {
    let free = status.disk_free_bytes.map(shown::bytes);
    html! {
        article.card.own {
            p.eyebrow { (t.this_office) }
            h2 { (shown::name(&status.name)) }
            p.big { a href="/records" { (shown::number(t, status.records)) } " " span { (shown::counted(t, t.records_word, status.records)) } }
            ul.facts {
                @if status.conflicts > 0 {
                    li.warn { a href="/conflicts" { (counted_up_to(t, status.conflicts)) } }
                } @else { li.good { (t.no_conflicts) } }
                @if let Some(free) = free { li { a href="/network#disk" { (say(t.disk_free, &[&free])) } } }
            }
        }
    }
}

/// Conflicts are counted up to 10,000.
fn counted_up_to(t: &Texts, conflicts: u64) -> String {
    if conflicts >= 10_000 {
        say(t.conflicts_or_more, &[&shown::number(t, conflicts)])
    } else {
        shown::counted(t, t.conflicts_n, conflicts)
    }
}

fn standing(site: &SiteResponse) -> Standing {
    match (site.lag_entries, site.ahead_entries) {
        (Some(0), Some(0)) if site.connected && site.last_receipt.is_some() => Standing::UpToDate,
        (Some(_), _) if site.connected => Standing::Underway,
        (Some(_) | None, _) => Standing::Apart,
    }
}

fn card(
    office: &Office,
    t: &Texts,
    site: &SiteResponse,
    unsent: Option<&UnsentSite>,
    clock: &Clock,
) -> Markup {
    let standing = standing(site);
    let (class, word) = match standing {
        Standing::UpToDate => ("good", t.in_step),
        Standing::Underway => ("warn", t.underway),
        Standing::Apart => {
            ("bad", if site.lag_entries.is_some() { t.line_down } else { t.never_heard })
        }
    };
    let why = format!("/why?site={}", encoded(&site.name));
    // A line that is down stands among the lines, with what the last attempt ended with.
    let cause = if site.connected { why.as_str() } else { "/network#lines" };
    let behind = site.lag_entries.unwrap_or(0).saturating_add(site.ahead_entries.unwrap_or(0));
    html! {
        article.card data-standing=(class) {
            p.eyebrow { span.dot.(class) {} @if standing == Standing::UpToDate { (word) } @else { a href=(cause) { (word) } } }
            h2 { (shown::name(&site.name)) }
            p.lead { (theirs(t, site, clock)) }
            p { (ours(t, site, unsent, clock, &why)) }
            ul.facts {
                li { (line(t, site, clock)) }
                @if behind > 0 && let Some(trend) = office.trends.of(&site.site, behind) {
                    li { (trend_of(t, trend)) }
                }
            }
        }
    }
}

/// What of it is here: proven by what its latest receipt says.
fn theirs(t: &Texts, site: &SiteResponse, clock: &Clock) -> String {
    match (&site.last_receipt, site.ahead_entries) {
        (None, _) => t.it_never_said.to_owned(),
        (Some(receipt), Some(0)) => say(t.up_to_is_here, &[&clock.in_words(receipt)]),
        (Some(receipt), Some(ahead)) => {
            let count = shown::counted(t, t.entries_n, ahead);
            say(t.not_here_yet, &[&count, &clock.in_words(receipt)])
        }
        (Some(receipt), None) => say(t.it_said_at, &[&clock.in_words(receipt)]),
    }
}

/// What it has confirmed of what is here.
fn ours(
    t: &Texts,
    site: &SiteResponse,
    unsent: Option<&UnsentSite>,
    clock: &Clock,
    why: &str,
) -> Markup {
    let Some(unsent) = unsent.filter(|unsent| unsent.count.entries > 0) else {
        return match site.lag_entries {
            Some(0) => html! { (t.all_confirmed) },
            Some(lag) => {
                html! { a href=(why) { (say(t.not_confirmed, &[&shown::counted(t, t.entries_n, lag)])) } }
            }
            None => html! { (t.nothing_confirmed) },
        };
    };
    let count = &unsent.count;
    let records = of_collections(t, count);
    let records = if count.has_more_records { say(t.more_than, &[&records]) } else { records };
    let text = match &count.since {
        Some(since) => say(t.not_confirmed_since, &[&records, &clock.in_words(since)]),
        None => say(t.not_confirmed, &[&records]),
    };
    html! { a href=(why) { (text) } }
}

/// How many records of what: "41 records of sales", or "44 records (sales 41, stock 3)".
fn of_collections(t: &Texts, count: &UnsentCount) -> String {
    let all = shown::counted(t, t.records_n, count.records);
    let mut largest: Vec<_> = count.by_collection.iter().collect();
    largest.sort_by_key(|(_, records)| std::cmp::Reverse(**records));
    match largest.as_slice() {
        [] => all,
        [(one, records)] if **records == count.records => {
            say(t.records_of, &[&all, &visible::one_line(one)])
        }
        several => {
            let named = several.iter().take(COLLECTIONS_NAMED).map(|(collection, records)| {
                format!("{} {}", visible::one_line(collection), shown::number(t, **records))
            });
            let more = if several.len() > COLLECTIONS_NAMED { ", …" } else { "" };
            format!("{all} ({}{more})", named.collect::<Vec<_>>().join(", "))
        }
    }
}

fn line(t: &Texts, site: &SiteResponse, clock: &Clock) -> Markup {
    match (site.connected, &site.last_heard) {
        (true, _) => html! { (t.connected) },
        (false, Some(heard)) => html! { (t.line_down_since) " " (clock.time(heard)) },
        (false, None) => html! { (t.never_heard_from) },
    }
}

fn trend_of(t: &Texts, trend: Trend) -> Markup {
    match trend {
        Trend::Growing => html! { span.bad { "↑ " (t.growing) } },
        Trend::Shrinking => html! { span.good { "↓ " (t.shrinking) } },
        Trend::Steady => html! { "→ " (t.steady) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts;

    fn site(connected: bool, lag: Option<u64>, ahead: Option<u64>) -> SiteResponse {
        SiteResponse {
            site: "a".to_owned(),
            name: "north".to_owned(),
            role: "writer".to_owned(),
            connected,
            last_heard: None,
            last_confirmed: None,
            last_receipt: lag.map(|_| "2026-11-29T13:02:00.000Z".to_owned()),
            lag_entries: lag,
            lag_own_entries: None,
            ahead_entries: ahead,
        }
    }

    #[test]
    fn what_is_not_confirmed_is_counted_by_collection_the_largest_first() {
        let of = |counts: &[(&str, u64)], records| {
            let by_collection = counts.iter().map(|(name, count)| ((*name).to_owned(), *count));
            of_collections(
                texts::choose(Some("en"), &axum::http::HeaderMap::new()),
                &UnsentCount {
                    records,
                    by_collection: by_collection.collect(),
                    ..UnsentCount::default()
                },
            )
        };
        assert_eq!(of(&[("sales", 41)], 41), "41 records of sales");
        assert_eq!(of(&[("stock", 3), ("sales", 41)], 44), "44 records (sales 41, stock 3)");
        let many = of(&[("a", 1), ("b", 2), ("c", 3), ("d", 4)], 10);
        assert_eq!(many, "10 records (d 4, c 3, b 2, …)");
        assert_eq!(of(&[("a", 64)], 70), "70 records (a 64)");
        assert_eq!(of(&[], 0), "0 records");
    }

    #[test]
    fn green_is_only_what_receipts_prove_on_a_line_that_stands() {
        for (found, expected) in [
            (site(true, Some(0), Some(0)), Standing::UpToDate),
            (site(true, Some(1), Some(0)), Standing::Underway),
            (site(true, Some(0), Some(2)), Standing::Underway),
            (site(false, Some(0), Some(0)), Standing::Apart),
            (site(true, None, None), Standing::Apart),
        ] {
            assert_eq!(standing(&found), expected, "{found:?}");
        }
    }
}
