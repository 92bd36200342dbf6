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
use branchline_node::feed::{Consumer, FeedPage};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::classes::{Classes, NotFit};
use super::config::WeaviateConfig;
use super::names::Names;
use super::plan::NotLooked;
use super::remote::Remote;
use super::state::{WeaviateProgress, WeaviateState};
use crate::jobs::board::Jobs;
use crate::jobs::fault::Class;
use crate::jobs::feed;
use crate::jobs::jq::Filter;
use crate::jobs::retry::RetryConfig;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::Tenure;
use crate::sink::back_off::BackOff;
use crate::sink::failure::SinkFailure;
use crate::sink::task::{self, LOOK_EVERY, RETRY, Task, now_ms, require_tenure};
use crate::sink::worker::{SinkAnswer, SinkCommand, SinkReport, SinkRequest};

impl From<NotLooked> for SinkFailure {
    fn from(error: NotLooked) -> Self {
        match error {
            NotLooked::Node(error) => Self::Node(error),
            NotLooked::State(error) => Self::State(error),
        }
    }
}

/// What a sink is made of.
pub(in crate::sink) struct WeaviateParts {
    pub(super) name: String,
    pub(super) config: WeaviateConfig,
    pub(super) retry: RetryConfig,
    /// What a changed configuration may send without a person's yes.
    pub(super) ask_over: u64,
    /// By collection.
    pub(super) filters: BTreeMap<String, Filter>,
    /// The node, in the space of the sink's collections.
    pub(super) node: Handle,
    pub(super) state: WeaviateState,
    pub(super) jobs: Arc<Jobs>,
    pub(super) remote: Remote,
}

/// A sink at work.
pub(in crate::sink) struct WeaviateWorker {
    name: String,
    config: WeaviateConfig,
    retry: RetryConfig,
    ask_over: u64,
    filters: BTreeMap<String, Filter>,
    node: Handle,
    state: WeaviateState,
    jobs: Arc<Jobs>,
    remote: Remote,
    names: Option<Names>,
    classes: Classes,
    progress: WeaviateProgress,
    /// How often the sink was taken over, from 1.
    term: u64,
    feed: Option<Consumer>,
    back_off: BackOff,
    /// The next request goes out then at the earliest.
    next_at: Instant,
    /// Whether edges may have become sendable since none were.
    edges_due: bool,
    job: Option<orders::WeaviateAtWork>,
    run: Option<orders::WeaviateRun>,
    commands: mpsc::Receiver<SinkRequest>,
    report: watch::Sender<SinkReport>,
    counts: report::WeaviateCounts,
}

impl Task for WeaviateWorker {
    fn name(&self) -> &str {
        &self.name
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
        match self.go_round(pause).await {
            Err(SinkFailure::Remote(fault)) if fault.class == Class::Authentication => {
                let (name, what) = (&self.name, &fault.message);
                Err(SinkFailure::Rest(format!(
                    "the server does not accept this office: {what}; see to the credential, then `branchline sink resume {name}`"
                )))
            }
            ended => ended,
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

    fn backs_off(&mut self, failure: &SinkFailure) -> Option<Duration> {
        match failure {
            SinkFailure::Remote(fault) if fault.class == Class::Transient => {
                self.back_off.fail(&self.retry, &fault.message, fault.retry_after);
                Some(self.back_off.left().unwrap_or(RETRY))
            }
            _ => None,
        }
    }
}

impl WeaviateWorker {
    pub(in crate::sink) fn new(
        parts: WeaviateParts,
        commands: mpsc::Receiver<SinkRequest>,
        report: watch::Sender<SinkReport>,
    ) -> Self {
        let WeaviateParts { name, config, retry, ask_over, filters, node, state, jobs, remote } =
            parts;
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
            progress: WeaviateProgress::default(),
            term: 0,
            feed: None,
            back_off: BackOff::default(),
            next_at: Instant::now(),
            edges_due: true,
            job: None,
            run: None,
            commands,
            report,
            counts: report::WeaviateCounts::default(),
        }
    }

    /// Works until the node stops or nobody can ask the sink for anything any more.
    pub(in crate::sink) async fn run(self) {
        task::run(self).await;
    }

    /// Sees that this site runs the sink and that the classes are there, and goes round until something fails.
    async fn go_round(&mut self, pause: &mut Duration) -> Result<(), SinkFailure> {
        self.progress = self.state.progress().await?;
        if let Some(reason) = self.progress.paused.clone() {
            return Err(SinkFailure::Rest(reason));
        }
        self.check_tenure().await?;
        let network = self.node.network_id().ok_or(SinkFailure::NoNetwork)?;
        self.names = Some(Names::new(&network.to_string()));
        self.classes = match Classes::fit(&self.remote, &self.config).await {
            Ok(classes) => classes,
            Err(unfit) => return Err(self.unfit(unfit)),
        };
        self.begin().await?;
        let mut jobs = self.jobs.changes();
        loop {
            self.take_orders().await?;
            let is_listing = self.progress.listing.is_some();
            let is_busy = if is_listing {
                self.list().await?
            } else {
                self.ask_first().await?;
                self.deliver().await?
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
                        return Err(SinkFailure::Rest(reason));
                    }
                }
                heard = feed::something(&mut self.feed, sleep), if !is_listing => {
                    if let Some(page) = heard? {
                        self.hear(page).await?;
                    }
                }
                () = tokio::time::sleep(sleep), if is_listing => {}
                _ = jobs.changed() => {}
            }
        }
    }

    /// What follows where the classes are not as they should be.
    fn unfit(&self, unfit: NotFit) -> SinkFailure {
        match unfit {
            NotFit::Fault(fault) => SinkFailure::Remote(fault),
            NotFit::Other(what) => {
                let name = &self.name;
                SinkFailure::Rest(format!(
                    "{what}; then `branchline reload` and `branchline sink resume {name}`"
                ))
            }
        }
    }

    /// How long nothing is due by itself.
    async fn sleep(&mut self) -> Result<Duration, SinkFailure> {
        if let Some(left) = self.back_off.left() {
            return Ok(left.min(LOOK_EVERY));
        }
        let between = self.next_at.saturating_duration_since(Instant::now());
        if !between.is_zero() {
            return Ok(between.min(LOOK_EVERY));
        }
        let mut due = self.state.next_edge_due().await?;
        for object in &self.config.objects {
            let next = self.state.next_due(&object.collection).await?;
            due = due.into_iter().chain(next).min();
        }
        let left = due.map(|due| due.saturating_sub(now_ms()));
        let left = left.map(|left| Duration::from_millis(u64::try_from(left).unwrap_or(0)));
        Ok(left.unwrap_or(LOOK_EVERY).min(LOOK_EVERY))
    }

    /// What people call it in lists of connectors.
    fn connector(&self) -> String {
        format!("sink {}", self.name)
    }

    /// Sees that this site runs the sink still.
    async fn check_tenure(&mut self) -> Result<(), SinkFailure> {
        let tenure = Tenure::look_or_begin(&self.node, &self.connector()).await?;
        self.term = tenure.term;
        require_tenure(&self.node, &self.name, &tenure).await
    }
}

fn later_ms(pause: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}
