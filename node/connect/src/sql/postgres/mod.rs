//! PostgreSQL, 13 or newer.
//!
//! | file | step |
//! |---|---|
//! | `session`, `error` | the connection, its settings and time-outs; what an error means |
//! | `judge` | what of a server and database a person should know |
//! | `catalogue`, `types` | tables and columns as they are |
//! | `install`, `setup` | triggers and the bridge's own tables: their SQL, and whether they are there |
//! | `statement`, `arguments` | the SQL of reads and writes, and its parameters |
//! | `read`, `write` | rows and notes |

mod arguments;
mod catalogue;
mod context;
mod error;
mod install;
mod judge;
mod read;
mod session;
mod setup;
mod statement;
mod types;
mod write;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;

use super::cell::Key;
use super::database::{
    Blind, Context, Database, DbError, Engine, Insert, Mark, Note, Read, Update,
};
use super::shape::{Bound, TableName, TableShape};

use session::PostgresSession;

/// A PostgreSQL database.
pub struct Postgres {
    session: PostgresSession,
    /// The schema of the bridge's own tables: where they are, or else the first of the user's search path.
    home: Option<String>,
    /// The role that the bridge is.
    user: String,
    /// The database's name.
    database: String,
    /// The owners of the tables that were looked at, for [`Database::grants`].
    owners: BTreeMap<TableName, String>,
}

impl Postgres {
    /// Connects. `url`: as in the configuration; `password`: in place of one in the URL.
    ///
    /// # Errors
    /// [`DbError`] where the URL is none, or the server refuses the connection.
    pub async fn connect(url: &str, password: Option<&str>) -> Result<Self, DbError> {
        let mut options = PgConnectOptions::from_str(url).map_err(|error| error::of(&error))?;
        if let Some(password) = password {
            options = options.password(password);
        }
        let mut postgres = Self {
            session: PostgresSession::connect(options).await?,
            home: None,
            user: String::new(),
            database: String::new(),
            owners: BTreeMap::new(),
        };
        postgres.look_around().await?;
        Ok(postgres)
    }
}

#[async_trait]
impl Database for Postgres {
    fn engine(&self) -> Engine {
        Engine::Postgres
    }

    fn install_sql(&self, tables: &[Bound]) -> Vec<String> {
        let home = self.home_or_public();
        let captured = tables.iter().filter(|table| table.is_captured);
        install::base(home, &self.user)
            .into_iter()
            .chain(captured.flat_map(|table| install::for_table(home, table)))
            .collect()
    }

    fn remove_sql(&self, tables: &[Bound]) -> Vec<String> {
        let home = self.home_or_public();
        tables
            .iter()
            .filter(|table| table.is_captured)
            .flat_map(|table| install::remove_table(home, table))
            .chain(install::remove_base(home))
            .collect()
    }

    fn grants(&self, tables: &[Bound]) -> Vec<String> {
        self.grant_list(tables)
    }

    async fn reconnect(&mut self) -> Result<(), DbError> {
        self.session.reconnect().await?;
        self.look_around().await
    }

    async fn shape(&mut self, table: &str) -> Result<Option<TableShape>, DbError> {
        self.find_shape(table).await
    }

    async fn judge(&mut self) -> Result<(Vec<String>, Vec<String>), DbError> {
        self.judge_all().await
    }

    async fn stamp(&mut self, tables: &[Bound]) -> Result<String, DbError> {
        self.stamp_of(tables).await
    }

    async fn blind(&mut self, tables: &[Bound]) -> Result<Vec<Blind>, DbError> {
        self.find_blind(tables).await
    }

    async fn install(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.install_all(tables).await
    }

    async fn remove(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.remove_all(tables).await
    }

    async fn remove_table(&mut self, table: &Bound) -> Result<(), DbError> {
        self.remove_one(table).await
    }

    async fn context(&mut self) -> Result<Option<Context>, DbError> {
        self.read_context().await
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
        self.any_notes().await
    }

    async fn notes_waiting(&mut self) -> Result<u64, DbError> {
        self.count_notes().await
    }

    async fn begin_read(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.begin_snapshot(tables).await
    }

    async fn notes(&mut self, limit: usize) -> Result<Vec<Note>, DbError> {
        self.read_notes(limit).await
    }

    async fn rows(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        self.read_rows(table, keys, false).await
    }

    async fn page(
        &mut self,
        table: &Bound,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Read>, DbError> {
        self.read_page(table, after, limit).await
    }

    async fn end_read(&mut self) -> Result<(), DbError> {
        self.end("COMMIT").await
    }

    async fn begin_write(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        self.begin_batch(token, generation, applied).await
    }

    async fn delete_notes(&mut self, notes: &[Note]) -> Result<(), DbError> {
        self.remove_notes(notes).await
    }

    async fn note(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        self.note_keys(table, keys).await
    }

    async fn guard(&mut self, table: Option<&Bound>) -> Result<(), DbError> {
        self.set_guard(table).await
    }

    async fn lock(&mut self, table: &Bound, keys: &[Key]) -> Result<Vec<Read>, DbError> {
        self.read_rows(table, keys, true).await
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
        self.forget_keys(table, keys).await
    }

    async fn check(&mut self) -> Result<(), DbError> {
        self.session.run("SET CONSTRAINTS ALL IMMEDIATE".to_owned()).await
    }

    async fn savepoint(&mut self) -> Result<(), DbError> {
        self.set_mark().await
    }

    async fn undo(&mut self) -> Result<(), DbError> {
        self.session.run("ROLLBACK TO SAVEPOINT branchline".to_owned()).await
    }

    async fn commit(&mut self) -> Result<(), DbError> {
        // `COMMIT` alone rolls a failed transaction back without an error.
        self.end("SELECT 1; COMMIT").await
    }

    async fn roll_back(&mut self) {
        self.session.roll_back().await;
    }

    async fn execute(&mut self, sql: &str) -> Result<(), DbError> {
        self.session.run(sql.to_owned()).await
    }
}
