//! Deleting a record, and bringing it back.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::one::Name;
use crate::form::{Fields, Write};
use crate::office::Office;
use crate::sign_in::Viewer;
use crate::texts::say;

pub(super) async fn delete(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
    uri: Uri,
    Write(fields): Write<Fields>,
) -> Response {
    let name = Name::of(path, &uri);
    // Only as it was shown.
    let etag = fields.get("etag").unwrap_or_default();
    let headers = [(header::IF_MATCH, etag)];
    match office.ask.act(Method::DELETE, &name.api(""), &headers).await {
        Ok(()) => {
            let record = format!("{}/{}", name.collection, name.id);
            office.notices.done(&viewer, say(viewer.t.deleted_it, &[&record]), None);
        }
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to(&name.path()).into_response()
}

pub(super) async fn undelete(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
    uri: Uri,
    Write(_): Write<Fields>,
) -> Response {
    let name = Name::of(path, &uri);
    match office.ask.act(Method::POST, &name.api("/undelete"), &[]).await {
        Ok(()) => {
            let record = format!("{}/{}", name.collection, name.id);
            office.notices.done(&viewer, say(viewer.t.brought_back, &[&record]), None);
        }
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to(&name.path()).into_response()
}
