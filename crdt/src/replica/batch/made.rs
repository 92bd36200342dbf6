//! Records of a group that are held as their rows will have them, which takes a tenth of what they take in memory: new
//! ones, and those of which it was found out beforehand what an entry makes of them.

use super::Batch;
use super::stage::{StagedChange, StagedRecord};
use crate::record::{Document, NewRecord, RecordSummary};
use crate::replica::indexes::Move;
use crate::store::tables::records::{Changes, RecordKey};

/// A record as changes of the group leave it.
pub(in crate::replica) struct Made {
    /// What is live of it.
    pub(in crate::replica) saved: Vec<u8>,
    /// The same in short.
    pub(in crate::replica) summary: RecordSummary,
    /// What it was before the group; `None`: missing.
    pub(in crate::replica) before: Option<RecordSummary>,
    /// Where its changes before the group are.
    pub(in crate::replica) places: Changes,
    /// How the indexes follow; `None`: that is yet to be found out.
    pub(in crate::replica) moves: Option<Vec<Move>>,
    /// The changes of this group, in order.
    pub(in crate::replica) changes: Vec<StagedChange>,
    /// How many changes of the entry that is being taken in are reflected in `saved` and not yet listed in `changes`.
    pub(in crate::replica) awaited: usize,
}

impl Made {
    /// Of a record that has this one change.
    pub(in crate::replica) fn new_record(first: NewRecord, change: StagedChange) -> Self {
        let NewRecord { saved, summary, .. } = first;
        let (before, places, moves) = (None, Changes::default(), None);
        Self { saved, summary, before, places, moves, changes: vec![change], awaited: 0 }
    }

    /// The same in memory, to be changed further.
    pub(in crate::replica) fn load(self) -> StagedRecord {
        let document = Document::load(&self.saved).map_err(|error| error.to_string());
        let Self { before, places, changes, .. } = self;
        StagedRecord { document, before, places, changes }
    }
}

impl Batch {
    /// Takes in a change whose outcome was found out beforehand, and returns how many operations it means, or the
    /// change if nothing is known of it.
    pub(in crate::replica) fn take_foreseen(
        &mut self,
        key: &RecordKey,
        change: StagedChange,
    ) -> Result<usize, StagedChange> {
        let stage = &mut self.stage;
        let Some(foreseen) = &mut stage.foreseen else { return Err(change) };
        if let Some(Some(made)) = stage.made.get_mut(key)
            && made.awaited > 0
        {
            made.awaited -= 1;
            made.changes.push(change);
            return Ok(0);
        }
        if stage.made.contains_key(key) || stage.records.contains_key(key) {
            return Err(change);
        }
        let Some((mut made, operations)) = foreseen.take(key) else { return Err(change) };
        made.changes.push(change);
        self.documents.pop(key);
        stage.made.insert(key.clone(), Some(made));
        Ok(operations)
    }
}
