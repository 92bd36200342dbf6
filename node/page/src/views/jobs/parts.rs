//! What a bridge, a source and a sink have in common on a page.

use maud::{Markup, html};

use super::{ConnectorKind, class_of};
use crate::layout;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;

/// Items that are set aside on the view.
pub(super) const ASIDE_MAX: usize = 100;

/// The space of a connector as paths name it, which do not name the main one.
pub(super) fn space_in_path(space: &str) -> Option<&str> {
    Some(space).filter(|space| *space != "main")
}

/// Buttons of a connector.
pub(super) fn buttons(
    viewer: &Viewer,
    kind: ConnectorKind,
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

pub(super) fn requeue(
    viewer: &Viewer,
    kind: ConnectorKind,
    name: &str,
    item: Option<&str>,
) -> Markup {
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
        p.lead { span.dot.(class) {} span.state.(class) { (t.word_of_state(state)) } @if let Some(since) = since { ", " (t.since) " " (clock.time(since)) } }
        @if let Some(reason) = reason { p.(class) { (shown::text(reason)) } }
    }
}
