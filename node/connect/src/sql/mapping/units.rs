//! Names of the configuration.

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
    fn a_name_with_a_mistake_is_found() {
        let near = |found| nearest(found, ["unit_cost", "id", "qty"].into_iter());
        assert_eq!(near("unit_cots").unwrap(), "unit_cost");
        assert_eq!(near("QTY").unwrap(), "qty");
        assert_eq!(near("price"), None);
    }
}
