//! Kinds of connectors that a program has besides those of this crate, for services that no configuration describes.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

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
}
