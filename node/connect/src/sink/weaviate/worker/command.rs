//! What else a person asks for.

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{BackOff, SinkFailure, WeaviateWorker, now_ms};
use crate::jobs::tenure::Tenure;
use crate::sink::group::delivered::Delivered;
use crate::sink::task::Task;
use crate::sink::weaviate::answer::EdgeAnswer;
use crate::sink::weaviate::state::{
    EdgePlace, Meant, ObjectRow, RefusedEdge, WeaviateRunRow, Which,
};
use crate::sink::worker::{GroupAnswer, Requeue, RunOrder, SinkAnswer, SinkCommand, SinkWrong};

/// How the place of a page begins that begins with edges; objects have a slash in theirs.
const EDGES_BEHIND: &str = "edges+";

impl WeaviateWorker {
    /// Carries a command out.
    pub(super) async fn carry_out(&mut self, command: SinkCommand) -> SinkAnswer {
        match command {
            SinkCommand::Pause => self.pause().await,
            SinkCommand::Resume => {
                self.progress.paused = None;
                self.back_off = BackOff::default();
                self.state.keep(&self.progress).await?;
                self.state.hurry(now_ms()).await?;
                Ok(json!({ "resumed": true }))
            }
            SinkCommand::Run(order) => self.order(order).await,
            SinkCommand::Requeue(requeue) => self.requeue(&requeue).await,
            SinkCommand::Groups { which, after, limit } => {
                let refused = after.as_deref().and_then(|after| after.strip_prefix(EDGES_BEHIND));
                let behind: Option<EdgePlace> =
                    refused.and_then(|place| serde_json::from_str(place).ok());
                let mut rows = Vec::new();
                if behind.is_none() {
                    rows = self.state.objects(which, after.as_deref().map(split), limit).await?;
                }
                let left = limit - rows.len().min(limit);
                let mut edges = Vec::new();
                if which == Which::Failed && left > 0 {
                    edges = self.state.refused_edges(behind, left).await?;
                }
                let next = match edges.last() {
                    None if left == 0 => {
                        rows.last().map(|row| format!("{}/{}", row.collection, row.id))
                    }
                    Some(last) if edges.len() == left => {
                        Some(format!("{EDGES_BEHIND}{}", json!(last.place())))
                    }
                    None | Some(_) => None,
                };
                let groups: Vec<GroupAnswer> =
                    rows.into_iter().map(|row| self.group(row)).collect();
                let edges: Vec<EdgeAnswer> =
                    edges.into_iter().filter_map(|edge| self.edge(edge)).collect();
                Ok(json!({ "groups": groups, "edges": edges, "next": next }))
            }
            SinkCommand::History { limit } => {
                let runs = self.state.runs(limit).await?;
                Ok(json!({ "runs": runs.iter().map(run).collect::<Vec<_>>() }))
            }
            SinkCommand::TakeOver => {
                let key = self.connector();
                let before = Tenure::look(&self.node, &key).await?;
                let other =
                    before.filter(|before| !before.is_of(&self.node)).map(|before| before.site);
                if other.is_some() {
                    // Also where this is broken off behind the next step.
                    (self.progress.listing, self.progress.is_forced) = (Some(0), true);
                    self.state.keep(&self.progress).await?;
                }
                let now = Tenure::take_over(&self.node, &key).await?;
                if other.is_some() {
                    // What the other site has sent, or would have deleted, only its own file says: all is sent once more over
                    // what is there, and what was deleted here is deleted there.
                    self.list_again(None, true).await?;
                }
                Ok(json!({ "term": now.term, "from": other, "sends_all": other.is_some() }))
            }
        }
    }

    async fn order(&mut self, order: RunOrder) -> SinkAnswer {
        if order.yes {
            self.progress.agreed = self.settings();
            if self.progress.asks {
                self.progress.paused = None;
            }
            self.state.keep(&self.progress).await?;
        }
        if let Some(reason) = &self.progress.paused {
            return Err(SinkWrong::State(format!("the sink rests: {reason}")));
        }
        let id = self.jobs.ask(&self.connector(), &order.json()).await?;
        Ok(json!({ "job": id }))
    }

    async fn requeue(&mut self, requeue: &Requeue) -> SinkAnswer {
        let times = (requeue.since_ms.unwrap_or(i64::MIN), requeue.until_ms.unwrap_or(i64::MAX));
        let mut requeued = 0;
        for id in &requeue.ids {
            requeued += self.state.requeue(Some(split(id)), times, now_ms()).await?;
            requeued += self.requeue_edges(Some(id), times).await?;
        }
        if requeue.ids.is_empty() {
            requeued = self.state.requeue(None, times, now_ms()).await?;
            requeued += self.requeue_edges(None, times).await?;
        }
        Ok(json!({ "requeued": requeued }))
    }

    async fn requeue_edges(
        &mut self,
        name: Option<&str>,
        times: (i64, i64),
    ) -> Result<u64, SinkFailure> {
        let mut requeued = 0;
        for edge in &self.config.edges {
            let (before, between) = edge.parts();
            let meant = Meant { name, parts: (&before, &between), times };
            requeued += self.state.requeue_edges(&edge.name(), meant).await?;
        }
        self.edges_due = true;
        Ok(requeued)
    }

    /// An edge for people; `None`: it is not configured any more.
    fn edge(&self, refused: RefusedEdge) -> Option<EdgeAnswer> {
        let edge = self.config.edges.iter().find(|edge| edge.name() == refused.edge)?;
        let (before, between) = edge.parts();
        let RefusedEdge { from, to, attempts, error, failed_ms, due_ms, .. } = refused;
        Some(EdgeAnswer {
            id: format!("{before}{from}{between}{to}"),
            object: format!("{before}{from}"),
            property: edge.property.clone(),
            target: format!("{}/{to}", edge.to),
            attempts,
            error,
            failed_ms,
            due_ms,
        })
    }

    fn group(&self, row: ObjectRow) -> GroupAnswer {
        let class = self.config.object(&row.collection).map(|object| object.class.as_str());
        let names = self.names.zip(class).filter(|_| row.is_confirmed);
        let time = |ms: Option<i64>| {
            ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|at| at.to_string())
        };
        GroupAnswer {
            id: format!("{}/{}", row.collection, row.id),
            touched_ms: row.touched_ms,
            dirty: row.due_ms.is_some(),
            set_aside: row.error.is_some(),
            due_ms: row.due_ms,
            known: Delivered {
                remote_id: names.map(|(names, class)| names.object(class, &row.id).to_string()),
                digest: row.digest,
                synced_at: time(row.synced_ms),
                attempts: row.attempts,
                error: row.error,
                failed_at: time(row.failed_ms),
                ..Delivered::default()
            },
        }
    }
}

/// Objects are called by collection and record: `orders/7`.
fn split(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or((id, ""))
}

fn run(row: &WeaviateRunRow) -> Json {
    let totals: Json = serde_json::from_str(&row.counted).unwrap_or_default();
    json!({
        "number": row.number,
        "kind": row.kind,
        "began_ms": row.began_ms,
        "ended_ms": row.ended_ms,
        "status": row.status,
        "counted": totals.get("counted").cloned().unwrap_or_else(|| json!({})),
        "totals": totals,
        "error": row.error,
    })
}
