//! One bridge, source or sink: its parts, what is set aside with its error, what it would do, and its runs.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use branchline_connect::api::{
    BridgeResponse, SetAsideResponse, SinkGroupsResponse, SinkHistoryResponse, SinkPlanResponse,
    SinkResponse, SourceErrorsResponse, SourceHistoryResponse, SourcePlanResponse, SourceResponse,
};
use maud::{Markup, html};
use serde_json::Value;

use super::{Kind, class_of};
use crate::ask::Refused;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{Texts, counted};

/// Items that are set aside on the view.
const ASIDE_MAX: usize = 100;

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let t = viewer.t;
    let Some(kind) = Kind::named(&kind) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_such_view);
    };
    let clock = Clock::new(office.zone());
    let content = match kind {
        Kind::Bridge => bridge(&office, &viewer, &name, &clock).await,
        Kind::Source => source(&office, &viewer, &name, &clock).await,
        Kind::Sink => sink(&office, &viewer, &name, &clock).await,
    };
    let content = match content {
        Ok(content) => content,
        Err(refused) => return layout::failed(&office, &viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href="/jobs" { (t.jobs) } " / " (kind.as_str()) }
        (layout::live_part("connector", &kind.path(&name), content))
    };
    let quoted = layout::quoted(&name);
    let command = format!("branchline {} status {quoted}", kind.as_str());
    let title = branchline_node::visible::one_line(&name).into_owned();
    layout::page(&office, &viewer, View { place: Place::Jobs, title, command, content })
}

/// Buttons of a connector.
fn buttons(viewer: &Viewer, kind: Kind, name: &str, state: &str, more: &[(&str, &str)]) -> Markup {
    let t = viewer.t;
    if !viewer.may_change() {
        return html! {};
    }
    let pause = if state == "paused" { ("resume", t.resume) } else { ("pause", t.pause) };
    html! {
        div.actions {
            @for (what, title) in std::iter::once(&pause).chain(more) {
                (layout::button_of(viewer, &format!("{}/{what}", kind.path(name)), &[], html! { button type="submit" { (title) } }))
            }
        }
    }
}

fn requeue(viewer: &Viewer, kind: Kind, name: &str, item: Option<&str>) -> Markup {
    if !viewer.may_change() {
        return html! {};
    }
    let fields: Vec<_> = item.map(|item| ("item", item)).into_iter().collect();
    let title = if item.is_some() { viewer.t.requeue } else { viewer.t.requeue_all };
    layout::button_of(
        viewer,
        &format!("{}/requeue", kind.path(name)),
        &fields,
        html! { button type="submit" { (title) } },
    )
}

fn state_line(
    t: &Texts,
    state: &str,
    reason: Option<&str>,
    since: Option<&str>,
    clock: &Clock,
) -> Markup {
    let class = class_of(state, 0);
    html! {
        p.lead { span.dot.(class) {} span.state.(class) { (state) } @if let Some(since) = since { ", " (t.since) " " (clock.time(since)) } }
        @if let Some(reason) = reason { p.(class) { (shown::text(reason)) } }
    }
}

async fn bridge(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let bridge: BridgeResponse = office.ask.get(&Kind::Bridge.api(name, "")).await?;
    let aside: Result<SetAsideResponse, _> =
        office.ask.get(&Kind::Bridge.api(name, "/errors")).await;
    Ok(html! {
        (state_line(t, &bridge.state, bridge.reason.as_deref(), bridge.since.as_deref(), clock))
        (buttons(viewer, Kind::Bridge, name, &bridge.state, &[]))
        h2 { (t.tables) }
        div.scroll tabindex="0" role="region" aria-label=(t.tables) {
            table {
                thead { tr { th scope="col" { (t.table) } th scope="col" { (t.collection) } th scope="col" { (t.state) } th.n scope="col" { (t.rows_in) } th.n scope="col" { (t.rows_out) } th.n scope="col" { (t.waiting) } th scope="col" { (t.blind_since) } } }
                tbody {
                    @for table in &bridge.tables {
                        tr {
                            td { (shown::name(&table.table)) } td { (shown::name(&table.collection)) }
                            td { span.state.(class_of(&table.state, table.set_aside)) { (table.state) } @if let Some(reason) = &table.reason { " " (shown::text(reason)) } }
                            td.n { (shown::number(t, table.rows_in)) } td.n { (shown::number(t, table.rows_out)) } td.n { (shown::number(t, table.waiting)) }
                            td.bad { (clock.time_or_none(table.blind_since.as_deref())) }
                        }
                    }
                }
            }
        }
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.errors.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => {
                (requeue(viewer, Kind::Bridge, name, None))
                (aside_of_bridge(viewer, name, aside, bridge.tables.iter().map(|table| table.set_aside).sum(), clock))
            }
        }
    })
}

fn aside_of_bridge(
    viewer: &Viewer,
    name: &str,
    aside: &SetAsideResponse,
    all: u64,
    clock: &Clock,
) -> Markup {
    let t = viewer.t;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.set_aside) {
            table {
                caption { (counted(t, t.set_aside_n, all)) @if all > aside.errors.len() as u64 { ", " (counted(t, t.first_shown, aside.errors.len().min(ASIDE_MAX) as u64)) } }
                thead { tr { th scope="col" { (t.table) } th scope="col" { (t.row) } th scope="col" { (t.error) } th scope="col" { (t.since) } th.n scope="col" { (t.tries) } th scope="col" { } } }
                tbody {
                    @for item in aside.errors.iter().take(ASIDE_MAX) {
                        tr {
                            td { (shown::name(item.table.as_deref().unwrap_or("–"))) }
                            td { (shown::name(&item.name)) }
                            td { (shown::text(&item.message)) @if !item.code.is_empty() { " (" (item.code) ")" } }
                            td { (clock.time_or_none(item.since.as_deref())) }
                            td.n { (item.tries) }
                            td { (requeue(viewer, Kind::Bridge, name, Some(&item.number.to_string()))) }
                        }
                    }
                }
            }
        }
    }
}

async fn source(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let source: SourceResponse = office.ask.get(&Kind::Source.api(name, "")).await?;
    let aside: Result<SourceErrorsResponse, _> =
        office.ask.get(&Kind::Source.api(name, "/errors")).await;
    let history: Result<SourceHistoryResponse, _> =
        office.ask.get(&Kind::Source.api(name, "/history")).await;
    let plan: Result<SourcePlanResponse, _> =
        office.ask.get(&Kind::Source.api(name, "/plan")).await;
    let more = [("run", t.run_now), ("run-full", t.run_full), ("dry-run", t.dry_run)];
    Ok(html! {
        (state_line(t, &source.state, source.reason.as_deref(), source.since.as_deref(), clock))
        (buttons(viewer, Kind::Source, name, &source.state, &more))
        @match &plan {
            Err(refused) => (layout::error(refused)),
            Ok(plan) => {
                dl.pair {
                    dt { (t.collection) } dd { (shown::name(&plan.collection)) }
                    @for request in &plan.requests { dt { (request.what) } dd { code { (request.method) " " (shown::text(&request.url)) } } }
                    dt { (t.next_run) } dd { (clock.time_or_none(plan.next_run.as_deref())) }
                }
                @for remark in &plan.remarks { p.notice.warn { (shown::text(remark)) } }
            }
        }
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.errors.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => div.scroll {
                table {
                    caption { (counted(t, t.set_aside_n, aside.errors.len() as u64)) }
                    thead { tr { th scope="col" { "id" } th scope="col" { (t.error) } th.n scope="col" { (t.run) } } }
                    tbody { @for item in aside.errors.iter().take(ASIDE_MAX) { tr { td { (shown::name(item.id.as_deref().unwrap_or("–"))) } td { (shown::text(&item.error)) } td.n { (item.run) } } } }
                }
            },
        }
        h2 { (t.runs) }
        @match &history {
            Err(refused) => (layout::error(refused)),
            Ok(history) => (maps(t, &history.runs)),
        }
    })
}

/// Rows whose columns are the fields that they have.
fn maps(t: &Texts, rows: &[serde_json::Map<String, Value>]) -> Markup {
    let Some(first) = rows.first() else { return html! { p.empty { (t.no_runs) } } };
    let columns: Vec<&String> = first.keys().collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.runs) {
            table {
                caption { (counted(t, t.latest_shown, rows.len() as u64)) }
                thead { tr { @for column in &columns { th scope="col" { (shown::name(column)) } } } }
                tbody { @for row in rows { tr { @for column in &columns { td { (shown::cell(row.get(*column))) } } } } }
            }
        }
    }
}

async fn sink(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let sink: SinkResponse = office.ask.get(&Kind::Sink.api(name, "")).await?;
    let aside: Result<SinkGroupsResponse, _> =
        office.ask.get(&Kind::Sink.api(name, "/errors?limit=100")).await;
    let history: Result<SinkHistoryResponse, _> =
        office.ask.get(&Kind::Sink.api(name, "/history")).await;
    Ok(html! {
        (state_line(t, &sink.state, sink.reason.as_deref(), sink.since.as_deref(), clock))
        (buttons(viewer, Kind::Sink, name, &sink.state, &[("run", t.run_now), ("dry-run", t.dry_run)]))
        ul.facts {
            li { (counted(t, t.waiting_n, sink.dirty.saturating_sub(sink.set_aside))) }
            li { (counted(t, t.created_n, sink.created)) ", " (counted(t, t.updated_n, sink.updated)) ", " (counted(t, t.deleted_n, sink.deleted)) }
        }
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.groups.is_empty() && aside.edges.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => {
                (requeue(viewer, Kind::Sink, name, None))
                (aside_of_sink(viewer, name, aside, sink.set_aside, clock))
            }
        }
        h2 { (t.runs) }
        @match &history {
            Err(refused) => (layout::error(refused)),
            Ok(history) => (runs_of_sink(t, history, clock)),
        }
    })
}

fn aside_of_sink(
    viewer: &Viewer,
    name: &str,
    aside: &SinkGroupsResponse,
    all: u64,
    clock: &Clock,
) -> Markup {
    let t = viewer.t;
    let groups = aside.groups.iter().map(|group| {
        (
            &group.id,
            group.last_error.as_deref().unwrap_or("–"),
            group.attempts,
            group.failed_at.as_deref(),
        )
    });
    let edges = aside
        .edges
        .iter()
        .map(|edge| (&edge.id, edge.last_error.as_str(), edge.attempts, edge.failed_at.as_deref()));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.set_aside) {
            table {
                caption { (counted(t, t.set_aside_n, all)) @if aside.next.is_some() { ", " (counted(t, t.first_shown, ASIDE_MAX as u64)) } }
                thead { tr { th scope="col" { (t.record) } th scope="col" { (t.error) } th.n scope="col" { (t.tries) } th scope="col" { (t.since) } th scope="col" { } } }
                tbody {
                    @for (id, error, tries, failed) in groups.chain(edges) {
                        tr {
                            td { (shown::name(id)) } td { (shown::text(error)) } td.n { (tries) } td { (clock.time_or_none(failed)) }
                            td { (requeue(viewer, Kind::Sink, name, Some(id))) }
                        }
                    }
                }
            }
        }
    }
}

fn runs_of_sink(t: &Texts, history: &SinkHistoryResponse, clock: &Clock) -> Markup {
    if history.runs.is_empty() {
        return html! { p.empty { (t.no_runs) } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.runs) {
            table {
                caption { (counted(t, t.latest_shown, history.runs.len() as u64)) }
                thead { tr { th scope="col" { "№" } th scope="col" { (t.began) } th scope="col" { (t.ended) } th scope="col" { (t.state) } th.n scope="col" { (t.created) } th.n scope="col" { (t.updated) } th.n scope="col" { (t.deleted) } th.n scope="col" { (t.refused) } th scope="col" { (t.error) } } }
                tbody {
                    @for run in &history.runs {
                        tr {
                            td { (run.number) } td { (clock.time_or_none(run.started_at.as_deref())) } td { (clock.time_or_none(run.completed_at.as_deref())) }
                            td { (run.status) } td.n { (shown::number(t, run.created)) } td.n { (shown::number(t, run.updated)) } td.n { (shown::number(t, run.deleted)) }
                            td.n { (shown::number(t, run.refused)) } td { @if let Some(error) = &run.error { (shown::text(error)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What a sink would send, without sending it.
pub(super) fn plan(viewer: &Viewer, plan: &SinkPlanResponse) -> Markup {
    let t = viewer.t;
    html! {
        p.pages {
            span { (counted(t, t.created_n, plan.create)) } span { (counted(t, t.updated_n, plan.update)) } span { (counted(t, t.deleted_n, plan.delete)) }
            span { (counted(t, t.set_aside_n, plan.set_aside)) } span { (counted(t, t.groups_n, plan.groups)) }
        }
        @for remark in &plan.remarks { p.notice.warn { (shown::text(remark)) } }
        div.scroll tabindex="0" role="region" aria-label=(t.dry_run) {
            table {
                caption { (counted(t, t.first_shown, plan.items.len() as u64)) }
                thead { tr { th scope="col" { (t.record) } th scope="col" { (t.what_changed) } th scope="col" { (t.value) } } }
                tbody {
                    @for item in &plan.items {
                        tr { td { (shown::name(&item.id)) } td { (item.action) } td { @if let Some(error) = &item.error { span.bad { (shown::text(error)) } } @else { (shown::cell(item.representation.as_ref())) } } }
                    }
                }
            }
        }
    }
}
