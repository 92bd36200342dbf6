//! Settling conflicts: one by a button, many by a filter, and what was settled taken back.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_node::api::{
    ConflictsResponse, RecordResponse, SettleRequest, SettleResponse, SettledResponse,
};
use serde_json::{Map, Value};

use super::AT_ONCE;
use super::undo::{Before, Undo};
use crate::ask::{self, Refused, encoded, path_with};
use crate::form::{Fields, Write};
use crate::layout;
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::say;

pub(super) async fn settle_one(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: HeaderMap,
    Write(form): Write<Fields>,
) -> Response {
    if let Err(refused) = try_settle_one(&office, &viewer, &form).await {
        office.notices.failed(&viewer, &refused);
    }
    back(&headers)
}

fn back(headers: &HeaderMap) -> Response {
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

pub(super) async fn settle_many(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: HeaderMap,
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
    let mut text = shown::counted(t, t.settled_n, answer.settled.len() as u64);
    for (form, count) in [(t.left_n, answer.left.len()), (t.changed_n, answer.changed.len())] {
        if count > 0 {
            text += &format!("; {}", shown::counted(t, form, count as u64));
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

pub(super) async fn take_back(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: HeaderMap,
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
    let mut text = shown::counted(t, t.undone_n, done);
    if changed > 0 {
        text += &format!("; {}", shown::counted(t, t.changed_n, changed));
    }
    office.notices.done(&viewer, text, None);
    back(&headers)
}
