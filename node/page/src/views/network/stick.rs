//! Sticks: entries as a file that somebody carries to another office, and such a file taken in.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Multipart, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_node::api::{BundleRequest, MergeResponse, StatusResponse};
use futures::stream;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::ask::{self, Refused};
use crate::form::{self, Fields, TOKEN, Write};
use crate::layout;
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::say;

const BUNDLE_TYPE: &str = "application/x-branchline-bundle";

pub(super) fn forms(viewer: &Viewer, status: &StatusResponse) -> Markup {
    let t = viewer.t;
    let others = status.sites.iter().filter(|site| site.site != status.site);
    html! {
        h2 #sticks { (t.sticks) }
        form.fields method="post" action="/network/stick" {
            (layout::hidden(viewer, &[]))
            div {
                label for="for" { (t.stick_for) }
                select #for name="for" {
                    @for site in others { option value=(site.site) { (branchline_node::visible::one_line(&site.name)) } }
                    option value="" { (t.stick_of_all) }
                }
            }
            button type="submit" { (t.make_stick) }
        }
        form.fields method="post" action="/network/merge" enctype="multipart/form-data" {
            (layout::hidden(viewer, &[]))
            div.wide { label for="stick" { (t.stick_file) } input #stick type="file" name="stick" required; }
            button type="submit" { (t.take_stick_in) }
        }
        (layout::command("branchline bundle FILE; branchline merge FILE"))
    }
}

/// Makes a stick: what the other office has not confirmed, or everything.
pub(super) async fn make(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(form): Write<Fields>,
) -> Response {
    let request = BundleRequest { since: None, for_site: form.given("for").map(str::to_owned) };
    let made = bundle(&office, &request).await;
    match made {
        Ok(body) => {
            let time = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S");
            let name = format!("attachment; filename=\"branchline-{time}.bundle\"");
            let name =
                HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
            let kind = HeaderValue::from_static(BUNDLE_TYPE);
            ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], body)
                .into_response()
        }
        Err(refused) => {
            office.notices.failed(&viewer, &refused);
            Redirect::to("/network#sticks").into_response()
        }
    }
}

async fn bundle(office: &Office, request: &BundleRequest) -> Result<Body, Refused> {
    let json = serde_json::to_vec(request).unwrap_or_default();
    let body = Some(("application/json", Body::from(json)));
    let response = office.ask.exchange(Method::POST, "/v1/bundle", &[], body).await?;
    Ok(response.into_body())
}

/// Takes a stick in, as it arrives.
pub(super) async fn take_in(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    headers: HeaderMap,
    parts: Multipart,
) -> Response {
    let t = viewer.t;
    // One form, and no fetch of another page that a browser would allow without asking.
    let is_of_a_form = headers
        .get(HeaderName::from_static("sec-fetch-mode"))
        .is_none_or(|mode| mode.as_bytes() == b"navigate");
    if !is_of_a_form {
        return StatusCode::FORBIDDEN.into_response();
    }
    match merged(&office, &viewer, parts).await {
        Err(response) => return response,
        Ok(Err(refused)) => office.notices.failed(&viewer, &refused),
        Ok(Ok(answer)) => {
            let maker = branchline_node::visible::one_line(&answer.maker_name).into_owned();
            let new = shown::counted(t, t.entries_n, answer.counts.entries_new);
            let records = shown::counted(t, t.records_n, answer.counts.records_changed);
            let mut text = say(t.stick_is_in, &[&maker, &new, &records]);
            if answer.counts.entries_waiting > 0 {
                let waiting = shown::counted(t, t.entries_n, answer.counts.entries_waiting);
                text += &format!("; {}", say(t.stick_waits, &[&waiting]));
            }
            if answer.counts.entries_without_room > 0 {
                let left = shown::counted(t, t.entries_n, answer.counts.entries_without_room);
                text += &format!("; {}", say(t.stick_without_room, &[&left]));
            }
            if let Some(refusal) = &answer.counts.refusal {
                text += &format!("; {refusal}");
            }
            office.notices.done(&viewer, text, None);
        }
    }
    Redirect::to("/network#sticks").into_response()
}

/// The inner error is the node's, or of the form.
async fn merged(
    office: &Office,
    viewer: &Viewer,
    mut parts: Multipart,
) -> Result<Result<MergeResponse, Refused>, Response> {
    let bad = |text: String| Refused::new(StatusCode::BAD_REQUEST, "bad_request", text);
    let mut is_checked = false;
    loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => return Ok(Err(bad(viewer.t.no_stick.to_owned()))),
            Err(error) => return Ok(Err(bad(error.body_text()))),
        };
        match part.name() {
            // The token stands before the file.
            Some(TOKEN) => {
                let token = part.text().await.unwrap_or_default();
                form::check(office, viewer, "/network/merge", &token)?;
                is_checked = true;
            }
            Some("stick") if is_checked => {
                let chunks = stream::unfold(part, async |mut part| match part.chunk().await {
                    Ok(Some(bytes)) => Some((Ok(bytes), part)),
                    Ok(None) => None,
                    Err(error) => Some((Err(std::io::Error::other(error.body_text())), part)),
                });
                return Ok(send(office, chunks).await);
            }
            Some(_) | None if is_checked => {}
            Some(_) | None => form::check(office, viewer, "/network/merge", "")?,
        }
    }
}

/// Passes what arrives on to the node, which takes it from another task.
async fn send(
    office: &Office,
    chunks: impl stream::Stream<Item = std::io::Result<axum::body::Bytes>>,
) -> Result<MergeResponse, Refused> {
    use futures::StreamExt;
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let body = Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk: std::io::Result<axum::body::Bytes>| (chunk, receiver))
    }));
    let merging = async {
        let sent = office.ask.exchange(Method::POST, "/v1/merge", &[], Some((BUNDLE_TYPE, body)));
        ask::read(sent.await?).await
    };
    let sending = async {
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            // Where nobody takes it any more, the rest is read and dropped: the browser then reads the answer.
            let _ = sender.send(chunk).await;
        }
        drop(sender);
    };
    let (merged, ()) = tokio::join!(merging, sending);
    merged
}
