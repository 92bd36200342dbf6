//! The connection: its settings, what is sent over it, and what becomes of it after an error.

use std::time::Duration;

use futures::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::time::timeout;

use crate::sql::database::DbError;

use super::arguments::Arguments;
use super::error;

/// How long making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// How long an answer may take. Longer than the server's own `statement_timeout` below: who has not answered by then is
/// no longer there.
const ANSWER_MAX: Duration = Duration::from_secs(45);

/// How long saying goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The session that all else counts on: every value has one text form, no row is hidden without an error, nobody waits
/// for long, and a transaction whose bridge has gone ends by itself.
const SETTINGS: &str = "\
SET client_encoding = 'UTF8';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'hex';
SET xmloption = 'content';
SET extra_float_digits = 1;
SET standard_conforming_strings = on;
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET row_security = off;
SET lock_timeout = '3s';
SET statement_timeout = '30s';
SET idle_in_transaction_session_timeout = '60s';
SET tcp_keepalives_idle = 30;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 3;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';";

/// A connection that may be lost.
pub(super) struct PostgresSession {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// Whether a transaction was begun and not ended.
    pub(super) is_open: bool,
    /// Whether the transaction has a savepoint.
    pub(super) has_mark: bool,
}

impl PostgresSession {
    /// Connects.
    pub(super) async fn connect(options: PgConnectOptions) -> Result<Self, DbError> {
        let options = options.application_name("branchline").disable_statement_logging();
        let mut session = Self { options, connection: None, is_open: false, has_mark: false };
        session.reconnect().await?;
        Ok(session)
    }

    /// A second connection to the same place.
    pub(super) async fn another(&self) -> Result<Self, DbError> {
        Self::connect(self.options.clone()).await
    }

    /// Closes the connection and makes another.
    pub(super) async fn reconnect(&mut self) -> Result<(), DbError> {
        self.close().await;
        let connecting = timeout(CONNECT_MAX, self.options.connect());
        let connected = connecting.await.map_err(|_| no_answer(CONNECT_MAX))?;
        self.connection = Some(connected.map_err(|error| error::of(&error))?);
        self.run(SETTINGS.to_owned()).await
    }

    /// Closes the connection.
    pub(super) async fn close(&mut self) {
        (self.is_open, self.has_mark) = (false, false);
        if let Some(connection) = self.connection.take() {
            let _ = timeout(CLOSE_MAX, connection.close()).await;
        }
    }

    /// Runs statements without parameters, one after the other, and drops what they return.
    pub(super) async fn run(&mut self, sql: String) -> Result<(), DbError> {
        let connection = self.connection.as_mut().ok_or_else(error::not_connected)?;
        let running = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection);
        let result = timeout(ANSWER_MAX, running).await;
        self.settle(result).await.map(drop)
    }

    /// The rows of a query.
    pub(super) async fn all(
        &mut self,
        sql: String,
        arguments: Arguments,
    ) -> Result<Vec<PgRow>, DbError> {
        let connection = self.connection.as_mut().ok_or_else(error::not_connected)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments.into_values());
        let result = timeout(ANSWER_MAX, query.fetch_all(connection)).await;
        self.settle(result).await
    }

    /// What `each` makes of the rows of a query that may have very many.
    pub(super) async fn map<T: Send>(
        &mut self,
        sql: String,
        arguments: Arguments,
        each: fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Vec<T>, DbError> {
        let connection = self.connection.as_mut().ok_or_else(error::not_connected)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments.into_values());
        let reading = async {
            let (mut rows, mut all) = (query.fetch(connection), Vec::new());
            while let Some(row) = rows.try_next().await? {
                all.push(each(&row)?);
            }
            Ok(all)
        };
        let result = timeout(ANSWER_MAX, reading).await;
        self.settle(result).await
    }

    /// The one row of a query.
    pub(super) async fn one(
        &mut self,
        sql: String,
        arguments: Arguments,
    ) -> Result<Option<PgRow>, DbError> {
        Ok(self.all(sql, arguments).await?.into_iter().next())
    }

    /// How many rows a statement changed.
    pub(super) async fn count(
        &mut self,
        sql: String,
        arguments: Arguments,
    ) -> Result<u64, DbError> {
        let connection = self.connection.as_mut().ok_or_else(error::not_connected)?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments.into_values());
        let result = timeout(ANSWER_MAX, query.execute(connection)).await;
        Ok(self.settle(result).await?.rows_affected())
    }

    /// Ends a transaction that was begun, or the connection where that is not possible.
    pub(super) async fn roll_back(&mut self) {
        if !self.is_open {
            return;
        }
        (self.is_open, self.has_mark) = (false, false);
        if self.run("ROLLBACK".to_owned()).await.is_err() {
            self.close().await;
        }
    }

    /// Gives a result on, and lets go of a connection that is of no more use.
    async fn settle<T>(
        &mut self,
        result: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, DbError> {
        let error = match result {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => {
                self.drop_connection();
                return Err(no_answer(ANSWER_MAX));
            }
        };
        let meaning = error::of(&error);
        if error::ends_connection(&error) {
            self.drop_connection();
        } else if meaning.code == "0A000"
            && let Some(connection) = &mut self.connection
        {
            // "cached plan must not change result type", again and again, until it is prepared again. It costs nothing:
            // the statements are closed when the next one is sent.
            let _ = timeout(CLOSE_MAX, connection.clear_cached_statements()).await;
        }
        Err(meaning)
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        (self.is_open, self.has_mark) = (false, false);
    }
}

fn no_answer(after: Duration) -> DbError {
    error::transient(format!("the server has not answered within {} s", after.as_secs()))
}
