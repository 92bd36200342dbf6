//! The network: lines to other sites, members and what became of them, spaces, this site's disk, tickets, sticks, backups.

mod backup;
mod stick;
pub(crate) mod ticket;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use branchline_node::api::{
    AddedResponse, InvitesResponse, MemberStep, MembersHistoryResponse, MembersResponse,
    PeerResponse, PeersResponse, SiteResponse, SpaceResponse, SpacesResponse, StatusResponse,
    SyncRequest, SyncResponse, TrafficResponse, UnsentResponse, UnsentSite,
};
use maud::{Markup, html};

use super::offices;
use crate::ask::{Refused, encoded, path_with};
use crate::form::{Fields, Write};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};

/// Steps of the membership that are shown at a time.
const STEPS: &str = "25";
/// Lines and members that are shown; a network has some hundred.
const ROWS_MAX: usize = 500;
/// Sites of a space that are named.
const NAMED_MAX: usize = 20;
/// How long a button waits for the peers.
const SYNC_SECONDS: u64 = 20;

/// The paths.
pub(super) fn routes() -> Router<Arc<Office>> {
    // A stick is read as it arrives, whatever its size.
    let stick = post(stick::take_in).layer(DefaultBodyLimit::disable());
    Router::new()
        .route("/network", get(show))
        .route("/network/sync", post(sync))
        .route("/network/tickets", post(ticket::make))
        .route("/network/tickets/withdraw", post(ticket::withdraw))
        .route("/network/ticket", get(ticket::show))
        .route("/network/stick", post(stick::make))
        .route("/network/merge", stick)
        .route("/network/backup", post(backup::make))
}

struct NetworkState {
    unsent: UnsentResponse,
    status: Arc<StatusResponse>,
    peers: PeersResponse,
    members: MembersResponse,
    history: MembersHistoryResponse,
    spaces: SpacesResponse,
    invites: InvitesResponse,
}

async fn find(office: &Office, before: Option<&str>) -> Result<NetworkState, Refused> {
    let status = office.status().await?;
    let history = match status.network {
        Some(_) => {
            let query = [("limit", Some(STEPS)), ("before", before)];
            office.ask.get(&path_with("/v1/members/history", &query)).await?
        }
        None => MembersHistoryResponse { steps: Vec::new(), step_count: 0, next: None },
    };
    Ok(NetworkState {
        unsent: offices::unsent(office, &status).await?,
        peers: office.ask.get("/v1/peers").await?,
        members: office.ask.get("/v1/members").await?,
        spaces: office.ask.get("/v1/spaces").await?,
        invites: office.ask.get("/v1/invites").await?,
        status,
        history,
    })
}

async fn show(State(office): State<Arc<Office>>, viewer: Viewer, uri: axum::http::Uri) -> Response {
    let asked = Fields::of_query(&uri);
    let found = match find(&office, asked.given("before")).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Network, &refused),
    };
    let (t, clock) = (viewer.t, Clock::new(office.zone()));
    let content = html! {
        @if viewer.may_change() {
            div.actions { (layout::button_of(&viewer, "/network/sync", &[], html! { button.primary type="submit" { (t.sync_now) } })) }
        }
        (layout::live_part("network", "/network", html! {
            h2 #lines { (t.lines) }
            (lines(t, &found, &clock))
            h2 #members { (t.members) }
            (members(t, &found, &clock))
            h2 #disk { (t.this_office) }
            (disk(t, &found.status))
            @if !found.spaces.spaces.is_empty() { h2 #spaces { (t.spaces) } (spaces(t, &found.spaces.spaces)) }
        }))
        (traffic(t, &found.peers.traffic, &clock))
        h2 #history { (t.members_history) }
        (history(t, &found.history, &clock))
        @if viewer.may_change() {
            (ticket::form(&viewer))
            (ticket::open(&viewer, &found.invites, &clock))
            (stick::forms(&viewer, &found.status))
            (backup::form(&office, &viewer))
        }
    };
    let view = View {
        place: Place::Network,
        title: t.network.to_owned(),
        command: "branchline peers; branchline members --history; branchline sync".to_owned(),
        content,
    };
    layout::page(&office, &viewer, view)
}

fn lines(t: &Texts, found: &NetworkState, clock: &Clock) -> Markup {
    let peers = &found.peers.peers;
    if peers.is_empty() {
        return html! { p.empty { (t.no_lines) } };
    }
    let more = peers.len().saturating_sub(ROWS_MAX);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.lines) {
            table {
                caption { (shown::counted(t, t.lines_n, peers.len() as u64)) @if more > 0 { ", " (shown::counted(t, t.first_shown, ROWS_MAX as u64)) } }
                thead { tr { th scope="col" { (t.office) } th scope="col" { (t.line) } th.n scope="col" { (t.not_confirmed_short) } th.n scope="col" { (t.lag) } th.n scope="col" { (t.received) } th.n scope="col" title=(t.without_gossip) { (t.sent) } th.n scope="col" { (t.round_trip) } th scope="col" { (t.last_heard) } th scope="col" { (t.version) } th scope="col" { (t.address) } } }
                tbody { @for peer in peers.iter().take(ROWS_MAX) { (line(t, peer, found, clock)) } }
            }
        }
        p.hint { (t.bytes_since_start) " " (t.without_gossip) }
        (layout::command("branchline peers; branchline unsent"))
    }
}

fn line(t: &Texts, peer: &PeerResponse, found: &NetworkState, clock: &Clock) -> Markup {
    let address = peer.address.as_deref().or(peer.known_addresses.first().map(String::as_str));
    let site = found.status.sites.iter().find(|site| site.site == peer.site);
    let unsent = found.unsent.sites.iter().find(|unsent| unsent.site == peer.site);
    html! {
        tr {
            td { (shown::name(peer.name.as_deref().unwrap_or(&peer.site))) }
            td {
                @if peer.connected { span.state.good { (t.connected) } }
                @else {
                    span.state.bad { (t.line_down) }
                    @if let Some(error) = &peer.dial_error { " " span.soft { (shown::text(error)) " (" (shown::counted(t, t.tries_n, u64::from(peer.dial_failures))) ")" } }
                }
            }
            td.n { (not_confirmed(t, site, unsent)) }
            td.n { @match unsent.and_then(|unsent| unsent.count.since.as_deref()) { Some(since) => (clock.ago(t, since)), None => span.none { "–" } } }
            td.n { (shown::bytes(peer.received_bytes)) }
            td.n { (shown::bytes(peer.sent_bytes)) }
            td.n { @match peer.round_trip_ms { Some(ms) => { (format!("{ms:.1} ms")) }, None => span.none { "–" } } }
            td { (clock.time_or_none(site.and_then(|site| site.last_heard.as_deref()))) }
            td { @match &peer.version { Some(version) => (shown::name(version)), None => span.none { (t.not_known) } } }
            td { code { (shown::name(address.unwrap_or("–"))) } }
        }
    }
}

/// What all lines carried, by hour, the present one first, each beside the busiest.
fn traffic(t: &Texts, hours: &[TrafficResponse], clock: &Clock) -> Markup {
    let of = |hour: &TrafficResponse| hour.received_bytes.saturating_add(hour.sent_bytes);
    let busiest = hours.iter().map(of).max().unwrap_or_default();
    if busiest == 0 {
        return html! {};
    }
    html! {
        details #traffic {
            summary { (t.traffic_by_hour) }
            div.scroll tabindex="0" role="region" aria-label=(t.traffic_by_hour) {
                table {
                    caption { (t.traffic_is) }
                    thead { tr { th scope="col" { (t.hour) } th.n scope="col" { (t.received) } th.n scope="col" { (t.sent) } th scope="col" { (t.beside_the_busiest) } } }
                    tbody {
                        @for hour in hours.iter().rev() {
                            @let share = of(hour).saturating_mul(100) / busiest;
                            tr {
                                td { (clock.time(&hour.hour)) }
                                td.n { (shown::bytes(hour.received_bytes)) }
                                td.n { (shown::bytes(hour.sent_bytes)) }
                                td { meter min="0" max="100" value=(share) aria-label=(t.beside_the_busiest) { (share) " %" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a site has not confirmed leads to its list.
fn not_confirmed(t: &Texts, site: Option<&SiteResponse>, unsent: Option<&UnsentSite>) -> Markup {
    let Some((site, lag)) = site.and_then(|site| Some((site, site.lag_entries?))) else {
        return html! { span.none { (t.not_known) } };
    };
    if lag == 0 {
        return html! { "0" };
    }
    let bytes = unsent.map(|unsent| &unsent.count).filter(|count| !count.has_more_records);
    html! {
        a href=(format!("/why?site={}", encoded(&site.name))) { (shown::counted(t, t.entries_n, lag)) }
        @if let Some(count) = bytes { ", " (shown::bytes(count.bytes)) }
    }
}

fn members(t: &Texts, found: &NetworkState, clock: &Clock) -> Markup {
    let MembersResponse { members, revoked, disputed, .. } = &found.members;
    let site_of = |id: &str| found.status.sites.iter().find(|site| site.site == id);
    let more = members.len().saturating_sub(ROWS_MAX);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.members) {
            table {
                caption {
                    (shown::counted(t, t.members_n, members.len() as u64)) @if more > 0 { ", " (shown::counted(t, t.first_shown, ROWS_MAX as u64)) }
                    @if !revoked.is_empty() { ", " (shown::counted(t, t.shut_out_n, revoked.len() as u64)) }
                }
                thead { tr { th scope="col" { (t.office) } th scope="col" { (t.role) } th scope="col" { (t.last_receipt) } th.n scope="col" { (t.added_today) } th.n scope="col" { (t.added) } th scope="col" { (t.id) } } }
                tbody {
                    @for member in members.iter().take(ROWS_MAX) {
                        tr {
                            td { (shown::name(&member.name)) @if member.this_site { " · " (t.this_office) } }
                            td { (t.word_of_role(&member.role)) }
                            td { (clock.time_or_none(site_of(&member.site).and_then(|site| site.last_receipt.as_deref()))) }
                            (added(member.added))
                            td { code { (shown::name(&member.site)) } }
                        }
                    }
                    @for site in disputed.iter().take(ROWS_MAX) {
                        tr {
                            td { (shown::name(&site.name)) }
                            td.bad { (say(t.disputed_through, &[&branchline_node::visible::one_line(&site.through)])) }
                            td { span.none { "–" } }
                            td.n { span.none { "–" } }
                            td.n { span.none { "–" } }
                            td { code { (shown::name(&site.site)) } }
                        }
                    }
                    @for gone in revoked.iter().take(ROWS_MAX) {
                        tr {
                            td { s { (shown::name(&gone.name)) } }
                            td { a.bad href="#history" { (say(t.shut_out_by, &[&branchline_node::visible::one_line(&gone.by)])) } }
                            td { span.none { "–" } }
                            (added(gone.added))
                            td { code { (shown::name(&gone.site)) } }
                        }
                    }
                }
            }
        }
    }
}

/// How much a site has added, today and since it is counted.
fn added(added: AddedResponse) -> Markup {
    html! {
        td.n { (shown::bytes(added.bytes_today)) }
        td.n { (shown::bytes(added.bytes)) }
    }
}

fn disk(t: &Texts, status: &StatusResponse) -> Markup {
    html! {
        dl.pair {
            dt { (t.version) } dd { "Branchline " (env!("CARGO_PKG_VERSION")) }
            dt { (t.id) } dd { code { (status.site) } }
            dt { (t.listens_at) } dd { @if status.listening.is_empty() { (t.nowhere) } @for address in &status.listening { code { (address) } " " } }
            dt { (t.journal) } dd { (shown::bytes(status.journal_bytes)) ", " (shown::counted(t, t.entries_n, status.entries)) }
            dt { (t.tables_on_disk) } dd { (shown::bytes(status.tables_bytes)) }
            dt { (t.room) } dd { @match status.disk_free_bytes { Some(free) => (shown::bytes(free)), None => (t.not_known) } }
            dt { (t.kept_for_own) } dd { (shown::bytes(status.disk_reserve_own_bytes)) @if status.held_back_since.is_some() { ", " a.bad href="/why#findings" { (t.why_held_back) } } }
            dt { (t.damaged) } dd { @if status.damaged_frames > 0 { a.bad href="/why?reason=damaged" { (shown::number(t, status.damaged_frames)) } } @else { "0" } }
        }
    }
}

fn spaces(t: &Texts, spaces: &[SpaceResponse]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { (shown::counted(t, t.spaces_n, spaces.len() as u64)) }
                thead { tr { th scope="col" { (t.space) } th scope="col" { (t.role) } th.n scope="col" { (t.records) } th scope="col" { (t.members) } } }
                tbody {
                    @for space in spaces {
                        @let records = path_with("/records", &[("space", Some(&space.name))]);
                        tr {
                            td { a href=(records) { (shown::name(&space.name)) } }
                            td { (space.role.as_deref().map_or("–", |role| t.word_of_role(role))) }
                            td.n { a href=(records) { (shown::number(t, space.records)) } }
                            td { (space.sites.len()) ": " @for (number, site) in space.sites.iter().take(NAMED_MAX).enumerate() { @if number > 0 { ", " } (shown::name(&site.name)) } @if space.sites.len() > NAMED_MAX { ", …" } }
                        }
                    }
                }
            }
        }
        (layout::command("branchline space list; branchline space show SPACE"))
    }
}

fn history(t: &Texts, history: &MembersHistoryResponse, clock: &Clock) -> Markup {
    let shown_steps = history.steps.len() as u64;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.members_history) {
            table {
                caption { (say(t.shown_of_changes, &[&shown::number(t, shown_steps), &shown::counted(t, t.steps_n, history.step_count)])) }
                thead { tr { th scope="col" { (t.when) } th scope="col" { (t.what_changed) } th scope="col" { (t.office) } th scope="col" { (t.by) } } }
                tbody { @for step in history.steps.iter().rev() { (member_step(t, step, clock)) } }
            }
        }
        @if let Some(next) = history.next { p { a href=(format!("/network?before={next}#history")) { (t.show_earlier) } } }
    }
}

fn member_step(t: &Texts, step: &MemberStep, clock: &Clock) -> Markup {
    let what = match step.what.as_str() {
        "founded" => t.step_founded,
        "admitted" => t.step_admitted,
        "role_changed" => t.step_role_changed,
        "renamed" => t.step_renamed,
        "key_replaced" => t.step_key_replaced,
        "revoked" => t.step_revoked,
        "left" => t.step_left,
        other => other,
    };
    html! {
        tr {
            td { (clock.time_or_none(step.time.as_deref())) }
            td {
                (what)
                @if let Some(role) = &step.role { ": " (shown::name(t.word_of_role(role))) }
                @if let Some(name) = &step.name { ": " (shown::name(name)) }
                @if !step.counts { " " span.soft { "(" (t.step_without_effect) ")" } }
            }
            td { (shown::name(&step.site_name)) }
            td { (shown::name(&step.by_name)) }
        }
    }
}

async fn sync(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Write(_): Write<Fields>,
) -> Response {
    let t = viewer.t;
    let request = SyncRequest { timeout_seconds: Some(SYNC_SECONDS), ..SyncRequest::default() };
    let synced: Result<SyncResponse, Refused> = office.ask.post("/v1/sync", &request).await;
    match synced {
        Ok(synced) => {
            let (pulled, pushed) =
                (shown::number(t, synced.pulled), shown::number(t, synced.pushed));
            let mut text = say(t.synced, &[&pulled, &pushed]);
            for error in &synced.errors {
                text += &format!("; {error}");
            }
            office.notices.done(&viewer, text, None);
        }
        Err(refused) => office.notices.failed(&viewer, &refused),
    }
    Redirect::to("/network").into_response()
}
