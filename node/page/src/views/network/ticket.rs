//! Tickets for new offices: made, and shown as text and as a picture that a telephone reads. A ticket is a secret: it is
//! kept in memory for some minutes, for the session that made it, and nowhere else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use branchline_node::api::{InviteRequest, InviteResponse, InvitesResponse};
use maud::{Markup, PreEscaped, html};
use qrcode::{Color, EcLevel, QrCode};

use crate::ask::Refused;
use crate::form::{Fields, Write};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::say;

/// How long a ticket can be looked at.
const SHOWN_FOR: Duration = Duration::from_secs(10 * 60);
/// Tickets that can be looked at: one for each session, the oldest makes room.
const SHOWN_MAX: usize = 16;
/// Free modules around the picture, without which no telephone finds it.
const QUIET_ZONE: usize = 4;

/// The tickets that were made of late.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<BTreeMap<String, (Instant, InviteResponse)>>);

impl Tickets {
    fn keep(&self, session: &str, ticket: InviteResponse) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, (made, _)| made.elapsed() < SHOWN_FOR);
        while kept.len() >= SHOWN_MAX {
            let oldest = kept.iter().min_by_key(|(_, (made, _))| *made);
            let Some(oldest) = oldest.map(|(session, _)| session.clone()) else { break };
            kept.remove(&oldest);
        }
        kept.insert(session.to_owned(), (Instant::now(), ticket));
    }

    fn of(&self, session: &str) -> Option<InviteResponse> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, ticket) = kept.get(session).filter(|(made, _)| made.elapsed() < SHOWN_FOR)?;
        Some(ticket.clone())
    }
}

pub(super) fn form(viewer: &Viewer) -> Markup {
    let t = viewer.t;
    html! {
        h2 #tickets { (t.tickets) }
        form.fields method="post" action="/network/tickets" {
            (layout::hidden(viewer, &[]))
            div {
                label for="role" { (t.role) }
                select #role name="role" { @for role in ["writer", "reader", "admin"] { option value=(role) { (t.word_of_role(role)) } } }
            }
            div {
                label for="hours" { (t.good_for) }
                select #hours name="hours" { @for (hours, title) in [("1", t.an_hour), ("24", t.a_day), ("168", t.a_week)] { option value=(hours) selected[hours == "24"] { (title) } } }
            }
            button type="submit" { (t.make_a_ticket) }
        }
        p.hint { (t.ticket_how) }
        (layout::command("branchline invite --role writer -o FILE"))
    }
}

/// Those by which offices can still come.
pub(super) fn open(viewer: &Viewer, open: &InvitesResponse, clock: &Clock) -> Markup {
    let t = viewer.t;
    html! {
        @if !open.invites.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(t.open_tickets) {
                table {
                    caption { (t.open_tickets) }
                    thead { tr { th scope="col" { (t.id) } th scope="col" { (t.role) } th scope="col" { (t.by) } th scope="col" { (t.note) } th.n scope="col" { (t.taken_up) } th scope="col" { (t.expires) } th {} } }
                    tbody {
                        @for ticket in &open.invites {
                            tr {
                                td { code { (ticket.id) } }
                                td { (t.word_of_role(&ticket.role)) }
                                td { (shown::name(&ticket.issuer)) }
                                td { (shown::name(&ticket.note)) }
                                td.n { (ticket.admitted.len()) " / " (ticket.sites) }
                                td { (clock.time_or_none(ticket.expires.as_deref())) }
                                td { (layout::button_of(viewer, "/network/tickets/withdraw", &[("ticket", &ticket.id)], html! { button type="submit" { (t.withdraw) } })) }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn withdraw(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(form): Write<Fields>,
) -> Response {
    let id = form.given("ticket").unwrap_or_default();
    // An id has no other characters.
    let id: String = id.chars().filter(char::is_ascii_hexdigit).collect();
    match office.ask.act(Method::DELETE, &format!("/v1/invites/{id}"), &[]).await {
        Ok(()) => office.notices.done(&viewer, viewer.t.ticket_is_withdrawn.to_owned(), None),
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to("/network#tickets").into_response()
}

pub(super) async fn make(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(form): Write<Fields>,
) -> Response {
    let hours: u64 = form.given("hours").and_then(|hours| hours.parse().ok()).unwrap_or(24);
    let request = InviteRequest {
        role: form.given("role").map(str::to_owned),
        expires_seconds: Some(hours.saturating_mul(3_600)),
        addresses: Vec::new(),
        ..InviteRequest::default()
    };
    let made: Result<InviteResponse, Refused> = office.ask.post("/v1/invites", &request).await;
    match made {
        Ok(ticket) => {
            office.tickets.keep(&viewer.form_token, ticket);
            Redirect::to("/network/ticket").into_response()
        }
        Err(refused) => {
            office.notices.failed(&viewer, &refused);
            Redirect::to("/network#tickets").into_response()
        }
    }
}

pub(super) async fn show(State(office): State<Arc<Office>>, viewer: Viewer) -> Response {
    let t = viewer.t;
    let Some(ticket) = office.tickets.of(&viewer.form_token).filter(|_| viewer.may_change()) else {
        return layout::refused(&office, &viewer, StatusCode::NOT_FOUND, t.no_ticket);
    };
    let clock = Clock::new(office.zone());
    let expires = ticket.expires.as_deref().map(|expires| clock.in_words(expires));
    let content = html! {
        p.crumbs { a href="/network" { (t.network) } }
        p.lead { (say(t.ticket_is, &[t.word_of_role(&ticket.role), &expires.unwrap_or_default()])) }
        (layout::command(&ticket.ticket))
        @match picture(&ticket.ticket) {
            Some(picture) => (picture),
            None => p.hint { (t.ticket_is_too_long) },
        }
        p.notice.warn { (t.ticket_is_secret) }
    };
    let view = View {
        place: Place::Network,
        title: t.a_ticket.to_owned(),
        command: format!("branchline invite --role {} -o FILE", ticket.role),
        content,
    };
    layout::page(&office, &viewer, view)
}

/// A text as a picture of squares; `None`: there is too much of it.
fn picture(text: &str) -> Option<Markup> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (place, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (place % width + QUIET_ZONE, place / width + QUIET_ZONE);
            path += &format!("M{x} {y}h1v1h-1z");
        }
    }
    let size = width + 2 * QUIET_ZONE;
    // Digits alone.
    let shapes = format!("<path fill=\"#000\" d=\"{path}\"/>");
    Some(html! {
        svg.qr xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {size} {size}")) role="img" aria-label="QR" shape-rendering="crispEdges" { (PreEscaped(shapes)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_fits_into_a_picture_and_what_does_not_is_said_to_be_too_long() {
        let picture = picture(&"A".repeat(600)).map(Markup::into_string).unwrap_or_default();
        assert!(picture.starts_with("<svg") && picture.contains("h1v1h-1z"));
        assert!(super::picture(&"A".repeat(10_000)).is_none());
    }
}
