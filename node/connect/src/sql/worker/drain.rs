//! Draining: notes and the rows that they name, read in one snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::compare::LookedUpRow;
use super::load::{PAGE_BYTES, is_gone};
use super::rows::was_deleted;
use super::trial::BridgeMistake;
use super::{BridgeFailure, BridgeWorker, now_ms};
use crate::sql::cell::Key;
use crate::sql::database::{DbError, DbErrorClass, Engine, Note};
use crate::sql::mapping::Mapping;
use crate::sql::shape::Bound;
use crate::sql::state::{Direction, Phase};

/// Notes that are read at a time: a snapshot of some MB that is over within a fraction of a second.
const NOTES_MAX: usize = 10_000;
/// The same of a SQLite file, whose writers wait meanwhile.
const NOTES_MAX_SQLITE: usize = 2_000;
/// So many deletions at once are never taken for a mass change.
const DELETIONS_ALLOWED: u64 = 10;
/// How many times as long as a write took a SQLite file is not written again while its application writes: one in four of
/// the application's writes meets the bridge's then, and waits for some ms, or is refused where it does not wait.
const TURNS: u32 = 3;
/// The same while the application is quiet: its next write is through by its second or third try.
const TURNS_QUIET: u32 = 1;
/// How long ago an application's last write must be for it to be quiet. One that writes no more often than that meets the
/// bridge less often at every second write than a busy one at every fourth.
const QUIET: Duration = Duration::from_secs(3);
/// Set-aside rows that are tried again at a time.
const RETRIES_MAX: usize = 100;

/// Writes of which the state may not know; what is written with them keeps most in any case.
pub(super) const UNKEPT_MAX: i64 = 4;

/// What a snapshot held.
#[derive(Default)]
struct Drained {
    notes: Vec<Note>,
    /// By table; a key without a row: there is none.
    found: BTreeMap<u32, Vec<LookedUpRow>>,
    /// Tables that were truncated, or of which a key was NULL: all of their rows are looked at.
    unclear: BTreeSet<u32>,
    /// Whether there may be more.
    has_more: bool,
}

impl BridgeWorker {
    /// Takes up what notes say, if there are any; returns whether there may be more.
    pub(super) async fn drain(&mut self) -> Result<bool, BridgeFailure> {
        if !self.database.has_notes().await? {
            return Ok(false);
        }
        let drained = match self.snapshot().await {
            Ok(drained) => drained,
            Err((Some(table), error)) if error.class == DbErrorClass::Schema => {
                self.judge(table, error).await?;
                return Ok(true);
            }
            Err((_, error)) => return Err(error.into()),
        };
        self.trial.step().await;
        let Drained { notes, found, unclear, has_more } = drained;
        if notes.is_empty() && !has_more {
            return Ok(false);
        }
        if self.trial.makes(BridgeMistake::NotesFirst) {
            self.delete_notes(&notes).await?;
        }
        let mut planned = Vec::new();
        for (number, mut found) in found {
            if self.tables.get(&number).is_some_and(|table| table.phase == Phase::FromCollection) {
                // Rows that are yet to be read are read as they are then.
                let keys: Vec<Key> = found.iter().map(|found| found.key.clone()).collect();
                let known = self.state.views(number, &keys).await?;
                found.retain(|found| known.contains_key(&found.key));
            }
            if self.is_mass_change(number, &found, has_more).await? {
                continue;
            }
            self.counts.of(number).rows_in += found.len() as u64;
            let is_loading = self.is_loading(number);
            planned.extend(self.compare(number, found, is_loading).await?);
        }
        self.write(planned).await?;
        for number in unclear {
            self.compare_again(number).await?;
        }
        self.reread_tables().await?;
        self.trial.step().await;
        self.delete_notes(&notes).await?;
        self.trial.step().await;
        Ok(has_more)
    }

    fn notes_max(&self) -> usize {
        match self.database.engine() {
            Engine::Sqlite => NOTES_MAX_SQLITE,
            Engine::Postgres | Engine::MariaDb => NOTES_MAX,
        }
    }

    /// Reads notes and rows. The error names the table that was being read.
    async fn snapshot(&mut self) -> Result<Drained, (Option<u32>, DbError)> {
        let bounds: Vec<Bound> = self.captured().cloned().collect();
        let whole = |error| (None, error);
        self.database.begin_read(&bounds).await.map_err(whole)?;
        let notes = self.database.notes(self.notes_max()).await.map_err(whole)?;
        let mut keys: BTreeMap<u32, BTreeSet<Key>> = BTreeMap::new();
        let mut drained = Drained::default();
        let (mut bytes, mut unread) = (0, BTreeSet::new());
        for note in &notes {
            let Some(bound) = bounds.iter().find(|bound| bound.number == note.table) else {
                // A table that rests, or is no longer bridged: it is compared as a whole when it goes on.
                continue;
            };
            let key = note.key.as_deref().and_then(|key| Key::from_text(key, bound.key.len()));
            match key {
                Some(key) => {
                    keys.entry(note.table).or_default().insert(key);
                }
                None => {
                    drained.unclear.insert(note.table);
                }
            }
        }
        for bound in &bounds {
            let Some(keys) = keys.remove(&bound.number) else { continue };
            let mut keys: Vec<Key> = keys.into_iter().collect();
            let mut found = Vec::new();
            while !keys.is_empty() {
                if bytes >= PAGE_BYTES {
                    unread.extend(keys.drain(..).map(|key| (bound.number, key.to_text())));
                    break;
                }
                let room = self.rows_at_a_time(bound.number).min(keys.len());
                let part: Vec<Key> = keys.drain(..room).collect();
                let rows = self.database.rows(bound, &part).await;
                let rows = rows.map_err(|error| (Some(bound.number), error))?;
                bytes += self.note_size(bound.number, &rows);
                found.extend(LookedUpRow::of(part, rows));
            }
            drained.found.insert(bound.number, found);
        }
        // What was not read stays noted; PostgreSQL's notes go by whole transactions.
        let is_unread = |note: &&Note| {
            let key = note.key.clone().unwrap_or_default();
            unread.contains(&(note.table, key))
        };
        let kept: BTreeSet<String> =
            notes.iter().filter(is_unread).map(|note| note.id.clone()).collect();
        drained.has_more = notes.len() >= self.notes_max() || !unread.is_empty();
        let notes: Vec<Note> = notes.into_iter().filter(|note| !kept.contains(&note.id)).collect();
        self.database.end_read().await.map_err(whole)?;
        drained.notes = notes;
        Ok(drained)
    }

    /// The captured tables that work.
    fn captured(&self) -> impl Iterator<Item = &Bound> {
        let bounds = self.mappings.values().map(|mapping| &mapping.bound);
        bounds.filter(|bound| bound.is_captured && self.works(bound.number))
    }

    /// Deletes notes whose effect is durable.
    async fn delete_notes(&mut self, notes: &[Note]) -> Result<(), BridgeFailure> {
        self.begin_write(None).await?;
        self.database.delete_notes(notes).await?;
        self.commit().await?;
        self.progress.generation += 1;
        Ok(())
    }

    /// Commits a write. A file's application waits, or is refused, while the bridge writes: it then has its turn for
    /// longer than that took.
    pub(super) async fn commit(&mut self) -> Result<(), DbError> {
        self.trial.step().await;
        self.database.commit().await?;
        self.trial.step().await;
        if self.database.engine() == Engine::Sqlite {
            let now = Instant::now();
            let is_quiet = self.database.quiet_for().is_some_and(|quiet| quiet > QUIET);
            let turns = if is_quiet { TURNS_QUIET } else { TURNS };
            self.rest_until = now + (now - self.written_since) * turns;
        }
        Ok(())
    }

    /// Begins a write under the bridge's token and generation. The state knows all but the last few writes, so that a
    /// database which is ahead of it by more was written by somebody else.
    pub(super) async fn begin_write(&mut self, applied: Option<i64>) -> Result<(), BridgeFailure> {
        if self.progress.generation - self.kept_generation >= UNKEPT_MAX {
            self.keep_progress().await?;
        }
        let (token, generation) = (self.progress.token.clone(), self.progress.generation);
        tokio::time::sleep_until(self.rest_until).await;
        self.written_since = Instant::now();
        if self.database.begin_write(&token, generation, applied).await? {
            return Ok(());
        }
        // Another process has written under this bridge's name since: `open` tells what is the matter.
        Err(BridgeFailure::Leased(
            "the database's context is not as this node left it: another node works on it, or it was restored".to_owned(),
        ))
    }

    /// Whether so many rows of a table were deleted at once that a person has to look; the table stops then.
    async fn is_mass_change(
        &mut self,
        number: u32,
        found: &[LookedUpRow],
        has_more: bool,
    ) -> Result<bool, BridgeFailure> {
        let Some(mapping) = self.mappings.get(&number).cloned() else { return Ok(false) };
        let gone: Vec<Key> = found
            .iter()
            .filter(|found| is_gone(&mapping, found.row.as_ref()))
            .map(|found| found.key.clone())
            .collect();
        if gone.len() as u64 <= DELETIONS_ALLOWED {
            return Ok(false);
        }
        let views = self.state.views(number, &gone).await?;
        let known =
            views.values().filter(|view| !was_deleted(&mapping, &view.cells)).count() as u64;
        if known <= DELETIONS_ALLOWED {
            return Ok(false);
        }
        let mut deleted = known;
        // Where most of this part are deletions, so may be what waits behind it.
        if has_more && known * 2 > found.len() as u64 {
            deleted = deleted.max(self.database.notes_waiting().await?);
        }
        let all = self.state.view_count(number).await?;
        self.stop_if_mass_change(&mapping, deleted.min(all), all).await
    }

    /// Stops a table of which a larger part was deleted than may be without a person's word.
    pub(super) async fn stop_if_mass_change(
        &mut self,
        mapping: &Mapping,
        deleted: u64,
        all: u64,
    ) -> Result<bool, BridgeFailure> {
        #[allow(clippy::cast_precision_loss, reason = "a share of some millions")]
        let is_mass =
            deleted > DELETIONS_ALLOWED && deleted as f64 > all as f64 * mapping.mass_change;
        if is_mass {
            let what = format!(
                "{deleted} of {all} rows of {table} were deleted at once: decide whether they are to go everywhere \
                 (`branchline bridge resync {name} {table} --from database`) or to come back \
                 (`branchline bridge resync {name} {table} --from collection`)",
                table = mapping.bound.table,
                name = self.name,
            );
            self.stop_table(mapping.bound.number, &what).await?;
        }
        Ok(is_mass)
    }

    /// Looks again at rows that were set aside and are due.
    pub(super) async fn retry_captures(&mut self) -> Result<(), BridgeFailure> {
        let bounds: Vec<Bound> = self.captured().cloned().collect();
        for bound in bounds {
            if !self.aside.contains(&bound.number) {
                continue;
            }
            let due =
                self.state.due(bound.number, Direction::Capture, now_ms(), RETRIES_MAX).await?;
            let key = |name: &str| Key::from_text(name, bound.key.len());
            let keys: Vec<Key> = due.iter().filter_map(|item| key(&item.name)).collect();
            if keys.is_empty() {
                continue;
            }
            let found = self.read_rows(&bound, keys).await?;
            let planned = self.compare(bound.number, found, false).await?;
            self.write(planned).await?;
        }
        Ok(())
    }

    /// Reads rows in a snapshot of their own.
    pub(super) async fn read_rows(
        &mut self,
        bound: &Bound,
        keys: Vec<Key>,
    ) -> Result<Vec<LookedUpRow>, BridgeFailure> {
        self.database.begin_read(std::slice::from_ref(bound)).await?;
        let rows = self.database.rows(bound, &keys).await?;
        self.database.end_read().await?;
        Ok(LookedUpRow::of(keys, rows))
    }
}
