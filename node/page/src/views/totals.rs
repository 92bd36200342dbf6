//! The day's totals, as `[[page.total]]` says. Each is a summary of the records since midnight; where no index leads to
//! those, a large collection is not read through for it.

use branchline_node::api::SummaryResponse;
use maud::{Markup, html};

use super::sums::{self, field};
use crate::ask::{Refused, encoded, path_with};
use crate::config::Total;
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::{counted, say};

/// All of them.
pub(crate) async fn show(office: &Office, viewer: &Viewer, clock: &Clock) -> Markup {
    let config = office.config();
    if config.totals.is_empty() {
        return html! {};
    }
    let t = viewer.t;
    let mut shown = Vec::new();
    for total in &config.totals {
        match sums::is_quick(office, &total.collection, &total.time, None).await {
            Ok(true) => {}
            Ok(false) => {
                let fields = [total.collection.as_str(), total.time.as_str()];
                shown.push((total, Err(say(t.total_needs_index, &fields))));
                continue;
            }
            Err(refused) => {
                shown.push((total, Err(refused.detail.message)));
                continue;
            }
        }
        let found = of_today(office, total, clock).await;
        shown.push((total, found.map_err(|refused| refused.detail.message)));
    }
    html! {
        dl.totals {
            @for (total, found) in &shown {
                div {
                    dt { (say(t.today_in, &[&total.collection])) }
                    @match found {
                        Ok((count, sum, list)) => {
                            dd.big { a href=(list) { @if let Some(sum) = sum { (shown::sum(t, sum)) } @else { (shown::number(t, *count)) } } }
                            dd { (counted(t, t.records_n, *count)) }
                        }
                        Err(reason) => dd.warn { (t.not_known) ": " (shown::text(reason)) },
                    }
                }
            }
        }
    }
}

/// How many records there are since midnight, their sum, and the path of their list.
async fn of_today(
    office: &Office,
    total: &Total,
    clock: &Clock,
) -> Result<(u64, Option<String>, String), Refused> {
    let since = clock.day_begins().map(|day| day.to_string()).unwrap_or_default();
    let filter = format!("{} >= '{since}'", field(&total.time));
    let path = format!("/v1/summary/{}", encoded(&total.collection));
    let sum = total.sum.as_deref().map(field);
    let path = path_with(&path, &[("where", Some(&filter)), ("sum", sum.as_deref())]);
    let summary: SummaryResponse = office.ask.get(&path).await?;
    let group = summary.groups.first();
    let count = group.map_or(0, |group| group.count);
    let sum = total.sum.as_ref().map(|field| {
        let found = group.and_then(|group| group.measures.get("sum")?.get(field));
        found.map_or_else(|| "0".to_owned(), |sum| sum.to_string().trim_matches('"').to_owned())
    });
    let list = format!("/records/{}", encoded(&total.collection));
    Ok((count, sum, path_with(&list, &[("where", Some(&filter))])))
}
