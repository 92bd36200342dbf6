//! What is asked of bridges, sources and sinks by a button.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_connect::api::{
    RequeueRequest, RequeuedResponse, SinkRequeueRequest, SinkRunRequest, SourceRunRequest,
};
use serde_json::Value;

use super::{ConnectorKind, bridge, sink};
use crate::ask::{Refused, encoded};
use crate::form::{Fields, Write};
use crate::layout;
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::say;

pub(super) async fn act(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path((kind, name, what)): Path<(String, String, String)>,
    Write(form): Write<Fields>,
) -> Response {
    let t = viewer.t;
    let Some(kind) = ConnectorKind::named(&kind) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_such_view);
    };
    match (kind, what.as_str()) {
        (ConnectorKind::Sink, "dry-run") => return sink::plan(&office, &viewer, &name).await,
        (ConnectorKind::Bridge, "plan") => return bridge::plan(&office, &viewer, &name).await,
        (ConnectorKind::Bridge, "compare") => {
            return bridge::compare(&office, &viewer, &name).await;
        }
        _ => {}
    }
    match carry_out(&office, &viewer, kind, &name, &what, &form).await {
        Ok(text) => office.notices.done(&viewer, text, None),
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to(&kind.path(&name)).into_response()
}

async fn carry_out(
    office: &Office,
    viewer: &Viewer,
    kind: ConnectorKind,
    name: &str,
    what: &str,
    form: &Fields,
) -> Result<String, Refused> {
    let t = viewer.t;
    // An id may be anything, spaces too.
    let item = form.get("item").filter(|item| !item.is_empty());
    match (kind, what) {
        (_, "pause") => {
            office.ask.act(Method::POST, &kind.api(name, "/pause"), &[]).await?;
            Ok(say(t.it_rests, &[name]))
        }
        (_, "resume") => {
            office.ask.act(Method::POST, &kind.api(name, "/resume"), &[]).await?;
            Ok(say(t.it_goes_on, &[name]))
        }
        (ConnectorKind::Bridge, "requeue") => {
            let numbers = item.map(|item| item.parse::<i64>().into_iter().collect());
            let path = kind.api(name, "/requeue");
            let answer: RequeuedResponse =
                office.ask.post(&path, &RequeueRequest { numbers }).await?;
            Ok(shown::counted(t, t.requeued_n, answer.requeued))
        }
        (ConnectorKind::Sink, "requeue") => {
            let ids = item.map(str::to_owned).into_iter().collect();
            let request = SinkRequeueRequest { ids, ..SinkRequeueRequest::default() };
            let answer: RequeuedResponse =
                office.ask.post(&kind.api(name, "/requeue"), &request).await?;
            Ok(shown::counted(t, t.requeued_n, answer.requeued))
        }
        (ConnectorKind::Source, "run" | "run-full" | "run-accept" | "dry-run") => {
            let request = SourceRunRequest {
                full: matches!(what, "run-full" | "run-accept"),
                dry_run: what == "dry-run",
                accept: what == "run-accept",
            };
            office.ask.post::<Value>(&kind.api(name, "/run"), &request).await?;
            Ok(say(t.run_is_taken, &[name]))
        }
        (ConnectorKind::Sink, "run") => {
            let request = SinkRunRequest::default();
            office.ask.post::<Value>(&kind.api(name, "/run"), &request).await?;
            Ok(say(t.run_is_taken, &[name]))
        }
        _ => Err(Refused::new(StatusCode::NOT_FOUND, "not_found", t.no_such_view)),
    }
}

pub(super) async fn cancel(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(id): Path<String>,
    Write(_): Write<Fields>,
) -> Response {
    let path = format!("/v1/jobs/{}/cancel", encoded(&id));
    match office.ask.act(Method::POST, &path, &[]).await {
        Ok(()) => office.notices.done(&viewer, say(viewer.t.job_ends, &[&id]), None),
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to("/jobs").into_response()
}
