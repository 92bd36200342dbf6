//! A shop's database file, its application and the bridge's side of it.

use std::path::PathBuf;
use std::time::Duration;

use branchline_connect::sql::cell::{Cell, Key};
use branchline_connect::sql::database::{Database, Note, Read};
use branchline_connect::sql::shape::{Bound, TableShape};
use branchline_connect::sql::sqlite::SqliteDatabase;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

pub(crate) const TOKEN: &str = "token";

/// A file, made by its application.
pub(crate) struct Shop {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

/// The application's connection.
pub(crate) struct Till(pub(crate) SqliteConnection);

/// The bridge's side, with the lease and a generation as the node would keep it.
pub(crate) struct Bridge {
    pub(crate) database: SqliteDatabase,
    pub(crate) generation: i64,
}

impl Shop {
    pub(crate) async fn new(journal_mode: &str, schema: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("shop.db");
        let shop = Self { _folder: folder, path };
        let mut till = shop.till(true).await;
        till.run(&format!("PRAGMA journal_mode = {journal_mode}")).await;
        till.run(schema).await;
        // The last connection has the file for itself while it closes.
        till.0.close().await.unwrap();
        shop
    }

    pub(crate) async fn wal(schema: &str) -> Self {
        Self::new("wal", schema).await
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    /// A connection as most applications have: foreign keys as SQLite's default has them (off).
    pub(crate) async fn till(&self, is_new: bool) -> Till {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(is_new)
            .foreign_keys(false)
            .busy_timeout(Duration::ZERO)
            .pragma("synchronous", "OFF");
        Till(SqliteConnection::connect_with(&options).await.unwrap())
    }

    /// The bridge, not installed yet.
    pub(crate) async fn bridge(&self) -> Bridge {
        let database = SqliteDatabase::connect(&self.url(), None).await.unwrap();
        Bridge { database, generation: 0 }
    }
}

impl Till {
    pub(crate) async fn run(&mut self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|why| panic!("{sql}: {why}"));
    }

    pub(crate) async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.map(|_| ())
    }

    /// The only value of a query, as text; `NULL` where it is.
    pub(crate) async fn value(&mut self, sql: &str) -> String {
        let sql = format!("SELECT CAST(coalesce(({sql}), 'NULL') AS TEXT)");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.0).await.unwrap()
    }
}

impl Bridge {
    /// A table, captured by its primary key.
    pub(crate) async fn bound(&mut self, number: u32, table: &str) -> Bound {
        let shape = self.database.shape(table).await.unwrap().unwrap();
        let key: Vec<&str> = shape.primary_key.iter().map(String::as_str).collect();
        bound(number, &shape, &key)
    }

    pub(crate) async fn install(&mut self, tables: &[Bound]) {
        self.database.install(tables).await.unwrap();
        let is_held =
            self.database.take_lease("north", TOKEN, Duration::from_secs(60), false).await;
        assert!(is_held.unwrap());
    }

    /// The notes that are there, in a snapshot of their own.
    pub(crate) async fn notes(&mut self, tables: &[Bound]) -> Vec<Note> {
        self.database.begin_read(tables).await.unwrap();
        let notes = self.database.notes(10_000).await.unwrap();
        self.database.end_read().await.unwrap();
        notes
    }

    /// The notes as texts, `1 U 42`, and deletes them.
    pub(crate) async fn drain(&mut self, tables: &[Bound]) -> Vec<String> {
        let notes = self.notes(tables).await;
        self.begin(None).await;
        self.database.delete_notes(&notes).await.unwrap();
        self.database.commit().await.unwrap();
        let text = |note: &Note| {
            format!("{} {} {}", note.table, note.operation, note.key.as_deref().unwrap_or("NULL"))
        };
        notes.iter().map(text).collect()
    }

    pub(crate) async fn begin(&mut self, applied: Option<i64>) {
        let begun = self.database.begin_write(TOKEN, self.generation, applied).await.unwrap();
        assert!(begun, "generation {}", self.generation);
        self.generation += 1;
    }

    pub(crate) async fn rows(&mut self, table: &Bound, keys: &[&str]) -> Vec<Read> {
        let keys: Vec<Key> = keys.iter().map(|key| self::key(key)).collect();
        self.database.begin_read(std::slice::from_ref(table)).await.unwrap();
        let rows = self.database.rows(table, &keys).await.unwrap();
        self.database.end_read().await.unwrap();
        rows
    }
}

pub(crate) fn bound(number: u32, shape: &TableShape, key: &[&str]) -> Bound {
    let columns: Vec<_> =
        shape.columns.iter().filter(|column| !column.is_generated).cloned().collect();
    let place = |name: &&str| columns.iter().position(|column| column.name == **name).unwrap();
    Bound {
        number,
        table: shape.name.clone(),
        key: key.iter().map(place).collect(),
        columns,
        filter: None,
        site: "north".to_owned(),
        unique: shape
            .unique_besides(&key.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
        is_captured: true,
        cascades_to_itself: false,
        silent_cascades: Vec::new(),
    }
}

pub(crate) fn key(text: &str) -> Key {
    Key(vec![text.to_owned()])
}

pub(crate) fn text(text: &str) -> Cell {
    Cell::text(text)
}
