//! The record's id: one column, or several joined so that no two rows get one id.

use std::borrow::Cow;

use super::csv::cells::one_line;

/// Stands between the parts of an id. Within a part a backslash stands before it, and before a backslash.
const JOINER: char = ',';

/// The names of the columns that `--id` means: the column of that very name, else what stands between commas. A name
/// with a comma in it stands in quotes there, as in a CSV header.
pub(crate) fn columns<'a>(id: &str, mut names: impl Iterator<Item = &'a str>) -> Vec<String> {
    if names.any(|name| name == id) {
        return vec![id.to_owned()];
    }
    match one_line(id, JOINER) {
        Ok(row) if row.cells.iter().all(|name| !name.is_empty()) => row.cells,
        Ok(_) | Err(_) => vec![id.to_owned()],
    }
}

/// Joins the parts of an id. One part alone is the id itself.
pub(crate) fn join(parts: &[Cow<'_, str>]) -> String {
    if let [part] = parts {
        return part.to_string();
    }
    let mut id = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            id.push(JOINER);
        }
        for c in part.chars() {
            if c == JOINER || c == '\\' {
                id.push('\\');
            }
            id.push(c);
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn names(id: &str, header: &[&str]) -> Vec<String> {
        columns(id, header.iter().copied())
    }

    #[test]
    fn a_column_with_a_comma_in_its_name_stays_reachable() {
        assert_eq!(names("a", &["a", "b"]), ["a"]);
        assert_eq!(names("a,b", &["a", "b"]), ["a", "b"]);
        assert_eq!(names("a,b", &["a,b", "a", "b"]), ["a,b"]);
        assert_eq!(names("\"a,b\",c", &["a,b", "c"]), ["a,b", "c"]);
        assert_eq!(names("a,", &["a"]), ["a,"]);
    }

    proptest! {
        #[test]
        fn different_parts_give_different_ids(
            rows in prop::collection::vec(prop::collection::vec("[a,\\\\\"]{0,3}", 2), 40)
        ) {
            let mut found = BTreeMap::new();
            for row in rows {
                let parts: Vec<_> = row.iter().map(|part| Cow::from(part.as_str())).collect();
                let id = join(&parts);
                let known = found.entry(id).or_insert_with(|| row.clone());
                prop_assert_eq!(known, &row);
            }
        }
    }
}
