//! Databases with the table that all jobs fill: the ten fields of a record, and its id as the key.

use std::path::PathBuf;

use serde_json::Value;

use super::Engine;
use super::servers::mariadb::MariaDb;
use super::servers::postgres::Postgres;
use super::session::Session;
use super::used;
use crate::Bench;
use crate::records;

/// Rows of one plain INSERT.
pub(super) const ROWS: usize = 1_000;

/// A server, or a folder of files. Commits wait for the disk unless a session says otherwise.
pub(super) enum Server {
    Postgres(Box<Postgres>),
    MariaDb(MariaDb),
    Sqlite(PathBuf),
}

/// One database of a server.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) engine: Engine,
    pub(super) url: String,
    /// Its name at the server; the file's path for SQLite.
    pub(super) name: String,
}

impl Server {
    /// `None`: it is not installed; that is said on stderr.
    pub(super) fn start(bench: &mut Bench, engine: Engine) -> Option<Self> {
        Some(match engine {
            Engine::Postgres => {
                let settings = ["fsync=on", "full_page_writes=on", "autovacuum=on"];
                Self::Postgres(Box::new(Postgres::start_with(&settings)?))
            }
            Engine::MariaDb => Self::MariaDb(MariaDb::start_with(&[
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=128M",
                "--innodb-log-file-size=96M",
                "--default-time-zone=+00:00",
            ])?),
            Engine::Sqlite => Self::Sqlite(bench.folder("sqlite")),
        })
    }

    /// A new database with these empty tables.
    pub(super) async fn place(&self, name: &str, tables: &[&str]) -> Place {
        let create: String = tables.iter().map(|table| create(self.engine(), table)).collect();
        match self {
            Self::Postgres(server) => {
                let name = server.database("", &create);
                Place { engine: Engine::Postgres, url: server.url("postgres", &name), name }
            }
            Self::MariaDb(server) => {
                let name = server.database("CHARACTER SET utf8mb4", &create);
                Place { engine: Engine::MariaDb, url: server.url("root", &name), name }
            }
            Self::Sqlite(folder) => {
                let name = folder.join(format!("{name}.db")).display().to_string();
                let place = Place { engine: Engine::Sqlite, url: format!("sqlite:{name}"), name };
                let mut session = Session::open(&place).await;
                session.run("PRAGMA journal_mode = WAL").await;
                session.run(&create).await;
                session.close().await;
                place
            }
        }
    }

    pub(super) fn engine(&self) -> Engine {
        match self {
            Self::Postgres(_) => Engine::Postgres,
            Self::MariaDb(_) => Engine::MariaDb,
            Self::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// CPU that the server has used; SQLite is part of this process.
    pub(super) fn cpu_s(&self) -> f64 {
        match self {
            Self::Postgres(server) => used::below_s(server.pid()),
            Self::MariaDb(server) => server.pid().map_or(0.0, used::below_s),
            Self::Sqlite(_) => 0.0,
        }
    }
}

fn create(engine: Engine, table: &str) -> String {
    let (text, price, sold, end) = match engine {
        Engine::Postgres => ("varchar(60)", "numeric(12,2)", "timestamptz", ""),
        // Keys of texts that differ have to differ.
        Engine::MariaDb => {
            ("varchar(60)", "decimal(12,2)", "datetime(3)", "COLLATE utf8mb4_nopad_bin")
        }
        Engine::Sqlite => ("text", "text", "datetime", ""),
    };
    format!(
        "CREATE TABLE {table} (id {text} NOT NULL PRIMARY KEY, branch {text}, customer {text}, product {text}, \
         unit_price {price}, quantity integer, total_cents bigint, sold {sold}, payment {text}, member boolean, \
         receipt {text}) {end};"
    )
}

/// One INSERT of records.
pub(super) fn insert(engine: Engine, table: &str, numbers: impl Iterator<Item = usize>) -> String {
    let mut sql = format!("INSERT INTO {table} VALUES ");
    for (index, number) in numbers.enumerate() {
        sql.push_str(if index == 0 { "('" } else { ", ('" });
        sql.push_str(&records::id(number));
        sql.push('\'');
        for (name, value) in records::fields(number) {
            sql.push_str(", ");
            match value {
                Value::String(text) if name == "sold" => {
                    // The same moment in words that all three know; columns without a zone are said to be of UTC.
                    let zone = if engine == Engine::Postgres { "+00" } else { "" };
                    let text = text.trim_end_matches('Z').replace('T', " ");
                    sql.push_str(&format!("'{text}{zone}'"));
                }
                Value::String(text) => sql.push_str(&format!("'{text}'")),
                Value::Bool(is) if engine == Engine::Sqlite => {
                    sql.push(if is { '1' } else { '0' });
                }
                value => sql.push_str(&value.to_string()),
            }
        }
        sql.push(')');
    }
    sql
}
