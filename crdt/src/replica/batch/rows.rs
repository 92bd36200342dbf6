//! The rows that a group leaves in the tables: entries, logs, records, and what follows from these.

use std::collections::BTreeMap;

use super::Batch;
use super::foresight::Foresight;
use super::seal::Named;
use super::stage::{Stage, StagedChange, StagedEntry};
use crate::events::Firsts;
use crate::format::codec;
use crate::format::digest::record_hash;
use crate::ids::SpaceId;
use crate::record::{RecordSummary, SCHEMA_COLLECTION};
use crate::replica::Notice;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::store::read;
use crate::store::tables::logs::{self, ActorRow, EntryRow, EntryStatus};
use crate::store::tables::records::{self, ChangeAt, Changes, CollectionRow, RecordKey, RecordRow};
use crate::store::{Position, ReadStore, RowWrite, Store, StoreError};

impl Batch {
    /// Makes the rows of the batch, whose entries are at `positions`. The stage then has its records' changes no more, nothing is
    /// foreseen of these records, and those that cannot be read are noted and reported.
    pub(in crate::replica) fn make_rows<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        positions: &[Position],
        named: &Named,
    ) -> Result<Vec<RowWrite>, StoreError> {
        let mut rows: Vec<RowWrite> = Vec::new();
        if let Some(genesis) = &self.stage.genesis {
            rows.push((logs::GENESIS.to_vec(), Some(codec::encode(genesis))));
        }
        for document in &self.stage.spaces {
            rows.push((logs::space(document.realm()), Some(codec::encode(document))));
        }
        for (staged, position) in self.stage.entries.iter().zip(positions) {
            entry_rows(staged, *position, &mut rows);
        }
        for (actor, log) in &self.stage.branch_actors {
            let row = ActorRow { author: *log };
            rows.push((logs::actor(&actor.0), Some(codec::encode(&row))));
        }
        for hash in &self.stage.void_changes {
            rows.push((logs::void_change(hash), Some(Vec::new())));
        }
        for ((space, author, seq), reason) in &self.stage.void_reasons {
            let key = logs::void_reason(*space, *author, *seq);
            rows.push((key, Some(codec::encode(reason))));
        }
        for ((space, author), row) in &self.stage.logs {
            rows.push((logs::log(*space, *author), Some(codec::encode(row))));
        }
        for ((space, of, author), seq) in &named.logs {
            rows.push((logs::named(*space, *of, *author), Some(codec::encode(seq))));
        }
        self.record_rows(cx, out, positions, &mut rows)?;
        Ok(rows)
    }

    fn record_rows<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        positions: &[Position],
        rows: &mut Vec<RowWrite>,
    ) -> Result<(), StoreError> {
        let mut totals = Totals::default();
        let mut notices = Vec::new();
        let Stage { records, made, sealed, .. } = &mut self.stage;
        let group = GroupPositions { positions, sealed };
        for (key, made) in made {
            let Some(made) = made else { continue };
            forget_foreseen(&mut self.foresight, key);
            let totals = totals.of(cx.store, key)?;
            let is_only_change = made.before.is_none() && made.changes.len() == 1;
            let (mut before, mut after) = (made.before, Some(made.summary));
            let event = if self.indexes.is_of_events(key) && !is_only_change {
                let summaries = (&mut before, &mut after);
                Some(event_rows(cx.store, key, &made.changes, &group, summaries, rows)?)
            } else {
                None
            };
            group.add(key, std::mem::take(&mut made.changes), &mut made.places, rows)?;
            count(totals, key, before.as_ref(), after.as_ref());
            if event.is_none() {
                mark_conflict(key, made.before.as_ref(), Some(&made.summary), rows);
            }
            let first = event.as_ref().and_then(Firsts::saved);
            let changes = std::mem::take(&mut made.places);
            let row = RecordRow { changes, live: &made.saved, first: first.as_deref() };
            if self.indexes.concerns(key) {
                let moves = match made.moves.take().filter(|_| event.is_none()) {
                    Some(moves) => moves,
                    None => {
                        let is_new = made.before.is_none();
                        let before = if is_new { None } else { read::record(cx.store, key)? };
                        self.indexes.follow(key, before.as_ref(), &row.view()?, rows)
                    }
                };
                self.indexes.make(key, moves, rows);
            }
            rows.push((key.record(), Some(row.encode())));
        }
        for (key, record) in records {
            if record.changes.is_empty() {
                continue;
            }
            forget_foreseen(&mut self.foresight, key);
            let totals = totals.of(cx.store, key)?;
            let is_only_change = record.before.is_none() && record.changes.len() == 1;
            let is_event =
                self.indexes.is_of_events(key) && !is_only_change && record.document.is_ok();
            let (mut shown_before, mut shown) = (record.before, None);
            if let Ok(document) = &record.document {
                shown = document.summary();
            }
            let event = if is_event {
                let summaries = (&mut shown_before, &mut shown);
                Some(event_rows(cx.store, key, &record.changes, &group, summaries, rows)?)
            } else {
                None
            };
            group.add(key, std::mem::take(&mut record.changes), &mut record.places, rows)?;
            match &mut record.document {
                Ok(document) => {
                    let after = document.summary();
                    count(totals, key, shown_before.as_ref(), shown.as_ref());
                    let (live, first) = (document.save(), event.as_ref().and_then(Firsts::saved));
                    let changes = record.places.clone();
                    let row = RecordRow { changes, live: &live, first: first.as_deref() };
                    rows.push((key.record(), Some(row.encode())));
                    if self.indexes.concerns(key) {
                        let before = read::record(cx.store, key)?;
                        let view = event.as_ref().map_or_else(|| document.view(), Firsts::view);
                        let moves = self.indexes.follow(key, before.as_ref(), &view, rows);
                        self.indexes.make(key, moves, rows);
                    }
                    if event.is_none() {
                        mark_conflict(key, record.before.as_ref(), after.as_ref(), rows);
                    }
                }
                Err(reason) => {
                    self.unreadable.insert(key.clone(), reason.clone());
                    rows.push((key.unreadable(), Some(codec::encode(reason))));
                    let RecordKey { collection, id, .. } = key.clone();
                    notices.push(Notice::Unreadable { collection, id, reason: reason.clone() });
                }
            }
        }
        for (space, collection) in self.indexes.take_ended() {
            self.show_as_records(cx, space, &collection, &mut totals, rows)?;
        }
        rows.extend(totals.rows());
        notices.into_iter().for_each(|notice| out.notice(notice));
        Ok(())
    }

    /// The collection is no longer one of events: its records show all their changes again. No program of today writes such a
    /// schema where there are records.
    fn show_as_records<S: Store>(
        &self,
        cx: Context<'_, S>,
        space: SpaceId,
        collection: &str,
        totals: &mut Totals,
        rows: &mut Vec<RowWrite>,
    ) -> Result<(), StoreError> {
        read::each_row(cx.store, space, collection, None, |id, row| {
            let key = RecordKey { space, collection: collection.to_owned(), id: id.to_owned() };
            let is_staged =
                self.stage.made.contains_key(&key) || self.stage.records.contains_key(&key);
            if row.first.is_some() && !is_staged {
                let is_deleted = (row.view()?.deleted, row.whole_view()?.deleted);
                totals.of(cx.store, &key)?.move_one(is_deleted.0, is_deleted.1);
                rows.push((key.record(), Some(RecordRow { first: None, ..row }.encode())));
                rows.push((key.altered(), None));
            }
            Ok(true)
        })
    }
}

fn entry_rows(staged: &StagedEntry, position: Position, rows: &mut Vec<RowWrite>) {
    let StagedEntry { entry, status, origins, .. } = staged;
    let header = &entry.header;
    let row = EntryRow { position: position.0, hash: entry.hash, status: *status };
    rows.push((logs::entry(header.space, entry.log, header.seq), Some(codec::encode(&row))));
    if header.space == header.realm.membership_space() {
        let key = logs::membership_entry(header.space, entry.log, header.seq);
        rows.push((key, Some(entry.bytes().to_vec())));
    }
    if header.seq == 1 {
        let row = ActorRow { author: header.author };
        rows.push((logs::actor(&header.author.actor()), Some(codec::encode(&row))));
    }
    if *status == EntryStatus::Applied {
        let place = entry.id();
        let site = header.author.site;
        let row =
            |origin| (records::origin(header.space, site, origin), Some(codec::encode(&place)));
        rows.extend(origins.iter().map(row));
    }
}

/// What the collections hold, as the group leaves it.
#[derive(Default)]
struct Totals {
    /// By space, then name.
    collections: BTreeMap<SpaceId, BTreeMap<String, CollectionRow>>,
}

impl Totals {
    /// Those of a record's collection, read from the store on first use.
    fn of(
        &mut self,
        store: &impl Store,
        key: &RecordKey,
    ) -> Result<&mut CollectionRow, StoreError> {
        let collections = self.collections.entry(key.space).or_default();
        if !collections.contains_key(&key.collection) {
            let stored = read::collection(store, key.space, &key.collection)?;
            collections.insert(key.collection.clone(), stored);
        }
        match collections.get_mut(&key.collection) {
            Some(totals) => Ok(totals),
            None => unreachable!("the collection was inserted above"),
        }
    }

    fn rows(self) -> impl Iterator<Item = RowWrite> {
        let collections = self.collections.into_iter();
        collections.flat_map(|(space, collections)| {
            let row = move |(name, totals): (String, CollectionRow)| {
                (records::collection(space, &name), Some(codec::encode(&totals)))
            };
            collections.into_iter().map(row)
        })
    }
}

fn count(
    totals: &mut CollectionRow,
    key: &RecordKey,
    before: Option<&RecordSummary>,
    after: Option<&RecordSummary>,
) {
    let hash = |summary: &RecordSummary| record_hash(&key.collection, &key.id, &summary.digest);
    if let Some(before) = before {
        let counter = if before.deleted { &mut totals.deleted } else { &mut totals.live };
        *counter = counter.saturating_sub(1);
        totals.digest.remove(&hash(before));
    }
    if let Some(after) = after {
        *(if after.deleted { &mut totals.deleted } else { &mut totals.live }) += 1;
        totals.digest.add(&hash(after));
    }
}

/// Where the entries of the group are, and which of them its local transactions are in.
struct GroupPositions<'a> {
    positions: &'a [Position],
    sealed: &'a [(usize, u32)],
}

impl GroupPositions<'_> {
    /// Where a change of the group is.
    fn of(&self, key: &RecordKey, staged: &StagedChange) -> Result<ChangeAt, StoreError> {
        let at = staged.place.resolve(self.positions, self.sealed);
        at.ok_or_else(|| lost_place(key))
    }

    /// Adds a record's changes of the group to the places of its changes.
    fn add(
        &self,
        key: &RecordKey,
        changes: Vec<StagedChange>,
        places: &mut Changes,
        rows: &mut Vec<RowWrite>,
    ) -> Result<(), StoreError> {
        for staged in changes {
            places.push(self.of(key, &staged)?, |number, full| {
                rows.push((key.changes(number), Some(codec::encode(&full))));
            });
        }
        Ok(())
    }
}

/// Adds the group's changes to an event, pushes its marks, and sets `deleted` of both summaries to what is shown.
fn event_rows(
    store: &impl ReadStore,
    key: &RecordKey,
    changes: &[StagedChange],
    group: &GroupPositions<'_>,
    (before, after): (&mut Option<RecordSummary>, &mut Option<RecordSummary>),
    rows: &mut Vec<RowWrite>,
) -> Result<Firsts, StoreError> {
    let stored = store.get(&key.record())?;
    let stored = stored.as_deref().map(RecordRow::decode).transpose()?;
    if let (Some(before), Some(stored)) = (before, &stored) {
        before.deleted = stored.view()?.deleted;
    }
    let mut event = Firsts::stored(store, key, stored.as_ref())?;
    for staged in changes {
        event.add(staged.actor, &staged.change, group.of(key, staged)?);
    }
    if let (Some(after), Some(shown)) = (after, event.summary()) {
        after.deleted = shown.deleted;
    }
    rows.extend(marks_of_event(key, &event));
    Ok(event)
}

/// The rows that mark conflicts and changes of an event.
pub(in crate::replica) fn marks_of_event(key: &RecordKey, event: &Firsts) -> [RowWrite; 3] {
    let is_conflicted = event.summary().is_some_and(|summary| summary.conflicted);
    [
        (key.conflict(), is_conflicted.then(Vec::new)),
        (key.hidden(), None),
        (key.altered(), event.altered().map(|altered| codec::encode(&altered))),
    ]
}

fn mark_conflict(
    key: &RecordKey,
    before: Option<&RecordSummary>,
    after: Option<&RecordSummary>,
    rows: &mut Vec<RowWrite>,
) {
    let is_conflict = |summary: &RecordSummary| summary.conflicted && !summary.deleted;
    let mut mark = |row: Vec<u8>, is_so: &dyn Fn(&RecordSummary) -> bool| {
        let after = after.is_some_and(is_so);
        if after != before.is_some_and(is_so) {
            rows.push((row, after.then(Vec::new)));
        }
    };
    mark(key.conflict(), &is_conflict);
    mark(key.hidden(), &|summary| summary.hides_edits);
}

fn forget_foreseen(foresight: &mut Option<Foresight>, key: &RecordKey) {
    // Another schema may mean other indexes.
    if key.collection == SCHEMA_COLLECTION {
        *foresight = None;
    } else if let Some(foresight) = foresight {
        foresight.forget(key);
    }
}

fn lost_place(key: &RecordKey) -> StoreError {
    let RecordKey { collection, id, .. } = key;
    StoreError::Tables { reason: format!("a change of {collection}/{id} is in no entry") }
}
