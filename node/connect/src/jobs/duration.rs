//! Durations in the configuration: `100ms`, `30s`, `5m`, `1h`, `2d`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no duration: expected a whole number with its unit, like 100ms, 30s, 5m, 1h or 2d"
)]
pub struct BadDuration {
    /// What was found.
    pub found: String,
}

/// Reads a duration.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
