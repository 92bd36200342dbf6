//! One sink: what waits, what it could not send, what it would send, and its runs.

use axum::response::Response;
use branchline_connect::api::{
    SinkGroupsResponse, SinkHistoryResponse, SinkPlanResponse, SinkResponse,
};
use maud::{Markup, html};

use super::ConnectorKind;
use super::parts::{ASIDE_MAX, buttons, requeue, space_in_path, state_line};
use crate::ask::{Refused, encoded, path_with};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;
use crate::views::records::record_path;

pub(super) async fn show(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let sink: SinkResponse = office.ask.get(&ConnectorKind::Sink.api(name, "")).await?;
    let aside: Result<SinkGroupsResponse, _> =
        office.ask.get(&ConnectorKind::Sink.api(name, "/errors?limit=100")).await;
    let history: Result<SinkHistoryResponse, _> =
        office.ask.get(&ConnectorKind::Sink.api(name, "/history")).await;
    Ok(html! {
        (state_line(t, &sink.state, sink.reason.as_deref(), sink.since.as_deref(), clock))
        (buttons(viewer, ConnectorKind::Sink, name, &sink.state, &[("run", t.run_now), ("dry-run", t.dry_run)]))
        (what_it_sends(t, &sink, clock))
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.groups.is_empty() && aside.edges.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => {
                (requeue(viewer, ConnectorKind::Sink, name, None))
                (not_sent(viewer, &sink, aside, clock))
            }
        }
        h2 #runs { (t.runs) }
        @match &history {
            Err(refused) => (layout::error(refused)),
            Ok(history) => (runs(t, history, clock)),
        }
    })
}

/// The path of the record of a group. Of kind `weaviate` a sink has several collections.
fn record(sink: &SinkResponse, id: &str) -> Option<String> {
    let has_one = sink.kind != "weaviate";
    has_one.then(|| record_path(&sink.collection, id, space_in_path(&sink.space)))
}

fn what_it_sends(t: &Texts, sink: &SinkResponse, clock: &Clock) -> Markup {
    let list = format!("/records/{}", encoded(&sink.collection));
    let list = (sink.kind != "weaviate")
        .then(|| path_with(&list, &[("space", space_in_path(&sink.space))]));
    html! {
        dl.pair {
            dt { (t.collection) } dd { a href=[list] { (shown::name(&sink.collection)) } " → " (sink.kind) }
            dt { (t.waiting) } dd { (shown::counted(t, t.waiting_n, sink.dirty.saturating_sub(sink.set_aside))) @if let Some(since) = &sink.waiting_since { ", " (t.since) " " (clock.time(since)) } ", " (shown::counted(t, t.known_n, sink.groups)) }
            dt { (t.since_the_start) } dd { a href="#runs" { (shown::counted(t, t.created_n, sink.created)) ", " (shown::counted(t, t.updated_n, sink.updated)) ", " (shown::counted(t, t.deleted_n, sink.deleted)) } }
        }
    }
}

fn not_sent(
    viewer: &Viewer,
    sink: &SinkResponse,
    aside: &SinkGroupsResponse,
    clock: &Clock,
) -> Markup {
    let (t, all) = (viewer.t, sink.set_aside);
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
                caption { (shown::counted(t, t.set_aside_n, all)) @if aside.next.is_some() { ", " (shown::counted(t, t.first_shown, ASIDE_MAX as u64)) } }
                thead { tr { th scope="col" { (t.record) } th scope="col" { (t.error) } th.n scope="col" { (t.tries) } th scope="col" { (t.since) } @if viewer.may_change() { th scope="col" { (t.requeue) } } } }
                tbody {
                    @for (id, error, tries, failed) in groups.chain(edges) {
                        tr {
                            td { @match record(sink, id) { Some(path) => a href=(path) { (shown::name(id)) }, None => (shown::name(id)) } } td { (shown::text(error)) } td.n { (tries) } td { (clock.time_or_none(failed)) }
                            @if viewer.may_change() { td { (requeue(viewer, ConnectorKind::Sink, &sink.name, Some(id))) } }
                        }
                    }
                }
            }
        }
    }
}

fn runs(t: &Texts, history: &SinkHistoryResponse, clock: &Clock) -> Markup {
    if history.runs.is_empty() {
        return html! { p.empty { (t.no_runs) } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.runs) {
            table {
                caption { (shown::counted(t, t.latest_shown, history.runs.len() as u64)) }
                thead { tr { th scope="col" { "№" } th scope="col" { (t.began) } th scope="col" { (t.ended) } th scope="col" { (t.state) } th.n scope="col" { (t.created) } th.n scope="col" { (t.updated) } th.n scope="col" { (t.deleted) } th.n scope="col" { (t.refused) } th scope="col" { (t.error) } } }
                tbody {
                    @for run in &history.runs {
                        tr {
                            td { (run.number) } td { (clock.time_or_none(run.started_at.as_deref())) } td { (clock.time_or_none(run.completed_at.as_deref())) }
                            td { (t.word_of_state(&run.status)) } td.n { (shown::number(t, run.created)) } td.n { (shown::number(t, run.updated)) } td.n { (shown::number(t, run.deleted)) }
                            td.n { (shown::number(t, run.refused)) } td { @if let Some(error) = &run.error { (shown::text(error)) } }
                        }
                    }
                }
            }
        }
    }
}

/// What a sink would send: looked at, and nothing is sent.
pub(super) async fn plan(office: &Office, viewer: &Viewer, name: &str) -> Response {
    let plan: SinkPlanResponse = match office.ask.get(&ConnectorKind::Sink.api(name, "/plan")).await
    {
        Ok(plan) => plan,
        Err(refused) => return layout::failed(office, viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href=(ConnectorKind::Sink.path(name)) { (shown::name(name)) } }
        (items(viewer.t, &plan))
    };
    let command = format!("branchline sink plan {}", layout::quoted(name));
    let title = viewer.t.dry_run.to_owned();
    layout::page(office, viewer, View { place: Place::Jobs, title, command, content })
}

fn items(t: &Texts, plan: &SinkPlanResponse) -> Markup {
    html! {
        p.pages {
            span { (shown::counted(t, t.created_n, plan.create)) } span { (shown::counted(t, t.updated_n, plan.update)) } span { (shown::counted(t, t.deleted_n, plan.delete)) }
            span { (shown::counted(t, t.set_aside_n, plan.set_aside)) } span { (shown::counted(t, t.groups_n, plan.groups)) }
        }
        @for remark in &plan.remarks { p.notice.warn { (shown::text(remark)) } }
        div.scroll tabindex="0" role="region" aria-label=(t.dry_run) {
            table {
                caption { (shown::counted(t, t.would_send_n, plan.create + plan.update + plan.delete)) ", " (shown::counted(t, t.first_shown, plan.items.len() as u64)) }
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
