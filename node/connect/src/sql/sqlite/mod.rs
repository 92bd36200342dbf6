//! SQLite: a file that an application on this machine has open too.
//!
//! There is one writer at a time, so every write of the bridge can refuse one of the application: writes are few and
//! short, one `BEGIN IMMEDIATE` each, and the worker paces them. No guard keeps the bridge's own writes out of the notes;
//! they are deleted in the same write ([`Database::forget`]), and what the application's triggers do stays noted.
//!
//! | file | step |
//! |---|---|
//! | `session` | the connection, and how statements get to it |
//! | `sql`, `install` | the SQL of rows; of outbox, context and triggers |
//! | `catalogue`, `types`, `judge` | what is there, and whether a bridge can work on it |
//! | `context`, `read`, `write` | the context row; notes and rows |
//! | `error` | what a result code means |

mod catalogue;
mod check;
mod context;
mod error;
mod install;
mod judge;
mod owners;
mod read;
mod session;
mod sql;
mod types;
mod write;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::cell::Key;
use super::database::{
    Blind, Context, Database, DbError, DbErrorClass, Engine, Insert, Mark, Note, Read, Update,
};
use super::shape::{Bound, TableShape};
use error::error;
use session::SqliteSession;

/// A SQLite file.
#[derive(Debug)]
pub struct SqliteDatabase {
    session: SqliteSession,
    /// How many columns the keys of the tables have, by number.
    key_lengths: BTreeMap<u32, usize>,
    /// `PRAGMA data_version` as it was last: it moves when another connection has committed.
    seen: Option<i64>,
    /// When another connection was last seen to have written; at first, when anybody has.
    others_wrote: Instant,
    /// Whether the file is in WAL mode, so that readers and the writer do not wait for each other.
    has_wal: bool,
    /// Whether notes may be there though it has not moved: left over, or made by our own writes.
    may_have_notes: bool,
    /// The greatest number of a note before the write that is under way.
    note_before: i64,
    /// Whether a table's definition has an ON CONFLICT clause, by the table's name.
    conflict_clauses: BTreeMap<String, bool>,
    /// Whether there are foreign keys that are checked at the commit; `None`: not known.
    has_deferred_keys: Option<bool>,
    /// What the write that is under way has written, if there are.
    written: Vec<(Bound, Vec<Key>)>,
    /// How much of it had been written at the savepoint; `None`: there is none.
    savepoint_at: Option<usize>,
    /// `PRAGMA schema_version` as it was last.
    schema: Option<i64>,
}

impl SqliteDatabase {
    /// Opens the file of `url`, `sqlite:PATH`, which must be there. After a `?`: `foreign_keys=off` for an application
    /// that does not check its foreign keys.
    ///
    /// # Errors
    /// [`DbErrorClass::Config`] where there is no such file, or a password was given; else what SQLite says.
    pub async fn connect(url: &str, password: Option<&str>) -> Result<Self, DbError> {
        if password.is_some() {
            let what = "a SQLite file has no password: remove password_file";
            return Err(error(DbErrorClass::Config, what));
        }
        let session = SqliteSession::open(url).await?;
        let written_ago = session.written_ago();
        Ok(Self {
            key_lengths: BTreeMap::new(),
            seen: None,
            others_wrote: Instant::now().checked_sub(written_ago).unwrap_or_else(Instant::now),
            has_wal: false,
            session,
            may_have_notes: true,
            note_before: 0,
            conflict_clauses: BTreeMap::new(),
            has_deferred_keys: None,
            written: Vec::new(),
            savepoint_at: None,
            schema: None,
        })
    }

    /// The tables may be others than they were.
    fn forget_schema(&mut self) {
        self.conflict_clauses.clear();
        self.has_deferred_keys = None;
    }

    /// Takes note of the file's journal mode, which the application may change.
    async fn look_at_journal(&mut self) -> Result<(), DbError> {
        let sql = "SELECT j.journal_mode = 'wal' FROM pragma_journal_mode AS j";
        self.has_wal = self.session.number(sql, Vec::new()).await? == Some(1);
        Ok(())
    }

    fn remember(&mut self, tables: &[Bound]) {
        self.key_lengths.extend(tables.iter().map(|table| (table.number, table.key.len())));
    }
}

#[async_trait]
impl Database for SqliteDatabase {
    fn engine(&self) -> Engine {
        Engine::Sqlite
    }

    fn install_sql(&self, tables: &[Bound]) -> Vec<String> {
        // A file that is gone has no number; the statements are only shown then.
        let server = self.session.server().unwrap_or_default();
        install::install(tables, &server)
    }

    fn remove_sql(&self, tables: &[Bound]) -> Vec<String> {
        install::remove(tables)
    }

    fn grants(&self, _tables: &[Bound]) -> Vec<String> {
        Vec::new()
    }

    async fn reconnect(&mut self) -> Result<(), DbError> {
        self.seen = None;
        self.may_have_notes = true;
        self.schema = None;
        self.forget_schema();
        self.session.reopen().await?;
        self.look_at_journal().await
    }

    async fn shape(&mut self, table: &str) -> Result<Option<TableShape>, DbError> {
        self.shape_of(table).await
    }

    async fn judge(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        self.judge_file().await
    }

    async fn stamp(&mut self, _tables: &[Bound]) -> Result<String, DbError> {
        let version = self.session.number("PRAGMA schema_version", Vec::new()).await?;
        if version != self.schema {
            self.schema = version;
            self.forget_schema();
        }
        self.look_at_journal().await?;
        Ok(version.unwrap_or(0).to_string())
    }

    async fn blind(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError> {
        self.blind_of(tables).await
    }

    async fn install(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.remember(tables);
        self.install_all(tables).await
    }

    async fn remove(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.remove_all(tables).await
    }

    async fn remove_table(&mut self, table: &Bound) -> Result<(), DbError> {
        self.remove_one(table).await
    }

    async fn context(&mut self) -> Result<Option<Context>, DbError> {
        self.context_row().await
    }

    async fn take_lease(
        &mut self,
        site: &str,
        token: &str,
        lifetime: Duration,
        is_forced: bool,
    ) -> Result<bool, DbError> {
        self.lease(site, token, lifetime, is_forced).await
    }

    async fn adopt(&mut self, epoch: &str, generation: i64) -> Result<(), DbError> {
        self.adopt_as(epoch, generation).await
    }

    async fn settled(&mut self, patience: Duration) -> Result<i64, DbError> {
        self.settled_within(patience).await
    }

    async fn has_notes(&mut self) -> Result<bool, DbError> {
        self.session.check_file()?;
        let version = self.session.number("PRAGMA data_version", Vec::new()).await?;
        if version == self.seen && !self.may_have_notes {
            return Ok(false);
        }
        // A new connection counts from a number of its own.
        if version != self.seen && self.seen.is_some() {
            self.others_wrote = Instant::now();
        }
        // Asked after the version: what is committed in between moves it again.
        let sql = "SELECT EXISTS (SELECT 1 FROM branchline_outbox)";
        self.may_have_notes = self.session.number(sql, Vec::new()).await? == Some(1);
        self.seen = version;
        Ok(self.may_have_notes)
    }

    fn quiet_for(&self) -> Option<Duration> {
        Some(self.others_wrote.elapsed())
    }

    fn reads_hinder_writers(&self) -> bool {
        !self.has_wal
    }

    async fn notes_waiting(&mut self) -> Result<u64, DbError> {
        let sql = "SELECT count(*) FROM (SELECT 1 FROM branchline_outbox LIMIT 1000000)";
        let count = self.session.number(sql, Vec::new()).await?.unwrap_or(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn begin_read(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.remember(tables);
        self.session.check_file()?;
        self.session.run("BEGIN", Vec::new()).await?;
        // The snapshot is taken by the first read, not by BEGIN.
        if let Err(why) =
            self.session.number("SELECT count(*) FROM sqlite_master WHERE 0", Vec::new()).await
        {
            self.roll_back().await;
            return Err(why);
        }
        Ok(())
    }

    async fn notes(&mut self, limit: usize) -> Result<Vec<Note>, DbError> {
        self.notes_of(limit).await
    }

    async fn rows(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        self.rows_of(table, keys).await
    }

    async fn page(
        &mut self,
        table: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError> {
        self.page_of(table, after, limit).await
    }

    async fn end_read(&mut self) -> Result<(), DbError> {
        self.session.run("COMMIT", Vec::new()).await.map(|_| ())
    }

    async fn begin_write(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        self.begin_write_of(token, generation, applied).await
    }

    async fn delete_notes(&mut self, notes: &[Note]) -> Result<(), DbError> {
        self.delete_notes_of(notes).await
    }

    async fn note(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        self.note_again(table, keys).await
    }

    async fn guard(&mut self, _table: Option<&Bound>) -> Result<(), DbError> {
        // There is none: what the bridge's own writes note is deleted by `forget`.
        Ok(())
    }

    async fn lock(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        // The write has the whole file.
        self.rows_of(table, keys).await
    }

    async fn insert(&mut self, table: &Bound, rows: &[Insert]) -> Result<Vec<Key>, DbError> {
        self.insert_rows(table, rows).await
    }

    async fn update(&mut self, table: &Bound, rows: &[Update]) -> Result<(), DbError> {
        self.update_rows(table, rows).await
    }

    async fn delete(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        self.delete_rows(table, keys).await
    }

    async fn mark(&mut self, table: &Bound, column: &str, rows: &[Mark]) -> Result<(), DbError> {
        self.mark_rows(table, column, rows).await
    }

    async fn forget(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        self.forget_notes(table, keys).await
    }

    async fn check(&mut self) -> Result<(), DbError> {
        self.check_deferred_keys().await
    }

    async fn savepoint(&mut self) -> Result<(), DbError> {
        // One at a time: each that is open makes every write of a page dearer.
        if self.savepoint_at.take().is_some() {
            self.session.run("RELEASE branchline", Vec::new()).await?;
        }
        self.session.run("SAVEPOINT branchline", Vec::new()).await?;
        self.savepoint_at = Some(self.written.len());
        Ok(())
    }

    async fn undo(&mut self) -> Result<(), DbError> {
        self.written.truncate(self.savepoint_at.unwrap_or(0));
        self.session.run("ROLLBACK TO branchline", Vec::new()).await.map(|_| ())
    }

    async fn commit(&mut self) -> Result<(), DbError> {
        // Notes that this write has made, as the application's triggers do, do not move `data_version` for us.
        self.may_have_notes = true;
        let committed = self.session.run("COMMIT", Vec::new()).await;
        if committed.is_err() {
            self.roll_back().await;
        }
        committed.map(|_| ())
    }

    async fn roll_back(&mut self) {
        if !self.session.is_open() {
            return;
        }
        if let Err(why) = self.session.run("ROLLBACK", Vec::new()).await {
            // "No transaction is active": nothing was begun, or SQLite has rolled back by itself.
            if !why.message.contains("no transaction is active") {
                self.session.abandon();
            }
        }
    }

    async fn execute(&mut self, sql: &str) -> Result<(), DbError> {
        self.may_have_notes = true;
        self.session.script(sql).await
    }
}
