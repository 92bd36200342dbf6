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
use branchline_node::feed::{Consumer, FeedPage};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::back_off::BackOff;
use super::config::SinkConfig;
use super::failure::SinkFailure;
use super::group::shape::Shape;
use super::push::{Outcome, Pusher};
use super::state::{DueGroup, SinkPhase, SinkProgress, SinkState};
use super::task::{self, LOOK_EVERY, RETRY, RETRY_MAX, Task, now_ms};
use crate::jobs::board::Jobs;
use crate::jobs::feed;
use crate::jobs::store::StoreError;

pub use command::{
    GroupAnswer, PAUSED, RESTORED, Requeue, RunOrder, RunPart, SinkAnswer, SinkCommand,
    SinkRequest, SinkWrong,
};
pub use report::SinkReport;
pub use verify::order as verify_order;

pub use crate::jobs::fault::Faults;

/// What a sink is made of.
pub(crate) struct SinkParts {
    pub(crate) config: SinkConfig,
    pub(crate) shape: Shape,
    /// The node, in the space of the sink's collections.
    pub(crate) node: Handle,
    pub(crate) state: SinkState,
    pub(crate) jobs: Arc<Jobs>,
    /// Makes what pushes, for the term that this site runs the sink in.
    pub(crate) pusher: Box<dyn Fn(u64) -> Pusher + Send + Sync>,
}

/// A group that is looked at or pushed.
struct Flight {
    due: DueGroup,
    stale: Arc<AtomicBool>,
    task: tokio::task::Id,
}

/// A sink at work.
pub(crate) struct SinkWorker {
    config: SinkConfig,
    shape: Arc<Shape>,
    node: Handle,
    state: SinkState,
    jobs: Arc<Jobs>,
    make_pusher: Box<dyn Fn(u64) -> Pusher + Send + Sync>,
    pusher: Option<Arc<Pusher>>,
    progress: SinkProgress,
    feed: Option<Consumer>,
    flights: BTreeMap<String, Flight>,
    pushes: JoinSet<(String, Outcome)>,
    back_off: BackOff,
    /// When the next group is due, as far as is known.
    due_at_ms: Option<i64>,
    run: Option<runs::SinkRun>,
    /// The job that a person has asked for, and that is at work.
    job: Option<runs::SinkAtWork>,
    /// The one that reads back, and its task.
    verifying: Option<verify::Verifying>,
    verifiers: JoinSet<verify::Ended>,
    commands: mpsc::Receiver<SinkRequest>,
    report: watch::Sender<SinkReport>,
    counts: report::SinkCounts,
}

impl Task for SinkWorker {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn commands(&mut self) -> &mut mpsc::Receiver<SinkRequest> {
        &mut self.commands
    }

    fn paused(&mut self) -> &mut Option<String> {
        &mut self.progress.paused
    }

    async fn keep(&mut self) -> Result<(), StoreError> {
        self.state.keep(&self.progress).await
    }

    async fn work(&mut self, pause: &mut Duration) -> Result<(), SinkFailure> {
        self.progress = self.state.progress().await?;
        if let Some(reason) = self.progress.paused.clone() {
            return Err(SinkFailure::Rest(reason));
        }
        self.begin().await?;
        let mut jobs = self.jobs.changes();
        loop {
            self.take_orders().await?;
            let is_listing = self.progress.phase != SinkPhase::Running;
            let is_busy = if is_listing { self.list().await? } else { self.fill().await? };
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
                        return Err(SinkFailure::Rest(reason));
                    }
                }
                Some(done) = self.pushes.join_next(), if !self.pushes.is_empty() => {
                    self.take_all(done).await?;
                }
                Some(ended) = self.verifiers.join_next(), if !self.verifiers.is_empty() => {
                    self.take_verified(ended).await?;
                }
                reported = feed::something(&mut self.feed, sleep), if !is_listing => {
                    if let Some(page) = reported? {
                        self.hear(page).await?;
                    }
                }
                () = tokio::time::sleep(sleep), if is_listing => {}
                _ = jobs.changed() => {}
            }
        }
    }

    async fn answer_to(&mut self, command: SinkCommand) -> SinkAnswer {
        self.carry_out(command).await
    }

    async fn report_on(&mut self, failure: Option<&SinkFailure>) {
        self.say(failure).await;
    }

    async fn let_go(&mut self) {
        self.feed = None;
        self.break_verifying_off().await;
        self.finish_pushes().await;
    }

    fn feed(&mut self) -> Option<&mut Consumer> {
        self.feed.as_mut()
    }

    async fn take_page(&mut self, page: FeedPage) -> Result<(), SinkFailure> {
        self.hear(page).await
    }

    async fn close(self) {
        self.state.close().await;
    }
}

impl SinkWorker {
    pub(crate) fn new(
        parts: SinkParts,
        commands: mpsc::Receiver<SinkRequest>,
        report: watch::Sender<SinkReport>,
    ) -> Self {
        let SinkParts { config, shape, node, state, jobs, pusher } = parts;
        Self {
            config,
            shape: Arc::new(shape),
            node,
            state,
            jobs,
            make_pusher: pusher,
            pusher: None,
            progress: SinkProgress::default(),
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
            counts: report::SinkCounts::default(),
        }
    }

    /// Works until the node stops or nobody can ask the sink for anything any more.
    pub(crate) async fn run(self) {
        task::run(self).await;
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
