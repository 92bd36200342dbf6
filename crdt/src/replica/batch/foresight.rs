//! What an entry of another site makes of its records, found out beforehand and in steps, between which others get
//! their turn: an entry is taken in wholly or not at all, and may change 16,384 records, each of which costs a hundred
//! times as much to judge as to write, where both sides changed it.
//!
//! Nothing here is a verdict. What was found out holds for a record as long as nobody else writes it, and whatever could
//! not be found out is left to [`Batch::take_change`], which is right about every change, in its own time.

use std::collections::VecDeque;

use indexmap::IndexMap;

use super::Batch;
use super::accept::EntrySource;
use super::made::Made;
use super::recall::Recall;
use super::stage::StagedRecord;
use crate::ids::EntryHash;
use crate::log::entry::Entry;
use crate::protocol::prepare::{PreparedEntry, ReadChange};
use crate::record::{ChangeActor, Document, ParsedChange, SCHEMA_COLLECTION, Verdict, View};
use crate::replica::context::Context;
use crate::store::cache::Kept;
use crate::store::tables::records::RecordKey;
use crate::store::{Store, StoreError};

/// Of an entry with no more records than this only the histories are read that it takes to judge them: the records may
/// be wanted again soon, and stay in memory.
const FEW_RECORDS: usize = 64;
/// What the records may take in memory that were found out, in bytes. The rest is left.
const FORESEEN_BYTES_MAX: usize = 64 << 20;
/// How often a record is looked at again because somebody else has written it meanwhile.
const LOOKS_MAX: u8 = 3;

// What steps take, in microseconds, about.
const LEFT_COST: usize = 2;
const LOAD_COST: usize = 10;
const CHANGE_COST: usize = 10;
const SAVE_COST: usize = 15;

/// What an entry makes of its records, as far as it is known.
pub(in crate::replica) struct Foresight {
    entry: EntryHash,
    actor: ChangeActor,
    records: IndexMap<RecordKey, Foreseen>,
    /// Records that are yet to be looked at.
    todo: VecDeque<usize>,
    /// The first of them, half done.
    work: Option<Work>,
    bytes: usize,
}

/// What is known of one record.
struct Foreseen {
    /// Which of the entry's changes are to it.
    changes: Vec<usize>,
    looks: u8,
    /// What it becomes, and how many operations that takes.
    made: Option<(Made, usize)>,
}

/// A record that is being looked at.
struct Work {
    record: StagedRecord,
    /// As it is read without the entry, where an index asks for that.
    before: Option<View>,
    /// How many of its changes are in it by now.
    applied: usize,
    operations: usize,
    /// Its history, which is being read.
    recall: Option<Recall>,
}

/// One record's changes among an entry's.
struct Part<'a> {
    key: &'a RecordKey,
    actor: ChangeActor,
    numbers: &'a [usize],
    changes: &'a mut [ReadChange],
    is_few: bool,
}

/// How far it is known what an entry makes of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::replica) enum Foreseeing {
    /// As far as it can be found out beforehand.
    Done,
    /// There is more to find out.
    Begun,
    /// Not at all: what the group holds of the records is to be durable first.
    BehindGroup,
}

/// How a step ended.
enum Step {
    /// There is more to do.
    On,
    /// With this, and the number of operations that it takes.
    Made(Made, usize),
    /// Whatever is left is for [`Batch::take_change`].
    Left,
}

impl Part<'_> {
    /// One of its changes, as it reads.
    fn parsed(&mut self, nth: usize) -> Option<&ParsedChange> {
        let change = self.changes.get_mut(*self.numbers.get(nth)?)?;
        change.parsed(self.actor).as_ref().ok()
    }

    fn is_first(&self) -> bool {
        let [number] = self.numbers else { return false };
        self.changes.get(*number).is_some_and(ReadChange::is_first)
    }
}

impl Foresight {
    fn new(entry: &Entry, changes: &[ReadChange]) -> Self {
        let header = &entry.header;
        let mut records: IndexMap<RecordKey, Foreseen> = IndexMap::new();
        for (number, change) in changes.iter().enumerate() {
            let (collection, id) = change.address();
            let (collection, id) = (collection.to_owned(), id.to_owned());
            let key = RecordKey { space: header.space, collection, id };
            let new = || Foreseen { changes: Vec::with_capacity(1), looks: 0, made: None };
            records.entry(key).or_insert_with(new).changes.push(number);
        }
        let todo = (0..records.len()).collect();
        let actor = entry.actor();
        Self { entry: entry.hash, actor, records, todo, work: None, bytes: 0 }
    }

    /// Whether it is of this entry.
    pub(in crate::replica) fn is_of(&self, entry: &Entry) -> bool {
        self.entry == entry.hash
    }

    /// Takes out what a record becomes, and the number of operations that it takes.
    pub(in crate::replica) fn take(&mut self, key: &RecordKey) -> Option<(Made, usize)> {
        self.records.get_mut(key)?.made.take()
    }

    /// Somebody else has written a record: it is looked at again.
    pub(in crate::replica) fn forget(&mut self, key: &RecordKey) {
        let Some((index, _, record)) = self.records.get_full_mut(key) else { return };
        if self.todo.front() == Some(&index) {
            self.work = None;
        } else if let Some((made, _)) = record.made.take() {
            self.bytes -= made.saved.len();
            self.todo.push_back(index);
        }
    }

    fn is_few(&self) -> bool {
        self.records.len() <= FEW_RECORDS
    }

    /// The part of the record that is next, and what is under way of it.
    fn next<'a>(
        &'a mut self,
        changes: &'a mut [ReadChange],
    ) -> Option<(Part<'a>, &'a mut u8, &'a mut Option<Work>)> {
        let (is_few, actor) = (self.is_few(), self.actor);
        let (key, foreseen) = self.records.get_index_mut(*self.todo.front()?)?;
        let Foreseen { changes: numbers, looks, .. } = foreseen;
        Some((Part { key, actor, numbers, changes, is_few }, looks, &mut self.work))
    }

    /// Ends with the record that is next.
    fn end(&mut self, made: Option<(Made, usize)>) {
        self.work = None;
        let Some(index) = self.todo.pop_front() else { return };
        let Some((_, foreseen)) = self.records.get_index_mut(index) else { return };
        foreseen.made = made;
        self.bytes += foreseen.made.as_ref().map_or(0, |(made, _)| made.saved.len());
        if self.bytes > FORESEEN_BYTES_MAX {
            self.todo.clear();
        }
    }
}

impl Batch {
    fn is_foreseen(&self, entry: &Entry) -> bool {
        self.foresight.as_ref().is_some_and(|foresight| foresight.is_of(entry))
    }

    /// Finds out what an entry makes of its records, as far as there is `budget`.
    pub(in crate::replica) fn foresee<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        prepared: &mut PreparedEntry,
        budget: &mut usize,
    ) -> Result<Foreseeing, StoreError> {
        if !self.is_foreseen(&prepared.entry) {
            let foresight = self.begin_foresight(cx, prepared)?;
            if foresight.as_ref().is_some_and(|it| self.holds_back(it, prepared)) {
                return Ok(Foreseeing::BehindGroup);
            }
            self.foresight = foresight;
        }
        Ok(if self.go_on_foreseeing(cx, prepared, budget)? {
            Foreseeing::Done
        } else {
            Foreseeing::Begun
        })
    }

    /// Goes on with the entry that was begun. True: there is no more to find out.
    fn go_on_foreseeing<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        prepared: &mut PreparedEntry,
        budget: &mut usize,
    ) -> Result<bool, StoreError> {
        let Some(mut foresight) = self.foresight.take() else { return Ok(true) };
        let changes = prepared.changes_mut();
        while !foresight.todo.is_empty() && *budget > 0 {
            let made = match self.look(cx, &mut foresight, changes, budget)? {
                Step::On => continue,
                Step::Made(made, operations) => Some((made, operations)),
                Step::Left => None,
            };
            foresight.end(made);
        }
        let is_done = foresight.todo.is_empty();
        self.foresight = Some(foresight);
        Ok(is_done)
    }

    /// Begins where an entry is the next of its log, and not quick anyway.
    fn begin_foresight<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        prepared: &mut PreparedEntry,
    ) -> Result<Option<Foresight>, StoreError> {
        let source = EntrySource::Peer { by_gossip: false };
        if prepared.changes().is_empty() || self.judge_header(cx, prepared, source)?.is_some() {
            return Ok(None);
        }
        if self.is_of_forked_log(cx, prepared) {
            return Ok(None);
        }
        self.find_vacancy(cx, prepared.entry.header.space, prepared.records())?;
        let vacancy = self.stage.vacancy.as_ref();
        let is_new = |change: &ReadChange| {
            let (collection, id) = change.address();
            change.is_first() && vacancy.is_some_and(|vacancy| vacancy.has(collection, id))
        };
        if prepared.changes().iter().all(is_new) {
            Ok(None)
        } else {
            Ok(Some(Foresight::new(&prepared.entry, prepared.changes())))
        }
    }

    /// Whether it takes whole histories to read some of an entry's changes.
    fn is_of_forked_log<S: Store>(&self, cx: Context<'_, S>, prepared: &mut PreparedEntry) -> bool {
        let space = prepared.entry.header.space;
        let has_forks = cx.realms.logs(space).is_some_and(|logs| !logs.forks.is_empty());
        let actor = prepared.entry.actor();
        has_forks
            && prepared.changes_mut().iter_mut().any(|change| {
                change.parsed(actor).as_ref().is_ok_and(|it| cx.is_of_forked_log(space, it))
            })
    }

    /// Whether the group has to be durable before the records of an entry can be looked at.
    fn holds_back(&self, foresight: &Foresight, prepared: &mut PreparedEntry) -> bool {
        let stage = &self.stage;
        if !foresight.is_few() {
            let is_staged = |key| stage.records.contains_key(key) || stage.made.contains_key(key);
            return foresight.records.keys().any(is_staged);
        }
        let changes = prepared.changes_mut();
        foresight.records.iter().any(|(key, foreseen)| {
            let staged = stage.records.get(key);
            let first = foreseen.changes.first().and_then(|number| changes.get_mut(*number));
            let parsed = first.map(|first| first.parsed(foresight.actor));
            let (Some(staged), Some(Ok(parsed))) = (staged, parsed) else { return false };
            matches!(staged.judge(parsed), Some(Err(Verdict::NeedsHistory)))
        })
    }

    /// One step towards knowing what the next record becomes.
    fn look<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        foresight: &mut Foresight,
        changes: &mut [ReadChange],
        budget: &mut usize,
    ) -> Result<Step, StoreError> {
        let Some((mut part, looks, work)) = foresight.next(changes) else { return Ok(Step::Left) };
        let Some(under_way) = work else {
            *looks += 1;
            if *looks > LOOKS_MAX {
                return Ok(Step::Left);
            }
            *work = self.begin_work(cx, &mut part)?;
            *budget = budget.saturating_sub(if work.is_some() { LOAD_COST } else { LEFT_COST });
            return Ok(if work.is_some() { Step::On } else { Step::Left });
        };
        if under_way.recall.is_some() {
            return self.recall(cx, under_way, &mut part, budget);
        }
        if part.numbers.len() > under_way.applied {
            return self.apply_next(cx, under_way, &mut part, budget);
        }
        *budget = budget.saturating_sub(SAVE_COST);
        let StagedRecord { document: Ok(document), before, places, .. } = &mut under_way.record
        else {
            return Ok(Step::Left);
        };
        let Some(summary) = document.summary() else { return Ok(Step::Left) };
        let is_indexed = self.indexes.concerns(part.key);
        let moves = is_indexed
            .then(|| self.indexes.moves(part.key, under_way.before.as_ref(), &document.view()));
        let made = Made {
            saved: document.save(),
            summary,
            before: *before,
            places: std::mem::take(places),
            moves,
            changes: Vec::with_capacity(part.numbers.len()),
            awaited: part.numbers.len() - 1,
        };
        Ok(Step::Made(made, under_way.operations))
    }

    /// Reads a record, unless there is nothing to find out about it.
    fn begin_work<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        part: &mut Part<'_>,
    ) -> Result<Option<Work>, StoreError> {
        let is_left = part.key.collection == SCHEMA_COLLECTION
            || self.unreadable.contains_key(part.key)
            || self.stage.records.contains_key(part.key)
            || self.stage.made.contains_key(part.key)
            || part.is_first() && self.is_new(cx, part.key)?;
        if is_left {
            return Ok(None);
        }
        let record = self.load_record(cx, part.key)?;
        let mut work = Work { record, before: None, applied: 0, operations: 0, recall: None };
        if !part.is_few {
            let document = work.record.document.as_ref().ok();
            let is_indexed = self.indexes.concerns(part.key);
            work.before = document.filter(|it| is_indexed && !it.is_empty()).map(Document::view);
            return Ok(Some(work));
        }
        let judged = part.parsed(0).and_then(|first| work.record.judge(first));
        if matches!(judged, Some(Err(Verdict::NeedsHistory))) {
            work.recall = Some(Recall::new(cx.store, part.key, &work.record.places)?);
            return Ok(Some(work));
        }
        self.keep(part.key, work.record);
        Ok(None)
    }

    /// Keeps a record in memory for who wants it next.
    fn keep(&mut self, key: &RecordKey, record: StagedRecord) {
        if let Ok(document) = record.document
            && !document.is_empty()
        {
            self.documents.put(key.clone(), Kept { document, changes: record.places });
        }
    }

    /// Reads on in the history of a record.
    fn recall<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        work: &mut Work,
        part: &mut Part<'_>,
        budget: &mut usize,
    ) -> Result<Step, StoreError> {
        let Some(recall) = &mut work.recall else { return Ok(Step::On) };
        let whole = match recall.go_on(cx.store, &mut self.recent, budget) {
            Ok(None) => return Ok(Step::On),
            Ok(Some(Ok(whole))) => whole,
            // Reported where it is judged.
            Ok(Some(Err(_))) | Err(StoreError::Damaged { .. }) => return Ok(Step::Left),
            Err(error) => return Err(error),
        };
        work.recall = None;
        work.record.document = Ok(whole);
        if part.is_few {
            let places = std::mem::take(&mut work.record.places);
            let document = std::mem::replace(&mut work.record.document, Ok(Document::empty()));
            self.keep(part.key, StagedRecord::stored(document, places));
            return Ok(Step::Left);
        }
        (work.applied, work.operations) = (0, 0);
        Ok(Step::On)
    }

    /// Applies the next change of the entry to a record.
    fn apply_next<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        work: &mut Work,
        part: &mut Part<'_>,
        budget: &mut usize,
    ) -> Result<Step, StoreError> {
        let nth = work.applied;
        let Ok(document) = &mut work.record.document else { return Ok(Step::Left) };
        let Some(parsed) = part.parsed(nth) else { return Ok(Step::Left) };
        let operations = parsed.operations();
        *budget = budget.saturating_sub(CHANGE_COST + operations);
        let judged = match document.judge(parsed) {
            Ok(judged) => judged,
            Err(Verdict::NeedsHistory) => {
                work.recall = Some(Recall::new(cx.store, part.key, &work.record.places)?);
                return Ok(Step::On);
            }
            Err(Verdict::Missing(_) | Verdict::Fault(_)) => return Ok(Step::Left),
        };
        let change = part.numbers.get(nth).and_then(|number| part.changes.get_mut(*number));
        let Some(Ok(parsed)) = change.map(|change| change.take_parsed(part.actor)) else {
            return Ok(Step::Left);
        };
        if document.apply(judged.with(parsed)).is_err() {
            return Ok(Step::Left);
        }
        work.applied += 1;
        work.operations += operations;
        Ok(Step::On)
    }
}
