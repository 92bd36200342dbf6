//! Durations, shares and bandwidths as people write them.

use std::fmt;

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Deserializer, de};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
/// An hour in ms.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A day in ms.
pub const DAY_MS: u64 = 24 * HOUR_MS;
/// Longest duration that a scenario may name: ten years. Virtual time is counted in ms in 64 bits; this leaves room.
const DURATION_MS_MAX: i64 = 3_650 * DAY_MS as i64;

/// A duration that may be negative, in ms: `40ms`, `2h30m`, `3d`, `-365d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SignedMs(pub(super) i64);

impl<'de> Deserialize<'de> for SignedMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_signed_ms(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format_args!(
                "found {text:?}, expected a duration up to ten years such as \"40ms\", \"2h30m\" or \"3d\""
            ))
        })
    }
}

fn parse_signed_ms(text: &str) -> Option<i64> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    let ms = i64::try_from(duration.as_millis()).ok()?;
    (ms.abs() <= DURATION_MS_MAX).then_some(ms)
}

/// A duration in ms: `40ms`, `2h30m`, `3d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ms(pub(super) u64);

impl<'de> Deserialize<'de> for Ms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let SignedMs(ms) = SignedMs::deserialize(deserializer)?;
        u64::try_from(ms).map(Self).map_err(|_| {
            de::Error::custom("found a negative duration, expected one from \"0s\" upwards")
        })
    }
}

/// A share in parts of a million: `2%`, `0.5%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ppm(pub(super) u32);

impl<'de> Deserialize<'de> for Ppm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let percent = text.trim().strip_suffix('%').and_then(|text| text.trim().parse().ok());
        match percent {
            Some(percent) if (0.0..=100.0).contains(&percent) => {
                let percent: f64 = percent;
                Ok(Self((percent * 10_000.0).round() as u32))
            }
            Some(_) | None => Err(de::Error::custom(format_args!(
                "found {text:?}, expected a share from \"0%\" to \"100%\" such as \"0.5%\""
            ))),
        }
    }
}

/// Bytes per second: `64 kbit/s`, `10 Mbit/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bandwidth(pub(super) u64);

impl<'de> Deserialize<'de> for Bandwidth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_bandwidth(&text).map(Self).ok_or_else(|| {
            de::Error::custom(format_args!(
                "found {text:?}, expected a bandwidth from \"1 kbit/s\" to \"100 Gbit/s\" such as \"10 Mbit/s\""
            ))
        })
    }
}

fn parse_bandwidth(text: &str) -> Option<u64> {
    let units = [("kbit/s", 1_000.0), ("Mbit/s", 1e6), ("Gbit/s", 1e9)];
    let bits = units.iter().find_map(|(unit, bits)| {
        let number: f64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * bits)
    })?;
    (1_000.0..=1e11).contains(&bits).then_some((bits / 8.0) as u64)
}

/// A duration in ms as people read it, to its two greatest units: `3 d 4 h`, `2.5 s`.
#[derive(Clone, Copy, Debug)]
pub struct Readable(pub u64);

impl fmt::Display for Readable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        let units = [(DAY_MS, "d", HOUR_MS, "h"), (HOUR_MS, "h", MINUTE_MS, "min")];
        let minutes = (MINUTE_MS, "min", SECOND_MS, "s");
        for (great_ms, great, small_ms, small) in units.into_iter().chain([minutes]) {
            if ms >= great_ms {
                write!(f, "{} {great}", ms / great_ms)?;
                let rest = ms % great_ms / small_ms;
                return if rest > 0 { write!(f, " {rest} {small}") } else { Ok(()) };
            }
        }
        match (ms / SECOND_MS, ms % SECOND_MS / 100) {
            (0, _) => write!(f, "{ms} ms"),
            (seconds, 0) => write!(f, "{seconds} s"),
            (seconds, tenths) => write!(f, "{seconds}.{tenths} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("40ms", 40),
            ("2h30m", 9_000_000),
            ("3d", 259_200_000),
            ("1w", 604_800_000),
            ("-365d", -31_536_000_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_signed_ms(text), Some(ms), "{text}");
        }
        for text in ["", "3", "three days", "d", "1 fortnight", "999999d", "1 month"] {
            assert_eq!(parse_signed_ms(text), None, "{text}");
        }
    }

    #[test]
    fn bandwidths_are_read_with_their_unit() {
        assert_eq!(parse_bandwidth("64 kbit/s"), Some(8_000));
        assert_eq!(parse_bandwidth("1.5Mbit/s"), Some(187_500));
        for text in ["10", "10 MB/s", "0 kbit/s", "-1 Mbit/s", "NaN Mbit/s"] {
            assert_eq!(parse_bandwidth(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_shown_to_two_units() {
        let shown = [0, 40, 2_500, 61_000, 9_000_000, 3 * DAY_MS, 3 * DAY_MS + 4 * HOUR_MS + 1];
        let texts: Vec<_> = shown.into_iter().map(|ms| Readable(ms).to_string()).collect();
        assert_eq!(texts, ["0 ms", "40 ms", "2.5 s", "1 min 1 s", "2 h 30 min", "3 d", "3 d 4 h"]);
    }
}
