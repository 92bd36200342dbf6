//! What one group of inputs has changed so far: nothing of it is durable or visible yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;

use super::Batch;
use super::foresight::Foresight;
use super::made::Made;
use super::vacancy::Vacancy;
use super::write::{WriteError, Written};
use crate::ids::{Author, RealmId, SiteId, SpaceId};
use crate::log::entry::{Entry, EntryId, Origin, Transaction, limits};
use crate::membership::{FormerKey, Genesis, Operation, SpaceDocument};
use crate::protocol::prepare::Reading;
use crate::record::{
    ActorBytes, ChangeActor, Document, NewRecord, ParsedChange, RecordChange, RecordSummary,
    SCHEMA_COLLECTION, Schema, Validated, Verdict,
};
use crate::replica::Output;
use crate::replica::context::Context;
use crate::store::cache::Kept;
use crate::store::read;
use crate::store::tables::logs::{EntryStatus, LogRow};
use crate::store::tables::records::{ChangeAt, Changes, RecordKey, RecordRow};
use crate::store::{Position, Store, StoreError};

/// Most records that a group holds as documents, some 15 KB each. Reaching a limit ends the group.
const STAGED_RECORDS_MAX: usize = 2048;
/// Most records that it holds as rows only, some 1 KB each. A site that was away waits for the disk once a group.
const STAGED_MADE_MAX: usize = 8192;
/// As many records as take some 10 ms to be committed: others wait for that.
const ENOUGH_RECORDS: usize = 512;
/// The same of those of which the group holds the rows.
const ENOUGH_MADE: usize = 4096;
/// Entries of others in one group: each repeat is looked up among them.
const STAGED_ENTRIES_MAX: usize = 1024;
/// Bytes of entries in one group, far below what one append to the journal takes.
pub(in crate::replica) const STAGED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What one group of inputs has changed so far.
#[derive(Default)]
pub(in crate::replica) struct Stage {
    /// Records that were read or changed, but for those of `made`.
    pub(in crate::replica) records: BTreeMap<RecordKey, StagedRecord>,
    /// Records in the form of their rows, in the order in which they came. `None`: it is among `records`, as more than its
    /// row was asked for; the key stays, as a [`Mark`] remembers how long this map was.
    pub(in crate::replica) made: IndexMap<RecordKey, Option<Made>>,
    /// What the entry that is being taken in makes of its records, as far as that was found out beforehand.
    pub(in crate::replica) foreseen: Option<Foresight>,
    /// Records of which it is known that the store does not have them.
    pub(in crate::replica) vacancy: Option<Vacancy>,
    /// Local transactions, to be sealed in entries.
    pub(in crate::replica) transactions: Vec<Pending>,
    /// Where each of them is, once they are sealed: the number of its entry, and that of its first change there.
    pub(in crate::replica) sealed: Vec<(usize, u32)>,
    /// Local operations with the realm of their space, to be sealed in entries of membership spaces.
    pub(in crate::replica) operations: Vec<(RealmId, Operation)>,
    /// Entries in the order in which the journal will have them.
    pub(in crate::replica) entries: Vec<StagedEntry>,
    /// Bytes of the entries and transactions above.
    pub(in crate::replica) bytes: usize,
    /// Operations on records in them.
    pub(in crate::replica) operation_count: usize,
    /// A genesis document that was learnt.
    pub(in crate::replica) genesis: Option<Genesis>,
    /// Private spaces that were made or entered.
    pub(in crate::replica) spaces: Vec<SpaceDocument>,
    /// Changes of void and dropped entries.
    pub(in crate::replica) void_changes: BTreeSet<[u8; 32]>,
    /// The actors that changes in branches of logs count as, each with its log.
    pub(in crate::replica) branch_actors: BTreeMap<ActorBytes, Author>,
    /// Why entries are void.
    pub(in crate::replica) void_reasons: BTreeMap<(SpaceId, Author, u64), String>,
    /// New tips.
    pub(in crate::replica) logs: BTreeMap<(SpaceId, Author), LogRow>,
    /// How far the entries above name logs: by their space, then the log's.
    pub(in crate::replica) covered: BTreeMap<(SpaceId, SpaceId, Author), u64>,
    /// Answers to local writers.
    pub(in crate::replica) written: Vec<(u64, Vec<Result<StagedWrite, WriteError>>)>,
    /// What is said once the group is durable.
    pub(in crate::replica) after: Vec<After>,
}

/// A local transaction, with what it takes of an entry's limits.
pub(in crate::replica) struct Pending {
    /// The realm of its space.
    pub(in crate::replica) realm: RealmId,
    pub(in crate::replica) transaction: Transaction,
    pub(in crate::replica) bytes: usize,
    pub(in crate::replica) operations: usize,
}

/// What a local transaction did, before it is durable.
pub(in crate::replica) struct StagedWrite {
    /// Of the changes that its edits made.
    pub(in crate::replica) hashes: Vec<Option<[u8; 32]>>,
    pub(in crate::replica) written_in: WrittenIn,
    pub(in crate::replica) is_repeat: bool,
}

/// Where a local transaction is written.
pub(in crate::replica) enum WrittenIn {
    /// Nowhere: it changed nothing.
    Nothing,
    /// It is this transaction of the group.
    Group(usize),
    /// An entry from before the group, or one of others in it.
    Entry(EntryId),
}

/// One entry that the group accepts.
pub(in crate::replica) struct StagedEntry {
    pub(in crate::replica) entry: Entry,
    pub(in crate::replica) status: EntryStatus,
    /// The origins of its transactions.
    pub(in crate::replica) origins: Vec<Origin>,
    /// It came by gossip, so everyone hears of it already.
    pub(in crate::replica) by_gossip: bool,
}

/// What is done once the group is durable.
pub(in crate::replica) enum After {
    /// Something to say.
    Say(Output),
    /// Answer a site that was introduced, by what is then known.
    Welcome { token: u64, to: SiteId, former: Vec<FormerKey> },
    /// Pull.
    Pull { from: SiteId, space: SpaceId },
    /// Go on with a pull.
    PullMore { from: SiteId, space: SpaceId },
    /// Send the requests that waited for the end of another.
    Resume { with: SiteId },
}

/// A record in the middle of a group.
pub(in crate::replica) struct StagedRecord {
    /// The record, or why it cannot be read here.
    pub(in crate::replica) document: Result<Document, String>,
    /// What it was before the group; `None`: missing.
    pub(in crate::replica) before: Option<RecordSummary>,
    /// Where its changes before the group are.
    pub(in crate::replica) places: Changes,
    /// The changes of this group, in order.
    pub(in crate::replica) changes: Vec<StagedChange>,
}

impl StagedRecord {
    /// As it is before the group.
    pub(in crate::replica) fn stored(document: Result<Document, String>, places: Changes) -> Self {
        let before = document.as_ref().ok().and_then(Document::summary);
        Self { document, before, places, changes: Vec::new() }
    }

    /// As its first change, of this group, leaves it.
    pub(in crate::replica) fn begun(
        document: Result<Document, String>,
        change: StagedChange,
    ) -> Self {
        Self { document, before: None, places: Changes::default(), changes: vec![change] }
    }

    /// The verdict on a change; `None` where the record cannot be read.
    pub(in crate::replica) fn judge(
        &self,
        change: &ParsedChange,
    ) -> Option<Result<Validated, Verdict>> {
        self.document.as_ref().ok().map(|document| document.judge(change))
    }
}

/// A change of the group.
pub(in crate::replica) struct StagedChange {
    pub(in crate::replica) actor: ChangeActor,
    pub(in crate::replica) change: RecordChange,
    pub(in crate::replica) place: ChangePlace,
}

/// Where a change of the group is.
#[derive(Clone, Copy)]
pub(in crate::replica) enum ChangePlace {
    /// Change number `change` of the entry number `entry` of the group.
    Entry { entry: usize, change: u32 },
    /// Change number `change` of the local transaction number `transaction` of the group.
    Local { transaction: usize, change: u32 },
}

impl ChangePlace {
    /// Where that is in the journal, if the group's entries are at `positions`.
    pub(in crate::replica) fn resolve(
        self,
        positions: &[Position],
        sealed: &[(usize, u32)],
    ) -> Option<ChangeAt> {
        let (entry, index) = match self {
            Self::Entry { entry, change } => (entry, change),
            Self::Local { transaction, change } => {
                let (entry, first) = sealed.get(transaction)?;
                (*entry, first + change)
            }
        };
        Some(ChangeAt { position: positions.get(entry)?.0, index })
    }
}

/// Where a record stood before an attempt that may fail.
pub(in crate::replica) struct Mark {
    /// Records by how many changes they had.
    touched: BTreeMap<RecordKey, usize>,
    /// How many records were held as rows.
    made: usize,
}

/// Why a change was not taken in.
pub(in crate::replica) enum NotTaken {
    /// The checker's verdict.
    Verdict(Verdict),
    /// It can be judged only by changes whose journal frames are damaged.
    Damaged,
    /// The store failed.
    Store(StoreError),
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Stage {
    pub(in crate::replica) fn is_empty(&self) -> bool {
        self.transactions.is_empty()
            && self.operations.is_empty()
            && self.entries.is_empty()
            && self.genesis.is_none()
            && self.spaces.is_empty()
            && self.void_changes.is_empty()
    }

    /// Whether it holds as much in memory as one group may.
    pub(in crate::replica) fn is_large(&self) -> bool {
        self.records.len() >= STAGED_RECORDS_MAX
            || self.made.len() >= STAGED_MADE_MAX
            || self.entries.len() >= STAGED_ENTRIES_MAX
            || self.bytes >= STAGED_BYTES_MAX
            || self.operation_count >= limits::OPERATIONS_MAX
    }

    /// Whether it is enough for one commit where others wait for its end.
    pub(in crate::replica) fn is_enough(&self) -> bool {
        self.records.len() >= ENOUGH_RECORDS || self.made.len() >= ENOUGH_MADE
    }

    /// Where every record stands now.
    pub(in crate::replica) fn mark(&self) -> Mark {
        Mark { touched: BTreeMap::new(), made: self.made.len() }
    }

    /// What the writer of a sealed group gets as its result.
    pub(in crate::replica) fn written(&self, staged: StagedWrite) -> Written {
        let StagedWrite { hashes: changes, written_in, is_repeat } = staged;
        let records_changed = changes.iter().flatten().count();
        let entry = match written_in {
            WrittenIn::Nothing => None,
            WrittenIn::Group(transaction) => self.sealed_in(transaction),
            WrittenIn::Entry(entry) => Some(entry),
        };
        Written { records_changed, changes, entry, is_repeat }
    }

    fn sealed_in(&self, transaction: usize) -> Option<EntryId> {
        let (entry, _) = self.sealed.get(transaction)?;
        Some(self.entries.get(*entry)?.entry.id())
    }
}

impl Mark {
    /// Remembers how many changes a record has when it is first met.
    pub(in crate::replica) fn touch(&mut self, key: &RecordKey, count: usize) {
        self.touched.entry(key.clone()).or_insert(count);
    }
}

impl Batch {
    /// The record as the group sees it, read from the store on first use.
    pub(in crate::replica) fn staged<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
    ) -> Result<&mut StagedRecord, StoreError> {
        if key.collection == SCHEMA_COLLECTION {
            self.schemas.clear();
        }
        if !self.stage.records.contains_key(key) {
            let record = match self.stage.made.get_mut(key).and_then(Option::take) {
                Some(made) => made.load(),
                None => self.load_record(cx, key)?,
            };
            self.stage.records.insert(key.clone(), record);
        }
        match self.stage.records.get_mut(key) {
            Some(record) => Ok(record),
            None => unreachable!("the record was staged above"),
        }
    }

    /// As [`Batch::staged`], and remembers in `mark` where the record stood.
    pub(in crate::replica) fn staged_with<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        mark: &mut Mark,
    ) -> Result<&mut StagedRecord, StoreError> {
        let record = self.staged(cx, key)?;
        let count = record.changes.len();
        mark.touch(key, count);
        Ok(record)
    }

    pub(in crate::replica) fn load_record<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
    ) -> Result<StagedRecord, StoreError> {
        if let Some(Kept { document, changes }) = self.documents.pop(key) {
            return Ok(StagedRecord::stored(Ok(document), changes));
        }
        let stored = cx.store.get(&key.record())?;
        let (document, places) = match &stored {
            Some(value) => {
                let row = RecordRow::decode(value)?;
                (row.document().map_err(|error| error.to_string()), row.changes)
            }
            None => (Ok(Document::empty()), Changes::default()),
        };
        Ok(match self.unreadable.get(key) {
            Some(reason) => StagedRecord::stored(Err(reason.clone()), places),
            None => StagedRecord::stored(document, places),
        })
    }

    /// Whether nobody has written a record, as the group sees it.
    pub(in crate::replica) fn is_new<S: Store>(
        &self,
        cx: Context<'_, S>,
        key: &RecordKey,
    ) -> Result<bool, StoreError> {
        let is_known = self.stage.records.contains_key(key)
            || self.stage.made.contains_key(key)
            || self.documents.contains(key)
            || self.unreadable.contains_key(key);
        let is_vacant = || self.stage.vacancy.as_ref().is_some_and(|vacancy| vacancy.holds(key));
        Ok(!is_known && (is_vacant() || cx.store.get(&key.record())?.is_none()))
    }

    /// Takes in the first change of a record that [`Batch::is_new`].
    pub(in crate::replica) fn take_new(
        &mut self,
        key: RecordKey,
        change: StagedChange,
        first: NewRecord,
    ) {
        if key.collection == SCHEMA_COLLECTION {
            self.schemas.clear();
        }
        self.stage.made.insert(key, Some(Made::new_record(first, change)));
    }

    /// Takes one change to one record in: checked, then merged. Says how many operations it means.
    ///
    /// Merging can fail only by a fault of this program; the record is then unreadable here, while the change
    /// counts as everywhere else.
    pub(in crate::replica) fn take_change<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        key: &RecordKey,
        change: StagedChange,
        reading: Option<Reading>,
        mark: &mut Mark,
    ) -> Result<usize, NotTaken> {
        let change = match self.take_foreseen(key, change) {
            Ok(operations) => return Ok(operations),
            Err(change) => change,
        };
        let reading = reading.unwrap_or_else(|| Reading::of(&change.change, change.actor));
        let parsed = match reading {
            Reading::New(first) if self.is_new(cx, key)? => {
                let operations = first.operations;
                self.take_new(key.clone(), change, first);
                return Ok(operations);
            }
            Reading::New(_) => change.change.parse(change.actor),
            Reading::Parsed(parsed) => parsed,
        };
        let mut parsed = parsed.map_err(|fault| NotTaken::Verdict(Verdict::Fault(fault)))?;
        let operations = parsed.operations();
        let mut record = self.staged_with(cx, key, mark)?;
        if cx.is_of_forked_log(key.space, &parsed) {
            self.load_history(cx, key)?;
            record = self.staged(cx, key)?;
            if let Ok(document) = &record.document {
                parsed = document.resolve(parsed);
            }
        }
        let mut judged = record.judge(&parsed);
        if let Some(Err(Verdict::NeedsHistory)) = judged {
            self.load_history(cx, key)?;
            record = self.staged(cx, key)?;
            judged = record.judge(&parsed);
        }
        if let (Ok(document), Some(judged)) = (&mut record.document, judged)
            && let Err(error) = document.apply(judged.map_err(NotTaken::Verdict)?.with(parsed))
        {
            record.document = Err(error.to_string());
        }
        record.changes.push(change);
        Ok(operations)
    }

    /// Puts every record back to where it stood when `mark` first met it.
    pub(in crate::replica) fn roll_back<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        mark: Mark,
    ) -> Result<(), StoreError> {
        self.schemas.clear();
        // It was of the attempt alone.
        self.stage.foreseen = None;
        let from = mark.made.min(self.stage.made.len());
        for (key, _) in self.stage.made.drain(from..) {
            self.stage.records.remove(&key);
        }
        for (key, count) in mark.touched {
            let Some(record) = self.stage.records.remove(&key) else { continue };
            if count == 0 {
                continue;
            }
            // The cache has no copy while a record is staged, so this starts from what is stored.
            let mut changes = record.changes;
            changes.truncate(count);
            for change in changes {
                let parsed = Reading::Parsed(change.change.parse(change.actor));
                let mut mark = self.stage.mark();
                match self.take_change(cx, &key, change, Some(parsed), &mut mark) {
                    Ok(_) | Err(NotTaken::Verdict(_) | NotTaken::Damaged) => {}
                    Err(NotTaken::Store(error)) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Drops the whole group.
    pub(in crate::replica) fn drop_stage(&mut self) -> Stage {
        let stage = std::mem::take(&mut self.stage);
        self.schemas.clear();
        stage
    }

    /// The tip of a log as the group sees it.
    pub(in crate::replica) fn log<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        author: Author,
    ) -> Option<LogRow> {
        let staged = self.stage.logs.get(&(space, author)).copied();
        staged.or_else(|| cx.realms.logs(space)?.rows().get(&author).copied())
    }

    /// The schema of a collection as the group sees it.
    pub(in crate::replica) fn schema<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        space: SpaceId,
        collection: &str,
    ) -> Result<Option<Arc<Schema>>, StoreError> {
        let known = self.schemas.get(&space).and_then(|schemas| schemas.get(collection));
        if let Some(schema) = known {
            return Ok(schema.clone());
        }
        let id = collection.to_owned();
        let key = RecordKey { space, collection: SCHEMA_COLLECTION.to_owned(), id };
        let is_staged = self.stage.made.contains_key(&key) || self.stage.records.contains_key(&key);
        let schema = if is_staged {
            self.staged(cx, &key)?.document.as_ref().ok().and_then(|d| Schema::of(&d.view()))
        } else {
            read::schema(cx.store, space, collection)?
        };
        let schema = schema.map(Arc::new);
        self.schemas.entry(space).or_default().insert(key.id, schema.clone());
        Ok(schema)
    }
}
