//! Several edits at once, put together step by step.

use serde_json::Value as Json;

use super::{
    Edit, Expected, LocalTransaction, NotWritten, Origin, RecordEdit, Version, Written, fields,
};
use crate::handle::{Handle, Stopped};

/// Edits that become visible together or not at all; see [`Handle::transaction`].
#[must_use = "nothing is written before `commit`"]
pub struct TransactionBuilder {
    handle: Handle,
    origin: Option<Origin>,
    /// The edits so far, or what was wrong first, for the one who commits.
    edits: Result<Vec<RecordEdit>, NotWritten>,
}

impl TransactionBuilder {
    pub(super) fn new(handle: Handle) -> Self {
        Self { handle, origin: None, edits: Ok(Vec::new()) }
    }

    /// Where the transaction comes from: one of the same origin that was written before makes this one a repeat, which
    /// changes nothing.
    pub fn origin(self, origin: Origin) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// The record shall have these fields, a JSON object, and no others; see [`Edit::Put`].
    pub fn put(self, collection: &str, id: &str, fields: Json) -> Self {
        self.with_fields(collection, id, fields, Edit::Put)
    }

    /// These fields of the record, a JSON object, change and the others stay; a missing record is created. See
    /// [`Edit::Merge`].
    pub fn merge(self, collection: &str, id: &str, fields: Json) -> Self {
        self.with_fields(collection, id, fields, |patch| Edit::Merge { patch, create: true })
    }

    /// The record is deleted.
    pub fn delete(self, collection: &str, id: &str) -> Self {
        self.edit(RecordEdit::new(collection, id, Edit::Delete))
    }

    /// Any other edit.
    pub fn edit(mut self, edit: RecordEdit) -> Self {
        if let Ok(edits) = &mut self.edits {
            edits.push(edit);
        }
        self
    }

    /// The last edit was made for this version of its record; see [`RecordEdit::builds_on`].
    pub fn builds_on(self, version: Version) -> Self {
        self.of_last("builds_on", |edit| edit.builds_on = Some(version))
    }

    /// What the record of the last edit must be for that; see [`RecordEdit::expected`].
    pub fn expected(self, expected: Expected) -> Self {
        self.of_last("expected", |edit| edit.expected = Some(expected))
    }

    /// Writes all of it. Returns when it is durable.
    ///
    /// # Errors
    /// [`NotWritten`].
    pub async fn commit(self) -> Result<Written, NotWritten> {
        let Self { handle, origin, edits } = self;
        let transaction = LocalTransaction { origin, edits: edits? };
        let results = handle.write(vec![transaction]).await?;
        match results.into_iter().next() {
            Some(result) => Ok(result?),
            // One transaction has one result.
            None => Err(Stopped { reason: None }.into()),
        }
    }

    fn with_fields(
        mut self,
        collection: &str,
        id: &str,
        json: Json,
        edit: impl FnOnce(serde_json::Map<String, Json>) -> Edit,
    ) -> Self {
        match fields(collection, id, json) {
            Ok(fields) => self.edit(RecordEdit::new(collection, id, edit(fields))),
            Err(fault) => {
                self.edits = self.edits.and(Err(fault));
                self
            }
        }
    }

    fn of_last(mut self, what: &'static str, say: impl FnOnce(&mut RecordEdit)) -> Self {
        if let Ok(edits) = &mut self.edits {
            match edits.last_mut() {
                Some(edit) => say(edit),
                None => self.edits = Err(NotWritten::NoEdit { what }),
            }
        }
        self
    }
}
