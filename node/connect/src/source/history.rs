//! The runs of a source, as records that all sites see: `crm-7` is the seventh run of the source `crm`.
//!
//! A run's number is one more than the highest that is known for its source, from whatever site.

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::{NotWritten, RecordKey, View, read};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::spool::LastGood;
use crate::jobs::tenure::text;

/// What came of a run, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceCounts {
    /// Objects that the provider listed.
    pub listed: u64,
    /// Records that were created or changed.
    pub updated: u64,
    /// Records that became deleted.
    pub deleted: u64,
    /// Records that became inactive.
    pub inactive: u64,
    /// Items that could not be kept.
    pub refused: u64,
    /// Objects that came more than once.
    pub duplicates: u64,
    /// Pages that were read.
    pub pages: u64,
}

impl SourceCounts {
    /// Objects that said what their records say already.
    #[must_use]
    pub fn unchanged(&self) -> u64 {
        self.listed.saturating_sub(self.updated)
    }
}

/// The history of one source.
#[derive(Clone)]
pub struct History {
    node: Handle,
    collection: String,
    source: String,
}

/// One run of it.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// Its number.
    pub number: u64,
    /// Its fields.
    pub fields: serde_json::Map<String, Json>,
}

impl History {
    /// The history of a source in a collection. `node`: the source's space.
    #[must_use]
    pub fn new(node: Handle, collection: String, source: String) -> Self {
        Self { node, collection, source }
    }

    /// A run's record.
    #[must_use]
    pub fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.source)
    }

    /// The highest number of a run that is known. `from`: one that is known to be there; 0: none is.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn last(&self, from: u64) -> Result<u64, ReadError> {
        // Numbers follow each other without gaps, so the end is found in steps that double and halve.
        let (mut there, mut step) = (from, 1_u64);
        while self.is_known(there.saturating_add(step)).await? {
            there = there.saturating_add(step);
            step = step.saturating_mul(2);
        }
        while step > 1 {
            step /= 2;
            if self.is_known(there.saturating_add(step)).await? {
                there = there.saturating_add(step);
            }
        }
        Ok(there)
    }

    /// Whether a run of this number has ever been written, also if its record was deleted since.
    async fn is_known(&self, number: u64) -> Result<bool, ReadError> {
        Ok(view(&self.node, &self.collection, &self.id(number)).await?.is_some())
    }

    /// The latest run that ended well, at or before a number, and where the next one begins.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn last_good(&self, last: u64) -> Result<Option<LastGood>, ReadError> {
        for number in (1..=last).rev() {
            let Some(view) = self.node.get(&self.collection, &self.id(number)).await? else {
                continue;
            };
            if text(&view, "status") == Some("completed")
                && let Some(since) = text(&view, "next_since").and_then(|since| since.parse().ok())
            {
                return Ok(Some(LastGood { number, since }));
            }
        }
        Ok(None)
    }

    /// The status of a run; `None`: it has no record.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn status(&self, number: u64) -> Result<Option<String>, ReadError> {
        let view = self.node.get(&self.collection, &self.id(number)).await?;
        Ok(view.and_then(|view| text(&view, "status").map(str::to_owned)))
    }

    /// When a run ended; `None`: it has not, or has no record.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn ended(&self, number: u64) -> Result<Option<Timestamp>, ReadError> {
        let view = self.node.get(&self.collection, &self.id(number)).await?;
        Ok(view.and_then(|view| text(&view, "completed_at").and_then(|at| at.parse().ok())))
    }

    /// The latest runs, up to `limit`.
    ///
    /// # Errors
    /// The records cannot be read.
    pub async fn latest(&self, limit: usize) -> Result<Vec<HistoryRow>, ReadError> {
        let last = self.last(0).await?;
        let mut rows = Vec::new();
        for number in (1..=last).rev().take(limit) {
            if let Some(view) = self.node.get(&self.collection, &self.id(number)).await? {
                let fields = branchline_node::records::fields_into_json(view.fields);
                rows.push(HistoryRow { number, fields });
            }
        }
        Ok(rows)
    }

    /// Writes that a run has begun.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn begin(
        &self,
        number: u64,
        is_full: bool,
        started: Timestamp,
    ) -> Result<(), NotWritten> {
        let row = json!({
            "source": self.source,
            "site": self.node.site().to_string(),
            "sync_version": number,
            "kind": if is_full { "full" } else { "incremental" },
            "started_at": written(started),
            "completed_at": null,
            "accounts_updated": 0,
            "accounts_deleted": 0,
            "status": "in_progress",
            "error": null,
        });
        self.node.put(&self.collection, &self.id(number), row).await.map(|_| ())
    }

    /// Writes that a run has failed.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn fail(&self, number: u64, error: &str) -> Result<(), NotWritten> {
        let end = json!({ "completed_at": written(Timestamp::now()), "status": "failed", "error": error });
        self.node.merge(&self.collection, &self.id(number), end).await.map(|_| ())
    }

    /// What the record of a run that ended well says besides. `next_since`: from when on the next one asks.
    #[must_use]
    pub fn completed(&self, counts: SourceCounts, next_since: Timestamp) -> Json {
        json!({
            "completed_at": written(Timestamp::now()),
            "accounts_updated": counts.updated,
            "accounts_deleted": counts.deleted,
            "accounts_inactive": counts.inactive,
            "accounts_listed": counts.listed,
            "duplicates": counts.duplicates,
            "refused": counts.refused,
            "status": "completed",
            "next_since": next_since.to_string(),
        })
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }
}

/// A record, also one that is deleted.
pub(super) async fn view(
    node: &Handle,
    collection: &str,
    id: &str,
) -> Result<Option<View>, ReadError> {
    let (collection, id) = (collection.to_owned(), id.to_owned());
    node.read_briefly(move |tables, space| {
        read::record(tables, &RecordKey { space, collection, id })
    })
    .await
}

/// A moment, as records hold it.
pub(super) fn written(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
