//! One bridge, source or sink: what all of them have.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{Kind, bridge, class_of, sink, source};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;

/// Items that are set aside on the view.
pub(super) const ASIDE_MAX: usize = 100;

/// The space of a connector as paths name it, which do not name the main one.
pub(super) fn space_in_path(space: &str) -> Option<&str> {
    Some(space).filter(|space| *space != "main")
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path((kind, name)): Path<(String, String)>,
) -> Response {
    let t = viewer.t;
    let Some(kind) = Kind::named(&kind) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_such_view);
    };
    let clock = Clock::new(office.zone());
    let content = match kind {
        Kind::Bridge => bridge::show(&office, &viewer, &name, &clock).await,
        Kind::Source => source::show(&office, &viewer, &name, &clock).await,
        Kind::Sink => sink::show(&office, &viewer, &name, &clock).await,
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

/// Buttons of a connector.
pub(super) fn buttons(
    viewer: &Viewer,
    kind: Kind,
    name: &str,
    state: &str,
    more: &[(&str, &str)],
) -> Markup {
    let t = viewer.t;
    if !viewer.may_change() {
        return html! {};
    }
    let pause = if state == "paused" { ("resume", t.resume) } else { ("pause", t.pause) };
    html! {
        div.actions {
            @for (what, title) in std::iter::once(&pause).chain(more) {
                (layout::button_of(viewer, &format!("{}/{what}", kind.path(name)), &[], html! { button type="submit" { (title) } }))
            }
        }
    }
}

pub(super) fn requeue(viewer: &Viewer, kind: Kind, name: &str, item: Option<&str>) -> Markup {
    if !viewer.may_change() {
        return html! {};
    }
    let fields: Vec<_> = item.map(|item| ("item", item)).into_iter().collect();
    let title = if item.is_some() { viewer.t.requeue } else { viewer.t.requeue_all };
    layout::button_of(
        viewer,
        &format!("{}/requeue", kind.path(name)),
        &fields,
        html! { button type="submit" { (title) } },
    )
}

pub(super) fn state_line(
    t: &Texts,
    state: &str,
    reason: Option<&str>,
    since: Option<&str>,
    clock: &Clock,
) -> Markup {
    let class = class_of(state, 0);
    html! {
        p.lead { span.dot.(class) {} span.state.(class) { (state) } @if let Some(since) = since { ", " (t.since) " " (clock.time(since)) } }
        @if let Some(reason) = reason { p.(class) { (shown::text(reason)) } }
    }
}
