//! The text format of OpenMetrics, read strictly: whatever a scraper could stumble over is a panic.

use std::collections::{BTreeMap, BTreeSet};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Name and labels of a sample.
pub type Series = (String, BTreeMap<String, String>);

/// What one scrape reported.
#[derive(Debug, Default)]
pub struct Exposition {
    pub kinds: BTreeMap<String, Kind>,
    pub samples: BTreeMap<Series, f64>,
}

impl Kind {
    /// What follows the metric's name in its samples.
    fn suffixes(self) -> &'static [&'static str] {
        match self {
            Self::Counter => &["_total"],
            Self::Gauge => &[""],
            Self::Histogram => &["_bucket", "_count", "_sum"],
            Self::Info => &["_info"],
        }
    }
}

impl Exposition {
    /// Reads a whole answer, and checks that histograms add up.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        let mut read = Self::default();
        let mut helped = BTreeSet::new();
        let mut current = None;
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => {
                    let (word, rest) = comment.split_once(' ').expect(line);
                    let (name, rest) = rest.split_once(' ').expect(line);
                    match word {
                        "HELP" => {
                            assert!(!rest.is_empty() && helped.insert(name.to_owned()), "{line}");
                        }
                        "TYPE" => {
                            let kind = match rest {
                                "counter" => Kind::Counter,
                                "gauge" => Kind::Gauge,
                                "histogram" => Kind::Histogram,
                                "info" => Kind::Info,
                                other => panic!("unknown type {other}: {line}"),
                            };
                            let before = read.kinds.insert(name.to_owned(), kind);
                            assert_eq!(before, None, "declared twice: {line}");
                            current = Some((name, kind));
                        }
                        "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                        other => panic!("unknown comment {other}: {line}"),
                    }
                }
                None => {
                    let (series, value) = sample(line);
                    let (metric, kind) = current.expect("a type before the first sample");
                    let suffix = series.0.strip_prefix(metric).expect(line);
                    assert!(kind.suffixes().contains(&suffix), "no sample of {metric}: {line}");
                    assert!(value.is_finite(), "{line}");
                    assert_eq!(read.samples.insert(series, value), None, "reported twice: {line}");
                }
            }
        }
        assert_eq!(helped, read.kinds.keys().cloned().collect(), "each metric has a help text");
        read.check_histograms();
        read
    }

    fn check_histograms(&self) {
        let histograms = self.kinds.iter().filter(|(_, kind)| **kind == Kind::Histogram);
        for (name, _) in histograms {
            let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
            for ((_, labels), count) in self.of(&format!("{name}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bound");
                let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                buckets.entry(labels).or_default().push((bound, *count));
            }
            for (labels, mut buckets) in buckets {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name}: {buckets:?}");
                let (last, in_all) = *buckets.last().unwrap();
                assert_eq!(last, f64::INFINITY, "{name}");
                assert_eq!(self.get(&format!("{name}_count"), &labels), Some(in_all), "{name}");
                let sum = self.get(&format!("{name}_sum"), &labels).expect("a sum");
                assert!(sum >= 0.0 && (in_all > 0.0 || sum == 0.0), "{name}: {sum}");
            }
        }
    }

    /// All samples of a name.
    pub fn of(&self, name: &str) -> impl Iterator<Item = (&Series, &f64)> {
        self.samples.iter().filter(move |((found, _), _)| found == name)
    }

    fn get(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<f64> {
        self.samples.get(&(name.to_owned(), labels.clone())).copied()
    }

    /// The sum of the samples of a name that have these labels, among others; `None`: there are none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |found: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        };
        let values = self.of(name).filter(|((_, labels), _)| has(labels)).map(|(_, value)| *value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// Nothing that counts has less than before.
    pub fn assert_not_fallen_since(&self, before: &Self) {
        for ((name, labels), value) in &before.samples {
            let counts = |(metric, kind): (&String, &Kind)| {
                let suffix = name.strip_prefix(metric.as_str());
                matches!(kind, Kind::Counter | Kind::Histogram)
                    && suffix.is_some_and(|suffix| kind.suffixes().contains(&suffix))
            };
            if before.kinds.iter().any(counts) {
                let now = self.get(name, labels).unwrap_or(-1.0);
                assert!(now >= *value, "{name} {labels:?} fell from {value} to {now}");
            }
        }
    }

    /// The names that queries use: of histograms the metric's, of others the sample's.
    pub fn names(&self) -> BTreeSet<String> {
        let name = |(name, kind): (&String, &Kind)| match kind {
            Kind::Histogram => name.clone(),
            Kind::Counter | Kind::Gauge | Kind::Info => format!("{name}{}", kind.suffixes()[0]),
        };
        self.kinds.iter().map(name).collect()
    }
}

fn sample(line: &str) -> (Series, f64) {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let value = value.parse().expect(line);
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, labels)) => (name, self::labels(labels.strip_suffix('}').expect(line))),
    };
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    assert!(!name.is_empty() && name.chars().all(plain), "{line}");
    ((name.to_owned(), labels), value)
}

fn labels(mut text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").expect(text);
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        assert_eq!(labels.insert(name.to_owned(), value), None, "label {name} is reported twice");
        text = &rest[end + 1..];
        text = text.strip_prefix(',').unwrap_or(text);
    }
    labels
}
