//! What a bridge asks of a database, in steps that its worker puts together.
//!
//! One worker owns one [`Database`], with one connection, and asks one thing at a time: drain and apply take turns, so
//! the views are exact without locks. After an error the transaction is gone; after
//! [`DbErrorClass::Transient`] the connection may be too, and [`Database::reconnect`] makes sure.
//!
//! Every write transaction of a bridge adds one to the `generation` of its context row, which the node keeps as well:
//! that is how a restored or copied database is distinguished from the one that the node knows.

use std::time::Duration;

use async_trait::async_trait;

use super::cell::{Cell, Key, Row};
use super::shape::{Bound, TableShape};

/// The kinds of databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL, 13 or newer.
    Postgres,
    /// MariaDB, 10.6 or newer.
    MariaDb,
    /// A SQLite file.
    Sqlite,
}

/// What an error means for what was being done. Decided by SQLSTATE (PostgreSQL), error number (MariaDB) and extended
/// result code (SQLite).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DbErrorClass {
    /// It will pass: a deadlock, a lock held too long, a restart, a lost connection. Roll back, wait, try again for ever.
    Transient,
    /// The database refuses a row: set it aside, go on with the others.
    Row,
    /// The table is not what it was: the table stops.
    Schema,
    /// The bridge is not allowed to, or cannot, do this: the bridge stops until a person has mended it.
    Config,
    /// The bridge did something wrong.
    Bug,
}

/// What a database said when it refused something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", code_text(.code))]
pub struct DbError {
    /// What it means.
    pub class: DbErrorClass,
    /// SQLSTATE, number or result code; empty where the connection failed.
    pub code: String,
    /// The constraint, if one was violated and the database names it.
    pub constraint: Option<String>,
    /// The column, if the database names it.
    pub column: Option<String>,
    /// The database's words.
    pub message: String,
}

fn code_text(code: &str) -> String {
    if code.is_empty() { String::new() } else { format!(" ({code})") }
}

/// A bridge's context row, and the server as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Made at each install.
    pub epoch: String,
    /// The server and database that the context was installed on.
    pub server: String,
    /// The server and database that it is read on. Another than `server`: the database was restored elsewhere or copied.
    pub server_now: String,
    /// Write transactions of the bridge so far.
    pub generation: i64,
    /// The number of the last batch that was applied; 0 for none.
    pub applied: i64,
    /// Who works on the database.
    pub lease: Option<Lease>,
}

/// Who works on a database, so that no second node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The site's name.
    pub site: String,
    /// The bridge's own secret, made at install.
    pub token: String,
    /// Whether it has run out, by the database's clock.
    pub is_expired: bool,
}

/// A note: which row changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Names the note to [`Database::delete_notes`]: PostgreSQL's transaction id (of all notes of the transaction, unless
    /// that was read in parts), the number elsewhere.
    pub id: String,
    /// The table's number.
    pub table: u32,
    /// `I`, `U`, `D`, `L` (look again), for people only; `T`: the table was truncated.
    pub operation: char,
    /// The row's key; `None` with `T`, or where the key was NULL.
    pub key: Option<String>,
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Its key.
    pub key: Key,
    /// Its cells.
    pub row: Row,
    /// Whether the table's filter is true for it; true where there is none.
    pub is_captured: bool,
}

/// A row to be changed: the cells to set, and amounts to add, by the number of the column in [`Bound::columns`].
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// Which row.
    pub key: Key,
    /// Columns and their new values.
    pub set: Vec<(usize, Cell)>,
    /// Columns and what is added to them.
    pub add: Vec<(usize, i64)>,
}

/// A row to be inserted. A cell of `None` leaves the column to its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// Which row.
    pub key: Key,
    /// A cell for each column of the table.
    pub row: Vec<Option<Cell>>,
}

/// A write-back of `sent` or `acked`: one column of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Which row.
    pub key: Key,
    /// The new value; for a time column see [`Database::mark`].
    pub is_set: bool,
}

/// Why a table is no longer seen as it should be: its notes are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// The table's number.
    pub table: u32,
    /// What is missing or changed: `trigger branchline_note is disabled`.
    pub what: String,
}

/// One database, and one connection to it.
///
/// # Errors
/// All methods fail with [`DbError`], whose class says what to do: wait and try again, on a new connection if this one is
/// gone, or let a person mend it. What was begun on the connection is then rolled back.
#[async_trait]
pub trait Database: Send {
    /// Which kind it is.
    fn engine(&self) -> Engine;

    /// The statements that install what `tables` need, in order, as `bridge plan` prints them.
    fn install_sql(&self, tables: &[Bound]) -> Vec<String>;

    /// The statements that remove all that a bridge has installed for `tables`, triggers first.
    fn remove_sql(&self, tables: &[Bound]) -> Vec<String>;

    /// The rights that the bridge's user needs, as `GRANT` statements; empty for SQLite.
    fn grants(&self, tables: &[Bound]) -> Vec<String>;

    /// Closes the connection and makes another, with the session that the bridge needs.
    async fn reconnect(&mut self) -> Result<(), DbError>;

    /// A table by the name that the configuration has (`sales`, `public.sales`); `None`: there is none. PostgreSQL looks
    /// along the user's search path.
    async fn shape(&mut self, table: &str) -> Result<Option<TableShape>, DbError>;

    /// Why no bridge can work on this database (encoding, version, connection pooler, owner and mode of a file, …), and
    /// what a person should know of it: refusals and warnings, each with what to do.
    async fn judge(&mut self) -> Result<(Vec<String>, Vec<String>), DbError>;

    /// A text that changes whenever columns, triggers or the like of these tables change; cheap enough to ask for each
    /// second.
    async fn stamp(&mut self, tables: &[Bound]) -> Result<String, DbError>;

    /// The captured tables whose triggers are not all there, enabled and as they were installed.
    async fn blind(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError>;

    /// Installs context, outbox and triggers, or what is missing of them: repeating it is safe, and what is there and
    /// right stays (epoch included). Waits at most 2 s for a lock, and tries again some times.
    async fn install(&mut self, tables: &[Bound]) -> Result<(), DbError>;

    /// Removes all that a bridge has installed, whether or not all of it is there.
    async fn remove(&mut self, tables: &[Bound]) -> Result<(), DbError>;

    /// Removes the triggers of one table that is no longer captured; notes of it are deleted.
    async fn remove_table(&mut self, table: &Bound) -> Result<(), DbError>;

    /// The context row; `None`: nothing is installed.
    async fn context(&mut self) -> Result<Option<Context>, DbError>;

    /// Takes or renews the lease for `lifetime`, unless another token holds one that has not run out. Returns whether it
    /// is held. `is_forced`: takes it all the same.
    async fn take_lease(
        &mut self,
        site: &str,
        token: &str,
        lifetime: Duration,
        is_forced: bool,
    ) -> Result<bool, DbError>;

    /// Gives the context another epoch, the server as it is now, and this generation: a person has chosen to go on with a
    /// database that was restored or copied.
    async fn adopt(&mut self, epoch: &str, generation: i64) -> Result<(), DbError>;

    /// Waits, at most `patience`, for the lock on the context row, so that a commit of an earlier connection which is
    /// still under way has ended, and returns the number of the last applied batch.
    async fn settled(&mut self, patience: Duration) -> Result<i64, DbError>;

    /// Whether there may be notes; far cheaper than reading them. On SQLite also whether anything was written since.
    async fn has_notes(&mut self) -> Result<bool, DbError>;

    /// For how long no other connection was seen to write; `None`: it cannot be seen (servers).
    fn quiet_for(&self) -> Option<Duration> {
        None
    }

    /// Whether a writer may be refused, or wait, while the bridge reads: a SQLite file without WAL.
    fn reads_hinder_writers(&self) -> bool {
        false
    }

    /// How many notes wait, counted up to 1,000,000.
    async fn notes_waiting(&mut self) -> Result<u64, DbError>;

    // --- reading: one snapshot, ended within a second ---

    /// Begins a snapshot. No table of `tables` can be truncated or altered until [`Database::end_read`].
    async fn begin_read(&mut self, tables: &[Bound]) -> Result<(), DbError>;

    /// Notes of the snapshot, at most about `limit`: where more of one PostgreSQL transaction are there, all of that
    /// transaction's, up to some ten thousands.
    async fn notes(&mut self, limit: usize) -> Result<Vec<Note>, DbError>;

    /// The rows of these keys that exist, in any order. Used within a snapshot and within a write.
    async fn rows(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError>;

    /// Rows behind a key, in the key's order, at most `limit`.
    async fn page(
        &mut self,
        table: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError>;

    /// Ends the snapshot.
    async fn end_read(&mut self) -> Result<(), DbError>;

    // --- writing: one transaction ---

    /// Begins a write and adds one to the generation; sets `applied` where a batch is written. `false`: the context is not
    /// of this token and generation; nothing was begun.
    async fn begin_write(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError>;

    /// Deletes notes that were read.
    async fn delete_notes(&mut self, notes: &[Note]) -> Result<(), DbError>;

    /// Notes these keys again: their rows are not as the node knows them, and no note says so.
    async fn note(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError>;

    /// From here on rows of this table are written by the bridge: they make no notes (`None`: of no table).
    async fn guard(&mut self, table: Option<&Bound>) -> Result<(), DbError>;

    /// As [`Database::rows`], and nobody else changes these rows until the write ends.
    async fn lock(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError>;

    /// Inserts rows, by key alone. Returns the keys that were there already, whose rows are left as they are.
    async fn insert(&mut self, table: &Bound, rows: &[Insert]) -> Result<Vec<Key>, DbError>;

    /// Changes rows, by key alone.
    async fn update(&mut self, table: &Bound, rows: &[Update]) -> Result<(), DbError>;

    /// Deletes rows, by key alone.
    async fn delete(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError>;

    /// Writes a time (now) or true into a column, NULL or false where it is taken back, and changes no other column.
    async fn mark(&mut self, table: &Bound, column: &str, rows: &[Mark]) -> Result<(), DbError>;

    /// Deletes the notes that this write has made of these keys, where the guard does not hold them back.
    async fn forget(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError>;

    /// Checks what would else be checked at the commit (deferred constraints).
    async fn check(&mut self) -> Result<(), DbError>;

    /// Sets a mark to which [`Database::undo`] goes back.
    async fn savepoint(&mut self) -> Result<(), DbError>;

    /// Goes back to the mark and keeps it. `Err` with [`DbErrorClass::Transient`]: the whole write is gone.
    async fn undo(&mut self) -> Result<(), DbError>;

    /// Commits the write. After an error nobody knows whether it was: see [`Database::settled`].
    async fn commit(&mut self) -> Result<(), DbError>;

    /// Rolls back what was begun, if anything was. Connections that cannot are closed.
    async fn roll_back(&mut self);

    /// Runs a statement of a test or of `bridge remove`'s script.
    async fn execute(&mut self, sql: &str) -> Result<(), DbError>;
}
