//! How long to wait before the next try.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// Longest pause between two tries, whatever is configured: a day.
const DELAY_MAX: Duration = Duration::from_secs(86_400);

/// Tries and the pauses between them: `retry = { first = "1s", multiplier = 2.0, max_delay = "5m", attempts = 15 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// The greatest pause after the first try.
    #[serde(with = "duration::written")]
    pub first: Duration,
    /// How much greater it is after each further one; at least 1.
    pub multiplier: f64,
    /// The pause grows no further than that.
    #[serde(with = "duration::written")]
    pub max_delay: Duration,
    /// After so many refusals an item is set aside. An outage of the remote does not count.
    pub attempts: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            multiplier: 2.0,
            max_delay: Duration::from_secs(300),
            attempts: 15,
        }
    }
}

impl RetryConfig {
    /// What is wrong with it.
    ///
    /// # Errors
    /// A text that says what was found and what is expected.
    pub fn check(&self) -> Result<(), String> {
        if !(1.0..=100.0).contains(&self.multiplier) {
            return Err(format!("retry: multiplier is {}: expected 1 to 100", self.multiplier));
        }
        if self.first.is_zero() || self.first > self.max_delay || self.max_delay > DELAY_MAX {
            return Err(format!(
                "retry: first is {} and max_delay {}: expected first above zero, not above max_delay, and that at most 1d",
                duration::text(self.first),
                duration::text(self.max_delay)
            ));
        }
        if self.attempts == 0 {
            return Err("retry: attempts is 0: expected at least 1".to_owned());
        }
        Ok(())
    }

    /// The pause before the next try. `attempt`: how many have failed, from 1; `retry_after`: how long the remote asks to
    /// be left alone. Any length up to the full one is as likely, so that many that failed together do not come back
    /// together; what the remote asks for is never cut.
    #[must_use]
    pub fn pause(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let full = self.full(attempt);
        match retry_after {
            None => part(full, random()),
            Some(asked) => asked + part(full.min(self.first), random()),
        }
    }

    /// The greatest pause after so many failures.
    fn full(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.multiplier.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max_delay).min(self.max_delay)
    }
}

/// The part `of` / 2^32 of a duration.
fn part(full: Duration, of: u32) -> Duration {
    full.mul_f64(f64::from(of) / f64::from(u32::MAX))
}

/// Without randomness from the machine the pauses are whole.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_differ() {
        let retry: RetryConfig = toml::from_str("").unwrap();
        assert_eq!(retry.full(0), Duration::from_secs(1));
        assert_eq!(retry.full(1), Duration::from_secs(1));
        assert_eq!(retry.full(4), Duration::from_secs(8));
        assert_eq!(retry.full(u32::MAX), Duration::from_secs(300));
        let pauses: Vec<_> = (0..20).map(|_| retry.pause(9, None)).collect();
        assert!(pauses.iter().all(|pause| *pause <= Duration::from_secs(256)));
        assert!(pauses.windows(2).any(|pair| pair[0] != pair[1]), "{pauses:?}");
    }

    #[test]
    fn what_the_remote_asks_for_is_kept() {
        let retry = RetryConfig::default();
        let asked = Duration::from_secs(600);
        for attempt in [1, 5, 50] {
            let pause = retry.pause(attempt, Some(asked));
            assert!((asked..=asked + Duration::from_secs(1)).contains(&pause), "{pause:?}");
        }
    }

    #[test]
    fn settings_are_read_as_text_and_judged() {
        let retry: RetryConfig =
            toml::from_str("first = \"200ms\"\nmultiplier = 3\nmax_delay = \"1m\"").unwrap();
        assert_eq!((retry.first, retry.attempts), (Duration::from_millis(200), 15));
        retry.check().unwrap();
        for (text, part) in [
            ("multiplier = 0.5", "0.5"),
            ("first = \"10m\"", "first is 10m"),
            ("first = \"0s\"", "above zero"),
            ("attempts = 0", "at least 1"),
        ] {
            let error = toml::from_str::<RetryConfig>(text).unwrap().check().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let error = toml::from_str::<RetryConfig>("first = \"1 week\"").unwrap_err();
        assert!(error.to_string().contains("1 week"), "{error}");
        assert!(toml::from_str::<RetryConfig>("frist = \"1s\"").is_err());
    }
}
