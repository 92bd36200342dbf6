//! An office for tests: a node in this process, with bridges to databases.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use branchline_connect::sql::bridges::Bridges;
use branchline_connect::sql::config::BridgeConfig;
use branchline_crdt::membership::Role;
use branchline_crdt::record::Edit;
use branchline_crdt::record::fields_into_json;
use branchline_crdt::replica::{LocalTransaction, RecordEdit};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_node::init;
use branchline_node::{Config, Handle, Node};
use serde_json::Value as Json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

/// How long something may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node, and the folder of everything.
pub(crate) struct Office {
    pub(crate) node: Node,
    folder: tempfile::TempDir,
}

impl Office {
    /// Founds a network and starts its first site.
    pub(crate) async fn start(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        init(&data, name, true).unwrap();
        let mut config = Config::new(&data);
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.settings.mdns = false;
        Self { node: Node::start(config).await.unwrap(), folder }
    }

    /// Starts a site that joins another's network.
    pub(crate) async fn join(other: &Self, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("node");
        init(&data, name, false).unwrap();
        let mut config = Config::new(&data);
        config.settings.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.settings.mdns = false;
        let office = Self { node: Node::start(config).await.unwrap(), folder };
        let lifetime = Duration::from_secs(600);
        let ticket = other.handle().invite(Role::Writer, lifetime, Vec::new()).await.unwrap();
        office.handle().join(ticket).await.unwrap();
        wait_until("the office is a member", || async {
            office.handle().replica_status().await.unwrap().member
        })
        .await;
        office
    }

    pub(crate) fn handle(&self) -> Handle {
        self.node.handle()
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a SQLite file.
    pub(crate) async fn sqlite(&self, name: &str, sql: &'static str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.db"));
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        path
    }

    /// Starts a bridge called `shop` to a SQLite file.
    pub(crate) async fn bridges(&self, file: &Path, tables: Vec<toml::Value>) -> Bridges {
        self.bridges_to(&format!("sqlite:{}", file.display()), tables).await
    }

    /// The same to any database.
    pub(crate) async fn bridges_to(&self, url: &str, tables: Vec<toml::Value>) -> Bridges {
        let folder = self.folder.path().join("connect");
        std::fs::create_dir_all(&folder).unwrap();
        let bridges = Bridges::new(self.handle(), folder);
        bridges.take_up(&[config(url, tables)]).await;
        bridges
    }

    /// A record's fields; `None`: it is not there.
    pub(crate) async fn fields(&self, collection: &str, id: &str) -> Option<Json> {
        let (collection, id) = (collection.to_owned(), id.to_owned());
        let handle = self.handle();
        let read = handle
            .read(move |tables, space| read::record(tables, &RecordKey { space, collection, id }));
        let view = read.await.unwrap()?;
        (!view.deleted && !view.heads.is_empty())
            .then(|| Json::Object(fields_into_json(view.fields)))
    }

    pub(crate) async fn edit(&self, collection: &str, id: &str, edit: Edit) {
        let edits = vec![RecordEdit::new(collection, id, edit)];
        let transaction = LocalTransaction { origin: None, edits };
        self.handle().write(vec![transaction]).await.unwrap().remove(0).unwrap();
    }

    pub(crate) async fn merge(&self, collection: &str, id: &str, fields: Json) {
        let patch = fields.as_object().cloned().unwrap();
        self.edit(collection, id, Edit::Merge { patch, create: true }).await;
    }

    pub(crate) async fn delete(&self, collection: &str, id: &str) {
        self.edit(collection, id, Edit::Delete).await;
    }

    /// Runs a statement as the till would.
    pub(crate) async fn execute(&self, file: &Path, sql: &str) {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Rows as text, with `|` between the columns.
    pub(crate) async fn rows(&self, file: &Path, sql: &str) -> Vec<String> {
        let options = SqliteConnectOptions::new().filename(file);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let rows =
            sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let cell = |row: &sqlx::sqlite::SqliteRow, index: usize| {
            row.try_get_unchecked::<Option<String>, _>(index).unwrap().unwrap_or("NULL".to_owned())
        };
        rows.iter()
            .map(|row| (0..row.len()).map(|index| cell(row, index)).collect::<Vec<_>>().join("|"))
            .collect()
    }
}

/// The configuration of a bridge called `shop`.
pub(crate) fn config(url: &str, tables: Vec<toml::Value>) -> BridgeConfig {
    let mut table = toml::Table::new();
    table.insert("name".to_owned(), "shop".into());
    table.insert("url".to_owned(), url.into());
    table.insert("poll".to_owned(), "20ms".into());
    table.insert("table".to_owned(), toml::Value::Array(tables));
    table.try_into().unwrap()
}

/// Waits for a condition.
pub(crate) async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
