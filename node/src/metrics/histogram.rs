//! A histogram that is recorded without a lock; the library's own takes one for each observation.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::{MetricType, TypedMetric};

const NS_PER_MS: u64 = 1_000_000;
const NS_PER_S: u64 = 1_000 * NS_PER_MS;

/// What is recorded: the upper bounds of the buckets, and how many of its units make one of those that are reported.
#[derive(Debug)]
struct Scale {
    bounds: &'static [u64],
    per_unit: f64,
}

/// Recorded in ns, reported in s: from what a sync of a quick disk takes to what a request may take.
const TIMES: Scale = Scale {
    bounds: &[
        NS_PER_MS / 10,
        NS_PER_MS / 4,
        NS_PER_MS / 2,
        NS_PER_MS,
        5 * NS_PER_MS / 2,
        5 * NS_PER_MS,
        10 * NS_PER_MS,
        25 * NS_PER_MS,
        50 * NS_PER_MS,
        100 * NS_PER_MS,
        250 * NS_PER_MS,
        500 * NS_PER_MS,
        NS_PER_S,
        5 * NS_PER_S / 2,
        5 * NS_PER_S,
        10 * NS_PER_S,
        60 * NS_PER_S,
    ],
    per_unit: NS_PER_S as f64,
};

/// Numbers of things that share a commit.
const GROUPS: Scale = Scale { bounds: &[1, 2, 4, 8, 16, 32, 64, 128, 256], per_unit: 1.0 };

/// A distribution of times or numbers. Clones record into the same one.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Arc<Recorded>);

#[derive(Debug)]
struct Recorded {
    scale: Scale,
    /// For each bound how many were at most that and more than the one before; at the end those above all.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of times, reported in seconds.
    pub(crate) fn of_times() -> Self {
        Self::new(TIMES)
    }

    /// Of the sizes of groups.
    pub(crate) fn of_groups() -> Self {
        Self::new(GROUPS)
    }

    fn new(scale: Scale) -> Self {
        let counts = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Recorded { scale, counts, sum: AtomicU64::new(0) }))
    }

    pub(crate) fn record_time(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record(&self, value: u64) {
        let Recorded { scale, counts, sum } = &*self.0;
        let bucket = scale.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(value, Ordering::Relaxed);
        }
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Recorded { scale, counts, sum } = &*self.0;
        let bounds = scale.bounds.iter().map(|bound| *bound as f64 / scale.per_unit);
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.chain([f64::INFINITY]).zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = sum.load(Ordering::Relaxed) as f64 / scale.per_unit;
        let no_exemplars: Option<&HashMap<usize, Exemplar<NoLabelSet, f64>>> = None;
        encoder.encode_histogram(sum, count, &buckets, no_exemplars)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prometheus_client::encoding::text::encode_registry;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_the_greatest_values_to_the_last() {
        let histogram = Histogram::of_groups();
        for value in [0, 1, 2, 3, 4, 5, 256, 257, 1000] {
            histogram.record(value);
        }
        let mut registry = Registry::default();
        registry.register("sizes", "Sizes", histogram);
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        for line in [
            "sizes_sum 1528.0",
            "sizes_count 9",
            "sizes_bucket{le=\"1.0\"} 2",
            "sizes_bucket{le=\"2.0\"} 3",
            "sizes_bucket{le=\"4.0\"} 5",
            "sizes_bucket{le=\"8.0\"} 6",
            "sizes_bucket{le=\"256.0\"} 7",
            "sizes_bucket{le=\"+Inf\"} 9",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }

    #[test]
    fn times_are_told_in_seconds() {
        let histogram = Histogram::of_times();
        histogram.record_time(Duration::from_millis(1500));
        histogram.record_time(Duration::from_micros(90));
        let mut registry = Registry::default();
        registry.register("times", "Times", histogram);
        let mut text = String::new();
        encode_registry(&mut text, &registry).unwrap();
        for line in [
            "times_sum 1.50009",
            "times_bucket{le=\"0.0001\"} 1",
            "times_bucket{le=\"0.00025\"} 1",
            "times_bucket{le=\"1.0\"} 1",
            "times_bucket{le=\"2.5\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
