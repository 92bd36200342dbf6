//! Declared types, and what they hold.

use crate::sql::shape::{Charset, ColumnType};

/// A column's base type as the catalogue has it: of a domain, the type below.
pub(super) struct PostgresDeclared {
    /// The type's name.
    pub(super) name: String,
    /// Whether it is PostgreSQL's own.
    pub(super) is_builtin: bool,
    /// `b` base, `c` composite, `e` enum, `r` range, `m` multirange.
    pub(super) class: String,
    /// Length, digits: PostgreSQL's packed form; -1 for none.
    pub(super) modifier: i32,
    /// The labels of an enum.
    pub(super) labels: Vec<String>,
    /// The characters of the database's encoding.
    pub(super) charset: Charset,
    /// The collation that takes different texts for equal, if the column's does.
    pub(super) loose_collation: Option<String>,
}

/// What a column of the type can hold.
pub(super) fn kind(declared: &PostgresDeclared) -> ColumnType {
    let modifier = declared.modifier;
    let text = |chars_max: Option<i32>, is_padded| ColumnType::Text {
        chars_max: chars_max.and_then(|chars| u64::try_from(chars).ok()),
        charset: declared.charset,
        is_padded,
    };
    // The packed length counts four bytes of a header.
    let chars = (modifier >= 4).then(|| modifier - 4);
    let digits = u8::try_from(modifier).unwrap_or(6).min(6);
    if declared.class == "e" {
        return ColumnType::Enum { labels: declared.labels.clone() };
    }
    if !declared.is_builtin {
        return if declared.name == "citext" { text(None, false) } else { ColumnType::Other };
    }
    let whole = |min: i128, max: i128| ColumnType::Integer { min, max };
    match &*declared.name {
        "int2" => whole(i16::MIN.into(), i16::MAX.into()),
        "int4" => whole(i32::MIN.into(), i32::MAX.into()),
        "int8" => whole(i64::MIN.into(), i64::MAX.into()),
        "oid" => whole(0, u32::MAX.into()),
        "numeric" => numeric(modifier),
        "float4" => ColumnType::Float { is_double: false },
        "float8" => ColumnType::Float { is_double: true },
        "money" | "_money" => ColumnType::Refused {
            why: "its text changes with the server's lc_monetary; make it numeric, or skip the column".to_owned(),
        },
        "bool" => ColumnType::Boolean,
        "text" => text(None, false),
        "varchar" => text(chars, false),
        "bpchar" => text(chars, true),
        // In bytes; a character has one at least.
        "name" => text(Some(63), false),
        "bytea" => ColumnType::Bytes { bytes_max: None, padded_to: None },
        "timestamptz" => ColumnType::DateTime { digits, has_zone: true },
        "timestamp" => ColumnType::DateTime { digits, has_zone: false },
        "date" => ColumnType::Date,
        "time" => ColumnType::Time,
        "json" => ColumnType::Json { is_normalised: false },
        "jsonb" => ColumnType::Json { is_normalised: true },
        "uuid" => ColumnType::Uuid,
        _ => ColumnType::Other,
    }
}

fn numeric(modifier: i32) -> ColumnType {
    if modifier < 4 {
        return ColumnType::Decimal { digits: None };
    }
    let packed = modifier - 4;
    let all = u32::try_from((packed >> 16) & 0xffff).unwrap_or(0);
    // Eleven bits with a sign.
    let behind = ((packed & 0x7ff) ^ 1024) - 1024;
    match u32::try_from(behind) {
        // `numeric(2,4)` takes 0.0099 at most: its four digits are an upper bound.
        Ok(behind) => ColumnType::Decimal { digits: Some((all.max(behind), behind)) },
        Err(_) => ColumnType::Refused {
            why: format!(
                "numeric({all},{behind}) rounds whole numbers without a word; give it a scale of 0 or more, or skip the column"
            ),
        },
    }
}

/// Why two keys that differ can be one key in a column of the type.
pub(super) fn key_trap(declared: &PostgresDeclared, kind: &ColumnType) -> Option<String> {
    if let Some(collation) = &declared.loose_collation {
        return Some(format!("the collation {collation} takes texts that differ for equal"));
    }
    let trap = match (&*declared.name, kind) {
        ("citext", _) => "citext takes 'A' and 'a' for equal",
        (_, ColumnType::Decimal { digits: None }) => {
            "numeric without digits takes 1 and 1.0 for equal"
        }
        (_, ColumnType::Float { .. }) => "0 and -0 are equal",
        ("jsonb", _) => "jsonb takes 1 and 1.0 for equal",
        ("interval", _) => "24 hours and 1 day are equal",
        _ => return None,
    };
    Some(trap.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_of_a_numeric_are_unpacked_and_a_negative_scale_is_refused() {
        let packed = |all: i32, behind: i32| ((all << 16) | (behind & 0x7ff)) + 4;
        assert_eq!(numeric(-1), ColumnType::Decimal { digits: None });
        assert_eq!(numeric(packed(12, 2)), ColumnType::Decimal { digits: Some((12, 2)) });
        assert_eq!(numeric(packed(2, 4)), ColumnType::Decimal { digits: Some((4, 4)) });
        assert_eq!(numeric(packed(1000, 1000)), ColumnType::Decimal { digits: Some((1000, 1000)) });
        assert!(matches!(numeric(packed(5, -2)), ColumnType::Refused { .. }));
    }
}
