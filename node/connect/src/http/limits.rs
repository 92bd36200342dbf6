//! What a remote says about when it may be asked again. There is one standard for it and many habits:
//!
//! | where | form |
//! |---|---|
//! | `Retry-After` | seconds, or a date |
//! | `Retry-After-Ms`, `X-MS-Retry-After-Ms` | milliseconds |
//! | `RateLimit`, `RateLimit-Reset`, `X-RateLimit-Reset-After` | seconds from now |
//! | `X-RateLimit-Reset`, `X-Rate-Limit-Reset` | seconds or milliseconds since 1970, or seconds from now |
//! | `X-Rate-Limit` | requests a minute |
//! | the body | `"retry_after": 1.5`, `try again in 20 seconds` |

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::message::{date, http_date};

/// A remote that asks for more is asked again after that long all the same: it may have meant something else, and a
/// connector that rests for days is not seen to fail.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// Numbers from here on are seconds since 1970 (2001), and not from now (31 years).
const EPOCH_SECONDS_MIN: f64 = 1e9;
/// Numbers from here on are milliseconds since 1970.
const EPOCH_MILLIS_MIN: f64 = 1e11;
/// As far into a body a hint is looked for, in bytes.
const HINT_BYTES_MAX: usize = 4096;

/// How long the remote asks to be left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// What it asks for.
    pub(super) asked: Duration,
}

impl Pause {
    /// What is kept of it.
    pub(super) fn kept(self) -> Duration {
        self.asked.min(PAUSE_MAX)
    }
}

/// What an answer says about when to ask again. `now`: this machine's clock, used where the answer has no date.
pub(super) fn pause(headers: &HeaderMap, body: &str, now: Timestamp) -> Option<Pause> {
    // What the remote calls a time is by its own clock.
    let now = date(headers).unwrap_or(now);
    retry_after(headers, now)
        .or_else(|| reset(headers, now))
        .or_else(|| hint(body))
        .map(|asked| Pause { asked })
}

/// Whether the headers say that the limit is used up: then a 403 is no refusal of who asks.
pub(super) fn is_limited(headers: &HeaderMap) -> bool {
    let none = |name| text(headers, name).and_then(number).is_some_and(|left| left <= 0.0);
    headers.contains_key(RETRY_AFTER)
        || none("x-ratelimit-remaining")
        || none("x-rate-limit-remaining")
        || none("ratelimit-remaining")
        || text(headers, "ratelimit")
            .is_some_and(|value| structured(value, &["r", "remaining"]) == Some(0.0))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Up to a year: nothing that is meant is longer.
fn seconds(number: f64) -> Option<Duration> {
    (0.0..=31_536_000.0).contains(&number).then(|| Duration::from_secs_f64(number))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis =
        |name| text(headers, name).and_then(number).and_then(|millis| seconds(millis / 1e3));
    if let Some(pause) = millis("retry-after-ms").or_else(|| millis("x-ms-retry-after-ms")) {
        return Some(pause);
    }
    let value = text(headers, RETRY_AFTER.as_str())?;
    match number(value) {
        Some(number) => moment(number, now),
        None => http_date(value).map(|at| from_to(now, at)),
    }
}

fn reset(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let of = |name| text(headers, name).and_then(number);
    if let Some(pause) = of("x-ratelimit-reset-after").and_then(seconds) {
        return Some(pause);
    }
    let structured =
        text(headers, "ratelimit").and_then(|value| structured(value, &["t", "reset"]));
    if let Some(pause) = structured.and_then(seconds) {
        return Some(pause);
    }
    for name in ["ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset"] {
        if let Some(pause) = of(name).and_then(|number| moment(number, now)) {
            return Some(pause);
        }
        if let Some(at) = text(headers, name).and_then(|text| text.parse::<Timestamp>().ok()) {
            return Some(from_to(now, at));
        }
    }
    let per_minute = of("x-rate-limit").filter(|number| *number >= 1.0)?;
    seconds(60.0 / per_minute)
}

/// What a number means that may be a moment, in seconds or milliseconds, or a duration in seconds.
fn moment(number: f64, now: Timestamp) -> Option<Duration> {
    let since_1970 = Duration::try_from(now.as_duration()).ok()?.as_secs_f64();
    if number >= EPOCH_MILLIS_MIN {
        seconds((number / 1e3 - since_1970).max(0.0))
    } else if number >= EPOCH_SECONDS_MIN {
        seconds((number - since_1970).max(0.0))
    } else {
        seconds(number)
    }
}

fn from_to(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default()
}

/// A parameter of `RateLimit: "default";r=0;t=30`, or of its older form `limit=10, remaining=0, reset=30`.
fn structured(value: &str, names: &[&str]) -> Option<f64> {
    value.split([';', ',']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        names.contains(&name.trim()).then(|| number(value.trim()))?
    })
}

/// What the body says to people, or to programs.
fn hint(body: &str) -> Option<Duration> {
    if let Ok(body) = serde_json::from_str::<serde_json::Value>(body) {
        let of = |value: &serde_json::Value| {
            ["retry_after", "retryAfter"]
                .iter()
                .find_map(|name| number(value.get(name)?.to_string().trim_matches('"')))
        };
        if let Some(pause) = of(&body).or_else(|| of(body.get("error")?)).and_then(seconds) {
            return Some(pause);
        }
    }
    let mut end = body.len().min(HINT_BYTES_MAX);
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    let text = body[..end].to_ascii_lowercase();
    ["try again in ", "retry in ", "retry after ", "try again after "].iter().find_map(|before| {
        let (_, behind) = text.split_once(before)?;
        let digits = behind.find(|character: char| !character.is_ascii_digit() && character != '.');
        let (amount, unit) = behind.split_at(digits.unwrap_or(behind.len()));
        let amount = number(amount.trim_end_matches('.'))?;
        let unit = unit.trim_start();
        let scale = match unit {
            _ if unit.starts_with("ms") || unit.starts_with("milli") => 0.001,
            _ if unit.starts_with('s') => 1.0,
            _ if unit.starts_with('m') => 60.0,
            _ if unit.starts_with('h') => 3_600.0,
            _ => return None,
        };
        seconds(amount * scale)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    /// 2026-11-01T12:00:00Z.
    const NOW: i64 = 1_793_534_400;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn asked(pairs: &[(&'static str, &'static str)], body: &str) -> Option<Duration> {
        pause(&headers(pairs), body, Timestamp::from_second(NOW).unwrap()).map(|pause| pause.asked)
    }

    #[test]
    fn c24_every_habit_of_saying_when_to_come_back_is_understood() {
        for (name, value, millis) in [
            ("retry-after", "120", 120_000),
            ("retry-after", "0", 0),
            ("retry-after", "1.5", 1_500),
            ("retry-after", "Sun, 01 Nov 2026 12:01:40 GMT", 100_000),
            ("retry-after", "Sun, 01 Nov 2026 11:00:00 GMT", 0),
            ("retry-after", "1793534430", 30_000),
            ("retry-after-ms", "250", 250),
            ("x-ms-retry-after-ms", "1500", 1_500),
            ("x-ratelimit-reset", "1793534460", 60_000),
            ("x-ratelimit-reset", "1793534460500", 60_500),
            ("x-ratelimit-reset", "45", 45_000),
            ("x-ratelimit-reset", "2026-11-01T12:00:05Z", 5_000),
            ("x-rate-limit-reset", "1793534400", 0),
            ("x-ratelimit-reset-after", "2.5", 2_500),
            ("ratelimit-reset", "30", 30_000),
            ("ratelimit", "limit=100, remaining=0, reset=50", 50_000),
            ("ratelimit", "\"default\";r=0;t=20", 20_000),
            ("x-rate-limit", "700", 85),
        ] {
            let found = asked(&[(name, value)], "").unwrap();
            assert_eq!(found.as_millis(), millis, "{name}: {value}");
        }
        for (name, value) in [
            ("retry-after", "soon"),
            ("retry-after", "-5"),
            ("retry-after", "NaN"),
            ("x-ratelimit-reset", "1e300"),
            ("x-rate-limit", "0"),
        ] {
            assert_eq!(asked(&[(name, value)], ""), None, "{name}: {value}");
        }
    }

    #[test]
    fn c24_moments_are_by_the_clock_of_who_names_them() {
        // Its clock is an hour behind ours.
        let date = ("date", "Sun, 01 Nov 2026 11:00:00 GMT");
        let at = ("retry-after", "Sun, 01 Nov 2026 11:00:30 GMT");
        assert_eq!(asked(&[date, at], ""), Some(Duration::from_secs(30)));
        assert_eq!(
            asked(&[date, ("x-ratelimit-reset", "1793530810")], ""),
            Some(Duration::from_secs(10))
        );
    }

    #[test]
    fn c24_the_body_is_read_where_no_header_says_it() {
        for (body, millis) in [
            ("{\"message\": \"slow\", \"retry_after\": 1.5}", 1_500),
            ("{\"error\": {\"retryAfter\": \"20\"}}", 20_000),
            ("Rate limit reached. Please try again in 20s.", 20_000),
            ("Try again in 250ms", 250),
            ("retry after 2 minutes", 120_000),
        ] {
            assert_eq!(asked(&[], body).unwrap().as_millis(), millis, "{body}");
        }
        for body in ["", "too many", "try again in a while", "try again in 5", "[1]"] {
            assert_eq!(asked(&[], body), None, "{body}");
        }
        assert_eq!(
            asked(&[("retry-after", "1")], "try again in 20s"),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn c24_what_is_asked_for_is_kept_up_to_a_quarter_of_an_hour() {
        let pause =
            |value| pause(&headers(&[("retry-after", value)]), "", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pause("900").kept(), PAUSE_MAX);
        assert_eq!(pause("86400").kept(), PAUSE_MAX);
        assert_eq!(pause("10").kept(), Duration::from_secs(10));
    }

    #[test]
    fn c24_a_limit_that_is_used_up_is_seen_whatever_the_status() {
        for pair in [
            ("retry-after", "1"),
            ("x-ratelimit-remaining", "0"),
            ("ratelimit", "\"default\";r=0;t=20"),
        ] {
            assert!(is_limited(&headers(&[pair])), "{pair:?}");
        }
        for pair in [("x-ratelimit-remaining", "7"), ("ratelimit", "remaining=3"), ("x", "0")] {
            assert!(!is_limited(&headers(&[pair])), "{pair:?}");
        }
    }
}
