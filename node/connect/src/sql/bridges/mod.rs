//! The bridges of one site: a task for each, and what is asked of it.
//!
//! A task connects to its database, binds its tables and works ([`super::worker`]). While the database cannot be reached, it
//! tries again; while a table or a mapping is not as it has to be, it says why.

mod bind;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use branchline_node::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use bind::{DeclaredKinds, bind, declared};

use super::config::BridgeConfig;
use super::database::{Database, DbError, DbErrorClass, Engine};
use super::mariadb::MariaDb;
use super::postgres::Postgres;
use super::sqlite::SqliteDatabase;
use super::state::{BridgeState, StateError};
use super::worker::trial::BridgeTrial;
use super::worker::{
    BridgeAnswer, BridgeCommand, BridgeParts, BridgeReport, BridgeRequest, BridgeWorker,
    BridgeWrong,
};
use crate::jobs::board::Jobs;
use crate::jobs::secret::{self, SecretError};
use crate::jobs::{duration, duration::BadDuration};

/// Commands that wait for a bridge; more are refused.
const COMMANDS_MAX: usize = 16;
/// Pause after the first failure to begin; each further one is twice as long.
const RETRY: Duration = Duration::from_secs(1);
/// How long a changed configuration is tried out before it is taken up all the same.
const TRY_OUT: Duration = Duration::from_secs(10);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a bridge cannot begin to work.
#[derive(Debug, thiserror::Error)]
pub enum BridgeNotReady {
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A duration is none.
    #[error("poll: {0}")]
    Poll(#[from] BadDuration),
    /// The URL is of no database that is known.
    #[error(
        "the url of bridge {bridge} begins with {found:?}: expected postgres://, mysql:// or sqlite:"
    )]
    Url {
        /// The bridge.
        bridge: String,
        /// What the URL begins with.
        found: String,
    },
    /// The database cannot be reached, or refuses.
    #[error(transparent)]
    Database(#[from] DbError),
    /// There is no such table.
    #[error("the database has no table {0}")]
    NoTable(String),
    /// Tables cannot be bridged as the configuration has it.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The bridge's own file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The node holds no such space, or has stopped.
    #[error("{0}")]
    Node(String),
    /// Of one of several bridges.
    #[error("bridge {bridge}: {source}")]
    Bridge {
        /// Which.
        bridge: String,
        /// Why.
        source: Box<Self>,
    },
}

/// The bridges of one site.
pub struct Bridges {
    node: Handle,
    folder: PathBuf,
    running: Mutex<BTreeMap<String, RunningBridges>>,
    jobs: Option<Arc<Jobs>>,
    trial: BridgeTrial,
}

struct RunningBridges {
    config: BridgeConfig,
    secrets: BridgeSecrets,
    commands: mpsc::Sender<BridgeRequest>,
    report: watch::Receiver<BridgeReport>,
    task: JoinHandle<()>,
}

/// A URL with its secrets, and the password of its own file; `None`: one of them is missing.
type BridgeSecrets = Option<(String, Option<String>)>;

fn secrets(config: &BridgeConfig) -> BridgeSecrets {
    let password = config.password_file.as_deref().map(secret::read).transpose().ok()?;
    Some((secret::complete(&config.url).ok()?, password))
}

impl Bridges {
    /// No bridges yet. `folder`: where each keeps its state.
    pub fn new(node: Handle, folder: PathBuf) -> Self {
        Self { node, folder, running: Mutex::default(), jobs: None, trial: BridgeTrial::default() }
    }

    /// Brings the bridges to what a configuration says: those that are new or changed, or have another password, are
    /// started, those that are gone end. Nothing in a database is removed by that.
    pub async fn take_up(&self, configs: &[BridgeConfig]) {
        let is_as_before = |name: &String, running: &RunningBridges| {
            let is_same = |config: &BridgeConfig| {
                config.name == *name
                    && *config == running.config
                    && secrets(config) == running.secrets
            };
            configs.iter().any(is_same) && !running.task.is_finished()
        };
        let ending: Vec<RunningBridges> = {
            let mut running = self.running();
            let names: Vec<String> = running
                .iter()
                .filter(|(name, running)| !is_as_before(name, running))
                .map(|(name, _)| name.clone())
                .collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        end(ending).await;
        for config in configs {
            self.running().entry(config.name.clone()).or_insert_with(|| self.start(config.clone()));
        }
    }

    /// Ends all bridges, each where it can go on later.
    pub async fn stop(&self) {
        let ending = std::mem::take(&mut *self.running());
        end(ending.into_values().collect()).await;
    }

    /// Ends all bridges where they stand, as a crash of the node would.
    #[doc(hidden)]
    pub async fn kill(&self) {
        let ending = std::mem::take(&mut *self.running());
        for RunningBridges { task, .. } in ending.into_values() {
            task.abort();
            let _ = task.await;
        }
    }

    /// Bridges whose loads are jobs that people see.
    #[must_use]
    pub fn with_jobs(self, jobs: Arc<Jobs>) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// Bridges that a test does something to.
    #[doc(hidden)]
    #[must_use]
    pub fn with_trial(self, trial: BridgeTrial) -> Self {
        Self { trial, ..self }
    }

    /// How each bridge is, by name.
    pub fn reports(&self) -> BTreeMap<String, BridgeReport> {
        let running = self.running();
        running
            .iter()
            .map(|(name, bridge)| (name.clone(), bridge.report.borrow().clone()))
            .collect()
    }

    /// How a bridge is configured.
    pub fn config(&self, name: &str) -> Option<BridgeConfig> {
        self.running().get(name).map(|bridge| bridge.config.clone())
    }

    /// Asks something of a bridge; `None`: there is none of this name.
    pub async fn ask(&self, name: &str, command: BridgeCommand) -> Option<BridgeAnswer> {
        // Before it is installed, schemas may have come that say what kinds its fields have.
        let is_new = command == BridgeCommand::Install;
        if is_new || command == BridgeCommand::Resume {
            self.bind_anew(name, is_new).await;
        }
        let commands = self.running().get(name).map(|bridge| bridge.commands.clone())?;
        let removes = command == BridgeCommand::Remove;
        let (reply, answer) = oneshot::channel();
        let gone = || BridgeWrong::State(format!("bridge {name} has ended: its log tells why"));
        if commands.send(BridgeRequest { command, reply }).await.is_err() {
            return Some(Err(gone()));
        }
        let answer = answer.await.unwrap_or_else(|_| Err(gone()));
        if removes && answer.is_ok() {
            self.begin_anew(name).await;
        }
        Some(answer)
    }

    /// Before a table goes on that has stopped, it is bound as it is now. Where that cannot be, the bridge goes on with what
    /// it has, and says of that table what is wrong.
    async fn bind_anew(&self, name: &str, is_new: bool) {
        let is_due = |bridge: &&RunningBridges| {
            let report = bridge.report.borrow();
            let is_any_stopped = report.tables.iter().any(|table| table.state == "stopped");
            is_any_stopped || (is_new && report.state != "running")
        };
        let config = self.running().get(name).filter(is_due).map(|bridge| bridge.config.clone());
        let Some(config) = config else { return };
        match self.try_out(&config).await {
            Ok(()) => self.begin_anew(name).await,
            Err(error) => tracing::warn!(bridge = name, %error, "tables are not bound again"),
        }
    }

    /// A bridge ends, and begins as its configuration says: one that was removed from its database waits to be installed
    /// again.
    async fn begin_anew(&self, name: &str) {
        let Some(ended) = self.running().remove(name) else { return };
        let config = ended.config.clone();
        end(vec![ended]).await;
        self.running().entry(name.to_owned()).or_insert_with(|| self.start(config));
    }

    /// Sees whether a bridge could work by a configuration that is to be taken up. A database that does not answer is no
    /// reason against it.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub async fn try_out(&self, config: &BridgeConfig) -> Result<(), BridgeNotReady> {
        let tried = async {
            let (site, known) = self.known(config).await?;
            let node = self.node.in_space(&config.space);
            let node = node.map_err(|error| BridgeNotReady::Node(error.to_string()))?;
            let declared = declared(&node, config).await?;
            let mut database = connect(config).await?;
            bind(config, database.as_mut(), &site, &known, &declared).await
        };
        match tokio::time::timeout(TRY_OUT, tried).await {
            Ok(Err(BridgeNotReady::Database(error))) if error.class == DbErrorClass::Transient => {
                Ok(())
            }
            Ok(tried) => tried.map(drop).map_err(|error| BridgeNotReady::Bridge {
                bridge: config.name.clone(),
                source: Box::new(error),
            }),
            Err(_) => Ok(()),
        }
    }

    async fn known(
        &self,
        config: &BridgeConfig,
    ) -> Result<(String, BTreeMap<String, u32>), BridgeNotReady> {
        let path = state_file(&self.folder, &config.name);
        let mut known = BTreeMap::new();
        if path.exists() {
            let mut state = BridgeState::open(path).await?;
            let site = state.progress().await?.site;
            known = numbers(&mut state).await?;
            state.close().await;
            if !site.is_empty() {
                return Ok((site, known));
            }
        }
        let status = self.node.replica_status().await;
        let status = status.map_err(|error| BridgeNotReady::Node(error.to_string()))?;
        Ok((status.name, known))
    }

    /// The files of state, by bridge.
    pub fn state_files(&self) -> Vec<PathBuf> {
        self.running().keys().map(|name| state_file(&self.folder, name)).collect()
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, RunningBridges>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, config: BridgeConfig) -> RunningBridges {
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (reported, report) = watch::channel(BridgeReport {
            state: "starting".to_owned(),
            ..BridgeReport::default()
        });
        let beginning = BridgeBeginning {
            config: config.clone(),
            node: self.node.clone(),
            state: state_file(&self.folder, &config.name),
            jobs: self.jobs.clone(),
            trial: self.trial.clone(),
        };
        let secrets = secrets(&config);
        let task = tokio::spawn(beginning.run(asked, reported));
        RunningBridges { config, secrets, commands, report, task }
    }
}

async fn end(bridges: Vec<RunningBridges>) {
    for RunningBridges { commands, task, .. } in bridges {
        // A worker ends when nobody can ask it for anything any more.
        drop(commands);
        if let Err(error) = task.await {
            tracing::warn!(%error, "a bridge has ended badly");
        }
    }
}

/// The file that holds the state of a bridge.
#[must_use]
pub fn state_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("bridge-{name}.sqlite"))
}

/// The bridge whose state a file holds; `None`: it is no such file.
#[must_use]
pub fn bridge_of_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("bridge-")?.strip_suffix(".sqlite").map(str::to_owned)
}

/// The numbers that a bridge's tables have already.
pub(super) async fn numbers(state: &mut BridgeState) -> Result<BTreeMap<String, u32>, StateError> {
    let tables = state.tables().await?.into_iter();
    Ok(tables.map(|table| (table.bound.table.to_string(), table.bound.number)).collect())
}

/// A bridge before it works.
struct BridgeBeginning {
    config: BridgeConfig,
    node: Handle,
    state: PathBuf,
    jobs: Option<Arc<Jobs>>,
    trial: BridgeTrial,
}

impl BridgeBeginning {
    async fn run(
        self,
        mut asked: mpsc::Receiver<BridgeRequest>,
        reported: watch::Sender<BridgeReport>,
    ) {
        let mut pause = RETRY;
        // What was asked meanwhile: anyone who asks may have mended what was in the way.
        let mut first: Option<BridgeRequest> = None;
        loop {
            let mut parts = pin!(self.parts());
            let begun = loop {
                tokio::select! {
                    begun = &mut parts => break begun,
                    request = asked.recv(), if first.is_none() => match request {
                        None => return,
                        Some(request) => first = Some(request),
                    },
                }
            };
            let error = match begun {
                Ok(parts) => {
                    let worker = BridgeWorker::new(parts, asked, reported);
                    return match first {
                        Some(request) => worker.run_after(request).await,
                        None => worker.run().await,
                    };
                }
                Err(error) => error,
            };
            tracing::warn!(bridge = %self.config.name, %error, "the bridge cannot begin");
            reported.send_modify(|report| {
                if report.state != "retrying" {
                    report.since_ms = jiff::Timestamp::now().as_millisecond();
                }
                "retrying".clone_into(&mut report.state);
                report.reason = Some(error.to_string());
            });
            if let Some(request) = first.take() {
                let answer = BridgeWrong::State(format!("the bridge cannot begin: {error}"));
                // Anyone who asked may be gone.
                let _ = request.reply.send(Err(answer));
                pause = RETRY;
            }
            match tokio::time::timeout(pause, asked.recv()).await {
                Err(_) => pause = (pause * 2).min(RETRY_MAX),
                Ok(None) => return,
                Ok(Some(request)) => first = Some(request),
            }
        }
    }

    /// Connects and binds the tables.
    async fn parts(&self) -> Result<BridgeParts, BridgeNotReady> {
        let node = self.node.in_space(&self.config.space);
        let node = node.map_err(|error| BridgeNotReady::Node(error.to_string()))?;
        let mut state = BridgeState::open(&self.state).await?;
        let progress = state.progress().await?;
        let site = if !progress.site.is_empty() {
            progress.site
        } else {
            let status = node.replica_status().await;
            status.map_err(|error| BridgeNotReady::Node(error.to_string()))?.name
        };
        let known = numbers(&mut state).await?;
        let mut database = connect(&self.config).await?;
        let declared = declared(&node, &self.config).await?;
        let config = &self.config;
        let tables = bind::what_can_be(config, database.as_mut(), &site, &known, &declared).await?;
        let (mappings, unbound) = tables;
        let poll = duration::parse(&self.config.poll)?;
        let name = self.config.name.clone();
        let (jobs, trial) = (self.jobs.clone(), self.trial.clone());
        Ok(BridgeParts { name, node, database, state, mappings, unbound, poll, jobs, trial })
    }
}

/// Connects to a bridge's database.
///
/// # Errors
/// [`BridgeNotReady`] where a secret is missing, or the database refuses the connection.
pub async fn connect(config: &BridgeConfig) -> Result<Box<dyn Database>, BridgeNotReady> {
    let url = secret::complete(&config.url)?;
    let password = config.password_file.as_deref().map(secret::read).transpose()?;
    let password = password.as_deref();
    match engine(config)? {
        Engine::Postgres => Ok(Box::new(Postgres::connect(&url, password).await?)),
        Engine::MariaDb => Ok(Box::new(MariaDb::connect(&url, password).await?)),
        Engine::Sqlite => Ok(Box::new(SqliteDatabase::connect(&url, password).await?)),
    }
}

/// The database that a URL names, without the user and how it is connected to: two bridges on one would take each other's
/// notes.
#[must_use]
pub fn place(config: &BridgeConfig) -> String {
    let (scheme, rest) = config.url.split_once(':').unwrap_or((&config.url, ""));
    let rest = rest.split('?').next().unwrap_or(rest).trim_start_matches("//");
    match scheme {
        "sqlite" => {
            let path = std::fs::canonicalize(rest).unwrap_or_else(|_| PathBuf::from(rest));
            path.to_string_lossy().into_owned()
        }
        _ => rest.rsplit_once('@').map_or(rest, |(_, behind)| behind).to_owned(),
    }
}

/// Which kind of database a bridge's URL names.
///
/// # Errors
/// [`BridgeNotReady`] where the URL names no database that is known.
pub fn engine(config: &BridgeConfig) -> Result<Engine, BridgeNotReady> {
    let (scheme, _) = config.url.split_once(':').unwrap_or((&config.url, ""));
    match scheme {
        "postgres" | "postgresql" => Ok(Engine::Postgres),
        "mysql" | "mariadb" => Ok(Engine::MariaDb),
        "sqlite" => Ok(Engine::Sqlite),
        found => Err(BridgeNotReady::Url {
            bridge: config.name.clone(),
            found: found.chars().take(20).collect(),
        }),
    }
}
