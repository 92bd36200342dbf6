//! Whether an office catches up or falls behind: what was not in step, noted now and then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is noted.
pub(crate) const PACE: Duration = Duration::from_secs(20);
/// What is noted is compared with what was so long ago, or the oldest that there is.
const SPAN: Duration = Duration::from_secs(5 * 60);
/// Sites of which it is noted: more than any network shows on one view.
const SITES_MAX: usize = 1_000;

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trend {
    /// It becomes more.
    Growing,
    /// It becomes less.
    Shrinking,
    /// It is what it was.
    Steady,
}

/// What was noted of each site, by its id.
#[derive(Default)]
pub(crate) struct Trends(Mutex<BTreeMap<String, VecDeque<(Instant, u64)>>>);

impl Trends {
    /// Notes how many entries of each site are not in step.
    pub(crate) fn note(&self, counts: impl Iterator<Item = (String, u64)>, now: Instant) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_before = std::mem::take(&mut *noted);
        for (site, count) in counts.take(SITES_MAX) {
            let mut of_site = of_before.remove(&site).unwrap_or_default();
            // One that is older than the span stays, to compare with.
            while of_site.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= SPAN) {
                of_site.pop_front();
            }
            of_site.push_back((now, count));
            noted.insert(site, of_site);
        }
    }

    /// Which way it goes with a site of which so many are not in step now; `None`: that is not known yet.
    pub(crate) fn of(&self, site: &str, count: u64) -> Option<Trend> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, before) = noted.get(site)?.front()?;
        Some(match count.cmp(before) {
            std::cmp::Ordering::Greater => Trend::Growing,
            std::cmp::Ordering::Less => Trend::Shrinking,
            std::cmp::Ordering::Equal => Trend::Steady,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_compared_with_what_was_five_minutes_ago() {
        let (trends, start) = (Trends::default(), Instant::now());
        let note = |count: u64, after: Duration| {
            trends.note(std::iter::once(("north".to_owned(), count)), start + after);
        };
        assert_eq!(trends.of("north", 1), None);
        note(10, Duration::ZERO);
        assert_eq!(trends.of("north", 10), Some(Trend::Steady));
        note(40, PACE);
        assert_eq!(trends.of("north", 40), Some(Trend::Growing));
        note(30, SPAN + PACE);
        assert_eq!(trends.of("north", 30), Some(Trend::Shrinking));
        note(0, 3 * SPAN);
        trends.note(std::iter::empty(), start);
        assert_eq!(trends.of("north", 0), None, "a site that is gone stays");
    }
}
