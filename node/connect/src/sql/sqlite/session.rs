//! One connection to a SQLite file, and the one way by which statements get to it.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection, Row as _};

use super::error::{classified, error, of_file};
use crate::sql::cell::Cell;
use crate::sql::database::{DbError, DbErrorClass};

/// How long a statement waits for another process's lock. An application's writes are short; anyone who holds a lock for
/// longer is waited for by trying again.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Rows on their way from the driver's thread: as many as are asked for at a time, so that it does not wait.
const ROWS_UNDER_WAY_MAX: usize = 2_000;

/// A connection, or the lack of one after an error.
#[derive(Debug)]
pub(super) struct SqliteSession {
    /// The file, without links.
    pub(super) path: PathBuf,
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// The file that the connection has open, which may no longer be the one of that name.
    inode: u64,
}

impl SqliteSession {
    /// Opens the file of a `sqlite:PATH` url; it must be there.
    pub(super) async fn open(url: &str) -> Result<Self, DbError> {
        let (url, foreign_keys) = taken_from(url)?;
        let options: SqliteConnectOptions = url.parse().map_err(|why| {
            error(DbErrorClass::Config, format!("the url `{url}` is not right: {why}"))
        })?;
        let path = options.get_filename().to_owned();
        let path = path.canonicalize().map_err(|why| missing(&path, &why))?;
        if !path.is_file() {
            let what =
                format!("{} is not a file: sqlite:PATH names a database file", path.display());
            return Err(error(DbErrorClass::Config, what));
        }
        let options = options
            .filename(&path)
            .in_memory(false)
            .create_if_missing(false)
            // Foreign keys are checked, as on the other databases: no row of the network becomes an orphan. SQLite leaves
            // it to each connection, so nobody can see whether the application checks them. Where it does not, its rows
            // may break them, and its deletions do not cascade but the bridge's would: `?foreign_keys=off` is for those.
            .foreign_keys(foreign_keys)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROWS_UNDER_WAY_MAX)
            // Neither journal_mode nor auto_vacuum nor synchronous: the first two are the application's, and with the
            // last as it is (FULL) a batch that was committed is there after a power cut, as the node believes.
            .disable_statement_logging();
        let mut session = Self { path, options, connection: None, inode: 0 };
        session.reopen().await?;
        Ok(session)
    }

    /// Closes the connection and makes another.
    pub(super) async fn reopen(&mut self) -> Result<(), DbError> {
        if let Some(connection) = self.connection.take() {
            // Whether closing went well does not matter to the next connection.
            let _ = AssertUnwindSafe(connection.close()).catch_unwind().await;
        }
        self.inode = self.inode_now()?;
        let opening = AssertUnwindSafe(SqliteConnection::connect_with(&self.options));
        let connection = match opening.catch_unwind().await {
            Ok(opened) => opened.map_err(|why| of_file(&self.path, classified(&why)))?,
            Err(_) => return Err(self.panicked()),
        };
        self.connection = Some(connection);
        Ok(())
    }

    /// How long ago anybody has written the file, as far as its times say.
    pub(super) fn written_ago(&self) -> Duration {
        let mut beside = self.path.clone().into_os_string();
        beside.push("-wal");
        let files = [self.path.clone(), beside.into()];
        let ago = |path: &PathBuf| path.metadata().ok()?.modified().ok()?.elapsed().ok();
        files.iter().filter_map(ago).min().unwrap_or_default()
    }

    /// Whether there is a connection.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Gives the connection up, without a word to the database: what was begun is rolled back by closing.
    pub(super) fn abandon(&mut self) {
        self.connection = None;
    }

    /// What tells this database from its copies: the path and the file's number. Not the device's number, which btrfs,
    /// NFS and the device mapper hand out again at each boot.
    pub(super) fn server(&self) -> Result<String, DbError> {
        Ok(format!("{}#{}", self.path.display(), self.inode_now()?))
    }

    /// Fails where another file has taken the name of the one that is open: what is written there would not be seen.
    pub(super) fn check_file(&self) -> Result<(), DbError> {
        if self.inode_now()? == self.inode {
            return Ok(());
        }
        let what = format!("{} was replaced by another file", self.path.display());
        Err(error(DbErrorClass::Transient, what))
    }

    fn inode_now(&self) -> Result<u64, DbError> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(&self.path).map_err(|why| missing(&self.path, &why))?;
        Ok(metadata.ino())
    }

    /// Runs one statement and returns how many rows it changed.
    pub(super) async fn run(&mut self, sql: &str, values: Vec<Cell>) -> Result<u64, DbError> {
        let values = arguments(values)?;
        let path = self.path.clone();
        let connection = self.connection()?;
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), values);
        let query = query.persistent(may_be_kept(sql));
        let done = AssertUnwindSafe(query.execute(connection)).catch_unwind().await;
        match done {
            Ok(Ok(done)) => Ok(done.rows_affected()),
            Ok(Err(why)) => Err(self.failed(&path, &why)),
            Err(_) => Err(self.panicked()),
        }
    }

    /// Runs a query and reads each of its rows. The columns of `sql` must be listed: with `*` the driver panics when
    /// another process has changed the table meanwhile.
    pub(super) async fn fetch<T: Send>(
        &mut self,
        sql: &str,
        values: Vec<Cell>,
        read: impl Fn(&SqliteRow) -> Result<T, sqlx::Error> + Send + Sync,
    ) -> Result<Vec<T>, DbError> {
        let values = arguments(values)?;
        let path = self.path.clone();
        let connection = self.connection()?;
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), values);
        let query = query.persistent(may_be_kept(sql));
        let reading = async {
            let rows = query.fetch_all(connection).await?;
            rows.iter().map(read).collect::<Result<Vec<T>, sqlx::Error>>()
        };
        match AssertUnwindSafe(reading).catch_unwind().await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(why)) => Err(self.failed(&path, &why)),
            Err(_) => Err(self.panicked()),
        }
    }

    /// The first column of a query's first row, as a number; `None`: no row.
    pub(super) async fn number(
        &mut self,
        sql: &str,
        values: Vec<Cell>,
    ) -> Result<Option<i64>, DbError> {
        Ok(self.fetch(sql, values, |row| row.try_get::<i64, _>(0)).await?.into_iter().next())
    }

    /// Runs statements that are not prepared.
    pub(super) async fn script(&mut self, sql: &str) -> Result<(), DbError> {
        let path = self.path.clone();
        let connection = self.connection()?;
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match AssertUnwindSafe(script.execute(connection)).catch_unwind().await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(self.failed(&path, &why)),
            Err(_) => Err(self.panicked()),
        }
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, DbError> {
        self.connection.as_mut().ok_or_else(|| {
            error(DbErrorClass::Transient, "the connection to the database is closed")
        })
    }

    fn failed(&mut self, path: &Path, why: &sqlx::Error) -> DbError {
        if !matches!(why, sqlx::Error::Database(_)) {
            self.abandon();
        }
        let found = classified(why);
        // A row's error names what is in it; all others are of the file.
        if found.class == DbErrorClass::Row { found } else { of_file(path, found) }
    }

    /// The driver panicked. Its connection is worth nothing then; the node goes on.
    fn panicked(&mut self) -> DbError {
        self.abandon();
        of_file(
            &self.path,
            error(DbErrorClass::Transient, "the SQLite driver failed; connecting again"),
        )
    }
}

/// Whether a statement may be prepared once and used again. One that is explained is not run, so SQLite does not see that
/// the table has changed since it was prepared, and reads memory that is given back.
fn may_be_kept(sql: &str) -> bool {
    !sql.starts_with("EXPLAIN")
}

/// Takes `foreign_keys=on|off` out of a url, which is ours.
fn taken_from(url: &str) -> Result<(String, bool), DbError> {
    let Some((path, options)) = url.split_once('?') else { return Ok((url.to_owned(), true)) };
    let mut foreign_keys = true;
    let mut others = Vec::new();
    for option in options.split('&') {
        match option.split_once('=') {
            Some(("foreign_keys", "on")) => foreign_keys = true,
            Some(("foreign_keys", "off")) => foreign_keys = false,
            Some(("foreign_keys", other)) => {
                let what = format!("`foreign_keys={other}` in the url: expected `on` or `off`");
                return Err(error(DbErrorClass::Config, what));
            }
            _ => others.push(option),
        }
    }
    if others.is_empty() {
        return Ok((path.to_owned(), foreign_keys));
    }
    Ok((format!("{path}?{}", others.join("&")), foreign_keys))
}

fn missing(path: &Path, why: &std::io::Error) -> DbError {
    let what = format!("{} cannot be opened: {why}", path.display());
    let hint = match why.kind() {
        std::io::ErrorKind::NotFound => "; the application makes its database, a bridge never does",
        std::io::ErrorKind::PermissionDenied => "; the bridge's user may not enter its folder",
        _ => "",
    };
    error(DbErrorClass::Config, format!("{what}{hint}"))
}

fn arguments(values: Vec<Cell>) -> Result<SqliteArguments, DbError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        let added = match value {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Integer(number) => arguments.add(number),
            Cell::Real(number) => arguments.add(number),
            Cell::Text(text) => arguments.add(text),
            Cell::Bytes(bytes) => arguments.add(bytes),
        };
        added.map_err(|why| error(DbErrorClass::Bug, format!("a value cannot be bound: {why}")))?;
    }
    Ok(arguments)
}
