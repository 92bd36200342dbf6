//! How long a sink leaves the remote alone.

use std::time::Duration;

use tokio::time::Instant;

use super::task::now_ms;
use crate::jobs::retry::RetryConfig;

/// How long a sink leaves the remote alone.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    /// Failures of the remote in a row, whatever the item.
    pub(super) failures: u32,
    pub(super) until: Option<Instant>,
    pub(super) until_ms: i64,
    pub(super) reason: String,
}

impl BackOff {
    /// The remote has failed.
    pub(super) fn fail(&mut self, retry: &RetryConfig, reason: &str, asked: Option<Duration>) {
        let now = Instant::now();
        let is_waiting = self.until.is_some_and(|until| until > now);
        if !is_waiting {
            self.failures = self.failures.saturating_add(1);
        }
        let until = now + retry.pause(self.failures, asked);
        if self.until.is_none_or(|before| until > before) {
            self.until = Some(until);
            let pause = i64::try_from(until.duration_since(now).as_millis()).unwrap_or(i64::MAX);
            self.until_ms = now_ms().saturating_add(pause);
        }
        reason.clone_into(&mut self.reason);
    }

    /// How long it is left alone still; `None`: it may be asked.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    pub(super) fn is_over(&self) -> bool {
        self.left().is_none()
    }
}
