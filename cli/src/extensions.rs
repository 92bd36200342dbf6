//! What the programs add to a node, and the configuration with the sections of that.

use std::path::Path;
use std::sync::Arc;

use branchline_node::{Config, ConfigError, Extension, Overrides};

/// The extensions of a node, new for each. A crate above the node is added here.
pub(crate) fn extensions() -> Vec<Arc<dyn Extension>> {
    vec![branchline_connect::extension(), branchline_page::extension()]
}

/// The configuration of a site, for commands that run no node.
pub(crate) fn configuration(data: &Path) -> Result<Config, ConfigError> {
    Config::load_with(data, None, Overrides::default(), &extensions())
}
