//! A session of an application.

use std::time::{Duration, Instant};

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use super::Engine;
use super::database::{Place, ROWS, insert};
use crate::records;

/// How long a writer of a SQLite file waits for another.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) enum Session {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Session {
    pub(super) async fn open(place: &Place) -> Self {
        match place.engine {
            Engine::Postgres => {
                Self::Postgres(PgConnection::connect(&place.url).await.expect("PostgreSQL answers"))
            }
            Engine::MariaDb => {
                Self::MariaDb(MySqlConnection::connect(&place.url).await.expect("MariaDB answers"))
            }
            Engine::Sqlite => {
                let options = SqliteConnectOptions::new()
                    .filename(&place.name)
                    .create_if_missing(true)
                    .busy_timeout(PATIENCE);
                Self::Sqlite(SqliteConnection::connect_with(&options).await.expect("a SQLite file"))
            }
        }
    }

    /// Runs statements.
    pub(super) async fn run(&mut self, sql: &str) {
        let shown: String = sql.chars().take(200).collect();
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let done = match self {
            Self::Postgres(connection) => sql.execute(connection).await.map(|_| ()),
            Self::MariaDb(connection) => sql.execute(connection).await.map(|_| ()),
            Self::Sqlite(connection) => sql.execute(connection).await.map(|_| ()),
        };
        if let Err(error) = done {
            panic!("{shown}: {error}");
        }
    }

    /// As [`Session::run`]; how long it took.
    pub(super) async fn timed(&mut self, sql: &str) -> Duration {
        let started = Instant::now();
        self.run(sql).await;
        started.elapsed()
    }

    /// The whole number that a query answers with.
    pub(super) async fn number(&mut self, query: &str) -> i64 {
        let sql = sqlx::raw_sql(AssertSqlSafe(query.to_owned()));
        let number = match self {
            Self::Postgres(connection) => {
                sql.fetch_one(connection).await.and_then(|row| row.try_get(0))
            }
            Self::MariaDb(connection) => {
                sql.fetch_one(connection).await.and_then(|row| row.try_get(0))
            }
            Self::Sqlite(connection) => {
                sql.fetch_one(connection).await.and_then(|row| row.try_get(0))
            }
        };
        number.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Whether the row of a record is there.
    pub(super) async fn has(&mut self, table: &str, number: usize) -> bool {
        let id = records::id(number);
        self.number(&format!("SELECT count(*) FROM {table} WHERE id = '{id}'")).await == 1
    }

    pub(super) async fn count(&mut self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }

    /// Whether notes wait for the bridge.
    pub(super) async fn has_notes(&mut self) -> bool {
        let query = "SELECT count(*) FROM (SELECT 1 FROM branchline_outbox LIMIT 1) AS n";
        self.number(query).await > 0
    }

    /// Plain inserts of so many records, many rows a statement and a commit each: the time in the database.
    pub(super) async fn fill(&mut self, table: &str, rows: usize) -> Duration {
        let engine = self.engine();
        let mut spent = Duration::ZERO;
        for batch in records::batches(rows, ROWS) {
            let sql = insert(engine, table, batch);
            spent += self.timed(&sql).await;
        }
        spent
    }

    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Postgres(_) => Engine::Postgres,
            Self::MariaDb(_) => Engine::MariaDb,
            Self::Sqlite(_) => Engine::Sqlite,
        }
    }

    pub(super) async fn close(self) {
        let closed = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::MariaDb(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
        closed.expect("the session ends");
    }
}
