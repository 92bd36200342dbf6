//! Records as they were at a version, for edits that build on it.

use super::Batch;
use super::stage::{Mark, NotTaken};
use super::write::{Stop, WriteError};
use crate::record::{Document, Unreadable, Version};
use crate::replica::context::Context;
use crate::store::changes;
use crate::store::tables::records::RecordKey;
use crate::store::{Store, StoreError};

impl Batch {
    /// The record as `version` has it, and the staged one with its whole history; `None`: it is of that version, or cannot
    /// be read here.
    pub(in crate::replica) fn at_version<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        version: &Version,
        mark: &mut Mark,
    ) -> Result<Option<Document>, Stop> {
        let record = self.staged_with(cx, key, mark)?;
        match &record.document {
            Ok(document) if document.is_of(version) => return Ok(None),
            Ok(document) if document.is_whole() => {}
            Ok(_) => self.load_history(cx, key).map_err(|stop| not_loaded(key, stop))?,
            Err(_) => return Ok(None),
        }
        let Some(record) = self.stage.records.get(key) else { return Ok(None) };
        let Ok(document) = &record.document else { return Ok(None) };
        let reach = document.reach(version).map_err(|missing| {
            let RecordKey { collection, id, .. } = key.clone();
            WriteError::UnknownVersion { collection, id, missing }
        })?;
        let mut seen = Document::empty();
        if reach.is_empty() {
            return Ok(Some(seen));
        }
        let broken = |error: Unreadable| unreadable(key, error.to_string());
        for place in changes::places(cx.store, key, &record.places)? {
            let read = self.recent.at(cx.store, place);
            let (actor, change, _) = read.map_err(|error| not_loaded(key, error.into()))?;
            if seen.extend_to(&reach, actor, change).map_err(broken)? {
                return Ok(Some(seen));
            }
        }
        for staged in &record.changes {
            if seen.extend_to(&reach, staged.actor, &staged.change).map_err(broken)? {
                return Ok(Some(seen));
            }
        }
        Err(unreadable(key, "its changes do not make the version".to_owned()).into())
    }
}

fn not_loaded(key: &RecordKey, stop: NotTaken) -> Stop {
    match stop {
        NotTaken::Damaged | NotTaken::Store(StoreError::Damaged { .. }) => {
            let reason = "the journal's copy of one of its changes is damaged";
            unreadable(key, reason.to_owned()).into()
        }
        NotTaken::Store(error) => error.into(),
        NotTaken::Verdict(verdict) => unreadable(key, verdict.to_string()).into(),
    }
}

fn unreadable(key: &RecordKey, reason: String) -> WriteError {
    let RecordKey { collection, id, .. } = key.clone();
    WriteError::Unreadable { collection, id, reason }
}
