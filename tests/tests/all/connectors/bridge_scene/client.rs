//! What an application is to its database: a session that sends plain SQL, and starts over when it was cut off.

use std::path::PathBuf;
use std::time::Duration;

use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};
use tokio::runtime::Runtime;

/// How long a till waits for its file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a database is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Postgres(String),
    MariaDb(String),
    Sqlite(PathBuf),
}

impl Place {
    /// The `url` of a bridge to it.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(url) | Self::MariaDb(url) => url.clone(),
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
        }
    }
}

/// An application.
pub(crate) struct Client {
    place: Place,
    runtime: Runtime,
    session: Option<Session>,
}

enum Session {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(SqliteConnection),
}

impl Client {
    pub(crate) fn new(place: &Place) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { place: place.clone(), runtime, session: None }
    }

    /// Runs statements, all in one message; the rows with `|` between the columns.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<String>, String> {
        let done = self.runtime.block_on(async {
            if self.session.is_none() {
                self.session = Some(Session::begin(&self.place).await?);
            }
            self.session.as_mut().unwrap().rows(sql).await
        });
        // What was under way goes with the session.
        done.map_err(|error| {
            self.session = None;
            format!("{error}: {sql}")
        })
    }
}

impl Session {
    async fn begin(place: &Place) -> Result<Self, sqlx::Error> {
        Ok(match place {
            Place::Postgres(url) => Self::Postgres(PgConnection::connect(url).await?),
            Place::MariaDb(url) => Self::MariaDb(MySqlConnection::connect(url).await?),
            Place::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let options =
                    options.journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY_TIMEOUT);
                Self::Sqlite(SqliteConnection::connect_with(&options).await?)
            }
        })
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<String>, sqlx::Error> {
        let sql = raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Postgres(session) => {
                let rows = sql.fetch_all(session).await?;
                let cell = |row: &sqlx::postgres::PgRow, index| {
                    row.try_get_unchecked::<Option<String>, _>(index)
                };
                rows.iter().map(|row| joined(row.len(), |index| cell(row, index))).collect()
            }
            Self::MariaDb(session) => {
                let rows = sql.fetch_all(session).await?;
                let cell = |row: &sqlx::mysql::MySqlRow, index| {
                    let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index)?;
                    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
                };
                rows.iter().map(|row| joined(row.len(), |index| cell(row, index))).collect()
            }
            Self::Sqlite(session) => {
                let rows = sql.fetch_all(session).await?;
                let cell = |row: &sqlx::sqlite::SqliteRow, index| {
                    row.try_get_unchecked::<Option<String>, _>(index)
                };
                rows.iter().map(|row| joined(row.len(), |index| cell(row, index))).collect()
            }
        }
    }
}

fn joined(
    columns: usize,
    cell: impl Fn(usize) -> Result<Option<String>, sqlx::Error>,
) -> Result<String, sqlx::Error> {
    let cells = (0..columns).map(|index| Ok(cell(index)?.unwrap_or_else(|| "NULL".to_owned())));
    Ok(cells.collect::<Result<Vec<_>, sqlx::Error>>()?.join("|"))
}
