//! Applying: records that wait become rows, in one transaction of the database together with the batch's number.
//!
//! A row is written only where it is as its view says, under its lock: one that the application has changed meanwhile is
//! left alone until that is drained, and then merges as any two concurrent edits do.

pub(super) mod acknowledge;
pub(super) mod listen;
mod trade;
pub(super) mod wanted;

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::query::Filter;
use branchline_crdt::record::Version;

use super::compare::set_aside;
use super::rows::{cells_of, is_as_viewed};
use super::trial::BridgeMistake;
use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::cell::Key;
use crate::sql::config::Mode;
use crate::sql::database::{DbError, DbErrorClass, Engine, Read};
use crate::sql::mapping::Mapping;
use crate::sql::shape::Bound;
use crate::sql::state::{BeforeBatch, Direction, Phase, Quarantined, Steps, View, ViewChange};
use wanted::{Wanted, Write, judge, refused, rewritten};

/// Records that are applied at a time: a transaction of some 10 ms.
const BATCH_MAX: usize = 1_000;
/// The same of a SQLite file, whose writers wait meanwhile.
const BATCH_MAX_SQLITE: usize = 500;
/// Set-aside records that are tried again at a time.
const RETRIES_MAX: usize = 100;

/// How often a row that is not as the node knows it is waited for.
const POSTPONED_TIMES: u8 = 5;
/// Rows of which that is counted; beyond it counting starts over.
const POSTPONED_MAX: usize = 10_000;

/// What becomes of a batch.
#[derive(Default)]
struct Batch {
    views: Vec<ViewChange>,
    /// Of the rows that are written, what their views were.
    before: Vec<ViewChange>,
    done: Vec<(u32, String)>,
    aside: Vec<Quarantined>,
    released: BTreeMap<u32, Vec<String>>,
    rows: BTreeMap<u32, u64>,
}

/// What became of rows that were to be written.
#[derive(Default)]
struct WrittenRows {
    written: Vec<Wanted>,
    /// They were to be inserted, and are there already.
    there: Vec<Wanted>,
    /// The database does not take them.
    refused: Vec<(Wanted, DbError)>,
}

impl BridgeWorker {
    /// One batch of waiting records; returns whether there may be more.
    pub(super) async fn apply(&mut self) -> Result<bool, BridgeFailure> {
        let mut has_more = self.catch_up().await?;
        let mut batch = Batch::default();
        let mut wanted: Vec<(Mapping, Vec<Wanted>)> = Vec::new();
        let mut room = match self.database.engine() {
            Engine::Sqlite => BATCH_MAX_SQLITE,
            Engine::Postgres | Engine::MariaDb => BATCH_MAX,
        };
        if self.single_left > 0 {
            self.single_left -= 1;
            room = 1;
        }
        for number in self.order.clone() {
            let is_ready = self.works(number)
                && self
                    .tables
                    .get(&number)
                    .is_some_and(|table| matches!(table.phase, Phase::Listing | Phase::Running));
            let mapping = self.mappings.get(&number).filter(|mapping| mapping.mode.applies());
            let Some(mapping) = mapping.filter(|_| is_ready && room > 0).cloned() else { continue };
            let mut ids = self.state.waiting(number, room).await?;
            has_more |= ids.len() >= room;
            let due = self.due_records(number, room.saturating_sub(ids.len())).await?;
            ids.extend(due);
            room = room.saturating_sub(ids.len());
            if ids.is_empty() {
                continue;
            }
            let of_table = self.wanted(&mapping, ids, &mut batch).await?;
            wanted.push((mapping, of_table));
        }
        if wanted.iter().all(|(_, wanted)| wanted.is_empty()) {
            self.settle(batch).await?;
            return Ok(has_more);
        }
        self.write_batch(wanted, batch).await?;
        Ok(has_more)
    }

    /// What records of a table ask of their rows. What asks for nothing is done with.
    async fn wanted(
        &mut self,
        mapping: &Mapping,
        ids: Vec<String>,
        batch: &mut Batch,
    ) -> Result<Vec<Wanted>, BridgeFailure> {
        let number = mapping.bound.number;
        let views = self.state.views_of_records(number, mapping.bound.key.len(), &ids).await?;
        let unique: BTreeSet<String> = ids.into_iter().collect();
        let records = self.records(&mapping.collection, unique.clone()).await?;
        let filter = self.filter(mapping)?;
        let blocked = self.rows_set_aside(number, &views).await?;
        let mut wanted = Vec::new();
        for id in unique {
            let (view, record) = (views.get(&id), records.get(&id));
            // A row that the application has changed into something that no record can keep is left alone.
            if view.is_some_and(|view| blocked.contains(&view.key.to_text())) {
                continue;
            }
            match judge(mapping, filter.as_ref(), &id, view, record) {
                Ok(Some(row)) => wanted.push(row),
                Ok(None) => {
                    // Row and record agree: the row stands for the record as it is now.
                    if let (Some(view), Some(record)) = (view, record) {
                        let version = Some(Version::of(record));
                        if view.version != version {
                            let view = View { version, ..view.clone() };
                            batch.views.push(ViewChange::Set(number, view));
                        }
                    }
                    batch.released.entry(number).or_default().push(id.clone());
                    batch.done.push((number, id));
                }
                Err(misfits) => {
                    batch.aside.extend(
                        misfits
                            .first()
                            .map(|misfit| set_aside(number, Direction::Apply, id.clone(), misfit)),
                    );
                }
            }
        }
        Ok(wanted)
    }

    /// Set-aside records that are to be tried again.
    async fn due_records(
        &mut self,
        number: u32,
        room: usize,
    ) -> Result<Vec<String>, BridgeFailure> {
        if !self.aside.contains(&number) {
            return Ok(Vec::new());
        }
        let room = room.min(RETRIES_MAX);
        let due = self.state.due(number, Direction::Apply, now_ms(), room).await?;
        Ok(due.into_iter().map(|item| item.name).collect())
    }

    /// The rows of these views that could not be captured as they are.
    async fn rows_set_aside(
        &mut self,
        number: u32,
        views: &BTreeMap<String, View>,
    ) -> Result<BTreeSet<String>, BridgeFailure> {
        if !self.aside.contains(&number) {
            return Ok(BTreeSet::new());
        }
        let keys: Vec<String> = views.values().map(|view| view.key.to_text()).collect();
        Ok(self.state.set_aside_of(number, Direction::Capture, &keys).await?)
    }

    fn filter(&self, mapping: &Mapping) -> Result<Option<Filter>, BridgeFailure> {
        mapping.filter().map_err(|error| {
            BridgeFailure::Rest(format!(
                "the filter of table {} cannot be read: {error}; mend it in branchline.toml, then `branchline reload` and \
                 `branchline bridge resume {}`",
                mapping.bound.table, self.name
            ))
        })
    }

    /// Writes a batch. The state has it before the database commits it, together with what held before, so that after a
    /// crash the database's number tells which of both holds.
    async fn write_batch(
        &mut self,
        wanted: Vec<(Mapping, Vec<Wanted>)>,
        mut batch: Batch,
    ) -> Result<(), BridgeFailure> {
        let number = self.progress.applied + 1;
        let (mut tables, mut names) = (Vec::new(), Vec::new());
        for (mapping, rows) in wanted {
            let table = mapping.bound.number;
            let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
            names.extend(rows.iter().map(|row| (table, row.id.clone())));
            let views = self.state.views(table, &keys).await?;
            let goes = |row: &Wanted| matches!(row.write, Write::Delete);
            let (gone, present): (Vec<_>, Vec<_>) = rows.into_iter().partition(goes);
            tables.push((mapping, present, gone, views));
        }
        self.begin_write(Some(number)).await?;
        // Parents before children, and what goes the other way round.
        for (mapping, present, _, views) in &mut tables {
            self.write_table(mapping, std::mem::take(present), views, &mut batch).await?;
        }
        for (mapping, _, gone, views) in tables.iter_mut().rev() {
            self.write_table(mapping, std::mem::take(gone), views, &mut batch).await?;
        }
        self.database.guard(None).await?;
        self.database.check().await?;
        let before =
            BeforeBatch { views: std::mem::take(&mut batch.before), waiting: batch.done.clone() };
        let progress = self.progress.clone();
        let (views, done) = (std::mem::take(&mut batch.views), std::mem::take(&mut batch.done));
        let steps =
            Steps { progress: Some(&progress), views: &views, done: &done, ..Steps::default() };
        self.is_unsettled = true;
        self.state.keep_batch(number, &before, steps).await?;
        self.kept_generation = progress.generation;
        self.trial.step().await;
        match self.commit().await {
            Ok(()) => {}
            // Something that is checked as late as that, and the database does not say of which row.
            Err(error) if error.class == DbErrorClass::Row => {
                return self.commit_refused(names, &error).await;
            }
            Err(error) => return Err(error.into()),
        }
        self.is_unsettled = false;
        self.progress.applied = number;
        self.progress.generation += 1;
        self.settle(batch).await
    }

    /// A batch was refused as a whole: its records are tried one by one, and one alone is set aside.
    async fn commit_refused(
        &mut self,
        records: Vec<(u32, String)>,
        error: &DbError,
    ) -> Result<(), BridgeFailure> {
        self.database.roll_back().await;
        self.state.settle_batch(&self.progress, false).await?;
        self.is_unsettled = false;
        if records.len() > 1 {
            self.single_left = u32::try_from(2 * BATCH_MAX).unwrap_or(u32::MAX);
            return Ok(());
        }
        let alone = records.into_iter().map(|(table, id)| refused(table, id, error));
        self.set_aside(&alone.collect::<Vec<_>>()).await
    }

    /// Keeps what a batch has come to.
    async fn settle(&mut self, batch: Batch) -> Result<(), BridgeFailure> {
        let Batch { views, before: _, done, aside, released, rows } = batch;
        // What is set aside waits as well, so that no crash forgets it.
        self.set_aside(&aside).await?;
        if !(views.is_empty() && done.is_empty()) {
            let progress = self.progress.clone();
            let steps =
                Steps { progress: Some(&progress), views: &views, done: &done, ..Steps::default() };
            self.state.keep(steps).await?;
        }
        self.trial.step().await;
        for (table, names) in released {
            self.release(table, Direction::Apply, &names).await?;
        }
        let has_written = rows.values().any(|count| *count > 0);
        for (table, count) in rows {
            self.counts.of(table).rows_out += count;
        }
        if has_written && !self.aside.is_empty() {
            // A parent that came, or a row that made room, may have been all that was missing.
            self.state.hasten_blocked(now_ms()).await?;
        }
        Ok(())
    }

    /// Writes rows of one table, as far as they are as their views say, and reads back what the database made of them.
    async fn write_table(
        &mut self,
        mapping: &Mapping,
        wanted: Vec<Wanted>,
        views: &BTreeMap<Key, View>,
        batch: &mut Batch,
    ) -> Result<(), BridgeFailure> {
        if wanted.is_empty() {
            return Ok(());
        }
        let bound = &mapping.bound;
        self.database.guard(Some(bound)).await?;
        // Of a row that nobody knows, its insertion by key tells whether it is there after all.
        let is_new =
            |row: &Wanted| matches!(row.write, Write::Insert(_)) && !views.contains_key(&row.key);
        let (new, mut known): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(is_new);
        let WrittenRows { mut written, there, refused: mut aside } =
            self.write_rows(bound, new).await?;
        known.extend(there);
        let known = self.as_known(mapping, known, views, batch).await?;
        let more = self.write_rows(bound, known).await?;
        // A row that came meanwhile is the application's: it is drained first.
        self.postpone(bound, more.there, batch).await?;
        written.extend(more.written);
        let (traded, refused_all_the_same) = self.trade(mapping, more.refused, views).await?;
        written.extend(traded);
        aside.extend(refused_all_the_same);
        let items = aside.into_iter().map(|(row, error)| refused(bound.number, row.id, &error));
        batch.aside.extend(items);
        self.read_back(mapping, written, views, batch).await
    }

    /// Of rows that are to be written, under their locks, those that are as their views say.
    async fn as_known(
        &mut self,
        mapping: &Mapping,
        wanted: Vec<Wanted>,
        views: &BTreeMap<Key, View>,
        batch: &mut Batch,
    ) -> Result<Vec<Wanted>, BridgeFailure> {
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let bound = &mapping.bound;
        let keys: Vec<Key> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
        let locked = self.database.lock(bound, &keys).await?;
        let locked: BTreeMap<Key, Read> =
            locked.into_iter().map(|read| (read.key.clone(), read)).collect();
        let (mut ready, mut postponed) = (Vec::new(), Vec::new());
        for wanted in wanted {
            let (row, view) = (locked.get(&wanted.key), views.get(&wanted.key));
            let is_as_known = match (row, view) {
                (None, None) => true,
                (Some(row), Some(view)) => is_as_viewed(mapping, &row.row, view),
                (Some(_), None) | (None, Some(_)) => false,
            };
            match is_as_known {
                true => ready.push(wanted),
                false if self.trial.makes(BridgeMistake::Blindly) => ready.push(wanted),
                false if mapping.mode == Mode::Apply => {
                    ready.push(rewritten(mapping, &wanted, row));
                }
                false => postponed.push(wanted),
            }
        }
        self.postpone(bound, postponed, batch).await?;
        Ok(ready)
    }

    /// Rows that are not as the node knows them wait until they are drained. One that stays so, because no record stands for
    /// it as it is, is set aside.
    async fn postpone(
        &mut self,
        bound: &Bound,
        rows: Vec<Wanted>,
        batch: &mut Batch,
    ) -> Result<(), BridgeFailure> {
        let mut keys = Vec::new();
        if self.postponed.len() > POSTPONED_MAX {
            self.postponed.clear();
        }
        for row in rows {
            let times = self.postponed.entry((bound.number, row.key.clone())).or_insert(0);
            *times += 1;
            if *times <= POSTPONED_TIMES {
                keys.push(row.key);
                continue;
            }
            self.postponed.remove(&(bound.number, row.key.clone()));
            let what = "the row is not what the bridge carries: it is outside of the filter, deleted, or set aside itself; \
                        the record is written over it once it is as the node knows it, or removed";
            let (number, what) = (bound.number, what.to_owned());
            batch.aside.push(Quarantined::new(number, Direction::Apply, row.id, what));
        }
        if !keys.is_empty() {
            // Its note may be there already; one more does no harm.
            self.database.note(bound, &keys).await?;
        }
        Ok(())
    }

    /// Writes rows; where the database refuses some, in ever smaller parts, until those are found.
    async fn write_rows(
        &mut self,
        bound: &Bound,
        rows: Vec<Wanted>,
    ) -> Result<WrittenRows, BridgeFailure> {
        let mut done = WrittenRows::default();
        let mut parts = vec![rows];
        while let Some(mut part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            self.database.savepoint().await?;
            match self.write_part_of(bound, &part).await {
                Ok(present) => {
                    let present: BTreeSet<Key> = present.into_iter().collect();
                    for row in part {
                        let is_there = present.contains(&row.key);
                        let to = if is_there { &mut done.there } else { &mut done.written };
                        to.push(row);
                    }
                }
                Err(error) if error.class == DbErrorClass::Row => {
                    self.database.undo().await?;
                    if part.len() == 1 {
                        done.refused.extend(part.pop().map(|row| (row, error)));
                    } else {
                        let half = part.split_off(part.len() / 2);
                        parts.push(half);
                        parts.push(part);
                    }
                }
                Err(error) if error.class == DbErrorClass::Schema => {
                    self.judge(bound.number, error).await?;
                    return Err(BridgeFailure::Refused(format!("table {} stopped", bound.table)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    async fn write_part_of(&mut self, bound: &Bound, rows: &[Wanted]) -> Result<Vec<Key>, DbError> {
        let (mut inserts, mut updates, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            match &row.write {
                Write::Insert(insert) => inserts.push(insert.clone()),
                Write::Update(update) => updates.push(update.clone()),
                Write::Delete => deletes.push(row.key.clone()),
            }
        }
        let mut present = Vec::new();
        if !inserts.is_empty() {
            present = self.database.insert(bound, &inserts).await?;
        }
        if !updates.is_empty() {
            self.database.update(bound, &updates).await?;
        }
        if !deletes.is_empty() {
            self.database.delete(bound, &deletes).await?;
        }
        let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
        self.database.forget(bound, &keys).await?;
        self.database.check().await?;
        Ok(present)
    }

    /// What the database made of the rows is their view, so that nothing bounces.
    async fn read_back(
        &mut self,
        mapping: &Mapping,
        written: Vec<Wanted>,
        views: &BTreeMap<Key, View>,
        batch: &mut Batch,
    ) -> Result<(), BridgeFailure> {
        if written.is_empty() {
            return Ok(());
        }
        let number = mapping.bound.number;
        let keys: Vec<Key> = written.iter().map(|row| row.key.clone()).collect();
        let rows = self.database.rows(&mapping.bound, &keys).await?;
        let mut rows: BTreeMap<Key, Read> =
            rows.into_iter().map(|read| (read.key.clone(), read)).collect();
        for Wanted { id, key, version, write } in written {
            let is_done = rows.contains_key(&key) || !matches!(write, Write::Update(_));
            batch.before.push(match views.get(&key) {
                Some(view) => ViewChange::Set(number, view.clone()),
                None => ViewChange::Drop(number, key.clone()),
            });
            batch.views.push(match rows.remove(&key) {
                Some(read) => {
                    let cells = cells_of(mapping, read.row);
                    let view = View { key, id: id.clone(), version: Some(version), cells };
                    ViewChange::Set(number, view)
                }
                None => ViewChange::Drop(number, key),
            });
            *batch.rows.entry(number).or_default() += 1;
            batch.released.entry(number).or_default().push(id.clone());
            // A row that vanished meanwhile is inserted next time.
            if is_done {
                batch.done.push((number, id));
            }
        }
        Ok(())
    }
}
