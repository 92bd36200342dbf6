//! What is not in step: each with its records, office, reason, since when, and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use branchline_node::api::{DivergenceResponse, LogResponse, WhyResponse};
use maud::{Markup, html};

use super::findings;
use super::records::{choice_of_space, record_path};
use crate::ask::path_with;
use crate::form::Fields;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};

/// Records of a cause that are shown at once; more are folded up.
const OPEN_MAX: usize = 20;
/// Records that are held against their schemas for a view, some ten milliseconds. It says where there are more.
const CHECKED: &str = "5000";
/// Causes whose first entry is looked up, for since when.
const DATED_MAX: usize = 100;
/// Causes that are shown; more of them nobody reads. The filters narrow them down.
const CAUSES_MAX: usize = 500;

pub(super) async fn show(State(office): State<Arc<Office>>, viewer: Viewer, uri: Uri) -> Response {
    let asked = Fields::of_query(&uri);
    let (space, site, reason) = (asked.given("space"), asked.given("site"), asked.given("reason"));
    let found: WhyResponse = match office
        .ask
        .get(&path_with("/v1/status/why", &[("space", space), ("records_max", Some(CHECKED))]))
        .await
    {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Why, &refused),
    };
    let status = match office.status().await {
        Ok(status) => status,
        Err(refused) => return layout::failed(&office, &viewer, Place::Why, &refused),
    };
    let t = viewer.t;
    let is_meant = |cause: &&DivergenceResponse| {
        site.is_none_or(|site| site == cause.site_name || site == cause.site)
            && reason.is_none_or(|reason| reason == cause.reason)
    };
    let causes: Vec<_> = found.causes.iter().filter(is_meant).collect();
    let dated = dated(&office, &causes, space).await;
    let clock = Clock::new(office.zone());
    let own = path_with("/why", &[("space", space), ("site", site), ("reason", reason)]);
    let content = html! {
        (choice_of_space(&office, &viewer, "/why", space).await)
        @if !found.causes.is_empty() { (filters(t, &found.causes, (space, site, reason))) }
        (layout::live_part("why", &own, html! {
            @if causes.is_empty() {
                p.empty { (if found.in_sync { t.all_in_step } else { t.none_found }) }
            } @else {
                p.pages { strong { (shown::counted(t, t.causes_n, causes.len() as u64)) } }
                @for (cause, since) in causes.iter().zip(&dated).take(CAUSES_MAX) { (one(t, cause, since.as_deref(), &clock, space)) }
                @if causes.len() > CAUSES_MAX { p.hint { (shown::counted(t, t.more_causes, (causes.len() - CAUSES_MAX) as u64)) } }
            }
            @if !found.partial.is_empty() {
                p.hint { (say(t.partly_checked, &[&found.partial.join(", ")])) }
            }
            (findings::list(t, &findings::of(t, &status), &clock))
        }))
    };
    let space =
        space.map(|space| format!(" --space {}", layout::quoted(space))).unwrap_or_default();
    let view = View {
        place: Place::Why,
        title: t.why.to_owned(),
        command: format!("branchline status --why{space}"),
        content,
    };
    layout::page(&office, &viewer, view)
}

/// Since when each is so: when its first entry was written, where it is held here.
async fn dated(
    office: &Office,
    causes: &[&DivergenceResponse],
    space: Option<&str>,
) -> Vec<Option<String>> {
    // Sites that are behind alike have the first entry in common.
    let mut known: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut dated = Vec::with_capacity(causes.len());
    for (number, cause) in causes.iter().enumerate() {
        let Some(entry) = cause.first_entry.as_deref().filter(|_| number < DATED_MAX) else {
            dated.push(None);
            continue;
        };
        if !known.contains_key(entry) {
            let path = path_with("/v1/log", &[("space", space), ("entry", Some(entry))]);
            let log: Option<LogResponse> = office.ask.get(&path).await.ok();
            known.insert(entry, log.and_then(|log| log.entries.into_iter().next()?.time));
        }
        dated.push(known.get(entry).cloned().flatten());
    }
    dated
}

fn filters(
    t: &Texts,
    causes: &[DivergenceResponse],
    (space, site, reason): (Option<&str>, Option<&str>, Option<&str>),
) -> Markup {
    let sites: BTreeSet<&str> = causes.iter().map(|cause| cause.site_name.as_str()).collect();
    let reasons: BTreeSet<&str> = causes.iter().map(|cause| cause.reason.as_str()).collect();
    html! {
        form.fields method="get" action="/why" {
            @if let Some(space) = space { input type="hidden" name="space" value=(space); }
            div {
                label for="site" { (t.office) }
                select #site name="site" {
                    option value="" { (t.all_of_them) }
                    @for name in sites { option value=(name) selected[site == Some(name)] { (branchline_node::visible::one_line(name)) } }
                }
            }
            div {
                label for="reason" { (t.reason) }
                select #reason name="reason" {
                    option value="" { (t.all_of_them) }
                    @for name in reasons { option value=(name) selected[reason == Some(name)] { (reason_of(t, name).0) } }
                }
            }
            button type="submit" { (t.show) }
        }
    }
}

/// A reason in words, and what to do.
fn reason_of<'a>(t: &'a Texts, reason: &'a str) -> (&'a str, &'a str) {
    match reason {
        "not_confirmed" => (t.why_not_confirmed, t.do_not_confirmed),
        "ahead" => (t.why_ahead, t.do_ahead),
        "never_heard" => (t.why_never_heard, t.do_never_heard),
        "held" => (t.why_held, t.do_held),
        "void" => (t.why_void, t.do_void),
        "damaged" => (t.why_damaged, t.do_damaged),
        "unreadable" => (t.why_unreadable, t.do_unreadable),
        "schema_mismatch" => (t.why_schema_mismatch, t.do_schema_mismatch),
        "held_back" => (t.why_held_back, t.do_held_back),
        "writes_refused" => (t.why_writes_refused, t.do_writes_refused),
        other => (other, ""),
    }
}

fn one(
    t: &Texts,
    cause: &DivergenceResponse,
    since: Option<&str>,
    clock: &Clock,
    space: Option<&str>,
) -> Markup {
    let (reason, hint) = reason_of(t, &cause.reason);
    let count = if cause.has_more_records {
        say(t.more_than, &[&shown::counted(t, t.records_n, cause.record_count)])
    } else {
        shown::counted(t, t.records_n, cause.record_count)
    };
    html! {
        article.card.conflict {
            h2 { (shown::name(&cause.site_name)) " · " (reason) }
            p {
                @if cause.entries > 0 { (shown::counted(t, t.entries_n, cause.entries)) ", " }
                (count)
                @if let Some(since) = since { ", " (t.since) " " (clock.time(since)) }
            }
            p.soft { (shown::text(&cause.detail)) }
            @if !hint.is_empty() { p { strong { (t.what_to_do) ": " } (hint) @if is_of_a_line(cause) { " " a href="/network#lines" { (t.lines) } } } }
            @if !cause.records.is_empty() { (records(t, cause, space)) }
        }
    }
}

/// Whether what to do begins with a look at the lines.
fn is_of_a_line(cause: &DivergenceResponse) -> bool {
    matches!(cause.reason.as_str(), "not_confirmed" | "ahead" | "never_heard")
}

fn records(t: &Texts, cause: &DivergenceResponse, space: Option<&str>) -> Markup {
    let named = cause.records.len() as u64;
    html! {
        details open[cause.records.len() <= OPEN_MAX] {
            summary { (if cause.has_more_records || cause.record_count > named { shown::counted(t, t.first_records, named) } else { shown::counted(t, t.records_n, named) }) }
            ul {
                @for record in &cause.records {
                    // Collections have no slash in their name; ids may.
                    @if let Some((collection, id)) = record.split_once('/') {
                        li { a href=(format!("{}#history", record_path(collection, id, space))) { (shown::name(record)) } }
                    } @else { li { (shown::name(record)) } }
                }
            }
        }
    }
}
