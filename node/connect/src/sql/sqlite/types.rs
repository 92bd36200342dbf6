//! What a column of SQLite can hold. Its declared type is only a preference (an *affinity*), unless the table is STRICT.

use crate::sql::shape::{Charset, ColumnType};

/// The type of a column by what was declared, and what a person should know of it.
pub(super) fn column_type(declared: &str, is_strict: bool) -> (ColumnType, Option<String>) {
    let name = declared.to_ascii_uppercase();
    let has = |part: &str| name.contains(part);
    let loose = |why: &str| (ColumnType::Loose, Some(why.to_owned()));
    // The order is SQLite's: the first of these rules that fits decides the affinity.
    if has("INT") {
        return (integer(), None);
    }
    if has("CHAR") || has("CLOB") || has("TEXT") {
        return (text(), None);
    }
    if has("BLOB") {
        return (ColumnType::Bytes { bytes_max: None, padded_to: None }, None);
    }
    if name.is_empty() || (is_strict && name == "ANY") {
        return (ColumnType::Loose, None);
    }
    if has("REAL") || has("FLOA") || has("DOUB") {
        return (ColumnType::Float { is_double: true }, None);
    }
    // From here on the affinity is NUMERIC: a text that looks like a number becomes one.
    if has("BOOL") {
        return (ColumnType::Boolean, None);
    }
    if has("DATETIME") || has("TIMESTAMP") {
        let has_zone = has("TZ") || has("WITH TIME ZONE");
        return (ColumnType::DateTime { digits: 9, has_zone }, None);
    }
    if has("DATE") {
        return (ColumnType::Date, None);
    }
    if has("TIME") {
        return (ColumnType::Time, None);
    }
    if has("DEC") || has("NUMERIC") || has("MONEY") || has("NUMBER") {
        return loose("SQLite keeps such numbers as floats: declare TEXT, or INTEGER for cents");
    }
    loose("SQLite makes numbers of texts that look like some ('007' becomes 7): declare TEXT")
}

fn integer() -> ColumnType {
    ColumnType::Integer { min: i128::from(i64::MIN), max: i128::from(i64::MAX) }
}

/// Lengths are not checked by SQLite, `VARCHAR(20)` or not.
fn text() -> ColumnType {
    ColumnType::Text { chars_max: None, charset: Charset::Unicode, is_padded: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_follow_the_rules_of_affinity() {
        let kind = |declared| column_type(declared, false).0;
        assert_eq!(kind("bigint unsigned"), integer());
        assert_eq!(kind("varchar(20)"), text());
        assert_eq!(kind("blob"), ColumnType::Bytes { bytes_max: None, padded_to: None });
        assert_eq!(kind("real"), ColumnType::Float { is_double: true });
        assert_eq!(kind("boolean"), ColumnType::Boolean);
        assert_eq!(kind("datetime"), ColumnType::DateTime { digits: 9, has_zone: false });
        for declared in ["DECIMAL(10,2)", "JSON", "UUID", "STRING", ""] {
            assert_eq!(kind(declared), ColumnType::Loose, "{declared}");
        }
        assert!(column_type("DECIMAL(10,2)", false).1.is_some());
        assert_eq!(column_type("ANY", true), (ColumnType::Loose, None));
    }
}
