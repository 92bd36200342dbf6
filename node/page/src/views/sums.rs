//! Summaries of records, asked of the API.

use branchline_node::api::SummaryResponse;
use jiff::ToSpan;
use maud::{Markup, html};
use serde_json::Value;

use super::records::query::RecordQuery;
use crate::ask::{Refused, encoded, path_with};
use crate::layout;
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::say;

/// Months that are summed up, each by a query of its own.
const MONTHS: i64 = 12;
/// Records that are read through where no index leads to those of a month.
const READ_THROUGH_MAX: u64 = 20_000;

/// What means something in a filter, and is a field only in backquotes.
const WORDS: [&str; 11] =
    ["and", "or", "not", "in", "is", "null", "true", "false", "starts", "with", "between"];

/// A field as a filter names it.
pub(super) fn field(path: &str) -> String {
    let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c))
        && path.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_word = WORDS.iter().any(|word| word.eq_ignore_ascii_case(path));
    if is_plain && !is_word { path.to_owned() } else { format!("`{}`", path.replace('`', "``")) }
}

/// A filter for records that have this value of a field, which its collection may declare. `None`: no filter finds them.
pub(super) fn has(path: &str, declared: Option<&Value>, value: &Value) -> Option<String> {
    let field = field(path);
    let is_number = shown::is_number(declared, Some(value));
    match value {
        Value::Null => Some(format!("{field} is null")),
        Value::Bool(value) => Some(format!("{field} = {value}")),
        Value::Number(number) => Some(format!("{field} = {number}")),
        // Decimals are text of digits.
        Value::String(digits) if is_number && is_plain_number(digits) => {
            Some(format!("{field} = {digits}"))
        }
        Value::String(text) => Some(format!("{field} = '{}'", text.replace('\'', "''"))),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_plain_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte))
}

/// Whether records of a collection can be found by a field without all of them being read.
pub(super) async fn is_quick(
    office: &Office,
    collection: &str,
    field: &str,
    space: Option<&str>,
) -> Result<bool, Refused> {
    let path = format!("/v1/collections/{}/count", encoded(collection));
    let path = path_with(&path, &[("space", space)]);
    let count: branchline_node::api::CountResponse = office.ask.get(&path).await?;
    if count.count <= READ_THROUGH_MAX {
        return Ok(true);
    }
    let status = office.status().await?;
    Ok(status.indexes.iter().any(|index| {
        index.collection == collection && index.field == field && index.state == "ready"
    }))
}

/// The path of a summary of what a table shows.
pub(super) fn path(asked: &RecordQuery, by: Option<&str>, sum: Option<&str>) -> String {
    filtered(asked, asked.filter.as_deref(), by, sum)
}

fn filtered(
    asked: &RecordQuery,
    filter: Option<&str>,
    by: Option<&str>,
    sum: Option<&str>,
) -> String {
    let path = format!("/v1/summary/{}", encoded(&asked.collection));
    path_with(&path, &[("space", asked.space()), ("where", filter), ("by", by), ("sum", sum)])
}

/// The last months, the latest first, each with how many records it has and what they come to.
pub(super) async fn by_month(
    office: &Office,
    viewer: &Viewer,
    asked: &RecordQuery,
    time: &str,
) -> Markup {
    let t = viewer.t;
    match is_quick(office, &asked.collection, time, asked.space()).await {
        Ok(true) => {}
        Ok(false) => {
            let text = say(t.total_needs_index, &[&asked.collection, time]);
            return html! { p.notice.warn { (text) } };
        }
        Err(refused) => return layout::error(&refused),
    }
    let months = match months(office, asked, time).await {
        Ok(months) => months,
        Err(refused) => return layout::error(&refused),
    };
    let sums: Vec<String> = months
        .iter()
        .filter_map(|month| month.summary.groups.first()?.measures.get("sum"))
        .next()
        .map(|sums| sums.keys().cloned().collect())
        .unwrap_or_default();
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.totals) {
            table {
                caption { (shown::counted(t, t.months_n, months.len() as u64)) }
                thead { tr { th scope="col" { (t.month) } th.n scope="col" { (t.records) } @for field in &sums { th.n scope="col" { "Σ " (shown::name(field)) } } } }
                tbody {
                    @for Month { name, filter, summary } in &months {
                        @let group = summary.groups.first();
                        tr {
                            td { (name) }
                            td.n { a href=(asked.only(filter.clone()).path()) { (shown::number(t, group.map_or(0, |group| group.count))) } }
                            @for field in &sums { td.n { (shown::cell(group.and_then(|group| group.measures.get("sum")?.get(field)))) } }
                        }
                    }
                }
            }
        }
    }
}

/// What the records of one month come to.
struct Month {
    name: String,
    /// What finds them.
    filter: String,
    summary: SummaryResponse,
}

async fn months(office: &Office, asked: &RecordQuery, time: &str) -> Result<Vec<Month>, Refused> {
    let zone = office.zone();
    let this = jiff::Timestamp::now().to_zoned(zone.clone()).date().first_of_month();
    let mut found = Vec::new();
    for back in 0..MONTHS {
        let begins = this.saturating_sub(back.months());
        let ends = begins.saturating_add(1.months());
        let moment = |date: jiff::civil::Date| {
            date.to_zoned(zone.clone()).map(|day| day.timestamp().to_string()).unwrap_or_default()
        };
        let field = field(time);
        let filter = format!("{field} >= '{}' and {field} < '{}'", moment(begins), moment(ends));
        let filter = asked.and(&filter);
        let path = filtered(asked, Some(&filter), None, asked.sum.as_deref());
        let name = begins.strftime("%Y-%m").to_string();
        found.push(Month { name, filter, summary: office.ask.get(&path).await? });
    }
    Ok(found)
}
