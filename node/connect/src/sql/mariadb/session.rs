//! One connection, the session on it, and the transaction that is open on it.
//!
//! `@branchline_apply` survives a rollback, so a connection never outlives a doubt about it: whatever goes wrong, either
//! ROLLBACK and the clearing of the guard are answered, or the connection is dropped.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySql, Row};
use tokio::time::timeout;

use super::error::{self, plain};
use crate::sql::database::{DbError, DbErrorClass};

/// How long a connection may take to be made.
const CONNECT_SECONDS: u64 = 10;
/// How long an answer may take. The server gives a statement up after [`STATEMENT_SECONDS`]; what does not answer by then
/// has hung, or the network has.
const ANSWER_SECONDS: u64 = 45;
/// How long the server works on a statement.
const STATEMENT_SECONDS: u64 = 30;
/// Prepared statements that are kept: some ten for each table, of fifty tables.
const STATEMENTS_KEPT: usize = 500;

/// Zones, characters, strictness and patience of the session. Nothing is left to the server's configuration. It also
/// decides what is stored with each trigger. `NO_AUTO_VALUE_ON_ZERO`: a zero that is given is not made the next number.
/// A node that stops in the middle of a transaction holds its locks for half a minute at most.
const SESSION: &str = "SET NAMES utf8mb4; \
    SET SESSION autocommit = 1, time_zone = '+00:00', \
    sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', \
    innodb_lock_wait_timeout = 3, lock_wait_timeout = 2, idle_transaction_timeout = 30, \
    foreign_key_checks = 1, unique_checks = 1, check_constraint_checks = 1, sql_safe_updates = 0, \
    sql_select_limit = DEFAULT, sql_big_selects = 1, completion_type = 'NO_CHAIN', \
    group_concat_max_len = 16777216, tx_isolation = 'READ-COMMITTED', tx_read_only = 0; \
    SET @branchline_apply = NULL";

/// A value that is bound to a `?`.
#[derive(Clone, Debug)]
pub(super) enum Parameter {
    Text(Option<String>),
    Number(i64),
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<String> for Parameter {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}

impl From<i64> for Parameter {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// What is open on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// Nothing: each statement is a transaction of its own.
    Idle,
    /// A snapshot.
    Reading,
    /// A write.
    Writing,
}

/// The connection and what is open on it.
pub(super) struct MariadbSession {
    options: MySqlConnectOptions,
    /// `None` after an error that leaves it in doubt.
    connection: Option<MySqlConnection>,
    pub(super) state: SessionState,
    /// Whether `@branchline_apply` is set.
    pub(super) is_guarded: bool,
    /// Whether an answer is awaited: seen by the next statement where a future was dropped, and its answer never read.
    is_awaiting: bool,
}

impl MariadbSession {
    /// Connects and sets the session up.
    pub(super) async fn connect(url: &str, password: Option<&str>) -> Result<Self, DbError> {
        let options = options(url, password)?;
        let mut session = Self {
            options,
            connection: None,
            state: SessionState::Idle,
            is_guarded: false,
            is_awaiting: false,
        };
        session.reconnect().await?;
        Ok(session)
    }

    /// Closes the connection, which rolls back what is open on it, and makes another.
    pub(super) async fn reconnect(&mut self) -> Result<(), DbError> {
        if let Some(connection) = self.connection.take() {
            // So that the server sees the end of it before the next connection waits for its locks.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
        self.drop_connection();
        let connecting = timeout(Duration::from_secs(CONNECT_SECONDS), self.options.connect());
        let Ok(made) = connecting.await else {
            let message = format!("the database did not answer within {CONNECT_SECONDS} s");
            return Err(plain(DbErrorClass::Transient, message));
        };
        self.connection = Some(made.map_err(|error| error::read(&error).error)?);
        let statement_time =
            format!("{SESSION}; SET SESSION max_statement_time = {STATEMENT_SECONDS}");
        self.raw(statement_time).await
    }

    fn drop_connection(&mut self) {
        self.connection = None;
        self.state = SessionState::Idle;
        self.is_guarded = false;
        self.is_awaiting = false;
    }

    /// Runs statements whose answers are of no interest, without parameters.
    pub(super) async fn raw(&mut self, sql: impl Into<String>) -> Result<(), DbError> {
        let connection = self.connection()?;
        let statement = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        let answer =
            timeout(Duration::from_secs(ANSWER_SECONDS), statement.execute(connection)).await;
        self.answered(answer).await.map(|_| ())
    }

    /// Runs a statement and returns how many rows it met, changed or not.
    pub(super) async fn run(
        &mut self,
        sql: String,
        parameters: Vec<Parameter>,
    ) -> Result<u64, DbError> {
        let connection = self.connection()?;
        let statement = bound(sql, parameters);
        let answer =
            timeout(Duration::from_secs(ANSWER_SECONDS), statement.execute(connection)).await;
        self.answered(answer).await.map(|done| done.rows_affected())
    }

    /// Runs a query. Its columns are text or bytes: see [`text`] and [`bytes`].
    pub(super) async fn query(
        &mut self,
        sql: impl Into<String>,
        parameters: Vec<Parameter>,
    ) -> Result<Vec<MySqlRow>, DbError> {
        let connection = self.connection()?;
        let statement = bound(sql.into(), parameters);
        let answer =
            timeout(Duration::from_secs(ANSWER_SECONDS), statement.fetch_all(connection)).await;
        self.answered(answer).await
    }

    /// The first column of the first row.
    pub(super) async fn value(
        &mut self,
        sql: impl Into<String>,
        parameters: Vec<Parameter>,
    ) -> Result<Option<String>, DbError> {
        let rows = self.query(sql, parameters).await?;
        rows.first().map_or(Ok(None), |row| text(row, 0))
    }

    fn connection(&mut self) -> Result<&mut MySqlConnection, DbError> {
        if self.is_awaiting {
            self.drop_connection();
        }
        let none = "there is no connection to the database; it is made again";
        let Some(connection) = &mut self.connection else {
            return Err(plain(DbErrorClass::Transient, none));
        };
        self.is_awaiting = true;
        Ok(connection)
    }

    async fn answered<T>(
        &mut self,
        answer: Result<Result<T, sqlx::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, DbError> {
        self.is_awaiting = false;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error::read(&error),
            Err(_) => {
                self.drop_connection();
                let message = format!("the database did not answer within {ANSWER_SECONDS} s");
                return Err(plain(DbErrorClass::Transient, message));
            }
        };
        if !error.is_answered {
            self.drop_connection();
        } else if error.error.class != DbErrorClass::Row {
            Box::pin(self.roll_back()).await;
        }
        Err(error.error)
    }

    /// Rolls back what is open and clears the guard, or drops the connection.
    pub(super) async fn roll_back(&mut self) {
        if self.is_awaiting {
            self.drop_connection();
        }
        if self.state == SessionState::Idle && !self.is_guarded {
            return;
        }
        let Some(connection) = &mut self.connection else { return };
        self.is_awaiting = true;
        let statement = sqlx::raw_sql("ROLLBACK; SET @branchline_apply = NULL");
        let answer =
            timeout(Duration::from_secs(ANSWER_SECONDS), statement.execute(connection)).await;
        if matches!(answer, Ok(Ok(_))) {
            self.is_awaiting = false;
            self.is_guarded = false;
            self.state = SessionState::Idle;
        } else {
            self.drop_connection();
        }
    }

    /// Refuses what needs a write where none is open, or where it went with an error.
    pub(super) fn in_write(&self) -> Result<(), DbError> {
        if self.state == SessionState::Writing {
            return Ok(());
        }
        Err(plain(
            DbErrorClass::Transient,
            "no write is open on this connection, or it was rolled back",
        ))
    }

    /// Refuses what needs a snapshot or a write where none is open, or where it went with an error.
    pub(super) fn in_transaction(&self) -> Result<(), DbError> {
        if self.state != SessionState::Idle {
            return Ok(());
        }
        Err(plain(
            DbErrorClass::Transient,
            "no snapshot is open on this connection, or it was ended",
        ))
    }
}

/// A text of an answer; `None` is NULL.
pub(super) fn text(row: &MySqlRow, column: usize) -> Result<Option<String>, DbError> {
    let Some(bytes) = bytes(row, column)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| {
        plain(
            DbErrorClass::Row,
            format!("the text of column {} is not UTF-8", column.saturating_add(1)),
        )
    })
}

/// A text that is empty where NULL was.
pub(super) fn text_or_empty(row: &MySqlRow, column: usize) -> Result<String, DbError> {
    Ok(text(row, column)?.unwrap_or_default())
}

/// The bytes of an answer; `None` is NULL. Unchecked: the driver names the types of texts in misleading ways.
pub(super) fn bytes(row: &MySqlRow, column: usize) -> Result<Option<Vec<u8>>, DbError> {
    row.try_get_unchecked::<Option<Vec<u8>>, _>(column).map_err(|error| error::read(&error).error)
}

fn bound(sql: String, parameters: Vec<Parameter>) -> Query<'static, MySql, MySqlArguments> {
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for parameter in parameters {
        query = match parameter {
            Parameter::Text(text) => query.bind(text),
            Parameter::Number(number) => query.bind(number),
        };
    }
    query
}

/// Reads `mysql://USER@HOST/DATABASE`. TLS by `ssl-mode` or, as PostgreSQL writes it, `sslmode=verify-full`.
fn options(url: &str, password: Option<&str>) -> Result<MySqlConnectOptions, DbError> {
    let (url, mode) = without_mode(url)?;
    let mut options: MySqlConnectOptions =
        url.parse().map_err(|error: sqlx::Error| error::read(&error).error)?;
    if options.get_database().is_none_or(str::is_empty) {
        let message = "the URL names no database: write mysql://USER@HOST/DATABASE";
        return Err(plain(DbErrorClass::Config, message));
    }
    if let Some(mode) = mode {
        options = options.ssl_mode(mode);
    }
    if let Some(password) = password {
        options = options.password(password);
    }
    Ok(options
        .statement_cache_capacity(STATEMENTS_KEPT)
        .charset("utf8mb4")
        .timezone(Some("+00:00".to_owned()))
        .disable_statement_logging())
}

/// Takes the TLS mode out of a URL, since the driver knows MySQL's names of the modes alone.
fn without_mode(url: &str) -> Result<(String, Option<MySqlSslMode>), DbError> {
    let Some((address, query)) = url.split_once('?') else { return Ok((url.to_owned(), None)) };
    let mut mode = None;
    let mut others = Vec::new();
    for part in query.split('&') {
        let Some(("sslmode" | "ssl-mode", value)) = part.split_once('=') else {
            others.push(part);
            continue;
        };
        mode = Some(match value.to_ascii_lowercase().replace('_', "-").as_str() {
            "disable" | "disabled" => MySqlSslMode::Disabled,
            "prefer" | "preferred" => MySqlSslMode::Preferred,
            "require" | "required" => MySqlSslMode::Required,
            "verify-ca" => MySqlSslMode::VerifyCa,
            "verify-full" | "verify-identity" => MySqlSslMode::VerifyIdentity,
            _ => {
                let known = "disable, prefer, require, verify-ca or verify-full";
                let message = format!("sslmode is {value:?} in the URL, expected {known}");
                return Err(plain(DbErrorClass::Config, message));
            }
        });
    }
    Ok((format!("{address}?{}", others.join("&")), mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_names_how_the_server_is_verified() {
        let mode = |url: &str| options(url, None).map(|options| options.get_ssl_mode());
        let is = |url: &str, expected: MySqlSslMode| {
            let found = mode(url).unwrap();
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{url}");
        };
        is("mysql://a@h/d?sslmode=verify-full&ssl-ca=/x", MySqlSslMode::VerifyIdentity);
        is("mysql://a@h/d?ssl-mode=VERIFY_CA", MySqlSslMode::VerifyCa);
        is("mysql://a@h/d", MySqlSslMode::Preferred);
        assert_eq!(mode("mysql://a@h/d?sslmode=full").unwrap_err().class, DbErrorClass::Config);
        assert_eq!(mode("mysql://a@h").unwrap_err().class, DbErrorClass::Config);
    }
}
