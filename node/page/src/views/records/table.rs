//! A table of the records of one collection: by filter and order, with columns to choose, and totals.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use branchline_node::api::{CountResponse, ListResponse, ListedRecord, SummaryResponse};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::query::{COLUMNS, COLUMNS_MAX, PAGE_RECORDS, RecordQuery};
use super::{choice_of_space, record_path, schema};
use crate::ask::{Refused, encoded, path_with};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};
use crate::views::sums;

/// Groups that are shown; the rest is counted.
const GROUPS_MAX: usize = 500;

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
) -> Response {
    let asked = RecordQuery::of(collection, &uri);
    let t = viewer.t;
    let list: Result<ListResponse, Refused> = office.ask.get(&asked.api_list(PAGE_RECORDS)).await;
    let schema = schema(&office, &asked.collection, asked.space()).await;
    let records = list.as_ref().map(|list| list.records.as_slice()).unwrap_or_default();
    let known = known_fields(schema.keys(), records);
    let columns = if asked.columns.is_empty() {
        known.iter().take(COLUMNS).cloned().collect()
    } else {
        asked.columns.clone()
    };
    let content = html! {
        p.crumbs { a href=(path_with("/records", &[("space", asked.space())])) { (t.records) } }
        (choice_of_space(&office, &viewer, &format!("/records/{}", encoded(&asked.collection)), asked.space()).await)
        (filter(t, &asked, &known, &columns))
        @match &list {
            Err(refused) => (at_its_place(&asked, refused)),
            Ok(list) => {
                (hints(t, list))
                (layout::live_part("table", &asked.path(), html! {
                    (rows(t, &asked, (&columns, &schema), list))
                    (pages(&office, t, &asked, list).await)
                }))
                (actions(&viewer, &asked))
                (totals(&office, &viewer, &asked, &schema).await)
            }
        }
    };
    let view = View {
        place: Place::Records,
        title: asked.collection.clone(),
        command: asked.command(),
        content,
    };
    layout::page(&office, &viewer, view)
}

/// The fields that the schema declares, and those of the records on the page.
fn known_fields<'a>(
    declared: impl Iterator<Item = &'a String>,
    records: &[ListedRecord],
) -> Vec<String> {
    // Of nested fields the whole is shown.
    let mut known: Vec<String> = Vec::new();
    let tops = declared.map(|path| path.split('.').next().unwrap_or(path).to_owned());
    let of_records = records.iter().flat_map(|record| record.fields.keys().cloned());
    let mut seen = BTreeSet::new();
    for name in tops.chain(of_records) {
        if known.len() < COLUMNS_MAX && seen.insert(name.clone()) {
            known.push(name);
        }
    }
    known
}

fn filter(t: &Texts, asked: &RecordQuery, known: &[String], columns: &[String]) -> Markup {
    let path = format!("/records/{}", encoded(&asked.collection));
    html! {
        form.fields method="get" action=(path) role="search" {
            @if let Some(space) = asked.space() { input type="hidden" name="space" value=(space); }
            div.wide {
                label for="where" { (t.filter) }
                input #where.mono name="where" value=[asked.filter.as_deref()] placeholder="price >= 2.50 and shelf in (1, 4)" spellcheck="false" autocapitalize="none" maxlength="8192" aria-describedby="how";
            }
            div {
                label for="order" { (t.order) }
                input #order.mono name="order" value=[asked.order.as_deref()] placeholder="-price, name" spellcheck="false" autocapitalize="none" maxlength="8192";
            }
            button.primary type="submit" { (t.show) }
            @if asked.filter.is_some() || asked.order.is_some() { a href=(path_with(&path, &[("space", asked.space())])) { (t.show_all) } }
            details.wide {
                summary { (t.columns) }
                @for name in known {
                    label.check {
                        input type="checkbox" name="column" value=(name) checked[columns.contains(name)];
                        (shown::name(name))
                    }
                }
            }
            p #how.hint.wide { (t.filter_how) }
        }
    }
}

/// An error, under the place of the filter or order where it is.
fn at_its_place(asked: &RecordQuery, refused: &Refused) -> Markup {
    let place = refused.detail.at.as_ref().and_then(|at| {
        let text = match at.parameter.as_str() {
            "where" => asked.filter.as_deref(),
            "order" => asked.order.as_deref(),
            "by" => asked.by.as_deref(),
            "sum" => asked.sum.as_deref(),
            _ => None,
        }?;
        let before = text.get(..at.offset)?;
        // The mark stands under the place, however what is before it is shown.
        let width = branchline_node::visible::one_line(before).chars().count();
        Some((branchline_node::visible::one_line(text).into_owned(), " ".repeat(width)))
    });
    html! {
        div.notice.bad.at role="alert" {
            p { (shown::text(&refused.detail.message)) }
            @if let Some(hint) = &refused.detail.hint { p.hint { (shown::text(hint)) } }
            @if let Some((text, before)) = place { pre { code { (text) "\n" (before) "^" } } }
        }
    }
}

/// What may be mistyped in a filter.
fn hints(t: &Texts, list: &ListResponse) -> Markup {
    html! {
        @if !list.unknown_fields.is_empty() {
            p.notice.warn { (say(t.unknown_fields, &[&list.unknown_fields.join(", ")])) }
        }
        @for unlike in &list.mismatched_fields {
            p.notice.warn { (say(t.unlike_fields, &[&unlike.field, &unlike.kind, &unlike.compared_with])) }
        }
    }
}

fn rows(
    t: &Texts,
    asked: &RecordQuery,
    (columns, schema): (&[String], &Map<String, Value>),
    list: &ListResponse,
) -> Markup {
    if list.records.is_empty() {
        return html! { p.empty { (if list.truncated { t.none_found_so_far } else { t.none_found }) } };
    }
    let is_number = |column: &str| {
        list.records
            .iter()
            .any(|record| shown::is_number(schema.get(column), record.fields.get(column)))
    };
    let right: Vec<bool> = columns.iter().map(|column| is_number(column)).collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(asked.collection) {
            table {
                thead {
                    tr {
                        th scope="col" { "id" }
                        @for (column, right) in columns.iter().zip(&right) { (heading(asked, column, *right)) }
                    }
                }
                tbody {
                    @for record in &list.records {
                        tr {
                            td { a href=(record_path(&asked.collection, &record.id, asked.space())) { (shown::name(&record.id)) } }
                            @for (column, right) in columns.iter().zip(&right) {
                                td.n[*right] { (shown::cell(record.fields.get(column))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The heading of a column puts the records in order by it, and once more the other way round.
fn heading(asked: &RecordQuery, column: &str, right: bool) -> Markup {
    let field = sums::field(column);
    let down = format!("-{field}");
    let (sort, mark) = match asked.order.as_deref() {
        Some(order) if order == field => (Some("ascending"), " ↑"),
        Some(order) if order == down => (Some("descending"), " ↓"),
        Some(_) | None => (None, ""),
    };
    let next = if sort == Some("ascending") { down } else { field };
    html! {
        th.n[right] scope="col" aria-sort=[sort] {
            a href=(asked.ordered(next).path()) { (shown::name(column)) } (mark)
        }
    }
}

/// How many there are, and the way on.
async fn pages(office: &Office, t: &Texts, asked: &RecordQuery, list: &ListResponse) -> Markup {
    let on_page = shown::counted(t, t.on_this_page, list.records.len() as u64);
    let total = total(office, asked).await;
    let first = RecordQuery { after: None, ..asked.clone() };
    let counting = RecordQuery { is_counted: true, ..asked.clone() };
    html! {
        div.pages {
            span { (on_page) }
            @match &total {
                Some(Ok(total)) => span { strong { (shown::counted(t, t.in_all, *total)) } },
                Some(Err(refused)) => span.warn { (t.total_not_known) ": " (shown::text(&refused.detail.message)) },
                None => span { (t.total_not_known) " · " a href=(counting.path()) { (t.count_them) } },
            }
            @if list.truncated { span { (shown::counted(t, t.looked_at, list.scanned as u64)) } }
            @if asked.after.is_some() { a href=(first.path()) { (t.first_page) } }
            @if let Some(next) = &list.next {
                a href=(RecordQuery { after: Some(next.clone()), ..asked.clone() }.path()) rel="next" { (t.next_page) }
            }
        }
    }
}

/// How many records there are in all: without a filter the node knows, with one they are counted where that is asked for.
async fn total(office: &Office, asked: &RecordQuery) -> Option<Result<u64, Refused>> {
    if asked.filter.is_none() {
        let path = format!("/v1/collections/{}/count", encoded(&asked.collection));
        let path = path_with(&path, &[("space", asked.space())]);
        return Some(office.ask.get(&path).await.map(|count: CountResponse| count.count));
    }
    if !asked.is_counted {
        return None;
    }
    let summary: Result<SummaryResponse, _> = office.ask.get(&sums::path(asked, None, None)).await;
    Some(summary.map(|summary| summary.groups.first().map_or(0, |group| group.count)))
}

fn actions(viewer: &Viewer, asked: &RecordQuery) -> Markup {
    let t = viewer.t;
    let whole = RecordQuery { after: None, ..asked.clone() };
    html! {
        div.actions {
            a.button href=(whole.path_of("/csv")) download { (t.download_csv) }
            @if viewer.may_change() {
                a.button href=(path_with(&format!("/records/{}/new", encoded(&asked.collection)), &[("space", asked.space())])) { (t.new_record) }
            }
        }
    }
}

/// Totals of the same records, by group and by month.
async fn totals(
    office: &Office,
    viewer: &Viewer,
    asked: &RecordQuery,
    schema: &Map<String, Value>,
) -> Markup {
    let t = viewer.t;
    let is_asked = asked.by.is_some() || asked.sum.is_some() || asked.month.is_some();
    html! {
        h2 #totals { (t.totals) }
        form.fields method="get" action=(format!("/records/{}#totals", encoded(&asked.collection))) {
            @for (name, value) in [("space", &asked.space), ("where", &asked.filter), ("order", &asked.order)] {
                @if let Some(value) = value { input type="hidden" name=(name) value=(value); }
            }
            div { label for="by" { (t.group_by) } input #by.mono name="by" value=[asked.by.as_deref()] placeholder="shelf" spellcheck="false" maxlength="8192"; }
            div { label for="sum" { (t.sum_up) } input #sum.mono name="sum" value=[asked.sum.as_deref()] placeholder="price, quantity" spellcheck="false" maxlength="8192"; }
            div { label for="month" { (t.by_month_of) } input #month.mono name="month" value=[asked.month.as_deref()] placeholder="sold_at" spellcheck="false" maxlength="512"; }
            button type="submit" { (t.sum_up_now) }
        }
        @if is_asked {
            @match &asked.month {
                Some(month) => (sums::by_month(office, viewer, asked, month).await),
                None => {
                    @match office.ask.get::<SummaryResponse>(&sums::path(asked, asked.by.as_deref(), asked.sum.as_deref())).await {
                        Ok(summary) => (groups(t, asked, schema, &summary)),
                        Err(refused) => (at_its_place(asked, &refused)),
                    }
                }
            }
        }
    }
}

/// The list of a group's records; `None`: no filter finds them.
fn list_of(
    asked: &RecordQuery,
    schema: &Map<String, Value>,
    by: &Map<String, Value>,
) -> Option<String> {
    let parts: Option<Vec<_>> =
        by.iter().map(|(field, value)| sums::has(field, schema.get(field), value)).collect();
    let parts = parts?;
    if parts.is_empty() {
        Some(RecordQuery { by: None, sum: None, after: None, ..asked.clone() }.path())
    } else {
        Some(asked.only(asked.and(&parts.join(" and "))).path())
    }
}

fn groups(
    t: &Texts,
    asked: &RecordQuery,
    schema: &Map<String, Value>,
    summary: &SummaryResponse,
) -> Markup {
    let Some(first) = summary.groups.first() else { return html! { p.empty { (t.none_found) } } };
    let by: Vec<&String> = first.by.keys().collect();
    let sums: Vec<&String> =
        first.measures.get("sum").into_iter().flat_map(|sums| sums.keys()).collect();
    let left_out: u64 = summary.groups.iter().flat_map(|group| group.skipped.values()).sum();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.totals) {
            table {
                caption { (shown::counted(t, t.groups_n, summary.groups.len() as u64)) ", " (shown::counted(t, t.looked_at, summary.scanned as u64)) }
                thead {
                    tr {
                        @for field in &by { th scope="col" { (shown::name(field)) } }
                        th.n scope="col" { (t.records) }
                        @for field in &sums { th.n scope="col" { "Σ " (shown::name(field)) } }
                    }
                }
                tbody {
                    @for group in summary.groups.iter().take(GROUPS_MAX) {
                        tr {
                            @for field in &by { td { (shown::cell(group.by.get(*field))) } }
                            td.n { a href=[list_of(asked, schema, &group.by)] { (shown::number(t, group.count)) } }
                            @for field in &sums { td.n { (shown::cell(group.measures.get("sum").and_then(|sums| sums.get(*field)).filter(|sum| **sum != Value::Null))) } }
                        }
                    }
                }
            }
        }
        @if summary.groups.len() > GROUPS_MAX { p.hint { (shown::counted(t, t.more_groups, (summary.groups.len() - GROUPS_MAX) as u64)) } }
        @if left_out > 0 { p.hint { (shown::counted(t, t.left_out, left_out)) } }
    }
}
