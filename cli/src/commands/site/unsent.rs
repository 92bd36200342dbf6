//! `unsent`: what other sites have not confirmed yet.

use branchline_node::api::{UnsentCount, UnsentResponse, UnsentSite};

use super::status::size;
use crate::Context;
use crate::client::query;
use crate::error::CliError;
use crate::output::{self, visible};

/// Shows what a site, or each one, has not confirmed of what is held here.
pub(crate) async fn unsent(context: &Context, site: Option<&str>) -> Result<(), CliError> {
    let query = query(&[("site", site)]);
    let answer: UnsentResponse = context.client.get(&format!("/v1/unsent{query}")).await?;
    if context.json {
        return output::json(&answer);
    }
    if answer.sites.is_empty() {
        return output::line("there is no other site to send anything to");
    }
    let mut rows: Vec<_> = answer.sites.iter().map(site_row).collect();
    if answer.sites.len() > 1 {
        rows.push(row("held nowhere else", &answer.only_here));
    }
    output::table(["SITE", "NOT CONFIRMED", "OF OURS", "RECORDS", "BYTES", "SINCE"], rows)?;
    for site in &answer.sites {
        let name = visible(&site.site_name);
        if site.entries_unlisted > 0 {
            output::note(format_args!(
                "of {} more the receipt of {name} does not say, since it names the logs that went on last",
                output::counted_entries(site.entries_unlisted)
            ));
        }
        if site.receipt.is_none() {
            output::note(format_args!("{name} has never said what it holds"));
        }
    }
    Ok(())
}

fn site_row(site: &UnsentSite) -> [String; 6] {
    row(&visible(&site.site_name), &site.count)
}

fn row(name: &str, count: &UnsentCount) -> [String; 6] {
    let entries = match count.entries {
        0 => "nothing".to_owned(),
        entries => output::counted_entries(entries),
    };
    let more = if count.has_more_records { " or more" } else { "" };
    let schemas = match count.schemas {
        0 => String::new(),
        schemas => format!(" and {}", output::counted(schemas, "schema")),
    };
    let since = count.since.clone().unwrap_or_default();
    let (own, records) = (count.entries_own.to_string(), count.records);
    [name.to_owned(), entries, own, format!("{records}{more}{schemas}"), size(count.bytes), since]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_confirmed_is_told_in_figures_and_words() {
        let count = UnsentCount {
            entries: 3,
            entries_own: 2,
            records: 5,
            by_collection: [("sales".to_owned(), 5)].into(),
            schemas: 1,
            has_more_records: true,
            bytes: 1500,
            since: Some("2026-11-20T12:00:00.000Z".to_owned()),
        };
        let reported = ["3 entries", "2", "5 or more and 1 schema", "1500 B"];
        assert_eq!(row("head", &count)[1..5], reported);
        let nothing = UnsentCount::default();
        assert_eq!(row("head", &nothing)[1..], ["nothing", "0", "0", "0 B", ""]);
    }
}
