//! A shop: an office with a table and a bridge.

use std::path::PathBuf;

use branchline_connect::sql::bridges::Bridges;
use branchline_connect::sql::worker::{BridgeCommand, BridgeReport, Side, TableReport};
use branchline_crdt::record::{SCHEMA_COLLECTION, View};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use serde_json::{Value as Json, json};

use super::office::{Office, config, wait_until};

/// A table of things with a price and a quantity.
pub(crate) const STOCK: &str = "
CREATE TABLE stock (sku TEXT NOT NULL PRIMARY KEY, name TEXT, price TEXT, qty INTEGER NOT NULL);
INSERT INTO stock VALUES ('tea', 'Tea', '1.10', 10), ('milk', 'Milk', '0.90', 20);
";

/// How it is bridged.
pub(crate) const BOTH: &str = r#"
table = "stock"
collection = "stock"
mode = "both"
owner = "head"
fields = { price = { kind = "decimal" }, qty = { kind = "counter" } }
"#;

pub(crate) struct Shop {
    pub(crate) office: Office,
    pub(crate) file: PathBuf,
    pub(crate) bridges: Bridges,
}

impl Shop {
    /// A shop whose bridge has loaded what was there.
    pub(crate) async fn open(sql: &'static str, tables: &[&str]) -> Self {
        Self::open_at(Office::start("head").await, sql, tables).await
    }

    pub(crate) async fn open_at(office: Office, sql: &'static str, tables: &[&str]) -> Self {
        let file = office.sqlite("shop", sql).await;
        let tables = tables.iter().map(|table| toml::from_str(table).unwrap()).collect();
        let bridges = office.bridges(&file, tables).await;
        let shop = Self { office, file, bridges };
        shop.ask(BridgeCommand::Install).await;
        shop.runs().await;
        shop
    }

    /// The kinds of the fields of `stock`, which only an office that may says; waits until another has them.
    pub(crate) async fn declare(by: &Office, other: &Office, fields: Json) {
        by.merge(SCHEMA_COLLECTION, "stock", fields).await;
        wait_until("the schema is there", || async {
            other.fields(SCHEMA_COLLECTION, "stock").await.is_some()
        })
        .await;
    }

    /// The usual shop.
    pub(crate) async fn usual() -> Self {
        Self::open(STOCK, &[BOTH]).await
    }

    pub(crate) async fn ask(&self, command: BridgeCommand) -> Json {
        self.bridges.ask("shop", command).await.unwrap().unwrap()
    }

    /// Why a command is not carried out.
    pub(crate) async fn refuses(&self, command: BridgeCommand) -> String {
        self.bridges.ask("shop", command).await.unwrap().unwrap_err().to_string()
    }

    pub(crate) async fn resync(&self, table: &str, from: Side) {
        self.ask(BridgeCommand::Resync { table: Some(table.to_owned()), from }).await;
    }

    /// The bridge takes up another configuration.
    pub(crate) async fn reload(&self, tables: &[&str]) {
        let tables = tables.iter().map(|table| toml::from_str(table).unwrap()).collect();
        let url = format!("sqlite:{}", self.file.display());
        self.bridges.take_up(&[config(&url, tables)]).await;
    }

    /// The bridge ends, and its database is closed.
    pub(crate) async fn stop(&self) {
        self.bridges.stop().await;
        let beside = self.file.with_extension("db-wal");
        wait_until("the database is closed", || async { !beside.exists() }).await;
    }

    pub(crate) async fn sql(&self, sql: &str) {
        self.office.execute(&self.file, sql).await;
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        self.office.rows(&self.file, sql).await
    }

    pub(crate) async fn merge(&self, id: &str, fields: Json) {
        self.office.merge("stock", id, fields).await;
    }

    pub(crate) async fn field(&self, id: &str, field: &str) -> Json {
        let fields = self.office.fields("stock", id).await;
        fields.map_or(Json::Null, |fields| fields[field].clone())
    }

    pub(crate) async fn view(&self, id: &str) -> Option<View> {
        let id = id.to_owned();
        let handle = self.office.handle();
        let read = handle.read(move |tables, space| {
            let collection = "stock".to_owned();
            read::record(tables, &RecordKey { space, collection, id })
        });
        read.await.unwrap()
    }

    /// The fields that a deletion hides of a record.
    pub(crate) async fn hidden(&self, id: &str) -> usize {
        let id = id.to_owned();
        let handle = self.office.handle();
        let read = handle.read(move |tables, space| {
            let collection = "stock".to_owned();
            read::hidden_edits(tables, &RecordKey { space, collection, id })
        });
        read.await.unwrap().len()
    }

    pub(crate) fn report(&self) -> BridgeReport {
        self.bridges.reports().remove("shop").unwrap_or_default()
    }

    pub(crate) fn table(&self, name: &str) -> TableReport {
        let found = self.report().tables.into_iter().find(|table| table.table.ends_with(name));
        found.unwrap_or_default()
    }

    /// Waits until the bridge says that it runs.
    pub(crate) async fn runs(&self) {
        wait_until("the bridge runs", || async { self.report().state == "running" }).await;
    }

    /// Waits until a table says that it stopped; returns why.
    pub(crate) async fn stops(&self, name: &str) -> String {
        let wait = wait_until("stop", || async { self.table(name).state == "stopped" });
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("table {name} stops, but {}", self.story().await);
        }
        self.table(name).reason.unwrap()
    }

    /// Waits until the bridge rests; returns why.
    pub(crate) async fn rests(&self) -> String {
        let wait = wait_until("rest", || async { self.report().state == "paused" });
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("the bridge rests, but {}", self.story().await);
        }
        self.report().reason.unwrap()
    }

    pub(crate) async fn errors(&self) -> Vec<Json> {
        self.ask(BridgeCommand::Errors).await["errors"].as_array().unwrap().clone()
    }

    /// Waits until so many things are set aside; returns them.
    pub(crate) async fn sets_aside(&self, count: usize) -> Vec<Json> {
        wait_until(&format!("{count} set aside"), || async { self.errors().await.len() == count })
            .await;
        self.errors().await
    }

    /// Waits until a query gives these rows.
    pub(crate) async fn has(&self, sql: &str, rows: &[&str]) {
        let wait = wait_until("rows", || async { self.rows(sql).await == rows });
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let found = self.rows(sql).await;
            panic!("{sql} gives {rows:?}, but {found:?}; {}", self.story().await);
        }
    }

    /// Waits until a record's field is so; null where there is no record.
    pub(crate) async fn becomes(&self, id: &str, field: &str, value: Json) {
        let wait = wait_until("field", || async { self.field(id, field).await == value });
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let found = self.office.fields("stock", id).await;
            panic!("{field} of {id} is {value}, but {found:?}; {}", self.story().await);
        }
    }

    /// Waits until nothing is left to do, and table and collection are the same.
    pub(crate) async fn is_at_rest(&self) {
        let wait = wait_until("rest", || async {
            let verified = self.ask(BridgeCommand::Verify { table: None, repair: false }).await;
            let mut tables = verified["tables"].as_array().unwrap().iter();
            let is_same = tables.all(|table| table["differing"] == json!(0));
            is_same && self.rows("SELECT count(*) FROM branchline_outbox").await == ["0"]
        });
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let verified = self.ask(BridgeCommand::Verify { table: None, repair: false }).await;
            panic!("not at rest: {verified}; {}", self.story().await);
        }
    }

    /// What a person would look at.
    async fn story(&self) -> String {
        let errors = self.bridges.ask("shop", BridgeCommand::Errors).await;
        format!("{:?}; {errors:?}", self.report())
    }
}

/// How long something may take on a busy machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(40);
