//! Parts and names of the configuration.

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
        Some(_) | None => Err(format!("{text:?} is no part of a table, expected 0% to 100%")),
    }
}

/// The name among these that is nearly the one that was found.
pub(in crate::sql) fn nearest<'n>(
    found: &str,
    names: impl Iterator<Item = &'n str>,
) -> Option<String> {
    let found = found.to_lowercase();
    let distances =
        names.map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name));
    let near = distances.filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 3));
    near.min().map(|(_, name)| name.to_owned())
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

    #[test]
    fn a_name_with_a_mistake_is_found() {
        let near = |found| nearest(found, ["unit_cost", "id", "qty"].into_iter());
        assert_eq!(near("unit_cots").unwrap(), "unit_cost");
        assert_eq!(near("QTY").unwrap(), "qty");
        assert_eq!(near("price"), None);
    }
}
