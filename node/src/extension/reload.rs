//! Taking up a changed configuration while the node runs: all of it that can be, or nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tracing::{info, warn};
use utoipa::ToSchema;

use super::open::{Extensions, OpenedExtensions, SetLog};
use super::{ExtensionError, names};
use crate::config::{Config, ConfigError, Settings};
use crate::driver::Message;
use crate::handle::{Handle, Stopped};

/// The settings that can change while a node runs.
const LOG: &str = "log";
const RESERVE: &str = "disk_reserve_own_mib";

/// What came of reading the configuration again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Settings and sections that have changed and are in use now.
    pub applied: Vec<String>,
    /// Settings that have changed and are taken up when the node starts the next time.
    pub needs_restart: Vec<String>,
}

/// Why a configuration was not taken up. The one before stays in use.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The folder of a stopped node was opened.
    #[error("no node is running here; it will read its configuration when it starts")]
    NotRunning,
    /// It is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log filter is none.
    #[error("{what}")]
    Log {
        /// What is wrong with it.
        what: String,
    },
    /// An extension cannot work by it.
    #[error("{name} cannot apply the configuration: {source}")]
    Extension {
        /// Which.
        name: &'static str,
        /// Why.
        source: ExtensionError,
    },
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Handle {
    /// Reads again the configuration file by which the node was started, and takes up what can change while it runs: the
    /// sections of extensions, the log filter, and the room that is kept for own writes. After an error all of it is as before.
    ///
    /// # Errors
    /// [`ReloadError`] where the file cannot be read, is refused, or was not known at the start: all stays as it was.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let extensions = self.extensions.upgrade().ok_or(Stopped { reason: None })?;
        // Anyone who asked may go away before it is done.
        let messages = self.messages.clone();
        let reload = tokio::spawn(async move { extensions.reload(&messages).await });
        let reloaded = match reload.await {
            Ok(reloaded) => reloaded,
            Err(error) => Err(Stopped { reason: Some(error.to_string()) }.into()),
        };
        match &reloaded {
            Ok(Reloaded { applied, needs_restart }) => {
                info!(?applied, ?needs_restart, "the configuration was read again");
            }
            Err(error) => warn!(%error, "the configuration was not taken up, the one before stays"),
        }
        reloaded
    }
}

impl Extensions {
    async fn reload(
        self: Arc<Self>,
        messages: &mpsc::Sender<Message>,
    ) -> Result<Reloaded, ReloadError> {
        let mut in_use = self.in_use.lock().await;
        let old = in_use.as_ref().ok_or(ReloadError::NotRunning)?;
        let mut new = old.load_again(&self.registered)?;
        new.check()?;
        self.check(&new)?;
        let mut reloaded = self.compare(old, &new);
        let changes_log = reloaded.applied.iter().any(|key| key == LOG);
        if changes_log {
            self.set_log(&new)?;
        }
        if let Err(error) = self.reload_parts(old, &new).await {
            if changes_log {
                self.set_log(old)?;
            }
            return Err(error);
        }
        let disk_reserve_own_mib = new.settings.disk_reserve_own_mib;
        if reloaded.applied.iter().any(|key| key == RESERVE) {
            let keep = Message::KeepRoom(disk_reserve_own_mib);
            messages.send(keep).await.map_err(|_| Stopped { reason: None })?;
        }
        reloaded.applied.sort();
        // What needs a restart is not in use.
        let settings = old.settings.clone();
        let log = if changes_log { new.settings.log } else { settings.log.clone() };
        new.settings = Settings { log, disk_reserve_own_mib, ..settings };
        *in_use = Some(new);
        Ok(reloaded)
    }

    /// What is different.
    fn compare(&self, old: &Config, new: &Config) -> Reloaded {
        let (before, after) = (old.settings.table(), new.settings.table());
        // One that has no value has its default.
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
        let (applied, needs_restart): (Vec<_>, Vec<_>) = changed
            .cloned()
            .partition(|key| key == RESERVE || key == LOG && self.set_log.is_some());
        let mut reloaded = Reloaded { applied, needs_restart };
        let section = |name: &&&str| old.sections.section(name) != new.sections.section(name);
        let sections = names(&self.registered);
        reloaded.applied.extend(sections.iter().filter(section).map(|name| (*name).to_owned()));
        reloaded
    }

    fn set_log(&self, config: &Config) -> Result<(), ReloadError> {
        let set = |set_log: &SetLog| set_log(&config.settings.log);
        let set = self.set_log.as_ref().map_or(Ok(()), set);
        set.map_err(|what| ReloadError::Log { what })
    }

    /// Hands a configuration to the parts; if one refuses it, the others get the old one again.
    async fn reload_parts(&self, old: &Config, new: &Config) -> Result<(), ReloadError> {
        let parts = self.parts();
        for (index, OpenedExtensions { name, part }) in parts.iter().enumerate() {
            let Err(source) = part.reload(new).await else { continue };
            for OpenedExtensions { name, part } in &parts[..index] {
                if let Err(error) = part.reload(old).await {
                    warn!(extension = name, %error, "the configuration before was not taken up again");
                }
            }
            return Err(ReloadError::Extension { name, source });
        }
        Ok(())
    }
}
