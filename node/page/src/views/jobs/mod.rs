//! Bridges, sources and sinks: how each is, what it has not done, and its runs.

mod act;
mod bridge;
mod one;
mod parts;
mod sink;
mod source;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use branchline_connect::api::{
    BridgeResponse, BridgesResponse, JobResponse, JobsResponse, SinkResponse, SinksResponse,
    SourceResponse, SourcesResponse,
};
use maud::{Markup, html};

use crate::ask::{Refused, encoded};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;

/// Jobs that are shown; the node keeps some thousand.
const JOBS_MAX: usize = 100;

/// The paths.
pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/jobs", get(show))
        .route("/jobs/{kind}/{name}", get(one::show))
        .route("/jobs/{kind}/{name}/{what}", post(act::act))
        .route("/job/{id}/cancel", post(act::cancel))
}

/// The kinds of connectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::views) enum ConnectorKind {
    Bridge,
    Source,
    Sink,
}

impl ConnectorKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }

    fn title(self, t: &Texts) -> &'static str {
        match self {
            Self::Bridge => t.bridges,
            Self::Source => t.sources,
            Self::Sink => t.sinks,
        }
    }

    /// The words of the commands that say what a view of one says.
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Bridge => &["status", "errors"],
            Self::Source | Self::Sink => &["status", "errors", "history"],
        }
    }

    fn named(text: &str) -> Option<Self> {
        [Self::Bridge, Self::Source, Self::Sink].into_iter().find(|kind| kind.as_str() == text)
    }

    /// The path of one in the API, and of something of it.
    fn api(self, name: &str, behind: &str) -> String {
        format!("/v1/{}s/{}{behind}", self.as_str(), encoded(name))
    }

    /// The path of a connector on this page, by what it is called: `bridge till`.
    pub(in crate::views) fn path_of(called: &str) -> Option<String> {
        let (kind, name) = called.split_once(' ')?;
        Some(Self::named(kind)?.path(name))
    }

    /// Its path on this page.
    fn path(self, name: &str) -> String {
        format!("/jobs/{}/{}", self.as_str(), encoded(name))
    }
}

async fn show(State(office): State<Arc<Office>>, viewer: Viewer) -> Response {
    let found = async {
        let bridges: BridgesResponse = office.ask.get("/v1/bridges").await?;
        let sources: SourcesResponse = office.ask.get("/v1/sources").await?;
        let sinks: SinksResponse = office.ask.get("/v1/sinks").await?;
        let jobs: JobsResponse = office.ask.get("/v1/jobs").await?;
        Ok::<_, Refused>((bridges, sources, sinks, jobs))
    };
    let (bridges, sources, sinks, jobs) = match found.await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Jobs, &refused),
    };
    let (t, clock) = (viewer.t, Clock::new(office.zone()));
    let is_empty =
        bridges.bridges.is_empty() && sources.sources.is_empty() && sinks.sinks.is_empty();
    let content = layout::live_part(
        "jobs",
        "/jobs",
        html! {
            @if is_empty { p.empty { (t.no_connectors) } }
            @if !bridges.bridges.is_empty() { h2 { (t.bridges) } div.cards { @for bridge in &bridges.bridges { (bridge_card(t, bridge, &clock)) } } }
            @if !sources.sources.is_empty() { h2 { (t.sources) } div.cards { @for source in &sources.sources { (source_card(t, source, &clock)) } } }
            @if !sinks.sinks.is_empty() { h2 { (t.sinks) } div.cards { @for sink in &sinks.sinks { (sink_card(t, sink, &clock)) } } }
            h2 { (t.runs) }
            (runs(&viewer, &jobs.jobs, &clock))
        },
    );
    let command = "branchline bridge status; branchline source status; branchline sink status; branchline jobs list".to_owned();
    let title = t.jobs.to_owned();
    layout::page(&office, &viewer, View { place: Place::Jobs, title, command, content })
}

/// How good a state is.
fn class_of(state: &str, set_aside: u64) -> &'static str {
    match state {
        "failed" | "stopped" | "not-running" | "superseded" => "bad",
        _ if set_aside > 0 => "warn",
        "retrying" | "backing-off" | "paused" => "warn",
        _ => "good",
    }
}

/// The head of a card: its state, name, and why it is so.
fn head(
    t: &Texts,
    kind: ConnectorKind,
    name: &str,
    (state, set_aside): (&str, u64),
    reason: Option<&str>,
    since: Option<&str>,
    clock: &Clock,
) -> Markup {
    let class = class_of(state, set_aside);
    html! {
        p.eyebrow.(class) { span.dot.(class) {} (t.word_of_state(state)) @if let Some(since) = since { " · " (clock.time(since)) } }
        h2 { a href=(kind.path(name)) { (shown::name(name)) } }
        @if let Some(reason) = reason { p.(class) { (shown::text(reason)) } }
    }
}

/// What is set aside leads to its list.
fn aside(t: &Texts, kind: ConnectorKind, name: &str, count: u64) -> Markup {
    match count {
        0 => html! { li { (t.nothing_aside) } },
        count => {
            html! { li.warn { a href=(format!("{}#aside", kind.path(name))) { (shown::counted(t, t.set_aside_n, count)) } } }
        }
    }
}

fn bridge_card(t: &Texts, bridge: &BridgeResponse, clock: &Clock) -> Markup {
    let set_aside = bridge.tables.iter().map(|table| table.set_aside).sum();
    let waiting: u64 =
        bridge.tables.iter().map(|table| table.waiting).sum::<u64>() + bridge.notes_waiting;
    html! {
        article.card {
            (head(t, ConnectorKind::Bridge, &bridge.name, (&bridge.state, set_aside), bridge.reason.as_deref(), bridge.since.as_deref(), clock))
            p.soft { (bridge.database) " · " (shown::counted(t, t.tables_n, bridge.tables.len() as u64)) }
            ul.facts {
                li { (shown::counted(t, t.waiting_n, waiting)) @if let Some(since) = &bridge.notes_since { ", " (t.since) " " (clock.time(since)) } }
                (aside(t, ConnectorKind::Bridge, &bridge.name, set_aside))
                @for table in &bridge.tables {
                    @if let Some(since) = &table.blind_since { li.bad { a href=(format!("{}#tables", ConnectorKind::Bridge.path(&bridge.name))) { strong { (t.blind_since) " " (clock.time(since)) } " (" (shown::name(&table.table)) ")" } } }
                    @if table.state == "stopped" { li.bad { a href=(format!("{}#tables", ConnectorKind::Bridge.path(&bridge.name))) { (shown::name(&table.table)) } ": " (shown::text(table.reason.as_deref().unwrap_or(t.word_of_state(&table.state)))) } }
                }
            }
        }
    }
}

fn source_card(t: &Texts, source: &SourceResponse, clock: &Clock) -> Markup {
    html! {
        article.card {
            (head(t, ConnectorKind::Source, &source.name, (&source.state, source.refused), source.reason.as_deref(), source.since.as_deref(), clock))
            p.soft { (source.kind) " → " (shown::name(&source.collection)) }
            ul.facts {
                li { (t.last_run) " " (clock.time_or_none(source.last_run.as_deref())) @if source.last_run_completed == Some(false) { " " a.bad href=(format!("{}#runs", ConnectorKind::Source.path(&source.name))) { (t.not_completed) } } }
                li { (t.next_run) " " (clock.time_or_none(source.next_run.as_deref())) }
                (aside(t, ConnectorKind::Source, &source.name, source.refused))
            }
        }
    }
}

fn sink_card(t: &Texts, sink: &SinkResponse, clock: &Clock) -> Markup {
    html! {
        article.card {
            (head(t, ConnectorKind::Sink, &sink.name, (&sink.state, sink.set_aside), sink.reason.as_deref(), sink.since.as_deref(), clock))
            p.soft { (shown::name(&sink.collection)) " → " (sink.kind) }
            ul.facts {
                li { (shown::counted(t, t.waiting_n, sink.dirty.saturating_sub(sink.set_aside))) @if let Some(since) = &sink.waiting_since { ", " (t.since) " " (clock.time(since)) } }
                li { a href=(format!("{}#runs", ConnectorKind::Sink.path(&sink.name))) { (shown::counted(t, t.created_n, sink.created)) ", " (shown::counted(t, t.updated_n, sink.updated)) ", " (shown::counted(t, t.deleted_n, sink.deleted)) } }
                (aside(t, ConnectorKind::Sink, &sink.name, sink.set_aside))
            }
        }
    }
}

fn runs(viewer: &Viewer, jobs: &[JobResponse], clock: &Clock) -> Markup {
    let t = viewer.t;
    if jobs.is_empty() {
        return html! { p.empty { (t.no_runs) } };
    }
    let is_at_work = |job: &JobResponse| {
        matches!(job.state.as_str(), "waiting" | "running" | "backing-off" | "paused")
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.runs) {
            table {
                caption { (shown::counted(t, t.runs_n, jobs.len() as u64)) @if jobs.len() > JOBS_MAX { ", " (shown::counted(t, t.latest_shown, JOBS_MAX as u64)) } }
                thead { tr { th scope="col" { "№" } th scope="col" { (t.connector) } th scope="col" { (t.asked) } th scope="col" { (t.state) } th.n scope="col" { (t.done) } th scope="col" { (t.began) } th scope="col" { (t.ended) } th scope="col" { (t.result) } }}
                tbody {
                    @for job in jobs.iter().take(JOBS_MAX) {
                        tr {
                            td { (job.id) }
                            td { @match ConnectorKind::path_of(&job.connector) { Some(path) => a href=(path) { (shown::name(&job.connector)) }, None => (shown::name(&job.connector)) } }
                            td { (shown::cell(Some(&job.order))) }
                            td {
                                span.state.(class_of(&job.state, 0)) { (t.word_of_state(&job.state)) }
                                @if let Some(reason) = &job.reason { " " (shown::text(reason)) }
                                @if is_at_work(job) && viewer.may_change() {
                                    " " (layout::button_of(viewer, &format!("/job/{}/cancel", job.id), &[], html! { button.quiet type="submit" { (t.cancel) } }))
                                }
                            }
                            td.n { (shown::number(t, job.done)) @if let Some(total) = job.total { " / " (shown::number(t, total)) } }
                            td { (clock.time_or_none(job.started_at.as_deref())) }
                            td { (clock.time_or_none(job.ended_at.as_deref())) }
                            td { (shown::cell(job.result.as_ref())) }
                        }
                    }
                }
            }
        }
    }
}
