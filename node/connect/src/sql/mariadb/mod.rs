//! MariaDB, 10.6 or newer.
//!
//! | file | step |
//! |---|---|
//! | `session` | one connection, the session on it, the transaction that is open |
//! | `text` | quoted names, columns as text, lists of values |
//! | `error` | what an error means, by number |
//! | `catalogue`, `types`, `judge` | tables, types and server as they are |
//! | `install`, `cascade`, `installed` | triggers: their text; making, removing and finding them |
//! | `identity` | which table it is: TRUNCATE makes another of it |
//! | `context` | epoch, generation, position, lease |
//! | `read`, `write` | notes and rows |

mod cascade;
mod catalogue;
mod context;
mod error;
mod identity;
mod install;
mod installed;
mod judge;
mod read;
mod session;
mod text;
mod types;
mod write;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::cell::Key;
use super::database::{
    Blind, Context, Database, DbError, Engine, Insert, Mark, Note, Read, Update,
};
use super::shape::{Bound, TableShape};
use session::MariadbSession;
use write::Habits;

/// One MariaDB database.
pub struct MariaDb {
    session: MariadbSession,
    database: String,
    /// As `CURRENT_USER()` has it.
    user: String,
    /// What columns do by themselves, by table, as of `stamp`.
    habits: BTreeMap<String, Habits>,
    stamp: String,
}

impl MariaDb {
    /// Connects: `mysql://USER@HOST:PORT/DATABASE`, with `sslmode`, `ssl-ca`, `ssl-cert`, `ssl-key` or `socket`.
    ///
    /// # Errors
    /// [`DbError`] where the URL is none, or the server refuses the connection.
    pub async fn connect(url: &str, password: Option<&str>) -> Result<Self, DbError> {
        let mut session = MariadbSession::connect(url, password).await?;
        let rows = session.query("SELECT DATABASE(), CURRENT_USER()", Vec::new()).await?;
        let value = |column| match rows.first() {
            Some(row) => session::text_or_empty(row, column),
            None => Ok(String::new()),
        };
        let (database, user) = (value(0)?, value(1)?);
        let (habits, stamp) = (BTreeMap::new(), String::new());
        Ok(Self { session, database, user, habits, stamp })
    }

    async fn habits(&mut self, table: &Bound) -> Result<Habits, DbError> {
        let name = &table.table.name;
        if let Some(habits) = self.habits.get(name) {
            return Ok(habits.clone());
        }
        self.session.in_write()?;
        let habits = write::habits(&mut self.session, name).await?;
        self.habits.insert(name.clone(), habits.clone());
        Ok(habits)
    }
}

#[async_trait]
impl Database for MariaDb {
    fn engine(&self) -> Engine {
        Engine::MariaDb
    }

    fn install_sql(&self, tables: &[Bound]) -> Vec<String> {
        install::install(tables)
    }

    fn remove_sql(&self, tables: &[Bound]) -> Vec<String> {
        install::remove(tables)
    }

    fn grants(&self, tables: &[Bound]) -> Vec<String> {
        install::grants(&self.database, &self.user, tables)
    }

    async fn reconnect(&mut self) -> Result<(), DbError> {
        self.habits.clear();
        self.session.reconnect().await
    }

    async fn shape(&mut self, table: &str) -> Result<Option<TableShape>, DbError> {
        catalogue::shape(&mut self.session, &self.database, table).await
    }

    async fn judge(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        judge::judge(&mut self.session).await
    }

    async fn stamp(&mut self, tables: &[Bound]) -> Result<String, DbError> {
        let stamp = installed::stamp(&mut self.session, &self.database, tables).await?;
        if self.stamp != stamp {
            self.habits.clear();
            self.stamp.clone_from(&stamp);
        }
        Ok(stamp)
    }

    async fn blind(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError> {
        installed::blind(&mut self.session, &self.database, tables).await
    }

    async fn install(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        installed::install(&mut self.session, &self.database, tables).await
    }

    async fn remove(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        installed::remove(&mut self.session, tables).await
    }

    async fn remove_table(&mut self, table: &Bound) -> Result<(), DbError> {
        installed::remove_table(&mut self.session, table).await
    }

    async fn context(&mut self) -> Result<Option<Context>, DbError> {
        context::read(&mut self.session).await
    }

    async fn take_lease(
        &mut self,
        site: &str,
        token: &str,
        lifetime: Duration,
        is_forced: bool,
    ) -> Result<bool, DbError> {
        context::take_lease(&mut self.session, site, token, lifetime, is_forced).await
    }

    async fn adopt(&mut self, epoch: &str, generation: i64) -> Result<(), DbError> {
        context::adopt(&mut self.session, epoch, generation).await
    }

    async fn settled(&mut self, patience: Duration) -> Result<i64, DbError> {
        context::settled(&mut self.session, patience).await
    }

    async fn has_notes(&mut self) -> Result<bool, DbError> {
        context::has_notes(&mut self.session).await
    }

    async fn notes_waiting(&mut self) -> Result<u64, DbError> {
        context::notes_waiting(&mut self.session).await
    }

    async fn begin_read(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        read::begin(&mut self.session, tables).await
    }

    async fn notes(&mut self, limit: usize) -> Result<Vec<Note>, DbError> {
        read::notes(&mut self.session, limit).await
    }

    async fn rows(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        read::rows(&mut self.session, table, keys, false).await
    }

    async fn page(
        &mut self,
        table: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError> {
        read::page(&mut self.session, table, after, limit).await
    }

    async fn end_read(&mut self) -> Result<(), DbError> {
        read::end(&mut self.session).await
    }

    async fn begin_write(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        context::begin_write(&mut self.session, token, generation, applied).await
    }

    async fn delete_notes(&mut self, notes: &[Note]) -> Result<(), DbError> {
        write::delete_notes(&mut self.session, notes).await
    }

    async fn note(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        write::note(&mut self.session, table, keys).await
    }

    async fn guard(&mut self, table: Option<&Bound>) -> Result<(), DbError> {
        write::guard(&mut self.session, table).await
    }

    async fn lock(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        self.session.in_write()?;
        read::rows(&mut self.session, table, keys, true).await
    }

    async fn insert(&mut self, table: &Bound, rows: &[Insert]) -> Result<Vec<Key>, DbError> {
        write::insert(&mut self.session, table, rows).await
    }

    async fn update(&mut self, table: &Bound, rows: &[Update]) -> Result<(), DbError> {
        let habits = self.habits(table).await?;
        write::update(&mut self.session, table, rows, &habits).await
    }

    async fn delete(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        write::delete(&mut self.session, table, keys).await
    }

    async fn mark(&mut self, table: &Bound, column: &str, rows: &[Mark]) -> Result<(), DbError> {
        let habits = self.habits(table).await?;
        write::mark(&mut self.session, table, column, rows, &habits).await
    }

    /// Nothing to do: the guard holds all back but what cascades note, and a trigger cannot write its own table.
    async fn forget(&mut self, _: &Bound, _: &[Key]) -> Result<(), DbError> {
        Ok(())
    }

    /// Nothing to do: MariaDB checks with each statement.
    async fn check(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    async fn savepoint(&mut self) -> Result<(), DbError> {
        write::savepoint(&mut self.session, false).await
    }

    async fn undo(&mut self) -> Result<(), DbError> {
        write::savepoint(&mut self.session, true).await
    }

    async fn commit(&mut self) -> Result<(), DbError> {
        write::commit(&mut self.session).await
    }

    async fn roll_back(&mut self) {
        self.session.roll_back().await;
    }

    async fn execute(&mut self, sql: &str) -> Result<(), DbError> {
        self.session.raw(sql).await
    }
}
