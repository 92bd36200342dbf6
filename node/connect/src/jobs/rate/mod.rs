//! How fast, and how many at once, a remote service is asked. What counts is the credential: all connectors of this
//! process that use the same one share its limits, the strictest of them.

mod gate;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::time::Instant;

use gate::{Gate, GatePlace};

/// Requests at once where nothing is configured: services such as NetSuite allow few for a whole account, which other
/// programs use as well.
pub const CONCURRENCY_DEFAULT: usize = 2;
/// The most requests at once that can be configured.
pub const CONCURRENCY_MAX: usize = 256;

/// A text that is no rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a rate: expected a whole number above zero and its unit, like 5/s, 100/m or 1000/h"
)]
pub struct BadRate {
    /// What was found.
    pub found: String,
}

/// At most so many requests in so much time, evenly spread: `5/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// From the beginning of one request to that of the next.
    period: Duration,
}

impl Rate {
    /// Reads `5/s`, `100/m`, `1000/h` or `5000/d`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, BadRate> {
        let bad = || BadRate { found: text.to_owned() };
        let (number, unit) = text.split_once('/').ok_or_else(bad)?;
        let number: NonZeroU32 = number.trim().parse().map_err(|_| bad())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(bad()),
        };
        let period = Duration::from_secs(seconds) / number.get();
        // Clocks know nanoseconds; nobody asks faster.
        if period.is_zero() { Err(bad()) } else { Ok(Self { period }) }
    }
}

/// The limits of one credential, held by one connector. Dropped, its settings no longer count.
pub struct Limiter {
    shared: Arc<RateShared>,
    number: u64,
}

/// Leave to send one request; the next may be sent when it is dropped.
pub struct Permit {
    _place: GatePlace,
}

/// How long nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// From now on.
    pub pause: Duration,
}

struct RateShared {
    gate: Gate,
    state: Mutex<RateState>,
}

#[derive(Default)]
struct RateState {
    settings: BTreeMap<u64, (Option<Rate>, usize)>,
    next_number: u64,
    rate: Option<(Rate, Arc<DefaultDirectRateLimiter>)>,
    blocked_until: Option<Instant>,
}

/// The limits of this process, by credential.
static SHARED: LazyLock<Mutex<BTreeMap<String, Weak<RateShared>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Limiter {
    /// The limits of a credential. `key`: what is the same for connectors that share it, and no secret itself.
    #[must_use]
    pub fn shared(key: &str, rate: Option<Rate>, concurrency: usize) -> Self {
        let shared = {
            let mut all = locked(&SHARED);
            all.retain(|_, shared| shared.strong_count() > 0);
            let known = all.get(key).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let shared = Arc::new(RateShared {
                    gate: Gate::new(concurrency.clamp(1, CONCURRENCY_MAX)),
                    state: Mutex::default(),
                });
                all.insert(key.to_owned(), Arc::downgrade(&shared));
                shared
            })
        };
        let mut state = locked(&shared.state);
        let number = state.next_number;
        state.next_number += 1;
        state.settings.insert(number, (rate, concurrency.clamp(1, CONCURRENCY_MAX)));
        shared.settle(&mut state);
        drop(state);
        Self { shared, number }
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// The remote has asked to be left alone for longer than `patience`: the caller is to say so and to come back.
    pub async fn permit(&self, patience: Duration) -> Result<Permit, Blocked> {
        loop {
            self.unblocked(patience).await?;
            let place = self.shared.gate.enter().await;
            // Meanwhile another request may have been turned away.
            if self.blocked().is_some() {
                continue;
            }
            self.paced().await;
            return Ok(Permit { _place: place });
        }
    }

    /// How long the remote still wants to be left alone.
    #[must_use]
    pub fn blocked(&self) -> Option<Duration> {
        let until = locked(&self.shared.state).blocked_until?;
        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The remote has had too much: half as many at once, and nothing for as long as it asks.
    pub fn overloaded(&self, retry_after: Option<Duration>) {
        self.shared.gate.narrow();
        if let Some(pause) = retry_after {
            self.block(pause);
        }
    }

    /// Nothing is sent for so long.
    pub fn block(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = locked(&self.shared.state);
        state.blocked_until = Some(state.blocked_until.map_or(until, |known| known.max(until)));
    }

    /// A request went well: after many of them, one more at once.
    pub fn calm(&self) {
        self.shared.gate.widen();
    }

    /// As many are sent at once at present, and at most.
    #[must_use]
    pub fn width(&self) -> (usize, usize) {
        self.shared.gate.width()
    }

    async fn unblocked(&self, patience: Duration) -> Result<(), Blocked> {
        while let Some(pause) = self.blocked() {
            if pause > patience {
                return Err(Blocked { pause });
            }
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    async fn paced(&self) {
        loop {
            let rate =
                locked(&self.shared.state).rate.as_ref().map(|(_, limiter)| Arc::clone(limiter));
            let Some(rate) = rate else { return };
            let Err(refused) = rate.check() else { return };
            tokio::time::sleep(refused.wait_time_from(DefaultClock::default().now())).await;
        }
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        let mut state = locked(&self.shared.state);
        state.settings.remove(&self.number);
        self.shared.settle(&mut state);
    }
}

impl RateShared {
    /// The strictest settings hold.
    fn settle(&self, state: &mut RateState) {
        let rate =
            state.settings.values().filter_map(|(rate, _)| *rate).max_by_key(|rate| rate.period);
        let concurrency = state.settings.values().map(|(_, concurrency)| *concurrency).min();
        if let Some(concurrency) = concurrency {
            self.gate.limit(concurrency);
        }
        if state.rate.as_ref().map(|(rate, _)| *rate) != rate {
            // One at a time: twice the rate in its first second would be more than was asked for.
            let quota = rate.and_then(|rate| Some((rate, Quota::with_period(rate.period)?)));
            state.rate = quota.map(|(rate, quota)| (rate, Arc::new(RateLimiter::direct(quota))));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::poll;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn rates_have_a_number_and_a_unit() {
        assert_eq!(Rate::parse("5/s").unwrap().period, Duration::from_millis(200));
        assert_eq!(Rate::parse("100 / m").unwrap().period, Duration::from_millis(600));
        assert_eq!(Rate::parse("1000/h").unwrap().period, Duration::from_millis(3_600));
        for bad in ["", "5", "0/s", "-1/s", "5/w", "1.5/s", "4294967295/s"] {
            assert!(Rate::parse(bad).unwrap_err().to_string().contains("expected"), "{bad}");
        }
    }

    #[tokio::test]
    async fn connectors_with_the_same_credential_share_its_limits() {
        let one = Limiter::shared("same", None, 2);
        let other = Limiter::shared("same", None, 8);
        let apart = Limiter::shared("other", None, 1);
        let first = one.permit(PATIENCE).await.unwrap();
        let _second = other.permit(PATIENCE).await.unwrap();
        let mut third = std::pin::pin!(other.permit(PATIENCE));
        assert!(poll!(&mut third).is_pending(), "two at once, no matter who asks");
        apart.permit(PATIENCE).await.unwrap();
        drop(first);
        third.await.unwrap();
        // The one with the stricter settings goes, and those of the other hold.
        drop(one);
        assert_eq!(other.width().1, 8);
    }

    #[tokio::test]
    async fn c24_nobody_is_asked_who_wants_to_be_left_alone() {
        let limiter = Limiter::shared("blocked", None, 4);
        limiter.overloaded(Some(Duration::from_secs(20)));
        // A shorter pause takes nothing back.
        limiter.block(Duration::from_secs(1));
        let mut patient = std::pin::pin!(limiter.permit(PATIENCE));
        assert!(poll!(&mut patient).is_pending());
        let blocked = limiter.permit(Duration::from_secs(2)).await.err().unwrap();
        assert!(blocked.pause > Duration::from_secs(10), "{blocked:?}");
    }

    #[tokio::test]
    async fn requests_are_spread_evenly() {
        let limiter = Limiter::shared("paced", Some(Rate::parse("1/h").unwrap()), 4);
        limiter.permit(PATIENCE).await.unwrap();
        let mut second = std::pin::pin!(limiter.permit(PATIENCE));
        assert!(poll!(&mut second).is_pending());
    }
}
