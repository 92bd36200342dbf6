//! Durations in the configuration: `100ms`, `30s`, `5m`, `1h`, `2d`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is not a duration: expected a whole number with its unit, like 100ms, 30s, 5m, 1h or 2d"
)]
pub struct BadDuration {
    /// What was found.
    pub found: String,
}

/// Reads a duration.
///
/// # Errors
/// [`BadDuration`] says what was found and how a duration is written.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration { found: text.to_owned() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let of = |seconds: u64| number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(bad);
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => of(1),
        "m" => of(60),
        "h" => of(3_600),
        "d" => of(86_400),
        _ => Err(bad()),
    }
}

/// Writes a duration, in the greatest unit that divides it.
#[must_use]
pub fn text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_nanos() > 0 || seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    for (unit, name) in [(86_400, "d"), (3_600, "h"), (60, "m")] {
        if seconds.is_multiple_of(unit) {
            return format!("{}{name}", seconds / unit);
        }
    }
    format!("{seconds}s")
}

/// For `#[serde(with)]`: a [`Duration`] that is written as text.
pub mod written {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Reads it.
    ///
    /// # Errors
    /// It is no text, or no duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }

    /// Writes it.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::text(*duration))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_they_are_read() {
        for written in ["0ms", "250ms", "1500ms", "30s", "90s", "5m", "1h", "2d"] {
            assert_eq!(text(parse(written).unwrap()), written);
        }
        assert_eq!(text(parse("60s").unwrap()), "1m");
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse("100ms").unwrap(), Duration::from_millis(100));
        assert_eq!(parse("2d").unwrap(), Duration::from_secs(172_800));
        for bad in
            ["", "5", "ms", "1.5s", "-1s", "1 h", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse(bad).unwrap_err().to_string().contains("expected"), "{bad}");
        }
    }
}
