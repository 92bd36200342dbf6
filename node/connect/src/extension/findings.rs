//! What a person should know of the bridges.

use std::collections::BTreeMap;

use branchline_node::extension::{Finding, Severity};

use crate::api::time;
use crate::sql::worker::{BridgeReport, PAUSED, TableReport};

/// A trouble that passes by itself in this time is worth no more than a warning.
const RETRYING_MS: i64 = 60_000;
/// Notes that wait longer are worth a warning.
const NOTES_MS: i64 = 300_000;
/// Rows that were not confirmed for longer are worth a warning.
const UNACKNOWLEDGED_MS: i64 = 3_600_000;

/// What the bridges' reports mean.
pub(super) fn of(reports: &BTreeMap<String, BridgeReport>) -> Vec<Finding> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    reports.iter().flat_map(|(name, report)| of_bridge(name, report, now_ms)).collect()
}

fn of_bridge(name: &str, report: &BridgeReport, now_ms: i64) -> Vec<Finding> {
    let about = format!("bridge {name}");
    let mut findings = Vec::new();
    let mut add = |severity, what: String, since_ms: Option<i64>, hint: Option<String>| {
        let since = since_ms.and_then(time);
        findings.push(Finding { since, hint, ..Finding::new(severity, about.clone(), what) });
    };
    let reason = report.reason.clone().unwrap_or_default();
    match report.state.as_str() {
        "paused" if reason == PAUSED => {
            let hint = format!("`branchline bridge resume {name}`");
            add(Severity::Warning, reason, Some(report.since_ms), Some(hint));
        }
        "paused" => add(Severity::Error, format!("rests: {reason}"), Some(report.since_ms), None),
        "retrying" => {
            let is_long = now_ms.saturating_sub(report.since_ms) > RETRYING_MS;
            let severity = if is_long { Severity::Error } else { Severity::Warning };
            add(severity, format!("tries again and again: {reason}"), Some(report.since_ms), None);
        }
        _ => {}
    }
    if let Some(since) =
        report.notes_since_ms.filter(|since| now_ms.saturating_sub(*since) > NOTES_MS)
    {
        let what = format!("{} changed rows wait to be read", report.notes_waiting);
        add(Severity::Warning, what, Some(since), None);
    }
    for table in &report.tables {
        of_table(name, table, now_ms, &mut add);
    }
    findings
}

fn of_table(
    bridge: &str,
    report: &TableReport,
    now_ms: i64,
    add: &mut impl FnMut(Severity, String, Option<i64>, Option<String>),
) {
    let TableReport { table, quarantined, unacknowledged, .. } = report;
    if let Some(reason) = &report.reason {
        add(Severity::Error, format!("table {table} has stopped: {reason}"), report.since_ms, None);
    }
    if *quarantined > 0 {
        let hint = format!("`branchline bridge errors {bridge}` shows what refused them");
        add(Severity::Warning, format!("table {table}: {quarantined} set aside"), None, Some(hint));
    }
    if report.blind_since_ms.is_some() {
        let what = format!(
            "table {table}: triggers were missing or disabled, so changes were not seen; they were put back and the table was \
             compared as a whole"
        );
        let hint = format!(
            "find out who removed them; `branchline bridge verify {bridge} {table}` shows whether everything is in step"
        );
        add(Severity::Warning, what, report.blind_since_ms, Some(hint));
    }
    if let (Some(site), Some(since)) = (&report.acked_by, report.unacknowledged_since_ms)
        && now_ms.saturating_sub(since) > UNACKNOWLEDGED_MS
    {
        let what = format!("table {table}: {unacknowledged} rows are not yet durable at {site}");
        add(Severity::Warning, what, Some(since), None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_an_error_and_what_a_person_did_a_warning() {
        let table = TableReport {
            table: "sales".to_owned(),
            reason: Some("the column sales.qty is gone".to_owned()),
            quarantined: 3,
            ..TableReport::default()
        };
        let report = |state: &str, reason: &str| BridgeReport {
            state: state.to_owned(),
            reason: Some(reason.to_owned()),
            tables: vec![table.clone()],
            ..BridgeReport::default()
        };
        let found = |report: &BridgeReport| {
            let findings = of_bridge("till", report, RETRYING_MS + 1);
            findings.into_iter().map(|found| (found.severity, found.what)).collect::<Vec<_>>()
        };
        let stopped = "table sales has stopped: the column sales.qty is gone".to_owned();
        let aside = "table sales: 3 set aside".to_owned();
        for (report, severity, what) in [
            (report("paused", PAUSED), Severity::Warning, PAUSED.to_owned()),
            (report("paused", "x"), Severity::Error, "rests: x".to_owned()),
            (report("retrying", "x"), Severity::Error, "tries again and again: x".to_owned()),
        ] {
            let expected = [
                (severity, what),
                (Severity::Error, stopped.clone()),
                (Severity::Warning, aside.clone()),
            ];
            assert_eq!(found(&report), expected);
        }
        assert!(
            of_bridge(
                "till",
                &BridgeReport { state: "running".to_owned(), ..BridgeReport::default() },
                0
            )
            .is_empty()
        );
    }
}
