//! One sink to Weaviate at work: a task that owns its state and does one thing at a time.
//!
//! | file | step |
//! |---|---|
//! | `follow` | what is there, and what changes: which records are dirty |
//! | `deliver` | a batch of objects |
//! | `edges` | a batch of edges, and edges that are taken back |
//! | `orders` | the jobs that people ask for |
//! | `command` | what else a person asks for |
//! | `report` | what the sink says of itself |

mod command;
mod deliver;
mod edges;
mod follow;
mod orders;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use branchline_node::Handle;
use branchline_node::feed::{Consumer, FeedError};
use branchline_node::handle::{ReadError, Stopped};
use branchline_node::records::NotWritten;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::classes::{Classes, NotFit};
use super::config::WeaviateConfig;
use super::names::Names;
use super::plan::NotLooked;
use super::remote::Remote;
use super::state::{Progress, State};
use crate::jobs::board::{JobError, Jobs};
use crate::jobs::fault::{Class, Fault};
use crate::jobs::jq::Filter;
use crate::jobs::retry::RetryConfig;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::{Tenure, TenureError};
use crate::sink::worker::{Report, Request};

/// Pause after the first failure of the sink itself; each further one is twice as long.
const RETRY: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// The sink looks after itself so often, whatever happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why the sink cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The sink's own file.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The node has stopped, or cannot be read.
    #[error(transparent)]
    Node(#[from] ReadError),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Who runs the sink cannot be read, or not be settled.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// The list of jobs.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// The server does not do what it has to before anything is sent.
    #[error(transparent)]
    Remote(#[from] Fault),
    /// A person has to decide.
    #[error("{0}")]
    Rest(String),
    /// Another site runs the sink.
    #[error("{0}")]
    Superseded(String),
    /// This site is of no network yet.
    #[error("this site is of no network yet: objects are called by its network")]
    NoNetwork,
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        Self::Node(stopped.into())
    }
}

impl From<NotLooked> for Failure {
    fn from(error: NotLooked) -> Self {
        match error {
            NotLooked::Node(error) => Self::Node(error),
            NotLooked::State(error) => Self::State(error),
        }
    }
}

impl From<NotFit> for Failure {
    fn from(error: NotFit) -> Self {
        match error {
            NotFit::Fault(fault) => Self::Remote(fault),
            NotFit::Other(what) => Self::Rest(what),
        }
    }
}

impl Failure {
    /// Whether the node is gone, so that there is nothing more to do.
    fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Node(ReadError::Stopped(_))
                | Self::Feed(FeedError::Read(ReadError::Stopped(_)))
                | Self::Tenure(
                    TenureError::Read(ReadError::Stopped(_))
                        | TenureError::Write(NotWritten::Stopped(_))
                )
        )
    }
}

/// What a sink is made of.
pub(in crate::sink) struct Parts {
    pub(super) name: String,
    pub(super) config: WeaviateConfig,
    pub(super) retry: RetryConfig,
    /// What a changed configuration may send without a person's yes.
    pub(super) ask_over: u64,
    /// By collection.
    pub(super) filters: BTreeMap<String, Filter>,
    /// The node, in the space of the sink's collections.
    pub(super) node: Handle,
    pub(super) state: State,
    pub(super) jobs: Arc<Jobs>,
    pub(super) remote: Remote,
}

/// A sink at work.
pub(in crate::sink) struct Worker {
    name: String,
    config: WeaviateConfig,
    retry: RetryConfig,
    ask_over: u64,
    filters: BTreeMap<String, Filter>,
    node: Handle,
    state: State,
    jobs: Arc<Jobs>,
    remote: Remote,
    names: Option<Names>,
    classes: Classes,
    progress: Progress,
    /// How often the sink was taken over, from 1.
    term: u64,
    feed: Option<Consumer>,
    back_off: BackOff,
    /// The next request goes out then at the earliest.
    next_at: Instant,
    /// Whether edges may have become sendable since none were.
    edges_due: bool,
    job: Option<orders::AtWork>,
    run: Option<orders::Run>,
    commands: mpsc::Receiver<Request>,
    report: watch::Sender<Report>,
    counts: report::Counts,
}

/// How long the sink leaves the server alone.
#[derive(Debug, Default)]
struct BackOff {
    /// Failures in a row.
    failures: u32,
    until: Option<Instant>,
    until_ms: i64,
    reason: String,
}

impl BackOff {
    fn fail(&mut self, retry: &RetryConfig, reason: &str, asked: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let pause = retry.pause(self.failures, asked);
        self.until = Some(Instant::now() + pause);
        self.until_ms = later_ms(pause);
        reason.clone_into(&mut self.reason);
    }

    fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Worker {
    pub(in crate::sink) fn new(
        parts: Parts,
        commands: mpsc::Receiver<Request>,
        report: watch::Sender<Report>,
    ) -> Self {
        let Parts { name, config, retry, ask_over, filters, node, state, jobs, remote } = parts;
        Self {
            name,
            config,
            retry,
            ask_over,
            filters,
            node,
            state,
            jobs,
            remote,
            names: None,
            classes: Classes::default(),
            progress: Progress::default(),
            term: 0,
            feed: None,
            back_off: BackOff::default(),
            next_at: Instant::now(),
            edges_due: true,
            job: None,
            run: None,
            commands,
            report,
            counts: report::Counts::default(),
        }
    }

    /// Works until the node stops or nobody can ask the sink for anything any more.
    pub(in crate::sink) async fn run(mut self) {
        let mut pause = RETRY;
        loop {
            let failure = match self.work(&mut pause).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            self.feed = None;
            if failure.is_end() {
                break;
            }
            tracing::warn!(sink = %self.name, error = %failure, "the sink pauses");
            let is_over = match failure {
                Failure::Rest(reason) => self.rest(reason).await,
                Failure::Remote(fault) if fault.class == Class::Authentication => {
                    let (name, what) = (&self.name, &fault.message);
                    let reason = format!(
                        "the server does not accept this office: {what}; see to the credential, then `branchline sink resume {name}`"
                    );
                    self.rest(reason).await
                }
                Failure::Remote(fault) if fault.class == Class::Transient => {
                    self.back_off.fail(&self.retry, &fault.message, fault.retry_after);
                    self.say(None).await;
                    self.wait(self.back_off.left().unwrap_or(RETRY)).await
                }
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
        self.state.close().await;
    }

    /// Rests until a person lets the sink go on; returns whether it is over.
    async fn rest(&mut self, reason: String) -> bool {
        if self.progress.paused.as_ref() != Some(&reason) {
            self.progress.paused = Some(reason);
            if let Err(error) = self.state.keep(&self.progress).await {
                tracing::warn!(sink = %self.name, %error, "that the sink rests was not kept");
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
        self.check_tenure().await?;
        let network = self.node.network_id().ok_or(Failure::NoNetwork)?;
        self.names = Some(Names::new(&network.to_string()));
        self.classes = Classes::fit(&self.remote, &self.config).await?;
        self.begin().await?;
        let mut jobs = self.jobs.changes();
        loop {
            self.take_orders().await?;
            let is_listing = self.progress.listing.is_some();
            let is_busy = match is_listing {
                true => self.list().await?,
                false => {
                    self.ask_first().await?;
                    self.deliver().await?
                }
            };
            self.follow_orders(is_busy).await?;
            *pause = RETRY;
            self.say(None).await;
            let sleep = if is_busy { Duration::ZERO } else { self.sleep().await? };
            tokio::select! {
                biased;
                request = self.commands.recv() => {
                    let Some(request) = request else { return Ok(()) };
                    self.obey(request).await;
                    if let Some(reason) = self.progress.paused.clone() {
                        return Err(Failure::Rest(reason));
                    }
                }
                heard = follow::something(&mut self.feed, sleep), if !is_listing => {
                    if let Some(page) = heard? {
                        self.hear(page).await?;
                    }
                }
                () = tokio::time::sleep(sleep), if is_listing => {}
                _ = jobs.changed() => {}
            }
        }
    }

    /// How long nothing is due by itself.
    async fn sleep(&mut self) -> Result<Duration, Failure> {
        if let Some(left) = self.back_off.left() {
            return Ok(left.min(LOOK_EVERY));
        }
        let between = self.next_at.saturating_duration_since(Instant::now());
        if !between.is_zero() {
            return Ok(between.min(LOOK_EVERY));
        }
        let due = [self.state.next_due().await?, self.state.next_edge_due().await?];
        let left = due.into_iter().flatten().min().map(|due| due.saturating_sub(now_ms()));
        let left = left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        Ok(left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY))
    }

    /// What people call it in lists of connectors.
    fn connector(&self) -> String {
        format!("sink {}", self.name)
    }

    /// Sees that this site runs the sink still.
    async fn check_tenure(&mut self) -> Result<(), Failure> {
        let tenure = Tenure::look_or_begin(&self.node, &self.connector()).await?;
        self.term = tenure.term;
        if tenure.is_of(&self.node) {
            return Ok(());
        }
        let site = tenure.site_name(&self.node).await?;
        let name = &self.name;
        Err(Failure::Superseded(format!(
            "{site} runs this sink since {}; `branchline sink takeover {name}` takes it over to this site",
            tenure.since
        )))
    }
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn later_ms(pause: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}
