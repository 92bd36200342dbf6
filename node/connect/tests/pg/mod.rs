//! What the tests of PostgreSQL share.

mod apply;
mod capture;
mod history;
mod server;
mod tables;

use std::time::Duration;

use branchline_connect::sql::cell::{Cell, Key, Row};
use branchline_connect::sql::database::{Database, DbError, DbErrorClass, Note, Read};
use branchline_connect::sql::postgres::Postgres;
use branchline_connect::sql::shape::Bound;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row as _};

use crate::servers;

/// The bridge's token in tests.
const TOKEN: &str = "token";

/// A server, a database of the test's own, and the bridge on it.
struct Bench {
    server: &'static servers::postgres::Postgres,
    database: String,
    bridge: Postgres,
}

/// `None`: PostgreSQL is not installed.
async fn bench(sql: &str) -> Option<Bench> {
    let server = servers::postgres::Postgres::shared()?;
    let database = server.database("", sql);
    let bridge = Postgres::connect(&server.url("postgres", &database), None).await.unwrap();
    Some(Bench { server, database, bridge })
}

impl Bench {
    /// A session of the application.
    async fn app(&self) -> App {
        self.app_as("postgres").await
    }

    async fn app_as(&self, role: &str) -> App {
        App(PgConnection::connect(&self.server.url(role, &self.database)).await.unwrap())
    }

    /// All of a table as a bridge would see it that maps every column it can write.
    async fn bound(&mut self, number: u32, table: &str) -> Bound {
        let shape = self.bridge.shape(table).await.unwrap().unwrap();
        let columns: Vec<_> =
            shape.columns.iter().filter(|column| !column.is_generated).cloned().collect();
        let place = |name: &String| columns.iter().position(|column| column.name == *name).unwrap();
        Bound {
            number,
            table: shape.name.clone(),
            key: shape.primary_key.iter().map(place).collect(),
            filter: None,
            site: "north".to_owned(),
            unique: shape.unique.clone(),
            is_captured: true,
            cascades_to_itself: false,
            silent_cascades: Vec::new(),
            columns,
        }
    }

    /// Installs, and takes the lease.
    async fn install(&mut self, tables: &[Bound]) {
        self.bridge.install(tables).await.unwrap();
        let lifetime = Duration::from_secs(600);
        assert!(self.bridge.take_lease("north", TOKEN, lifetime, false).await.unwrap());
    }

    /// Begins a write.
    async fn write(&mut self) {
        let generation = self.bridge.context().await.unwrap().unwrap().generation;
        assert!(self.bridge.begin_write(TOKEN, generation, None).await.unwrap());
    }

    /// Reads all notes and deletes them: `I 1`, sorted.
    async fn drain(&mut self) -> Vec<String> {
        self.bridge.begin_read(&[]).await.unwrap();
        let notes = self.bridge.notes(usize::MAX).await.unwrap();
        self.bridge.end_read().await.unwrap();
        self.write().await;
        self.bridge.delete_notes(&notes).await.unwrap();
        self.bridge.commit().await.unwrap();
        said(&notes)
    }

    /// The rows of keys, without a snapshot.
    async fn rows(&mut self, table: &Bound, keys: &[&str]) -> Vec<Read> {
        let keys: Vec<Key> = keys.iter().map(|key| key_of(key)).collect();
        let mut reads = self.bridge.rows(table, &keys).await.unwrap();
        reads.sort_by(|a, b| a.key.cmp(&b.key));
        reads
    }
}

/// Notes as `I 1`, sorted.
fn said(notes: &[Note]) -> Vec<String> {
    let said = notes.iter().map(|note| {
        let key = note.key.as_deref().unwrap_or("-");
        format!("{} {key}", note.operation)
    });
    let mut said: Vec<String> = said.collect();
    said.sort();
    said
}

/// A key: its values with `|` between.
fn key_of(text: &str) -> Key {
    Key(text.split('|').map(str::to_owned).collect())
}

/// Texts as a row; `-` is NULL.
fn row_of(texts: &[&str]) -> Row {
    texts.iter().map(|text| if *text == "-" { Cell::Null } else { Cell::text(*text) }).collect()
}

/// A session of the application.
struct App(PgConnection);

impl App {
    async fn run(&mut self, sql: &str) {
        self.attempt(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn attempt(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.map(drop)
    }

    /// The first column of the first row, as text.
    async fn text(&mut self, sql: &str) -> String {
        let row = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.0).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error}")).try_get_unchecked(0).unwrap()
    }
}

/// The code of an error that must come.
fn code<T: std::fmt::Debug>(result: Result<T, DbError>) -> String {
    result.unwrap_err().code
}
