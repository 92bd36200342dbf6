//! Reading the feed from a cursor on.

use std::collections::BTreeMap;

use super::cursor::{HOLES_MAX, Hole, Seen, check_of, payload_format};
use super::values::{NoValues, Records};
use super::{BadCursor, Change, Cursor, FeedEvent, FeedId, FeedPosition, Item, Values};
use crate::format::codec;
use crate::ids::SpaceId;
use crate::log::entry::{Body, Entry, EntryId, RecordWrite};
use crate::log::fork::{ForkProof, Forks};
use crate::record::{ChangeActor, RecordChange};
use crate::store::frame::Frame;
use crate::store::read;
use crate::store::tables::logs::{self, EntryRow, EntryStatus};
use crate::store::tables::records::{ChangeAt, RecordKey};
use crate::store::tables::{ReadTables, SCAN_ROWS, row};
use crate::store::{Position, ReadJournal, ReadStore, StoreError};

/// Journal bytes read at first for a page: one who wants a few items reads little more than they take.
const STEP_BYTES_FIRST: usize = 16 * 1024;
/// Journal bytes read at a time once a page turns out to take more.
const STEP_BYTES_MAX: usize = 256 * 1024;
/// Journal bytes read for one page: where a consumer wants little of much, a page may be empty though there is more.
const PAGE_JOURNAL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How much a page holds at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// Items.
    pub items_max: usize,
    /// Bytes of values, about; one item may have more.
    pub bytes_max: usize,
}

/// A part of the feed.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedRead {
    /// What is reported, in order.
    pub reported: Vec<FeedEvent>,
    /// The consumer's place behind all of it, and behind what was not for it.
    pub cursor: Cursor,
    /// Whether it was read to where the tables are.
    pub is_end: bool,
    /// Whether reading went back to what was left out before.
    pub went_back: bool,
}

/// Why the feed cannot be read from a cursor on.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The fault is the cursor's.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the feed from a cursor on.
pub struct FeedReader {
    space: SpaceId,
    /// `None`: all.
    collection: Option<String>,
    cursor: Cursor,
    /// What is read next is behind this; `None`: the first.
    after: Option<FeedPosition>,
    records: Records,
    /// How many rows of forks there were: one more rebuilds history.
    fork_count: usize,
    /// The forks that they are of.
    forks: Forks,
    /// Whether collections are of events, as far as that was asked for the page.
    events: BTreeMap<String, bool>,
}

impl FeedReader {
    /// Opens the feed of a space at a cursor, of one collection or of all.
    ///
    /// # Errors
    /// [`NotOpened`] where the cursor is none of this feed, or the store cannot be read.
    pub fn open(
        store: &impl ReadStore,
        feed: FeedId,
        space: SpaceId,
        cursor: Cursor,
        collection: Option<String>,
    ) -> Result<Self, NotOpened> {
        cursor.check(feed, store)??;
        let (after, records) = (cursor.place(), Records::new());
        let events = BTreeMap::new();
        let (fork_count, forks) = (0, Forks::default());
        Ok(Self { space, collection, cursor, after, records, fork_count, forks, events })
    }

    /// The consumer's place.
    #[must_use]
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The next page.
    ///
    /// # Errors
    /// The storage failed, or the journal is damaged in more places than a cursor can remember. The reader then stands
    /// somewhere between its last page and the next: go on with a new one.
    pub fn read(
        &mut self,
        store: &impl ReadStore,
        bounds: PageBounds,
    ) -> Result<FeedRead, StoreError> {
        let went_back = self.prepare(store)?;
        self.events.clear();
        let mut page = Filling { reported: Vec::new(), bytes: 0, bounds };
        let mut is_end = false;
        if let Some(applied) = store.applied()? {
            let (mut journal_bytes, mut step_bytes) = (0, STEP_BYTES_FIRST);
            while !is_end && !page.is_full() && journal_bytes < PAGE_JOURNAL_BYTES_MAX {
                let frames = self.frames(store, step_bytes)?;
                step_bytes = STEP_BYTES_MAX.min(step_bytes * 4);
                // Reading finds out what is damaged.
                let damaged = store.damaged();
                is_end = frames.is_empty();
                if is_end {
                    self.leave_out(&damaged, None, applied)?;
                }
                for (position, frame) in frames {
                    if position > applied {
                        is_end = true;
                        break;
                    }
                    self.leave_out(&damaged, Some(position), applied)?;
                    journal_bytes += frame.len();
                    self.take(store, position, &frame, &mut page)?;
                    if page.is_full() {
                        break;
                    }
                }
            }
        } else {
            is_end = true;
        }
        Ok(FeedRead { reported: page.reported, cursor: self.cursor.clone(), is_end, went_back })
    }

    /// Goes back to what can be given only now, and forgets what a fork has rebuilt.
    fn prepare(&mut self, store: &impl ReadStore) -> Result<bool, StoreError> {
        let back = self.cursor.collect(store)?;
        if let Some(position) = back {
            let before = FeedPosition::before(position);
            self.after = before.min(self.after);
            self.records.clear();
        }
        let fork_count = store.scan(&logs::forks(self.space), None, SCAN_ROWS)?.len();
        if fork_count != self.fork_count {
            self.fork_count = fork_count;
            self.forks = logs::load_forks(store, &logs::forks(self.space))?;
            self.records.clear();
        }
        Ok(back.is_some())
    }

    /// The frames that come next, of about so many bytes: the rest of one, or those behind it.
    fn frames(
        &self,
        journal: &impl ReadJournal,
        step_bytes: usize,
    ) -> Result<Vec<(Position, Vec<u8>)>, StoreError> {
        let after = self.after.map(|place| place.position);
        if let Some(place) = self.after.filter(|place| !place.is_whole()) {
            match journal.read(place.position) {
                Ok(frame) => return Ok(vec![(place.position, frame)]),
                // Its rest is left out with the damage.
                Err(StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        journal.scan_journal(after, step_bytes)
    }

    /// Remembers the damaged stretches before the next frame, which begin behind what was read last.
    fn leave_out(
        &mut self,
        damaged: &[Position],
        next: Option<Position>,
        applied: Position,
    ) -> Result<(), StoreError> {
        let after = self.after;
        let is_behind = |start: Position| match after {
            Some(place) if place.is_whole() => start > place.position,
            Some(place) => start >= place.position,
            None => true,
        };
        for start in damaged.iter().copied() {
            let is_before = next.map_or(start <= applied, |next| start < next);
            if is_behind(start) && is_before {
                self.owe(Hole { start, end: next })?;
            }
        }
        Ok(())
    }

    /// Remembers the damaged stretch without which the values of a change cannot be given: once it is mended, everything
    /// behind it is reported again.
    fn owe_values(
        &mut self,
        journal: &impl ReadJournal,
        damaged: Position,
    ) -> Result<(), StoreError> {
        let starts = journal.damaged().into_iter();
        // Its rows name a place that holds something else; no reading again makes that good.
        let Some(start) = starts.filter(|start| *start <= damaged).max() else { return Ok(()) };
        let next = journal.scan_journal(Some(start), 1)?;
        self.owe(Hole { start, end: next.first().map(|(position, _)| *position) })
    }

    fn owe(&mut self, hole: Hole) -> Result<(), StoreError> {
        let start = hole.start;
        let holes = &mut self.cursor.owed.holes;
        if holes.iter().any(|hole| hole.start == start) {
            return Ok(());
        }
        holes.push(hole);
        holes.sort_by_key(|hole| hole.start);
        if holes.len() > HOLES_MAX {
            let reason = format!("the journal is damaged in more than {HOLES_MAX} places");
            return Err(StoreError::Damaged { position: start, reason });
        }
        Ok(())
    }

    fn take(
        &mut self,
        store: &impl ReadStore,
        position: Position,
        frame: &[u8],
        page: &mut Filling,
    ) -> Result<(), StoreError> {
        let check = check_of(frame);
        match Frame::read(frame) {
            Ok(Frame::Entry(content)) => {
                let entry = Entry::decode(content)
                    .map_err(|error| StoreError::Damaged { position, reason: error.to_string() })?;
                if entry.header.space == self.space
                    && !self.take_entry(store, position, &entry, check, page)?
                {
                    return Ok(());
                }
            }
            Ok(Frame::Fork(content)) => self.take_fork(position, content, check, page),
            Ok(Frame::Genesis(_) | Frame::Space(_)) => {}
            Err(unknown) => return Err(unknown.at(position)),
        }
        self.see(FeedPosition::behind(position), check);
        Ok(())
    }

    /// The consumer has seen everything up to a place.
    fn see(&mut self, place: FeedPosition, check: [u8; 8]) {
        self.after = Some(place);
        self.cursor.seen = Some(Seen { place, check });
    }

    fn take_fork(
        &mut self,
        position: Position,
        content: &[u8],
        check: [u8; 8],
        page: &mut Filling,
    ) {
        let Ok(fork) = codec::decode::<ForkProof>("fork", content) else { return };
        let header = &fork.lower.0;
        if header.space == self.space {
            self.records.clear();
            self.see(FeedPosition::behind(position), check);
            let item = Item::Fork { author: header.author, seq: header.seq };
            page.push(FeedEvent { cursor: self.cursor.clone(), item });
        }
    }

    /// Tells the changes of an entry. `false`: the page was full before its end.
    fn take_entry(
        &mut self,
        store: &impl ReadStore,
        position: Position,
        entry: &Entry,
        check: [u8; 8],
        page: &mut Filling,
    ) -> Result<bool, StoreError> {
        let header = &entry.header;
        let log = logs::log_among(store, &self.forks, header, &entry.hash)?;
        let key = logs::entry(header.space, log, header.seq);
        let row: Option<EntryRow> = row(store, "entry row", &key)?;
        // What came twice has the row of its other place.
        let row = row.filter(|row| row.position() == position && row.hash == entry.hash);
        match row.map(|row| row.status) {
            Some(EntryStatus::Applied) => {}
            Some(EntryStatus::Held) => {
                let format = payload_format(store)?;
                self.cursor.owed.held.get_or_insert((position, format));
                return Ok(true);
            }
            Some(EntryStatus::Void) | None => return Ok(true),
        }
        let Ok(Body::Transactions(transactions)) = entry.body() else { return Ok(true) };
        let reported =
            self.after.filter(|place| place.position == position).map(|place| place.index);
        let actor = ChangeActor::of(header.author, log);
        let mut index = 0;
        for (transaction, number) in transactions.iter().zip(0..) {
            let collections = transaction.changes.iter().map(|write| write.collection.as_str());
            let last_of: BTreeMap<&str, usize> = collections.zip(0..).collect();
            for (write, nth) in transaction.changes.iter().zip(0..) {
                let at = ChangeAt { position: position.0, index };
                index += 1;
                if reported.is_some_and(|reported| at.index <= reported)
                    || !self.wants(&write.collection)
                {
                    continue;
                }
                let RecordWrite { collection, id, change } = write.clone();
                let key = RecordKey { space: self.space, collection, id };
                let values = self.records.values(store, &key, actor, &change, at)?;
                let mut values = match values {
                    Ok(values) => Ok(values),
                    Err(NoValues { reason, damaged }) => {
                        if let Some(damaged) = damaged {
                            self.owe_values(store, damaged)?;
                        }
                        Err(reason)
                    }
                };
                if let Ok(Values { before: Some(_), .. }) = &values
                    && self.is_of_events(store, &key.collection)?
                {
                    values = of_event(store, &key, actor, &change, values)?;
                }
                let change = Change {
                    key,
                    hash: change.hash(),
                    entry: EntryId { author: log, seq: header.seq },
                    time_ms: header.time_ms,
                    transaction: number,
                    origin: transaction.origin.clone(),
                    is_last: nth + 1 == transaction.changes.len(),
                    is_last_of_collection: last_of.get(write.collection.as_str()) == Some(&nth),
                    values,
                };
                self.see(FeedPosition { position, index: at.index }, check);
                let item = Item::Change(Box::new(change));
                page.push(FeedEvent { cursor: self.cursor.clone(), item });
                if page.is_full() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a collection is one of events now.
    fn is_of_events(
        &mut self,
        tables: &impl ReadTables,
        collection: &str,
    ) -> Result<bool, StoreError> {
        if let Some(known) = self.events.get(collection) {
            return Ok(*known);
        }
        let schema = read::schema(tables, self.space, collection)?;
        let is_of_events = schema.is_some_and(|schema| schema.is_of_events());
        self.events.insert(collection.to_owned(), is_of_events);
        Ok(is_of_events)
    }

    fn wants(&self, collection: &str) -> bool {
        self.collection.as_ref().is_none_or(|wanted| wanted == collection)
    }
}

/// What a change of an event, which is never shown, or a first change of it from another site is reported as: the event as it
/// is shown now.
fn of_event(
    tables: &impl ReadTables,
    key: &RecordKey,
    actor: ChangeActor,
    change: &RecordChange,
    values: Result<Values, String>,
) -> Result<Result<Values, String>, StoreError> {
    let Some(shown) = read::record(tables, key)? else { return Ok(values) };
    let is_first = change.parse(actor).is_ok_and(|parsed| parsed.is_first());
    Ok(values.map(|Values { before, .. }| {
        if is_first {
            Values { before, after: shown }
        } else {
            Values { before: Some(shown.clone()), after: shown }
        }
    }))
}

/// A page that is being filled.
struct Filling {
    reported: Vec<FeedEvent>,
    bytes: usize,
    bounds: PageBounds,
}

impl Filling {
    fn push(&mut self, reported: FeedEvent) {
        self.bytes += reported.json_bytes();
        self.reported.push(reported);
    }

    fn is_full(&self) -> bool {
        self.reported.len() >= self.bounds.items_max || self.bytes >= self.bounds.bytes_max
    }
}
