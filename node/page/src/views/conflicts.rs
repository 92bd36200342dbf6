//! Fields with more than one value: each with who wrote it and when, a button for each, many at once by filter, and the way
//! back.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use branchline_node::api::{
    CollectionsResponse, ConflictResponse, ConflictValueResponse, ConflictsResponse,
    MembersResponse, RecordResponse, SettleRequest, SettleResponse, SettledResponse,
};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::records::{choice_of_space, record_path};
use super::undo::{Before, Undo};
use crate::ask::{self, Refused, encoded, path_with};
use crate::form::{Fields, Write};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{counted, say};

/// Records with conflicts on a page.
const PAGE_RECORDS: usize = 25;
/// Records that are looked at for one button: each may be written anew.
const AT_ONCE: usize = 1_000;

/// The paths.
pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/conflicts", get(show))
        .route("/conflicts/settle", post(settle_one))
        .route("/conflicts/settle-many", post(settle_many))
        .route("/conflicts/undo", post(take_back))
}

async fn show(State(office): State<Arc<Office>>, viewer: Viewer, uri: Uri) -> Response {
    let asked = Fields::of_query(&uri);
    let (space, collection) = (asked.given("space"), asked.given("collection"));
    let limit = PAGE_RECORDS.to_string();
    let query = [
        ("space", space),
        ("collection", collection),
        ("after", asked.given("after")),
        ("limit", Some(limit.as_str())),
    ];
    let found: ConflictsResponse = match office.ask.get(&path_with("/v1/conflicts", &query)).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Conflicts, &refused),
    };
    // The number in the heading is counted anew.
    let status = office.status().await;
    let all = status.map(|status| status.conflicts).unwrap_or_default();
    let clock = Clock::new(office.zone());
    let t = viewer.t;
    let own = path_with("/conflicts", &query[..3]);
    let content = html! {
        (choice_of_space(&office, &viewer, "/conflicts", space).await)
        @if viewer.may_change() && !found.conflicts.is_empty() { (many(&office, &viewer, space, collection).await) }
        (layout::live_part("conflicts", &own, html! {
            @if found.conflicts.is_empty() {
                p.empty { (t.no_conflicts_here) }
            } @else {
                p.pages {
                    @if space.is_none() && collection.is_none() {
                        strong { (if all >= 10_000 { say(t.or_more, &[&counted(t, t.records_at_odds, all)]) } else { counted(t, t.records_at_odds, all) }) }
                    } @else { (t.total_not_known) }
                    span { (counted(t, t.fields_on_page, found.conflicts.len() as u64)) }
                }
            }
            div.conflicts { @for conflict in &found.conflicts { (one(&viewer, conflict, &clock, space)) } }
        }))
        @if let Some(next) = &found.next {
            p.pages { a rel="next" href=(path_with("/conflicts", &[("space", space), ("collection", collection), ("after", Some(next))])) { (t.next_page) } }
        }
    };
    let mut command = "branchline conflicts".to_owned();
    if let Some(collection) = collection {
        command += &format!(" {}", layout::quoted(collection));
    }
    if let Some(space) = space {
        command += &format!(" --space {}", layout::quoted(space));
    }
    let title = t.conflicts.to_owned();
    layout::page(&office, &viewer, View { place: Place::Conflicts, title, command, content })
}

/// One field with its values.
pub(super) fn one(
    viewer: &Viewer,
    conflict: &ConflictResponse,
    clock: &Clock,
    space: Option<&str>,
) -> Markup {
    let ConflictResponse { collection, id, field, values, .. } = conflict;
    html! {
        article.card.conflict {
            h2 {
                a href=(record_path(collection, id, space)) { (shown::name(collection)) " / " (shown::name(id)) }
                " · " (shown::name(field))
            }
            div.choices {
                @for (number, value) in values.iter().enumerate() { (choice(viewer, conflict, number, value, clock, space)) }
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
            @if viewer.may_change() {
                (layout::button_of(viewer, "/conflicts/settle", &fields, html! {
                    button type="submit" { (t.take_this) }
                }))
            }
        }
    }
}

/// The form that settles many at once.
async fn many(
    office: &Office,
    viewer: &Viewer,
    space: Option<&str>,
    collection: Option<&str>,
) -> Markup {
    let t = viewer.t;
    let path = path_with("/v1/collections", &[("space", space)]);
    let collections: CollectionsResponse =
        office.ask.get(&path).await.unwrap_or(CollectionsResponse { collections: Vec::new() });
    let members: Result<MembersResponse, _> = office.ask.get("/v1/members").await;
    let members = members.map(|members| members.members).unwrap_or_default();
    html! {
        details data-form {
            summary { (t.settle_many) }
            form.fields method="post" action="/conflicts/settle-many" {
                (layout::hidden(viewer, &[("space", space.unwrap_or_default())]))
                div {
                    label for="collection" { (t.collection) }
                    select #collection name="collection" required {
                        @for found in &collections.collections { option value=(found.name) selected[collection == Some(found.name.as_str())] { (found.name) } }
                    }
                }
                div { label for="field" { (t.only_field) } input #field.mono name="field" placeholder="price" spellcheck="false" maxlength="8192"; }
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
            p.hint { (counted(t, t.at_once, AT_ONCE as u64)) }
        }
    }
}

async fn settle_one(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: axum::http::HeaderMap,
    Write(form): Write<Fields>,
) -> Response {
    if let Err(refused) = try_settle_one(&office, &viewer, &form).await {
        office.notices.failed(&viewer, &refused);
    }
    back(&headers)
}

fn back(headers: &axum::http::HeaderMap) -> Response {
    let back = layout::came_from(headers).unwrap_or_else(|| "/conflicts".to_owned());
    Redirect::to(&back).into_response()
}

async fn try_settle_one(office: &Office, viewer: &Viewer, form: &Fields) -> Result<(), Refused> {
    let text = |name: &str| form.get(name).unwrap_or_default();
    let (collection, id, field) = (text("collection"), text("id"), text("field"));
    let space = form.given("space");
    let query = [("space", space), ("collection", Some(collection)), ("id", Some(id))];
    let found: ConflictsResponse = office.ask.get(&path_with("/v1/conflicts", &query)).await?;
    let conflict = found.conflicts.into_iter().find(|conflict| conflict.field == field);
    // Whoever settles by what was shown is not to settle by what is shown by now.
    let meanwhile = || {
        let text = viewer.t.settled_meanwhile;
        Refused::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", text)
    };
    let conflict =
        conflict.filter(|found| found.version == text("version")).ok_or_else(meanwhile)?;
    let number: usize = text("number").parse().unwrap_or(usize::MAX);
    let value =
        conflict.values.get(number).map(|value| value.value.clone()).ok_or_else(meanwhile)?;
    let before = read(office, collection, id, space).await?;
    let request = SettleRequest {
        collection: collection.to_owned(),
        id: Some(id.to_owned()),
        field: Some(field.to_owned()),
        value: Some(value),
        if_match: Some(conflict.version),
        ..SettleRequest::default()
    };
    let answer = settle(office, space, &request).await?;
    if let Some(left) = answer.left.first() {
        return Err(Refused::new(StatusCode::CONFLICT, "conflict", left.reason.clone()));
    }
    let undo = undo_of(office, viewer, space, &answer.settled, vec![before]).await;
    let record = format!("{collection}/{id}");
    let text = say(viewer.t.settled_one, &[field, &record]);
    office.notices.done(viewer, text, undo.map(|number| ("/conflicts/undo", number)));
    Ok(())
}

async fn settle(
    office: &Office,
    space: Option<&str>,
    request: &SettleRequest,
) -> Result<SettleResponse, Refused> {
    office.ask.post(&path_with("/v1/conflicts/settle", &[("space", space)]), request).await
}

/// A record as it is, with its ETag.
async fn read(
    office: &Office,
    collection: &str,
    id: &str,
    space: Option<&str>,
) -> Result<(RecordResponse, String), Refused> {
    let path = format!("/v1/records/{}/{}", encoded(collection), encoded(id));
    let path = path_with(&path, &[("space", space), ("meta", Some("true"))]);
    let response = office.ask.exchange(Method::GET, &path, &[], None).await?;
    let etag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    let etag = etag.unwrap_or_default().to_owned();
    Ok((ask::read(response).await?, etag))
}

/// Keeps how records were before they were settled, so that it can be taken back.
async fn undo_of(
    office: &Office,
    viewer: &Viewer,
    space: Option<&str>,
    settled: &[SettledResponse],
    before: Vec<(RecordResponse, String)>,
) -> Option<u64> {
    let before: BTreeMap<String, RecordResponse> =
        before.into_iter().map(|(record, _)| (record.id.clone(), record)).collect();
    let mut fields_of: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for settled in settled {
        fields_of.entry((&settled.collection, &settled.id)).or_default().push(&settled.field);
    }
    let mut records = Vec::new();
    for ((collection, id), paths) in fields_of {
        let Some(was) = before.get(id) else { continue };
        let Ok((now, etag)) = read(office, collection, id, space).await else { continue };
        let is_touched = |name: &String| {
            let below = |path: &str| {
                path.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            };
            paths.iter().any(|path| below(path))
        };
        let fields: Map<String, Value> = was
            .fields
            .iter()
            .filter(|(name, value)| is_touched(name) && now.fields.get(*name) != Some(value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if !fields.is_empty() {
            records.push(Before {
                collection: collection.to_owned(),
                id: id.to_owned(),
                etag,
                fields,
            });
        }
    }
    let session = viewer.form_token.clone();
    office.undos.keep(Undo { session, space: space.map(str::to_owned), records })
}

async fn settle_many(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: axum::http::HeaderMap,
    Write(form): Write<Fields>,
) -> Response {
    if let Err(refused) = try_settle_many(&office, &viewer, &form).await {
        office.notices.failed(&viewer, &refused);
    }
    back(&headers)
}

async fn try_settle_many(office: &Office, viewer: &Viewer, form: &Fields) -> Result<(), Refused> {
    let t = viewer.t;
    let (space, site) = (form.given("space"), form.given("take"));
    let collection = form.get("collection").unwrap_or_default().to_owned();
    let limit = AT_ONCE.to_string();
    let query =
        [("space", space), ("collection", Some(collection.as_str())), ("limit", Some(&limit))];
    let found: ConflictsResponse = office.ask.get(&path_with("/v1/conflicts", &query)).await?;
    // What is shown stays shown where that is taken: there is nothing to take back.
    let mut before = Vec::new();
    if site.is_some() {
        let mut ids: Vec<&str> =
            found.conflicts.iter().map(|conflict| conflict.id.as_str()).collect();
        ids.dedup();
        for id in ids {
            before.extend(read(office, &collection, id, space).await.ok());
        }
    }
    let request = SettleRequest {
        collection: collection.clone(),
        field: form.given("field").map(str::to_owned),
        filter: form.given("where").map(str::to_owned),
        take_site: site.map(str::to_owned),
        take_shown: site.is_none(),
        limit: Some(AT_ONCE),
        ..SettleRequest::default()
    };
    let answer = settle(office, space, &request).await?;
    let undo = undo_of(office, viewer, space, &answer.settled, before).await;
    let mut text = counted(t, t.settled_n, answer.settled.len() as u64);
    for (form, count) in [(t.left_n, answer.left.len()), (t.changed_n, answer.changed.len())] {
        if count > 0 {
            text += &format!("; {}", counted(t, form, count as u64));
        }
    }
    if let Some(left) = answer.left.first() {
        text += &format!(" ({})", left.reason);
    }
    if answer.next.is_some() {
        text += &format!("; {}", t.more_to_settle);
    }
    office.notices.done(viewer, text, undo.map(|number| ("/conflicts/undo", number)));
    Ok(())
}

async fn take_back(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: axum::http::HeaderMap,
    Write(form): Write<Fields>,
) -> Response {
    let t = viewer.t;
    let number = form.get("number").and_then(|number| number.parse().ok()).unwrap_or_default();
    let Some(undo) = office.undos.take(number, &viewer.form_token) else {
        let refused = Refused::new(StatusCode::GONE, "gone", t.nothing_to_undo);
        office.notices.failed(&viewer, &refused);
        return back(&headers);
    };
    office.notices.remove_undo(&viewer, number);
    let (mut done, mut changed) = (0, 0);
    for before in &undo.records {
        let path = format!("/v1/records/{}/{}", encoded(&before.collection), encoded(&before.id));
        let path = path_with(&path, &[("space", undo.space.as_deref())]);
        let headers = [(header::IF_MATCH, before.etag.as_str())];
        match office.ask.json::<Value>(Method::PATCH, &path, &headers, &before.fields).await {
            Ok(_) => done += 1,
            Err(refused) if refused.status == StatusCode::PRECONDITION_FAILED => changed += 1,
            Err(refused) => office.notices.failed(&viewer, &refused),
        }
    }
    let mut text = counted(t, t.undone_n, done);
    if changed > 0 {
        text += &format!("; {}", counted(t, t.changed_n, changed));
    }
    office.notices.done(&viewer, text, None);
    back(&headers)
}
