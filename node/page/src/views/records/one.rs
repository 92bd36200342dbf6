//! One record: what it holds, what became of it, and who has it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::Response;
use branchline_node::api::{
    FieldDiffResponse, HistoryChangeResponse, HistoryResponse, HolderResponse,
    RecordReceiptsResponse, RecordResponse,
};
use maud::{Markup, html};
use serde_json::Value;

use super::{api_path, command, record_path};
use crate::ask::{self, Refused, encoded, path_with};
use crate::form::Fields;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::say;
use crate::views::conflicts;

/// Changes that are shown at first.
const CHANGES: usize = 20;
/// Changes that are shown at most.
const CHANGES_MAX: usize = 1_000;

/// A record as it is now.
pub(super) struct FoundRecord {
    pub(super) answer: RecordResponse,
    pub(super) etag: String,
}

/// Which record is meant.
#[derive(Clone)]
pub(super) struct Name {
    pub(super) collection: String,
    pub(super) id: String,
    pub(super) space: Option<String>,
}

impl Name {
    pub(super) fn of((collection, id): (String, String), uri: &Uri) -> Self {
        let space = Fields::of_query(uri).given("space").map(str::to_owned);
        Self { collection, id, space }
    }

    pub(super) fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    /// Its path on this page.
    pub(super) fn path(&self) -> String {
        record_path(&self.collection, &self.id, self.space())
    }

    /// The path of what is done to it, on this page.
    pub(super) fn path_of(&self, behind: &str) -> String {
        let path = format!("/record/{}/{}{behind}", encoded(&self.collection), encoded(&self.id));
        path_with(&path, &[("space", self.space())])
    }

    /// Its path in the API, or that of something of it.
    pub(super) fn api(&self, behind: &str) -> String {
        api_path(&self.collection, &self.id, behind, &[("space", self.space())])
    }

    /// A command line about it.
    pub(super) fn command(&self, word: &str) -> String {
        let (collection, id) = (layout::quoted(&self.collection), layout::quoted(&self.id));
        command(&format!("{word} {collection} {id}"), self.space())
    }

    /// Reads it.
    pub(super) async fn read(&self, office: &Office) -> Result<FoundRecord, Refused> {
        let path = api_path(
            &self.collection,
            &self.id,
            "",
            &[("space", self.space()), ("meta", Some("true"))],
        );
        let response = office.ask.exchange(Method::GET, &path, &[], None).await?;
        let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        Ok(FoundRecord { answer: ask::read(response).await?, etag })
    }
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let name = Name::of(path, &uri);
    let asked = Fields::of_query(&uri);
    let changes = asked.given("changes").and_then(|text| text.parse().ok()).unwrap_or(CHANGES);
    let changes = changes.clamp(1, CHANGES_MAX);
    let t = viewer.t;
    let found = name.read(&office).await;
    let history = history(&office, &name, changes).await;
    if let (Err(refused), Err(_)) = (&found, &history) {
        return layout::failed(&office, &viewer, Place::Records, refused);
    }
    let receipts: Result<RecordReceiptsResponse, Refused> =
        office.ask.get(&name.api("/receipts")).await;
    let clock = Clock::new(office.zone());
    let list =
        path_with(&format!("/records/{}", encoded(&name.collection)), &[("space", name.space())]);
    let content = html! {
        p.crumbs { a href="/records" { (t.records) } " / " a href=(list) { (shown::name(&name.collection)) } }
        (layout::live_part("record", &name.path(), html! {
            @match &found {
                Ok(found) => (content(&office, &viewer, &name, found).await),
                Err(refused) => (gone(&viewer, &name, refused)),
            }
            h2 { (t.who_has_it) }
            @match &receipts {
                Ok(receipts) => (holders(&viewer, &receipts.sites, &clock)),
                Err(refused) => (layout::error(refused)),
            }
            h2 #history { (t.history) }
            @match &history {
                Ok(history) => (steps(&viewer, &name, history, &clock, changes)),
                Err(refused) => (layout::error(refused)),
            }
        }))
    };
    let view = View {
        place: Place::Records,
        title: branchline_node::visible::one_line(&name.id).into_owned(),
        command: name.command("history"),
        content,
    };
    layout::page(&office, &viewer, view)
}

async fn history(office: &Office, name: &Name, changes: usize) -> Result<HistoryResponse, Refused> {
    let limit = changes.to_string();
    let query = [("space", name.space()), ("limit", Some(limit.as_str()))];
    office.ask.get(&api_path(&name.collection, &name.id, "/history", &query)).await
}

/// What it holds.
async fn content(office: &Office, viewer: &Viewer, name: &Name, found: &FoundRecord) -> Markup {
    let t = viewer.t;
    let RecordResponse { fields, conflicts, .. } = &found.answer;
    html! {
        @if !conflicts.is_empty() {
            div.notice.warn { p { (shown::counted(t, t.conflicts_n, conflicts.len() as u64)) } }
            @for conflict in conflicts {
                (conflicts::one(viewer, conflict, &Clock::new(office.zone()), name.space(), true))
            }
        }
        dl.pair {
            @for (field, value) in fields {
                dt { (shown::name(field)) }
                dd { (shown::value(value)) }
            }
        }
        @if fields.is_empty() { p.empty { (t.no_fields) } }
        @if viewer.may_change() {
            div.actions {
                a.button href=(name.path_of("/edit")) { (t.edit) }
                (layout::button_of(viewer, &name.path_of("/delete"), &[("etag", &found.etag)], html! {
                    button.danger type="submit" { (t.delete) }
                }))
            }
        }
    }
}

/// A record that is deleted, or cannot be read.
fn gone(viewer: &Viewer, name: &Name, refused: &Refused) -> Markup {
    let t = viewer.t;
    if refused.status != StatusCode::NOT_FOUND {
        return layout::error(refused);
    }
    html! {
        div.notice.warn {
            p { (t.record_is_deleted) }
            @if viewer.may_change() {
                div.actions {
                    (layout::button_of(viewer, &name.path_of("/undelete"), &[], html! {
                        button type="submit" { (t.undelete) }
                    }))
                }
            }
        }
    }
}

fn holders(viewer: &Viewer, sites: &[HolderResponse], clock: &Clock) -> Markup {
    let t = viewer.t;
    let holds = |holder: &HolderResponse| match holder.holds {
        Some(true) => html! { span.state.good { (t.has_it) } },
        Some(false) => {
            html! { a.state.warn href=(format!("/why?site={}", encoded(&holder.site_name))) { (t.has_it_not_yet) } }
        }
        None => html! { span.state { (t.not_known) } },
    };
    html! {
        div.scroll {
            table {
                caption { (shown::counted(t, t.offices_n, sites.len() as u64)) }
                thead { tr { th scope="col" { (t.office) } th scope="col" { (t.latest_changes) } th scope="col" { (t.last_heard) } } }
                tbody {
                    @for holder in sites {
                        tr {
                            td { (shown::name(&holder.site_name)) }
                            td { (holds(holder)) }
                            td { (clock.time_or_none(holder.last_heard.as_deref())) }
                        }
                    }
                }
            }
        }
    }
}

fn steps(
    viewer: &Viewer,
    name: &Name,
    history: &HistoryResponse,
    clock: &Clock,
    changes: usize,
) -> Markup {
    let t = viewer.t;
    let is_cut = history.change_count > history.changes.len() as u64;
    let more = (changes * 5).min(CHANGES_MAX).to_string();
    let path = path_with(
        &format!("/record/{}/{}", encoded(&name.collection), encoded(&name.id)),
        &[("space", name.space()), ("changes", Some(&more))],
    );
    html! {
        div.scroll {
            table {
                caption { (say(t.shown_of_changes, &[&shown::number(t, history.changes.len() as u64), &shown::counted(t, t.changes_n, history.change_count)])) }
                thead { tr { th scope="col" { (t.when) } th scope="col" { (t.office) } th scope="col" { (t.what_changed) } } }
                tbody {
                    @for change in history.changes.iter().rev() {
                        tr {
                            td { (clock.time_or_none(change.time.as_deref())) }
                            td { (shown::name(&change.site_name)) }
                            td { (step(viewer, change)) }
                        }
                    }
                }
            }
        }
        @if is_cut && changes < CHANGES_MAX { p { a href=(format!("{path}#history")) { (t.show_earlier) } } }
    }
}

fn step(viewer: &Viewer, change: &HistoryChangeResponse) -> Markup {
    let t = viewer.t;
    html! {
        @for field in &change.fields { p { (field_change(viewer, field)) } }
        @for hidden in &change.other_values {
            p.soft { (shown::name(&hidden.field)) ": " (shown::cell(Some(&hidden.value))) " (" (t.not_shown) ")" }
        }
        @if change.fields.is_empty() && change.other_values.is_empty() { span.none { (t.nothing_visible) } }
    }
}

fn field_change(viewer: &Viewer, field: &FieldDiffResponse) -> Markup {
    let t = viewer.t;
    if field.field == "_deleted" {
        let is_deleted = field.after == Some(Value::Bool(true));
        return html! { strong { (if is_deleted { t.was_deleted } else { t.came_back }) } };
    }
    html! {
        strong { (shown::name(&field.field)) } ": "
        @if field.before.is_some() { (shown::cell(field.before.as_ref())) " → " }
        (shown::cell(field.after.as_ref()))
    }
}
