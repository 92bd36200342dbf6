//! `status` and `digest`.

use branchline_node::api::{
    CopiesResponse, DigestResponse, DivergenceResponse, IndexResponse, SiteResponse,
    StatusResponse, WhyResponse,
};
use branchline_node::extension::Finding;
use jiff::{SignedDuration, Timestamp};

use crate::Context;
use crate::client::query;
use crate::error::CliError;
use crate::output::{self, counted};

/// Shows the site, its storage, and who holds what.
pub(crate) async fn status(context: &Context) -> Result<(), CliError> {
    let status: StatusResponse = context.client.get("/v1/status").await?;
    if context.json {
        return output::json(&status);
    }
    output::rows(summary(&status, context))?;
    if !status.sites.is_empty() {
        output::line("")?;
        let now = Timestamp::now();
        let row = |site| site_row(site, &status, now);
        output::table(
            ["NAME", "ROLE", "LINK", "LACKS", "CONFIRMED OF OURS", "AHEAD BY", "LAST HEARD FROM"],
            status.sites.iter().map(row).collect(),
        )?;
    }
    if !status.findings.is_empty() {
        output::line("")?;
        status.findings.iter().try_for_each(show_finding)?;
    }
    Ok(())
}

fn show_finding(finding: &Finding) -> Result<(), CliError> {
    output::line(format_args!("{}: {}", finding.severity.as_str(), finding_told(finding)))?;
    match &finding.hint {
        Some(hint) => output::line(format_args!("  hint: {}", output::visible(hint))),
        None => Ok(()),
    }
}

/// What a person should know, without what to do about it.
pub(super) fn finding_told(finding: &Finding) -> String {
    let Finding { about, what, since, .. } = finding;
    let since = since.as_ref().map_or(String::new(), |since| format!(", since {since}"));
    output::visible(&format!("{about}: {what}{since}"))
}

/// Shows what is not in step.
pub(crate) async fn why(context: &Context) -> Result<(), CliError> {
    let answer: WhyResponse = context.client.get("/v1/status/why").await?;
    if context.json {
        return output::json(&answer);
    }
    let WhyResponse { in_sync, causes, partial } = answer;
    for collection in partial {
        output::note(format_args!(
            "{collection} is large, only its first records were held against its schema; \
             `branchline schema check {collection}` looks at all"
        ));
    }
    if in_sync {
        return output::line("all in step");
    }
    for (number, cause) in causes.iter().enumerate() {
        if number > 0 {
            output::line("")?;
        }
        show_cause(cause)?;
    }
    Ok(())
}

fn show_cause(cause: &DivergenceResponse) -> Result<(), CliError> {
    let DivergenceResponse { reason, site_name, entries, first_entry, records, detail, .. } = cause;
    let reason = reason.replace('_', " ");
    let count = match entries {
        0 => String::new(),
        1 => " 1 entry".to_owned(),
        number => format!(" {number} entries"),
    };
    let since = first_entry.as_ref().map(|first| format!(", the first {first}"));
    let site = output::visible(site_name);
    let (since, detail) = (since.unwrap_or_default(), output::visible(detail));
    output::line(format_args!("{site}: {reason}{count}{since}: {detail}"))?;
    for record in records {
        output::line(format_args!("  {}", output::visible(record)))?;
    }
    let more = cause.record_count.saturating_sub(records.len() as u64);
    match (more, cause.has_more_records) {
        (0, false) => Ok(()),
        (0, true) => output::line("  and perhaps more records"),
        (more, false) => output::line(format_args!("  and {}", counted(more, "more record"))),
        (more, true) => {
            output::line(format_args!("  and at least {}", counted(more, "more record")))
        }
    }
}

fn summary(status: &StatusResponse, context: &Context) -> Vec<[String; 2]> {
    let network = match (&status.network, status.member) {
        (None, _) => "none yet: `branchline join FILE`".to_owned(),
        (Some(network), _) if status.revoked_by.is_some() => format!("{network}, revoked"),
        (Some(network), true) => network.clone(),
        (Some(network), false) => format!("{network}, not admitted yet"),
    };
    let node = match context.client.port() {
        Some(api) => format!("running, API http://{api}"),
        None if context.client.is_running() => "running".to_owned(),
        None => "not running".to_owned(),
    };
    let conflicts = match status.conflicts {
        0 => String::new(),
        number => format!(" ({number} with conflicts: `branchline conflicts`)"),
    };
    let (journal, tables) = (size(status.journal_bytes), size(status.tables_bytes));
    let mut rows = [
        ["site", &format!("{} ({})", status.name, status.site)],
        ["network", &network],
        ["role", status.role.as_deref().unwrap_or("none")],
        ["node", &node],
        ["listening", &status.listening.join(" ")],
        ["records", &format!("{}{conflicts}", status.records)],
        ["spaces", &status.spaces.join(" ")],
        ["digest", &status.digest],
        ["entries", &format!("{}, of them ours {}", status.entries, status.own_entries)],
        ["disk", &format!("{journal} journal, {tables} tables")],
    ]
    .map(|row| row.map(str::to_owned))
    .to_vec();
    rows.retain(|[_, value]| !value.is_empty());
    let mut add = |name: &str, value: String| rows.push([name.to_owned(), value]);
    let standing = &status.standing;
    if let Some(reason) = standing.reason.as_ref().filter(|_| standing.state != "no_network") {
        add(&standing.state.replace('_', " "), output::visible(reason));
        if let Some(hint) = &standing.hint {
            add("", format!("hint: {hint}"));
        }
    }
    for copies in &status.copies {
        add("copies", copies_told(copies));
    }
    if status.entries_unapplied > 0 {
        let number = status.entries_unapplied;
        add("held", format!("{number} entries need a newer program to be read"));
    }
    if status.entries_lost > 0 {
        let number = status.entries_lost;
        add(
            "lost",
            format!(
                "entries damaged here: {number}; a peer gives them back, or else: `branchline rebuild`"
            ),
        );
    }
    if let Some(reason) = &status.writes_refused {
        add("writes", format!("refused: {reason}"));
    }
    if status.damaged_frames > 0 {
        let frames = counted(status.damaged_frames, "damaged journal frame");
        add("damaged", format!("{frames}: `branchline verify`"));
    }
    for index in status.indexes.iter().filter(|index| index.state != "ready") {
        let IndexResponse { collection, field, state, records_built } = index;
        let built = match records_built {
            0 => String::new(),
            _ => format!(", {} so far", counted(*records_built, "record")),
        };
        add("index", format!("{collection} by {field}: {state}{built}"));
    }
    rows
}

/// That two copies of a site run, and where.
pub(super) fn copies_told(copies: &CopiesResponse) -> String {
    let name = output::visible(&copies.site_name);
    let (since, places) = (copies.since.as_deref().unwrap_or("lately"), &copies.addresses);
    let at = if places.is_empty() { "" } else { ", at " };
    let places = format!("{at}{}", output::visible(&places.join(" and ")));
    format!(
        "two copies of {name} are running since {since}{places}: stop one of them, and give it a folder of its own"
    )
}

pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        ..10_240 => format!("{bytes} B"),
        10_240..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn site_row(site: &SiteResponse, status: &StatusResponse, now: Timestamp) -> [String; 7] {
    let is_own = site.site == status.site;
    let link = match (is_own, site.connected) {
        (true, _) => "this site",
        (false, true) => "connected",
        (false, false) => "not connected",
    };
    let lag = match site.lag_entries {
        None => "not confirmed".to_owned(),
        Some(0) => "nothing".to_owned(),
        Some(number) => format!("{} not confirmed", output::counted_entries(number)),
    };
    let ahead = match site.ahead_entries {
        None => "unknown".to_owned(),
        Some(0) => "nothing".to_owned(),
        Some(number) => output::counted_entries(number),
    };
    let of_ours = match site.lag_own_entries {
        None => "none".to_owned(),
        Some(lag) => {
            let own = status.own_entries;
            format!("{} of {own}", own.saturating_sub(lag))
        }
    };
    let heard = site.last_heard.as_deref();
    let others = if is_own {
        ["", "", "", ""].map(str::to_owned)
    } else {
        let heard = heard.map_or("never".to_owned(), |heard| age(heard, now));
        [lag, of_ours, ahead, heard]
    };
    let [lag, of_ours, ahead, heard] = others;
    [site.name.clone(), site.role.clone(), link.to_owned(), lag, of_ours, ahead, heard]
}

/// How long ago a moment was, by this machine's clock.
fn age(moment: &str, now: Timestamp) -> String {
    let Ok(moment) = moment.parse::<Timestamp>() else { return moment.to_owned() };
    let age = now.duration_since(moment).max(SignedDuration::ZERO);
    let (seconds, minutes, hours) = (age.as_secs(), age.as_mins(), age.as_hours());
    match (seconds, minutes, hours) {
        (..=1, _, _) => "just now".to_owned(),
        (..120, _, _) => format!("{seconds} s ago"),
        (_, ..120, _) => format!("{minutes} min ago"),
        (_, _, ..48) => format!("{hours} h ago"),
        (_, _, _) => format!("{} days ago", hours / 24),
    }
}

/// Prints a digest.
pub(crate) async fn digest(context: &Context, collection: Option<String>) -> Result<(), CliError> {
    let query = query(&[("collection", collection.as_deref())]);
    let answer: DigestResponse = context.client.get(&format!("/v1/digest{query}")).await?;
    if context.json { output::json(&answer) } else { output::line(answer.digest) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_at_a_glance() {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        for (moment, expected) in [
            ("2026-11-20T12:00:05Z", "just now"),
            ("2026-11-20T11:59:00Z", "60 s ago"),
            ("2026-11-20T11:30:00Z", "30 min ago"),
            ("2026-11-19T12:00:00Z", "24 h ago"),
            ("2026-11-13T12:00:00Z", "7 days ago"),
        ] {
            assert_eq!(age(moment, now), expected);
        }
    }
}
