//! One bridge: its tables, what is set aside of them, what it would install, and what differs.

use axum::response::Response;
use branchline_connect::api::{
    BridgeResponse, BridgeTableResponse, SetAsideItem, SetAsideResponse, VerifiedResponse,
    VerifiedTable, VerifyRequest,
};
use maud::{Markup, html};
use serde::Deserialize;

use super::parts::{ASIDE_MAX, buttons, requeue, space_in_path, state_line};
use super::{ConnectorKind, class_of};
use crate::ask::{Refused, encoded, path_with};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::Texts;
use crate::views::records::record_path;

/// What is shown of a bridge's plan: `branchline bridge plan` says all.
#[derive(Deserialize)]
struct Plan {
    refusals: Vec<String>,
    warnings: Vec<String>,
    install: Vec<String>,
}

pub(super) async fn show(
    office: &Office,
    viewer: &Viewer,
    name: &str,
    clock: &Clock,
) -> Result<Markup, Refused> {
    let t = viewer.t;
    let bridge: BridgeResponse = office.ask.get(&ConnectorKind::Bridge.api(name, "")).await?;
    let aside: Result<SetAsideResponse, _> =
        office.ask.get(&ConnectorKind::Bridge.api(name, "/errors")).await;
    let more = [("plan", t.plan), ("compare", t.compare)];
    Ok(html! {
        (state_line(t, &bridge.state, bridge.reason.as_deref(), bridge.since.as_deref(), clock))
        p.soft { (bridge.database) " · " (shown::counted(t, t.waiting_n, bridge.notes_waiting)) @if let Some(since) = &bridge.notes_since { ", " (t.since) " " (clock.time(since)) } }
        (buttons(viewer, ConnectorKind::Bridge, name, &bridge.state, &more))
        h2 #tables { (t.tables) }
        (tables(t, &bridge, clock))
        h2 #aside { (t.set_aside) }
        @match &aside {
            Err(refused) => (layout::error(refused)),
            Ok(aside) if aside.errors.is_empty() => p.empty { (t.nothing_aside) },
            Ok(aside) => {
                (requeue(viewer, ConnectorKind::Bridge, name, None))
                (list(viewer, &bridge, aside, clock))
            }
        }
    })
}

fn tables(t: &Texts, bridge: &BridgeResponse, clock: &Clock) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.tables) {
            table {
                caption { (shown::counted(t, t.tables_n, bridge.tables.len() as u64)) }
                thead { tr { th scope="col" { (t.table) } th scope="col" { (t.collection) } th scope="col" { (t.state) } th.n scope="col" { (t.rows_in) } th.n scope="col" { (t.rows_out) } th.n scope="col" { (t.waiting) } th.n scope="col" { (t.not_confirmed_short) } th.n scope="col" { (t.set_aside) } th scope="col" { (t.blind_since) } } }
                tbody { @for table in &bridge.tables { (row(t, bridge, table, clock)) } }
            }
        }
    }
}

fn row(t: &Texts, bridge: &BridgeResponse, table: &BridgeTableResponse, clock: &Clock) -> Markup {
    let records = format!("/records/{}", encoded(&table.collection));
    let records = path_with(&records, &[("space", space_in_path(&bridge.space))]);
    html! {
        tr {
            td { (shown::name(&table.table)) }
            td { a href=(records) { (shown::name(&table.collection)) } }
            td {
                span.state.(class_of(&table.state, table.set_aside)) { (t.word_of_state(&table.state)) }
                @if let Some(reason) = &table.reason { " " (shown::text(reason)) }
                @if let Some(since) = &table.since { ", " (t.since) " " (clock.time(since)) }
            }
            td.n { (shown::number(t, table.rows_in)) }
            td.n { (shown::number(t, table.rows_out)) }
            td.n { (shown::number(t, table.waiting)) }
            td.n {
                (shown::number(t, table.unacknowledged))
                @if let Some(since) = &table.unacknowledged_since { ", " (t.since) " " (clock.time(since)) }
            }
            td.n { @if table.set_aside > 0 { a.warn href="#aside" { (shown::number(t, table.set_aside)) } } @else { "0" } }
            td.bad { (clock.time_or_none(table.blind_since.as_deref())) }
        }
    }
}

fn list(
    viewer: &Viewer,
    bridge: &BridgeResponse,
    aside: &SetAsideResponse,
    clock: &Clock,
) -> Markup {
    let t = viewer.t;
    let shown_items = aside.errors.len().min(ASIDE_MAX) as u64;
    // The bridge counts now and then.
    let counted_items: u64 = bridge.tables.iter().map(|table| table.set_aside).sum();
    let all = counted_items.max(aside.errors.len() as u64);
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.set_aside) {
            table {
                caption { (shown::counted(t, t.set_aside_n, all)) @if all > shown_items { ", " (shown::counted(t, t.first_shown, shown_items)) } }
                thead { tr { th scope="col" { (t.table) } th scope="col" { (t.row) } th scope="col" { (t.error) } th scope="col" { (t.since) } th.n scope="col" { (t.tries) } @if viewer.may_change() { th scope="col" { (t.requeue) } } } }
                tbody { @for item in aside.errors.iter().take(ASIDE_MAX) { (item_row(viewer, bridge, item, clock)) } }
            }
        }
    }
}

fn item_row(
    viewer: &Viewer,
    bridge: &BridgeResponse,
    item: &SetAsideItem,
    clock: &Clock,
) -> Markup {
    let t = viewer.t;
    let table = item.table.as_deref();
    let of_table = bridge.tables.iter().find(|found| Some(found.table.as_str()) == table);
    // What was on its way to the database is called by the record.
    let record = of_table.filter(|_| item.direction == "apply");
    let record = record
        .map(|found| record_path(&found.collection, &item.name, space_in_path(&bridge.space)));
    html! {
        tr {
            td { (shown::name(table.unwrap_or("–"))) }
            td { @match record { Some(path) => a href=(path) { (shown::name(&item.name)) }, None => (shown::name(&item.name)) } }
            td {
                (shown::text(&item.message)) @if !item.code.is_empty() { " (" (item.code) ")" }
                @if let (Some(column), Some(value)) = (&item.column, &item.value) { br; span.soft { (shown::name(column)) ": " (shown::text(value)) } }
            }
            td { (clock.time_or_none(item.since.as_deref())) }
            td.n { (shown::number(t, item.tries)) }
            @if viewer.may_change() { td { (requeue(viewer, ConnectorKind::Bridge, &bridge.name, Some(&item.number.to_string()))) } }
        }
    }
}

/// What a bridge would install: looked at, and nothing is changed.
pub(super) async fn plan(office: &Office, viewer: &Viewer, name: &str) -> Response {
    let t = viewer.t;
    let plan: Plan = match office.ask.get(&ConnectorKind::Bridge.api(name, "/plan")).await {
        Ok(plan) => plan,
        Err(refused) => return layout::failed(office, viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href=(ConnectorKind::Bridge.path(name)) { (shown::name(name)) } }
        @for refusal in &plan.refusals { p.notice.bad { (shown::text(refusal)) } }
        @for warning in &plan.warnings { p.notice.warn { (shown::text(warning)) } }
        @if plan.refusals.is_empty() { p { (shown::counted(t, t.statements_n, plan.install.len() as u64)) } }
        @for statement in &plan.install { pre.command tabindex="0" { code { (shown::lines(statement)) } } }
    };
    let command = format!("branchline bridge plan {}", layout::quoted(name));
    let title = t.plan.to_owned();
    layout::page(office, viewer, View { place: Place::Jobs, title, command, content })
}

/// What differs between tables and collections: looked at, and nothing is changed.
pub(super) async fn compare(office: &Office, viewer: &Viewer, name: &str) -> Response {
    let request = VerifyRequest::default();
    let found = office.ask.post(&ConnectorKind::Bridge.api(name, "/verify"), &request).await;
    let VerifiedResponse { tables } = match found {
        Ok(found) => found,
        Err(refused) => return layout::failed(office, viewer, Place::Jobs, &refused),
    };
    let content = html! {
        p.crumbs { a href=(ConnectorKind::Bridge.path(name)) { (shown::name(name)) } }
        @for table in &tables { (differences(viewer.t, table)) }
    };
    let command = format!("branchline bridge verify {}", layout::quoted(name));
    let title = viewer.t.compare.to_owned();
    layout::page(office, viewer, View { place: Place::Jobs, title, command, content })
}

fn differences(t: &Texts, table: &VerifiedTable) -> Markup {
    let first = table.differences.len() as u64;
    html! {
        h2 { (shown::name(&table.table)) }
        p { (shown::counted(t, t.rows_n, table.rows)) ", " strong { (shown::counted(t, t.differ_n, table.differing)) } }
        @if !table.differences.is_empty() {
            div.scroll tabindex="0" role="region" aria-label=(table.table) {
                table {
                    caption { (shown::counted(t, t.differ_n, table.differing)) @if table.differing > first { ", " (shown::counted(t, t.first_shown, first)) } }
                    thead { tr { th scope="col" { (t.row) } th scope="col" { (t.what_differs) } } }
                    tbody { @for found in &table.differences { tr { td { (shown::name(&found.name)) } td { (shown::text(&found.what)) } } } }
                }
            }
        }
    }
}
