//! One source at work: runs when they are due or asked for, one after the other.

use std::time::Duration;

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::NotWritten;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::apply::{Target, apply};
use super::config::SourceConfig;
use super::history::{History, SourceCounts};
use super::order::Order;
use super::pull::Pull;
use super::since::Since;
use super::spool::{LAST_GOOD, LastGood, PAUSED, Spool, SpoolPhase, SpooledRun};
use super::{Source, moment};
use crate::jobs::board::{Job, JobError, JobState, Jobs};
use crate::jobs::fault::{Fault, Faults};
use crate::jobs::schedule::Schedule;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::{Tenure, TenureError};

/// How often it is looked at who runs the source, and what is due.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Pause after the node or the disk has failed.
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

/// Why a run has ended without writing what it found.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceFailure {
    /// The provider.
    #[error("{fault}{}", of_tries(*tries))]
    Fault {
        /// What it said.
        fault: Fault,
        /// How often it was asked.
        tries: u32,
    },
    /// What it found cannot be right.
    #[error("{0}")]
    Refused(String),
    /// A person has ended it.
    #[error("cancelled")]
    Cancelled,
    /// Another site runs the source.
    #[error("the source was taken over by site {0}")]
    Superseded(String),
    /// The source's own file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The list of jobs.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The records cannot be written.
    #[error(transparent)]
    Write(#[from] NotWritten),
    /// Who runs it is not known.
    #[error(transparent)]
    Tenure(#[from] TenureError),
}

fn of_tries(tries: u32) -> String {
    if tries > 1 { format!(" (tried {tries} times)") } else { String::new() }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceReport {
    /// Its state: waiting, running, backing off, failed (the last run), or paused.
    pub state: JobState,
    /// Why it is so.
    pub note: String,
    /// Since when, in ms since 1970.
    pub since_ms: i64,
    /// The job at work.
    pub job: Option<u64>,
    /// When the next run is due, in ms since 1970.
    pub next_ms: Option<i64>,
    /// When the last run ended, in ms since 1970, and whether it was good.
    pub last: Option<(i64, bool)>,
    /// When the last good run ended, in ms since 1970.
    pub last_good_ms: Option<i64>,
    /// When this node took the source up, in ms since 1970.
    pub taken_up_ms: i64,
    /// Runs since the start, good ones and failed ones.
    pub runs: (u64, u64),
    /// What they came to.
    pub counts: SourceCounts,
    /// Objects that good runs listed, and that said nothing new.
    pub unchanged: u64,
    /// Requests that were tried again.
    pub retries: u64,
    /// Requests that failed.
    pub faults: Faults,
}

impl Default for SourceReport {
    fn default() -> Self {
        let now_ms = Timestamp::now().as_millisecond();
        Self {
            state: JobState::Waiting,
            note: String::new(),
            since_ms: now_ms,
            taken_up_ms: now_ms,
            job: None,
            next_ms: None,
            last: None,
            last_good_ms: None,
            runs: (0, 0),
            counts: SourceCounts::default(),
            unchanged: 0,
            retries: 0,
            faults: Faults::default(),
        }
    }
}

/// Until when the schedules have been seen to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    #[serde(with = "moment")]
    until: Timestamp,
}

/// Under what it is remembered.
pub const SEEN: &str = "schedules-seen";

/// What a runner works with.
pub(super) struct Runner {
    pub(super) config: SourceConfig,
    pub(super) source: Box<dyn Source>,
    pub(super) since: Since,
    /// The source's space.
    pub(super) node: Handle,
    pub(super) spool: Spool,
    pub(super) jobs: std::sync::Arc<Jobs>,
    pub(super) schedule: Option<Schedule>,
    pub(super) full_schedule: Option<Schedule>,
    /// The part of the active records that may become inactive without a person's word.
    pub(super) guard: f64,
    pub(super) report: watch::Sender<SourceReport>,
    /// Set when somebody wants something: a pause, the end of one, a takeover.
    pub(super) wakes: watch::Receiver<u64>,
}

impl Runner {
    /// Works until the task is ended. It can be ended anywhere: what a run has read and written so far is on disk.
    pub(super) async fn work(mut self) {
        if let Err(error) = self.recall_last_good().await {
            tracing::warn!(source = %self.config.name, %error, "when the last good run ended is not known");
        }
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(source = %self.config.name, %error, "the source cannot work");
                self.say(JobState::BackingOff, &error.to_string());
                sleep(TROUBLE_PAUSE).await;
            }
            let mut changes = self.jobs.changes();
            changes.mark_unchanged();
            if matches!(self.jobs.next(&self.config.connector()).await, Ok(Some(_)))
                && self.report.borrow().state != JobState::Paused
            {
                continue;
            }
            let due = self
                .report
                .borrow()
                .next_ms
                .map(|at| at.saturating_sub(Timestamp::now().as_millisecond()));
            let due = due.and_then(|ms| u64::try_from(ms.max(0)).ok()).map(Duration::from_millis);
            let patience = due.map_or(LOOK_EVERY, |due| due.min(LOOK_EVERY));
            tokio::select! {
                _ = changes.changed() => {}
                _ = self.wakes.changed() => {}
                () = sleep(patience) => {}
            }
        }
    }

    /// Finds out when the last good run ended, for those who watch.
    async fn recall_last_good(&mut self) -> Result<(), SourceFailure> {
        // All of it was done but for this file's own end.
        if let Some(run) = self.spool.run().await?
            && !run.is_dry
            && self.jobs.show(run.job).await.is_ok_and(|job| job.state == JobState::Completed)
        {
            self.spool.end(self.good(&run).as_ref()).await?;
        }
        let Some(good) = self.spool.recall::<LastGood>(LAST_GOOD).await? else { return Ok(()) };
        let ended = self.history().ended(good.number).await?;
        self.report
            .send_modify(|report| report.last_good_ms = ended.map(Timestamp::as_millisecond));
        Ok(())
    }

    /// Carries out what is due and what was asked for.
    async fn look(&mut self) -> Result<(), SourceFailure> {
        if !self.may_work().await? {
            return Ok(());
        }
        self.see_to_schedules().await?;
        while let Some(job) = self.jobs.next(&self.config.connector()).await? {
            self.carry_out(&job).await?;
            self.see_to_schedules().await?;
            if !self.may_work().await? {
                return Ok(());
            }
        }
        if self.report.borrow().state != JobState::Failed {
            self.say(JobState::Waiting, "");
        }
        Ok(())
    }

    /// Whether nobody wants it to rest and no other site runs it.
    async fn may_work(&mut self) -> Result<bool, SourceFailure> {
        if let Some(why) = self.spool.recall::<String>(PAUSED).await? {
            self.say(JobState::Paused, &why);
            self.see_to_schedules().await?;
            return Ok(false);
        }
        match self.superseded_by().await? {
            None => Ok(true),
            Some(site) => {
                let name = &self.config.name;
                let note = format!(
                    "site {site} runs it: `branchline source takeover {name}` runs it here"
                );
                self.say(JobState::Paused, &note);
                self.see_to_schedules().await?;
                Ok(false)
            }
        }
    }

    /// The site that runs the source, if it is another.
    async fn superseded_by(&self) -> Result<Option<String>, TenureError> {
        let tenure = Tenure::look_or_begin(&self.node, &self.config.connector()).await?;
        Ok((!tenure.is_of(&self.node)).then_some(tenure.site))
    }

    /// Asks for the runs that have fallen due. Those that fell due while the node was stopped are one; those while the source
    /// rested are none.
    async fn see_to_schedules(&mut self) -> Result<(), SourceFailure> {
        let now = Timestamp::now();
        let seen = self.spool.recall::<Seen>(SEEN).await?.map_or(now, |seen| seen.until.min(now));
        let due = |schedule: &Option<Schedule>| {
            schedule.as_ref().and_then(|schedule| schedule.next(seen))
        };
        let (run, full) = (due(&self.schedule), due(&self.full_schedule));
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let is_any_due = is_due(run) || is_due(full);
        if is_any_due && self.report.borrow().state != JobState::Paused {
            let order = Order { full: is_due(full), ..Order::default() };
            let waiting = self.jobs.next(&self.config.connector()).await?;
            let serves = |job: &Job| {
                Order::of(job)
                    .is_ok_and(|waiting| !waiting.dry_run && (waiting.full || !order.full))
            };
            if !waiting.as_ref().is_some_and(serves) {
                self.jobs.ask(&self.config.connector(), &json!(order)).await?;
            }
        }
        if is_any_due || seen == now {
            self.spool.remember(SEEN, &Seen { until: now }).await?;
        }
        let next =
            |schedule: &Option<Schedule>| schedule.as_ref().and_then(|schedule| schedule.next(now));
        let next = next(&self.schedule).into_iter().chain(next(&self.full_schedule)).min();
        self.report.send_modify(|report| report.next_ms = next.map(Timestamp::as_millisecond));
        Ok(())
    }

    async fn carry_out(&mut self, job: &Job) -> Result<(), SourceFailure> {
        let order = match Order::of(job) {
            Ok(order) => order,
            Err(error) => {
                return Ok(self.jobs.set(job.id, JobState::Failed, &error.to_string()).await?);
            }
        };
        self.say_job(job.id);
        self.jobs.set(job.id, JobState::Running, "").await?;
        let mut run = match self.run_of(job, order).await? {
            Begun::Run(run) => run,
            // It had ended, and only that was not written down yet.
            Begun::Over(run, state) => {
                self.jobs.end(job.id, state, "", &json!({ "run": run.number })).await?;
                let good = if state == JobState::Completed { self.good(&run) } else { None };
                return Ok(self.spool.end(good.as_ref()).await?);
            }
        };
        let result = self.run(&mut run).await;
        let is_good = result.is_ok();
        match &result {
            Ok(counts) => {
                self.jobs
                    .end(
                        job.id,
                        JobState::Completed,
                        "",
                        &json!({ "run": run.number, "counts": counts }),
                    )
                    .await?;
                tracing::info!(source = %self.config.name, run = run.number, updated = counts.updated,
                    deleted = counts.deleted, inactive = counts.inactive, "run completed");
            }
            Err(failure) => self.fail(job, &run, failure).await?,
        }
        // Last: what comes before can be done once more by what stands here.
        let good = if is_good { self.good(&run) } else { None };
        self.spool.end(good.as_ref()).await?;
        let now_ms = Timestamp::now().as_millisecond();
        let counts = result.as_ref().copied().unwrap_or_default();
        self.report.send_modify(|report| {
            report.job = None;
            if run.is_dry {
                return;
            }
            report.last = Some((now_ms, is_good));
            if is_good {
                report.last_good_ms = Some(now_ms);
                report.runs.0 += 1;
                report.counts.listed += counts.listed;
                report.counts.updated += counts.updated;
                report.counts.deleted += counts.deleted;
                report.counts.inactive += counts.inactive;
                report.counts.refused = counts.refused;
                report.unchanged += counts.unchanged();
            } else {
                report.runs.1 += 1;
            }
        });
        match result {
            Ok(_) => self.say(JobState::Waiting, ""),
            Err(failure) if !run.is_dry => self.say(JobState::Failed, &failure.to_string()),
            Err(_) => {}
        }
        Ok(())
    }

    /// The run that a job is: one that was broken off, or a new one.
    async fn run_of(&mut self, job: &Job, order: Order) -> Result<Begun, SourceFailure> {
        let history = self.history();
        if let Some(run) = self.spool.run().await? {
            let status = if run.is_dry { None } else { history.status(run.number).await? };
            let is_same = run.job == job.id;
            match status.as_deref() {
                Some("completed") if is_same => return Ok(Begun::Over(run, JobState::Completed)),
                Some("completed") => self.spool.end(self.good(&run).as_ref()).await?,
                Some("failed") if is_same => return Ok(Begun::Over(run, JobState::Failed)),
                None if is_same && !run.is_dry => {
                    history.begin(run.number, run.is_full, run.started).await?;
                    return Ok(Begun::Run(run));
                }
                Some(_) | None if is_same => return Ok(Begun::Run(run)),
                // Its job is gone; what it has read is of no use to this one.
                Some("in_progress") => {
                    history.fail(run.number, "it was broken off").await?;
                    self.spool.end(None).await?;
                }
                Some(_) | None => self.spool.end(None).await?,
            }
        }
        let known = self.spool.recall::<LastGood>(LAST_GOOD).await?;
        let last = history.last(known.as_ref().map_or(0, |good| good.number)).await?;
        // Runs of another site, or ones of this site whose file is lost, are in the records alone.
        let good = history.last_good(last).await?.or(known);
        let is_full = order.full || good.is_none();
        let number = if order.dry_run { 0 } else { last.saturating_add(1) };
        let started = Timestamp::now();
        let run = SpooledRun {
            number,
            job: job.id,
            is_full,
            is_dry: order.dry_run,
            is_accepted: order.accept,
            since: good.filter(|_| !is_full).map(|good| good.since),
            started,
            provider_started: None,
            phase: SpoolPhase::Objects,
            place: None,
            pages: 0,
            objects: 0,
            duplicates: 0,
            tries: 0,
            refused: 0,
            has_nameless: false,
        };
        // First: a number that is in the history belongs to a run that is known here.
        self.spool.begin(&run).await?;
        if !run.is_dry {
            history.begin(number, is_full, started).await?;
        }
        Ok(Begun::Run(run))
    }

    async fn run(&mut self, run: &mut SpooledRun) -> Result<SourceCounts, SourceFailure> {
        let Self { source, spool, jobs, config, report, .. } = self;
        let mut pull = Pull {
            report,
            source: source.as_mut(),
            spool,
            jobs,
            retry: &config.retry,
            pages_max: config.pages_max,
        };
        pull.read(run).await?;
        // Anyone who took over meanwhile has newer news.
        if let Some(site) = self.superseded_by().await? {
            return Err(SourceFailure::Superseded(site));
        }
        let history = self.history();
        let last = history.last(run.number).await?;
        if !run.is_dry && last > run.number {
            return Err(SourceFailure::Refused(format!(
                "run {last} has begun meanwhile at another site: this one would undo what it found"
            )));
        }
        let good = self.good(run);
        let target = Target {
            node: &self.node,
            collection: &self.config.collection,
            history: &history,
            guard: self.guard,
        };
        let next_since = good.as_ref().map_or(run.started, |good| good.since);
        let (jobs, job) = (&self.jobs, run.job);
        let progress = |done, total| jobs.progress(job, done, Some(total));
        let counts = apply(&target, &mut self.spool, run, next_since, progress).await?;
        Ok(counts)
    }

    /// Where the run after this one begins; of a dry one nothing follows.
    fn good(&self, run: &SpooledRun) -> Option<LastGood> {
        // A provider without a clock is taken to have this machine's.
        let started = run.provider_started.unwrap_or(run.started);
        (!run.is_dry).then(|| LastGood { number: run.number, since: self.since.after(started) })
    }

    async fn fail(
        &mut self,
        job: &Job,
        run: &SpooledRun,
        failure: &SourceFailure,
    ) -> Result<(), SourceFailure> {
        let text = failure.to_string();
        tracing::warn!(source = %self.config.name, run = run.number, error = %text, "run failed: nothing of it was applied");
        // By itself, and before all else: a run that failed is seen.
        if !run.is_dry {
            self.history().fail(run.number, &text).await?;
        }
        let state = match failure {
            SourceFailure::Cancelled => JobState::Cancelled,
            _ => JobState::Failed,
        };
        Ok(self.jobs.end(job.id, state, &text, &Value::Null).await?)
    }

    fn history(&self) -> History {
        History::new(self.node.clone(), self.config.history.clone(), self.config.name.clone())
    }

    fn say_job(&self, job: u64) {
        self.say(JobState::Running, "");
        self.report.send_modify(|report| report.job = Some(job));
    }

    fn say(&self, state: JobState, note: &str) {
        self.report.send_if_modified(|report| {
            let is_new = report.state != state || report.note != note;
            if is_new {
                report.since_ms = Timestamp::now().as_millisecond();
                report.state = state;
                note.clone_into(&mut report.note);
            }
            is_new
        });
    }
}

/// What a job begins with.
enum Begun {
    /// A run, which may have read something already.
    Run(SpooledRun),
    /// A run that has ended so.
    Over(SpooledRun, JobState),
}
