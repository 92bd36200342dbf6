//! What a declared type can hold.

use super::text::base;
use crate::sql::shape::{Charset, ColumnType};

/// What `information_schema.columns` says of a column's type.
pub(super) struct MariadbDeclared<'a> {
    /// `bigint(20) unsigned`.
    pub(super) column_type: &'a str,
    /// Characters of texts, bytes of blobs.
    pub(super) length: Option<u64>,
    /// Digits of a number, and those behind the point.
    pub(super) precision: Option<u32>,
    pub(super) scale: Option<u32>,
    /// Digits of a second's fraction.
    pub(super) fraction: Option<u8>,
    pub(super) charset: Option<&'a str>,
    /// Whether a CHECK says that the text is JSON: that is all that MariaDB's JSON is.
    pub(super) is_json: bool,
}

/// What a column of this type can hold.
pub(super) fn kind(of: &MariadbDeclared<'_>) -> ColumnType {
    let is_unsigned = of.column_type.contains("unsigned");
    let base = base(of.column_type);
    match base {
        "tinyint" => integer(8, is_unsigned),
        "smallint" => integer(16, is_unsigned),
        "mediumint" => integer(24, is_unsigned),
        "int" => integer(32, is_unsigned),
        "bigint" => integer(64, is_unsigned),
        // 0 can be read, but 5 would become 2005.
        "year" => ColumnType::Integer { min: 1901, max: 2155 },
        "bit" => match of.precision {
            Some(1) | None => ColumnType::Boolean,
            Some(bits) => integer(bits, true),
        },
        "decimal" => ColumnType::Decimal {
            digits: Some((of.precision.unwrap_or(10), of.scale.unwrap_or(0))),
        },
        "float" => ColumnType::Float { is_double: false },
        "double" => ColumnType::Float { is_double: true },
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "datetime" | "timestamp" => {
            ColumnType::DateTime { digits: of.fraction.unwrap_or(0), has_zone: base == "timestamp" }
        }
        "uuid" => ColumnType::Uuid,
        "inet6" | "inet4" => ColumnType::Other,
        "enum" => ColumnType::Enum { labels: labels(of.column_type) },
        "set" => ColumnType::Set { labels: labels(of.column_type) },
        "binary" => ColumnType::Bytes { bytes_max: of.length, padded_to: of.length },
        "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            ColumnType::Bytes { bytes_max: of.length, padded_to: None }
        }
        "longtext" if of.is_json => ColumnType::Json { is_normalised: false },
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => ColumnType::Text {
            chars_max: of.length,
            charset: charset(of.charset),
            is_padded: base == "char",
        },
        _ => ColumnType::Refused {
            why: format!(
                "the type {} has no text form that is read back as it was; leave the column out with skip = true",
                of.column_type
            ),
        },
    }
}

fn integer(bits: u32, is_unsigned: bool) -> ColumnType {
    let values = 1_i128.checked_shl(bits).unwrap_or(i128::MAX);
    if is_unsigned {
        ColumnType::Integer { min: 0, max: values - 1 }
    } else {
        ColumnType::Integer { min: -values / 2, max: values / 2 - 1 }
    }
}

/// Others than these refuse by themselves what does not fit, since the session is strict.
fn charset(name: Option<&str>) -> Charset {
    match name {
        Some("utf8mb3" | "utf8" | "ucs2") => Charset::BasicPlane,
        Some("latin1") => Charset::Latin1,
        Some("ascii") => Charset::Ascii,
        _ => Charset::Unicode,
    }
}

/// The labels of `enum('a','b''c')`.
fn labels(column_type: &str) -> Vec<String> {
    let list = column_type.split_once('(').map_or("", |(_, list)| list);
    let mut labels = Vec::new();
    let mut label: Option<String> = None;
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match (&mut label, character) {
            (None, '\'') => label = Some(String::new()),
            (None, _) => {}
            (Some(text), '\'') if characters.peek() == Some(&'\'') => {
                characters.next();
                text.push('\'');
            }
            (Some(_), '\'') => labels.extend(label.take()),
            (Some(text), other) => text.push(other),
        }
    }
    labels
}

/// Why two keys of this column that differ in bytes can be one key.
pub(super) fn key_trap(
    kind: &ColumnType,
    collation: Option<&str>,
    prefix: Option<&str>,
) -> Option<String> {
    if let Some(prefix) = prefix {
        return Some(format!("the key holds the first {prefix} characters only"));
    }
    let ColumnType::Text { is_padded, .. } = kind else {
        return match kind {
            ColumnType::Float { .. } => Some("a float has no exact text form".to_owned()),
            _ => None,
        };
    };
    let collation = collation?;
    if collation.ends_with("nopad_bin") || (collation.ends_with("_bin") && *is_padded) {
        return None;
    }
    if collation.ends_with("_bin") {
        return Some(format!("the collation {collation} ignores blanks at the end: 'a' is 'a '"));
    }
    Some(format!(
        "the collation {collation} calls different texts the same, such as 'a', 'A' and 'a '; a key needs utf8mb4_nopad_bin"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_from_the_declaration() {
        assert_eq!(labels("enum('b','a''s','x,y','')"), ["b", "a's", "x,y", ""]);
        assert_eq!(labels("set('x')"), ["x"]);
    }

    #[test]
    fn integers_have_the_bounds_of_their_bits() {
        assert_eq!(integer(8, false), ColumnType::Integer { min: -128, max: 127 });
        assert_eq!(integer(64, true), ColumnType::Integer { min: 0, max: u64::MAX.into() });
    }
}
