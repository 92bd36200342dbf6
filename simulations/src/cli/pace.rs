//! How fast the runs of a sweep went, and how many of them a night holds.

use std::time::Duration;

use serde::Serialize;

use crate::text::counted;

/// From when the last goes home until the first comes.
const NIGHT: Duration = Duration::from_secs(8 * 3_600);

/// How fast runs went.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pace {
    /// Runs at the same time.
    jobs: usize,
    /// From the first one's start to the last one's end.
    elapsed_ms: u64,
    /// As many of them as 8 hours hold.
    runs_a_night: u64,
    /// The one that took longest.
    slowest: Option<Slowest>,
}

#[derive(Debug, Serialize)]
struct Slowest {
    ms: u64,
    reproduce: String,
}

impl Pace {
    /// Nothing has run yet.
    pub(super) fn with(jobs: usize) -> Self {
        Self { jobs, ..Self::default() }
    }

    /// Takes a run's time in.
    pub(super) fn ran(&mut self, took: Duration, reproduce: impl FnOnce() -> String) {
        let ms = millis(took);
        if self.slowest.as_ref().is_none_or(|slowest| slowest.ms < ms) {
            self.slowest = Some(Slowest { ms, reproduce: reproduce() });
        }
    }

    /// All have run.
    pub(super) fn end(&mut self, runs: u64, elapsed: Duration) {
        self.elapsed_ms = millis(elapsed);
        self.runs_a_night = a_night_holds(runs, elapsed);
    }

    /// As a person reads it; nothing where nothing ran.
    pub(super) fn lines(&self) -> Option<[(&'static str, String); 2]> {
        let slowest = self.slowest.as_ref()?;
        let (runs, jobs) = (counted(self.runs_a_night, "run"), counted(self.jobs as u64, "job"));
        let seconds = slowest.ms as f64 / 1_000.0;
        Some([
            ("a night holds", format!("{runs} in 8 hours at this pace, with {jobs}")),
            ("the slowest run", format!("{seconds:.1} s: {}", slowest.reproduce)),
        ])
    }
}

fn a_night_holds(runs: u64, elapsed: Duration) -> u64 {
    let night = u128::from(runs) * NIGHT.as_millis() / elapsed.as_millis().max(1);
    u64::try_from(night).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_holds_runs_at_the_pace_of_those_that_ran() {
        assert_eq!(a_night_holds(100, Duration::from_secs(60)), 48_000);
        assert_eq!(a_night_holds(0, Duration::ZERO), 0);
        let mut pace = Pace::with(2);
        assert_eq!(pace.lines(), None);
        pace.ran(Duration::from_millis(4_200), || "one".to_owned());
        pace.ran(Duration::from_millis(900), || "other".to_owned());
        pace.end(2, Duration::from_secs(10));
        let [(_, night), (_, slowest)] = pace.lines().unwrap();
        assert_eq!(night, "5,760 runs in 8 hours at this pace, with 2 jobs");
        assert_eq!(slowest, "4.2 s: one");
    }
}
