//! What the connectors add to a node: `[[bridge]]` in its configuration, paths of its API, metrics, findings, and the
//! bridges' states in its backups.
//!
//! | file | what |
//! |---|---|
//! | `sections` | reads and judges `[[bridge]]` |
//! | `restored` | what follows from a restore |
//! | `findings`, `metrics` | what the bridges' reports mean for people, and for programs |

mod findings;
mod metrics;
mod restored;
mod sections;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_node::extension::{Context, ExtensionError, Finding, Part, Routes};
use branchline_node::{Config, ConfigError, Extension};
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;

use crate::api;
use crate::jobs::store;
use crate::sql::bridges::Bridges;
use crate::sql::config::BridgeConfig;

/// The connectors, for [`branchline_node::Node::builder`].
#[must_use]
pub fn extension() -> Arc<dyn Extension> {
    Arc::new(Connect)
}

/// The bridges that a configuration has, whether or not it is sound in other respects.
///
/// # Errors
/// A section cannot be read; the error names file, line and bridge.
pub fn configured(config: &Config) -> Result<Vec<BridgeConfig>, ConfigError> {
    sections::read(&config.sections)
}

struct Connect;

impl Extension for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn sections(&self) -> &'static [&'static str] {
        &[sections::BRIDGE]
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        sections::check(&config.sections)
    }

    fn open(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Part>, ExtensionError>> {
        async move {
            // What is wrong with it, a node that is to run has been told; other commands work without.
            let configs = configured(&context.config).unwrap_or_default();
            let bridges = Bridges::new(context.handle.clone(), context.folder.clone());
            let inner = Inner { bridges, context, work: Mutex::new(Work { configs, runs: false }) };
            Ok(Arc::new(Connectors(Arc::new(inner))) as Arc<dyn Part>)
        }
        .boxed()
    }
}

/// The connectors of one site.
pub(crate) struct Inner {
    pub(crate) bridges: Bridges,
    pub(crate) context: Context,
    work: Mutex<Work>,
}

/// What the connectors are to do.
struct Work {
    configs: Vec<BridgeConfig>,
    /// Whether the node runs.
    runs: bool,
}

impl Inner {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bridges as they are configured.
    pub(crate) fn configs(&self) -> Vec<BridgeConfig> {
        self.work().configs.clone()
    }

    /// Whether the node runs, and with it the bridges.
    pub(crate) fn runs(&self) -> bool {
        self.work().runs
    }

    async fn take_up(&self, configs: Vec<BridgeConfig>) -> Result<(), ExtensionError> {
        if !configs.is_empty() {
            make_folder(&self.context.folder)?;
            restored::pause(&self.context.folder).await?;
        }
        self.bridges.take_up(&configs).await;
        *self.work() = Work { configs, runs: true };
        Ok(())
    }
}

/// Makes a folder for its owner alone: views hold what the tables hold.
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

struct Connectors(Arc<Inner>);

impl Part for Connectors {
    fn routes(&self) -> Routes {
        api::routes(&self.0)
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ExtensionError>> {
        async { self.0.take_up(self.0.configs()).await }.boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.0.bridges.stop().boxed()
    }

    fn reload<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            let configs = configured(config)?;
            let before = self.0.configs();
            for config in configs.iter().filter(|config| !before.contains(config)) {
                self.0.bridges.try_out(config).await?;
            }
            self.0.take_up(configs).await
        }
        .boxed()
    }

    fn metrics(&self, registry: &mut Registry) {
        metrics::register(registry, &self.0.bridges.reports());
    }

    fn findings(&self) -> BoxFuture<'_, Vec<Finding>> {
        let findings = match self.0.runs() {
            true => findings::of(&self.0.bridges.reports()),
            false => Vec::new(),
        };
        std::future::ready(findings).boxed()
    }

    fn snapshot<'a>(&'a self, into: &'a Path) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            for file in restored::states(&self.0.context.folder)? {
                let name = file.file_name().unwrap_or_default();
                // Another connection than the worker's: what is copied is the state at one moment.
                store::copy(&file, &into.join(name)).await?;
            }
            Ok(())
        }
        .boxed()
    }
}
