//! Kinds of connectors that a program has besides those of this crate, for services that no configuration describes.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use branchline_node::{Config, Node, Overrides};

use crate::sink::config::SinkConfig;
use crate::sink::{MakeSink, Sink};
use crate::source::config::SourceConfig;
use crate::source::{MakeSource, Source};

/// The kinds, by name: `kind = "stock"` of a `[[source]]` or `[[sink]]` names one.
#[derive(Clone, Default)]
pub struct Kinds {
    sources: BTreeMap<String, MakeSource>,
    sinks: BTreeMap<String, MakeSink>,
}

impl Kinds {
    /// Adds a kind of source. `make` is given the source's configuration, whose `options` are the kind's own.
    #[must_use]
    pub fn with_source(
        mut self,
        kind: &str,
        make: impl Fn(&SourceConfig) -> Result<Box<dyn Source>, Box<dyn Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.sources.insert(kind.to_owned(), Arc::new(make));
        self
    }

    /// Adds a kind of sink. `make` is given the sink's configuration, whose `options` are the kind's own.
    #[must_use]
    pub fn with_sink(
        mut self,
        kind: &str,
        make: impl Fn(&SinkConfig) -> Result<Arc<dyn Sink>, Box<dyn Error + Send + Sync>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.sinks.insert(kind.to_owned(), Arc::new(make));
        self
    }

    pub(crate) fn sink(&self, kind: &str) -> Option<&MakeSink> {
        self.sinks.get(kind)
    }

    /// The kinds of sinks that the program has besides.
    pub(crate) fn sinks(&self) -> impl Iterator<Item = &str> {
        self.sinks.keys().map(String::as_str)
    }

    pub(crate) fn source(&self, kind: &str) -> Option<&MakeSource> {
        self.sources.get(kind)
    }

    /// Starts a node on a data folder, with these kinds and all other connectors, as its `branchline.toml` says.
    ///
    /// # Errors
    /// What the settings have wrong, or why the node cannot start.
    pub async fn start(
        self,
        data: impl Into<PathBuf>,
    ) -> Result<Node, Box<dyn Error + Send + Sync>> {
        let extensions = vec![crate::extension_with(self)];
        let config = Config::load_with(data, None, Overrides::default(), &extensions)?;
        Ok(Node::builder(config).with_all(extensions).start().await?)
    }
}

/// A text among the options of a kind.
///
/// # Errors
/// What was found instead.
pub fn option<'a>(options: &'a toml::Table, name: &str) -> Result<&'a str, String> {
    match options.get(name) {
        Some(toml::Value::String(text)) => Ok(text),
        Some(other) => Err(format!("options.{name}: expected a text, found {other}")),
        None => Err(format!("options.{name} is missing, expected a text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_a_text_or_an_error_that_says_what_was_found() {
        let options: toml::Table = "path = \"/srv\"\nport = 80".parse().expect("options");
        assert_eq!(option(&options, "path"), Ok("/srv"));
        let found = option(&options, "port").unwrap_err();
        assert_eq!(found, "options.port: expected a text, found 80");
        assert!(option(&options, "user").unwrap_err().contains("options.user is missing"));
    }
}
