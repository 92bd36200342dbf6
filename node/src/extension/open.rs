//! The extensions of one node, and the parts that they have made for its site.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::warn;

use super::{Context, Extension, Finding, Part, Routes, Severity};
use crate::api;
use crate::config::{Config, ConfigError, Settings};
use crate::handle::Handle;
use crate::node::StartError;

/// Sets another log filter, in the syntax of the setting `log`, or says why it is none.
pub(crate) type SetLog = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// How long a part may take to end its work.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a part may take to say what a person should know: `status` waits for it.
const FINDINGS_TIMEOUT: Duration = Duration::from_secs(2);
/// Findings of one part that are reported; more of them nobody reads.
const FINDINGS_MAX: usize = 100;

/// Names in the data folder that are the node's own.
pub(super) const TAKEN: [&str; 6] = ["format", "journal", "lock", "spare", "tables", "ticket"];

/// The extensions of one node.
pub(crate) struct Extensions {
    pub(super) registered: Vec<Arc<dyn Extension>>,
    parts: OnceLock<Vec<OpenedExtensions>>,
    /// The configuration that is in use; `None` until the node runs.
    pub(super) in_use: Mutex<Option<Config>>,
    /// How the log filter is changed; `None`: only by a restart.
    pub(super) set_log: Option<SetLog>,
    /// Held while a backup is made.
    pub(super) backups: Arc<Mutex<()>>,
}

/// A part, and the extension that it is of.
pub(super) struct OpenedExtensions {
    pub(super) name: &'static str,
    pub(super) part: Arc<dyn Part>,
}

impl Handle {
    /// What a person should know of what extensions do, the worst first.
    pub async fn findings(&self) -> Vec<Finding> {
        match self.extensions.upgrade() {
            Some(extensions) => extensions.findings().await,
            None => Vec::new(),
        }
    }
}

impl Extensions {
    /// Takes extensions that can be distinguished, from each other and from the node.
    pub(crate) fn new(
        registered: Vec<Arc<dyn Extension>>,
        set_log: Option<SetLog>,
    ) -> Result<Self, ConfigError> {
        let (mut folders, mut keys) = (BTreeSet::new(), Settings::default().table());
        for extension in &registered {
            let name = extension.name();
            let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase());
            let is_free = !TAKEN.contains(&name) && folders.insert(name);
            let mut sections = extension.sections().iter();
            let section = sections.find(|section| {
                keys.insert((**section).to_owned(), toml::Value::from(name)).is_some()
            });
            let what = match section {
                _ if !is_plain || !is_free => format!("no extension can be called {name:?}"),
                Some(section) => {
                    format!("the extension {name} cannot have the section [{section}]")
                }
                None => continue,
            };
            return Err(ConfigError::Contradiction { what });
        }
        Ok(Self {
            registered,
            parts: OnceLock::new(),
            in_use: Mutex::new(None),
            set_log,
            backups: Arc::default(),
        })
    }

    /// Refuses a configuration that an extension cannot work by.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ConfigError> {
        self.registered.iter().try_for_each(|extension| extension.check(config))
    }

    /// Makes the parts for a site.
    pub(crate) async fn open(&self, handle: &Handle, config: &Config) -> Result<(), StartError> {
        let mut parts: Vec<OpenedExtensions> = Vec::new();
        for extension in &self.registered {
            let name = extension.name();
            let folder = config.data.join(name);
            let context = Context { handle: handle.clone(), folder, config: config.clone() };
            match extension.open(context).await {
                Ok(part) => parts.push(OpenedExtensions { name, part }),
                Err(source) => {
                    stop(&parts).await;
                    return Err(StartError::Extension { name, source });
                }
            }
        }
        if let Some((name, path)) = clash(&parts) {
            stop(&parts).await;
            let source = format!("its path {path} is somebody else's already").into();
            return Err(StartError::Extension { name, source });
        }
        // A node opens them once.
        let _ = self.parts.set(parts);
        Ok(())
    }

    /// Lets the parts begin to work by the configuration that they were opened with.
    pub(crate) async fn start(&self, config: Config) -> Result<(), StartError> {
        // A reload waits until all have begun.
        let mut in_use = self.in_use.lock().await;
        for OpenedExtensions { name, part } in self.parts() {
            part.start().await.map_err(|source| StartError::Extension { name, source })?;
        }
        *in_use = Some(config);
        Ok(())
    }

    /// Ends the work of all parts.
    pub(crate) async fn stop(&self) {
        // No reload begins any more, and one that hangs is not waited for.
        if let Ok(mut in_use) = timeout(STOP_TIMEOUT, self.in_use.lock()).await {
            in_use.take();
        }
        stop(self.parts()).await;
    }

    /// The paths that the parts add to the API.
    pub(crate) fn routes(&self) -> impl Iterator<Item = Routes> {
        self.parts().iter().map(|opened| opened.part.routes())
    }

    /// Adds the parts' metrics.
    pub(crate) fn metrics(&self, registry: &mut Registry) {
        self.parts().iter().for_each(|opened| opened.part.metrics(registry));
    }

    /// What a person should know, the worst first.
    async fn findings(&self) -> Vec<Finding> {
        let mut all = Vec::new();
        for OpenedExtensions { name, part } in self.parts() {
            match timeout(FINDINGS_TIMEOUT, part.findings()).await {
                Ok(found) => all.extend(found.into_iter().take(FINDINGS_MAX)),
                Err(_) => {
                    let what = format!("has not answered for {} s", FINDINGS_TIMEOUT.as_secs());
                    all.push(Finding::new(Severity::Warning, *name, what));
                }
            }
        }
        all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        all
    }

    pub(super) fn parts(&self) -> &[OpenedExtensions] {
        self.parts.get().map_or(&[], Vec::as_slice)
    }
}

/// A path that somebody else handles already, and whose it is too.
fn clash(parts: &[OpenedExtensions]) -> Option<(&'static str, String)> {
    if parts.is_empty() {
        return None;
    }
    let mut known = api::own_paths();
    for OpenedExtensions { name, part } in parts {
        for path in part.routes().paths() {
            if !known.insert(path.clone()) {
                return Some((name, path));
            }
        }
    }
    None
}

async fn stop(parts: &[OpenedExtensions]) {
    for OpenedExtensions { name, part } in parts.iter().rev() {
        if timeout(STOP_TIMEOUT, part.stop()).await.is_err() {
            warn!(extension = name, "has not stopped in time");
        }
    }
}
