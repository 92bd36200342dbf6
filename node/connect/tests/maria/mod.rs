//! A shop's database, the bridge's driver on it, and sessions of the application.

mod access;
mod apply;
mod capture;
mod drift;
mod types;

use std::time::Duration;

use branchline_connect::sql::cell::{Cell, Key};
use branchline_connect::sql::database::{Database, Note, Read};
use branchline_connect::sql::mariadb::MariaDb;
use branchline_connect::sql::shape::Bound;
use sqlx::mysql::{MySqlConnection, MySqlDatabaseError};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::servers::mariadb::MariaDb as Server;

/// The token of the tests' lease.
pub(crate) const TOKEN: &str = "3f6d";

/// A database, and a driver on it.
pub(crate) struct Shop {
    pub(crate) server: &'static Server,
    pub(crate) database: String,
    pub(crate) driver: MariaDb,
}

/// Makes a database with these statements; `None`: MariaDB is not installed.
pub(crate) async fn shop(sql: &str) -> Option<Shop> {
    let server = Server::shared()?;
    let database = server.database("CHARACTER SET utf8mb4", sql);
    let driver = MariaDb::connect(&server.url("root", &database), None).await.unwrap();
    Some(Shop { server, database, driver })
}

impl Shop {
    /// A session of the application.
    pub(crate) async fn till(&self) -> Till {
        let url = self.server.url("root", &self.database);
        let mut till = Till(MySqlConnection::connect(&url).await.unwrap());
        till.run("SET sql_mode = '', innodb_lock_wait_timeout = 1, lock_wait_timeout = 1").await;
        till
    }

    /// All columns of a table, captured.
    pub(crate) async fn bound(&mut self, table: &str, number: u32) -> Bound {
        let shape = self.driver.shape(table).await.unwrap().expect(table);
        assert_eq!(shape.refusals, Vec::<String>::new());
        let silent_cascades = shape.cascades_from_above();
        let columns: Vec<_> =
            shape.columns.into_iter().filter(|column| !column.is_generated).collect();
        let position = |name: &String| columns.iter().position(|c| c.name == *name).unwrap();
        Bound {
            number,
            key: shape.primary_key.iter().map(position).collect(),
            table: shape.name,
            columns,
            filter: None,
            site: "north".to_owned(),
            unique: Vec::new(),
            is_captured: true,
            cascades_to_itself: false,
            silent_cascades,
        }
    }

    /// Installs a bridge of these tables, with the lease taken.
    pub(crate) async fn install(&mut self, tables: &[Bound]) {
        self.driver.install(tables).await.unwrap();
        let hour = Duration::from_secs(3600);
        assert!(self.driver.take_lease("north", TOKEN, hour, false).await.unwrap());
    }

    pub(crate) async fn generation(&mut self) -> i64 {
        self.driver.context().await.unwrap().unwrap().generation
    }

    pub(crate) async fn begin(&mut self) {
        let generation = self.generation().await;
        assert!(self.driver.begin_write(TOKEN, generation, None).await.unwrap());
    }

    /// Reads all notes, and deletes them.
    pub(crate) async fn drain(&mut self) -> Vec<Note> {
        self.driver.begin_read(&[]).await.unwrap();
        let notes = self.driver.notes(100_000).await.unwrap();
        self.driver.end_read().await.unwrap();
        self.begin().await;
        self.driver.delete_notes(&notes).await.unwrap();
        self.driver.commit().await.unwrap();
        notes
    }

    /// The notes as `1 I 42`.
    pub(crate) async fn noted(&mut self) -> Vec<String> {
        let notes = self.drain().await;
        let text = |note: Note| {
            format!("{} {} {}", note.table, note.operation, note.key.unwrap_or_default())
        };
        notes.into_iter().map(text).collect()
    }

    pub(crate) async fn rows(&mut self, table: &Bound, keys: &[Key]) -> Vec<Read> {
        self.driver.begin_read(std::slice::from_ref(table)).await.unwrap();
        let mut rows = self.driver.rows(table, keys).await.unwrap();
        self.driver.end_read().await.unwrap();
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }
}

/// A session of the application.
pub(crate) struct Till(pub(crate) MySqlConnection);

impl Till {
    pub(crate) async fn run(&mut self, sql: &str) {
        if let Err(number) = self.attempt(sql).await {
            panic!("{number}: {sql}");
        }
    }

    /// The number of the error.
    pub(crate) async fn attempt(&mut self, sql: &str) -> Result<(), u16> {
        match sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) => {
                Err(error.downcast_ref::<MySqlDatabaseError>().number())
            }
            Err(error) => panic!("{error}: {sql}"),
        }
    }

    /// The columns of all rows, `|` between columns, as text.
    pub(crate) async fn texts(&mut self, sql: &str) -> Vec<String> {
        let rows =
            sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.0).await.unwrap();
        let text = |row: &sqlx::mysql::MySqlRow| {
            let cells = (0..row.len()).map(|i| {
                let bytes: Option<Vec<u8>> = row.try_get_unchecked(i).unwrap();
                bytes.map_or("NULL".to_owned(), |bytes| String::from_utf8_lossy(&bytes).into())
            });
            cells.collect::<Vec<String>>().join("|")
        };
        rows.iter().map(text).collect()
    }

    pub(crate) async fn text(&mut self, sql: &str) -> String {
        self.texts(sql).await.join(";")
    }
}

pub(crate) fn key(values: &[&str]) -> Key {
    Key(values.iter().map(|value| (*value).to_owned()).collect())
}

pub(crate) fn keys(values: &[&str]) -> Vec<Key> {
    values.iter().map(|value| key(&[value])).collect()
}

pub(crate) fn cells(values: &[&str]) -> Vec<Cell> {
    let cell = |value: &&str| match *value {
        "NULL" => Cell::Null,
        text => Cell::text(text),
    };
    values.iter().map(cell).collect()
}
