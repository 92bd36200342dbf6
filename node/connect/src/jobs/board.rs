//! The jobs of a site: runs that were asked for or fell due, at work and done. They stand in a file, so that one that was
//! asked for is carried out after a restart, and one that was broken off is seen.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex as StdMutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::{Mutex, watch};

use super::store::{Form, Store, StoreError};

/// Jobs that are done and still listed: some weeks of a handful of connectors.
const DONE_KEPT: i64 = 1_000;
/// Jobs that may wait; one more is refused.
const WAITING_MAX: i64 = 100;

const FORM: Form = Form {
    what: "the list of jobs",
    format: 1,
    tables: "
CREATE TABLE job (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  connector TEXT NOT NULL,
  job_order TEXT NOT NULL,
  state     TEXT NOT NULL,
  note      TEXT NOT NULL DEFAULT '',
  asked_ms  INTEGER NOT NULL,
  begun_ms  INTEGER,
  ended_ms  INTEGER,
  result    TEXT
);
CREATE INDEX job_connector ON job (connector, state);
",
    remedy: "remove the file; anything that was requested and not done has to be requested again",
};

/// How a job, or a connector that works all the time, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// It has not begun.
    Waiting,
    /// It is at work.
    Running,
    /// The remote cannot be reached or asks for a pause; it goes on by itself.
    BackingOff,
    /// It has ended, and nothing of it was applied.
    Failed,
    /// A person has to let it go on.
    Paused,
    /// It has ended well.
    Completed,
    /// A person has ended it.
    Cancelled,
}

impl JobState {
    const ALL: [Self; 7] = [
        Self::Waiting,
        Self::Running,
        Self::BackingOff,
        Self::Failed,
        Self::Paused,
        Self::Completed,
        Self::Cancelled,
    ];

    /// The text form.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::BackingOff => "backing-off",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more comes of it.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Failed | Self::Completed | Self::Cancelled)
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its number, from 1.
    pub id: u64,
    /// Whose it is: `source crm`, `sink netsuite`, `bridge till`.
    pub connector: String,
    /// What was asked for.
    pub order: Value,
    /// How it is.
    pub state: JobState,
    /// Why it is so, where that needs saying.
    pub note: String,
    /// When it was asked for, in ms since 1970, like the others.
    pub asked_ms: i64,
    /// When it began.
    pub begun_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// What came of it.
    pub result: Option<Value>,
    /// How far it is.
    pub progress: JobProgress,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Items done.
    pub done: u64,
    /// Items in all, where that is known.
    pub total: Option<u64>,
}

/// Why a job was not taken, or not ended.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too many wait.
    #[error(
        "{WAITING_MAX} jobs of {connector} wait already: `branchline jobs list` shows them, `jobs cancel ID` ends one"
    )]
    Full {
        /// Whose.
        connector: String,
    },
    /// There is none.
    #[error("there is no job {0} (any more): `branchline jobs list` lists them")]
    Unknown(u64),
    /// It has ended.
    #[error("job {id} has ended already, it is {state}")]
    Ended {
        /// Which.
        id: u64,
        /// How.
        state: &'static str,
    },
}

/// The jobs of a site.
pub struct Jobs {
    folder: PathBuf,
    /// The file, once there is one: a site without connectors has none.
    store: Mutex<Option<Store>>,
    /// Of those at work: how far they are, and whether a person wants them to end.
    at_work: StdMutex<BTreeMap<u64, JobAtWork>>,
    changes: watch::Sender<u64>,
}

#[derive(Clone, Copy, Default)]
struct JobAtWork {
    progress: JobProgress,
    is_cancelled: bool,
}

impl Jobs {
    /// Opens the list in a folder, if there is one already. Jobs that were at work when the node stopped wait again.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn open(folder: &Path) -> Result<Self, JobError> {
        let store = if folder.join(FILE).exists() { Some(opened(folder).await?) } else { None };
        let (changes, _) = watch::channel(0);
        let folder = folder.to_owned();
        Ok(Self { folder, store: Mutex::new(store), at_work: StdMutex::default(), changes })
    }

    /// Asks for a job. It is durable when this returns.
    ///
    /// # Errors
    /// [`JobError::Full`], or the file cannot be used.
    pub async fn ask(&self, connector: &str, order: &Value) -> Result<u64, JobError> {
        let mut store = self.store.lock().await;
        let store = match &mut *store {
            Some(store) => store,
            none => none.insert(opened(&self.folder).await?),
        };
        let sql = "SELECT count(*) FROM job WHERE connector = ? AND state = 'waiting'";
        let row = sqlx::query(sql).bind(connector).fetch_one(store.connection()).await;
        let waiting: i64 = row.and_then(|row| row.try_get(0)).map_err(|e| store.failed(e))?;
        if waiting >= WAITING_MAX {
            return Err(JobError::Full { connector: connector.to_owned() });
        }
        let sql = "INSERT INTO job (connector, job_order, state, asked_ms) VALUES (?, ?, 'waiting', ?) RETURNING id";
        let row = sqlx::query(sql)
            .bind(connector)
            .bind(order.to_string())
            .bind(now_ms())
            .fetch_one(store.connection())
            .await;
        let id: i64 = row.and_then(|row| row.try_get(0)).map_err(|e| store.failed(e))?;
        let sql = "DELETE FROM job WHERE state IN ('failed', 'completed', 'cancelled') AND id <= ?";
        let done = sqlx::query(sql).bind(id - DONE_KEPT).execute(store.connection()).await;
        done.map_err(|e| store.failed(e))?;
        self.change();
        Ok(id.unsigned_abs())
    }

    /// The job of a connector that has waited longest.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn next(&self, connector: &str) -> Result<Option<Job>, JobError> {
        let mut store = self.store.lock().await;
        let Some(store) = &mut *store else { return Ok(None) };
        let sql = "SELECT * FROM job WHERE connector = ? AND state = 'waiting' ORDER BY id LIMIT 1";
        let row = sqlx::query(sql).bind(connector).fetch_optional(store.connection()).await;
        let row = row.map_err(|e| store.failed(e))?;
        row.map(|row| self.read(store, &row)).transpose().map_err(JobError::from)
    }

    /// A job comes to a state, with a note of why.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn set(&self, id: u64, state: JobState, note: &str) -> Result<(), JobError> {
        self.end_or_set(id, state, note, None).await
    }

    /// A job ends, with what came of it.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn end(
        &self,
        id: u64,
        state: JobState,
        note: &str,
        result: &Value,
    ) -> Result<(), JobError> {
        self.end_or_set(id, state, note, Some(result.to_string())).await
    }

    async fn end_or_set(
        &self,
        id: u64,
        state: JobState,
        note: &str,
        result: Option<String>,
    ) -> Result<(), JobError> {
        let mut store = self.store.lock().await;
        let Some(store) = &mut *store else { return Err(JobError::Unknown(id)) };
        let sql = "UPDATE job SET state = ?1, note = ?2, result = coalesce(?3, result), \
            begun_ms = CASE WHEN ?1 = 'running' THEN coalesce(begun_ms, ?4) ELSE begun_ms END, \
            ended_ms = CASE WHEN ?5 THEN ?4 ELSE NULL END WHERE id = ?6";
        let done = sqlx::query(sql)
            .bind(state.as_str())
            .bind(note)
            .bind(result)
            .bind(now_ms())
            .bind(state.is_end())
            .bind(signed(id))
            .execute(store.connection())
            .await;
        done.map_err(|e| store.failed(e))?;
        if state.is_end() {
            self.at_work().remove(&id);
        } else {
            self.at_work().entry(id).or_default();
        }
        self.change();
        Ok(())
    }

    /// Says how far a job is. Kept in memory, and no reason for any connector to look at its jobs.
    pub fn progress(&self, id: u64, done: u64, total: Option<u64>) {
        self.at_work().entry(id).or_default().progress = JobProgress { done, total };
    }

    /// Whether a person has asked for the end of a job.
    pub fn is_cancelled(&self, id: u64) -> bool {
        self.at_work().get(&id).is_some_and(|at_work| at_work.is_cancelled)
    }

    /// All jobs, the latest first.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn list(&self) -> Result<Vec<Job>, JobError> {
        let mut store = self.store.lock().await;
        let Some(store) = &mut *store else { return Ok(Vec::new()) };
        let sql = "SELECT * FROM job ORDER BY id DESC";
        let rows = sqlx::query(sql).fetch_all(store.connection()).await;
        let rows = rows.map_err(|e| store.failed(e))?;
        rows.iter().map(|row| Ok(self.read(store, row)?)).collect()
    }

    /// A job.
    ///
    /// # Errors
    /// [`JobError::Unknown`], or the file cannot be used.
    pub async fn show(&self, id: u64) -> Result<Job, JobError> {
        let mut store = self.store.lock().await;
        let Some(store) = &mut *store else { return Err(JobError::Unknown(id)) };
        let row = sqlx::query("SELECT * FROM job WHERE id = ?").bind(signed(id));
        let row = row.fetch_optional(store.connection()).await.map_err(|e| store.failed(e))?;
        match row {
            Some(row) => Ok(self.read(store, &row)?),
            None => Err(JobError::Unknown(id)),
        }
    }

    /// Ends a job that waits, and asks one at work to end where it can leave everything as it was.
    ///
    /// # Errors
    /// There is none, or it has ended; or the file cannot be used.
    pub async fn cancel(&self, id: u64) -> Result<Job, JobError> {
        let job = self.show(id).await?;
        if job.state.is_end() {
            return Err(JobError::Ended { id, state: job.state.as_str() });
        }
        if job.state == JobState::Waiting {
            self.set(id, JobState::Cancelled, "cancelled before it began").await?;
        } else {
            self.at_work().entry(id).or_default().is_cancelled = true;
            self.change();
        }
        self.show(id).await
    }

    /// Changes whenever a job is asked for, comes to another state, or is to end.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Writes a copy of the list, as it is at one moment, to a file that does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or the copy not be written.
    pub async fn copy_to(&self, folder: &Path) -> Result<(), JobError> {
        match &mut *self.store.lock().await {
            Some(store) => Ok(store.copy_to(&folder.join(FILE)).await?),
            None => Ok(()),
        }
    }

    fn at_work(&self) -> MutexGuard<'_, BTreeMap<u64, JobAtWork>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) {
        self.changes.send_modify(|number| *number = number.wrapping_add(1));
    }

    fn read(&self, store: &Store, row: &SqliteRow) -> Result<Job, StoreError> {
        let failed = |error| store.failed(error);
        let text = |name: &str| row.try_get::<String, _>(name).map_err(failed);
        let id = row.try_get::<i64, _>("id").map_err(failed)?.unsigned_abs();
        let found = text("state")?;
        let state = JobState::ALL.into_iter().find(|state| state.as_str() == found);
        let json = |text: &str| {
            serde_json::from_str(text).map_err(|error| store.damaged(format!("job {id}: {error}")))
        };
        let result: Option<String> = row.try_get("result").map_err(failed)?;
        Ok(Job {
            id,
            connector: text("connector")?,
            order: json(&text("job_order")?)?,
            state: state.ok_or_else(|| store.damaged(format!("job {id} is {found:?}")))?,
            note: text("note")?,
            asked_ms: row.try_get("asked_ms").map_err(failed)?,
            begun_ms: row.try_get("begun_ms").map_err(failed)?,
            ended_ms: row.try_get("ended_ms").map_err(failed)?,
            result: result.as_deref().map(json).transpose()?,
            progress: self.at_work().get(&id).map(|at_work| at_work.progress).unwrap_or_default(),
        })
    }
}

async fn opened(folder: &Path) -> Result<Store, StoreError> {
    let mut store = Store::open(folder.join(FILE), &FORM).await?;
    let sql = "UPDATE job SET state = 'waiting', note = 'the node stopped while it was at work' \
        WHERE state IN ('running', 'backing-off', 'paused')";
    store.run(sql).await?;
    Ok(store)
}

/// The file's name.
pub const FILE: &str = "jobs.sqlite";

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_job_that_was_asked_for_or_broken_off_waits_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(folder.path()).await.unwrap();
        assert_eq!(jobs.list().await.unwrap(), []);
        assert!(!folder.path().join(FILE).exists(), "a site without jobs has no file of them");
        let first = jobs.ask("source crm", &json!({ "full": true })).await.unwrap();
        let second = jobs.ask("source crm", &json!({})).await.unwrap();
        let other = jobs.ask("sink erp", &json!({})).await.unwrap();
        assert_eq!((first, second, other), (1, 2, 3));
        jobs.set(first, JobState::Running, "").await.unwrap();
        jobs.progress(first, 10, Some(100));
        jobs.set(other, JobState::Paused, "a person has to see to it").await.unwrap();
        let shown = jobs.show(first).await.unwrap();
        assert_eq!(shown.progress, JobProgress { done: 10, total: Some(100) });
        assert!(shown.begun_ms.is_some() && shown.ended_ms.is_none());
        drop(jobs);
        let jobs = Jobs::open(folder.path()).await.unwrap();
        let next = jobs.next("source crm").await.unwrap().unwrap();
        assert_eq!((next.id, &next.order), (first, &json!({ "full": true })));
        assert!(next.note.contains("stopped"), "{next:?}");
        assert_eq!(jobs.next("sink erp").await.unwrap().map(|job| job.id), Some(other));
        jobs.end(first, JobState::Completed, "", &json!({ "updated": 3 })).await.unwrap();
        assert_eq!(jobs.next("source crm").await.unwrap().unwrap().id, second);
        let shown = jobs.show(first).await.unwrap();
        assert_eq!(
            (shown.state, shown.result),
            (JobState::Completed, Some(json!({ "updated": 3 })))
        );
        assert!(shown.ended_ms.is_some());
        let ids: Vec<u64> = jobs.list().await.unwrap().iter().map(|job| job.id).collect();
        assert_eq!(ids, [3, 2, 1]);
    }

    #[tokio::test]
    async fn a_job_is_cancelled_at_once_or_where_it_can_end() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = Jobs::open(folder.path()).await.unwrap();
        let id = jobs.ask("source crm", &json!({})).await.unwrap();
        assert_eq!(jobs.cancel(id).await.unwrap().state, JobState::Cancelled);
        assert!(matches!(jobs.cancel(id).await, Err(JobError::Ended { state: "cancelled", .. })));
        assert!(matches!(jobs.cancel(99).await, Err(JobError::Unknown(99))));
        let id = jobs.ask("source crm", &json!({})).await.unwrap();
        jobs.set(id, JobState::Running, "").await.unwrap();
        assert!(!jobs.is_cancelled(id));
        assert_eq!(jobs.cancel(id).await.unwrap().state, JobState::Running);
        assert!(jobs.is_cancelled(id));
        for _ in 0..WAITING_MAX {
            jobs.ask("source crm", &json!({})).await.unwrap();
        }
        assert!(matches!(jobs.ask("source crm", &json!({})).await, Err(JobError::Full { .. })));
        jobs.ask("source other", &json!({})).await.unwrap();
    }
}
