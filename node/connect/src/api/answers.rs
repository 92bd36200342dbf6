//! What the API says of bridges.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::sql::config::BridgeConfig;
use crate::sql::worker::{BridgeReport, TableReport};

/// The bridges of a site.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BridgesResponse {
    /// By name.
    pub bridges: Vec<BridgeResponse>,
}

/// How a bridge is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BridgeResponse {
    /// Its name.
    pub name: String,
    /// The site that it is of.
    pub site: String,
    /// `postgres`, `mysql` or `sqlite`.
    pub database: String,
    /// The space of its collections.
    pub space: String,
    /// `starting`, `running`, `loading`, `retrying`, `paused`, or `not running` where the node does not run.
    pub state: String,
    /// Why it does not work, and what to do.
    pub reason: Option<String>,
    /// Since when it is so.
    pub since: Option<String>,
    /// Changed rows that wait to be read, counted up to 1,000,000.
    pub notes_waiting: u64,
    /// Since when there have been some.
    pub notes_since: Option<String>,
    /// Its tables.
    pub tables: Vec<BridgeTableResponse>,
}

/// How a table of a bridge is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BridgeTableResponse {
    /// The table.
    pub table: String,
    /// The collection.
    pub collection: String,
    /// `capture`, `apply` or `both`.
    pub mode: String,
    /// How far it has come: `new`, `loading`, `sweeping`, `listing`, `from-database`, `pruning`, `from-collection`, `clearing`,
    /// `running`, or `stopped`.
    pub state: String,
    /// Why it stopped, and what to do.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// Rows that were there before and are loaded.
    pub loaded_rows: u64,
    /// Rows that were looked at since the node started.
    pub rows_in: u64,
    /// Rows that were written since then.
    pub rows_out: u64,
    /// Records that wait to be written.
    pub waiting: u64,
    /// Rows and records that are set aside.
    pub set_aside: u64,
    /// The site that is to confirm captured rows.
    pub acked_by: Option<String>,
    /// Captured rows that it has not confirmed.
    pub unacknowledged: u64,
    /// When the oldest of them was captured.
    pub unacknowledged_since: Option<String>,
    /// Since when changes were not seen, if they were not at some time since the node started.
    pub blind_since: Option<String>,
}

impl BridgeResponse {
    pub(super) fn of(config: &BridgeConfig, site: &str, report: BridgeReport) -> Self {
        let database = config.url.split(':').next().unwrap_or_default().to_owned();
        Self {
            name: config.name.clone(),
            site: site.to_owned(),
            database,
            space: config.space.clone(),
            state: report.state,
            reason: report.reason,
            since: Some(report.since_ms).filter(|since| *since > 0).and_then(time),
            notes_waiting: report.notes_waiting,
            notes_since: report.notes_since_ms.and_then(time),
            tables: report.tables.into_iter().map(BridgeTableResponse::of).collect(),
        }
    }
}

impl BridgeTableResponse {
    fn of(report: TableReport) -> Self {
        Self {
            table: report.table,
            collection: report.collection,
            mode: report.mode,
            state: report.state,
            reason: report.reason,
            since: report.since_ms.and_then(time),
            loaded_rows: report.loaded_rows,
            rows_in: report.rows_in,
            rows_out: report.rows_out,
            waiting: report.waiting,
            set_aside: report.quarantined,
            acked_by: report.acked_by,
            unacknowledged: report.unacknowledged,
            unacknowledged_since: report.unacknowledged_since_ms.and_then(time),
            blind_since: report.blind_since_ms.and_then(time),
        }
    }
}

/// What was installed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct InstalledResponse {
    /// The tables.
    pub installed: Vec<String>,
    /// By what the installation is distinguished from others.
    pub epoch: String,
}

/// That a bridge rests.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PausedResponse {
    /// True.
    pub paused: bool,
}

/// That a bridge goes on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResumedResponse {
    /// True.
    pub resumed: bool,
    /// Tables that had stopped, and are compared as a whole.
    pub tables_compared: u64,
}

/// Which side holds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResyncRequest {
    /// The table; all if it is absent.
    #[serde(default)]
    pub table: Option<String>,
    /// `database`: rows are written over records. `collection`: records are written over rows.
    pub from: String,
}

/// What is made equal.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ResyncingResponse {
    /// The tables.
    pub resyncing: Vec<String>,
    /// The side that holds.
    pub from: String,
}

/// What to compare.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyRequest {
    /// The table; all if it is absent.
    #[serde(default)]
    pub table: Option<String>,
    /// Whether what differs is carried over, as if it had just been changed.
    #[serde(default)]
    pub repair: bool,
}

/// What was compared.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerifiedResponse {
    /// The tables.
    pub tables: Vec<VerifiedTable>,
}

/// What was compared of a table.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct VerifiedTable {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// How much differs. A change that is just on its way is counted too.
    pub differing: u64,
    /// The first of it.
    pub differences: Vec<DifferenceResponse>,
    /// Whether it is being carried over.
    pub repairing: bool,
}

/// Something that differs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DifferenceResponse {
    /// What is so.
    pub what: String,
    /// The row's key, or the record's id.
    pub name: String,
}

/// What to try again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequeueRequest {
    /// The numbers, as `errors` has them; all if they are absent.
    #[serde(default)]
    pub numbers: Option<Vec<i64>>,
}

/// What is tried again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RequeuedResponse {
    /// How many.
    pub requeued: u64,
}

/// What was removed from the database.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BridgeRemovedResponse {
    /// The tables.
    pub removed: Vec<String>,
}

/// What is set aside.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetAsideResponse {
    /// The first of it.
    pub errors: Vec<SetAsideItem>,
}

/// A row or record that is set aside.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SetAsideItem {
    /// Its number, which `requeue` takes.
    pub number: i64,
    /// The table.
    pub table: Option<String>,
    /// Which way it was going: `capture` or `apply`.
    pub direction: String,
    /// The row's key (capture) or the record's id (apply).
    pub name: String,
    /// SQLSTATE, error number or result code of the database; empty where the bridge refused it.
    pub code: String,
    /// The constraint, if one was violated.
    pub constraint: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The value, at most 200 characters of it.
    pub value: Option<String>,
    /// What was found, what was expected, what to do.
    pub message: String,
    /// Since when.
    pub since: Option<String>,
    /// How often it was tried.
    pub tries: u64,
}

impl SetAsideResponse {
    /// From the worker's answer.
    pub(super) fn of(answer: &Value) -> Self {
        let items = answer.get("errors").and_then(Value::as_array);
        Self { errors: items.into_iter().flatten().map(SetAsideItem::of).collect() }
    }
}

impl SetAsideItem {
    fn of(item: &Value) -> Self {
        let optional = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
        let text = |name: &str| optional(name).unwrap_or_default();
        let number = |name: &str| item.get(name).and_then(Value::as_i64);
        Self {
            number: number("number").unwrap_or_default(),
            table: optional("table"),
            direction: text("direction"),
            name: text("name"),
            code: text("code"),
            constraint: optional("constraint"),
            column: optional("column"),
            value: optional("value"),
            message: text("message"),
            since: number("since_ms").and_then(time),
            tries: number("tries").unwrap_or_default().unsigned_abs(),
        }
    }
}

/// A time in RFC 3339, by the second.
pub(crate) fn time(ms: i64) -> Option<String> {
    Some(Timestamp::from_second(ms.div_euclid(1_000)).ok()?.to_string())
}
