//! What is asked of bridges, sources and sinks by a button.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_connect::api::{
    RequeueRequest, RequeuedResponse, SinkPlanResponse, SinkRequeueRequest, SinkRunRequest,
    SourceRunRequest,
};
use maud::html;
use serde_json::Value;

use super::{Kind, one};
use crate::ask::{Refused, encoded};
use crate::form::{Fields, Write};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::sign_in::Viewer;
use crate::texts::{counted, say};

pub(super) async fn act(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path((kind, name, what)): Path<(String, String, String)>,
    Write(form): Write<Fields>,
) -> Response {
    let t = viewer.t;
    let Some(kind) = Kind::named(&kind) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_such_view);
    };
    if (kind, what.as_str()) == (Kind::Sink, "dry-run") {
        return plan_of_sink(&office, &viewer, &name).await;
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
    kind: Kind,
    name: &str,
    what: &str,
    form: &Fields,
) -> Result<String, Refused> {
    let t = viewer.t;
    let item = form.given("item");
    match (kind, what) {
        (_, "pause") => {
            office.ask.act(Method::POST, &kind.api(name, "/pause"), &[]).await?;
            Ok(say(t.it_rests, &[name]))
        }
        (_, "resume") => {
            office.ask.act(Method::POST, &kind.api(name, "/resume"), &[]).await?;
            Ok(say(t.it_goes_on, &[name]))
        }
        (Kind::Bridge, "requeue") => {
            let numbers = item.map(|item| item.parse::<i64>().into_iter().collect());
            let path = kind.api(name, "/requeue");
            let answer: RequeuedResponse =
                office.ask.post(&path, &RequeueRequest { numbers }).await?;
            Ok(counted(t, t.requeued_n, answer.requeued))
        }
        (Kind::Sink, "requeue") => {
            let ids = item.map(str::to_owned).into_iter().collect();
            let request = SinkRequeueRequest { ids, ..SinkRequeueRequest::default() };
            let answer: RequeuedResponse =
                office.ask.post(&kind.api(name, "/requeue"), &request).await?;
            Ok(counted(t, t.requeued_n, answer.requeued))
        }
        (Kind::Source, "run" | "run-full" | "dry-run") => {
            let request = SourceRunRequest {
                full: what == "run-full",
                dry_run: what == "dry-run",
                accept: false,
            };
            office.ask.post::<Value>(&kind.api(name, "/run"), &request).await?;
            Ok(say(t.run_is_taken, &[name]))
        }
        (Kind::Sink, "run") => {
            let request = SinkRunRequest::default();
            office.ask.post::<Value>(&kind.api(name, "/run"), &request).await?;
            Ok(say(t.run_is_taken, &[name]))
        }
        _ => Err(Refused::new(StatusCode::NOT_FOUND, "not_found", t.no_such_view)),
    }
}

/// What a sink would send: looked at, and nothing is sent.
async fn plan_of_sink(office: &Office, viewer: &Viewer, name: &str) -> Response {
    let plan: SinkPlanResponse = match office.ask.get(&Kind::Sink.api(name, "/plan")).await {
        Ok(plan) => plan,
        Err(refused) => return layout::failed(office, viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href=(Kind::Sink.path(name)) { (name) } }
        (one::plan(viewer, &plan))
    };
    let command = format!("branchline sink plan {}", layout::quoted(name));
    let title = viewer.t.dry_run.to_owned();
    layout::page(office, viewer, View { place: Place::Jobs, title, command, content })
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
