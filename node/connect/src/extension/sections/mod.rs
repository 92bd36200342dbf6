//! The sections of `branchline.toml` that are the connectors': read as a whole, and refused by file, line and name.

pub(super) mod bridge;
pub(super) mod sink;
pub(super) mod source;

use std::ops::Range;

use toml::Spanned;

/// Longest name of a connector: it is part of a file's name.
const NAME_BYTES_MAX: usize = 64;

/// Judges the name of a connector.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(format!(
            "its name is {name:?}: expected 1 to {NAME_BYTES_MAX} small letters, digits, - and _"
        ));
    }
    Ok(())
}

/// The one among several tables that a place is in.
fn last_before<'a, T>(tables: &'a [Spanned<T>], place: &Range<usize>) -> Option<&'a T> {
    tables.iter().rfind(|table| table.span().start <= place.start).map(Spanned::get_ref)
}

/// A name as far as it can be read.
fn name_of(value: &Option<toml::Value>) -> String {
    match value {
        Some(toml::Value::String(text)) => text.clone(),
        Some(_) | None => "without a name".to_owned(),
    }
}
