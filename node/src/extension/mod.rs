//! What crates above the node add to it: sections of the configuration, routes of the API, metrics, findings, and state
//! that a backup takes along. The node knows nothing of those crates; a program registers them where it starts a node
//! ([`Node::builder`](crate::Node::builder)).
//!
//! An [`Extension`] is what a program registers. Opened at a site it makes a [`Part`], which works with that site's
//! [`Handle`] until the node stops.

mod finding;
mod open;
mod reload;
mod sections;
mod sites;
mod state;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use prometheus_client::registry::Registry;
use utoipa_axum::router::OpenApiRouter;

use crate::config::{Config, ConfigError};
use crate::handle::Handle;

pub use finding::{Finding, Severity};
pub(crate) use open::{Extensions, SetLog};
pub use reload::{ReloadError, Reloaded};
pub use sections::Sections;
pub(crate) use sections::names;
pub use state::BackupRefused;
pub(crate) use state::{Restoring, Snapshot, place};

/// Why an extension cannot do something.
pub type ExtensionError = Box<dyn Error + Send + Sync>;

/// What a crate above the node adds to it. One is registered once for each node.
pub trait Extension: Send + Sync + 'static {
    /// What it is called, in small letters: in messages, and its folder in the data folder.
    fn name(&self) -> &'static str;

    /// The keys at the top of `branchline.toml` that are its own, for example `bridge`. Keys that are nobody's stay errors.
    fn sections(&self) -> &'static [&'static str] {
        &[]
    }

    /// Judges a configuration without doing anything. A node does not start by one that is refused, and keeps the old one
    /// where it is asked to reload. [`Sections::read`] reads the extension's own.
    ///
    /// # Errors
    /// [`ConfigError`] where a section is refused: the node does not start by it, or keeps the configuration that it
    /// has.
    fn check(&self, config: &Config) -> Result<(), ConfigError>;

    /// Makes the part that works at one site, for a node that is to run or for a command that has opened a stopped one's
    /// folder. The configuration has not been checked where no node is to run. Fails only if the part could not even say
    /// what is wrong: then neither node nor command goes on.
    ///
    /// # Errors
    /// [`ExtensionError`] where the extension cannot keep its state there: the node does not start.
    fn open(&self, context: Context) -> BoxFuture<'_, Result<Arc<dyn Part>, ExtensionError>>;
}

/// What an extension has to work with at one site.
#[derive(Clone)]
pub struct Context {
    /// The site, as programs use it.
    pub handle: Handle,
    /// The folder for what the extension keeps, within the data folder and under the extension's name. It may not exist
    /// yet.
    pub folder: PathBuf,
    /// How the node is run.
    pub config: Config,
}

/// What an extension adds to one site. All of it but [`Part::stop`] may be called at the same time.
pub trait Part: Send + Sync + 'static {
    /// Paths of the API. They are described where they are handled ([`utoipa::path`]) and stand behind the same guard and
    /// bounds as the node's own; [`crate::api`] has extractors and errors for them. Asked for once or more.
    fn routes(&self) -> Routes {
        Routes::default()
    }

    /// Starts to work beside a node that runs: called once, before the node answers at its API. Returns soon. An
    /// error stops the node; what a person need not mend before it can run at all is a finding instead.
    ///
    /// # Errors
    /// [`ExtensionError`] stops the node.
    fn start(&self) -> BoxFuture<'_, Result<(), ExtensionError>> {
        ready(Ok(())).boxed()
    }

    /// Ends all work and closes what is open. Called once, before the node stops, also where the part was not started. The
    /// node waits for 10 s and then goes on.
    fn stop(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }

    /// Takes up a configuration, which [`Extension::check`] has passed, while working. The sections may be what they were
    /// and files that they name different. After an error the part works as before.
    ///
    /// # Errors
    /// [`ExtensionError`]: the part works on by the configuration that it had.
    fn reload<'a>(&'a self, config: &'a Config) -> BoxFuture<'a, Result<(), ExtensionError>> {
        let _ = config;
        ready(Ok(())).boxed()
    }

    /// Adds metrics to a registry whose names begin with `branchline`. Called whenever somebody wants to know: counters and
    /// families that go on counting are registered as clones.
    fn metrics(&self, registry: &mut Registry) {
        let _ = registry;
    }

    /// What a person should know now, for `status` and `check`. The node waits for 2 s.
    fn findings(&self) -> BoxFuture<'_, Vec<Finding>> {
        ready(Vec::new()).boxed()
    }

    /// Writes a consistent copy of each file that cannot be rebuilt into `into`, an empty folder on the disk of the data
    /// folder, for a backup; links to files that never change will do. Names are of small letters, digits, `-`, `_` and
    /// `.`. A restore puts the files into [`Context::folder`] of the new site, with a file [`RESTORED_FILE`] beside them.
    ///
    /// # Errors
    /// [`ExtensionError`] where a file cannot be copied: the backup is refused.
    fn snapshot<'a>(&'a self, into: &'a Path) -> BoxFuture<'a, Result<(), ExtensionError>> {
        let _ = into;
        ready(Ok(())).boxed()
    }
}

/// Stands beside files that a restore has put into an extension's folder, and holds the time of the backup. Anyone who has
/// taken note of it removes it.
pub const RESTORED_FILE: &str = "restored";

/// Paths of the API.
#[derive(Default)]
pub struct Routes {
    /// Those that are answered within the minute that all requests have.
    pub bounded: OpenApiRouter<Handle>,
    /// Those that take as long as they take: their answer streams, or the work is large.
    pub unbounded: OpenApiRouter<Handle>,
}

impl Routes {
    pub(crate) fn paths(&self) -> Vec<String> {
        let of = |router: &OpenApiRouter<Handle>| {
            router.get_openapi().paths.paths.keys().cloned().collect::<Vec<_>>()
        };
        [of(&self.bounded), of(&self.unbounded)].concat()
    }
}
