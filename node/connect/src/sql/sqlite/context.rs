//! The context row, and the notes that a write deletes or makes.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteDatabase;
use super::error::error;
use super::install;
use super::session::BUSY_TIMEOUT;
use super::sql::{self, KEYS_PER_STATEMENT_MAX, quoted};
use crate::sql::cell::{Cell, Key};
use crate::sql::database::{Context, Database as _, DbError, DbErrorClass, Lease, Note};
use crate::sql::shape::Bound;

/// Now, in milliseconds.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// How often an installation waits for the file's lock, [`BUSY_TIMEOUT`] each time.
const INSTALL_ATTEMPTS_MAX: u32 = 5;

impl SqliteDatabase {
    pub(super) async fn context_row(&mut self) -> Result<Option<Context>, DbError> {
        self.session.check_file()?;
        let there = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'branchline_context'";
        if self.session.number(there, Vec::new()).await? != Some(1) {
            return Ok(None);
        }
        let server_now = self.session.server()?;
        let sql = format!(
            "SELECT c.epoch, c.server, c.generation, c.applied, c.lease_site, c.lease_token, \
             c.lease_until <= {NOW} FROM branchline_context AS c"
        );
        let read = |row: &SqliteRow| {
            let site: Option<String> = row.try_get(4)?;
            let token: Option<String> = row.try_get(5)?;
            let is_expired = row.try_get::<Option<i64>, _>(6)?.is_none_or(|expired| expired != 0);
            let lease = site.zip(token).map(|(site, token)| Lease { site, token, is_expired });
            Ok(Context {
                epoch: row.try_get(0)?,
                server: row.try_get(1)?,
                server_now: server_now.clone(),
                generation: row.try_get(2)?,
                applied: row.try_get(3)?,
                lease,
            })
        };
        Ok(self.session.fetch(&sql, Vec::new(), read).await?.into_iter().next())
    }

    pub(super) async fn lease(
        &mut self,
        site: &str,
        token: &str,
        lifetime: Duration,
        is_forced: bool,
    ) -> Result<bool, DbError> {
        let sql = format!(
            "UPDATE branchline_context SET lease_site = ?1, lease_token = ?2, lease_until = {NOW} + ?3 \
             WHERE ?4 OR lease_token IS NULL OR lease_token = ?2 OR coalesce(lease_until, 0) <= {NOW}"
        );
        let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX / 2);
        let values = vec![
            Cell::text(site),
            Cell::text(token),
            Cell::Integer(lifetime),
            Cell::Integer(i64::from(is_forced)),
        ];
        Ok(self.session.run(&sql, values).await? == 1)
    }

    pub(super) async fn adopt_as(&mut self, epoch: &str, generation: i64) -> Result<(), DbError> {
        let server = self.session.server()?;
        let sql = "UPDATE branchline_context SET epoch = ?1, server = ?2, generation = ?3";
        let values = vec![Cell::text(epoch), Cell::text(server), Cell::Integer(generation)];
        if self.session.run(sql, values).await? == 1 {
            return Ok(());
        }
        Err(error(DbErrorClass::Config, "branchline_context has no row: install the bridge again"))
    }

    /// SQLite has no commit that is under way without the file's lock; anyone who gets it knows.
    pub(super) async fn settled_within(&mut self, patience: Duration) -> Result<i64, DbError> {
        self.session.check_file()?;
        self.wait_at_most(patience).await?;
        let applied = self.applied_under_lock().await;
        self.roll_back().await;
        if self.session.is_open() {
            self.wait_at_most(BUSY_TIMEOUT).await?;
        }
        applied
    }

    async fn wait_at_most(&mut self, time: Duration) -> Result<(), DbError> {
        self.session.script(&format!("PRAGMA busy_timeout = {}", time.as_millis())).await
    }

    async fn applied_under_lock(&mut self) -> Result<i64, DbError> {
        self.session.run("BEGIN IMMEDIATE", Vec::new()).await?;
        let applied =
            self.session.number("SELECT applied FROM branchline_context", Vec::new()).await?;
        applied.ok_or_else(|| {
            error(DbErrorClass::Config, "branchline_context has no row: install the bridge again")
        })
    }

    pub(super) async fn begin_write_of(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        self.session.check_file()?;
        self.written.clear();
        self.savepoint_at = None;
        self.session.run("BEGIN IMMEDIATE", Vec::new()).await?;
        let begun = self.count_write(token, generation, applied).await;
        if !matches!(begun, Ok(true)) {
            self.roll_back().await;
        }
        begun
    }

    async fn count_write(
        &mut self,
        token: &str,
        generation: i64,
        applied: Option<i64>,
    ) -> Result<bool, DbError> {
        let sql = "UPDATE branchline_context SET generation = generation + 1, applied = coalesce(?3, applied) \
                   WHERE lease_token = ?1 AND generation = ?2";
        let values = vec![
            Cell::text(token),
            Cell::Integer(generation),
            applied.map_or(Cell::Null, Cell::Integer),
        ];
        if self.session.run(sql, values).await? != 1 {
            return Ok(false);
        }
        let sql = "SELECT s.seq FROM sqlite_sequence AS s WHERE s.name = 'branchline_outbox'";
        self.note_before = self.session.number(sql, Vec::new()).await?.unwrap_or(0);
        Ok(true)
    }

    pub(super) async fn delete_notes_of(&mut self, notes: &[Note]) -> Result<(), DbError> {
        let sql =
            "DELETE FROM branchline_outbox WHERE id IN (SELECT j.value FROM json_each(?1) AS j)";
        for piece in notes.chunks(KEYS_PER_STATEMENT_MAX) {
            let ids = piece.iter().map(|note| note.id.parse::<i64>());
            let ids: Vec<i64> = ids.collect::<Result<_, _>>().map_err(|why| {
                error(DbErrorClass::Bug, format!("a note's number is none: {why}"))
            })?;
            let json = serde_json::Value::from(ids).to_string();
            self.session.run(sql, vec![Cell::text(json)]).await?;
        }
        Ok(())
    }

    pub(super) async fn note_again(&mut self, table: &Bound, keys: &[Key]) -> Result<(), DbError> {
        self.remember(std::slice::from_ref(table));
        let columns: Vec<String> =
            (1..=table.key.len()).map(|number| format!("k{number}")).collect();
        let values: Vec<String> =
            (1..=table.key.len()).map(|number| format!("?{number}")).collect();
        let sql = format!(
            "INSERT INTO branchline_outbox (tbl, op, {}) VALUES ({}, 'L', {})",
            columns.join(", "),
            table.number,
            values.join(", "),
        );
        for key in keys {
            self.session.run(&sql, sql::key_cells(table, key)).await?;
        }
        Ok(())
    }

    pub(super) async fn forget_notes(
        &mut self,
        table: &Bound,
        keys: &[Key],
    ) -> Result<(), DbError> {
        if !table.is_captured {
            // It has no triggers.
            return Ok(());
        }
        let mut conditions = Vec::new();
        let texts: Vec<String> = (1..=table.key.len())
            .map(|number| {
                format!(
                    "CASE typeof(k{number}) WHEN 'blob' THEN lower(hex(k{number})) \
                     ELSE CAST(k{number} AS TEXT) END"
                )
            })
            .collect();
        let wanted: Vec<String> = match table.key.len() {
            1 => vec!["j.value".to_owned()],
            several => (0..several).map(|at| format!("json_extract(j.value, '$[{at}]')")).collect(),
        };
        conditions.push(format!(
            "({}) IN (SELECT {} FROM json_each(?2) AS j)",
            texts.join(", "),
            wanted.join(", ")
        ));
        let sql = format!(
            "DELETE FROM branchline_outbox WHERE id > ?1 AND tbl = {} AND op <> 'L' AND {}",
            table.number,
            conditions.join(" AND "),
        );
        for piece in keys.chunks(KEYS_PER_STATEMENT_MAX) {
            let values = vec![Cell::Integer(self.note_before), Cell::text(sql::keys_json(piece))];
            self.session.run(&sql, values).await?;
        }
        Ok(())
    }

    pub(super) async fn install_all(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        for table in tables {
            if table.key.len() > install::KEY_COLUMNS_MAX {
                let what = format!(
                    "the key of {} has {} columns; a bridge can work with {} at most",
                    table.table,
                    table.key.len(),
                    install::KEY_COLUMNS_MAX
                );
                return Err(error(DbErrorClass::Config, what));
            }
        }
        let mut attempt = 1;
        loop {
            let installed = self.install_once(tables).await;
            match installed {
                Err(why)
                    if why.class == DbErrorClass::Transient && attempt < INSTALL_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                    if !self.session.is_open() {
                        self.reconnect().await?;
                    }
                }
                done => return done,
            }
        }
    }

    async fn install_once(&mut self, tables: &[Bound]) -> Result<(), DbError> {
        self.session.check_file()?;
        let server = self.session.server()?;
        self.session.run("BEGIN IMMEDIATE", Vec::new()).await?;
        let mut done = self.install_parts(tables, &server).await;
        if done.is_ok() {
            done = self.commit().await;
        } else {
            self.roll_back().await;
        }
        done
    }

    async fn install_parts(&mut self, tables: &[Bound], server: &str) -> Result<(), DbError> {
        self.session.script(install::CONTEXT).await?;
        self.session.script(&install::context_row(server)).await?;
        self.session.script(install::OUTBOX).await?;
        let found = self.own_triggers().await?;
        for table in tables {
            let wanted = install::triggers(table);
            let prefix = format!("branchline_{}_", table.number);
            for (name, sql, _) in found.iter().filter(|(name, _, _)| name.starts_with(&prefix)) {
                if !wanted.iter().any(|trigger| trigger.name == *name && trigger.sql == *sql) {
                    self.session.script(&format!("DROP TRIGGER {}", quoted(name))).await?;
                }
            }
            for trigger in wanted {
                let is_there = |(name, sql, _): &(String, String, String)| {
                    *name == trigger.name && *sql == trigger.sql
                };
                if !found.iter().any(is_there) {
                    self.session.script(&trigger.sql).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) async fn remove_all(&mut self, _tables: &[Bound]) -> Result<(), DbError> {
        self.session.run("BEGIN IMMEDIATE", Vec::new()).await?;
        let mut done = self.remove_triggers("branchline_").await;
        for table in ["branchline_outbox", "branchline_context"] {
            if done.is_ok() {
                done = self.session.script(&format!("DROP TABLE IF EXISTS {table}")).await;
            }
        }
        self.end_with(done).await
    }

    pub(super) async fn remove_one(&mut self, table: &Bound) -> Result<(), DbError> {
        self.session.run("BEGIN IMMEDIATE", Vec::new()).await?;
        let mut done = self.remove_triggers(&format!("branchline_{}_", table.number)).await;
        if done.is_ok() {
            let sql = format!("DELETE FROM branchline_outbox WHERE tbl = {}", table.number);
            done = self.session.script(&sql).await;
        }
        self.end_with(done).await
    }

    async fn remove_triggers(&mut self, prefix: &str) -> Result<(), DbError> {
        for (name, _, _) in self.own_triggers().await? {
            if name.starts_with(prefix) {
                self.session.script(&format!("DROP TRIGGER {}", quoted(&name))).await?;
            }
        }
        Ok(())
    }

    async fn end_with(&mut self, done: Result<(), DbError>) -> Result<(), DbError> {
        match done {
            Ok(()) => self.commit().await,
            Err(why) => {
                self.roll_back().await;
                Err(why)
            }
        }
    }
}
