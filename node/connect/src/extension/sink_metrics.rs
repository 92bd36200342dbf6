//! What the sinks do, in figures.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::sink::worker::SinkReport;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pushes {
    sink: String,
    action: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkErrors {
    sink: String,
    class: &'static str,
}

type SinkGauge = Family<OfSink, Gauge>;

/// Adds what the reports hold. Nothing is added where there are no sinks.
pub(super) fn register(registry: &mut Registry, reports: &BTreeMap<String, SinkReport>) {
    if reports.is_empty() {
        return;
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let (works, dirty, aside) = (SinkGauge::default(), SinkGauge::default(), SinkGauge::default());
    let lag = Family::<OfSink, Gauge<f64, AtomicU64>>::default();
    let pushes = Family::<Pushes, Counter>::default();
    let skipped = Family::<OfSink, Counter>::default();
    let retries = Family::<OfSink, Counter>::default();
    let errors = Family::<SinkErrors, Counter>::default();
    for (sink, report) in reports {
        let of = OfSink { sink: sink.clone() };
        let is_at_work = matches!(report.state.as_str(), "waiting" | "running" | "listing");
        works.get_or_create(&of).set(i64::from(is_at_work));
        dirty.get_or_create(&of).set(signed(report.dirty));
        aside.get_or_create(&of).set(signed(report.quarantined));
        let age = report.waiting_since_ms.map_or(0, |since| now_ms.saturating_sub(since).max(0));
        lag.get_or_create(&of).set(age as f64 / 1_000.0);
        let counted = &report.counted;
        for (action, number) in
            [("create", counted.created), ("update", counted.updated), ("delete", counted.deleted)]
        {
            pushes.get_or_create(&Pushes { sink: sink.clone(), action }).inc_by(number);
        }
        skipped.get_or_create(&of).inc_by(counted.unchanged);
        retries.get_or_create(&of).inc_by(counted.retried);
        for (class, number) in report.faults.by_class() {
            errors.get_or_create(&SinkErrors { sink: sink.clone(), class }).inc_by(number);
        }
    }
    registry.register(
        "sink_works",
        "1 where the sink is at work, 0 where it rests or tries again",
        works,
    );
    registry.register("sink_dirty", "Groups that wait to be sent", dirty);
    registry.register("sink_set_aside", "Groups that were refused", aside);
    registry.register("sink_lag_seconds", "How long the group that has waited longest waits", lag);
    registry.register("sink_pushes", "Confirmed requests", pushes);
    registry.register(
        "sink_skipped",
        "Groups that had changed and were not sent, by their digest",
        skipped,
    );
    registry.register("sink_retries", "Requests that are tried again", retries);
    registry.register("sink_errors", "Requests that failed, by class", errors);
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
