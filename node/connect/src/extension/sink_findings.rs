//! What a person should know of the sinks.

use std::collections::BTreeMap;

use branchline_node::extension::{Finding, Severity};

use crate::api::time;
use crate::sink::worker::{PAUSED, SinkReport};

/// Trying again for longer is worth more than a warning.
const BACKING_OFF_MS: i64 = 300_000;
/// What waits for longer, although the sink works, is worth a warning.
const WAITING_MS: i64 = 900_000;

/// What the sinks' reports mean.
pub(super) fn of(reports: &BTreeMap<String, SinkReport>) -> Vec<Finding> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    reports.iter().flat_map(|(name, report)| of_sink(name, report, now_ms)).collect()
}

fn of_sink(name: &str, report: &SinkReport, now_ms: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |severity, what: String, since_ms: Option<i64>, hint: Option<String>| {
        let since = since_ms.and_then(time);
        let finding = Finding::new(severity, format!("sink {name}"), what);
        findings.push(Finding { since, hint, ..finding });
    };
    let reason = report.reason.clone().unwrap_or_default();
    let since = Some(report.since_ms);
    let is_long = |since_ms: i64, bound: i64| now_ms.saturating_sub(since_ms) > bound;
    match report.state.as_str() {
        "paused" if reason == PAUSED => {
            say(Severity::Warning, reason, since, Some(format!("`branchline sink resume {name}`")));
        }
        "paused" => say(Severity::Error, format!("rests: {reason}"), since, None),
        "failed" => say(Severity::Error, format!("does not work: {reason}"), since, None),
        "superseded" => say(Severity::Warning, reason, since, None),
        "backing-off" => {
            let severity = if is_long(report.since_ms, BACKING_OFF_MS) {
                Severity::Error
            } else {
                Severity::Warning
            };
            say(severity, format!("backing off: {reason}"), since, None);
        }
        _ => {
            if let Some(oldest) =
                report.waiting_since_ms.filter(|oldest| is_long(*oldest, WAITING_MS))
            {
                let waiting = report.dirty.saturating_sub(report.quarantined);
                let what = format!(
                    "{waiting} items wait to be sent: more come than rate and concurrency let through"
                );
                say(Severity::Warning, what, Some(oldest), None);
            }
        }
    }
    if report.quarantined > 0 {
        let hint = format!("`branchline sink errors {name}` shows why");
        let what = format!("{} items set aside", report.quarantined);
        say(Severity::Warning, what, None, Some(hint));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_an_error_and_what_passes_a_warning() {
        let of = |state: &str, reason: &str, quarantined| {
            let report = SinkReport {
                state: state.to_owned(),
                reason: Some(reason.to_owned()),
                quarantined,
                waiting_since_ms: Some(0),
                ..SinkReport::default()
            };
            let findings = of_sink("erp", &report, BACKING_OFF_MS + 1);
            findings.into_iter().map(|found| (found.severity, found.what)).collect::<Vec<_>>()
        };
        assert_eq!(of("waiting", "", 0), []);
        assert_eq!(of("paused", PAUSED, 0), [(Severity::Warning, PAUSED.to_owned())]);
        assert_eq!(of("paused", "x", 0), [(Severity::Error, "rests: x".to_owned())]);
        assert_eq!(of("failed", "x", 0), [(Severity::Error, "does not work: x".to_owned())]);
        assert_eq!(of("backing-off", "x", 0), [(Severity::Error, "backing off: x".to_owned())]);
        assert_eq!(of("running", "", 2), [(Severity::Warning, "2 items set aside".to_owned())]);
    }
}
