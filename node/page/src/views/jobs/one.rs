//! The page of one bridge, source or sink.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::{ConnectorKind, bridge, sink, source};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::Clock;
use crate::sign_in::Viewer;

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let t = viewer.t;
    let Some(kind) = ConnectorKind::named(&kind) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_such_view);
    };
    let clock = Clock::new(office.zone());
    let content = match kind {
        ConnectorKind::Bridge => bridge::show(&office, &viewer, &name, &clock).await,
        ConnectorKind::Source => source::show(&office, &viewer, &name, &clock).await,
        ConnectorKind::Sink => sink::show(&office, &viewer, &name, &clock).await,
    };
    let content = match content {
        Ok(content) => content,
        Err(refused) => return layout::failed(&office, &viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href="/jobs" { (t.jobs) } " / " (kind.title(viewer.t)) }
        (layout::live_part("connector", &kind.path(&name), content))
    };
    let (kind_word, quoted) = (kind.as_str(), layout::quoted(&name));
    let words = kind.words().iter().map(|word| format!("branchline {kind_word} {word} {quoted}"));
    let command = words.collect::<Vec<_>>().join("; ");
    let title = branchline_node::visible::one_line(&name).into_owned();
    layout::page(&office, &viewer, View { place: Place::Jobs, title, command, content })
}
