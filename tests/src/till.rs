//! A till: an application with a SQLite file of its own, which knows nothing of Branchline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Row};
use tokio::runtime::Runtime;

/// How long the till waits for its file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A till's file.
pub struct Till {
    path: PathBuf,
    runtime: Runtime,
}

impl Till {
    /// Makes the file, in WAL mode, and tables in it.
    pub fn new(path: &Path, sql: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let till = Self { path: path.to_owned(), runtime: runtime.expect("a runtime") };
        till.run(sql);
        till
    }

    /// The `url` of a bridge to it.
    pub fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// Runs statements.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        let done = self.runtime.block_on(async {
            let mut connection = self.connect().await?;
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
            connection.close().await
        });
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The rows of a query, with `|` between the columns.
    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let rows = self.runtime.block_on(async {
            let mut connection = self.connect().await?;
            let query = sqlx::query(AssertSqlSafe(sql.to_owned()));
            let rows = query.fetch_all(&mut connection).await?;
            connection.close().await?;
            rows.iter().map(row).collect::<Result<Vec<_>, sqlx::Error>>()
        });
        rows.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn connect(&self) -> Result<SqliteConnection, sqlx::Error> {
        let options = SqliteConnectOptions::new().filename(&self.path).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(BUSY_TIMEOUT);
        SqliteConnection::connect_with(&options).await
    }
}

fn row(row: &SqliteRow) -> Result<String, sqlx::Error> {
    let cell = |index| {
        let cell = row.try_get_unchecked::<Option<String>, _>(index)?;
        Ok(cell.unwrap_or_else(|| "NULL".to_owned()))
    };
    let cells: Result<Vec<_>, sqlx::Error> = (0..row.len()).map(cell).collect();
    Ok(cells?.join("|"))
}
