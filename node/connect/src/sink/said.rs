//! When a sink says how it is: at once where that changes, and else no more often than counting allows.

use std::time::Duration;

use tokio::time::Instant;

/// Reports come no more often.
const SAY_EVERY: Duration = Duration::from_millis(250);
/// Counting what waits takes longer where more does: so many times as long passes until the next report.
const SAY_SHARE: u32 = 20;

/// What a sink has last said of itself.
#[derive(Debug, Default)]
pub(super) struct Said {
    state: String,
    /// Since when it is so, in ms since 1970.
    pub(super) since_ms: i64,
    due: Option<Instant>,
}

impl Said {
    /// Whether there is anything to say at `now`: the state is another, or it is time to count again.
    pub(super) fn is_due(&self, state: &str, now: Instant) -> bool {
        self.state != state || self.due.is_none_or(|due| now >= due)
    }

    /// Takes note of the state at `now_ms`.
    pub(super) fn enter(&mut self, state: &str, now_ms: i64) {
        if self.state != state {
            state.clone_into(&mut self.state);
            self.since_ms = now_ms;
        }
    }

    /// The report that was begun at `begun` took until `now`.
    pub(super) fn end(&mut self, begun: Instant, now: Instant) {
        self.due = Some(begun + SAY_EVERY.max((now - begun) * SAY_SHARE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_said_at_once_and_then_as_often_as_counting_allows() {
        let (mut said, begun) = (Said::default(), Instant::now());
        let after = |ms| begun + Duration::from_millis(ms);
        assert!(said.is_due("waiting", begun));
        said.enter("waiting", 1_000);
        said.end(begun, after(1));
        assert!(!said.is_due("waiting", after(249)) && said.is_due("waiting", after(250)));
        said.end(begun, after(100));
        assert!(!said.is_due("waiting", after(1_999)) && said.is_due("waiting", after(2_000)));
        said.enter("waiting", 5_000);
        assert_eq!(said.since_ms, 1_000, "it is so since then");
        assert!(said.is_due("paused", after(101)));
        said.enter("paused", 5_000);
        assert_eq!(said.since_ms, 5_000);
    }
}
