//! One bridge at work: a task that owns the database's connection and the bridge's state, and does one thing at a time.
//!
//! | file | step |
//! |---|---|
//! | `open` | connects, sees that the database is the one that the node knows, finishes what a crash left |
//! | `drain` | reads notes and their rows in one snapshot |
//! | `rows` | rows as views keep them |
//! | `compare` | what a row asks of its record: row minus view |
//! | `write` | makes that durable as a plan, writes it in the network, and keeps the new views |
//! | `apply/listen` | what the feed tells, kept as waiting |
//! | `apply/wanted` | what a record asks of its row |
//! | `apply` | waiting records become rows, in one transaction with the batch's number |
//! | `load` | the rows and records that were there before |
//! | `job` | that as a job that people see |
//! | `resync` | one side holds, because a person has said so |
//! | `declare` | the schemas that the collections need |
//! | `apply/acknowledge` | which captured rows another site has confirmed |
//! | `command` | what a person asks for |
//! | `verify` | compares table, views and records |
//! | `trial` | what tests do to it |
//! | `report` | what the worker tells of itself |

mod apply;
mod command;
mod compare;
mod declare;
mod drain;
mod job;
mod load;
mod open;
mod report;
mod resync;
mod rows;
pub mod trial;
mod verify;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use branchline_node::Handle;
use branchline_node::feed::{Consumer, FeedError};
use branchline_node::handle::{ReadError, Stopped};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::cell::Key;
use super::database::{Database, DbError, DbErrorClass};
use super::mapping::Mapping;
use super::state::{BridgeState, Phase, Progress, StateError, Steps, TableState};
use crate::jobs::board::Jobs;
use crate::jobs::feed;

pub use command::{
    BridgeAnswer, BridgeCommand, BridgeRequest, BridgeWrong, PAUSED, RESTORED, Side,
};
pub use report::{BridgeReport, TableReport};

use trial::BridgeTrial;

/// The database is asked so often while there is something to do: seldom enough that nothing spins. A file's other
/// writers have their turn by `rest_until`, and servers let others write meanwhile.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
/// Pause after the first failure; each further one is twice as long.
const RETRY: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How often the catalogue is looked at.
const CATALOGUE_EVERY: Duration = Duration::from_secs(1);
/// How often what another site has confirmed is looked at.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_millis(500);

/// Why the worker cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BridgeFailure {
    /// The database said so.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The bridge's own file.
    #[error(transparent)]
    State(#[from] StateError),
    /// The node has stopped, or cannot be read.
    #[error(transparent)]
    Node(#[from] ReadError),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The node refuses to write: it will go on when that has changed.
    #[error("the node does not take what the bridge captured: {0}")]
    Refused(String),
    /// A person has to decide.
    #[error("{0}")]
    Rest(String),
    /// Another node holds the database's lease.
    #[error("{0}")]
    Leased(String),
}

impl From<Stopped> for BridgeFailure {
    fn from(stopped: Stopped) -> Self {
        Self::Node(stopped.into())
    }
}

impl BridgeFailure {
    /// Whether the node is gone, so that there is nothing more to do.
    fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Node(ReadError::Stopped(_)) | Self::Feed(FeedError::Read(ReadError::Stopped(_)))
        )
    }
}

/// What a bridge is made of.
pub(crate) struct BridgeParts {
    /// The bridge's name.
    pub(crate) name: String,
    /// The node, in the space of the bridge's collections.
    pub(crate) node: Handle,
    /// The database.
    pub(crate) database: Box<dyn Database>,
    /// The bridge's durable state.
    pub(crate) state: BridgeState,
    /// Its tables as configured, by number.
    pub(crate) mappings: BTreeMap<u32, Mapping>,
    /// Tables that cannot be bound as they are now, and why.
    pub(crate) unbound: BTreeMap<u32, String>,
    /// How often the database is looked at.
    pub(crate) poll: Duration,
    /// The jobs of the site; `None`: it is nobody's to see.
    pub(crate) jobs: Option<Arc<Jobs>>,
    /// What a test does to it.
    pub(crate) trial: BridgeTrial,
}

/// A bridge at work.
pub(crate) struct BridgeWorker {
    name: String,
    node: Handle,
    database: Box<dyn Database>,
    state: BridgeState,
    mappings: BTreeMap<u32, Mapping>,
    unbound: BTreeMap<u32, String>,
    poll: Duration,
    progress: Progress,
    /// The generation that the state knows.
    kept_generation: i64,
    tables: BTreeMap<u32, TableState>,
    /// The order in which rows are written, parents first.
    order: Vec<u32>,
    feed: Option<Consumer>,
    stamp: String,
    catalogue_due: Instant,
    acknowledge_due: Instant,
    catch_up_due: Instant,
    /// Records that came to wait since those that wait were counted.
    uncounted: usize,
    lease_due: Instant,
    /// The tables of which something may be set aside.
    aside: BTreeSet<u32>,
    /// How many rows of a table are read at a time, by how large they were.
    page_rows: BTreeMap<u32, usize>,
    /// Rows that were not as the node knows them when they were to be written, and how often.
    postponed: BTreeMap<(u32, Key), u8>,
    /// When records are applied again, after the application held a lock for too long.
    apply_due: Instant,
    /// Pause after the next such failure.
    apply_pause: Duration,
    /// Batches that are to be of one record each, until it is known which the database refuses as it commits.
    single_left: u32,
    /// When a file may be written again, so that its application has its turn.
    rest_until: Instant,
    /// Whether the state has what a batch changes, and nobody knows whether the database has committed it.
    is_unsettled: bool,
    /// When the write at work was begun.
    written_since: Instant,
    commands: mpsc::Receiver<BridgeRequest>,
    report: watch::Sender<BridgeReport>,
    counts: report::BridgeCounts,
    jobs: Option<Arc<Jobs>>,
    /// The job of the tables that are read as a whole.
    job: job::TableJob,
    trial: BridgeTrial,
}

impl BridgeWorker {
    pub(crate) fn new(
        parts: BridgeParts,
        commands: mpsc::Receiver<BridgeRequest>,
        report: watch::Sender<BridgeReport>,
    ) -> Self {
        let BridgeParts { name, node, database, state, mappings, unbound, poll, jobs, trial } =
            parts;
        let now = Instant::now();
        Self {
            name,
            node,
            database,
            state,
            mappings,
            unbound,
            poll,
            progress: Progress::default(),
            kept_generation: 0,
            tables: BTreeMap::new(),
            order: Vec::new(),
            feed: None,
            stamp: String::new(),
            catalogue_due: now,
            acknowledge_due: now,
            catch_up_due: now,
            uncounted: 0,
            lease_due: now,
            aside: BTreeSet::new(),
            page_rows: BTreeMap::new(),
            postponed: BTreeMap::new(),
            apply_due: now,
            apply_pause: RETRY,
            single_left: 0,
            rest_until: now,
            is_unsettled: false,
            written_since: now,
            commands,
            report,
            counts: report::BridgeCounts::default(),
            jobs,
            job: job::TableJob::default(),
            trial,
        }
    }

    /// Carries out what was asked before the bridge could begin, and works.
    pub(crate) async fn run_after(mut self, request: BridgeRequest) {
        if let Err(error) = self.read_state().await {
            // Anyone who asked may be gone.
            let _ = request.reply.send(Err(error.into()));
        } else if self.obey(request).await {
            return self.state.close().await;
        }
        self.run().await;
    }

    async fn read_state(&mut self) -> Result<(), BridgeFailure> {
        self.progress = self.state.progress().await?;
        self.reread_tables().await
    }

    /// Works until the node stops or the bridge is removed.
    pub(crate) async fn run(mut self) {
        let mut pause = RETRY;
        loop {
            let failure = match self.work(&mut pause).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            self.database.roll_back().await;
            self.feed = None;
            if failure.is_end() {
                break;
            }
            tracing::warn!(bridge = %self.name, error = %failure, "the bridge pauses");
            self.hold_job(&failure).await;
            let is_over = match failure {
                BridgeFailure::Rest(reason) => self.rest(reason).await,
                failure => {
                    self.publish(Some(&failure)).await;
                    let is_over = self.wait(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    is_over
                }
            };
            if is_over {
                break;
            }
        }
        self.state.close().await;
    }

    /// Rests until a person has decided; returns whether the bridge is over.
    async fn rest(&mut self, reason: String) -> bool {
        if self.progress.paused.as_ref() != Some(&reason) {
            self.progress.paused = Some(reason);
            if let Err(error) = self.keep_progress().await {
                tracing::warn!(bridge = %self.name, %error, "that the bridge rests was not kept");
            }
        }
        while self.progress.paused.is_some() {
            self.publish(None).await;
            let Some(request) = self.commands.recv().await else { return true };
            if self.obey(request).await {
                return true;
            }
        }
        false
    }

    /// Waits before the next try, unless a person asks for something; returns whether the bridge is over.
    async fn wait(&mut self, pause: Duration) -> bool {
        match tokio::time::timeout(pause, self.commands.recv()).await {
            Err(_) => false,
            Ok(None) => true,
            Ok(Some(request)) => self.obey(request).await,
        }
    }

    /// Connects, and goes round until something fails. Returns where the bridge is over.
    async fn work(&mut self, pause: &mut Duration) -> Result<(), BridgeFailure> {
        self.read_state().await?;
        if let Some(reason) = self.progress.paused.clone() {
            return Err(BridgeFailure::Rest(reason));
        }
        self.publish(None).await;
        self.open().await?;
        loop {
            let is_busy = self.round().await?;
            *pause = RETRY;
            self.publish(None).await;
            let idle = if is_busy { BUSY_PAUSE.min(self.poll) } else { self.poll };
            let may_read = Instant::now() >= self.catch_up_due;
            tokio::select! {
                () = tokio::time::sleep(idle), if !may_read => {}
                request = self.commands.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    if self.obey(request).await {
                        return Ok(());
                    }
                    if let Some(reason) = self.progress.paused.clone() {
                        return Err(BridgeFailure::Rest(reason));
                    }
                }
                reported = feed::something(&mut self.feed, idle), if may_read => {
                    if let Some(page) = reported? {
                        self.hear(page).await?;
                    }
                }
            }
        }
    }

    /// One look at everything; returns whether there is more to do at once.
    async fn round(&mut self) -> Result<bool, BridgeFailure> {
        if self.database.reads_hinder_writers() {
            tokio::time::sleep_until(self.rest_until).await;
        }
        self.renew_lease().await?;
        if Instant::now() >= self.catalogue_due {
            self.look_at_catalogue().await?;
            self.catalogue_due = Instant::now() + CATALOGUE_EVERY;
        }
        let mut is_busy = self.drain().await?;
        self.follow_job().await;
        is_busy |= self.load().await?;
        self.follow_job().await;
        is_busy |= self.apply_in_turn().await?;
        self.retry_captures().await?;
        if Instant::now() >= self.acknowledge_due {
            let has_more = self.acknowledge().await?;
            self.acknowledge_due = Instant::now();
            if !has_more {
                self.acknowledge_due += ACKNOWLEDGE_EVERY;
            }
            is_busy |= has_more;
        }
        Ok(is_busy)
    }

    /// Applies records; where the application holds a lock for too long, capturing goes on meanwhile.
    async fn apply_in_turn(&mut self) -> Result<bool, BridgeFailure> {
        if Instant::now() < self.apply_due {
            return Ok(false);
        }
        match self.apply().await {
            Err(BridgeFailure::Database(error))
                if error.class == DbErrorClass::Transient && !self.is_unsettled =>
            {
                tracing::debug!(bridge = %self.name, %error, "applying waits");
                self.database.roll_back().await;
                self.apply_due = Instant::now() + self.apply_pause;
                self.apply_pause = (self.apply_pause * 2).min(RETRY_MAX);
                // A connection that is gone shows here.
                self.database.has_notes().await?;
                Ok(false)
            }
            applied => {
                self.apply_pause = RETRY;
                applied
            }
        }
    }

    async fn keep_progress(&mut self) -> Result<(), StateError> {
        let progress = self.progress.clone();
        let steps = Steps { progress: Some(&progress), ..Steps::default() };
        self.state.keep(steps).await?;
        self.kept_generation = progress.generation;
        Ok(())
    }

    /// A table comes to another phase.
    async fn enter(&mut self, number: u32, phase: Phase) -> Result<(), BridgeFailure> {
        self.state.enter(number, phase).await?;
        self.reread_tables().await
    }

    /// A table is read again as a whole.
    async fn compare_again(&mut self, number: u32) -> Result<(), BridgeFailure> {
        match self.tables.get(&number).map(|table| table.phase.again()) {
            Some(phase) => self.enter(number, phase).await,
            None => Ok(()),
        }
    }

    /// A table stops, and the others go on.
    async fn stop_table(&mut self, number: u32, reason: &str) -> Result<(), BridgeFailure> {
        tracing::warn!(bridge = %self.name, table = number, reason, "a table of the bridge stops");
        self.state.stop_table(number, Some(reason), now_ms()).await?;
        self.reread_tables().await
    }

    async fn reread_tables(&mut self) -> Result<(), BridgeFailure> {
        let tables = self.state.tables().await?;
        self.tables = tables.into_iter().map(|table| (table.bound.number, table)).collect();
        Ok(())
    }

    /// The tables that are captured, are read well enough, and do not rest.
    fn works(&self, number: u32) -> bool {
        self.tables.get(&number).is_some_and(|table| table.stopped.is_none())
    }

    fn is_loading(&self, number: u32) -> bool {
        let phase = self.tables.get(&number).map(|table| table.phase);
        matches!(phase, Some(Phase::Loading))
    }

    /// What an error of the database means for the table that was being worked on: the table stops, or the worker does.
    async fn judge(&mut self, number: u32, error: DbError) -> Result<(), BridgeFailure> {
        self.database.roll_back().await;
        match error.class {
            DbErrorClass::Schema => {
                let what = format!(
                    "the table is not as it was when the bridge was installed: {error}; change the mapping if it has to, \
                     then `branchline bridge resume {}`",
                    self.name
                );
                self.stop_table(number, &what).await
            }
            DbErrorClass::Transient
            | DbErrorClass::Row
            | DbErrorClass::Config
            | DbErrorClass::Bug => Err(error.into()),
        }
    }
}

/// Now, in ms since 1970.
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
