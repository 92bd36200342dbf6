//! Parts of a whole in the configuration: `20%`.

/// Reads `20%` as 0.2.
///
/// # Errors
/// What was found and what is expected.
pub fn part(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').filter(|number| {
        number.starts_with(|c: char| c.is_ascii_digit())
            && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    });
    let percent: Option<f64> = number.and_then(|number| number.parse().ok());
    match percent {
        Some(percent) if percent <= 100.0 => Ok(percent / 100.0),
        Some(_) | None => Err(format!("{text:?} is not a percentage, expected 0% to 100%")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_in_percent() {
        assert_eq!(part("20%"), Ok(0.2));
        assert_eq!(part("0.5%"), Ok(0.005));
        for text in ["", "20", "%", "101%", "-1%", "1e1%", "NaN%", "inf%", "1..2%"] {
            assert!(part(text).is_err(), "{text}");
        }
    }
}
