//! One source: what it asks for and when, what it could not keep, and its runs.

use branchline_connect::api::{
    SourceErrorsResponse, SourceHistoryResponse, SourcePlanResponse, SourceResponse,
};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::ConnectorKind;
use super::parts::{ASIDE_MAX, buttons, space_in_path, state_line};
use crate::ask::{Refused, encoded, path_with};
use crate::layout;
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;
use crate::views::records::record_path;

/// The setting that a run stopped at which would have made too many records inactive.
const GUARD: &str = "inactive_guard";

pub(super) async fn show(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let source: SourceResponse = office.ask.get(&ConnectorKind::Source.api(name, "")).await?;
    let aside: Result<SourceErrorsResponse, _> =
        office.ask.get(&ConnectorKind::Source.api(name, "/errors")).await;
    let history: Result<SourceHistoryResponse, _> =
        office.ask.get(&ConnectorKind::Source.api(name, "/history")).await;
    let plan: Result<SourcePlanResponse, _> =
        office.ask.get(&ConnectorKind::Source.api(name, "/plan")).await;
    let is_guarded = source.reason.as_ref().is_some_and(|reason| reason.contains(GUARD));
    let accept = is_guarded.then_some(("run-accept", t.run_accept));
    let more = [("run", t.run_now), ("run-full", t.run_full), ("dry-run", t.dry_run)];
    let more: Vec<_> = more.into_iter().chain(accept).collect();
    Ok(html! {
        (state_line(t, &source.state, source.reason.as_deref(), source.since.as_deref(), clock))
        (buttons(viewer, ConnectorKind::Source, name, &source.state, &more))
        @match &plan {
            Err(refused) => (layout::error(refused)),
            Ok(plan) => (what_it_asks(t, &source, plan, clock)),
        }
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.errors.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => (not_kept(t, aside)),
        }
        h2 #runs { (t.runs) }
        @match &history {
            Err(refused) => (layout::error(refused)),
            Ok(history) => (runs(t, (&source, plan.as_ref().ok().map(|plan| plan.history.as_str())), &history.runs, clock)),
        }
    })
}

fn what_it_asks(
    t: &Texts,
    source: &SourceResponse,
    plan: &SourcePlanResponse,
    clock: &Clock,
) -> Markup {
    let list = format!("/records/{}", encoded(&plan.collection));
    html! {
        dl.pair {
            dt { (t.collection) } dd { a href=(path_with(&list, &[("space", space_in_path(&source.space))])) { (shown::name(&plan.collection)) } }
            @for request in &plan.requests { dt { (request.what) } dd { code { (request.method) " " (shown::text(&request.url)) } } }
            dt { (t.last_run) } dd { (clock.time_or_none(source.last_run.as_deref())) @if source.last_run_completed == Some(false) { " " a.bad href="#runs" { (t.not_completed) } } }
            dt { (t.next_run) } dd { (clock.time_or_none(plan.next_run.as_deref())) }
        }
        @for remark in &plan.remarks { p.notice.warn { (shown::text(remark)) } }
    }
}

fn not_kept(t: &Texts, aside: &SourceErrorsResponse) -> Markup {
    let first = aside.errors.len().min(ASIDE_MAX) as u64;
    let all = aside.errors.len() as u64;
    html! {
        p.hint { (t.aside_of_source) }
        div.scroll tabindex="0" role="region" aria-label=(t.set_aside) {
            table {
                caption { (shown::counted(t, t.set_aside_n, all)) @if all > first { ", " (shown::counted(t, t.first_shown, first)) } }
                thead { tr { th scope="col" { "id" } th scope="col" { (t.error) } th.n scope="col" { (t.run) } } }
                tbody {
                    @for item in aside.errors.iter().take(ASIDE_MAX) {
                        tr { td { (shown::name(item.id.as_deref().unwrap_or("–"))) } td { (shown::text(&item.error)) } td.n { @if item.run == 0 { (t.dry_run) } @else { (item.run) } } }
                    }
                }
            }
        }
    }
}

/// Runs, each a record that says more.
fn runs(
    t: &Texts,
    (source, collection): (&SourceResponse, Option<&str>),
    rows: &[Map<String, Value>],
    clock: &Clock,
) -> Markup {
    if rows.is_empty() {
        return html! { p.empty { (t.no_runs) } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.runs) {
            table {
                caption { (shown::counted(t, t.latest_shown, rows.len() as u64)) }
                thead { tr { th scope="col" { "№" } th scope="col" { (t.kind) } th scope="col" { (t.began) } th scope="col" { (t.ended) } th scope="col" { (t.state) } th.n scope="col" { (t.listed) } th.n scope="col" { (t.updated) } th.n scope="col" { (t.deleted) } th.n scope="col" { (t.inactive) } th.n scope="col" { (t.refused) } th scope="col" { (t.error) } } }
                tbody { @for row in rows { (run(t, source, collection, row, clock)) } }
            }
        }
    }
}

fn run(
    t: &Texts,
    source: &SourceResponse,
    collection: Option<&str>,
    row: &Map<String, Value>,
    clock: &Clock,
) -> Markup {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let count = |name: &str| row.get(name).and_then(Value::as_u64);
    let number = count("sync_version").unwrap_or_default();
    let id = format!("{}-{number}", source.name);
    let record =
        collection.map(|collection| record_path(collection, &id, space_in_path(&source.space)));
    let status = text("status").unwrap_or_default();
    let class = if status == "failed" { "bad" } else { "good" };
    html! {
        tr {
            td { @match record { Some(path) => a href=(path) { (number) }, None => (number) } }
            td { (text("kind").unwrap_or("–")) }
            td { (clock.time_or_none(text("started_at"))) }
            td { (clock.time_or_none(text("completed_at"))) }
            td { span.state.(class) { (t.word_of_state(status)) } }
            @for name in ["accounts_listed", "accounts_updated", "accounts_deleted", "accounts_inactive", "refused"] {
                td.n { @match count(name) { Some(count) => (shown::number(t, count)), None => span.none { "–" } } }
            }
            td { @if let Some(error) = text("error") { (shown::text(error)) } }
        }
    }
}
