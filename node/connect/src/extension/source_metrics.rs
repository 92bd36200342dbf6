//! What the sources do, in figures.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::jobs::board::JobState;
use crate::source::runner::SourceReport;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Runs {
    source: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceRecords {
    source: String,
    change: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceErrors {
    source: String,
    class: &'static str,
}

/// Adds what the reports hold. Nothing is added where there are no sources.
pub(super) fn register(registry: &mut Registry, reports: &BTreeMap<String, SourceReport>) {
    if reports.is_empty() {
        return;
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let works = Family::<OfSource, Gauge>::default();
    let lag = Family::<OfSource, Gauge<f64, AtomicU64>>::default();
    let refused = Family::<OfSource, Gauge>::default();
    let runs = Family::<Runs, Counter>::default();
    let records = Family::<SourceRecords, Counter>::default();
    let unchanged = Family::<OfSource, Counter>::default();
    let retries = Family::<OfSource, Counter>::default();
    let errors = Family::<SourceErrors, Counter>::default();
    for (source, report) in reports {
        let of = OfSource { source: source.clone() };
        let is_at_work =
            !matches!(report.state, JobState::Paused | JobState::Failed | JobState::BackingOff);
        works.get_or_create(&of).set(i64::from(is_at_work));
        if let Some(last_ms) = report.last_good_ms {
            lag.get_or_create(&of).set(now_ms.saturating_sub(last_ms).max(0) as f64 / 1_000.0);
        }
        refused.get_or_create(&of).set(i64::try_from(report.counts.refused).unwrap_or(i64::MAX));
        for (result, count) in [("completed", report.runs.0), ("failed", report.runs.1)] {
            runs.get_or_create(&Runs { source: source.clone(), result }).inc_by(count);
        }
        unchanged.get_or_create(&of).inc_by(report.unchanged);
        retries.get_or_create(&of).inc_by(report.retries);
        for (class, count) in report.faults.by_class() {
            errors.get_or_create(&SourceErrors { source: source.clone(), class }).inc_by(count);
        }
        let counts = [
            ("updated", report.counts.updated),
            ("deleted", report.counts.deleted),
            ("inactive", report.counts.inactive),
        ];
        for (change, count) in counts {
            records.get_or_create(&SourceRecords { source: source.clone(), change }).inc_by(count);
        }
    }
    registry.register(
        "source_works",
        "1 where the source waits or runs, 0 where it rests, failed or tries again",
        works,
    );
    registry.register("source_lag_seconds", "Time since the last good run ended", lag);
    registry.register("source_refused", "Items of the last run that could not be kept", refused);
    registry.register("source_runs", "Runs since the node started", runs);
    registry.register(
        "source_records",
        "Records that runs changed since the node started",
        records,
    );
    registry.register(
        "source_unchanged",
        "Objects that good runs listed and that changed no record, by their digest",
        unchanged,
    );
    registry.register("source_retries", "Requests that were tried again", retries);
    registry.register("source_errors", "Requests that failed, by class", errors);
}
