//! One sink at work: a task that owns the sink's state, and does one thing at a time; pushes are tasks of their own.
//!
//! | file | step |
//! |---|---|
//! | `list` | looks at what was there before |
//! | `listen` | what the feed tells: which groups are dirty |
//! | `fill` | reads groups that are due, and has them pushed |
//! | `take` | what came of the pushes |
//! | `runs` | what a run is, and the jobs that people ask for |
//! | `verify` | the job that reads back what the remote has |
//! | `command` | what a person asks for |
//! | `report` | what the sink says of itself |

mod command;
mod fill;
mod list;
mod listen;
mod report;
mod runs;
mod take;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use branchline_node::Handle;
use branchline_node::feed::{Consumer, FeedError};
use branchline_node::handle::{ReadError, Stopped};
use branchline_node::records::NotWritten;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::config::SinkConfig;
use super::push::{Outcome, Pusher};
use super::shape::Shape;
use super::state::{Due, Phase, Progress, State};
use super::survey::SurveyError;
use crate::jobs::board::{JobError, Jobs};
use crate::jobs::retry::RetryConfig;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::TenureError;

pub use command::{
    Answer, Command, GroupAnswer, PAUSED, RESTORED, Request, Requeue, RunOrder, RunPart, Wrong,
};
pub use report::Report;
pub use verify::order as verify_order;

pub use crate::jobs::fault::Faults;

/// Pause after the first failure of the sink itself; each further one is twice as long.
const RETRY: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The sink looks after itself so often, whatever happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the sink cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The sink's own file.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The node has stopped, or cannot be read.
    #[error(transparent)]
    Node(#[from] ReadError),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The node does not take what is known of the remote.
    #[error("the node does not take what the sink knows of the service: {0}")]
    Unwritten(#[from] NotWritten),
    /// Who runs the sink cannot be read, or not be settled.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// The list of jobs.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// It cannot be counted what a changed configuration would push.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// A person has to decide.
    #[error("{0}")]
    Rest(String),
    /// Another site runs the sink.
    #[error("{0}")]
    Superseded(String),
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Node(stopped.into())
    }
}

impl Failure {
    /// Whether the node is gone, so that there is nothing more to do.
    fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Node(ReadError::Stopped(_))
                | Self::Feed(FeedError::Read(ReadError::Stopped(_)))
                | Self::Unwritten(NotWritten::Stopped(_))
                | Self::Tenure(
                    TenureError::Read(ReadError::Stopped(_))
                        | TenureError::Write(NotWritten::Stopped(_))
                )
        )
    }
}

/// What a sink is made of.
pub(crate) struct Parts {
    pub(crate) config: SinkConfig,
    pub(crate) shape: Shape,
    /// The node, in the space of the sink's collections.
    pub(crate) node: Handle,
    pub(crate) state: State,
    pub(crate) jobs: Arc<Jobs>,
    /// Makes what pushes, for the term that this site runs the sink in.
    pub(crate) pusher: Box<dyn Fn(u64) -> Pusher + Send + Sync>,
}

/// A group that is looked at or pushed.
struct Flight {
    due: Due,
    stale: Arc<AtomicBool>,
    task: tokio::task::Id,
}

/// A sink at work.
pub(crate) struct Worker {
    config: SinkConfig,
    shape: Arc<Shape>,
    node: Handle,
    state: State,
    jobs: Arc<Jobs>,
    make_pusher: Box<dyn Fn(u64) -> Pusher + Send + Sync>,
    pusher: Option<Arc<Pusher>>,
    progress: Progress,
    feed: Option<Consumer>,
    flights: BTreeMap<String, Flight>,
    pushes: JoinSet<(String, Outcome)>,
    back_off: BackOff,
    /// When the next group is due, as far as is known.
    due_at_ms: Option<i64>,
    run: Option<runs::Run>,
    /// The job that a person has asked for, and that is at work.
    job: Option<runs::AtWork>,
    /// The one that reads back, and its task.
    verifying: Option<verify::Verifying>,
    verifiers: JoinSet<verify::Ended>,
    commands: mpsc::Receiver<Request>,
    report: watch::Sender<Report>,
    counts: report::Counts,
}

/// How long the sink leaves the remote alone.
#[derive(Debug, Default)]
struct BackOff {
    /// Failures of the remote in a row, whatever the group.
    failures: u32,
    until: Option<Instant>,
    until_ms: i64,
    reason: String,
}

impl BackOff {
    /// The remote has failed.
    fn fail(&mut self, retry: &RetryConfig, reason: &str, asked: Option<Duration>) {
        let now = Instant::now();
        let is_waiting = self.until.is_some_and(|until| until > now);
        if !is_waiting {
            self.failures = self.failures.saturating_add(1);
        }
        let until = now + retry.pause(self.failures, asked);
        if self.until.is_none_or(|before| until > before) {
            self.until = Some(until);
            let pause = i64::try_from(until.duration_since(now).as_millis()).unwrap_or(i64::MAX);
            self.until_ms = now_ms().saturating_add(pause);
        }
        reason.clone_into(&mut self.reason);
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

impl Worker {
    pub(crate) fn new(
        parts: Parts,
        commands: mpsc::Receiver<Request>,
        report: watch::Sender<Report>,
    ) -> Self {
        let Parts { config, shape, node, state, jobs, pusher } = parts;
        Self {
            config,
            shape: Arc::new(shape),
            node,
            state,
            jobs,
            make_pusher: pusher,
            pusher: None,
            progress: Progress::default(),
            feed: None,
            flights: BTreeMap::new(),
            pushes: JoinSet::new(),
            back_off: BackOff::default(),
            due_at_ms: Some(0),
            run: None,
            job: None,
            verifying: None,
            verifiers: JoinSet::new(),
            commands,
            report,
            counts: report::Counts::default(),
        }
    }

    /// Works until the node stops or nobody can ask the sink for anything any more.
    pub(crate) async fn run(mut self) {
        let mut pause = RETRY;
        loop {
            let failure = match self.work(&mut pause).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            self.feed = None;
            self.break_verifying_off().await;
            self.finish_pushes().await;
            if failure.is_end() {
                break;
            }
            tracing::warn!(sink = %self.config.name, error = %failure, "the sink pauses");
            let is_over = match failure {
                Failure::Rest(reason) => self.rest(reason).await,
                failure => {
                    self.say(Some(&failure)).await;
                    let is_over = self.wait(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    is_over
                }
            };
            if is_over {
                break;
            }
        }
        self.break_verifying_off().await;
        self.finish_pushes().await;
        self.state.close().await;
    }

    /// Lets what is under way come to its end: what was sent is confirmed or known to be unknown then.
    async fn finish_pushes(&mut self) {
        while let Some(done) = self.pushes.join_next().await {
            let Ok((id, outcome)) = done else { continue };
            if let Err(error) = self.take(vec![(id, outcome)]).await {
                // What it was is looked at again: its group stays dirty.
                tracing::debug!(sink = %self.config.name, %error, "what came of a push was not kept");
            }
        }
        self.flights.clear();
    }

    /// Rests until a person lets the sink go on; returns whether it is over.
    async fn rest(&mut self, reason: String) -> bool {
        if self.progress.paused.as_ref() != Some(&reason) {
            self.progress.paused = Some(reason);
            if let Err(error) = self.state.keep(&self.progress).await {
                tracing::warn!(sink = %self.config.name, %error, "that the sink rests was not kept");
            }
        }
        while self.progress.paused.is_some() {
            self.say(None).await;
            let Some(request) = self.commands.recv().await else { return true };
            self.obey(request).await;
        }
        false
    }

    /// Waits before the next try, unless a person asks for something; returns whether the sink is over.
    async fn wait(&mut self, pause: Duration) -> bool {
        match tokio::time::timeout(pause, self.commands.recv()).await {
            Err(_) => false,
            Ok(None) => true,
            Ok(Some(request)) => {
                self.obey(request).await;
                false
            }
        }
    }

    /// Sees that this site runs the sink, and goes round until something fails. Returns where the sink is over.
    async fn work(&mut self, pause: &mut Duration) -> Result<(), Failure> {
        self.progress = self.state.progress().await?;
        if let Some(reason) = self.progress.paused.clone() {
            return Err(Failure::Rest(reason));
        }
        self.begin().await?;
        let mut jobs = self.jobs.changes();
        loop {
            self.take_orders().await?;
            let is_listing = self.progress.phase != Phase::Running;
            let is_busy = match is_listing {
                true => self.list().await?,
                false => self.fill().await?,
            };
            self.follow_run().await?;
            *pause = RETRY;
            self.say(None).await;
            let sleep = if is_busy { Duration::ZERO } else { self.sleep() };
            tokio::select! {
                biased;
                request = self.commands.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    self.obey(request).await;
                    if let Some(reason) = self.progress.paused.clone() {
                        return Err(Failure::Rest(reason));
                    }
                }
                Some(done) = self.pushes.join_next(), if !self.pushes.is_empty() => {
                    self.take_all(done).await?;
                }
                Some(ended) = self.verifiers.join_next(), if !self.verifiers.is_empty() => {
                    self.take_verified(ended).await?;
                }
                told = listen::something(&mut self.feed, sleep), if !is_listing => {
                    if let Some(page) = told? {
                        self.hear(page).await?;
                    }
                }
                () = tokio::time::sleep(sleep), if is_listing => {}
                _ = jobs.changed() => {}
            }
        }
    }

    /// How long nothing is due by itself.
    fn sleep(&self) -> Duration {
        let mut sleep = LOOK_EVERY;
        if let Some(due) = self.due_at_ms {
            let left = u64::try_from(due.saturating_sub(now_ms())).unwrap_or(0);
            sleep = sleep.min(Duration::from_millis(left));
        }
        // While the remote is left alone, and while all hands are full, nothing is due.
        match self.back_off.until.filter(|_| !self.back_off.is_over()) {
            Some(until) => until.saturating_duration_since(Instant::now()).min(LOOK_EVERY),
            None if self.free_hands() == 0 => LOOK_EVERY,
            None => sleep,
        }
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
