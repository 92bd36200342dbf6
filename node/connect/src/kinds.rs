//! Kinds of connectors that a program has besides those of this crate, for services that no configuration describes.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use crate::source::config::SourceConfig;
use crate::source::{MakeSource, Source};

/// The kinds, by name: `kind = "stock"` of a `[[source]]` names one.
#[derive(Clone, Default)]
pub struct Kinds {
    sources: BTreeMap<String, MakeSource>,
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

    pub(crate) fn source(&self, kind: &str) -> Option<&MakeSource> {
        self.sources.get(kind)
    }
}
