//! The text of a configuration, whose keys belong to the node and to extensions, read as what each takes it for. Errors
//! name the file, and the line and key in it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::Extension;
use crate::config::{CONFIG_FILE, ConfigError};

/// A configuration file, of which each extension reads its own sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections {
    path: PathBuf,
    text: Arc<str>,
}

impl Default for Sections {
    fn default() -> Self {
        Self::new(CONFIG_FILE, "")
    }
}

impl Sections {
    /// What a file says; also for programs that have it from elsewhere.
    pub fn new(path: impl Into<PathBuf>, text: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the sections of these names, as the fields of `T`: those that are absent by the fields' defaults. A field that
    /// is a [`toml::Spanned`] can be pointed at with [`Sections::refuse`].
    ///
    /// # Errors
    /// [`ConfigError`] names the place where a section is not as `T` says.
    pub fn read<T: DeserializeOwned>(&self, names: &[&str]) -> Result<T, ConfigError> {
        self.read_if(|key| names.contains(&key))
    }

    /// Reads everything but the sections of these names.
    pub(crate) fn read_other_than<T: DeserializeOwned>(
        &self,
        names: &[&str],
    ) -> Result<T, ConfigError> {
        self.read_if(|key| !names.contains(&key))
    }

    fn read_if<T: DeserializeOwned>(
        &self,
        is_meant: impl Fn(&str) -> bool,
    ) -> Result<T, ConfigError> {
        let table = self.parse()?;
        let span = table.span();
        let pairs = table.into_inner().into_iter();
        let meant: DeTable<'_> = pairs.filter(|(key, _)| is_meant(key.get_ref())).collect();
        T::deserialize(Deserializer::from(Spanned::new(span, meant)))
            .map_err(|error| self.wrong(error))
    }

    /// An error that names the file and the line of a place in it, which [`toml::Spanned::span`] tells.
    pub fn refuse(&self, place: Range<usize>, what: impl Into<String>) -> ConfigError {
        let (path, line) = (self.path.clone(), self.line(place.start));
        ConfigError::Section { path, line, what: what.into() }
    }

    /// Refuses tables that are neither `settings` nor in `sections`.
    pub(crate) fn refuse_unknown(
        &self,
        settings: &toml::Table,
        sections: &[&str],
    ) -> Result<(), ConfigError> {
        for (key, value) in self.parse()?.get_ref() {
            let name: &str = key.get_ref();
            let is_section = match value.get_ref() {
                DeValue::Table(_) => true,
                DeValue::Array(values) => {
                    values.iter().any(|value| matches!(value.get_ref(), DeValue::Table(_)))
                }
                _ => false,
            };
            if is_section && !settings.contains_key(name) && !sections.contains(&name) {
                let read = match sections {
                    [] => "it reads no sections at all".to_owned(),
                    _ => format!("it reads [{}]", sections.join("], [")),
                };
                let what = format!("no part of this program reads the section [{name}]: {read}");
                return Err(self.refuse(key.span(), what));
            }
        }
        Ok(())
    }

    /// What stands in a section; `None`: there is none.
    pub(crate) fn section(&self, name: &str) -> Option<toml::Value> {
        let table: toml::Table = self.read(&[name]).ok()?;
        table.get(name).cloned()
    }

    fn parse(&self) -> Result<Spanned<DeTable<'_>>, ConfigError> {
        DeTable::parse(&self.text).map_err(|error| self.wrong(error))
    }

    fn wrong(&self, mut source: toml::de::Error) -> ConfigError {
        source.set_input(Some(&self.text));
        ConfigError::Parse { path: self.path.clone(), source }
    }

    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

/// The sections of all these extensions.
pub(crate) fn names(extensions: &[Arc<dyn Extension>]) -> Vec<&'static str> {
    extensions.iter().flat_map(|extension| extension.sections()).copied().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Own {
        #[serde(default)]
        bridge: Vec<Bridge>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Bridge {
        name: Spanned<String>,
    }

    #[test]
    fn a_section_is_read_alone_and_its_errors_name_file_line_and_key() {
        let text = "mdns = false\n\n[[bridge]]\nname = \"till\"\n";
        let sections = Sections::new("a/branchline.toml", text);
        let own: Own = sections.read(&["bridge"]).unwrap();
        let name = &own.bridge.first().unwrap().name;
        assert_eq!(name.get_ref(), "till");
        let error = sections.refuse(name.span(), "name \"till\" is taken").to_string();
        assert_eq!(
            error,
            "the configuration a/branchline.toml is wrong in line 4: name \"till\" is taken"
        );
        let wrong = Sections::new("a/branchline.toml", text.replace("name", "nam"));
        let error = wrong.read::<Own>(&["bridge"]).unwrap_err().to_string();
        for part in ["a/branchline.toml", "line 4", "unknown field `nam`"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let none: Own = Sections::default().read(&["bridge"]).unwrap();
        assert!(none.bridge.is_empty());
    }
}
