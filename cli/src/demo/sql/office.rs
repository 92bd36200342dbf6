//! One office: a SQLite file, its application's connection, and a node with a bridge beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use branchline_connect::api::BridgeResponse;
use branchline_crdt::membership::{Role, Ticket};
use branchline_node::extension::Sections;
use branchline_node::init;
use branchline_node::{Config, Handle, Node, Settings, api};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow};
use sqlx::{Connection, Row};
use tower::ServiceExt;

use super::super::check::until;
use super::super::error::DemoError;
use super::super::office::on_loopback;
use super::shop::ShopTable;
use crate::extensions::extensions;

/// The bridge's name.
const BRIDGE: &str = "shop";
/// How long a till waits for the file while a bridge writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An office.
pub(super) struct SqlOffice {
    pub(super) name: &'static str,
    file: PathBuf,
    tables: Vec<ShopTable>,
    config: Config,
    node: Option<Node>,
}

impl SqlOffice {
    /// Makes the application's file and a site below `root`, and starts its node.
    pub(super) async fn start(
        name: &'static str,
        root: &Path,
        tables: &[ShopTable],
    ) -> Result<Self, DemoError> {
        let data = root.join(name);
        init(&data, name, name == "head")?;
        let file = root.join(format!("{name}.db"));
        let url = toml::Value::from(format!("sqlite:{}", file.display()));
        let mut text = format!("[[bridge]]\nname = \"{BRIDGE}\"\nurl = {url}\npoll = \"50ms\"\n");
        tables.iter().for_each(|table| text.push_str(table.bridge));
        let path = data.join("branchline.toml");
        std::fs::write(&path, &text)
            .map_err(|source| DemoError::Folder { path: path.clone(), source })?;
        let mut config = Config::new(data);
        config.settings = Settings { listen: on_loopback(), mdns: false, ..Settings::default() };
        config.sections = Sections::new(path, text);
        let mut office = Self { name, file, tables: tables.to_vec(), config, node: None };
        office.make_tables().await?;
        office.run_node().await?;
        Ok(office)
    }

    /// Starts the node.
    pub(super) async fn run_node(&mut self) -> Result<(), DemoError> {
        let builder = Node::builder(self.config.clone()).with_all(extensions());
        self.node = Some(builder.start().await?);
        Ok(())
    }

    /// Stops the node; the file and its till go on.
    pub(super) async fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            node.shutdown().await;
        }
    }

    fn handle(&self) -> Result<Handle, DemoError> {
        let node = self.node.as_ref().map(Node::handle);
        node.ok_or_else(|| DemoError::Bridge(format!("{}'s node does not run", self.name)))
    }

    pub(super) async fn invite(&self, role: Role, lifetime: Duration) -> Result<Ticket, DemoError> {
        Ok(self.handle()?.invite(role, lifetime, Vec::new()).await?)
    }

    pub(super) async fn join(&self, ticket: Ticket) -> Result<(), DemoError> {
        let handle = self.handle()?;
        handle.join(ticket).await?;
        let awaited = format!("{} to be a member", self.name);
        until(&awaited, |is_member| *is_member, async || Ok(handle.replica_status().await?.member))
            .await
    }

    /// Makes the application's tables, in a file that both it and the bridge can use.
    async fn make_tables(&self) -> Result<(), DemoError> {
        let options = SqliteConnectOptions::new().filename(&self.file).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        for table in &self.tables {
            sqlx::raw_sql(table.sql).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    async fn connect(&self) -> Result<SqliteConnection, DemoError> {
        let options = SqliteConnectOptions::new().filename(&self.file).busy_timeout(BUSY_TIMEOUT);
        Ok(SqliteConnection::connect_with(&options).await?)
    }

    /// Runs a statement, as the till does.
    pub(super) async fn execute(&self, sql: &'static str) -> Result<(), DemoError> {
        let mut connection = self.connect().await?;
        sqlx::query(sql).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// The rows of a query, with `|` between the columns.
    pub(super) async fn rows(&self, sql: &'static str) -> Result<Vec<String>, DemoError> {
        let mut connection = self.connect().await?;
        let rows = sqlx::query(sql).fetch_all(&mut connection).await?;
        connection.close().await?;
        let cell = |row: &SqliteRow, index: usize| row.try_get_unchecked::<String, _>(index);
        let of = |row: &SqliteRow| {
            let cells: Result<Vec<_>, _> = (0..row.len()).map(|index| cell(row, index)).collect();
            cells.map(|cells| cells.join("|"))
        };
        Ok(rows.iter().map(of).collect::<Result<_, _>>()?)
    }

    /// The only value of a query.
    pub(super) async fn value(&self, sql: &'static str) -> Result<String, DemoError> {
        Ok(self.rows(sql).await?.into_iter().next().unwrap_or_default())
    }

    /// `branchline bridge install`.
    pub(super) async fn install(&self) -> Result<(), DemoError> {
        self.ask("POST", &format!("/v1/bridges/{BRIDGE}/install")).await.map(drop)
    }

    /// Waits until the bridge has loaded what there was.
    pub(super) async fn until_running(&self) -> Result<(), DemoError> {
        let is_running = |bridge: &BridgeResponse| bridge.state == "running";
        until(&format!("{}'s bridge to run", self.name), is_running, async || {
            let answer = self.ask("GET", &format!("/v1/bridges/{BRIDGE}")).await?;
            serde_json::from_slice(&answer).map_err(|error| DemoError::Bridge(error.to_string()))
        })
        .await
    }

    /// Waits until the office knows the schemas that head has declared.
    pub(super) async fn until_declared(&self, collections: &[&str]) -> Result<(), DemoError> {
        let knows = |schemas: &Value| {
            let known = schemas.get("schemas").and_then(Value::as_object);
            collections.iter().all(|name| known.is_some_and(|known| known.contains_key(*name)))
        };
        until(&format!("{} to know the schemas", self.name), knows, async || {
            let answer = self.ask("GET", "/v1/schemas").await?;
            serde_json::from_slice(&answer).map_err(|error| DemoError::Bridge(error.to_string()))
        })
        .await
    }

    /// Asks the node's API.
    async fn ask(&self, method: &str, path: &str) -> Result<Vec<u8>, DemoError> {
        let failed =
            |what: String| DemoError::Bridge(format!("{} {method} {path}: {what}", self.name));
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json").body(Body::empty());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let response = match api::router(self.handle()?).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let is_done = response.status().is_success();
        let body = axum::body::to_bytes(response.into_body(), ANSWER_BYTES_MAX).await;
        let body = body.map_err(|error| failed(error.to_string()))?;
        if is_done {
            Ok(body.into())
        } else {
            Err(failed(String::from_utf8_lossy(&body).into_owned()))
        }
    }
}
