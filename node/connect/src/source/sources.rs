//! The sources of one site: a task for each, and what is asked of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_node::Handle;
use branchline_node::handle::SpaceNotFound;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::{HTTP, SourceConfig};
use super::history::{History, HistoryRow};
use super::http::{BadSource, HttpSource};
use super::order::Order;
use super::runner::{Runner, SourceReport};
use super::spool::{PAUSED, RefusedObject, Spool};
use super::timing::{BadTiming, Timing};
use super::{Kinds, Source};
use crate::jobs::board::{JobError, JobState, Jobs};
use crate::jobs::store::StoreError;
use crate::jobs::tenure::{Tenure, TenureError};

/// What a person's pause is called.
pub const BY_A_PERSON: &str = "paused by a person";

/// Why a source cannot work, or not do what is asked.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] BadSource),
    /// Its schedules and bounds.
    #[error(transparent)]
    Timing(#[from] BadTiming),
    /// No program registered its kind.
    #[error("its kind is {0:?}: expected \"http\", or one that this program has registered")]
    Kind(String),
    /// It could not be made by the program that registered its kind.
    #[error("kind {kind}: {source}")]
    Made {
        /// The kind.
        kind: String,
        /// What the program says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The node holds no such space.
    #[error(transparent)]
    Space(#[from] SpaceNotFound),
    /// Its file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jobs.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Who runs it.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] branchline_node::handle::ReadError),
    /// It works already.
    #[error("source {0} is not paused")]
    NotPaused(String),
}

/// The sources of one site.
pub struct Sources {
    node: Handle,
    folder: PathBuf,
    jobs: Arc<Jobs>,
    kinds: Arc<Kinds>,
    running: Mutex<BTreeMap<String, RunningSources>>,
}

struct RunningSources {
    config: SourceConfig,
    report: watch::Receiver<SourceReport>,
    wake: watch::Sender<u64>,
    task: Option<JoinHandle<()>>,
}

impl Sources {
    /// No sources yet. `folder`: where each keeps its state.
    #[must_use]
    pub fn new(node: Handle, folder: PathBuf, jobs: Arc<Jobs>, kinds: Arc<Kinds>) -> Self {
        Self { node, folder, jobs, kinds, running: Mutex::default() }
    }

    /// Brings the sources to what a configuration says: those that are new or changed are started, those that are gone end.
    pub async fn take_up(&self, configs: &[SourceConfig]) {
        let ending: Vec<RunningSources> = {
            let mut running = self.running();
            let is_as_before = |running: &RunningSources| {
                // Secrets stand in files and the environment, and authorities in a file: who reloads may have changed them.
                let has_secrets =
                    toml::to_string(&running.config).is_ok_and(|text| text.contains("${"));
                let is_all = !has_secrets && running.config.ca_file.is_none();
                configs.contains(&running.config) && running.task.is_some() && is_all
            };
            let names: Vec<String> = running
                .iter()
                .filter(|(_, running)| !is_as_before(running))
                .map(|(name, _)| name.clone())
                .collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        end(ending).await;
        for config in configs {
            if self.running().contains_key(&config.name) {
                continue;
            }
            let started = self.start(config).await;
            self.running().insert(config.name.clone(), started);
        }
    }

    /// Ends all sources, each where it can go on later.
    pub async fn stop(&self) {
        let ending = std::mem::take(&mut *self.running());
        end(ending.into_values().collect()).await;
    }

    /// How each source is, by name.
    pub fn reports(&self) -> BTreeMap<String, SourceReport> {
        let running = self.running();
        running
            .iter()
            .map(|(name, source)| (name.clone(), source.report.borrow().clone()))
            .collect()
    }

    /// Asks for a run; returns its job.
    ///
    /// # Errors
    /// The job cannot be taken.
    pub async fn run(&self, config: &SourceConfig, order: Order) -> Result<u64, SourceError> {
        Ok(self.jobs.ask(&config.connector(), &json!(order)).await?)
    }

    /// Lets a source rest: runs neither begin nor fall due. One that is at work comes to its end.
    ///
    /// # Errors
    /// Its file cannot be used.
    pub async fn pause(&self, config: &SourceConfig, why: &str) -> Result<(), SourceError> {
        let mut spool = self.spool(config).await?;
        let paused = spool.remember(PAUSED, &why).await;
        spool.close().await;
        self.wake(&config.name);
        Ok(paused?)
    }

    /// Lets a source go on.
    ///
    /// # Errors
    /// It does not rest, or its file cannot be used.
    pub async fn resume(&self, config: &SourceConfig) -> Result<(), SourceError> {
        let mut spool = self.spool(config).await?;
        let why = spool.recall::<String>(PAUSED).await;
        let done = match why {
            Ok(Some(_)) => spool.forget(PAUSED).await.map_err(SourceError::from),
            Ok(None) => Err(SourceError::NotPaused(config.name.clone())),
            Err(error) => Err(error.into()),
        };
        spool.close().await;
        self.wake(&config.name);
        done
    }

    /// The items that the last runs could not keep.
    ///
    /// # Errors
    /// Its file cannot be used.
    pub async fn errors(&self, config: &SourceConfig) -> Result<Vec<RefusedObject>, SourceError> {
        let mut spool = self.spool(config).await?;
        let refused = spool.refused().await;
        spool.close().await;
        Ok(refused?)
    }

    /// The latest runs, from all sites, the last one first.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn history(
        &self,
        config: &SourceConfig,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, SourceError> {
        let node = self.node.in_space(&config.space)?;
        let history = History::new(node, config.history.clone(), config.name.clone());
        Ok(history.latest(limit).await?)
    }

    /// From now on this site runs the source.
    ///
    /// # Errors
    /// [`TenureError`].
    pub async fn take_over(&self, config: &SourceConfig) -> Result<Tenure, SourceError> {
        let node = self.node.in_space(&config.space)?;
        let tenure = Tenure::take_over(&node, &config.connector()).await?;
        self.wake(&config.name);
        Ok(tenure)
    }

    /// Who runs a source; `None`: nobody has begun it.
    ///
    /// # Errors
    /// [`TenureError`].
    pub async fn tenure(&self, config: &SourceConfig) -> Result<Option<Tenure>, SourceError> {
        let node = self.node.in_space(&config.space)?;
        Ok(Tenure::look(&node, &config.connector()).await?)
    }

    /// Whether a source could work as it is configured, without asking its provider.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn try_out(&self, config: &SourceConfig) -> Result<(), SourceError> {
        self.made(config).map(drop)?;
        Ok(Timing::of(config).map(drop)?)
    }

    async fn start(&self, config: &SourceConfig) -> RunningSources {
        let (say, report) = watch::channel(SourceReport::default());
        let (wake, wakes) = watch::channel(0);
        let task = match self.runner(config, say.clone(), wakes).await {
            Ok(runner) => Some(tokio::spawn(runner.work())),
            Err(error) => {
                tracing::error!(source = %config.name, %error, "the source cannot work");
                say.send_modify(|report| {
                    report.state = JobState::Failed;
                    report.note = error.to_string();
                });
                None
            }
        };
        RunningSources { config: config.clone(), report, wake, task }
    }

    async fn runner(
        &self,
        config: &SourceConfig,
        report: watch::Sender<SourceReport>,
        wakes: watch::Receiver<u64>,
    ) -> Result<Runner, SourceError> {
        let Timing { schedule, full_schedule, since, guard } = Timing::of(config)?;
        Ok(Runner {
            source: self.made(config)?,
            since,
            node: self.node.in_space(&config.space)?,
            spool: self.spool(config).await?,
            jobs: Arc::clone(&self.jobs),
            schedule,
            full_schedule,
            guard,
            report,
            wakes,
            config: config.clone(),
        })
    }

    fn made(&self, config: &SourceConfig) -> Result<Box<dyn Source>, SourceError> {
        if config.kind == HTTP {
            return Ok(Box::new(HttpSource::new(config, &self.folder)?));
        }
        let make = self.kinds.source(&config.kind);
        let make = make.ok_or_else(|| SourceError::Kind(config.kind.clone()))?;
        make(config).map_err(|source| SourceError::Made { kind: config.kind.clone(), source })
    }

    async fn spool(&self, config: &SourceConfig) -> Result<Spool, SourceError> {
        Ok(Spool::open(state_file(&self.folder, &config.name)).await?)
    }

    fn wake(&self, name: &str) {
        if let Some(running) = self.running().get(name) {
            running.wake.send_modify(|number| *number = number.wrapping_add(1));
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, RunningSources>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn end(sources: Vec<RunningSources>) {
    for RunningSources { task, .. } in sources {
        let Some(task) = task else { continue };
        // All that it has done is on disk, and what it was about to do is done once more.
        task.abort();
        match task.await {
            Err(error) if error.is_panic() => tracing::warn!(%error, "a source has ended badly"),
            Ok(()) | Err(_) => {}
        }
    }
}

/// The file that holds the state of a source.
#[must_use]
pub fn state_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("source-{name}.sqlite"))
}

/// The source whose state a file holds; `None`: it is no such file.
#[must_use]
pub fn source_of_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("source-")?.strip_suffix(".sqlite").map(str::to_owned)
}

/// Lets a source begin with a pause.
///
/// # Errors
/// Its file cannot be used.
pub async fn pause(path: &Path, why: &str) -> Result<(), StoreError> {
    let mut spool = Spool::open(path).await?;
    let paused = spool.remember(PAUSED, &why).await;
    spool.close().await;
    paused
}
