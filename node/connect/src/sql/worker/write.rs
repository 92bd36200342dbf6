//! Writing what was captured: a plan, the network, the views.

use std::collections::BTreeMap;

use branchline_crdt::log::entry::{EntryId, Origin};
use branchline_crdt::record::{Edit, Version};
use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError, Written};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::trial::BridgeMistake;
use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::cell::Key;
use crate::sql::state::{Direction, Quarantined, Steps, Unacknowledged, View, ViewChange};

/// Edits of a transaction, well below what one entry holds.
const EDITS_MAX: usize = 8_000;
/// Bytes of a transaction, about; an entry holds 3 MiB.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a row asks of its record, and its view once that is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlannedWrite {
    pub(super) table: u32,
    pub(super) key: Key,
    pub(super) id: String,
    /// In order; none: only the view changes.
    #[serde(with = "changes_text")]
    pub(super) changes: Vec<Change>,
    /// The version of the record that the row stood for.
    pub(super) builds_on: Option<Version>,
    pub(super) then: ViewChange,
    /// Whether the record may have what the row lacks, so that it has to be applied.
    pub(super) is_behind: bool,
}

/// One edit of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Change {
    Import(Map<String, Json>),
    Revive(Map<String, Json>),
    Delete,
}

impl From<Change> for Edit {
    fn from(change: Change) -> Self {
        match change {
            Change::Import(fields) => Self::Import(fields),
            Change::Revive(fields) => Self::Revive(fields),
            Change::Delete => Self::Delete,
        }
    }
}

impl PlannedWrite {
    /// About how many bytes it takes.
    fn bytes(&self) -> usize {
        let fields = |fields: &Map<String, Json>| -> usize {
            fields.iter().map(|(name, value)| name.len() + json_bytes(value)).sum()
        };
        let changes = self.changes.iter().map(|change| match change {
            Change::Import(map) | Change::Revive(map) => fields(map),
            Change::Delete => 0,
        });
        // A change of a record has a head of some hundred bytes.
        self.id.len() + changes.map(|bytes| bytes + 200).sum::<usize>()
    }
}

fn json_bytes(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 8,
        Json::Array(values) => values.iter().map(json_bytes).sum(),
        Json::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + json_bytes(value)).sum()
        }
    }
}

/// What the node made of a plan.
enum SentWrite {
    /// It is durable. The hash of each edit's change.
    Written(Vec<Option<[u8; 32]>>, Option<EntryId>),
    /// One row cannot be written, and nothing was.
    Refuses(usize, WriteError),
    /// The plan has to be written in parts.
    TooLarge,
}

impl BridgeWorker {
    /// Writes what rows ask for, and keeps their views. What does not fit one transaction is written in several.
    pub(super) async fn write(&mut self, planned: Vec<PlannedWrite>) -> Result<(), BridgeFailure> {
        for part in parts(planned) {
            self.write_part(part, None).await?;
        }
        Ok(())
    }

    /// As [`BridgeWorker::write`] of a part of a table that is being loaded: with it the place that it was loaded to is kept.
    pub(super) async fn write_loaded(
        &mut self,
        planned: Vec<PlannedWrite>,
        loaded: (u32, &str, u64),
    ) -> Result<(), BridgeFailure> {
        let mut parts = parts(planned);
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            self.write_part(part, None).await?;
        }
        self.write_part(last, Some(loaded)).await
    }

    /// A plan that a crash left is written under its own number: where it was written before, that changes nothing.
    pub(super) async fn finish_plan(&mut self) -> Result<(), BridgeFailure> {
        let Some((number, part)) = self.state.plan::<Vec<PlannedWrite>>().await? else {
            return Ok(());
        };
        tracing::info!(bridge = %self.name, number, rows = part.len(), "a plan that was under way is finished");
        self.progress.batch = number - 1;
        if self.trial.makes(BridgeMistake::NoPlan) {
            return Ok(self.state.forget_unfinished().await?);
        }
        self.write_part(part, None).await
    }

    async fn write_part(
        &mut self,
        mut part: Vec<PlannedWrite>,
        loaded: Option<(u32, &str, u64)>,
    ) -> Result<(), BridgeFailure> {
        loop {
            let number = self.progress.batch + 1;
            let has_changes = part.iter().any(|planned| !planned.changes.is_empty());
            if !has_changes {
                return self.keep_views(part, loaded).await;
            }
            self.state.keep_plan(&self.progress, number, &part).await?;
            self.trial.step().await;
            let sent = self.send(number, &part).await?;
            self.trial.step().await;
            match sent {
                SentWrite::Written(hashes, entry) => {
                    self.progress.batch = number;
                    return self.has_written(part, &hashes, entry, loaded).await;
                }
                SentWrite::Refuses(index, error) if part.len() == 1 => {
                    let refused = part.remove(index.min(part.len() - 1));
                    self.refuse(&refused, &error).await?;
                }
                SentWrite::Refuses(..) | SentWrite::TooLarge => {
                    let half = part.split_off(part.len() / 2);
                    Box::pin(self.write_part(part, None)).await?;
                    part = half;
                }
            }
        }
    }

    /// Hands a plan to the node, as one transaction.
    async fn send(
        &mut self,
        number: i64,
        part: &[PlannedWrite],
    ) -> Result<SentWrite, BridgeFailure> {
        let origin = self.origin(number);
        let mut edits = Vec::new();
        // The row of each edit.
        let mut owners = Vec::new();
        for (index, planned) in part.iter().enumerate() {
            let Some(mapping) = self.mappings.get(&planned.table) else { continue };
            for change in &planned.changes {
                let edit = RecordEdit::new(&mapping.collection, &planned.id, change.clone().into());
                edits.push(RecordEdit { builds_on: planned.builds_on.clone(), ..edit });
                owners.push(index);
            }
        }
        let transaction = LocalTransaction { origin: Some(origin.clone()), edits };
        let mut results = self.node.write(vec![transaction]).await?;
        let error = match results.pop() {
            Some(Ok(Written { is_repeat: false, changes, entry, .. })) => {
                return Ok(SentWrite::Written(changes, entry));
            }
            Some(Ok(Written { entry, .. })) => {
                let made = match entry {
                    Some(entry) => self.made_by(entry, &origin, part).await?,
                    None => Vec::new(),
                };
                return Ok(SentWrite::Written(made, entry));
            }
            Some(Err(error)) => error,
            None => return Err(BridgeFailure::Refused("the node gave no answer".to_owned())),
        };
        let (index, error) = match error {
            WriteError::InEdit { number, error } => (owners.get(number).copied(), *error),
            other => (owners.first().copied(), other),
        };
        match error {
            WriteError::TooLarge { .. } if part.len() > 1 => Ok(SentWrite::TooLarge),
            WriteError::TooLarge { .. }
            | WriteError::Name(_)
            | WriteError::Edit(_)
            | WriteError::Schema(_)
            | WriteError::Document(_)
            | WriteError::Event { .. }
            | WriteError::DocumentTooLarge { .. }
            | WriteError::Unexpected { .. }
            | WriteError::UnknownVersion { .. }
            | WriteError::Unreadable { .. } => Ok(SentWrite::Refuses(index.unwrap_or(0), error)),
            WriteError::NoNetwork
            | WriteError::Revoked { .. }
            | WriteError::UnknownSpace
            | WriteError::OutOfSpace { .. }
            | WriteError::Role { .. }
            | WriteError::Origin { .. }
            | WriteError::OriginReused
            | WriteError::InEdit { .. }
            | WriteError::Unwritable { .. } => Err(BridgeFailure::Refused(error.to_string())),
        }
    }

    /// Names a plan to the network: no other bridge, and no other installation of this one, has this token.
    fn origin(&self, number: i64) -> Origin {
        let source = format!("bridge {}", self.progress.token);
        Origin { source, number: number.unsigned_abs() }
    }

    /// The hashes of the changes that a plan made when it was written before.
    async fn made_by(
        &mut self,
        entry: EntryId,
        origin: &Origin,
        part: &[PlannedWrite],
    ) -> Result<Vec<Option<[u8; 32]>>, BridgeFailure> {
        let origin = origin.clone();
        let read = self.node.read(move |tables, space| {
            branchline_crdt::store::changes::made_by(tables, space, entry, &origin)
        });
        let mut made = read.await?.unwrap_or_default().into_iter().peekable();
        // In the order of the edits, of which those that had nothing to change are left out.
        let mut hashes = Vec::new();
        for planned in part {
            for _ in &planned.changes {
                let hash = made.next_if(|change| change.id == planned.id).map(|change| change.hash);
                hashes.push(hash);
            }
        }
        Ok(hashes)
    }

    /// Keeps the views that hold now, and which rows wait to be confirmed.
    async fn has_written(
        &mut self,
        part: Vec<PlannedWrite>,
        hashes: &[Option<[u8; 32]>],
        entry: Option<EntryId>,
        loaded: Option<(u32, &str, u64)>,
    ) -> Result<(), BridgeFailure> {
        let mut hashes = hashes.iter();
        let mut views = Vec::with_capacity(part.len());
        let mut unacknowledged = Vec::new();
        let waiting = behind(&part);
        let mut written: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for planned in part {
            if self.aside.contains(&planned.table) {
                written.entry(planned.table).or_default().push(planned.key.to_text());
            }
            let made: Vec<_> = hashes.by_ref().take(planned.changes.len()).flatten().collect();
            if let (Some(_), Some(entry)) = (made.last(), entry)
                && self.wants_receipts(planned.table)
            {
                unacknowledged.push(Unacknowledged {
                    table: planned.table,
                    key: planned.key.clone(),
                    author: author_text(&entry)?,
                    seq: i64::try_from(entry.seq).unwrap_or(i64::MAX),
                    since_ms: now_ms(),
                    is_edit: planned.builds_on.is_some(),
                });
            }
            views.push(match (planned.then, made.last()) {
                // The record as the edit left it, without what others have changed meanwhile.
                (ViewChange::Set(table, view), Some(hash)) => {
                    let version = Some(Version::of_heads([*hash]));
                    ViewChange::Set(table, View { version, ..view })
                }
                (then, _) => then,
            });
        }
        let progress = self.progress.clone();
        let steps = Steps {
            progress: Some(&progress),
            views: &views,
            waiting: &waiting,
            unacknowledged: &unacknowledged,
            loaded,
            ..Steps::default()
        };
        self.state.finish_plan(steps).await?;
        self.trial.step().await;
        self.kept_generation = progress.generation;
        for (table, keys) in written {
            self.release(table, Direction::Capture, &keys).await?;
        }

        Ok(())
    }

    async fn keep_views(
        &mut self,
        part: Vec<PlannedWrite>,
        loaded: Option<(u32, &str, u64)>,
    ) -> Result<(), BridgeFailure> {
        let waiting = behind(&part);
        let views: Vec<_> = part.into_iter().map(|planned| planned.then).collect();
        let progress = self.progress.clone();
        let steps = Steps {
            progress: Some(&progress),
            views: &views,
            waiting: &waiting,
            loaded,
            ..Steps::default()
        };
        self.state.finish_plan(steps).await?;
        self.trial.step().await;
        self.kept_generation = progress.generation;
        Ok(())
    }

    /// A row that the node does not take is set aside.
    async fn refuse(
        &mut self,
        refused: &PlannedWrite,
        error: &WriteError,
    ) -> Result<(), BridgeFailure> {
        let (name, direction) = (refused.key.to_text(), Direction::Capture);
        let item = Quarantined::new(refused.table, direction, name, error.to_string());
        self.set_aside(&[item]).await
    }
}

/// An entry's author as text.
fn author_text(entry: &EntryId) -> Result<String, BridgeFailure> {
    serde_json::to_string(&entry.author).map_err(|error| BridgeFailure::Refused(error.to_string()))
}

/// The records that have to be applied to their rows.
fn behind(part: &[PlannedWrite]) -> Vec<(u32, String)> {
    let behind = part.iter().filter(|planned| planned.is_behind);
    behind.map(|planned| (planned.table, planned.id.clone())).collect()
}

/// Splits what rows ask for into transactions that fit.
fn parts(planned: Vec<PlannedWrite>) -> Vec<Vec<PlannedWrite>> {
    let mut parts: Vec<Vec<PlannedWrite>> = Vec::new();
    let (mut edits, mut bytes) = (0, 0);
    for planned in planned {
        let (more_edits, more_bytes) = (planned.changes.len(), planned.bytes());
        let fits = edits + more_edits <= EDITS_MAX && bytes + more_bytes <= BYTES_MAX;
        match parts.last_mut().filter(|_| fits) {
            Some(part) => {
                part.push(planned);
                edits += more_edits;
                bytes += more_bytes;
            }
            None => {
                parts.push(vec![planned]);
                (edits, bytes) = (more_edits, more_bytes);
            }
        }
    }
    parts
}

/// Changes as JSON, since what fields hold has no other form that is read back.
mod changes_text {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    use super::Change;

    pub(super) fn serialize<S: Serializer>(changes: &[Change], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&serde_json::to_string(changes).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Change>, D::Error> {
        serde_json::from_str(&String::deserialize(from)?).map_err(de::Error::custom)
    }
}
