//! The sections of `branchline.toml` that are the connectors': read as a whole, and refused by file, line and name.

pub(super) mod bridge;
pub(super) mod sink;
pub(super) mod source;

use std::collections::BTreeMap;
use std::ops::Range;

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;

/// Longest name of a connector: it is part of a file's name.
const NAME_BYTES_MAX: usize = 64;

/// A connector, of which nothing is known but where it stands.
#[derive(Deserialize)]
struct SectionPlace {
    name: Option<toml::Value>,
}

/// The connectors of a section, as far as they can be read. `named`: an error with what it is about; `None`: that cannot be
/// said.
fn spanned<T: DeserializeOwned>(
    sections: &Sections,
    section: &str,
    named: impl Fn(&toml::de::Error) -> Option<ConfigError>,
) -> Result<Vec<Spanned<T>>, ConfigError> {
    match sections.read::<BTreeMap<String, Vec<Spanned<T>>>>(&[section]) {
        Ok(mut connectors) => Ok(connectors.remove(section).unwrap_or_default()),
        Err(ConfigError::Parse { path, source }) => {
            Err(named(&source).unwrap_or(ConfigError::Parse { path, source }))
        }
        Err(error) => Err(error),
    }
}

/// An error, with the connector that it is about; `None`: that cannot be said.
fn named(sections: &Sections, section: &str, error: &toml::de::Error) -> Option<ConfigError> {
    let place = error.span()?;
    let places: BTreeMap<String, Vec<Spanned<SectionPlace>>> = sections.read(&[section]).ok()?;
    let connector = last_before(places.get(section)?, &place)?;
    let name = name_of(&connector.name);
    Some(sections.refuse(place, format!("{section} {name}: {}", error.message())))
}

/// Refuses connectors of a section that cannot be, and those that are there twice.
fn check_each<T: DeserializeOwned>(
    sections: &Sections,
    section: &str,
    name_of: impl Fn(&T) -> &str,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<(), ConfigError> {
    let mut names: Vec<String> = Vec::new();
    for spanned in spanned::<T>(sections, section, |error| named(sections, section, error))? {
        let span = spanned.span();
        let config = spanned.into_inner();
        let name = name_of(&config).to_owned();
        let refuse = |what: String| Err(sections.refuse(span, format!("{section} {name}{what}")));
        if let Err(what) = check(&config) {
            return refuse(format!(": {what}"));
        }
        if names.contains(&name) {
            return refuse(" is there twice: rename one of them".to_owned());
        }
        names.push(name);
    }
    Ok(())
}

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
