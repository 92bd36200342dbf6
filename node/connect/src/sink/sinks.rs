//! The sinks of one site: a task for each, and what is asked of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use branchline_node::Handle;
use branchline_node::handle::SpaceNotFound;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::config::SinkConfig;
use super::group::delivered;
use super::group::fresh;
use super::group::shape::Shape;
use super::http::HttpSink;
use super::item::Sink;
use super::push::Pusher;
use super::state::{SinkPhase, SinkState};
use super::survey::{Counting, PlannedItem, SurveyError, Surveyor};
use super::trial::SinkTrial;
use super::weaviate::{self, WEAVIATE};
use super::worker::{
    SinkAnswer, SinkCommand, SinkParts, SinkReport, SinkRequest, SinkWorker, SinkWrong,
};
use crate::http::read_authorities;
use crate::jobs::board::Jobs;
use crate::jobs::jq::{BadFilter, Filter};
use crate::jobs::secret;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::{Tenure, TenureError};
use crate::kinds::Kinds;

/// The kind that every program has.
pub const HTTP: &str = "http";
/// Commands that wait for a sink; more wait with the one who asks.
const COMMANDS_MAX: usize = 16;
/// Pause after the first failure to begin; each further one is twice as long.
const RETRY: Duration = Duration::from_secs(1);
/// The longest pause between two tries: a secret may have come meanwhile.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a sink cannot begin to work.
#[derive(Debug, thiserror::Error)]
pub enum SinkNotReady {
    /// The configuration cannot be.
    #[error("{0}")]
    Config(String),
    /// The expression.
    #[error("translate: {0}")]
    Translate(#[from] BadFilter),
    /// The third party as it is configured.
    #[error("{0}")]
    Sink(Box<dyn Error + Send + Sync>),
    /// The sink's own file.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The node does not hold the space.
    #[error(transparent)]
    Space(#[from] SpaceNotFound),
    /// What it would push cannot be said.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// Who runs it cannot be read.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// Not all records were looked at yet.
    #[error("{0}")]
    Early(String),
}

/// The sinks of one site.
pub struct Sinks {
    maker: Arc<Maker>,
    running: Mutex<BTreeMap<String, RunningSinks>>,
}

/// What sinks are made of, whatever their configuration.
struct Maker {
    node: Handle,
    folder: PathBuf,
    jobs: Arc<Jobs>,
    kinds: Arc<Kinds>,
    trial: SinkTrial,
}

struct RunningSinks {
    config: SinkConfig,
    secrets: SinkSecrets,
    commands: mpsc::Sender<SinkRequest>,
    report: watch::Receiver<SinkReport>,
    task: JoinHandle<()>,
}

/// The hash of a configuration with its secrets and authorities; `None`: one of them is missing.
type SinkSecrets = Option<[u8; 32]>;

fn secrets(config: &SinkConfig) -> SinkSecrets {
    let text = serde_json::to_string(config).ok()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update(secret::complete(&text).ok()?.as_bytes());
    if let Some(path) = &config.ca_file {
        hasher.update(&read_authorities(path).ok()?);
    }
    Some(*hasher.finalize().as_bytes())
}

impl Sinks {
    /// No sinks yet. `folder`: where each keeps its state; it has to exist. `kinds`: those that the program has besides.
    pub fn new(node: Handle, folder: PathBuf, jobs: Arc<Jobs>, kinds: Arc<Kinds>) -> Self {
        let maker = Maker { node, folder, jobs, kinds, trial: SinkTrial::default() };
        Self { maker: Arc::new(maker), running: Mutex::default() }
    }

    /// Sinks that a test does something to.
    #[doc(hidden)]
    #[must_use]
    pub fn with_trial(mut self, trial: SinkTrial) -> Self {
        if let Some(maker) = Arc::get_mut(&mut self.maker) {
            maker.trial = trial;
        }
        self
    }

    /// Brings the sinks to what a configuration says: those that are new or changed, or have other secrets, are started, those that are gone end.
    /// Nothing at a third party is removed by that.
    pub async fn take_up(&self, configs: &[SinkConfig]) {
        let is_as_before = |name: &String, running: &RunningSinks| {
            let is_same = |config: &SinkConfig| {
                config.name == *name
                    && *config == running.config
                    && secrets(config) == running.secrets
            };
            configs.iter().any(is_same) && !running.task.is_finished()
        };
        let ending: Vec<RunningSinks> = {
            let mut running = self.running();
            let names: Vec<String> = running
                .iter()
                .filter(|(name, running)| !is_as_before(name, running))
                .map(|(name, _)| name.clone())
                .collect();
            names.iter().filter_map(|name| running.remove(name)).collect()
        };
        for gone in &ending {
            let name = &gone.config.name;
            if !configs.iter().any(|config| config.name == *name) {
                tracing::info!(sink = %name, "the sink is configured no more; what it has pushed stays at the service");
            }
        }
        end(ending).await;
        for config in configs {
            self.running().entry(config.name.clone()).or_insert_with(|| self.start(config.clone()));
        }
    }

    /// Sees whether a sink could work by a configuration that is to be taken up.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn try_out(&self, config: &SinkConfig) -> Result<(), SinkNotReady> {
        if config.kind == WEAVIATE {
            self.maker.node.in_space(&config.space)?;
            return weaviate::made(config, &self.maker.folder).map(drop);
        }
        self.maker.parts(config).map(drop)
    }

    /// Who runs a sink; `None`: nobody has begun it.
    ///
    /// # Errors
    /// The node does not hold the space, or cannot be read.
    pub async fn tenure(&self, config: &SinkConfig) -> Result<Option<Tenure>, SinkNotReady> {
        let node = self.maker.node.in_space(&config.space)?;
        Ok(Tenure::look(&node, &format!("sink {}", config.name)).await?)
    }

    /// Ends all sinks, each where it can go on later.
    pub async fn stop(&self) {
        let ending = std::mem::take(&mut *self.running());
        end(ending.into_values().collect()).await;
    }

    /// Ends all sinks where they stand, as a crash of the node would.
    #[doc(hidden)]
    pub async fn kill(&self) {
        let ending = std::mem::take(&mut *self.running());
        for RunningSinks { task, .. } in ending.into_values() {
            task.abort();
            let _ = task.await;
        }
    }

    /// How each sink is, by name.
    pub fn reports(&self) -> BTreeMap<String, SinkReport> {
        let running = self.running();
        running.iter().map(|(name, sink)| (name.clone(), sink.report.borrow().clone())).collect()
    }

    /// Asks something of a sink; `None`: there is none of this name.
    pub async fn ask(&self, name: &str, command: SinkCommand) -> Option<SinkAnswer> {
        let commands = self.running().get(name).map(|sink| sink.commands.clone())?;
        let (reply, answer) = oneshot::channel();
        let gone = || SinkWrong::State(format!("sink {name} has ended: its log says why"));
        if commands.send(SinkRequest { command, reply }).await.is_err() {
            return Some(Err(gone()));
        }
        Some(answer.await.unwrap_or_else(|_| Err(gone())))
    }

    /// Has all objects of a sink read back and compared with what was delivered, as a job. `repair`: what differs is sent
    /// once more.
    ///
    /// # Errors
    /// It rests, or the job cannot be taken.
    pub async fn verify(&self, config: &SinkConfig, repair: bool) -> Result<u64, SinkWrong> {
        let report = self.reports().remove(&config.name).unwrap_or_default();
        if matches!(report.state.as_str(), "paused" | "superseded" | "failed") {
            let reason = report.reason.unwrap_or_default();
            return Err(SinkWrong::State(format!("the sink rests: {reason}")));
        }
        let order = super::worker::verify_order(repair);
        Ok(self.maker.jobs.ask(&format!("sink {}", config.name), &order).await?)
    }

    /// What a sink would push now, and the first `items_max` of it. Sends nothing.
    ///
    /// # Errors
    /// It cannot work as it is configured, or has not looked at all records yet.
    pub async fn plan(
        &self,
        config: &SinkConfig,
        items_max: usize,
    ) -> Result<(Counting, Vec<PlannedItem>), SinkNotReady> {
        if config.kind == WEAVIATE {
            let node = self.maker.node.in_space(&config.space)?;
            return weaviate::plan(config, &node, &self.maker.folder, items_max).await;
        }
        let mut state = SinkState::open(state_file(&self.maker.folder, &config.name)).await?;
        let planned = match is_listed(&mut state, config).await {
            Ok(()) => self.survey(config, &mut state, items_max).await,
            Err(early) => Err(early),
        };
        state.close().await;
        planned
    }

    /// The same where no sink works: all records are looked at for it.
    ///
    /// # Errors
    /// It cannot work as it is configured.
    pub async fn plan_at_rest(
        &self,
        config: &SinkConfig,
        items_max: usize,
    ) -> Result<(Counting, Vec<PlannedItem>), SinkNotReady> {
        if config.kind == WEAVIATE {
            let node = self.maker.node.in_space(&config.space)?;
            return weaviate::plan_at_rest(config, &node, &self.maker.folder, items_max).await;
        }
        let (shape, node, _) = self.maker.parts(config)?;
        let file = self.maker.folder.join(format!("plan-{}.sqlite", config.name));
        let planned = match fresh::listed(&file, &config.name, &shape, &node).await {
            Ok(mut state) => {
                let planned = self.survey(config, &mut state, items_max).await;
                state.close().await;
                planned
            }
            Err(error) => Err(error.into()),
        };
        fresh::remove(&file);
        planned
    }

    async fn survey(
        &self,
        config: &SinkConfig,
        state: &mut SinkState,
        items_max: usize,
    ) -> Result<(Counting, Vec<PlannedItem>), SinkNotReady> {
        let (shape, node, make_pusher) = self.maker.parts(config)?;
        let (pusher, shape) = (Arc::new(make_pusher(0)), Arc::new(shape));
        let mut surveyor = Surveyor { shape, node, pusher };
        let (mut counting, mut items) = (Counting::default(), Vec::new());
        let mut after: Option<String> = None;
        loop {
            let visit = |planned| {
                if items.len() < items_max {
                    items.push(planned);
                }
            };
            let page = surveyor.page(state, after.as_deref(), visit).await?;
            let Some(last) = page.last else { return Ok((counting, items)) };
            counting.add(&page.counting);
            after = Some(last);
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, RunningSinks>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, config: SinkConfig) -> RunningSinks {
        let secrets = secrets(&config);
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (reported, report) =
            watch::channel(SinkReport { state: "starting".to_owned(), ..SinkReport::default() });
        let beginning = SinkBeginning { config: config.clone(), maker: Arc::clone(&self.maker) };
        let task = tokio::spawn(beginning.run(asked, reported));
        RunningSinks { config, secrets, commands, report, task }
    }
}

/// Refuses a plan by a state that does not know all records yet.
async fn is_listed(state: &mut SinkState, config: &SinkConfig) -> Result<(), SinkNotReady> {
    let progress = state.progress().await?;
    let is_listed = match progress.phase {
        SinkPhase::Counting => true,
        SinkPhase::Running => progress.expression == config.expression(),
        SinkPhase::New | SinkPhase::Links(_) | SinkPhase::Primaries | SinkPhase::Delivered => false,
    };
    if is_listed {
        return Ok(());
    }
    let name = &config.name;
    Err(SinkNotReady::Early(format!(
        "sink {name} has not looked at all records yet: `branchline sink status {name}` shows how far it is"
    )))
}

async fn end(sinks: Vec<RunningSinks>) {
    for RunningSinks { commands, task, .. } in sinks {
        // A worker ends when nobody can ask it for anything any more.
        drop(commands);
        if let Err(error) = task.await {
            tracing::warn!(%error, "a sink has ended badly");
        }
    }
}

/// The file that holds the state of a sink.
#[must_use]
pub fn state_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("sink-{name}.sqlite"))
}

/// The sink whose state a file holds; `None`: it is no such file.
#[must_use]
pub fn sink_of_file(path: &Path) -> Option<String> {
    if let Some(name) = weaviate::sink_of_file(path) {
        return Some(name);
    }
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("sink-")?.strip_suffix(".sqlite").map(str::to_owned)
}

/// Lets a sink begin with a pause.
///
/// # Errors
/// Its file cannot be used.
pub async fn pause(path: &Path, reason: String) -> Result<(), StoreError> {
    if weaviate::sink_of_file(path).is_some() {
        return weaviate::pause(path, reason).await;
    }
    let mut state = SinkState::open(path).await?;
    let mut progress = state.progress().await?;
    progress.paused = Some(reason);
    state.keep(&progress).await?;
    state.close().await;
    Ok(())
}

type MakePusher = Box<dyn Fn(u64) -> Pusher + Send + Sync>;

impl Maker {
    /// What a sink is made of beside its state.
    fn parts(&self, config: &SinkConfig) -> Result<(Shape, Handle, MakePusher), SinkNotReady> {
        let shape = Shape::of(config).map_err(SinkNotReady::Config)?;
        let node = self.node.in_space(&config.space)?;
        let translate = Filter::compile(&config.translate)?;
        let sink = match (config.kind.as_str(), self.kinds.sink(&config.kind)) {
            (HTTP, _) => {
                let made = HttpSink::new(config, &self.folder);
                Arc::new(made.map_err(|error| SinkNotReady::Sink(error.into()))?) as Arc<dyn Sink>
            }
            (_, Some(make)) => make(config).map_err(SinkNotReady::Sink)?,
            (found, None) => {
                let known: Vec<_> = [HTTP].into_iter().chain(self.kinds.sinks()).collect();
                let known = known.join(", ");
                return Err(SinkNotReady::Config(format!(
                    "kind is {found:?}, expected one of {known}"
                )));
            }
        };
        let (config, of_pusher, trial) = (config.clone(), node.clone(), self.trial.clone());
        let make_pusher = move |term| Pusher {
            name: config.name.clone(),
            node: of_pusher.clone(),
            collection: delivered::collection(&config.name),
            connector: format!("sink {}", config.name),
            sink: Arc::clone(&sink),
            translate: translate.clone(),
            expression: config.expression(),
            attempts_max: config.retry.attempts,
            permits: Semaphore::new(
                config.concurrency.unwrap_or(crate::jobs::rate::CONCURRENCY_DEFAULT),
            ),
            term,
            trial: trial.clone(),
        };
        Ok((shape, node, Box::new(make_pusher)))
    }
}

/// A sink before it works.
struct SinkBeginning {
    config: SinkConfig,
    maker: Arc<Maker>,
}

impl SinkBeginning {
    async fn run(
        self,
        mut asked: mpsc::Receiver<SinkRequest>,
        reported: watch::Sender<SinkReport>,
    ) {
        let mut pause = RETRY;
        let since_ms = jiff::Timestamp::now().as_millisecond();
        loop {
            let error = if self.config.kind == WEAVIATE {
                match self.weaviate().await {
                    Ok(parts) => {
                        return weaviate::WeaviateWorker::new(parts, asked, reported).run().await;
                    }
                    Err(error) => error.to_string(),
                }
            } else {
                match self.parts().await {
                    Ok(parts) => return SinkWorker::new(parts, asked, reported).run().await,
                    Err(error) => error.to_string(),
                }
            };

            tracing::warn!(sink = %self.config.name, %error, "the sink cannot begin");
            reported.send_replace(SinkReport {
                state: "failed".to_owned(),
                reason: Some(error.clone()),
                since_ms,
                ..SinkReport::default()
            });
            match tokio::time::timeout(pause, asked.recv()).await {
                Err(_) => pause = (pause * 2).min(RETRY_MAX),
                Ok(None) => return,
                Ok(Some(SinkRequest { reply, .. })) => {
                    // Anyone who asked may be gone.
                    let _ = reply.send(Err(SinkWrong::State(error)));
                }
            }
        }
    }

    async fn weaviate(&self) -> Result<weaviate::WeaviateParts, SinkNotReady> {
        let node = self.maker.node.in_space(&self.config.space)?;
        weaviate::parts(&self.config, node, &self.maker.folder, Arc::clone(&self.maker.jobs)).await
    }

    async fn parts(&self) -> Result<SinkParts, SinkNotReady> {
        let (shape, node, pusher) = self.maker.parts(&self.config)?;
        let state = SinkState::open(state_file(&self.maker.folder, &self.config.name)).await?;
        let (config, jobs) = (self.config.clone(), Arc::clone(&self.maker.jobs));
        Ok(SinkParts { config, shape, node, state, jobs, pusher })
    }
}
