//! The limits of the format.
//!
//! They belong to the format, not to configuration: every replica must give the same verdict on
//! the same change, so changing one of them is a new version of the format.

/// Greatest length of a record id, in bytes. Ids are parts of storage keys and of URLs.
pub const RECORD_ID_BYTES_MAX: usize = 255;
/// Greatest length of a collection name, in bytes. Names are parts of every storage key.
pub const COLLECTION_BYTES_MAX: usize = 64;
/// Greatest length of a field name, in bytes. A name is repeated in each operation on its field.
pub const FIELD_NAME_BYTES_MAX: usize = 255;
/// How deep maps, lists and texts may nest below the record. Readers walk them recursively.
pub const DEPTH_MAX: usize = 16;
/// Greatest number of operations in one change, and of the removals they name. It bounds what a
/// few bytes with long runs can mean in memory.
pub const OPERATIONS_MAX: usize = 65_536;
/// Greatest size of a change, in bytes. It bounds what a receiver must hold to judge a change.
pub const CHANGE_BYTES_MAX: usize = 1 << 20;
/// Greatest size of one string or bytes value, in bytes. It has to fit in one change.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Greatest operation counter. Automerge keeps counters in 32 bits and panics close to their end;
/// no honest record comes near it, and a peer must not be able to lead one there.
pub const COUNTER_MAX: u64 = 1 << 31;
/// Greatest amount of one increment, and greatest start of a counter, either way: integers that
/// every JSON reader keeps exactly.
pub const INCREMENT_MAX: i64 = 1 << 53;
/// Greatest number of genesis that one change may rely on. Each is derived and applied by every
/// receiver.
pub const GENESIS_MAX: usize = 64;
/// Greatest number of digits of a decimal: what the decimal types of the common databases keep.
pub const DECIMAL_DIGITS_MAX: usize = 38;
/// Greatest number of fields that one schema declares. A schema is read at each write.
pub const SCHEMA_FIELDS_MAX: usize = 1_024;
/// Greatest number of fields that one schema indexes. Each is a row more to write for every record.
pub const SCHEMA_INDEXES_MAX: usize = 8;

/// The collection whose records are the schemas of the other collections.
pub const SCHEMA_COLLECTION: &str = "_schema";
/// How the names begin that are kept for the product's own use.
const RESERVED: &str = "_";
/// How the names begin that programs which read JSON as this one does take for something else: a map of one such name is
/// a number to them.
pub(super) const JSON_RESERVED: &str = "$serde_json::private::";
/// The field that says whether a record is deleted.
pub const DELETED_FIELD: &str = "_deleted";

/// Why a name is not one that the format knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name is empty.
    #[error("the {what} is empty")]
    Empty {
        /// What was named.
        what: &'static str,
    },
    /// The name is too long.
    #[error("the {what} has {found} bytes, at most {max} are allowed")]
    TooLong {
        /// What was named.
        what: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The greatest length in bytes.
        max: usize,
    },
    /// The name has a character that is not allowed.
    #[error("the {what} {name:?} has the character {found:?}; allowed: {allowed}")]
    Character {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The name begins with a character that is not allowed there.
    #[error("the {what} {name:?} does not begin with a letter from a to z")]
    Beginning {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The name is kept for the product's own use.
    #[error(
        "the {what} {name:?} begins with {beginning:?}, which is reserved; choose another name"
    )]
    Reserved {
        /// What was named.
        what: &'static str,
        /// The name.
        name: String,
        /// How no name may begin.
        beginning: &'static str,
    },
}

fn check_length(what: &'static str, name: &str, max: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty { what });
    }
    if name.len() > max {
        return Err(NameError::TooLong { what, found: name.len(), max });
    }
    Ok(())
}

fn check_characters(
    what: &'static str,
    name: &str,
    allowed: &'static str,
    is_allowed: impl Fn(char) -> bool,
) -> Result<(), NameError> {
    match name.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(found) => Err(NameError::Character { what, name: name.to_owned(), found, allowed }),
    }
}

/// Checks the name of a collection: 1 to 64 bytes of `[a-z0-9_-]`, beginning with a letter.
/// Names that begin with `_` are reserved; of them only `_schema` exists.
///
/// # Errors
/// [`NameError`] says what was found.
pub fn check_collection(name: &str) -> Result<(), NameError> {
    const WHAT: &str = "collection name";
    if name == SCHEMA_COLLECTION {
        return Ok(());
    }
    check_length(WHAT, name, COLLECTION_BYTES_MAX)?;
    check_characters(
        WHAT,
        name,
        "a to z, 0 to 9, '_' and '-'",
        |c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'),
    )?;
    match name.chars().next() {
        Some('_') => {
            Err(NameError::Reserved { what: WHAT, name: name.to_owned(), beginning: RESERVED })
        }
        Some('a'..='z') => Ok(()),
        Some(_) | None => Err(NameError::Beginning { what: WHAT, name: name.to_owned() }),
    }
}

/// Checks a record id: 1 to 255 bytes, no control characters.
///
/// # Errors
/// [`NameError`] says what was found.
pub fn check_record_id(id: &str) -> Result<(), NameError> {
    const WHAT: &str = "record id";
    check_length(WHAT, id, RECORD_ID_BYTES_MAX)?;
    check_characters(WHAT, id, "all but control characters", |c| !c.is_control())
}

/// Checks a field name as any replica may write it: 1 to 255 bytes, no control characters. Dots
/// are names of their own only in records of `_schema`, and reserved names begin with `_`; both
/// are kept from users by [`check_user_field`].
pub(crate) fn check_field(name: &str) -> Result<(), NameError> {
    const WHAT: &str = "field name";
    check_length(WHAT, name, FIELD_NAME_BYTES_MAX)?;
    check_characters(WHAT, name, "all but control characters", |c| !c.is_control())
}

/// Checks a field name as a user may write it: additionally no `.`, which separates the names of
/// a path, and no reserved beginning.
pub(crate) fn check_user_field(name: &str) -> Result<(), NameError> {
    const WHAT: &str = "field name";
    check_field(name)?;
    check_characters(WHAT, name, "all but '.' (it separates the names of a path)", |c| c != '.')?;
    match [RESERVED, JSON_RESERVED].into_iter().find(|beginning| name.starts_with(beginning)) {
        None => Ok(()),
        Some(beginning) => {
            Err(NameError::Reserved { what: WHAT, name: name.to_owned(), beginning })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_are_short_lower_case_names() {
        for good in ["stock", "a", "a_b-9", "_schema", &"x".repeat(64)] {
            assert_eq!(check_collection(good), Ok(()), "{good}");
        }
        for bad in ["", "Stock", "9a", "-a", "_network", "a.b", &"x".repeat(65)] {
            assert!(check_collection(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn record_ids_are_any_printable_text() {
        for good in ["1", "été/42 b", &"x".repeat(255)] {
            assert_eq!(check_record_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert!(check_record_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_write_no_reserved_fields_and_no_dots() {
        assert_eq!(check_user_field("address"), Ok(()));
        for bad in ["_deleted", "a.b", "", "a\tb", "$serde_json::private::Number"] {
            assert!(check_user_field(bad).is_err(), "{bad}");
        }
    }
}
