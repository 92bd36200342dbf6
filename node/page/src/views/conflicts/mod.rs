//! Fields with more than one value: each with who wrote it and when, a button for each, many at once by filter, and the way
//! back.

mod settle;
pub(crate) mod undo;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use branchline_node::api::{
    CollectionsResponse, ConflictResponse, ConflictValueResponse, ConflictsResponse,
    MembersResponse,
};
use maud::{Markup, html};

use super::records::{choice_of_space, record_path};
use crate::ask::{Refused, path_with};
use crate::form::Fields;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};

/// The node counts no further.
const COUNTED_MAX: u64 = 10_000;
/// Records with conflicts on a page.
const PAGE_RECORDS: usize = 25;
/// Records that are looked at for one button: each may be written again.
const AT_ONCE: usize = 1_000;

/// The paths.
pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/conflicts", get(show))
        .route("/conflicts/settle", post(settle::settle_one))
        .route("/conflicts/settle-many", post(settle::settle_many))
        .route("/conflicts/undo", post(settle::take_back))
}

/// What is asked of the list, by the query of its address.
struct ConflictQuery {
    space: Option<String>,
    collection: Option<String>,
    field: Option<String>,
    /// Instead, of deleted records: what sites have edited that did not know of it.
    deleted: bool,
    after: Option<String>,
}

impl ConflictQuery {
    fn of(uri: &Uri) -> Self {
        let asked = Fields::of_query(uri);
        let given = |name: &str| asked.given(name).map(str::to_owned);
        Self {
            space: given("space"),
            collection: given("collection"),
            field: given("field"),
            deleted: given("deleted").is_some(),
            after: given("after"),
        }
    }

    fn space(&self) -> Option<&str> {
        self.space.as_deref()
    }

    fn is_narrowed(&self) -> bool {
        self.collection.is_some() || self.field.is_some()
    }

    /// The path of the same list behind a record.
    fn path(&self, after: Option<&str>) -> String {
        let query = [
            ("space", self.space()),
            ("collection", self.collection.as_deref()),
            ("field", self.field.as_deref()),
            ("deleted", self.deleted.then_some("1")),
            ("after", after),
        ];
        path_with("/conflicts", &query)
    }

    fn command(&self) -> String {
        let mut command = "branchline conflicts".to_owned();
        if let Some(collection) = &self.collection {
            command += &format!(" {}", layout::quoted(collection));
        }
        if self.deleted {
            command += " --deleted";
        }
        if let Some(space) = self.space() {
            command += &format!(" --space {}", layout::quoted(space));
        }
        command
    }

    /// Reads a page. A field is looked for among so many records and no more.
    async fn read(&self, office: &Office) -> Result<ConflictsResponse, Refused> {
        let limit = if self.field.is_some() { AT_ONCE } else { PAGE_RECORDS }.to_string();
        let query = [
            ("space", self.space()),
            ("collection", self.collection.as_deref()),
            ("deleted", self.deleted.then_some("true")),
            ("after", self.after.as_deref()),
            ("limit", Some(limit.as_str())),
        ];
        let found: ConflictsResponse = office.ask.get(&path_with("/v1/conflicts", &query)).await?;
        Ok(match &self.field {
            Some(field) => first_of(found, field),
            None => found,
        })
    }
}

/// The first of those that are of a field.
fn first_of(found: ConflictsResponse, field: &str) -> ConflictsResponse {
    let ConflictsResponse { conflicts, next } = found;
    let mut of_field = conflicts.into_iter().filter(|conflict| conflict.field == field);
    // A record has but one conflict of a field.
    let conflicts: Vec<_> = of_field.by_ref().take(PAGE_RECORDS).collect();
    let last = conflicts.last().map(|last| format!("{}/{}", last.collection, last.id));
    let next = if of_field.next().is_some() { last } else { next };
    ConflictsResponse { conflicts, next }
}

async fn show(State(office): State<Arc<Office>>, viewer: Viewer, uri: Uri) -> Response {
    let asked = ConflictQuery::of(&uri);
    let found = match asked.read(&office).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Conflicts, &refused),
    };
    // The number in the heading is counted again.
    let status = office.status().await;
    let all = status.map(|status| status.conflicts).unwrap_or_default();
    let clock = Clock::new(office.zone());
    let t = viewer.t;
    let path = path_with("/v1/collections", &[("space", asked.space())]);
    let collections: CollectionsResponse =
        office.ask.get(&path).await.unwrap_or(CollectionsResponse { collections: Vec::new() });
    let own = asked.path(asked.after.as_deref());
    let content = html! {
        (choice_of_space(&office, &viewer, "/conflicts", asked.space()).await)
        (filter(t, &asked, &collections))
        @if viewer.may_change() && !asked.deleted && !found.conflicts.is_empty() { (many(&office, &viewer, &asked, &collections).await) }
        (layout::live_part("conflicts", &own, html! {
            (total(t, &asked, &found, all))
            div.conflicts { @for conflict in &found.conflicts { (one(&viewer, conflict, &clock, asked.space(), !asked.deleted)) } }
        }))
        @if let Some(next) = &found.next {
            p.pages { a rel="next" href=(asked.path(Some(next))) { (t.next_page) } }
        }
    };
    let (title, command) = (t.conflicts.to_owned(), asked.command());
    layout::page(&office, &viewer, View { place: Place::Conflicts, title, command, content })
}

/// How many there are, as far as that is known.
fn total(t: &Texts, asked: &ConflictQuery, found: &ConflictsResponse, all: u64) -> Markup {
    let on_page = found.conflicts.len() as u64;
    let is_whole = asked.after.is_none() && found.next.is_none();
    if on_page == 0 {
        let text = if found.next.is_some() { t.none_found_so_far } else { t.no_conflicts_here };
        return html! { p.empty { (text) } };
    }
    html! {
        p.pages {
            @if asked.space.is_none() && !asked.is_narrowed() && !asked.deleted {
                strong { (if all >= COUNTED_MAX { say(t.or_more, &[&shown::counted(t, t.records_at_odds, all)]) } else { shown::counted(t, t.records_at_odds, all) }) }
            } @else if !is_whole { span { (t.total_not_known) } }
            span { (shown::counted(t, if is_whole { t.fields_n } else { t.fields_on_page }, on_page)) }
        }
    }
}

fn filter(t: &Texts, asked: &ConflictQuery, collections: &CollectionsResponse) -> Markup {
    html! {
        form.fields method="get" action="/conflicts" role="search" {
            @if let Some(space) = asked.space() { input type="hidden" name="space" value=(space); }
            div {
                label for="of-collection" { (t.collection) }
                select #of-collection name="collection" {
                    option value="" { (t.all_of_them) }
                    @for found in &collections.collections { option value=(found.name) selected[asked.collection.as_deref() == Some(found.name.as_str())] { (found.name) } }
                }
            }
            div { label for="of-field" { (t.field) } input #of-field.mono name="field" value=[asked.field.as_deref()] placeholder="price" spellcheck="false" autocapitalize="none" maxlength="8192"; }
            label.check { input type="checkbox" name="deleted" value="1" checked[asked.deleted]; (t.deleted_and_edited) }
            button type="submit" { (t.show) }
            @if asked.is_narrowed() || asked.deleted { a href=(path_with("/conflicts", &[("space", asked.space())])) { (t.show_all) } }
        }
    }
}

/// One field with its values, and a button for each where it can be settled.
pub(super) fn one(
    viewer: &Viewer,
    conflict: &ConflictResponse,
    clock: &Clock,
    space: Option<&str>,
    can_be_settled: bool,
) -> Markup {
    let ConflictResponse { collection, id, field, values, .. } = conflict;
    html! {
        article.card.conflict {
            h2 {
                a href=(record_path(collection, id, space)) { (shown::name(collection)) " / " (shown::name(id)) }
                " · " (shown::name(field))
            }
            div.choices {
                @for (number, value) in values.iter().enumerate() { (choice(viewer, conflict, number, value, clock, space, can_be_settled)) }
            }
        }
    }
}

fn choice(
    viewer: &Viewer,
    conflict: &ConflictResponse,
    number: usize,
    value: &ConflictValueResponse,
    clock: &Clock,
    space: Option<&str>,
    can_be_settled: bool,
) -> Markup {
    let t = viewer.t;
    let ConflictResponse { collection, id, field, version, .. } = conflict;
    let number = number.to_string();
    let fields = [
        ("collection", collection.as_str()),
        ("id", id),
        ("field", field),
        ("version", version),
        ("number", &number),
        ("space", space.unwrap_or_default()),
    ];
    html! {
        div.choice {
            p.value { (shown::value(&value.value)) }
            p.soft {
                @match &value.site_name {
                    Some(name) => (shown::name(name)),
                    None => (t.from_the_beginning),
                }
                @if let Some(time) = &value.time { ", " (clock.time(time)) }
                @if value.shown { " · " strong { (t.shown_now) } }
            }
            @if can_be_settled && viewer.may_change() {
                (layout::button_of(viewer, "/conflicts/settle", &fields, html! {
                    button type="submit" aria-label=(format!("{}: {}", t.take_this, shown::plain(&value.value))) { (t.take_this) }
                }))
            }
        }
    }
}

/// The form that settles many at once.
async fn many(
    office: &Office,
    viewer: &Viewer,
    asked: &ConflictQuery,
    collections: &CollectionsResponse,
) -> Markup {
    let t = viewer.t;
    let members: Result<MembersResponse, _> = office.ask.get("/v1/members").await;
    let members = members.map(|members| members.members).unwrap_or_default();
    html! {
        details data-form {
            summary { (t.settle_many) }
            form.fields method="post" action="/conflicts/settle-many" {
                (layout::hidden(viewer, &[("space", asked.space().unwrap_or_default())]))
                div {
                    label for="collection" { (t.collection) }
                    select #collection name="collection" required {
                        @for found in &collections.collections { option value=(found.name) selected[asked.collection.as_deref() == Some(found.name.as_str())] { (found.name) } }
                    }
                }
                div { label for="field" { (t.only_field) } input #field.mono name="field" value=[asked.field.as_deref()] placeholder="price" spellcheck="false" maxlength="8192"; }
                div.wide { label for="where" { (t.only_where) } input #where.mono name="where" placeholder="shelf = 4" spellcheck="false" maxlength="8192"; }
                div {
                    label for="take" { (t.take) }
                    select #take name="take" {
                        option value="" { (t.what_is_shown) }
                        @for member in &members { option value=(member.site) { (say(t.what_site_wrote, &[&branchline_node::visible::one_line(&member.name)])) } }
                    }
                }
                button.primary type="submit" { (t.settle) }
            }
            p.hint { (shown::counted(t, t.at_once, AT_ONCE as u64)) }
            (layout::command("branchline settle COLLECTION --where FILTER --take-site SITE"))
        }
    }
}
