//! What a person asks for.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;

use super::{SinkFailure, SinkWorker, now_ms};
use crate::jobs::board::JobError;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::{Tenure, TenureError};
use crate::sink::group::delivered::{self, Delivered};
use crate::sink::state::{GroupRow, RunRow, SinkPhase, Which};
use crate::sink::task::{Task, require_tenure};

/// Why a sink rests that a person has paused.
pub const PAUSED: &str = "paused by a person";
/// How the reason begins for which a sink rests that comes from a backup.
pub const RESTORED: &str = "this site was restored from a backup";
/// Groups that are requeued at a time.
const PAGE: usize = 500;

/// What a person asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkCommand {
    /// It rests until it is resumed.
    Pause,
    /// It goes on.
    Resume,
    /// All that waits is looked at now, or everything.
    Run(RunOrder),
    /// What was refused is tried again.
    Requeue(Requeue),
    /// Groups are listed.
    Groups {
        /// Which.
        which: Which,
        /// Behind this id.
        after: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// The last runs are listed.
    History {
        /// At most so many.
        limit: usize,
    },
    /// This site runs the sink from now on.
    TakeOver,
}

/// A run that a person asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOrder {
    /// Whether everything is looked at.
    pub full: bool,
    /// Whether a person agrees to what a changed configuration pushes.
    pub yes: bool,
    /// Of kind `weaviate`: a part of it.
    pub part: Option<RunPart>,
}

/// A part of what a sink of kind `weaviate` sends, sent once more whatever the server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunPart {
    /// The objects of one collection.
    Entity(String),
    /// Edges, in the order of their names and ends.
    Edges {
        /// At most so many.
        limit: Option<u64>,
        /// Behind so many.
        offset: u64,
    },
}

impl RunOrder {
    /// The order of its job.
    #[must_use]
    pub fn json(&self) -> Json {
        match &self.part {
            None => json!({ "full": self.full }),
            Some(RunPart::Entity(collection)) => json!({ "entity": collection }),
            Some(RunPart::Edges { limit, offset }) => {
                json!({ "edges": true, "limit": limit, "offset": offset })
            }
        }
    }
}

/// Which of what was refused is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requeue {
    /// These groups; empty: all.
    pub ids: Vec<String>,
    /// Those that were refused at this time or later, in ms since 1970.
    pub since_ms: Option<i64>,
    /// Those that were refused before.
    pub until_ms: Option<i64>,
}

/// A command, and where its answer goes.
pub struct SinkRequest {
    /// The command.
    pub command: SinkCommand,
    /// Where its answer goes.
    pub reply: oneshot::Sender<SinkAnswer>,
}

/// What came of a command.
pub type SinkAnswer = Result<Json, SinkWrong>;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SinkWrong {
    /// The sink is not in a state for it.
    #[error("{0}")]
    State(String),
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The jobs.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// Who runs it.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

impl From<SinkFailure> for SinkWrong {
    fn from(failure: SinkFailure) -> Self {
        match failure {
            SinkFailure::State(error) => Self::File(error),
            SinkFailure::Jobs(error) => Self::Jobs(error),
            SinkFailure::Tenure(error) => Self::Tenure(error),
            failure => Self::Failed(failure.to_string()),
        }
    }
}

/// A group as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupAnswer {
    /// The primary record's id.
    pub id: String,
    /// When a record of it changed last, in ms since 1970.
    pub touched_ms: i64,
    /// Whether it waits to be sent.
    pub dirty: bool,
    /// Whether it was refused.
    pub set_aside: bool,
    /// When it is tried next, in ms since 1970.
    pub due_ms: Option<i64>,
    /// What is known of it at the remote.
    pub known: Delivered,
}

impl SinkWorker {
    /// What people call it in lists of connectors.
    pub(super) fn connector(&self) -> String {
        format!("sink {}", self.config.name)
    }

    /// Carries a command out.
    pub(super) async fn carry_out(&mut self, command: SinkCommand) -> SinkAnswer {
        match command {
            SinkCommand::Pause => self.pause().await,
            SinkCommand::Resume => {
                self.progress.paused = None;
                self.back_off = super::BackOff::default();
                self.state.keep(&self.progress).await?;
                self.state.hurry(now_ms()).await?;
                self.due_at_ms = Some(0);
                Ok(json!({ "resumed": true }))
            }
            SinkCommand::Run(order) => self.order(order).await,
            SinkCommand::Requeue(requeue) => self.requeue(&requeue).await,
            SinkCommand::Groups { which, after, limit } => {
                let rows = self.state.groups(which, after.as_deref(), limit).await?;
                let groups = self.groups(rows).await?;
                Ok(json!({ "groups": groups }))
            }
            SinkCommand::History { limit } => {
                let runs = self.state.runs(limit).await?;
                Ok(json!({ "runs": runs.iter().map(run).collect::<Vec<_>>() }))
            }
            SinkCommand::TakeOver => self.take_over().await,
        }
    }

    async fn order(&mut self, order: RunOrder) -> SinkAnswer {
        if order.yes {
            self.progress.agreed = self.config.expression();
            if self.progress.phase == SinkPhase::Counting {
                self.progress.paused = None;
            }
            self.state.keep(&self.progress).await?;
        }
        if let Some(reason) = &self.progress.paused {
            return Err(SinkWrong::State(format!("the sink rests: {reason}")));
        }
        if order.part.is_some() {
            let what = "--entity and --edges are of sinks of kind \"weaviate\"";
            return Err(SinkWrong::State(what.to_owned()));
        }
        let id = self.jobs.ask(&self.connector(), &order.json()).await?;
        Ok(json!({ "job": id }))
    }

    async fn requeue(&mut self, requeue: &Requeue) -> SinkAnswer {
        let now = now_ms();
        let mut requeued = 0_u64;
        self.progress.touch += 1;
        self.state.keep(&self.progress).await?;
        let touch = self.progress.touch;
        for id in &requeue.ids {
            requeued += u64::from(self.state.requeue(id, touch, now).await?);
        }
        let mut after: Option<String> = None;
        while requeue.ids.is_empty() {
            let rows = self.state.groups(Which::Failed, after.as_deref(), PAGE).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.id.clone());
            for group in self.groups(rows).await? {
                let failed = group.known.failed_at.as_deref().and_then(ms);
                let is_meant =
                    requeue.since_ms.is_none_or(|since| failed.is_some_and(|at| at >= since))
                        && requeue.until_ms.is_none_or(|until| failed.is_some_and(|at| at < until));
                if is_meant {
                    requeued += u64::from(self.state.requeue(&group.id, touch, now).await?);
                }
            }
        }
        self.due_at_ms = Some(0);
        Ok(json!({ "requeued": requeued }))
    }

    /// Groups with what is known of them at the remote.
    async fn groups(&mut self, rows: Vec<GroupRow>) -> Result<Vec<GroupAnswer>, SinkFailure> {
        let collection = delivered::collection(&self.config.name);
        let ids: Vec<String> = rows.iter().map(|row| row.id.clone()).collect();
        let known = self.node.read(move |tables, space| {
            let of = |id: String| {
                let key = branchline_node::records::RecordKey {
                    space,
                    collection: collection.clone(),
                    id,
                };
                let view = branchline_node::records::read::record(tables, &key)?;
                Ok(view.as_ref().and_then(Delivered::of).unwrap_or_default())
            };
            ids.into_iter().map(of).collect::<Result<Vec<_>, _>>()
        });
        let known = known.await?;
        let group = |(row, known): (GroupRow, Delivered)| GroupAnswer {
            id: row.id,
            touched_ms: row.touched_ms,
            dirty: row.is_dirty,
            set_aside: row.is_aside,
            due_ms: row.due_ms,
            known,
        };
        Ok(rows.into_iter().zip(known).map(group).collect())
    }

    async fn take_over(&mut self) -> SinkAnswer {
        let key = self.connector();
        let before = Tenure::look(&self.node, &key).await?;
        let now = Tenure::take_over(&self.node, &key).await?;
        let other = before.filter(|before| !before.is_of(&self.node)).map(|before| before.site);
        if other.is_some() {
            // What the other site has pushed since is known by its records alone.
            self.list_again().await?;
            self.pusher = None;
        }
        Ok(json!({ "term": now.term, "from": other }))
    }

    /// Sees that this site runs the sink still.
    pub(super) async fn check_tenure(&mut self) -> Result<(), SinkFailure> {
        let key = self.connector();
        let tenure = Tenure::look_or_begin(&self.node, &key).await?;
        self.counts.term = tenure.term;
        if !tenure.is_of(&self.node) {
            self.pusher = None;
        }
        require_tenure(&self.node, &self.config.name, &tenure).await?;
        if self.pusher.as_ref().is_none_or(|pusher| pusher.term != tenure.term) {
            self.pusher = Some(std::sync::Arc::new((self.make_pusher)(tenure.term)));
        }
        Ok(())
    }

    /// Begins where the sink was before, or with everything.
    pub(super) async fn begin(&mut self) -> Result<(), SinkFailure> {
        self.check_tenure().await?;
        self.state.break_runs_off(now_ms()).await?;
        self.run = None;
        let is_as_before = self.progress.expression == self.config.expression();
        if self.progress.phase != SinkPhase::Running || !is_as_before {
            return self.list_again().await;
        }
        self.due_at_ms = Some(0);
        self.follow().await
    }
}

fn run(row: &RunRow) -> Json {
    json!({
        "number": row.number,
        "kind": row.kind,
        "began_ms": row.began_ms,
        "ended_ms": row.ended_ms,
        "status": row.status,
        "counted": row.counted,
        "error": row.error,
    })
}

fn ms(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}
