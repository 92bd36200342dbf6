//! What the connectors add to a node: `[[bridge]]`, `[[source]]` and `[[sink]]` in its configuration, paths of its API, metrics, findings,
//! and their states in its backups.
//!
//! | file | what |
//! |---|---|
//! | `sections` | reads and judges the configuration |
//! | `restored` | what follows from a restore |
//! | `findings`, `metrics`, and those of `source_` and `sink_` | what the reports mean for people, and for programs |

mod findings;
mod metrics;
mod restored;
mod sections;
mod sink_findings;
mod sink_metrics;
mod source_findings;
mod source_metrics;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_node::extension::{Context, ExtensionError, Finding, Part, Routes};
use branchline_node::{Config, ConfigError, Extension};
use futures::FutureExt;
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;

use crate::api;
use crate::jobs::board::Jobs;
use crate::jobs::store;
use crate::kinds::Kinds;
use crate::sink::config::SinkConfig;
use crate::sink::sinks::Sinks;
use crate::source::config::SourceConfig;
use crate::source::sources::{SourceError, Sources};
use crate::sql::bridges::Bridges;
use crate::sql::config::BridgeConfig;

/// The connectors, for [`branchline_node::Node::builder`].
#[must_use]
pub fn extension() -> Arc<dyn Extension> {
    extension_with(Kinds::default())
}

/// The connectors, with kinds of sources and sinks that the program has besides.
#[must_use]
pub fn extension_with(kinds: Kinds) -> Arc<dyn Extension> {
    Arc::new(Connect { kinds: Arc::new(kinds) })
}

/// The bridges that a configuration has, whether or not it is sound in other respects.
///
/// # Errors
/// A section cannot be read; the error names file, line and bridge.
pub fn configured(config: &Config) -> Result<Vec<BridgeConfig>, ConfigError> {
    sections::bridge::read(&config.sections)
}

struct Connect {
    kinds: Arc<Kinds>,
}

impl Extension for Connect {
    fn name(&self) -> &'static str {
        "connect"
    }

    fn sections(&self) -> &'static [&'static str] {
        &[sections::bridge::BRIDGE, sections::source::SOURCE, sections::sink::SINK]
    }

    fn check(&self, config: &Config) -> Result<(), ConfigError> {
        sections::bridge::check(&config.sections)?;
        sections::source::check(&config.sections)?;
        sections::sink::check(&config.sections)
    }

    fn open(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Part>, ExtensionError>> {
        async move {
            // What is wrong with it, a node that is to run has reported; other commands work without.
            let bridge_configs = configured(&context.config).unwrap_or_default();
            let source_configs =
                sections::source::read(&context.config.sections).unwrap_or_default();
            let sink_configs = sections::sink::read(&context.config.sections).unwrap_or_default();
            let (handle, folder) = (context.handle.clone(), context.folder.clone());
            let jobs = Arc::new(Jobs::open(&folder).await?);
            let inner = ExtensionInner {
                bridges: Bridges::new(handle.clone(), folder.clone()).with_jobs(Arc::clone(&jobs)),
                sinks: Sinks::new(
                    handle.clone(),
                    folder.clone(),
                    Arc::clone(&jobs),
                    Arc::clone(&self.kinds),
                ),
                sources: Sources::new(handle, folder, Arc::clone(&jobs), Arc::clone(&self.kinds)),
                jobs,
                context,
                work: Mutex::new(ExtensionWork {
                    bridges: bridge_configs,
                    sources: source_configs,
                    sinks: sink_configs,
                    runs: false,
                }),
            };
            Ok(Arc::new(Connectors(Arc::new(inner))) as Arc<dyn Part>)
        }
        .boxed()
    }
}

/// The connectors of one site.
pub(crate) struct ExtensionInner {
    pub(crate) bridges: Bridges,
    pub(crate) sources: Sources,
    pub(crate) sinks: Sinks,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) context: Context,
    work: Mutex<ExtensionWork>,
}

/// What the connectors are to do.
#[derive(Clone)]
struct ExtensionWork {
    bridges: Vec<BridgeConfig>,
    sources: Vec<SourceConfig>,
    sinks: Vec<SinkConfig>,
    /// Whether the node runs.
    runs: bool,
}

impl ExtensionInner {
    fn work(&self) -> MutexGuard<'_, ExtensionWork> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bridges as they are configured.
    pub(crate) fn configs(&self) -> Vec<BridgeConfig> {
        self.work().bridges.clone()
    }

    /// The sources as they are configured.
    pub(crate) fn source_configs(&self) -> Vec<SourceConfig> {
        self.work().sources.clone()
    }

    /// The sinks as they are configured.
    pub(crate) fn sink_configs(&self) -> Vec<SinkConfig> {
        self.work().sinks.clone()
    }

    /// Whether the node runs, and with it the connectors.
    pub(crate) fn runs(&self) -> bool {
        self.work().runs
    }

    async fn take_up(&self, work: ExtensionWork) -> Result<(), ExtensionError> {
        restored::pause(&self.context.folder, &work.sources, &work.sinks).await?;
        self.bridges.take_up(&work.bridges).await;
        self.sources.take_up(&work.sources).await;
        self.sinks.take_up(&work.sinks).await;
        *self.work() = ExtensionWork { runs: true, ..work };
        Ok(())
    }
}

struct Connectors(Arc<ExtensionInner>);

impl Part for Connectors {
    fn routes(&self) -> Routes {
        api::routes(&self.0)
    }

    fn start(&self) -> BoxFuture<'_, Result<(), ExtensionError>> {
        async {
            let work = self.0.work().clone();
            self.0.take_up(work).await
        }
        .boxed()
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        async {
            self.0.bridges.stop().await;
            self.0.sources.stop().await;
            self.0.sinks.stop().await;
        }
        .boxed()
    }

    fn reload<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            let (bridges, sources) =
                (configured(config)?, sections::source::read(&config.sections)?);
            let sinks = sections::sink::read(&config.sections)?;
            let before = self.0.work().clone();
            for config in bridges.iter().filter(|config| !before.bridges.contains(config)) {
                self.0.bridges.try_out(config).await?;
            }
            for config in sources.iter().filter(|config| !before.sources.contains(config)) {
                let tried = self.0.sources.try_out(config);
                tried.map_err(|error: SourceError| format!("source {}: {error}", config.name))?;
            }
            for config in sinks.iter().filter(|config| !before.sinks.contains(config)) {
                let tried = self.0.sinks.try_out(config);
                tried.map_err(|error| format!("sink {}: {error}", config.name))?;
            }
            self.0.take_up(ExtensionWork { bridges, sources, sinks, runs: true }).await
        }
        .boxed()
    }

    fn metrics(&self, registry: &mut Registry) {
        metrics::register(registry, &self.0.bridges.reports());
        source_metrics::register(registry, &self.0.sources.reports());
        sink_metrics::register(registry, &self.0.sinks.reports());
    }

    fn findings(&self) -> BoxFuture<'_, Vec<Finding>> {
        let mut findings = Vec::new();
        if self.0.runs() {
            findings.extend(findings::of(&self.0.bridges.reports()));
            let configs = self.0.source_configs();
            findings.extend(source_findings::of(&configs, &self.0.sources.reports()));
            findings.extend(sink_findings::of(&self.0.sinks.reports()));
        }
        std::future::ready(findings).boxed()
    }

    fn snapshot<'a>(&'a self, into: &'a Path) -> BoxFuture<'a, Result<(), ExtensionError>> {
        async move {
            for file in restored::states(&self.0.context.folder)? {
                let name = file.file_name().unwrap_or_default();
                // Another connection than the connector's: what is copied is the state at one moment.
                store::copy(&file, &into.join(name)).await?;
            }
            self.0.jobs.copy_to(into).await?;
            Ok(())
        }
        .boxed()
    }
}
