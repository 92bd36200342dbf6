//! The day's totals, as `[[page.total]]` says. Each is a summary of the records since midnight; where no index leads to
//! those, a large collection is not read through for it.
//!
//! All pages that are open ask for them whenever something has changed. What one has asked for serves the others, the longer
//! the longer it took.

use std::sync::Arc;
use std::time::{Duration, Instant};

use branchline_node::api::SummaryResponse;
use jiff::Timestamp;
use maud::{Markup, html};
use tokio::sync::Mutex;

use super::sums::{self, field};
use crate::ask::{Refused, encoded, path_with};
use crate::config::Total;
use crate::live::Version;
use crate::office::Office;
use crate::shown::{self, Clock};
use crate::sign_in::Viewer;
use crate::texts::say;

/// How long they serve where nothing has changed.
const FRESH: Duration = Duration::from_secs(10);
/// Otherwise they serve for so many times what they took: so they keep a tenth of a core busy at most, however many pages
/// are open.
const REST: u32 = 9;

/// The totals that were summed up last.
#[derive(Default)]
pub(crate) struct Totals(Mutex<Option<KeptTotals>>);

struct KeptTotals {
    since: Timestamp,
    totals: Vec<Total>,
    of: Version,
    at: Instant,
    took: Duration,
    found: Arc<Vec<TotalResult>>,
}

/// What became of one.
enum TotalResult {
    Sum {
        records: u64,
        sum: Option<String>,
        /// The path of its records.
        list: String,
    },
    NeedsIndex,
    Refused(String),
}

impl Totals {
    /// Those of a day, asked for once for all who want them at the same time.
    async fn of(
        &self,
        office: &Office,
        totals: &[Total],
        since: Timestamp,
    ) -> Arc<Vec<TotalResult>> {
        let mut kept = self.0.lock().await;
        let (at, of) = (Instant::now(), office.live.version());
        let is_meant = |kept: &&KeptTotals| {
            let age_max = if kept.of == of { FRESH } else { kept.took * REST };
            let is_fresh = at.duration_since(kept.at) < age_max;
            is_fresh && kept.since == since && kept.totals == totals
        };
        if let Some(kept) = kept.as_ref().filter(is_meant) {
            return Arc::clone(&kept.found);
        }
        let mut found = Vec::with_capacity(totals.len());
        for total in totals {
            let sum = sum_up(office, total, since).await;
            found.push(sum.unwrap_or_else(|refused| TotalResult::Refused(refused.detail.message)));
        }
        let (found, took) = (Arc::new(found), at.elapsed());
        let totals = totals.to_vec();
        *kept = Some(KeptTotals { since, totals, of, at, took, found: Arc::clone(&found) });
        found
    }
}

/// All of them.
pub(crate) async fn show(office: &Office, viewer: &Viewer, clock: &Clock) -> Markup {
    let config = office.config();
    let Some(since) = clock.day_begins().filter(|_| !config.totals.is_empty()) else {
        return html! {};
    };
    let t = viewer.t;
    let found = office.totals.of(office, &config.totals, since).await;
    html! {
        dl.totals {
            @for (total, found) in config.totals.iter().zip(found.iter()) {
                div {
                    dt { (say(t.today_in, &[&total.collection])) }
                    @match found {
                        TotalResult::Sum { records, sum, list } => {
                            dd.big { a href=(list) { @if let Some(sum) = sum { (shown::sum(t, sum)) } @else { (shown::number(t, *records)) } } }
                            dd { (shown::counted(t, t.records_n, *records)) }
                        }
                        TotalResult::NeedsIndex => dd.warn { (t.not_known) ": " (say(t.total_needs_index, &[&total.collection, &total.time])) },
                        TotalResult::Refused(reason) => dd.warn { (t.not_known) ": " (shown::text(reason)) },
                    }
                }
            }
        }
    }
}

/// How many records there are since midnight, their sum, and the path of their list.
async fn sum_up(office: &Office, total: &Total, since: Timestamp) -> Result<TotalResult, Refused> {
    if !sums::is_quick(office, &total.collection, &total.time, None).await? {
        return Ok(TotalResult::NeedsIndex);
    }
    let filter = format!("{} >= '{since}'", field(&total.time));
    let path = format!("/v1/summary/{}", encoded(&total.collection));
    let sum = total.sum.as_deref().map(field);
    let path = path_with(&path, &[("where", Some(&filter)), ("sum", sum.as_deref())]);
    let summary: SummaryResponse = office.ask.get(&path).await?;
    let group = summary.groups.first();
    let records = group.map_or(0, |group| group.count);
    let sum = total.sum.as_ref().map(|field| {
        let found = group.and_then(|group| group.measures.get("sum")?.get(field));
        found.map_or_else(|| "0".to_owned(), |sum| sum.to_string().trim_matches('"').to_owned())
    });
    let list = format!("/records/{}", encoded(&total.collection));
    Ok(TotalResult::Sum { records, sum, list: path_with(&list, &[("where", Some(&filter))]) })
}
