//! What a person should know of the sources.

use std::collections::BTreeMap;

use branchline_node::extension::{Finding, Severity};

use crate::api::time;
use crate::jobs::board::JobState;
use crate::source::config::SourceConfig;
use crate::source::runner::SourceReport;
use crate::source::sources::BY_A_PERSON;
use crate::source::timing::Timing;

/// How much longer than its schedule a source may go without a good run.
const LATE_MS: i64 = 3_600_000;
/// Trying again for longer is worth more than a note.
const BACKING_OFF_MS: i64 = 60_000;

/// What the sources' reports mean.
pub(super) fn of(
    configs: &[SourceConfig],
    reports: &BTreeMap<String, SourceReport>,
) -> Vec<Finding> {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let found = configs.iter().filter_map(|config| Some((config, reports.get(&config.name)?)));
    found.flat_map(|(config, report)| of_source(config, report, now_ms)).collect()
}

fn of_source(config: &SourceConfig, report: &SourceReport, now_ms: i64) -> Vec<Finding> {
    let name = &config.name;
    let about = format!("source {name}");
    let finding = |severity, what: String, since_ms: i64, hint: Option<String>| Finding {
        since: time(since_ms),
        hint,
        ..Finding::new(severity, about.clone(), what)
    };
    let note = report.note.clone();
    let mut findings = Vec::new();
    let age_ms = now_ms.saturating_sub(report.since_ms);
    match report.state {
        JobState::Paused if note == BY_A_PERSON => {
            let hint = format!("`branchline source resume {name}`");
            findings.push(finding(Severity::Warning, note, report.since_ms, Some(hint)));
        }
        JobState::Paused => {
            findings.push(finding(
                Severity::Warning,
                format!("rests: {note}"),
                report.since_ms,
                None,
            ));
        }
        JobState::Failed => {
            let hint = format!(
                "`branchline source history {name}`; `branchline source run {name}` tries again"
            );
            findings.push(finding(
                Severity::Error,
                format!("its last run failed: {note}"),
                report.since_ms,
                Some(hint),
            ));
        }
        JobState::BackingOff if age_ms > BACKING_OFF_MS => {
            findings.push(finding(
                Severity::Warning,
                format!("tries again and again: {note}"),
                report.since_ms,
                None,
            ));
        }
        JobState::BackingOff
        | JobState::Waiting
        | JobState::Running
        | JobState::Completed
        | JobState::Cancelled => {}
    }
    if report.counts.refused > 0 {
        let hint = format!("`branchline source errors {name}` shows what is wrong with them");
        let what = format!("{} items of its last run could not be kept", report.counts.refused);
        findings.push(finding(Severity::Warning, what, report.since_ms, Some(hint)));
    }
    if report.state != JobState::Paused
        && let Some(late_ms) = late_ms(config, report, now_ms)
    {
        let what =
            format!("has had no good run for {} h longer than its schedule", late_ms / 3_600_000);
        findings.push(finding(Severity::Warning, what, report.since_ms, None));
    }
    findings
}

/// By how much the next good run is late, where that is more than an hour.
fn late_ms(config: &SourceConfig, report: &SourceReport, now_ms: i64) -> Option<i64> {
    // One that never had any is late from when this node has had it on.
    let last = report.last_good_ms.unwrap_or(report.taken_up_ms);
    let last = jiff::Timestamp::from_millisecond(last).ok()?;
    let next = Timing::of(config).ok()?.next(last)?.as_millisecond();
    let late = now_ms.saturating_sub(next);
    (late > LATE_MS).then_some(late)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_an_error_and_what_is_late_or_rests_a_warning() {
        let text = include_str!("../source/config/example.toml")
            .replace("[[source]]", "")
            .replace("[source.", "[");
        let config: SourceConfig = toml::from_str(&text).unwrap();
        let report = |state, note: &str| SourceReport {
            state,
            note: note.to_owned(),
            since_ms: 0,
            ..SourceReport::default()
        };
        let found = |report: &SourceReport, now_ms| {
            let findings = of_source(&config, report, now_ms);
            findings.into_iter().map(|found| (found.severity, found.what)).collect::<Vec<_>>()
        };
        let begins = SourceReport { taken_up_ms: 0, ..report(JobState::Running, "") };
        assert_eq!(found(&begins, 0), []);
        assert_eq!(found(&begins, 72 * 3_600_000).len(), 1, "a first run that never ends");
        assert_eq!(found(&report(JobState::Waiting, ""), 0), []);
        let failed = found(&report(JobState::Failed, "503"), 0);
        assert_eq!(failed, [(Severity::Error, "its last run failed: 503".to_owned())]);
        let paused = found(&report(JobState::Paused, BY_A_PERSON), 0);
        assert_eq!(paused, [(Severity::Warning, BY_A_PERSON.to_owned())]);
        assert_eq!(found(&report(JobState::BackingOff, "503"), BACKING_OFF_MS), []);
        assert_eq!(found(&report(JobState::BackingOff, "503"), BACKING_OFF_MS + 1).len(), 1);
        // Due every night at two; nothing good came of it for days.
        let late = SourceReport { last_good_ms: Some(0), ..report(JobState::Waiting, "") };
        assert_eq!(found(&late, 2 * 3_600_000), []);
        let days = found(&late, 72 * 3_600_000);
        assert!(days[0].1.contains("longer than its schedule"), "{days:?}");
    }
}
